"""`sound-groove verify`: judge a model on trials."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.options import add_model_option
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.scoring_options import add_scoring_options, scoring_plan
from sound_groove.cli.trial_options import add_trial_options, check_trial_options, trial_set_of
from sound_groove.cli.verb import add_verb, command_line, ready_for_computing
from sound_groove.errors import UsageError, require_extra

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.encoder.encoder import SpeakerEncoder
    from sound_groove.evaluation.trials.trial_sets import TrialSet
    from sound_groove.evaluation.verification import VerificationSettings

EXAMPLES = """examples:
  sound-groove verify --model outputs/ecapa512 --trials trials.txt --audio-root wav
  sound-groove verify --model outputs/ecapa512 --trials CN-Celeb_flac/eval/lists/trials.lst \\
      --audio-root CN-Celeb_flac/eval --enrollment average --out outputs_eval/average
  sound-groove verify --model outputs/vox-resnet221 --voxceleb1 data/voxceleb1 --out outputs_eval/vox1
  sound-groove verify --model outputs/ecapa512 --trials mine.txt --audio-root wav --enroll-map enrolments.txt
  sound-groove verify --model outputs/ecapa512 --val-meta data/mine/val_meta.jsonl --pairs 10000
  sound-groove verify --model outputs/ecapa512 --trials trials.txt --audio-root wav \\
      --metadata speakers.tsv --by gender microphone
  sound-groove verify --model outputs/new --trials trials.txt --against outputs_eval/scores.tsv --out outputs_new
  sound-groove verify --model outputs/ecapa512 --trials trials.txt --scoring all --cohort data/cnceleb

Trial lists: '1 a.wav b.wav' (VoxCeleb), 'enrolment test.wav 1' (CN-Celeb), 'enrolment test target' (Kaldi).
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "verify",
        "judge a model on a trial list",
        "Score trials with a model, and write its error rates, pictures and a report.",
        EXAMPLES,
        run,
    )
    add_model_option(parser)
    trials = add_trial_options(parser)
    trials.add_argument(
        "--voxceleb1",
        metavar="DIR",
        type=Path,
        help="judge on Vox1-O, E and H, cleaned and not: the folder of VoxCeleb1, whose trial lists lie in it or "
        "beside it; each recording is embedded once, and each list gets a folder in --out",
    )
    parser.add_argument(
        "--lists",
        metavar="PATH",
        type=Path,
        nargs="+",
        help="with --voxceleb1: the lists to judge on, or folders that hold them (default: all that are found)",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("outputs_eval"), help="(default: outputs_eval)")
    parser.add_argument("--force", action="store_true", help="replace the result that lies there")
    parser.add_argument(
        "--crops", metavar="N", type=int, help="average N evenly spaced crops (default: whole recordings)"
    )
    parser.add_argument("--crop-frames", metavar="N", type=int, help="their length in frames of 10 ms (default: 400)")
    parser.add_argument(
        "--against",
        metavar="FILE",
        type=Path,
        help="compare with another system's scores of the same trials: the scores.tsv of a 'verify', or "
        "'enrolment test score' lines",
    )
    add_scoring_options(parser)
    parser.add_argument("--allow-missing", action="store_true", help="score the rest when recordings cannot be used")
    parser.add_argument(
        "--exclude",
        metavar="FILE",
        type=Path,
        help="leave out trials of recordings that this file drops or moves: choices.tsv or clean.tsv of 'doctor'",
    )
    parser.add_argument(
        "--resamples", metavar="N", type=int, default=1000, help="draws of speakers for the intervals (default: 1000)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of pairs and intervals (default: 0)")
    parser.add_argument("--threads", metavar="N", type=int, help="(default: as many as there are processors)")
    parser.add_argument(
        "--device", metavar="NAME", default="cpu", help="where the network runs: cpu, cuda (default: cpu)"
    )
    parser.add_argument(
        "--metadata",
        metavar="FILE",
        type=Path,
        help="a table about the recordings (tab-separated with a header, or a manifest.jsonl) for --by",
    )
    parser.add_argument(
        "--by", metavar="COLUMN", nargs="+", help="columns of --metadata: the error rate in groups of their values"
    )
    parser.add_argument(
        "--worst", metavar="N", type=int, default=10, help="list the N worst trials of each kind (default: 10)"
    )
    parser.add_argument(
        "--with-audio",
        action="store_true",
        help="put the voices of the worst trials into the report, to be listened to",
    )
    parser.add_argument(
        "--figures",
        choices=("png", "svg", "pdf"),
        default="png",
        help="write each figure in this format, too, for a paper (default: png)",
    )
    parser.add_argument("--dpi", metavar="N", type=int, default=140, help="of the figures in png (default: 140)")
    parser.add_argument("--json", action="store_true", help="print what metrics.json holds, instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, and print the figures."""
    require_extra("verify", "train", "torch", "safetensors", "pydantic", "matplotlib", "sklearn")
    ready_for_computing()
    _check_options(arguments)
    return _judge_on_voxceleb1(arguments) if arguments.voxceleb1 is not None else _judge_on_one_list(arguments)


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    if arguments.crop_frames is not None and arguments.crops is None:
        raise UsageError("--crop-frames needs --crops")
    check_trial_options(arguments)
    if (arguments.by is None) != (arguments.metadata is None):
        raise UsageError("--metadata and --by go together: a table, and the columns of it to go by")
    if arguments.voxceleb1 is None:
        if arguments.lists is not None:
            raise UsageError("--lists needs --voxceleb1; another list is judged with --trials")
        return
    for name in ("audio_root", "enrollment", "enroll_map", "utt2spk", "against"):
        if getattr(arguments, name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} needs --trials; the lists of --voxceleb1 are used as they are"
            )


