"""`sound-groove identify`: who of those enrolled is speaking?"""

import argparse
from typing import TYPE_CHECKING

from sound_groove.cli.decision_options import (
    add_decision_options,
    calibration_text,
    decision_rule,
    show_answer,
    show_warnings,
)
from sound_groove.cli.options import add_channel_option, add_model_option, positive_integer
from sound_groove.cli.output import show_json
from sound_groove.cli.store_options import add_store_option, opened_store
from sound_groove.cli.verb import add_verb
from sound_groove.errors import printable
from sound_groove.percentages import probability_text
from sound_groove.terminal import columns_of, padded

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.voiceprints.identification import Identification

EXAMPLES = """examples:
  sound-groove identify call.wav
  sound-groove identify call.wav --top 10 --store office.db --json
  sound-groove identify call.wav --prior 0.9 --max-false-accept 0.01

The answer is a name, 'nobody enrolled', or 'inconclusive'. --prior is the probability, before listening, that somebody
enrolled is speaking; each of them is as likely as the others. The more are enrolled, the more it takes to be named:
--max-false-accept bounds the share of recordings that get a wrong name, however many are enrolled.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "identify",
        "who of those enrolled is speaking, or nobody",
        "Find out who of those enrolled is speaking, or that nobody of them is.",
        EXAMPLES,
        run,
    )
    parser.add_argument(
        "recording", metavar="FILE", help="a recording: wav, flac, ogg, opus, mp3 and more; - for the standard input"
    )
    parser.add_argument("--top", metavar="N", type=positive_integer, default=5, help="candidates to show (default: 5)")
    add_store_option(parser)
    add_model_option(parser)
    add_channel_option(parser)
    add_decision_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Look for the speaker, print the answer, and say what weakens it."""
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.voiceprints.gallery import open_gallery
    from sound_groove.voiceprints.identification import identify

    rule = decision_rule(arguments)
    with opened_store(arguments) as store:
        encoder = SpeakerEncoder.load(arguments.model or default_model())
        found = identify(
            open_gallery(store, encoder.identity, encoder.embedding_size),
            arguments.recording,
            encoder,
            top=arguments.top,
            prior=arguments.prior,
            rule=rule,
            channel=arguments.channel,
        )
    if arguments.json:
        show_json(found.as_dict())
    else:
        show_answer(summary(found), found.verdict)
    show_warnings(found.warnings)
    return 0


def summary(found: "Identification") -> tuple[str, ...]:
    """The answer for people: a line for the verdict, one for each candidate, and what they were weighed by."""
    from sound_groove.scoring.strength import NOT_DETECTED

    verdict = {
        "identified": found.speaker or "",
        "nobody": "nobody enrolled",
        "inconclusive": "inconclusive",
    }
    lines = [f"verdict      {verdict[found.verdict]}"]
    width = max((columns_of(printable(match.name)) for match in found.candidates), default=0)
    for match in found.candidates:
        chance = "" if match.probability is None else f"  probability {probability_text(match.probability):>12}"
        evidence = "" if match.llr is None else f"  llr {match.llr:.2f}"
        lines.append(f"candidate    {padded(printable(match.name), width)}{chance}  score {match.score:.3f}{evidence}")
    if found.nobody is not None:
        lines.append(
            f"nobody       probability {probability_text(found.nobody)}  "
            f"(at a prior of {found.prior:g} that somebody is)"
        )
    if found.limit is not None and found.cohort_llr is not None:
        lines.append(
            f"evidence     a name needs llr {found.limit:.2f} with {found.enrolled:,} enrolled; the others take "
            f"{found.cohort_llr:.2f} from each"
        )
    lines.append(f"model        {found.model.label}{calibration_text(found.collections)}")
    return *lines, f"note         {NOT_DETECTED}"
