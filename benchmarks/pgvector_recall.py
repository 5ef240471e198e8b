"""How much of the nearest voiceprints HNSW finds in PostgreSQL, how fast, and what erasing a speaker costs there.

    python benchmarks/pgvector_recall.py postgresql://user@host/database [--count 100000] [--kinds voices random]

The database must be one without a store; what is made there is dropped in the end. Voiceprints are made up:

- `voices`: shaped like the embeddings of 1,313 real speakers (the teacher's of recipes/corpus, 192 values): a direction
  that all have in common, so that the cosine of two speakers is 0.36 on average, a mean of the speaker with variances
  that fall as (1 + i / 2)^-0.8 exp(-i / 150), and noise of each recording with variances that fall as 1 / (1 + i / 20),
  so that two recordings of one speaker have a cosine of 0.76. Enrolled is the mean of three, and each query is a fourth
  recording of somebody who is enrolled.
- `random`: directions without any structure, and others for queries: the worst case of every index.

Recall@k is the share of the k nearest by exact search that the search with HNSW gives among its k. Times are of
`PostgresStore.nearest` for five speakers, connection and records included, one query after the other.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector.psycopg import register_vector

from sound_groove.errors import StoreError
from sound_groove.provenance import machine, processor
from sound_groove.types import Embeddings, ModelIdentity
from sound_groove.voiceprints.store import postgres
from sound_groove.voiceprints.store.changing import changed_entry
from sound_groove.voiceprints.store.postgres import NAMESPACE, PostgresStore
from sound_groove.voiceprints.store.records import EnrolledRecording
from sound_groove.voiceprints.store.rows import RECORDING_COLUMNS, WRITTEN_COLUMNS, recording_row
from sound_groove.voiceprints.store.sealing import PlainSealer

MODEL = "ab" * 32
NEAREST = 5
SAME, STRANGERS = 0.76, 0.36  # cosine of two recordings of one speaker and of two speakers, on average
RECORDINGS = 3  # of which a voiceprint is the mean

# Of the columns that are written, in their order.
SPEAKER_TYPES = (
    *["text"] * 4, *["int4"] * 2, *["float8"] * 5, *["text"] * 2, "int8", "vector", "bytea", "bytea", "text"
)  # fmt: skip
RECORDING_TYPES = ("text", "bytea", *["text"] * 2, *["float8"] * 3, "int4", "text", "bytea", "float8", "text")


class Answers(NamedTuple):
    """What a way of searching gave.

    Attributes:
        names: (queries, NEAREST).
        times_s: (queries,).
    """

    names: list[list[str]]
    times_s: NDArray[np.float64]


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--count", type=int, default=100_000, help="voiceprints")
    parser.add_argument("--size", type=int, default=192, help="values of each")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--ef-search", type=int, nargs="+", default=[40, 100, 200, 400, 800])
    parser.add_argument("--graphs", nargs="+", type=graph, default=[(16, 64), (32, 200)], metavar="M,EF_CONSTRUCTION")
    parser.add_argument("--kinds", nargs="*", choices=["voices", "random"], default=["voices", "random"])
    parser.add_argument("--erase", type=int, nargs="*", default=[1_000, 10_000, 50_000], help="speakers to erase from")
    arguments = parser.parse_args()
    about = machine(1)
    print(f"{processor()}, {about['cpus']} cores, numpy {np.__version__}; commit {about['git_commit']}")
    for kind in arguments.kinds:
        enrolled, queries = made_up(kind, arguments.count, arguments.size, arguments.queries)
        with_store(
            arguments.url,
            enrolled,
            partial(search, queries=queries, graphs=arguments.graphs, candidates=arguments.ef_search),
        )
    print(
        "\n| speakers | index | tables | removing, written anew | removing, vacuumed |\n| --- | --- | --- | --- | --- |"
    )
    for count in arguments.erase:
        enrolled, _ = made_up("voices", count, arguments.size, 1)
        with_store(arguments.url, enrolled, erase)


def graph(text: str) -> tuple[int, int]:
    """The figures of an index, from "16,64"."""
    m, _, ef_construction = text.partition(",")
    return int(m), int(ef_construction)


def made_up(kind: str, count: int, size: int, queries: int) -> tuple[Embeddings, Embeddings]:
    """Voiceprints (count, size) and queries (queries, size), of unit length."""
    generator = np.random.default_rng(0)
    if kind == "random":
        enrolled, asked = generator.standard_normal((count, size)), generator.standard_normal((queries, size))
    else:
        place = np.arange(size)
        spread = coordinates((1 + place / 2) ** -0.8 * np.exp(-place / 150), SAME - STRANGERS)
        noise = coordinates(1 / (1 + place / 20), 1 - SAME)
        common = unit(generator.standard_normal(size)) * np.sqrt(STRANGERS)
        means = common + spread * generator.standard_normal((count, size))
        recordings = unit(means[None] + noise * generator.standard_normal((RECORDINGS, count, size)))
        enrolled = recordings.mean(axis=0)
        asked = means[:queries] + noise * generator.standard_normal((queries, size))
        same, others = (np.sum(recordings[0] * np.roll(recordings[1], by, axis=0), axis=1).mean() for by in (0, 1))
        own = np.sum(unit(enrolled[:queries]) * unit(asked), axis=1).mean()
        print(f"\ncosines: {same:.2f} of one speaker, {others:.2f} of two, {own:.2f} of a query and its voiceprint")
    return unit(enrolled).astype(np.float32), unit(asked).astype(np.float32)


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors brought to unit length."""
    scaled: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


