"""A store of a million speakers in a file: how long it takes to open, what memory it takes, how fast it identifies.

    python benchmarks/gallery.py [--speakers 1000000] [--queries 100] [--threads 2] [--encrypted]

The speakers are made up: one recording each, an embedding of 192 values in a random direction. They are written into
the tables of a store in one go, which the product never does; from then on everything is what `identify` and the
service do. An identification is everything but decoding and embedding: the search, the 300 nearest weighed, the cohort.
"""

import argparse
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
from tqdm import tqdm

from sound_groove.audio.listening import AudioFacts, HeardRecording
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.provenance import machine
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.types import Embeddings, ModelIdentity
from sound_groove.voiceprints.gallery import open_gallery
from sound_groove.voiceprints.identification import identify
from sound_groove.voiceprints.store.changing import changed_entry
from sound_groove.voiceprints.store.interface import VoiceprintStore
from sound_groove.voiceprints.store.records import EnrolledRecording, new_id, timestamp
from sound_groove.voiceprints.store.rows import RECORDING_COLUMNS, WRITTEN_COLUMNS, recording_row
from sound_groove.voiceprints.store.sealing import AesSealer, PlainSealer, Sealer
from sound_groove.voiceprints.store.sqlite import SqliteStore
from sound_groove.voiceprints.store.tally import tally_of

SIZE, PART = 192, 10_000
MODEL = ModelIdentity("made up", "0" * 64)
MAP = ScoreMap(18.0, -7.0, "made up")
HEARD = HeardRecording("made up", AudioFacts(5.0, 4.0, 20.0, 16_000), (), "", model=MODEL)


class MadeUp(SpeakerEncoder):
    """A model that is asked for no embedding."""

    def __init__(self) -> None:
        self.identity = MODEL
        self.score_map = MAP


def main() -> None:
    """Build the store, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--encrypted", action="store_true")
    arguments = parser.parse_args()
    print(machine(arguments.threads))
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "voices.db"
        sealer = AesSealer(bytes(range(32))) if arguments.encrypted else PlainSealer()
        start = time.perf_counter()
        fill(path, arguments.speakers, generator, sealer)
        print(f"written in {time.perf_counter() - start:.0f} s")
        print(f"{arguments.speakers:,} speakers, a file of {path.stat().st_size / 1e9:.2f} GB")
        with closing(SqliteStore(path, False, sealer)) as store:
            measure(store, arguments.queries, generator)


def fill(path: Path, count: int, generator: np.random.Generator, sealer: Sealer) -> None:
    """Write so many speakers into a new store, in names that are in no order."""
    places = ", ".join("?" * len(WRITTEN_COLUMNS.split(", ")))
    order = generator.permutation(count)
    with closing(SqliteStore(path, True, sealer)) as store, tqdm(total=count, desc="writing", disable=None) as bar:
        store._database.execute("PRAGMA synchronous = OFF")
        for start in range(0, count, PART):
            speakers, recordings, events = [], [], []
            for number in range(start, min(start + PART, count)):
                recording = made_up(number, directions(1, generator)[0])
                entry = changed_entry(f"speaker {order[number]}", None, [recording], MODEL, number + 1)
                speakers.append(store._written_row(entry, [recording]))
                recordings.append((*recording_row(recording, store._sealer), entry.id))
                events.append((number + 1, timestamp(), "enrolled", entry.id, 1, MODEL.hash, "benchmark"))
            with store._changing():
                store._execute_many(f"INSERT INTO speakers ({WRITTEN_COLUMNS}) VALUES ({places})", speakers)
                places_of_one = ", ".join("?" * len(recordings[0]))
                statement = f"INSERT INTO recordings ({RECORDING_COLUMNS}, speaker) VALUES ({places_of_one})"
                store._execute_many(statement, recordings)
                store._execute_many("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", events)
            bar.update(len(speakers))
        if sealer.encrypts:
            with store._changing():
                marks = (row[0] for row in store._execute("SELECT seal FROM speakers"))
                store._remember_tally(tally_of(count, marks, store._sealer))


def measure(store: VoiceprintStore, queries: int, generator: np.random.Generator) -> None:
    """Fill a gallery from the store and identify; then enrol one more, and remove one."""
    process = psutil.Process()
    before, start = process.memory_info().rss, time.perf_counter()
    gallery = open_gallery(store, MODEL)
    count = gallery.count()
    taken_s, taken = time.perf_counter() - start, process.memory_info().rss - before
    print(f"opened in {taken_s:.1f} s, {taken / 1e9:.2f} GB in memory: {taken / count:,.0f} bytes a speaker")
    times, encoder = [], MadeUp()
    for query in directions(queries, generator):
        start = time.perf_counter()
        identify(gallery, replace(HEARD, embedding=query), encoder)
        times.append(1000 * (time.perf_counter() - start))
    print(f"identified in {np.median(times):.1f} ms (median), {np.quantile(times, 0.99):.1f} ms (p99)")
    start = time.perf_counter()
    store.add("one more", [made_up(count, directions(1, generator)[0])], MODEL, None, "benchmark")
    added_s = time.perf_counter() - start
    assert gallery.count() == count + 1
    print(f"one more enrolled in {1000 * added_s:.0f} ms, in the gallery {1000 * (time.perf_counter() - start):.0f} ms")
    for name in ("one more", "speaker 7", "speaker 77", "speaker 777"):
        start = time.perf_counter()
        erasure = store.remove(name, "benchmark")
        print(f"{name} removed for good in {time.perf_counter() - start:.2f} s (complete: {erasure.complete})")


def directions(count: int, generator: np.random.Generator) -> Embeddings:
    """Random unit vectors (count, SIZE)."""
    rows = generator.standard_normal((count, SIZE), dtype=np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def made_up(number: int, embedding: Embeddings) -> EnrolledRecording:
    """A recording of this embedding (D,)."""
    return EnrolledRecording(new_id(), embedding, "made-up.wav", f"{number:064x}", 5.0, 4.0, 20.0, 16_000, timestamp())


if __name__ == "__main__":
    main()
