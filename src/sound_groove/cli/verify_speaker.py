"""`sound-groove verify-speaker`: is this recording of an enrolled speaker?"""

import argparse
from typing import TYPE_CHECKING

from sound_groove.cli.decision_options import add_decision_options, decision_rule, show_comparison
from sound_groove.cli.options import add_channel_option, add_model_option
from sound_groove.cli.store_options import add_store_option, opened_store
from sound_groove.cli.verb import add_verb

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = """examples:
  sound-groove verify-speaker anna call.wav
  sound-groove verify-speaker anna call.wav --store office.db --json
  sound-groove verify-speaker anna call.wav --max-false-accept 0.001

The recording is compared with the mean of what is enrolled under the name ('sound-groove enroll'); the answer and its
options are those of 'sound-groove compare'.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "verify-speaker",
        "is a recording of an enrolled speaker?",
        "Compare a recording with an enrolled speaker: same, different, or inconclusive.",
        EXAMPLES,
        run,
    )
    parser.add_argument("name", metavar="NAME", help="of the enrolled speaker")
    parser.add_argument(
        "recording", metavar="FILE", help="a recording: wav, flac, ogg, opus, mp3 and more; - for the standard input"
    )
    add_store_option(parser)
    add_model_option(parser)
    add_channel_option(parser)
    add_decision_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the answer, and say what weakens it."""
    from sound_groove.comparison import check_prior
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.voiceprints.verification import verify_speaker

    check_prior(arguments.prior)
    rule = decision_rule(arguments)
    with opened_store(arguments) as store:
        encoder = SpeakerEncoder.load(arguments.model or default_model())
        found = verify_speaker(
            store,
            arguments.name,
            arguments.recording,
            encoder,
            prior=arguments.prior,
            rule=rule,
            channel=arguments.channel,
        )
    show_comparison(found, {"speaker": arguments.name, **found.as_dict()} if arguments.json else None)
    return 0
