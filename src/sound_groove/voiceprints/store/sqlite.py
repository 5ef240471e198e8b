"""A store of voiceprints in one file: SQLite.

The journal is a write-ahead log and every change is synced before its method returns (`synchronous = FULL`), so that
neither the end of the process nor a power cut takes back an enrolment that was acknowledged, or leaves half of one.
Beside the file lie `-wal` and `-shm` while it is open, and `-reserve`: room on the disk for removals when it is full.

Erasing: deleted content is overwritten with zeros (`secure_delete`), the log is emptied into the file, and what is left
between the rows is overwritten in place (`gaps`). Until that is done a mark in the store says so, and whoever opens it
next goes on. What a disk, a file system's snapshots or backups keep below the files is beyond a program.

A file or folder that cannot be written can be read. A file that was deleted or replaced while it is open is refused:
what is written to it would be lost.
"""

import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from sound_groove.errors import StoreError, printable
from sound_groove.voiceprints.store.erasing import PENDING
from sound_groove.voiceprints.store.gaps import can_erase, erase_gaps
from sound_groove.voiceprints.store.raw_files import RawFile
from sound_groove.voiceprints.store.records import SpeakerEntry
from sound_groove.voiceprints.store.schema import SCHEMA
from sound_groove.voiceprints.store.sealing import Sealer
from sound_groove.voiceprints.store.tables import TableStore

APPLICATION = 0x53477670  # "SGvp", in the header of the file
BUSY_S = 60.0  # to wait for another process that is writing
RESERVE_BYTES = 4 * 2**20  # for the log of a removal, kept audio included, and the log's index
SHRUNK_FROM = 256  # pages; smaller files are not worth shrinking
READING = "another process is reading the store"
WRITING = "other processes are writing to the store"


