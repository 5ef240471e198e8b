"""`sound-groove compare`: are two recordings of the same speaker?"""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from sound_groove.cli.options import add_model_option, number, positive_integer
from sound_groove.cli.verb import add_verb

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.verifier import Comparison

EXAMPLES = """examples:
  sound-groove compare a.wav b.wav
  sound-groove compare a.wav b.wav --model outputs/ecapa512
  sound-groove compare a.wav b.wav --model best.safetensors --json
  SOUND_GROOVE_MODEL=best.safetensors sound-groove compare a.wav b.wav --prior 0.01
  sound-groove compare a.wav b.wav --model best.onnx --max-false-accept 0.01

The verdict is 'same', 'different' or 'inconclusive'; the last when a verdict is not worth its risk, or when a recording
has less than half a second of speech. By default that is between probabilities of 0.2 and 0.8. How sure a verdict must
be is said by costs, or by the largest share of comparisons that may go wrong, whatever the prior; both rely on the
model's calibration ('sound-groove calibrate'). --prior is the probability of the same speaker before listening.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "compare",
        "two recordings: same speaker, different, or inconclusive",
        "Compare two recordings: same speaker, different speakers, or inconclusive.",
        EXAMPLES,
        run,
    )
    parser.add_argument("a", metavar="A", help="a recording: wav, flac, ogg, opus, mp3")
    parser.add_argument("b", metavar="B", help="another")
    add_model_option(parser)
    parser.add_argument("--prior", metavar="P", type=number, default=0.5, help="default: 0.5")
    parser.add_argument(
        "--max-false-accept",
        metavar="R",
        type=number,
        help="of comparisons of different speakers, call at most this share 'same', such as 0.01",
    )
    parser.add_argument(
        "--max-false-reject",
        metavar="R",
        type=number,
        help="of comparisons of one speaker, call at most this share 'different'",
    )
    parser.add_argument(
        "--costs",
        metavar=("FA", "FR", "NONE"),
        nargs=3,
        type=number,
        help="of a wrong 'same', a wrong 'different' and no verdict (default: 1 1 0.2)",
    )
    parser.add_argument(
        "--crops",
        metavar="N",
        type=positive_integer,
        help="average N evenly spaced crops instead of taking the whole recording",
    )
    parser.add_argument(
        "--crop-frames",
        metavar="F",
        type=positive_integer,
        help="length of a crop in 10 ms (default: 400)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the answer, and say what weakens it."""
    from sound_groove.decision import DEFAULT_COSTS, DecisionRule
    from sound_groove.encoder import default_model
    from sound_groove.errors import UsageError
    from sound_groove.types import CropAveraging
    from sound_groove.verifier import check_prior, compare

    check_prior(arguments.prior)
    if arguments.crop_frames and not arguments.crops:
        raise UsageError("--crop-frames needs --crops")
    false_accept, false_reject, inconclusive = arguments.costs or DEFAULT_COSTS
    rule = DecisionRule(
        false_accept, false_reject, inconclusive, arguments.max_false_accept, arguments.max_false_reject
    )
    model = arguments.model or default_model()
    crops = CropAveraging(arguments.crops, arguments.crop_frames or 400) if arguments.crops else None
    comparison = compare(arguments.a, arguments.b, model, prior=arguments.prior, rule=rule, crops=crops)
    if arguments.json:
        print(json.dumps(comparison.as_dict(), indent=2, allow_nan=False))
    else:
        print(summary(comparison))
    for warning in comparison.warnings:
        print(f"warning: {warning.message}", file=sys.stderr)
    return 0


def summary(comparison: "Comparison") -> str:
    """The answer for people, on a few lines."""
    verdict = {"same": "same speaker", "different": "different speakers", "inconclusive": "inconclusive"}
    threshold = "" if comparison.threshold is None else f"  (even chances at {comparison.threshold:.3f})"
    if comparison.llr is None or comparison.probability is None:
        evidence, probability = "unknown", "unknown"
    else:
        low, high = comparison.limits
        doubt = "uncalibrated, " if any(warning.code == "uncalibrated" for warning in comparison.warnings) else ""
        evidence = f"llr {comparison.llr:.2f}  ('same' from {high:.2f}, 'different' below {low:.2f})"
        probability = f"{comparison.probability:.3f}  ({doubt}at a prior of {comparison.prior:g})"
    return "\n".join(
        (
            f"verdict      {verdict[comparison.verdict]}",
            f"score        {comparison.score:.3f}{threshold}",
            f"evidence     {evidence}",
            f"probability  {probability}",
            f"model        {comparison.model.name} ({comparison.model.hash[:12]})",
        )
    )
