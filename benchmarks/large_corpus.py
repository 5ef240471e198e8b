"""What a look through a large corpus takes once everything is embedded: memory and time, on made-up embeddings.

    python benchmarks/large_corpus.py [--recordings 640000] [--speakers 2800]

The embeddings are made up (192 values: a voice, a session and the rest, each normally distributed), and so are 128
landmarks of each recording; no sound is read. 1 % of the labels are exchanged, 1 % of the speakers are put together in
pairs, and 1 % have two labels. Printed are the time of each step, the most memory that the process ever had, and what
was found. All is written and read again as `doctor` does it.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.fingerprint import BITS, FRAME_BITS, LANDMARKS
from sound_groove.curation.copies import find_copies
from sound_groove.curation.corpus import write_examination, write_page
from sound_groove.curation.examination import examine
from sound_groove.curation.findings import Labelled
from sound_groove.curation.heard import HeardCorpus, read_heard, write_heard
from sound_groove.errors import AudioError
from sound_groove.provenance import processor
from sound_groove.types import Samples

SIZE, SESSIONS, SHARE = 192, 8, 0.01
CHUNK = 20_000


@contextmanager
def told(what: str) -> Iterator[None]:
    """Print how long something took, and the most memory until then."""
    start, busy = time.monotonic(), time.process_time()
    yield
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| {what} | {time.monotonic() - start:.0f} | {time.process_time() - busy:.0f} | {most:.2f} |", flush=True)


@dataclass(frozen=True)
class Planted:
    """A corpus with wrong labels.

    Attributes:
        truth: (N,) who speaks.
        labels: (N,) the label.
        exchanged: rows of recordings that have another's label.
        together: labels of two people.
        cut: people with two labels.
    """

    truth: NDArray[np.int64]
    labels: NDArray[np.int64]
    exchanged: set[int]
    together: set[int]
    cut: set[int]


def planted(recordings: int, speakers: int, draws: np.random.Generator) -> Planted:
    """Exchange labels, put speakers together and cut others in two."""
    truth = np.sort(draws.integers(0, speakers, recordings))
    labels = truth.copy()
    some = max(round(SHARE * speakers), 1)
    first, second, cut = np.split(draws.permutation(speakers)[: 3 * some], 3)
    for one, other in zip(first, second, strict=True):
        labels[labels == other] = one
    for number, speaker in enumerate(cut.tolist()):
        labels[np.flatnonzero(labels == speaker)[::2]] = speakers + number
    rows = draws.choice(recordings, round(SHARE * recordings), replace=False)
    before = labels[rows]
    labels[rows] = draws.permutation(before)
    exchanged = set(rows[labels[rows] != before].tolist())
    return Planted(truth, labels, exchanged, set(first.tolist()), set(cut.tolist()))


def made_up(
    truth: NDArray[np.int64], sessions: NDArray[np.int64], speakers: int, draws: np.random.Generator
) -> HeardCorpus:
    """What would have been heard of them."""
    count = len(truth)
    voices = draws.standard_normal((speakers, SIZE), np.float32) * np.linspace(1.4, 0.3, SIZE, dtype=np.float32)
    rooms = draws.standard_normal((speakers * SESSIONS, SIZE), np.float32) * np.float32(0.35)
    embeddings = np.empty((count, SIZE), np.float32)
    for start in range(0, count, CHUNK):
        here = slice(start, start + CHUNK)
        rest = draws.standard_normal((len(truth[here]), SIZE), np.float32) * np.float32(0.7)
        rows = voices[truth[here]] + rooms[truth[here] * SESSIONS + sessions[here]] + rest
        embeddings[here] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    marks = np.empty(count * LANDMARKS, np.uint64)
    for start in range(0, len(marks), 1_000_000):
        some = len(marks[start : start + 1_000_000])
        # As of speech, some moments are far more frequent than others.
        keys = (2**BITS * draws.random(some) ** 2).astype(np.uint64)
        marks[start : start + some] = (keys << np.uint64(FRAME_BITS)) | draws.integers(0, 500, some).astype(np.uint64)
    return HeardCorpus(
        embeddings,
        speech_s=np.full(count, 8, np.float32),
        duration_s=np.full(count, 8, np.float32),
        snr_db=np.full(count, 20, np.float32),
        unfamiliarity=np.full(count, -3, np.float32),
        level_db=np.full(count, -20, np.float32),
        music_s=np.zeros(count, np.float32),
        clipped=np.zeros(count, np.float32),
        silence_s=np.ones(count, np.float32),
        band_db=np.full(count, -9, np.float32),
        digests=np.arange(count).astype("S64"),
        doubts=np.zeros(count, np.uint8),
        landmarks=marks,
        starts=np.arange(count + 1, dtype=np.int64) * LANDMARKS,
        reasons={},
        refusals={},
        voices={},
    )


def unread(row: int) -> Samples:
    """There is no sound."""
    raise AudioError(None, f"{row} was made up")


def main() -> None:
    """Make it up, write it, read it, look through it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=640_000)
    parser.add_argument("--speakers", type=int, default=2800)
    arguments = parser.parse_args()
    draws = np.random.default_rng(0)
    print(f"{arguments.recordings:,} made-up recordings of {arguments.speakers:,} speakers; {processor()}\n")
    print("| step | s | s of the processor | most memory until then, GiB |\n| --- | --- | --- | --- |")
    with TemporaryDirectory() as folder:
        out = Path(folder)
        plan = planted(arguments.recordings, arguments.speakers, draws)
        truth, labels = plan.truth, plan.labels
        sessions = draws.integers(0, SESSIONS, len(truth))
        with told("making up and writing"):
            heard = made_up(truth, sessions, arguments.speakers, draws)
            names = [f"/made-up/{row:07d}.flac" for row in range(len(truth))]
            states = [(1, row) for row in range(len(truth))]
            np.savez(out / "embeddings.npz", emb=heard.embeddings, model=np.array("made-up"))
            write_heard(out / "heard.npz", heard, names, states, "made-up")
        del heard
        recordings = [
            Labelled(name, f"id{label:05d}", f"{speaker}-{session}")
            for name, label, speaker, session in zip(
                names, labels.tolist(), truth.tolist(), sessions.tolist(), strict=True
            )
        ]
        with told("reading what was heard"):
            kept = read_heard(out / "heard.npz", out / "embeddings.npz", names, states, "made-up")
        assert kept is not None
        with told("the same audio"):
            copies = find_copies(kept, unread)
        with told("labels"):
            found = examine(recordings, kept, copies=copies)
        with told("writing what was found"):
            write_examination(out, recordings, found)
            write_page(out, recordings, found, "made-up", 0.05)
    called = {int(Path(str(one.path)).stem) for one in found.of_kind("wrong_label")}
    together = {int(one.speaker[2:]) for one in found.of_kind("two_people")}
    cut = {int(one.speaker[2:]) for one in found.of_kind("one_person")}
    print("\n| kind | planted | found | of these planted |\n| --- | --- | --- | --- |")
    for kind, made, here in (
        ("wrong labels", plan.exchanged, called),
        ("labels of two people", plan.together, together),
        ("people with two labels", plan.cut, cut),
        ("the same audio", set[int](), {copy.row for copy in copies}),
    ):
        print(f"| {kind} | {len(made):,} | {len(here):,} | {len(here & made):,} |")


if __name__ == "__main__":
    main()
