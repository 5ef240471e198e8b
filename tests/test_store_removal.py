"""Whoever is removed is gone from the files: after a kill, on a full disk, beside readers; and the others stay."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from sound_groove.cli import main
from sound_groove.errors import StoreError, UnknownSpeakerError
from sound_groove.voiceprints.store import schema, tables
from sound_groove.voiceprints.store.gaps import _gaps, erase_gaps
from sound_groove.voiceprints.store.interface import VoiceprintStore
from sound_groove.voiceprints.store.raw_files import _shared
from sound_groove.voiceprints.store.records import EnrolledRecording
from store_places import MODEL, Place, SqlitePlace, present, recording

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps rights and open files in another way")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "voiceprints.db"


@pytest.fixture
def store(path: Path) -> Iterator[VoiceprintStore]:
    with closing(SqlitePlace(path).open()) as opened:
        yield opened


def traces_of(name: str, one: EnrolledRecording) -> list[bytes]:
    """Bytes by which a speaker's name, embedding, source, digest and audio are found in a file."""
    return [name.encode(), one.embedding.tobytes()[:16], one.embedding.tobytes()[-16:], one.source.encode(),
            one.digest.encode(), *([one.audio[:16], one.audio[-16:]] if one.audio else [])]  # fmt: skip


def come_and_go(store: VoiceprintStore, seed: int, steps: int) -> tuple[list[bytes], list[bytes]]:
    """Enrol, add and remove in any order, under names of any length; the traces of those gone, and of those there."""
    draws = random.Random(seed)
    there: dict[str, list[EnrolledRecording]] = {}
    gone: list[bytes] = []
    for step in range(steps):
        digest = f"{draws.getrandbits(256):064x}"
        audio = draws.randbytes(draws.choice([0, 0, 0, 700, 9000]))
        one = recording(1000 * seed + step, audio=audio, source=f"{digest[:20]}.wav")
        one = EnrolledRecording(**{**{name: getattr(one, name) for name in one.__slots__}, "digest": digest})
        if there and draws.random() < 0.45:
            name = draws.choice(sorted(there))
            if draws.random() < 0.6:
                assert store.remove(name, "test").complete
                gone += [trace for old in there.pop(name) for trace in traces_of(name, old)]
                continue
        else:
            name = f"{draws.getrandbits(64):016x}" * draws.randint(1, 8)
        version = store.voiceprint(name).speaker.version if name in there else None
        store.add(name, [one], MODEL, version, "test")
        there.setdefault(name, []).append(one)
    return gone, [trace for name, kept in there.items() for old in kept for trace in traces_of(name, old)]


