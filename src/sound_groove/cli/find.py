"""`sound-groove find`: where in an archive does somebody speak?"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sound_groove.cli.decision_options import show_warnings
from sound_groove.cli.options import add_channel_option, add_model_option, number, positive_integer
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.store_options import add_store_option, opened_store
from sound_groove.cli.verb import add_verb, ready_for_computing

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.encoder.encoder import SpeakerEncoder
    from sound_groove.voiceprints.sought import SoughtVoice

EXAMPLES = """examples:
  sound-groove find anna meetings.index                       where she speaks who is enrolled as anna
  sound-groove find anna-1.wav anna-2.wav meetings.index      the person of two recordings
  sound-groove find anna meetings.index calls.index --per-hour 0.1 --json
  sound-groove find anna meetings.index --m3u anna.m3u        a playlist, which a player opens at the right moments

An index is what 'sound-groove index FOLDER' makes. --per-hour says how many false alarms are allowed in an hour of
recordings; every stretch says how many an hour of others' windows would score as high. Rare alarms cost misses.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    parser = add_verb(
        verbs,
        "find",
        "where in an archive of recordings somebody speaks",
        "Find where somebody speaks in recordings that 'index' has heard.",
        EXAMPLES,
        run,
    )
    parser.add_argument(
        "words",
        metavar="NAME|CLIP|INDEX",
        nargs="+",
        help="a name that is enrolled, or recordings of the person; and one index or several",
    )
    parser.add_argument(
        "--per-hour", metavar="R", type=number, default=1.0, help="false alarms allowed in an hour (default: 1)"
    )
    parser.add_argument("--top", metavar="N", type=positive_integer, help="tell the N best stretches (default: all)")
    add_store_option(parser)
    add_model_option(parser)
    add_channel_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--m3u", metavar="F", type=Path, help="write a playlist of the stretches")
    parser.add_argument("--force", action="store_true", help="replace a playlist that is there")


def run(arguments: argparse.Namespace) -> int:
    """Find the stretches, print and write them, and say what weakens them."""
    ready_for_computing()
    from sound_groove.archive.finding import check_asked, find
    from sound_groove.archive.playlist import write_playlist
    from sound_groove.archive.recordings import open_archive
    from sound_groove.archive.text import summary
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.errors import OutputError, printable

    check_asked(arguments.per_hour, arguments.top)
    people, indexes = sorted_words(arguments.words)
    if arguments.m3u is not None and arguments.m3u.exists() and not arguments.force:
        raise OutputError(f"{printable(str(arguments.m3u))}: is there already; pass --force to replace it")
    archives = [open_archive(path) for path in indexes]
    encoder = SpeakerEncoder.load(arguments.model or default_model())
    found = find(archives, sought(arguments, people, encoder), encoder, per_hour=arguments.per_hour, top=arguments.top)
    if arguments.m3u is not None:
        write_playlist(found, arguments.m3u)
        say(f"written: {printable(str(arguments.m3u))}")
    if arguments.json:
        show_json(found.as_dict())
    else:
        show(*summary(found))
    if not found.is_complete:
        say("warning: an index is not complete, since a run was ended early; 'sound-groove index' goes on with it")
    show_warnings(found.warnings)
    return 0


def sorted_words(words: Sequence[str]) -> tuple[list[str], list[Path]]:
    """The name or the recordings among the words, and the indexes, which say themselves that they are.

    Raises:
        UsageError: there is no index among them, or nothing else.
    """
    from sound_groove.archive.index_file import is_index
    from sound_groove.archive.indexing import SUFFIX
    from sound_groove.errors import UsageError

    indexes = [word for word in words if word.endswith(SUFFIX) or is_index(Path(word))]
    people = [word for word in words if word not in indexes]
    if not indexes:
        raise UsageError("name the index to look in, which 'sound-groove index FOLDER' makes: FOLDER.index")
    if not people:
        raise UsageError("say whom to look for: a name that is enrolled, or recordings of the person")
    return people, [Path(word) for word in indexes]


def sought(arguments: argparse.Namespace, people: Sequence[str], encoder: "SpeakerEncoder") -> "SoughtVoice":
    """Whom the words name: the person of some recordings where the first is a file, else somebody enrolled.

    Raises:
        UsageError: there are several names.
    """
    from sound_groove.audio.given import STANDARD_INPUT, split_name
    from sound_groove.errors import UsageError, printable
    from sound_groove.voiceprints.sought import enrolled_voice, recorded_voice

    clips = [word for word in people if word == STANDARD_INPUT or split_name(word)[0].is_file()]
    if len(clips) == len(people):
        return recorded_voice(people, encoder, arguments.channel)
    if len(people) > 1:
        name = next(word for word in people if word not in clips)
        raise UsageError(
            f"there is no recording '{printable(name)}'; give recordings of one person, or one name that is enrolled"
        )
    with opened_store(arguments) as store:
        return enrolled_voice(store, people[0], encoder)
