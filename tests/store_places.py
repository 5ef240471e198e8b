"""Where the tests of the stores keep voiceprints, and made-up recordings to keep there."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from postgres_server import PostgresServer
from sound_groove.errors import StoreError
from sound_groove.types import ModelIdentity
from sound_groove.voiceprints.store.interface import VoiceprintStore
from sound_groove.voiceprints.store.opening import open_store
from sound_groove.voiceprints.store.records import EnrolledRecording, new_id, timestamp
from sound_groove.voiceprints.store.sealing import PlainSealer, Sealer

MODEL = ModelIdentity("small", "1f" * 32)
OTHER_MODEL = ModelIdentity("large", "2e" * 32)
SIZE = 192


def recording(
    seed: int, size: int = SIZE, audio: bytes = b"", source: str = "a.wav", norm: float | None = None
) -> EnrolledRecording:
    """A made-up recording, the same for the same seed but for its id."""
    embedding = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    embedding /= np.linalg.norm(embedding)
    return EnrolledRecording(
        new_id(), embedding, source, f"{seed:064x}", 4.0, 2.5, 20.0, 16_000, timestamp(), audio, norm
    )  # fmt: skip


class Place(Protocol):
    """A file or database, in which a store is or will be.

    Attributes:
        location: for `open_store`.
    """

    @property
    def location(self) -> str: ...

    def open(self, create: bool = True, sealer: Sealer | None = None, take_over: bool = False) -> VoiceprintStore: ...

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement gives that bypasses the store."""
        ...

    def content(self) -> Iterator[bytes]:
        """All that the store has on the disk, file by file."""
        ...

    def hold(self) -> Any:
        """Another program's connection in the middle of reading speakers and recordings; closed by `close`."""
        ...

    def hold_up(self) -> Any:
        """Another program's connection in the middle of a change, so that others wait; closed by `close`."""
        ...


@dataclass
class SqlitePlace:
    path: Path

    @property
    def location(self) -> str:
        return str(self.path)

    def open(self, create: bool = True, sealer: Sealer | None = None, take_over: bool = False) -> VoiceprintStore:
        from sound_groove.voiceprints.store.sqlite import SqliteStore

        return SqliteStore(self.path, create, sealer or PlainSealer(), take_over)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        database = sqlite3.connect(self.path, isolation_level=None)
        try:
            return database.execute(statement).fetchall()
        finally:
            database.close()

    def content(self) -> Iterator[bytes]:
        for path in self.path.parent.glob(self.path.name + "*"):
            yield path.read_bytes()

    def hold(self) -> Any:
        database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        database.execute("BEGIN")
        database.execute("SELECT count(*) FROM speakers").fetchall()
        return database

    def hold_up(self) -> Any:
        database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        database.execute("BEGIN IMMEDIATE")
        return database


@dataclass
class PostgresPlace:
    server: PostgresServer
    database: str

    @property
    def location(self) -> str:
        return self.server.url(self.database)

    def open(self, create: bool = True, sealer: Sealer | None = None, take_over: bool = False) -> VoiceprintStore:
        from sound_groove.voiceprints.store.postgres import PostgresStore

        return PostgresStore(self.location, create, sealer or PlainSealer(), take_over)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.execute(f"SET search_path TO sound_groove, public; {statement}", self.database)

    def content(self) -> Iterator[bytes]:
        self.server.execute("CHECKPOINT", self.database)  # what is in the server's memory goes to the files
        ((number,),) = self.server.execute(f"SELECT oid FROM pg_database WHERE datname = '{self.database}'")
        for path in (self.server.folder / "data" / "base" / str(number)).rglob("*"):
            if path.is_file():
                yield path.read_bytes()

    def hold(self) -> Any:
        import psycopg

        connection = psycopg.connect(self.location)
        # A snapshot alone, without a lock on the tables.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").execute("SELECT 1")
        return connection

    def hold_up(self) -> Any:
        import psycopg

        connection = psycopg.connect(self.location)
        connection.execute("SELECT 1 FROM sound_groove.facts WHERE key = 'schema' FOR UPDATE")
        return connection


