"""`sound-groove adapt`: a model's calibration for the recordings of one's own domain, without labels or with few."""

import argparse
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sound_groove.cli.options import positive_integer, seed
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.verb import add_verb, ready_for_computing
from sound_groove.errors import printable, require_extra
from sound_groove.percentages import rate_text

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.evaluation.adapting import Adapted

EXAMPLES = """examples:
  sound-groove adapt pretrained --to calls --out calls.onnx
  sound-groove adapt pretrained --to calls --labels known.tsv --out calls.onnx      'path <tab> speaker' lines
  sound-groove adapt pretrained --to calls --labels calls/known --out calls.onnx    one folder a speaker

FOLDER has recordings as yours will be, of one person each: 20 at least, of four people at least, better of 20 and
more. Nobody needs to say who speaks. How high pairs of them score, nearly all of which are of two people, is compared
with how high such pairs score elsewhere, and part of the difference is taken back; people who are told apart surely
enough are learnt from besides. Labels of a few speakers are worth more: --labels. Only the calibration changes, so that
voiceprints and indexes made with MODEL go with OUT too.
"""
MOST_NAMED = 5  # recordings that cannot be used
UNKNOWN = (
    "without labels nobody knows how often one person is called two on another day, with another microphone or in "
    "another mood: planted pairs are of one recording, and so the easiest that there are"
)


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "adapt",
        "a calibration for one's own recordings, without labels",
        "Adapt a model's calibration to recordings of one's own domain, without labels or with few.",
        EXAMPLES,
        run,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="calibrated model file (.safetensors, .onnx), run folder, or a model's name")
    add("--to", metavar="FOLDER", type=Path, required=True, help="recordings of one's domain, of many people")
    add(
        "--labels",
        metavar="DATA",
        type=Path,
        help="recordings whose speakers are known: a list, or folders of speakers",
    )
    add("--out", metavar="FILE", type=Path, required=True, help="the model to write, of the same kind")
    add("--force", action="store_true", help="replace the file of --out")
    add("--seed", metavar="N", type=seed, default=0, help="of what is drawn (default: 0)")
    add("--threads", metavar="N", type=positive_integer, help="(default: as many as processors)")
    add("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Adapt, and print what came of it."""
    require_extra("Adapting", "train", "torch", "safetensors", "pydantic", "scipy")
    ready_for_computing()
    from sound_groove.export.adapted_file import adapt

    adapted = adapt(
        arguments.model,
        arguments.to,
        arguments.out,
        labels=arguments.labels,
        force=arguments.force,
        seed=arguments.seed,
        threads=arguments.threads or os.cpu_count() or 1,
    )
    for path, why in list(adapted.unusable.items())[:MOST_NAMED]:
        say(f"note: {printable(path)}: is left out: {printable(why)}")
    if len(adapted.unusable) > MOST_NAMED:
        say(f"note: {len(adapted.unusable) - MOST_NAMED:,} more are left out")
    if arguments.json:
        show_json(_record(adapted, arguments.out))
    else:
        show(*_lines(adapted))
    say(f"the adapted model is in {printable(str(arguments.out))}")
    return 0


def _lines(adapted: "Adapted") -> list[str]:
    """What came of it, for people."""
    domain, check = adapted.score_map.adapted_to, adapted.check
    assert domain is not None  # `adapt` gives no other map
    about = f"{domain.speakers} labelled speakers" if domain.labelled else f"about {domain.speakers} people"
    lines = [
        f"adapted to {domain.recordings:,} recordings, {about}",
        f"pairs of them: llr {domain.cohort_middle:.2f} +- {domain.cohort_deviation:.2f} (kept as these two numbers)",
        f"llr = {domain.scale:.3f} x the general one {domain.shift:+.3f}; their weight: {domain.weight:.2f}",
    ]
    if (clusters := adapted.clusters) is not None:
        sure = "learnt from" if clusters.weight > 0 else "not learnt from: too few, or not sure enough"
        lines.insert(2, f"{clusters.count} people told apart, {rate_text(clusters.found)} of their pairs found: {sure}")
    if check is None:
        return [*lines, "no check: too few recordings last 3 s, so that both their ends could be compared", UNKNOWN]
    lines.append(
        f"planted pairs (both ends of a recording, {check.planted:,}) and others ({check.others:,}), verdicts:"
    )
    for name, shares in (("before", check.before), ("after", check.after)):
        planted, others = (
            f"{rate_text(shares[f'{kind}_same'])} same, {rate_text(shares[f'{kind}_different'])} different"
            for kind in ("planted", "others")
        )
        lines.append(f"  {name:6}  planted: {planted}   others: {others}")
    return [*lines, UNKNOWN]


def _record(adapted: "Adapted", path: Path) -> dict[str, Any]:
    """The same for programs."""
    domain, clusters = adapted.score_map.adapted_to, adapted.clusters
    return {
        "file": str(path),
        "adapted_to": None if domain is None else asdict(domain),
        "cohort": asdict(adapted.cohort) | {"kept_as": "statistics"},
        "clusters": clusters and {"count": clusters.count, "found": clusters.found, "weight": clusters.weight},
        "check": None if adapted.check is None else asdict(adapted.check),
        "unusable": dict(adapted.unusable),
        "score_map": adapted.score_map.as_dict(),
    }