@pytest.fixture
def hurried(store: VoiceprintStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk in hundreds of changes."""
    store._database.execute("PRAGMA synchronous = OFF")  # type: ignore[attr-defined]
    monkeypatch.setattr("sound_groove.voiceprints.store.sqlite.os.fsync", lambda _: None)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("seed", range(2))
def test_nothing_of_those_who_went_is_in_the_files_whatever_was_moved_before(
    store: VoiceprintStore, path: Path, seed: int
) -> None:
    gone, there = come_and_go(store, seed, 150)
    place = SqlitePlace(path)
    assert len(gone) > 150 and present(place, gone) == []
    assert present(place, there) == there
    assert place.execute("PRAGMA integrity_check") == [("ok",)]
    assert len([store.voiceprint(entry.name) for entry in store.speakers()]) == store.count() > 25


@pytest.mark.usefixtures("hurried")
def test_what_lies_between_the_rows_is_overwritten_by_a_removal(store: VoiceprintStore, path: Path) -> None:
    """Rows that SQLite moves may leave their bytes there; here all pages have some."""
    come_and_go(store, 5, 60)
    store.close()
    content = np.fromfile(path, np.uint8)
    starts, ends = _gaps(content.reshape(-1, 4096), 4096, 100)
    planted = [b"planted in %5d" % page for page in range(len(starts))]
    for text, start, end in zip(planted, starts.tolist(), ends.tolist(), strict=True):
        for at in (start, end - len(text)):
            if end - start >= 2 * len(text):
                content[at : at + len(text)] = np.frombuffer(text, np.uint8)
    content.tofile(path)
    place = SqlitePlace(path)
    assert len(present(place, planted)) > 10
    with closing(place.open()) as opened:
        assert opened.remove(opened.speakers()[0].name, "test").complete
        assert present(place, planted) == [] and place.execute("PRAGMA integrity_check") == [("ok",)]
        assert len([opened.voiceprint(entry.name) for entry in opened.speakers()]) == opened.count()


def test_a_page_that_another_connection_holds_does_not_bring_it_back(path: Path) -> None:
    """What is not in use of a page is in the memory of whoever has read it, and must not be written again."""
    place = SqlitePlace(path)
    with closing(place.open()) as one, closing(place.open()) as other:
        gone, there = come_and_go(one, 3, 40)
        for turn in range(10):
            assert len(other.speakers()) == other.count()
            name = f"visitor {turn:02} {'x' * 60}"
            visitor = recording(90_000 + turn, source=f"visitor-{turn:02}.wav")
            other.add(name, [visitor], MODEL, None, "test")
            assert len(one.speakers()) == one.count()
            assert one.remove(name, "test").complete
            gone += traces_of(name, visitor)
            other.add(f"resident {turn}", [recording(91_000 + turn)], MODEL, None, "test")
        one.remove("resident 3", "test")
        assert present(place, gone) == [] and present(place, there) == there


def test_the_locks_of_this_process_are_not_lost_by_a_removal(store: VoiceprintStore, path: Path) -> None:
    """A process loses its locks on a file when it closes any descriptor of it; another would then delete the log."""
    store.add("Kim", [recording(1)], MODEL, None, "me")
    with closing(SqlitePlace(path).open()) as second:
        second.remove("Kim", "me")
    store.add("Lee", [recording(2)], MODEL, None, "me")
    program = (
        f"import sqlite3; d = sqlite3.connect({str(path)!r}); d.execute('SELECT 1 FROM facts').fetchall(); d.close()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert path.with_name("voiceprints.db-wal").exists()  # the last to close it deletes it
    store.add("Mia", [recording(3)], MODEL, None, "me")
    assert SqlitePlace(path).execute("SELECT count(*) FROM speakers") == [(2,)]
    file = (path.stat().st_dev, path.stat().st_ino)
    assert file in _shared
    store.close()
    assert file not in _shared


def test_a_file_that_is_mostly_unused_becomes_smaller(store: VoiceprintStore, path: Path) -> None:
    for number in range(40):
        store.add(f"Speaker {number}", [recording(number, audio=bytes(100_000))], MODEL, None, "me")
    SqlitePlace(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.stat().st_size
    for number in range(30):
        assert store.remove(f"Speaker {number}", "me").complete
    assert path.stat().st_size < 0.6 * before
    assert len([store.voiceprint(entry.name) for entry in store.speakers()]) == 10


@pytest.mark.slow
def test_a_removal_that_was_killed_before_its_wiping_is_finished_by_the_next_opening(place: Place) -> None:
    given = recording(1, audio=random.Random(0).randbytes(9000), source="quite-a-rare-source.wav")
    with closing(place.open()) as store:
        store.add("Kim", [recording(2)], MODEL, None, "me")
        store.add("Quite-a-rare-name", [given], MODEL, None, "me")
    traces = traces_of("Quite-a-rare-name", given)
    program = f"from store_places import *\nremove_until_killed({place.location!r}, 'Quite-a-rare-name')"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "removed\n"
        process.kill()
    assert present(place, traces) != []
    with closing(place.open(create=False)) as store:
        assert store.notices == ["a removal, which had been left incomplete, is finished"]
        assert present(place, traces) == [] and [entry.name for entry in store.speakers()] == ["Kim"]
        again = store.remove("Quite-a-rare-name", "me")
        assert (again.speaker, again.complete, again.reason) == (None, True, "")
        with pytest.raises(UnknownSpeakerError):
            store.remove("Nobody", "me")
    with closing(place.open(create=False)) as store:
        assert store.notices == []
        with pytest.raises(UnknownSpeakerError):
            store.remove("Quite-a-rare-name", "me")


def test_an_incomplete_removal_says_why_and_exits_with_3_until_it_is_finished(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ERASING_S", 0.1)
    monkeypatch.setattr(schema, "RESUMING_S", 0.1)
    place = SqlitePlace(path)
    with closing(place.open()) as store:
        for name in ("anna", "ben"):
            store.add(name, [recording(len(name), source=f"{name}.wav")], MODEL, None, "me")

    def remove(name: str, *options: str) -> tuple[int, str, str]:
        status = main(["speakers", "remove", name, "--store", str(path), *options])
        return status, *capsys.readouterr()

    reader = place.hold()
    status, out, err = remove("anna")
    assert (status, out) == (3, "anna is removed, with 1 recording, and not yet erased\n")
    assert "remains are left in the store, since another process is reading the store; give the command again" in err
    status, out, err = remove("anna", "--json")
    assert status == 3 and json.loads(out)[0]["reason"] == "another process is reading the store"
    assert remove("anne")[0] == 1
    assert present(place, [b"anna.wav"])
    reader.close()
    status, out, err = remove("anna")
    assert (status, out) == (0, "anna is erased for good\n")
    assert err == "note: 2 removals, which had been left incomplete, are finished\n" or "is finished" in err
    assert not present(place, [b"anna.wav"])
    assert remove("anna")[0] == 1
    assert remove("ben")[:2] == (0, "ben is erased for good, with 1 recording\n")


@posix
@pytest.mark.parametrize("missing", ["", "-wal"])
def test_a_file_that_is_deleted_or_replaced_while_it_is_open_is_noticed_before_a_change_is_confirmed(
    store: VoiceprintStore, path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("Kim", [recording(1)], MODEL, None, "me")
    target = path.with_name(f"voiceprints.db{missing}")
    insert = store._insert_event  # type: ignore[attr-defined]

    def gone_meanwhile(row: object) -> None:
        insert(row)
        target.unlink()

    with monkeypatch.context() as patched:
        patched.setattr(store, "_insert_event", gone_meanwhile)
        with pytest.raises(StoreError, match=r"was deleted or replaced while it was open.*would be lost"):
            store.add("Lee", [recording(2)], MODEL, None, "me")
    calls: list[Callable[[], object]] = [
        lambda: store.add("Mia", [recording(3)], MODEL, None, "me"),
        lambda: store.remove("Kim", "me"),
        store.revision,
    ]
    for call in calls:
        with pytest.raises(StoreError, match="was deleted or replaced"):
            call()
    if not missing:
        shutil.copy(Path(__file__), path)  # another file in its place is not it, either
        with pytest.raises(StoreError, match="was deleted or replaced"):
            store.revision()


@pytest.fixture
def visited() -> Iterator[Path]:
    """A folder that every user may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def as_nobody(work: Callable[[], object]) -> str:
    """What some work gives, or its error, where it is done by a user without rights."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            try:
                said = str(work())
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writing, said.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read().decode()
    os.waitpid(child, 0)
    return said


@posix
@pytest.mark.parametrize("folder_too", [True, False])
def test_a_store_that_cannot_be_written_can_be_listed_and_searched(visited: Path, folder_too: bool) -> None:
    from sound_groove.voiceprints.gallery import MemoryGallery

    place = SqlitePlace(visited / "voiceprints.db")
    with closing(place.open()) as store:
        for number, name in enumerate(("anna", "ben")):
            store.add(name, [recording(number)], MODEL, None, "me")
    place.path.chmod(0o444)
    visited.chmod(0o555 if folder_too else 0o777)
    before = place.path.read_bytes()

    def work() -> object:
        with closing(place.open(create=True)) as store:
            gallery = MemoryGallery(store, MODEL, threads=1)
            found = gallery.nearest(recording(1).embedding, 1)[0].speaker.name
            listed = [entry.name for entry in store.speakers()]
            refusals = []
            for call in (
                lambda: store.add("cleo", [recording(3)], MODEL, None, "me"),
                lambda: store.remove("anna", "me"),
            ):
                with pytest.raises(StoreError, match="can only be read") as refusal:
                    call()
                refusals.append(str(refusal.value))
            return found, listed, store.voiceprint("anna").speaker.name, len(refusals)

    assert as_nobody(work) == "('ben', ['anna', 'ben'], 'anna', 2)"
    assert place.path.read_bytes() == before


@posix
def test_a_log_that_cannot_be_read_is_not_passed_over(visited: Path) -> None:
    place = SqlitePlace(visited / "voiceprints.db")
    with closing(place.open()) as store:
        store.add("anna", [recording(1)], MODEL, None, "me")
        copy = SqlitePlace(visited / "copy.db")
        for end in ("", "-wal"):
            shutil.copy(f"{place.path}{end}", f"{copy.path}{end}")
            Path(f"{copy.path}{end}").chmod(0o444)
    visited.chmod(0o555)
    assert "has a log of changes that cannot be read here" in as_nobody(lambda: copy.open(create=False))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="a small disk needs Linux's unshare")
def test_a_removal_works_on_a_disk_that_is_full_to_the_last_byte(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    program = f"from store_places import *\nremove_on_a_full_disk({str(disk / 'voiceprints.db')!r})"
    script = 'mount -t tmpfs -o size=40m tmpfs "$1" || exit 77; shift; exec "$@"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(disk), sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    if done.returncode and not done.stdout and "Traceback" not in done.stderr:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()[:100]}")
    told = json.loads(done.stdout or f'"{done.stderr[-300:]}"')
    assert told["free"] == 0 and "full" in told["refusal"]
    assert told["complete"] == [True] * 10 and told["left"] == 0 and told["whole"] == 290


def test_a_damaged_mark_of_a_removal_is_gone_on_with(path: Path) -> None:
    place = SqlitePlace(path)
    with closing(place.open()) as store:
        store.add("anna", [recording(1)], MODEL, None, "me")
    place.execute("INSERT INTO facts VALUES ('erasing', x'00')")
    with closing(place.open()) as store:
        assert "is finished" in store.notices[0]
    assert place.execute("SELECT count(*) FROM facts WHERE key = 'erasing'") == [(0,)]


def test_the_file_is_overwritten_where_nothing_lies_and_nowhere_else(tmp_path: Path) -> None:
    """On a database of our own, with pages of every size, whose every row is read again."""
    for size in (512, 4096, 65_536):
        target = tmp_path / f"{size}.db"
        draws = random.Random(size)
        with closing(sqlite3.connect(target, isolation_level=None)) as database:
            database.execute(f"PRAGMA page_size = {size}")
            database.execute("PRAGMA secure_delete = OFF")  # leaves much more
            database.execute("PRAGMA synchronous = OFF")
            database.execute("BEGIN")
            database.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, text TEXT, content BLOB)")
            database.execute("CREATE INDEX by_text ON things (text)")
            kept = {}
            for number in range(600):
                kept[number] = (f"{draws.getrandbits(200):x}", draws.randbytes(draws.choice([5, 50, 5000])))
                database.execute("INSERT INTO things VALUES (?, ?, ?)", (number, *kept[number]))
                if draws.random() < 0.3:
                    del kept[gone := draws.choice(sorted(kept))]
                    database.execute("DELETE FROM things WHERE id = ?", (gone,))
            database.execute("COMMIT")
        with FileIO(target, "r+") as file:
            assert erase_gaps(file) > 3
            assert erase_gaps(file) == 0  # nothing is left to do, and what was done is right:
        with closing(sqlite3.connect(target)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert {row[0]: row[1:] for row in database.execute("SELECT * FROM things")} == kept
