"""`sound-groove who`: who spoke when in a long recording?"""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.decision_options import add_decision_options, decision_rule, show_warnings
from sound_groove.cli.options import add_channel_option, add_model_option, positive_integer
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.store_options import STORE_HELP, opened_store
from sound_groove.cli.verb import add_verb, ready_for_computing

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.diarization.clustering import SpeakerCount

EXAMPLES = """examples:
  sound-groove who meeting.wav                            who spoke when: speaker by speaker, turn by turn
  sound-groove who meeting.wav --speakers 3 --json
  sound-groove who meeting.wav --store office.db          with the names of those enrolled
  sound-groove who meeting.wav --rttm meeting.rttm --html meeting.html
  sound-groove who film.mp4 --srt film.srt                film.who.srt: the subtitles, with names

Names are those of a store's voiceprints, where one is given or lies here; whoever is not enrolled, or of whom it cannot
be said, is 'unknown 1', 'unknown 2' and so on. One decision is made for each speaker, over all that this person says;
--max-false-accept bounds the share of recordings in which anybody gets a wrong name. Who speaks at the
same time is told by a segmentation model ('sound-groove models get segmentation-3.0'); without one, only the one whose
voice is nearer. Up to 12 hours, in bounded memory.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "who",
        "who spoke when in a long recording, with the names of those enrolled",
        "Find out who spoke when in a recording.",
        EXAMPLES,
        run,
    )
    parser.add_argument(
        "recording", metavar="FILE", help="a recording: wav, flac, ogg, opus, mp3 and more; - for the standard input"
    )
    parser.add_argument("--speakers", metavar="N", type=positive_integer, help="so many people speak")
    parser.add_argument("--min", metavar="N", type=positive_integer, help="at least so many do")
    parser.add_argument("--max", metavar="N", type=positive_integer, help="at most so many do")
    parser.add_argument(
        "--clustering",
        metavar="WAY",
        choices=("vbx", "agglomerative", "spectral"),
        default="vbx",
        help="how speakers are told apart: vbx, agglomerative or spectral (default: vbx)",
    )
    parser.add_argument(
        "--segmentation",
        metavar="M",
        help="a segmentation model in ONNX, which tells who speaks at the same time; 'none' for none (default: "
        "segmentation-3.0, if 'models get' has fetched it)",
    )
    parser.add_argument("--store", metavar="S", help=f"{STORE_HELP}; no names where none is given and there is none")
    add_model_option(parser)
    add_channel_option(parser)
    add_decision_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rttm", metavar="F", type=Path, help="write the turns to this file, in RTTM")
    parser.add_argument(
        "--srt", metavar="F", type=Path, help="read these subtitles, and write them with names beside it, F.who.srt"
    )
    parser.add_argument("--html", metavar="F", type=Path, help="write a page that needs no other file; extra 'who'")
    parser.add_argument("--audio", action="store_true", help="put the sound into the page of --html")
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def run(arguments: argparse.Namespace) -> int:
    """Find the turns, print and write them, and say what weakens them."""
    ready_for_computing()
    from sound_groove.audio.given import STANDARD_INPUT
    from sound_groove.diarization.segmentation import Segmentation, chosen_segmentation
    from sound_groove.diarization.text import summary
    from sound_groove.diarization.who import who
    from sound_groove.diarization.written import Outputs
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.errors import UsageError
    from sound_groove.progress import ProgressBar
    from sound_groove.voiceprints.gallery import open_gallery
    from sound_groove.voiceprints.store.opening import has_default_store

    rule, count = decision_rule(arguments), speaker_count(arguments)
    if arguments.audio and arguments.html is None:
        raise UsageError("--audio puts the sound into a page: it needs --html")
    if arguments.audio and arguments.recording == STANDARD_INPUT:
        raise UsageError("--audio reads the recording once more, which the standard input cannot give; name a file")
    outputs = Outputs(arguments.rttm, arguments.srt, arguments.html, arguments.audio, arguments.force)
    outputs.check()
    asked = arguments.store is not None or has_default_store()
    chosen = chosen_segmentation(arguments.segmentation)
    segmentation = None if chosen is None else Segmentation(chosen)
    encoder = SpeakerEncoder.load(arguments.model or default_model())
    with (
        opened_store(arguments) if asked else nullcontext() as store,
        ProgressBar(desc="listening", unit="s", disable=None, leave=False) as bar,
    ):
        found = who(
            arguments.recording,
            encoder,
            None if store is None else open_gallery(store, encoder.identity, encoder.embedding_size),
            speakers=count,
            method=arguments.clustering,
            prior=arguments.prior,
            rule=rule,
            segmentation=segmentation,
            channel=arguments.channel,
            progress=bar.update,
        )
    for path in outputs.write(found, arguments.recording, arguments.channel):
        say(f"written: {path}")
    if arguments.json:
        show_json(found.as_dict())
    else:
        show(*summary(found))
    show_warnings(found.warnings)
    return 0


def speaker_count(arguments: argparse.Namespace) -> "SpeakerCount":
    """How many speakers the options allow.

    Raises:
        UsageError: they contradict each other.
    """
    from sound_groove.diarization.clustering import SpeakerCount
    from sound_groove.errors import UsageError

    if arguments.speakers is None:
        return SpeakerCount(arguments.min or 1, arguments.max)
    if arguments.min or arguments.max:
        raise UsageError("--speakers says how many people speak; --min and --max are for when that is not known")
    return SpeakerCount(arguments.speakers, arguments.speakers)
