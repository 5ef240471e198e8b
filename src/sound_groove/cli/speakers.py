"""`sound-groove speakers`: who is enrolled, and forgetting them."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sound_groove.cli.options import add_model_option
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.store_options import ACTOR, add_store_option, opened_store
from sound_groove.cli.verb import add_verb
from sound_groove.errors import SoundGrooveError, printable

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.voiceprints.store.records import SpeakerEntry

EXAMPLES = {
    "list": "sound-groove speakers list --store office.db",
    "show": "sound-groove speakers show anna",
    "remove": "sound-groove speakers remove anna",
    "export": "sound-groove speakers export voiceprints.npz",
    "import": "sound-groove speakers import voiceprints.npz --store other.db",
    "re-embed": "sound-groove speakers re-embed --model new.onnx     all whose audio was kept",
    "index": "sound-groove speakers index --store postgresql://db/voices",
    "history": "sound-groove speakers history                       enrolments and removals, without names",
}
REMOVAL = """A removed speaker is gone for good: name, embeddings and audio are overwritten, the file is written anew
without them, and its log is emptied. What a disk, snapshots, backups or exports keep is beyond this command.
"""
EXPORT = """The file has the embeddings of one model, with names, dates and figures; no audio. It is not encrypted.
It is also a file of embeddings, as 'sound-groove verify --cohort' takes them.
"""
INDEX = """A PostgreSQL server searches faster with an index (HNSW of pgvector), and then misses a few. Who is enrolled
later is added to it. A file, and an encrypted store, are searched in memory and exactly, and need none.
"""


def register(verbs: "Verbs") -> None:
    """Add the verb's parser."""
    examples = "\n  ".join(["examples:", *EXAMPLES.values()]) + "\n"
    parser = add_verb(verbs, "speakers", "who is enrolled; remove, export, import", "See to a store.", examples)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = _add(actions, "list", "who is enrolled", _list)
    shown = _add(actions, "show", "what is kept of a speaker", _show)
    removed = _add(actions, "remove", "forget speakers for good", _remove, REMOVAL)
    exported = _add(actions, "export", "voiceprints into a file", _export, EXPORT)
    imported = _add(actions, "import", "voiceprints from a file", _import)
    embedded = _add(actions, "re-embed", "voiceprints anew, by another model", _re_embed)
    indexed = _add(actions, "index", "make a server search faster", _index, INDEX)
    history = _add(actions, "history", "enrolments and removals", _history)
    shown.add_argument("name", metavar="NAME", help="of the speaker")
    removed.add_argument("names", metavar="NAME", nargs="+", help="of a speaker")
    exported.add_argument("file", metavar="F.npz", type=Path, help="the new file")
    exported.add_argument("--of-model", metavar="HASH", help="of this model only: its hash, or how it begins")
    exported.add_argument("--force", action="store_true", help="replace the file that is there")
    imported.add_argument("file", metavar="F.npz", type=Path, help="a file of 'speakers export'")
    for action in (embedded, indexed):
        add_model_option(action)
    for action in (listed, shown, removed, imported, embedded, history):
        action.add_argument("--json", action="store_true", help="print JSON")


def _add(
    actions: "Verbs", name: str, text: str, run: Callable[[argparse.Namespace], int], note: str = ""
) -> argparse.ArgumentParser:
    epilog = f"example:\n  {EXAMPLES[name]}\n" + (f"\n{note}" if note else "")
    parser = add_verb(actions, name, text, f"{text[0].upper()}{text[1:]}.", epilog, run)
    add_store_option(parser)
    return parser


