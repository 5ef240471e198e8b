"""`sound-groove compare`: are two recordings of the same speaker?"""

import argparse
from typing import TYPE_CHECKING

from sound_groove.cli.decision_options import add_decision_options, decision_rule, show_comparison
from sound_groove.cli.options import add_channel_option, add_model_option, positive_integer
from sound_groove.cli.verb import add_verb

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove compare a.wav b.wav
  sound-groove compare a.wav b.wav --model outputs/ecapa512
  sound-groove compare a.wav b.wav --model best.safetensors --json
  SOUND_GROOVE_MODEL=best.safetensors sound-groove compare a.wav b.wav --prior 0.01
  sound-groove compare a.wav b.wav --model best.onnx --max-false-accept 0.01
  sound-groove compare a.wav b.wav --exit-code           0: same, 10: different, 11: inconclusive
  sound-groove compare 'call.wav#1' 'call.wav#2'        the two sides of a call; --channel N is of both recordings

The verdict is 'same', 'different' or 'inconclusive'; the last when a verdict is not worth its risk, when a recording
has less than half a second of speech, or when its channels carry different sound and none was chosen. By default that
is between probabilities of 0.2 and 0.8. How sure a verdict must be is said by costs, or by the largest share of
comparisons that may go wrong, whatever the prior; both rely on the model's calibration ('sound-groove calibrate').
--prior is the probability of the same speaker before listening.
"""
EXIT_CODES = {"same": 0, "different": 10, "inconclusive": 11}


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
    parser.add_argument(
        "a", metavar="A", help="a recording: wav, flac, ogg, opus, mp3 and more; - for the standard input"
    )
    parser.add_argument("b", metavar="B", help="another")
    add_model_option(parser)
    add_channel_option(parser)
    add_decision_options(parser)
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
    parser.add_argument(
        "--exit-code",
        action="store_true",
        help="exit with 0 for the same speaker, 10 for different speakers and 11 for inconclusive",
    )


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the answer, and say what weakens it."""
    from sound_groove.comparison import check_prior, compare
    from sound_groove.encoder.encoder import default_model
    from sound_groove.errors import UsageError
    from sound_groove.types import CropAveraging

    check_prior(arguments.prior)
    if arguments.crop_frames and not arguments.crops:
        raise UsageError("--crop-frames needs --crops")
    model = arguments.model or default_model()
    crops = CropAveraging(arguments.crops, arguments.crop_frames or 400) if arguments.crops else None
    comparison = compare(
        arguments.a,
        arguments.b,
        model,
        prior=arguments.prior,
        rule=decision_rule(arguments),
        crops=crops,
        channel=arguments.channel,
    )
    show_comparison(comparison, comparison.as_dict() if arguments.json else None)
    return EXIT_CODES[comparison.verdict] if arguments.exit_code else 0
