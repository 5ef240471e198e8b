"""How many crops of two seconds are read in a second, from FLAC, Ogg Opus, wav copies and shards.

    python benchmarks/crop_reading.py [--prepared DIR] [--workers 0 1 2] [--batch 64] [--seconds 3] [--repeats 3]

Crops are drawn as training draws them and read by its own loader; 0 workers read in the process itself. Rates are of
the clock, and per core: crops in a second of processor time, of all processes together, which other work on the machine
disturbs less. Below stands the machine's own rate for the same bytes, measured in the same run: slices of a memory map
turned into float32, in one process, the places given. Kinds are taken in turns and the best of each counts.

Without --prepared, ten minutes of made-up voices are cut into utterances of 2 to 20 s and prepared in each way in a
temporary folder. They fit into memory, so the figures are those of reading and decoding, not of a disk.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio
from sound_groove.corpora.layouts import Folder
from sound_groove.corpora.manifest import Utterance, read_manifest
from sound_groove.corpora.preparation import prepare
from sound_groove.corpora.preparation_report import PreparationOptions
from sound_groove.inputs.dataset import CropReader, training_batches
from sound_groove.inputs.sampler import ShuffledSampler
from sound_groove.provenance import machine, processor
from sound_groove.synthesis.voices import write_corpus

FRAMES = 200  # 2 s
UTTERANCES, SPEAKERS = 300, 10
DURATION_S = (2.0, 20.0)


class Rate(NamedTuple):
    """Crops in a second of the clock, and in a second of processor time."""

    clock: float
    core: float


def main() -> None:
    """Measure every kind that there is and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepared", type=Path, help="a folder that 'sound-groove prepare' wrote")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0, help="that each measurement takes")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folders = {"prepared": arguments.prepared} if arguments.prepared else make_corpora(Path(name))
        kinds = {kind: read_manifest(folder) for kind, folder in folders.items()}
        about = machine(1)
        speech = next(iter(kinds.values()))
        hours = sum(utterance.duration_s for utterance in speech) / 3600
        print(f"{processor()}, {about['cpus']} cores, torch {torch.__version__}, soundfile {soundfile.__version__}")
        print(f"{len(speech):,} utterances, {hours:.2f} h; batches of {arguments.batch} crops of {FRAMES} frames")
        report(kinds, arguments.workers, arguments.batch, arguments.seconds, arguments.repeats)


def report(kinds: dict[str, list[Utterance]], workers: Sequence[int], batch: int, seconds: float, repeats: int) -> None:
    """Measure in turns and print the best."""
    tasks: dict[tuple[str, int], Callable[[], Rate]] = {}
    for kind, utterances in kinds.items():
        for count in workers:
            tasks[kind, count] = lambda u=utterances, n=count: loader_rate(u, n, batch, seconds)  # type: ignore[misc]
    packed = next((u for u in kinds.values() if u[0].shard_path is not None), None)
    if packed is not None:
        tasks["memory map", 0] = lambda: map_rate(packed, batch, seconds)
    best = dict.fromkeys(tasks, Rate(0.0, 0.0))
    for _ in range(repeats):
        for task, measure in tasks.items():
            rate = measure()
            best[task] = Rate(max(rate.clock, best[task].clock), max(rate.core, best[task].core))
    limit = best.get(("memory map", 0))
    print(f"{'read from':<12}{'workers':>8}{'crops/s':>10}{'per core':>10}{'share of the map':>18}")
    for (kind, count), rate in best.items():
        share = f"{rate.core / limit.core:.1%}" if limit else "-"
        print(f"{kind:<12}{count:>8}{rate.clock:>10,.0f}{rate.core:>10,.0f}{share:>18}")


def loader_rate(utterances: list[Utterance], workers: int, batch: int, seconds: float) -> Rate:
    """What the loader of training gives: from the first batch on by the clock, all that it costs in processor time."""
    sampler = ShuffledSampler(len(utterances), batch, seed=0, batches_per_epoch=1000)
    batches = training_batches(reader_of(utterances), sampler, range(10**6), workers=workers)
    before = processor_s()
    next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        count += 1
    elapsed = time.perf_counter() - start
    batches.close()  # the workers end, and their times are counted
    return Rate(count * batch / elapsed, (count + 1) * batch / (processor_s() - before))


def map_rate(utterances: list[Utterance], batch: int, seconds: float) -> Rate:
    """The same crops from memory maps, with nothing around it: what no reader of these bytes can do without."""
    count = reader_of(utterances).samples
    maps = {path: np.memmap(path, "<i2", "r") for path in {str(u.shard_path) for u in utterances}}
    generator = np.random.default_rng(0)
    places = []
    for utterance in (utterances[index] for index in generator.permutation(len(utterances))):
        wanted = min(count, sum(utterance.samples))
        start = utterance.shard_offset + int(generator.integers(sum(utterance.samples) - wanted + 1))
        places.append((maps[str(utterance.shard_path)], start, wanted))
    before, start_s, done = processor_s(), time.perf_counter(), 0
    while time.perf_counter() - start_s < seconds:
        crops: NDArray[np.float32] = np.empty((batch, count), np.float32)
        for row in range(batch):
            samples, start, wanted = places[(done + row) % len(places)]
            np.multiply(samples[start : start + wanted], np.float32(1 / 32768), out=crops[row, :wanted])
        done += batch
    return Rate(done / (time.perf_counter() - start_s), done / (processor_s() - before))


def reader_of(utterances: list[Utterance]) -> CropReader:
    """What reads a crop of any utterance."""
    return CropReader(utterances, np.zeros(len(utterances), np.int64), FRAMES, seed=0)


def processor_s() -> float:
    """Processor time of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def make_corpora(root: Path) -> dict[str, Path]:
    """Prepare the same made-up speech in every way."""
    voices = write_corpus(root / "voices", SPEAKERS, utterances=6, seed=0, duration_s=(8.0, 12.0))
    speech = np.concatenate([load_audio(path) for path in voices])
    generator = np.random.default_rng(0)
    formats = {"FLAC": ("flac", "FLAC", "PCM_16"), "Ogg Opus": ("opus", "OGG", "OPUS")}
    if "OPUS" not in soundfile.available_subtypes("OGG"):
        del formats["Ogg Opus"]
    for number in range(UTTERANCES):
        count = round(generator.uniform(*DURATION_S) * SAMPLE_RATE)
        first = int(generator.integers(len(speech) - count))
        for suffix, container, subtype in formats.values():
            path = root / suffix / f"s{number % SPEAKERS}" / f"{number:03d}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, speech[first : first + count], SAMPLE_RATE, format=container, subtype=subtype)
    ways = {kind: (suffix, PreparationOptions()) for kind, (suffix, _, _) in formats.items()}
    ways["wav copies"] = "flac", PreparationOptions(wav=True)
    ways["shards"] = "flac", PreparationOptions(pack=True)
    for kind, (suffix, options) in ways.items():
        print(f"preparing {kind}", file=sys.stderr)
        prepare(Folder(root / suffix), root / "prepared" / kind, options)
    return {kind: root / "prepared" / kind for kind in ways}


if __name__ == "__main__":
    main()