def _list(arguments: argparse.Namespace) -> int:
    with opened_store(arguments) as store:
        entries = store.speakers()
    if arguments.json:
        return _print_json([asdict(entry) for entry in entries])
    width = max((len(printable(entry.name)) for entry in entries), default=0)
    for entry in entries:
        show(f"{printable(entry.name):{width}}  {_line(entry)}")
    say("1 speaker" if len(entries) == 1 else f"{len(entries):,} speakers")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    with opened_store(arguments) as store:
        voiceprint = store.voiceprint(arguments.name)
    if arguments.json:
        recordings = [asdict(recording.entry) for recording in voiceprint.recordings]
        return _print_json({**asdict(voiceprint.speaker), "enrolled": recordings})
    show(f"{voiceprint.speaker.name}  {_line(voiceprint.speaker)}")
    for recording in voiceprint.recordings:
        audio = ", audio kept" if recording.audio else ""
        show(
            f"  {recording.enrolled_at}  {recording.source}  {recording.duration_s:.1f} s, "
            f"{recording.speech_s:.1f} s of speech, {recording.snr_db:.0f} dB{audio}"
        )
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from sound_groove.voiceprints.store.names import checked_name

    with opened_store(arguments) as store:
        # All are looked up first: a mistyped name must not leave half of them removed.
        for name in dict.fromkeys(map(checked_name, arguments.names)):
            store.voiceprint(name)
        done = [store.remove(name, ACTOR) for name in dict.fromkeys(map(checked_name, arguments.names))]
    if arguments.json:
        return _print_json([asdict(erasure) for erasure in done])
    for erasure in done:
        count = erasure.speaker.recordings
        show(f"{erasure.speaker.name} is erased for good, with {count} recording{'' if count == 1 else 's'}")
    if not all(erasure.complete for erasure in done):
        say(
            "warning: remains are left in the store, since another process was reading it or its tables are too large "
            "to be written anew at once; they go with the next removal that nothing stands in the way of"
        )
    for where in dict.fromkeys(erasure.out_of_reach for erasure in done if erasure.out_of_reach):
        say(f"note: {where}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from sound_groove.errors import UsageError
    from sound_groove.voiceprints.store.exchange import export_voiceprints

    if arguments.file.suffix != ".npz":
        raise UsageError(f"the file must end in .npz, and '{printable(str(arguments.file))}' was given")
    with opened_store(arguments) as store:
        count = export_voiceprints(store, arguments.file, arguments.of_model, arguments.force)
        if store.encrypted:
            say("warning: the file is not encrypted, as the store is")
    show(str(arguments.file))
    say("1 speaker exported" if count == 1 else f"{count:,} speakers exported")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from sound_groove.progress import ProgressBar
    from sound_groove.voiceprints.store.exchange import import_voiceprints, read_voiceprints

    file = read_voiceprints(arguments.file)
    with (
        opened_store(arguments, create=True) as store,
        ProgressBar(total=len(file.speakers), desc="enrolling", unit="speaker", disable=None) as bar,
    ):
        done = import_voiceprints(store, file, ACTOR, bar.update)
    if done.repeated:
        one, other = done.elsewhere[0]
        count = "1 recording is" if done.repeated == 1 else f"{done.repeated:,} recordings are"
        say(
            f"warning: the audio of {count} enrolled under more than one name, such as '{one}' and '{other}'; remove "
            "it where it does not belong"
        )
    if arguments.json:
        return _print_json(asdict(done))
    show(f"{done.speakers:,} speakers, {done.recordings:,} recordings enrolled; {done.known:,} were there already")
    return 0


def _re_embed(arguments: argparse.Namespace) -> int:
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.progress import ProgressBar
    from sound_groove.voiceprints.enrolment import re_embed

    encoder = SpeakerEncoder.load(arguments.model or default_model())
    done, left = [], {}
    with opened_store(arguments) as store:
        entries = [entry for entry in store.speakers() if entry.model.hash != encoder.identity.hash]
        for entry in ProgressBar(entries, desc="embedding", unit="speaker", disable=None):
            try:
                done.append(re_embed(store, entry.name, encoder, ACTOR).name)
            except SoundGrooveError as error:
                left[entry.name] = str(error)
    if arguments.json:
        _print_json({"model": asdict(encoder.identity), "embedded": done, "left": left})
    else:
        show(f"{len(done):,} of {len(entries):,} embedded by {encoder.identity.label}")
    for reason in left.values():
        say(f"left alone: {reason}")
    return 1 if left else 0


def _index(arguments: argparse.Namespace) -> int:
    from sound_groove.encoder.encoder import SpeakerEncoder, default_model
    from sound_groove.errors import StoreError
    from sound_groove.voiceprints.gallery import searches_itself

    with opened_store(arguments) as store:
        if not searches_itself(store):
            raise StoreError(f"{store.location}: is searched in memory, exactly, and needs no index")
        model = SpeakerEncoder.load(arguments.model or default_model()).identity
        store.build_index(model.hash)
        count = store.count(model.hash)
    show(f"{count:,} speakers of {model.label} are indexed in {store.location}")
    return 0


def _history(arguments: argparse.Namespace) -> int:
    with opened_store(arguments) as store:
        events = store.events()
    if arguments.json:
        return _print_json([asdict(event) for event in events])
    for event in events:
        show(
            f"{event.revision:6}  {event.time}  {event.action:11}  speaker {event.speaker_id}  "
            f"{event.recordings} by {event.actor}, model {event.model[:12]}"
        )
    return 0


def _line(entry: "SpeakerEntry") -> str:
    """What is kept of a speaker, on one line."""
    count = "1 recording" if entry.recordings == 1 else f"{entry.recordings} recordings"
    kept = f", audio of {entry.with_audio} kept" if entry.with_audio else ""
    return (
        f"{count}, {entry.speech_s:.1f} s of speech{kept}, {entry.enrolled_at[:10]} to {entry.changed_at[:10]}, "
        f"model {entry.model.label}"
    )


def _print_json(content: Any) -> int:
    show_json(content)
    return 0
