"""A store of voiceprints in one file: SQLite.

The journal is a write-ahead log and every change is synced before its method returns (`synchronous = FULL`), so that
neither the end of the process nor a power cut takes back an enrolment that was acknowledged, or leaves half of one.
Beside the file lie `-wal` and `-shm` while it is open.

Erasing: deleted content is overwritten with zeros (`secure_delete`), the file is written anew without what was left
between the rows (`VACUUM`), and the log is emptied. What a disk, a file system's snapshots or backups keep below the
files is beyond a program.
"""

import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from sound_groove.errors import StoreError, printable
from sound_groove.voiceprints.store.sealing import Sealer
from sound_groove.voiceprints.store.tables import SCHEMA, TableStore

APPLICATION = 0x53477670  # "SGvp", in the header of the file
BUSY_S = 60.0  # to wait for another process that is writing
ERASING_S = 5.0  # to wait for another process that is reading, before its part of the log stays


class SqliteStore(TableStore):
    """Voiceprints in a file.

    Args:
        path: the file.
        create: make it where it is missing.
        sealer: encrypts embeddings and audio, or does not.

    Raises:
        StoreError: it is missing, not such a store, of a later version, or needs another key.
    """

    TYPES: ClassVar = {"text": "TEXT", "blob": "BLOB", "real": "REAL", "number": "INTEGER"}

    def __init__(self, path: Path, create: bool, sealer: Sealer) -> None:
        super().__init__(printable(str(path)), sealer)
        if create:
            _make_private(path, self.location)
        elif not path.is_file():
            raise StoreError(f"there is no store of voiceprints at {self.location}; 'sound-groove enroll' makes one")
        with self._told():
            self._database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(create)
        except BaseException:
            self._database.close()
            raise

    def _prepare(self, create: bool) -> None:
        """Check that this is a store of ours, or make it one."""
        with self._reading():
            # Before any statement that writes: a file of somebody else's must stay as it is. And in one transaction:
            # another process may be making the store.
            application, schema = self._value("PRAGMA application_id"), self._value("PRAGMA user_version")
            is_new = not application and not self._value("SELECT count(*) FROM sqlite_master")
        if not is_new and application != APPLICATION:
            raise StoreError(f"{self.location}: is another program's database, not a store of voiceprints")
        if schema > SCHEMA:
            raise StoreError(f"{self.location}: was made by a later version of Sound-Groove; update it to open this")
        if is_new and not create:
            raise StoreError(f"{self.location}: holds no store of voiceprints; 'sound-groove enroll' makes one")
        with self._told():
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
        with self._reading():
            self._verify_key()

    def close(self) -> None:
        """Close the file."""
        with self._lock, self._told():
            self._database.close()

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> Iterable[Any]:
        return self._database.execute(statement, values)

    def _execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self._database.executemany(statement, rows)

    def _begin_reading(self) -> None:
        self._database.execute("BEGIN")

    def _begin_changing(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def _commit(self) -> None:
        self._database.execute("COMMIT")

    def _roll_back(self) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def _has_index(self, name: str) -> bool:
        return bool(self._value("SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name = ?", (name,)))

    def _wipe(self) -> bool:
        """Rewrite the file without the remains of deleted rows and empty the log; whether nothing is left."""
        self._database.execute(f"PRAGMA busy_timeout = {int(1000 * ERASING_S)}")
        try:
            self._database.execute("VACUUM")
            busy, _, _ = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy
        except sqlite3.Error:
            return False  # the rows are gone all the same, and overwritten where they were
        finally:
            self._database.execute(f"PRAGMA busy_timeout = {int(1000 * BUSY_S)}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as sentences about this store."""
        try:
            yield
        except sqlite3.Error as error:
            if "not a database" in str(error):
                raise StoreError(f"{self.location}: is not a store of voiceprints") from error
            raise StoreError(f"{self.location}: {error}") from error


def _make_private(path: Path, location: str) -> None:
    """Make an empty file that its owner alone may read, where there is none; the log takes its permissions."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | (os.O_CLOEXEC if sys.platform != "win32" else 0), 0o600))
    except OSError as error:
        raise StoreError(f"{location}: cannot be made: {error.strerror or error}") from None