def coordinates(variances: NDArray[np.float64], total: float) -> NDArray[np.float64]:
    """The standard deviations of coordinates whose variances are in these proportions and have this sum."""
    deviations: NDArray[np.float64] = np.sqrt(variances / variances.sum() * total)
    return deviations


def with_store(url: str, enrolled: Embeddings, measure: Callable[[PostgresStore], None]) -> None:
    """Fill a store, measure with it and drop it."""
    try:
        PostgresStore(url, False, PlainSealer()).close()
    except StoreError:
        pass
    else:
        raise SystemExit("there is a store in this database; give another one")
    store = PostgresStore(url, True, PlainSealer())
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            fill(store, connection, enrolled)
            measure(store)
        finally:
            store.close()
            connection.execute(f"DROP SCHEMA {NAMESPACE} CASCADE")


def fill(store: PostgresStore, connection: psycopg.Connection[tuple[object, ...]], enrolled: Embeddings) -> None:
    """Write speakers and a recording of each past the store, which syncs every enrolment by itself."""
    register_vector(connection)
    model, when = ModelIdentity("made up", MODEL), "2026-01-01T00:00:00+00:00"
    recordings = [
        EnrolledRecording(f"{number:032x}", embedding, "a.wav", "0" * 64, 4.0, 3.0, 20.0, 16_000, when)
        for number, embedding in enumerate(enrolled)
    ]
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy(f"COPY {NAMESPACE}.speakers ({WRITTEN_COLUMNS}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(SPEAKER_TYPES)
            for number, recording in enumerate(recordings):
                entry = changed_entry(f"speaker {number}", None, [recording], model, number + 1)
                copy.write_row(store._written_row(replace(entry, id=recording.id), [recording]))
        columns = f"{RECORDING_COLUMNS}, speaker"
        with cursor.copy(f"COPY {NAMESPACE}.recordings ({columns}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(RECORDING_TYPES)
            for recording in recordings:
                copy.write_row((*recording_row(recording, PlainSealer()), recording.id))
    connection.execute(f"VACUUM ANALYZE {NAMESPACE}.speakers")
    connection.execute(f"VACUUM ANALYZE {NAMESPACE}.recordings")


def search(store: PostgresStore, queries: Embeddings, graphs: list[tuple[int, int]], candidates: list[int]) -> None:
    """Print recall and times of HNSW beside exact search."""
    exact = answers(store, queries, 1, exact=True)
    print(f"\n{store.count():,} voiceprints")
    print("\n| search | recall@1 | recall@5 | median ms | p99 ms |\n| --- | --- | --- | --- | --- |")
    show("exact", exact, exact)
    for m, ef_construction in graphs:
        begun = time.perf_counter()
        store.build_index(MODEL, m, ef_construction)
        built = time.perf_counter() - begun
        size = bytes_of(store, f"speakers_nearest_{MODEL[:40]}")
        print(
            f"| m = {m}, ef_construction = {ef_construction}: built in {built:.0f} s, {size / 2**20:,.0f} MiB | | | | |"
        )
        for ef_search in candidates:
            answers(store, queries, ef_search, exact=False)  # the index comes into memory
            show(f"ef_search = {ef_search}", answers(store, queries, ef_search, exact=False), exact)


def answers(store: PostgresStore, queries: Embeddings, ef_search: int, exact: bool) -> Answers:
    """Ask everything, and see how long each question takes."""
    names, times = [], []
    for query in queries:
        begun = time.perf_counter()
        found = store.nearest(query, MODEL, NEAREST, exact=exact, ef_search=ef_search)
        times.append(time.perf_counter() - begun)
        names.append([centroid.speaker.name for centroid, _ in found])
    return Answers(names, np.array(times))


def show(way: str, given: Answers, exact: Answers) -> None:
    """A row of the table."""
    pairs = list(zip(given.names, exact.names, strict=True))
    first = np.mean([a[:1] == b[:1] for a, b in pairs])
    five = np.mean([len({*a} & {*b}) / NEAREST for a, b in pairs])
    median, late = (1000 * np.quantile(given.times_s, share) for share in (0.5, 0.99))
    print(f"| {way} | {first:.4f} | {five:.4f} | {median:.1f} | {late:.1f} |", flush=True)


def erase(store: PostgresStore) -> None:
    """Print what the removal of one speaker takes, with and without an index."""
    limits = postgres.REWRITTEN_BYTES, postgres.REBUILT_BYTES
    for number, indexed in enumerate((False, True)):
        if indexed:
            store.build_index(MODEL)
        size = bytes_of(store, "speakers") + bytes_of(store, "recordings")
        times = []
        for way, most in enumerate((2**60, 0)):
            postgres.REWRITTEN_BYTES = postgres.REBUILT_BYTES = most
            begun = time.perf_counter()
            erasure = store.remove(f"speaker {10 * number + way}", "benchmark")
            times.append(time.perf_counter() - begun)
            assert erasure.complete == (most > 0)
        postgres.REWRITTEN_BYTES, postgres.REBUILT_BYTES = limits
        print(
            f"| {store.count() + 2 * number + 2:,} | {'HNSW' if indexed else 'none'} | {size / 2**20:,.0f} MiB | "
            f"{times[0]:.2f} s | {times[1]:.2f} s |",
            flush=True,
        )


def bytes_of(store: PostgresStore, relation: str) -> int:
    """What a table with its indexes, or an index, takes on the disk."""
    with store._reading():
        return int(store._value("SELECT pg_total_relation_size(CAST(? AS text)::regclass)", (relation,)))


if __name__ == "__main__":
    main()