def age(place: Place) -> None:
    """Make a store one of the first version, which had no marks."""
    place.execute("ALTER TABLE recordings DROP COLUMN embedding_norm")
    for column in ("embedding_norm", "norm_spread", "contents", "seal", "skeleton"):
        if column == "skeleton":
            place.execute("DROP INDEX speakers_by_skeleton")
        place.execute(f"ALTER TABLE speakers DROP COLUMN {column}")
    place.execute("DELETE FROM facts WHERE key NOT IN ('schema', 'key check')")
    one = "CAST('1' AS BLOB)" if isinstance(place, SqlitePlace) else "'1'"
    place.execute(f"UPDATE facts SET value = {one} WHERE key = 'schema'")
    if isinstance(place, SqlitePlace):
        place.execute("PRAGMA user_version = 1")


def present(place: Place, traces: list[bytes]) -> list[bytes]:
    """Those of some bytes that are in a file of the store."""
    content = b"\n".join(place.content())
    return [trace for trace in traces if trace in content]


def enrol_forever(location: str, prefix: str) -> None:
    """Enrol speakers of three recordings each and print the name of each as soon as it is acknowledged."""
    store = open_store(location, create=True)
    for number in range(100_000):
        name = f"{prefix}-{number}"
        store.add(name, [recording(3 * number + k, audio=b"sound" * 500) for k in range(3)], MODEL, None, "test")
        os.write(1, f"{name}\n".encode())


def contend(location: str, prefix: str, count: int) -> None:
    """Enrol speakers of one's own and, in between, add to one that others add to; print how often that was done."""
    from sound_groove.errors import StaleVoiceprintError, UnknownSpeakerError

    store = open_store(location, create=True)
    done = 0
    for number in range(count):
        store.add(f"{prefix}-{number}", [recording(number)], MODEL, None, prefix)
        try:
            version = store.voiceprint("everybody's").speaker.version
        except UnknownSpeakerError:
            version = None
        try:
            store.add("everybody's", [recording(number)], MODEL, version, prefix)
            done += 1
        except StaleVoiceprintError:
            pass
    store.close()
    os.write(1, f"{done}\n".encode())


def remove_until_killed(location: str, name: str) -> None:
    """Remove a speaker, and wait to be killed when that is on the disk and nothing is wiped yet."""
    import time

    from sound_groove.voiceprints.store.postgres import PostgresStore
    from sound_groove.voiceprints.store.sqlite import SqliteStore

    def wait(*_: object) -> str:
        os.write(1, b"removed\n")
        time.sleep(600)
        return ""

    for kind in (SqliteStore, PostgresStore):
        kind._wipe = wait  # type: ignore[method-assign, assignment]
    open_store(location).remove(name, "test")


def remove_on_a_full_disk(path: str) -> None:
    """Enrol, fill the disk to the last byte, remove somebody, and print as JSON what became of it and what is left."""
    import json
    import shutil

    place = SqlitePlace(Path(path))
    store = place.open()
    for number in range(300):
        store.add(f"Speaker {number}", [recording(number, audio=bytes([number % 256]) * 20_000)], MODEL, None, "test")
    store.close()
    with place.path.with_name("filler").open("wb", buffering=0) as filler:
        for size in (2**16, 2**9, 1):
            with suppress(OSError):
                while filler.write(bytes(size)):
                    pass
    told: dict[str, Any] = {"free": shutil.disk_usage(place.path.parent).free, "before": place.path.stat().st_size}
    store = place.open(create=False)
    try:
        store.add("One more", [recording(1000, audio=bytes(10_000_000))], MODEL, None, "test")
        told["enrolled"] = True
    except StoreError as error:
        told["refusal"] = str(error)
    erasures = [store.remove(f"Speaker {number}", "test") for number in range(0, 300, 30)]
    told["complete"] = [erasure.complete for erasure in erasures]
    traces = [f"Speaker {number}".encode() + b"a.wav" for number in range(0, 300, 30)]
    traces += [recording(number).embedding.tobytes()[:40] for number in range(0, 300, 30)]
    told["left"] = len(present(place, traces))
    told["whole"] = len([store.voiceprint(entry.name) for entry in store.speakers()])
    os.write(1, json.dumps(told).encode())
