"""`sound-groove calibrate`: fit the map from score to log-likelihood ratio, and put it into the model file."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sound_groove.cli.options import number, positive_integer, seed
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.trial_options import add_trial_options, check_trial_options, trial_set_of
from sound_groove.cli.verb import add_verb, ready_for_computing
from sound_groove.errors import UsageError, printable, require_extra
from sound_groove.percentages import rate_text
from sound_groove.terminal import columns_of, padded

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.evaluation.calibrating import Judged
    from sound_groove.evaluation.calibration_material import CalibrationSettings
    from sound_groove.evaluation.fusing import Fused
    from sound_groove.evaluation.trials.trial_sets import TrialSet
    from sound_groove.scoring.calibration import ScoreMap

EXAMPLES = """examples:
  sound-groove calibrate outputs/ecapa512 --val-meta data/mine/val_meta.jsonl
  sound-groove calibrate best.onnx --trials pairs.txt --audio-root wav --utt2spk utt2spk --out calibrated.onnx
  sound-groove calibrate best.onnx --trials pairs.txt --utt2spk utt2spk --collections utt2collection
  sound-groove calibrate best.onnx --trials phones.txt rooms.txt studio.txt --audio-root wav
  sound-groove calibrate pretrained campplus.onnx --trials pairs.txt --utt2spk utt2spk --out both.onnx
  sound-groove calibrate calibrated.onnx --check --val-meta data/others/val_meta.jsonl --plot reliability.png

