"""An SQL database as a store uses it: statements, transactions, and facts about the store."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

from sound_groove.voiceprints.store.erasing import PendingErasure
from sound_groove.voiceprints.store.records import SpeakerEntry
from sound_groove.voiceprints.store.sealing import Sealer


class Database(ABC):
    """Connections to a database, one that changes and one that only reads.

    Statements mark the places of values with '?'. Who reads does not wait while a change waits for another process that
    is writing.

    Args:
        location: its path or URL for people, without a password.
        sealer: encrypts embeddings and audio, or does not.
    """

    TYPES: ClassVar[dict[str, str]]  # those of `schema.TABLES`, but for the centroid's

    def __init__(self, location: str, sealer: Sealer) -> None:
        self.location = location
        self.encrypted = sealer.encrypts
        self.notices: list[str] = []
        self._sealer = sealer
        self._lock = threading.RLock()  # of what changes; to be taken before the other where both are
        self._reading_lock = threading.RLock()
        self._thread = threading.local()
        self._is_indexed = False  # recordings can be found by their digest without reading them all
        self._resumed: tuple[PendingErasure, ...] = ()  # removals that were finished when the store was opened

    @abstractmethod
    def close(self) -> None:
        """Let go of the file or the connection."""

    @property
    def _is_reading(self) -> bool:
        """Whether this thread reads, and so uses the connection that waits for nobody who writes."""
        return getattr(self._thread, "is_reading", False)

    @abstractmethod
    def _execute(self, statement: str, values: Sequence[Any] = ()) -> Iterable[Any]:
        """The rows that a statement gives."""

    @abstractmethod
    def _execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement for each row of values."""

    @abstractmethod
    def _begin_reading(self) -> None:
        """Start a transaction that sees one state of the database."""

    @abstractmethod
    def _begin_changing(self) -> None:
        """Start a transaction that no other change runs beside, of this or another process."""

    @abstractmethod
    def _commit(self) -> None:
        """End it, so that what was changed is on the disk."""

    @abstractmethod
    def _roll_back(self) -> None:
        """End it, so that nothing was changed."""

    @abstractmethod
    def _told(self) -> AbstractContextManager[None]:
        """The database's errors as sentences about this store."""

    @abstractmethod
    def _has_index(self, name: str) -> bool:
        """Whether there is an index of this name."""

    @abstractmethod
    def _wipe(self, wait_s: float) -> str:
        """Clear the files of what deleted rows left in them, and forget those removals that are thereby finished.

        Args:
            wait_s: how long others who use the files may take.

        Returns:
            Why something is left, as a clause; empty where nothing is.
        """

    def _layout(self) -> str:
        """What is another when the files were written anew; empty where that cannot be told."""
        return ""

    def _with_room(self, work: Callable[[], SpeakerEntry | None]) -> SpeakerEntry | None:
        """A removal's change, for which there is room though the disk may be full."""
        return work()

    def _check_place(self) -> None:  # noqa: B027
        """Refuse to go on where what was opened is no longer what is there.

        Raises:
            StoreError: it was deleted or replaced.
        """

    def _execute_all(self, statements: str, **types: str) -> None:
        for statement in statements.format(**self.TYPES, **types).split(";\n"):
            self._execute(statement)

    def _fact(self, key: str) -> Any:
        return self._value("SELECT value FROM facts WHERE key = ?", (key,))

    def _remember(self, key: str, value: bytes) -> None:
        """Write a fact, within a change."""
        self._execute(
            "INSERT INTO facts (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def _value(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """The one value that a statement gives, or None."""
        rows = [*self._execute(statement, values)]
        return rows[0][0] if rows else None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One state of the database, for this thread alone, by the connection that only reads."""
        with self._reading_lock:
            self._thread.is_reading = True
            try:
                with self._transaction(self._begin_reading):
                    yield
            finally:
                self._thread.is_reading = False

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A change that is whole or does not happen; on the disk, where the store is, when the block is left."""
        with self._lock:
            with self._transaction(self._begin_changing):
                yield
            self._check_place()

    @contextmanager
    def _transaction(self, begin: Callable[[], None]) -> Iterator[None]:
        with self._told():
            self._check_place()
            try:
                begin()
                yield
                self._commit()
            except BaseException:
                self._roll_back()
                raise


def places(count: int) -> str:
    """So many places of values in a statement."""
    return ", ".join("?" * count)