class SqliteStore(TableStore):
    """Voiceprints in a file.

    Args:
        path: the file.
        create: make it where it is missing.
        sealer: encrypts embeddings and audio, or does not.
        take_over: an encrypted store of an earlier version, as it is.

    Raises:
        StoreError: it is missing, not such a store, of another version, or needs another key.
    """

    TYPES: ClassVar = {"text": "TEXT", "blob": "BLOB", "real": "REAL", "number": "INTEGER"}

    def __init__(self, path: Path, create: bool, sealer: Sealer, take_over: bool = False) -> None:
        super().__init__(printable(str(path)), sealer)
        self._path = path
        self._reserve = path.with_name(f"{path.name}-reserve")
        self._read_only = path.is_file() and not _can_write(path)
        self._places: dict[str, tuple[int, int]] = {}  # device and number of each file that must stay what it is
        if create and not self._read_only:
            _make_private(path, self.location)
        elif not path.is_file():
            raise StoreError(f"there is no store of voiceprints at {self.location}; 'sound-groove enroll' makes one")
        try:
            self._start(create, take_over)
        except StoreError as error:
            # Not even the log's index has room where the disk is full.
            if self._read_only or not _for_want_of_room(error) or not self._release_reserve():
                raise
            self._start(create, take_over)

    def _start(self, create: bool, take_over: bool) -> None:
        self._connect("?mode=ro" if self._read_only else "")
        self._raw = RawFile(self._path)
        try:
            self._prepare(create, take_over)
        except BaseException:
            self.close()
            raise

    def _connect(self, options: str) -> None:
        """Open the file twice, with options of SQLite's addresses: to change it, and to read while that waits."""
        uri = f"{self._path.absolute().as_uri()}{options}"
        with self._told():
            self._database, self._reader = (
                sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
                for _ in range(2)
            )
            for connection in (self._database, self._reader):
                # A name that is no text must not keep the others from being read.
                connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
            self._reader.execute("PRAGMA query_only = ON")

    @property
    def _connection(self) -> sqlite3.Connection:
        """The one that this thread uses."""
        return self._reader if self._is_reading else self._database

    def _disconnect(self) -> None:
        self._reader.close()
        self._database.close()

    def _prepare(self, create: bool, take_over: bool) -> None:
        """Check that this is a store of ours, or make it one."""
        application, schema, is_new = self._identified()
        if not is_new and application != APPLICATION:
            raise StoreError(f"{self.location}: is another program's database, not a store of voiceprints")
        if is_new and (not create or self._read_only):
            raise StoreError(f"{self.location}: holds no store of voiceprints; 'sound-groove enroll' makes one")
        if schema > SCHEMA:
            raise StoreError(f"{self.location}: was made by a later version of Sound-Groove; update it to open this")
        with self._told():
            if not self._read_only:
                self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA secure_delete = ON")
            self._database.execute("PRAGMA foreign_keys = ON")
        if is_new:
            with self._changing():
                if self._value("PRAGMA application_id") != APPLICATION:  # else another process was first
                    self._lay_out("BLOB")
                    self._execute(f"PRAGMA user_version = {SCHEMA}")
                    self._execute(f"PRAGMA application_id = {APPLICATION}")
            schema = SCHEMA
        with self._reading():
            self._value("SELECT count(*) FROM facts")
        self._note_places()
        self._open(schema, not self._read_only, take_over)
        if not self._read_only:
            self._make_reserve()

    def _identified(self) -> tuple[int, int, bool]:
        """The application and the schema that the file says, and whether it is empty.

        Before any statement that writes: a file of somebody else's must stay as it is. And in one transaction: another
        process may be making the store.
        """
        try:
            return self._asked()
        except StoreError:
            if not self._read_only:
                raise
        # No log can be made beside it, so that the file alone is read; unless there is a log that would be missed.
        log = self._log()
        if log.exists() and log.stat().st_size:
            raise StoreError(
                f"{self.location}: has a log of changes that cannot be read here; open it once where it can be written"
            )
        self._disconnect()
        self._connect("?immutable=1")
        return self._asked()

    def _asked(self) -> tuple[int, int, bool]:
        with self._reading():
            application, schema = self._value("PRAGMA application_id"), self._value("PRAGMA user_version")
            is_new = not application and not self._value("SELECT count(*) FROM sqlite_master")
        return application, schema, is_new

    def _take_over(self) -> None:
        super()._take_over()
        self._execute(f"PRAGMA user_version = {SCHEMA}")

    def close(self) -> None:
        """Close the file."""
        with self._lock, self._reading_lock, self._told():
            self._places.clear()
            self._disconnect()
            self._raw.close()

    def _log(self) -> Path:
        return self._path.with_name(f"{self._path.name}-wal")

    def _note_places(self) -> None:
        """Remember which files these are."""
        for path in (self._path, self._log()):
            with suppress(OSError):  # there is no log beside a file that is read only
                self._places[str(path)] = _place(path)

    def _check_place(self) -> None:
        for path, place in self._places.items():
            try:
                is_there = _place(Path(path)) == place
            except OSError:
                is_there = False
            if not is_there:
                raise StoreError(
                    f"{self.location}: was deleted or replaced while it was open, so that what is written to it would "
                    "be lost; put it back, or start this anew"
                )

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> Iterable[Any]:
        return self._connection.execute(statement, values)

    def _execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self._database.executemany(statement, rows)

    def _begin_reading(self) -> None:
        self._reader.execute("BEGIN")

    def _begin_changing(self) -> None:
        if self._read_only:
            raise StoreError(f"{self.location}: can only be read, since the file or its folder cannot be written")
        self._database.execute("BEGIN IMMEDIATE")

    def _commit(self) -> None:
        self._connection.execute("COMMIT")

    def _roll_back(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # was closed
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _has_index(self, name: str) -> bool:
        return bool(self._value("SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name = ?", (name,)))

    def _with_room(self, work: Callable[[], SpeakerEntry | None]) -> SpeakerEntry | None:
        try:
            return work()
        except StoreError as error:
            if not _for_want_of_room(error) or not self._release_reserve():
                raise
            return work()

    def _make_reserve(self) -> None:
        """Take room on the disk, where there is more than enough; without it, all but removals on a full disk works."""
        with suppress(OSError):
            if shutil.disk_usage(self._path.absolute().parent).free < 4 * RESERVE_BYTES:
                return
            descriptor = os.open(self._reserve, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600)
            try:
                size = os.fstat(descriptor).st_size
                if size < RESERVE_BYTES:
                    _extend(descriptor, size)
            finally:
                os.close(descriptor)

    def _release_reserve(self) -> bool:
        """Give the room on the disk back; whether there was any."""
        with suppress(OSError):
            if self._reserve.stat().st_size:
                os.truncate(self._reserve, 0)
                return True
        return False

    def _wipe(self, wait_s: float) -> str:
        try:
            reason = self._erase(time.monotonic() + wait_s)
            if not reason:
                self._shrink()
        except (sqlite3.Error, OSError) as error:
            return f"the file cannot be written ({printable(str(error))})"  # the rows are gone all the same
        finally:
            self._wait(BUSY_S)
        self._make_reserve()
        return reason

    def _erase(self, deadline: float) -> str:
        """Empty the log, overwrite what is left between the rows, and take away the marks of removals."""
        if not can_erase(self._pragma("page_count")):
            self._database.execute("VACUUM")
        # Another connection, so that this one, too, reads anew what is erased.
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=0.0)) as other:
            other.execute("PRAGMA synchronous = FULL")
            other.execute("PRAGMA secure_delete = ON")
            while True:
                self._wait(max(0.0, deadline - time.monotonic()))
                if self._empty_log():
                    return READING
                try:
                    other.execute("BEGIN IMMEDIATE")
                    if not self._log().stat().st_size:
                        break
                    other.execute("ROLLBACK")  # somebody has written since
                except sqlite3.OperationalError:
                    pass
                if time.monotonic() > deadline:
                    return WRITING
                time.sleep(0.01)
            file = self._raw.opened()
            if can_erase(self._pragma("page_count")):
                erase_gaps(file)
            os.fsync(file.fileno())
            other.execute("DELETE FROM facts WHERE key = ?", (PENDING,))
            other.execute("UPDATE facts SET value = value WHERE key = 'schema'")  # in any case a change
            other.execute("COMMIT")
        self._empty_log()
        return ""

    def _empty_log(self) -> bool:
        """Bring what is in the log into the file; whether somebody who reads or writes keeps it from that."""
        busy, _, _ = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return bool(busy)

    def _shrink(self) -> None:
        """Write the file anew where more than half of it is unused: so often only that it costs little on the whole."""
        pages = self._pragma("page_count")
        if pages > SHRUNK_FROM and 2 * self._pragma("freelist_count") > pages:
            with suppress(sqlite3.Error):  # for want of room, or as others are reading
                self._database.execute("VACUUM")
                self._empty_log()

    def _wait(self, seconds: float) -> None:
        """How long to wait for others who hold the lock that is needed."""
        self._database.execute(f"PRAGMA busy_timeout = {int(1000 * seconds)}")

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as sentences about this store."""
        try:
            yield
        except sqlite3.Error as error:
            if "not a database" in str(error):
                raise StoreError(f"{self.location}: is not a store of voiceprints") from error
            raise StoreError(f"{self.location}: {error}") from error


def _extend(descriptor: int, size: int) -> None:
    """Make a file of this size as large as the reserve: without a byte written, where system and file system can."""
    try:
        os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
    except (AttributeError, OSError):
        os.lseek(descriptor, 0, os.SEEK_END)
        os.write(descriptor, bytes(RESERVE_BYTES - size))


def _for_want_of_room(error: StoreError) -> bool:
    """Whether the disk may be full: an error of reading and writing, too, is all that is told of some calls."""
    code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def _make_private(path: Path, location: str) -> None:
    """Make an empty file that its owner alone may read, where there is none; the log takes its permissions.

    One that is there is not opened: closing it would cost other stores of this process their locks (`raw_files`).
    """
    reason = "is a folder" if path.is_dir() else ""
    try:
        cloexec = os.O_CLOEXEC if sys.platform != "win32" else 0
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | cloexec, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        reason = reason or error.strerror or str(error)
    if reason:
        raise StoreError(f"{location}: cannot be made: {reason}")


def _can_write(path: Path) -> bool:
    """Whether a file can be written, and a log be made beside it."""
    return os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)


def _place(path: Path) -> tuple[int, int]:
    """Which file this is."""
    facts = path.stat()
    return facts.st_dev, facts.st_ino
