"""`sound-groove speakers`: who is enrolled, and forgetting them."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sound_groove.cli.options import add_model_option
from sound_groove.cli.output import say, show, show_json
from sound_groove.cli.store_options import ACTOR, add_store_option, opened_store, show_damaged
from sound_groove.cli.verb import add_verb
from sound_groove.errors import SoundGrooveError, printable
from sound_groove.terminal import columns_of, padded

if TYPE_CHECKING:
    from sound_groove.cli.verb import Verbs
    from sound_groove.voiceprints.store.records import Erasure, SpeakerEntry

EXAMPLES = {
    "list": "sound-groove speakers list --store office.db",
    "show": "sound-groove speakers show anna",
    "remove": "sound-groove speakers remove anna",
    "export": "sound-groove speakers export voiceprints.npz",
    "import": "sound-groove speakers import voiceprints.npz --store other.db",
    "re-embed": "sound-groove speakers re-embed --model new.onnx     all whose audio was kept",
    "upgrade": "sound-groove speakers upgrade                       an encrypted store of an earlier version",
    "index": "sound-groove speakers index --store postgresql://db/voices",
    "history": "sound-groove speakers history                       enrolments and removals, without names",
}
REMOVAL = """A removed speaker is gone for good: name, embeddings and audio are overwritten where they are, and the log
is emptied. Where another process was reading meanwhile, remains are left and the exit status is 3: give the command
again. What a disk, snapshots, backups or exports keep is beyond this command.
"""
UPGRADE = """Before this version, whoever could write to an encrypted store could change names and figures without its
key. This takes such a store over: figures are computed anew from what is encrypted; names, dates and models are trusted
as they are, so look through 'speakers list' afterwards. Other stores are upgraded when they are opened.
"""
INCOMPLETE = 3  # the exit status of a removal that left remains
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
    parser.usual = "list"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = _add(actions, "list", "who is enrolled", _list)
    shown = _add(actions, "show", "what is kept of a speaker", _show)
    removed = _add(actions, "remove", "forget speakers for good", _remove, REMOVAL)
    exported = _add(actions, "export", "voiceprints into a file", _export, EXPORT)
    imported = _add(actions, "import", "voiceprints from a file", _import)
    embedded = _add(actions, "re-embed", "voiceprints anew, by another model", _re_embed)
    _add(actions, "upgrade", "take over a store of an earlier version", _upgrade, UPGRADE)
    indexed = _add(actions, "index", "make a server search faster", _index, INDEX)
    history = _add(actions, "history", "enrolments and removals", _history)
    shown.add_argument("name", metavar="NAME", help="of the speaker")
    removed.add_argument("names", metavar="NAME", nargs="*", help="of a speaker")
    removed.add_argument("--id", metavar="ID", action="append", default=[], help="of a speaker whose name is damaged")
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
    from sound_groove.cli.decision_options import show_warnings
    from sound_groove.voiceprints.identification import store_warnings

    with opened_store(arguments) as store:
        entries = store.speakers()
        if store.count() > len(entries):
            show_damaged(store)
        show_warnings(store_warnings((), store.is_whole()))
    if arguments.json:
        return _print_json([asdict(entry) for entry in entries])
    width = max((columns_of(printable(entry.name)) for entry in entries), default=0)
    for entry in entries:
        show(f"{padded(printable(entry.name), width)}  {_line(entry)}")
    say("1 speaker" if len(entries) == 1 else f"{len(entries):,} speakers")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    with opened_store(arguments) as store:
        voiceprint = store.voiceprint(arguments.name)
    if arguments.json:
        recordings = [asdict(recording.entry) for recording in voiceprint.recordings]
        return _print_json({**asdict(voiceprint.speaker), "enrolled": recordings})
    speaker = voiceprint.speaker
    norms = _norm(speaker.embedding_norm) + ("" if speaker.norm_spread is None else f" ± {speaker.norm_spread:.2f}")
    show(f"{speaker.name}  {_line(speaker)}{norms}")
    for recording in voiceprint.recordings:
        audio = ", audio kept" if recording.audio else ""
        show(
            f"  {recording.enrolled_at}  {recording.source}  {recording.duration_s:.1f} s, "
            f"{recording.speech_s:.1f} s of speech, {recording.snr_db:.0f} dB{_norm(recording.embedding_norm)}{audio}"
        )
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from sound_groove.errors import UsageError
    from sound_groove.voiceprints.store.names import checked_name

    names = list(dict.fromkeys(map(checked_name, arguments.names)))
    if not (names or arguments.id):
        raise UsageError("name at least one speaker to remove")
    with opened_store(arguments) as store:
        # All are looked up first: a mistyped name must not leave half of them removed.
        missing = [name for name in names if not store.is_enrolled(name)]
        # Unless an earlier removal of it was left incomplete, which this says.
        done = {name: store.remove(name, ACTOR) for name in missing}
        done |= {name: store.remove(name, ACTOR) for name in names if name not in done}
        done |= {f"speaker {speaker_id}": store.discard(speaker_id, ACTOR) for speaker_id in arguments.id}
    if arguments.json:
        _print_json([asdict(erasure) for erasure in done.values()])
    else:
        for name, erasure in done.items():
            show(_erased(name, erasure))
    reasons = dict.fromkeys(erasure.reason for erasure in done.values() if not erasure.complete)
    for reason in reasons:
        say(f"warning: remains are left in the store, since {reason}; give the command again to have them erased")
    for where in dict.fromkeys(erasure.out_of_reach for erasure in done.values() if erasure.out_of_reach):
        say(f"note: {where}")
    return INCOMPLETE if reasons else 0


def _erased(name: str, erasure: "Erasure") -> str:
    """What became of a speaker, on one line."""
    if erasure.speaker is None:
        return f"{name} is erased for good" if erasure.complete else f"{name} is removed, and not yet erased"
    count = "1 recording" if erasure.speaker.recordings == 1 else f"{erasure.speaker.recordings} recordings"
    if not erasure.complete:
        return f"{name} is removed, with {count}, and not yet erased"
    return f"{name} is erased for good, with {count}"


def _upgrade(arguments: argparse.Namespace) -> int:
    with opened_store(arguments, take_over=True) as store:
        count, location = store.count(), store.location
        show_damaged(store)
    show(f"{location} is of this version; {count:,} enrolled")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from sound_groove.errors import UsageError
    from sound_groove.voiceprints.store.exchange import export_voiceprints

    if arguments.file.suffix != ".npz":
        raise UsageError(f"the file must end in .npz, and '{printable(str(arguments.file))}' was given")
    with opened_store(arguments) as store:
        exported = export_voiceprints(store, arguments.file, arguments.of_model, arguments.force)
        if store.encrypted:
            say("warning: the file is not encrypted, as the store is")
    show(str(arguments.file))
    for one in exported.left_out:
        say(f"warning: '{one.name}' (speaker {one.id}) is left out: {one.reason}")
    say("1 speaker exported" if exported.speakers == 1 else f"{exported.speakers:,} speakers exported")
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
    for new, other in done.look_alikes:
        say(f"warning: '{printable(new)}' looks like '{other}', who is enrolled too, and is written otherwise")
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
    from sound_groove.voiceprints.known_model import check_model

    with opened_store(arguments) as store:
        if not searches_itself(store):
            raise StoreError(f"{store.location}: is searched in memory, exactly, and needs no index")
        encoder = SpeakerEncoder.load(arguments.model or default_model())
        check_model(store, encoder)
        model = encoder.identity
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


def _norm(norm: float | None) -> str:
    """What is added to a line about the norm of embeddings, where it is known."""
    return "" if norm is None else f", norm {norm:.2f}"


def _print_json(content: Any) -> int:
    show_json(content)
    return 0