def _settings(arguments: argparse.Namespace) -> "VerificationSettings":
    """How to evaluate, the table of `--metadata` included."""
    from sound_groove.evaluation.report.figure_options import FigureOptions
    from sound_groove.evaluation.trials.metadata import read_metadata
    from sound_groove.evaluation.verification import VerificationSettings
    from sound_groove.types import CropAveraging

    crops = None
    if arguments.crops is not None:
        crops = CropAveraging(arguments.crops, 400 if arguments.crop_frames is None else arguments.crop_frames)
    settings = VerificationSettings(
        crops,
        arguments.allow_missing,
        arguments.resamples,
        arguments.seed,
        arguments.threads if arguments.threads is not None else os.cpu_count() or 1,
        allow_trained_speakers=arguments.allow_trained_speakers,
        worst=arguments.worst,
        audio=arguments.with_audio,
        figures=FigureOptions(arguments.figures, arguments.dpi),
        scoring=scoring_plan(arguments),
    )
    if arguments.metadata is not None:
        settings = replace(settings, metadata=read_metadata(arguments.metadata, arguments.by))
    return settings


def _chosen(trial_set: "TrialSet", arguments: argparse.Namespace) -> "TrialSet":
    """The trials that `--exclude` leaves; says how many it does not."""
    if arguments.exclude is None:
        return trial_set
    from sound_groove.corpora.choices import read_choices
    from sound_groove.evaluation.trials.exclusion import without_excluded

    left = without_excluded(trial_set, read_choices(arguments.exclude))
    say(*left.notes[len(trial_set.notes) :])
    return left


def _encoder(arguments: argparse.Namespace, threads: int) -> "SpeakerEncoder":
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model

    return SpeakerEncoder.load(arguments.model or default_model(), arguments.device, threads)


def _judge_on_one_list(arguments: argparse.Namespace) -> int:
    from sound_groove.evaluation.other_scores import read_other_scores
    from sound_groove.evaluation.report.page import summary
    from sound_groove.evaluation.results import check_folder
    from sound_groove.evaluation.verification import evaluate

    settings = _settings(arguments)
    check_folder(arguments.out, arguments.force)  # before the model is loaded, and a long list read
    trial_set = _chosen(trial_set_of(arguments), arguments)
    against = None
    if arguments.against is not None:
        against = read_other_scores(arguments.against, trial_set.trials, arguments.allow_missing)
    say(f"protocol: {trial_set.protocol}")
    encoder = _encoder(arguments, settings.threads)
    metrics = evaluate(encoder, trial_set, arguments.out, settings, command_line(), arguments.force, say, against)
    if arguments.json:
        show_json(metrics)
    else:
        show(*summary(metrics))
    say(f"results in {arguments.out}, to be read in {arguments.out / 'report.html'}")
    return 0


def _judge_on_voxceleb1(arguments: argparse.Namespace) -> int:
    from sound_groove.evaluation.report.lists import table_of_lists
    from sound_groove.evaluation.results import check_folder
    from sound_groove.evaluation.trials.trial_sets import choose_channel
    from sound_groove.evaluation.trials.voxceleb1 import PUBLISHED, missing_conditions, voxceleb1_trials
    from sound_groove.evaluation.verification import ListToJudge, evaluate_lists

    settings = _settings(arguments)
    for published in PUBLISHED:
        check_folder(arguments.out / published.name, arguments.force)  # before long lists are read
    found = voxceleb1_trials(arguments.voxceleb1, arguments.lists or ())
    for published, trial_set in found.items():
        say(f"{published.name}: {trial_set.origin['path']}, {len(trial_set.trials):,} trials")
        for difference in published.differences(trial_set.trials):
            say(difference)
    if missing := missing_conditions(list(found)):
        say(f"no list of {' and '.join(missing)} was found, so that is not judged")
    encoder = _encoder(arguments, settings.threads)
    lists = [
        ListToJudge(_chosen(choose_channel(trial_set, arguments.channel), arguments), arguments.out / published.name)
        for published, trial_set in found.items()
    ]
    of_each = evaluate_lists(encoder, lists, settings, command_line(), arguments.force, say)
    by_name = {published.name: metrics for published, metrics in zip(found, of_each, strict=True)}
    if arguments.json:
        show_json(by_name)
    else:
        show(*table_of_lists(by_name))
    say(f"results in {arguments.out}, a folder for each list, to be read in its report.html")
    return 0
