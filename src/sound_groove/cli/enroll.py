"""`sound-groove enroll`: recordings of a speaker into a store."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from sound_groove.cli.decision_options import show_warnings
from sound_groove.cli.options import add_channel_option, add_model_option, positive_integer
from sound_groove.cli.output import show, show_json
from sound_groove.cli.store_options import ACTOR, KEY_NOTE, add_store_option, opened_store
from sound_groove.cli.verb import add_verb

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs

EXAMPLES = f"""examples:
  sound-groove enroll anna anna-1.wav anna-2.wav
  sound-groove enroll anna another-day.wav              one more: several days and microphones make it better
  sound-groove enroll anna visit.wav --voice 2          of a recording in which several speak, the second voice alone
  sound-groove enroll 'Ben Müller' ben.wav --store office.db --keep-audio

Nothing is enrolled if one of the recordings cannot be used, has less than 2 s of speech, is enrolled already, does not
sound like the speaker's others, has several voices in it, or channels of different sound and none was chosen. A
speaker has voiceprints of one model only; with --keep-audio another model can make them anew ('sound-groove speakers
re-embed').

{KEY_NOTE}"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs, "enroll", "a speaker's recordings into a store", "Enrol a speaker under a name.", EXAMPLES, run
    )
    parser.add_argument("name", metavar="NAME", help="of the speaker: up to 200 characters")
    parser.add_argument("recordings", metavar="FILE", nargs="+", help="a recording of this speaker alone")
    add_store_option(parser)
    add_model_option(parser)
    add_channel_option(parser)
    parser.add_argument("--keep-audio", action="store_true", help="keep the recordings too, so as to embed them again")
    parser.add_argument(
        "--voice",
        metavar="N",
        type=positive_integer,
        help="where several voices are found in a recording, enrol the N-th alone; 1 speaks longest",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="enrol also what has little speech, has several voices, or does not sound like the others",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Enrol, and say what is there now."""
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.voiceprints.enrolment import enroll
    from sound_groove.voiceprints.store.names import checked_name

    checked_name(arguments.name)  # before a store is made for it
    encoder = SpeakerEncoder.load(arguments.model or default_model())
    with opened_store(arguments, create=True) as store:
        done = enroll(
            store,
            arguments.name,
            arguments.recordings,
            encoder,
            force=arguments.force,
            keep_audio=arguments.keep_audio,
            actor=ACTOR,
            channel=arguments.channel,
            voice=arguments.voice,
        )
        location, encrypted = store.location, store.encrypted
    if arguments.json:
        show_json(asdict(done))
    else:
        agreed = [score for score in done.agreement if score is not None]
        fit = f", scores with the others {', '.join(f'{score:.3f}' for score in agreed)}" if agreed else ""
        show(f"enrolled     {done.speaker.name} in {location}{' (encrypted)' if encrypted else ''}")
        show(f"recordings   {done.added} came{fit}")
        count = "1 recording" if done.speaker.recordings == 1 else f"{done.speaker.recordings} recordings"
        show(f"now          {count}, {done.speaker.speech_s:.1f} s of speech")
        show(f"model        {done.speaker.model.label}")
    show_warnings(done.warnings)
    return 0