The speakers must be neither those that the model was trained on nor those that it will be judged on. Each recording is
taken as it is, in cuts of a few durations, and with noise, other pauses, rooms and lines, so that the map knows what a
score of short or poor recordings is worth. What is printed is cross-validated over the speakers; with three collections
or more, over the collections: each is judged by the map that was fitted without it, which is what a user's own
recordings will meet. The map goes into the model file. With --check nothing is fitted or written: the map that the
model carries is judged. Two models become one file whose score is theirs, in the shares that the trials ask for: it
costs the time of both, and every verb takes it. What each is worth alone is printed beside it.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "calibrate",
        "fit score to log-likelihood ratio on one's own pairs",
        "Fit the map from score, durations and noise to log-likelihood ratio, and put it into the model file.",
        EXAMPLES,
        run,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="+",
        help="model file (.safetensors, .onnx), run folder, or a model's name; of two in ONNX, one is made (--out)",
    )
    add_trial_options(parser, several=True)
    parser.add_argument(
        "--collections",
        metavar="FILE",
        type=Path,
        help="which collection each name of the trials is of ('name collection' lines); three or more are left out in "
        "turn, weigh the same, and show what the map is worth on another; lists given one by one are a collection each",
    )
    parser.add_argument(
        "--durations",
        metavar="S",
        type=number,
        nargs="+",
        help="seconds to which recordings are cut, besides being taken whole (default: 1 2 5 10)",
    )
    parser.add_argument(
        "--prior", metavar="P", type=number, default=0.5, help="where the map should be best (default: 0.5)"
    )
    parser.add_argument("--check", action="store_true", help="judge the map that the model carries, on these trials")
    parser.add_argument(
        "--plot", metavar="FILE", type=Path, help="also draw stated probabilities against what came true"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write another file, and leave the model as it is")
    parser.add_argument("--force", action="store_true", help="replace a calibration, or the file of --out")
    parser.add_argument("--seed", metavar="N", type=seed, default=0, help="of cuts, noise and folds (default: 0)")
    parser.add_argument("--threads", metavar="N", type=positive_integer, help="(default: as many as processors)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Calibrate, and print what it is worth."""
    require_extra("Calibrating", "train", "torch", "safetensors", "pydantic", "scipy", "matplotlib")
    ready_for_computing()
    from sound_groove.encoder.encoder import SpeakerEncoder
    from sound_groove.evaluation.calibrating import calibrate, check_calibration
    from sound_groove.evaluation.calibration_material import CalibrationSettings
    from sound_groove.export.calibrated_file import check_destination, write_calibrated

    _check_use(arguments)
    threads = arguments.threads or os.cpu_count() or 1
    settings = CalibrationSettings(
        prior=arguments.prior,
        seed=arguments.seed,
        threads=threads,
        allow_trained_speakers=arguments.allow_trained_speakers,
    )
    if arguments.durations is not None:
        settings = replace(settings, durations_s=tuple(arguments.durations))
    if len(arguments.model) > 1:
        return _run_fused(arguments, settings)
    (model,) = arguments.model
    encoder = SpeakerEncoder.load(model, threads=threads)
    if arguments.check:
        judged, path = check_calibration(encoder, _trial_set(arguments), settings), None
    else:
        path = check_destination(model, encoder.score_map, arguments.out, arguments.force)
        judged = calibrate(encoder, _trial_set(arguments), _named(arguments), settings)
        write_calibrated(model, judged.score_map, path)
    _tell(arguments, judged, path, encoder.identity.name)
    return 0


def _run_fused(arguments: argparse.Namespace, settings: "CalibrationSettings") -> int:
    """Make one model of two, and print what it is worth."""
    from sound_groove.encoder.encoder import SpeakerEncoder
    from sound_groove.evaluation.fusing import calibrate_fused
    from sound_groove.export.fused_file import check_fusible, write_fused

    models, path = check_fusible(arguments.model, arguments.out, arguments.force)
    encoders = [SpeakerEncoder.load(model, threads=settings.threads) for model in models]
    fused = calibrate_fused(encoders, _trial_set(arguments), _named(arguments), settings)
    written = write_fused(models, fused.shares, fused.judged.score_map, path)
    _tell(arguments, fused.judged, path, written.name, _gain(fused, [encoder.identity.name for encoder in encoders]))
    return 0


def _trial_set(arguments: argparse.Namespace) -> "TrialSet":
    """The trials, in their collections where these are told."""
    from sound_groove.evaluation.trials.trial_sets import collections_from_table, joined_collections

    option = "trials" if arguments.val_meta is None else "val_meta"
    sets = [
        trial_set_of(argparse.Namespace(**{**vars(arguments), option: path})) for path in getattr(arguments, option)
    ]
    found = sets[0]
    if len(sets) > 1:
        found = joined_collections(dict(zip(_collection_names(arguments), sets, strict=True)))
    elif arguments.collections is not None:
        found = collections_from_table(found, arguments.collections)
    for note in found.notes:
        say(f"note: {note}")
    return found


def _collection_names(arguments: argparse.Namespace) -> list[str]:
    """What the collections are called: by their lists, or by the folders that validation sets lie in."""
    if arguments.val_meta is None:
        return [path.stem for path in arguments.trials]
    return [path.absolute().parent.name for path in arguments.val_meta]


def _named(arguments: argparse.Namespace) -> str:
    """What the trials are called."""
    files = arguments.val_meta or arguments.trials
    return ", ".join(_collection_names(arguments)) if len(files) > 1 else str(files[0].name)


def _tell(
    arguments: argparse.Namespace,
    judged: "Judged",
    path: Path | None,
    name: str,
    gain: "Gain | None" = None,
) -> None:
    """Draw and print what came of it."""
    from sound_groove.audio.channels import mixed_notes

    for note in mixed_notes(judged.mixed):
        say(f"note: {note}")
    if path is not None and not judged.by_collection:
        say(
            "note: what the map is worth on recordings of another kind was not measured; that takes trials of "
            "three collections or more (--collections, or a list for each)"
        )
    if arguments.plot is not None:
        _plot(arguments.plot, judged, name)
    if arguments.json:
        show_json(_record(judged, path) | ({} if gain is None else {"fused": gain.record}))
    else:
        show(*summary(judged, path), *(() if gain is None else gain.lines))
    if path is not None:
        say(f"the calibration is in {path}")


class Gain(NamedTuple):
    """What two models are worth together and alone: as JSON can hold it, and in lines for people."""

    record: list[dict[str, Any]]
    lines: list[str]


def _gain(fused: "Fused", names: Sequence[str]) -> Gain:
    """What the models are worth alone beside what they are together: the mean over the parts left out."""
    rows = [
        *zip(names, fused.shares, map(_means, fused.alone), strict=True),
        (" + ".join(names), 1.0, _means(fused.judged)),
    ]
    width = max(columns_of(printable(name)) for name, _, _ in rows)
    lines = ["", f"{'':{width}}  share    EER   Cllr    min"]
    for name, share, figures in rows:
        numbers = f"{share:5.2f} {100 * figures['eer']:6.2f} {figures['cllr']:6.3f} {figures['min_cllr']:6.3f}"
        lines.append(f"{padded(printable(name), width)}  {numbers}")
    over = "the collections left out" if fused.judged.by_collection else "the pairs of all folds"
    record = [{"name": name, "share": share, **figures} for name, share, figures in rows]
    return Gain(record, [*lines, f"mean over {over}; EER in %"])


def _means(judged: "Judged") -> dict[str, float]:
    figures = list(judged.by_collection.values()) or [judged.overall]
    return {
        name: sum(float(one[name]["value"]) for one in figures) / len(figures) for name in ("eer", "cllr", "min_cllr")
    }


def _check_use(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    check_trial_options(arguments)
    if arguments.check and (arguments.out is not None or arguments.force):
        raise UsageError("--check writes no model, so that --out and --force do not go with it")
    if arguments.check and arguments.collections is not None:
        raise UsageError("--check judges one map on all trials, so that --collections does not go with it")
    names = _collection_names(arguments)
    if len(names) > 1 and arguments.collections is not None:
        raise UsageError("several lists are a collection each, so that --collections does not go with them")
    if len(set(names)) < len(names):
        twice = printable(max(names, key=names.count))
        raise UsageError(f"two of the collections are called '{twice}'; give their files, or folders, other names")
    if len(arguments.model) > 2:
        raise UsageError(f"one model is calibrated, or two are made one; {len(arguments.model)} were given")
    if arguments.check and len(arguments.model) > 1:
        raise UsageError("--check judges one model; name the file that was made of the two")
    if arguments.plot is not None and arguments.plot.suffix != ".png":
        raise UsageError(f"--plot draws a .png file; {arguments.plot} was given")


def _plot(path: Path, judged: "Judged", name: str) -> None:
    from sound_groove.evaluation.report.plots import plot_reliability
    from sound_groove.files import writing

    overall = judged.overall
    partial = path.with_name(f".{path.name}.partial.png")  # drawn first: under its name a picture is whole
    with writing(path):
        title = f"{name}, {overall['trials']:,} pairs of {judged.speakers} speakers, cut and noisy"
        plot_reliability(partial, overall["reliability"], overall["prior"], title)
        partial.replace(path)


def summary(result: "Judged", path: Path | None) -> list[str]:
    """What the calibration is worth, as a table, line by line.

    Args:
        result: what came of it.
        path: the file that was written; None after a mere check.
    """
    left_out = {f"without {name}": figures for name, figures in result.by_collection.items()}
    rows = {"random pairs of all": result.overall, **result.by_condition, **left_out}
    width = max(20, *(columns_of(printable(name)) for name in rows))
    how = "checked on" if path is None else "cross-validated over"
    collections = f"{len(left_out)} collections of " if left_out else ""
    lines = [
        f"{how} {collections}{result.speakers} speakers, {result.recordings} recordings",
        "",
        f"  {'':{width}} {'EER':>8} {'Cllr':>6} {'min':>6} {'loss':>6}   {'one speaker':>20}   {'two speakers':>20}",
        f"  {'':{width}} {'':8} {'':6} {'':6} {'':6}   {'right / ? / wrong':>20}   {'right / ? / wrong':>20}",
    ]
    for name, figures in rows.items():
        cost, least = figures["cllr"]["value"], figures["min_cllr"]["value"]
        shares = [
            " / ".join(
                rate_text(figures["verdicts"][kind][verdict], 1).removesuffix(" %").rjust(4) for verdict in verdicts
            )
            for kind, verdicts in (
                ("targets", ("same", "inconclusive", "different")),
                ("nontargets", ("different", "inconclusive", "same")),
            )
        ]
        numbers = f"{rate_text(figures['eer']['value']):>8} {cost:6.3f} {least:6.3f} {cost - least:6.3f}"
        lines.append(f"  {padded(printable(name), width)} {numbers}   {shares[0]:>20}   {shares[1]:>20}")
    verdicts_text = "verdicts (right, inconclusive, wrong) in %, at a prior of 0.5 and the default costs"
    return [*lines, "", *_worst(left_out or rows), verdicts_text, f"the map goes by {_made_of(result.score_map)}"]


def _worst(rows: Mapping[str, dict[str, Any]]) -> list[str]:
    """Where most verdicts are wrong, of two speakers and of one."""
    from sound_groove.evaluation.figure_texts import PERCENT, interval_text

    lines = []
    for verdict, about in (("same", "two speakers"), ("different", "one speaker")):
        name, worst = max(
            ((name, figures["wrong_verdicts"][verdict]) for name, figures in rows.items()),
            key=lambda one: float(one[1]["value"]),
        )
        share = f"{rate_text(worst['value'])} {interval_text(worst, PERCENT)}".rstrip()
        lines.append(f"at worst, {share} of pairs of {about} are called '{verdict}' ({printable(name)})")
    return lines


def _made_of(score_map: "ScoreMap") -> str:
    """What a map goes by, and what it never goes beyond."""
    parts = ["the score", *(term.measure for term in score_map.terms)]
    text = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    if score_map.rise or any(term.rise for term in score_map.terms):
        text += f"; above a score of {score_map.rises_from:.3f} it rises with the square"
    if score_map.bounds is not None:
        text += f"; llrs lie between {score_map.bounds[0]:g} and {score_map.bounds[1]:g}"
    return text


def _record(result: "Judged", path: Path | None) -> dict[str, Any]:
    return {
        "file": None if path is None else str(path),
        "score_map": result.score_map.as_dict(),
        "speakers": result.speakers,
        "recordings": result.recordings,
        "channels_differ": list(result.mixed),
        "overall": result.overall,
        "by_condition": result.by_condition,
        "by_collection": result.by_collection,
    }
