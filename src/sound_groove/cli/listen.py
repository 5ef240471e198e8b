"""`sound-groove listen`: is it one of those named? Told as soon as the evidence allows it."""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from sound_groove.cli.decision_options import show_warnings
from sound_groove.cli.options import add_model_option, number, positive_integer
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.store_options import add_store_option, opened_store
from sound_groove.cli.verb import add_verb, ready_for_computing

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.encoder.encoder import SpeakerEncoder
    from sound_groove.types import Samples
    from sound_groove.voiceprints.sought import SoughtVoice

EXAMPLES = """examples:
  arecord -q -f S16_LE -r 16000 -t raw | sound-groove listen anna --rate 16000
  ffmpeg -v error -i rtsp://door -f s16le -ac 1 -ar 16000 - | sound-groove listen anna ben --rate 16000 --json
  cat call.wav | sound-groove listen anna
  sound-groove listen boss.wav --microphone               the person of a recording; extra 'microphone'

Sound comes from the standard input, a wav file of 16-bit samples or with --rate raw ones (16-bit, little-endian, mono),
or from the microphone. The evidence of a voice gathers until it allows a verdict: who of those named it is, or nobody
of them; --max-false-accept and --max-false-reject promise how often that errs, however often was looked before. When
the voice changes everything begins afresh. Ctrl-C ends it.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "listen",
        "live: is it one of those named? told as soon as it is sure",
        "Listen to a voice as it speaks, and tell whose it is as soon as the evidence allows it.",
        EXAMPLES,
        run,
    )
    parser.add_argument(
        "people", metavar="NAME|CLIP", nargs="+", help="names that are enrolled, or recordings, of a person each"
    )
    parser.add_argument("--rate", metavar="HZ", type=positive_integer, help="raw samples of this rate come")
    parser.add_argument("--microphone", action="store_true", help="listen to the microphone")
    parser.add_argument(
        "--max-false-accept",
        metavar="R",
        type=number,
        default=0.01,
        help="of other voices, call at most this share by a name (default: 0.01)",
    )
    parser.add_argument(
        "--max-false-reject",
        metavar="R",
        type=number,
        default=0.05,
        help="of the voices of those named, call at most this share nobody (default: 0.05)",
    )
    parser.add_argument(
        "--prior", metavar="P", type=number, default=0.5, help="default: 0.5; moves probabilities alone"
    )
    parser.add_argument("--until-verdict", action="store_true", help="end with the first verdict")
    add_store_option(parser)
    add_model_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, as soon as it is known")


def run(arguments: argparse.Namespace) -> int:
    """Listen until the sound ends, and say what was found."""
    ready_for_computing()
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.live.listening import LiveEvent, LiveListener
    from sound_groove.live.text import line, summary

    encoder = SpeakerEncoder.load(arguments.model or default_model(), threads=1)
    voices = named_voices(arguments, encoder)
    listener = LiveListener(
        voices,
        encoder,
        max_false_accept=arguments.max_false_accept,
        max_false_reject=arguments.max_false_reject,
        prior=arguments.prior,
    )
    verdicts = list[LiveEvent]()

    def tell(event: LiveEvent) -> None:
        if arguments.json:
            show_json(event.as_dict(), indent=None, at_once=True)
        else:
            show(line(event), at_once=True)

    for voice in voices:
        show_warnings(voice.warnings)
    try:
        for samples in pieces(arguments):
            for event in listener.add(samples):
                verdicts += [event] if event.kind == "verdict" else []
                tell(event)
            if verdicts and arguments.until_verdict:
                break
    except KeyboardInterrupt:
        say("ended")
    last = listener.end()
    if arguments.json:
        tell(last)
    else:
        show(*summary(verdicts, last))
    return 0


def pieces(arguments: argparse.Namespace) -> "Iterator[Samples]":
    """Where the sound comes from.

    Raises:
        UsageError: from two places at once.
    """
    import sys

    from sound_groove.audio.limits import SAMPLE_RATE
    from sound_groove.live.sources import audio_stream, microphone

    if arguments.microphone:
        return microphone(arguments.rate or SAMPLE_RATE)
    return audio_stream(sys.stdin.buffer, arguments.rate)


def named_voices(arguments: argparse.Namespace, encoder: "SpeakerEncoder") -> "list[SoughtVoice]":
    """Everybody whom the words name: the person of a recording where there is such a file, else somebody enrolled."""
    from sound_groove.audio.given import split_name
    from sound_groove.voiceprints.sought import enrolled_voice, recorded_voice

    found = []
    with ExitStack() as opened:
        store = None
        for word in arguments.people:
            if split_name(word)[0].is_file():
                found.append(replace(recorded_voice(word, encoder), name=word))
                continue
            store = store or opened.enter_context(opened_store(arguments))
            found.append(enrolled_voice(store, word, encoder))
    return found
