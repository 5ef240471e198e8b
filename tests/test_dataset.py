"""Training crops: where they come from, and that reading them is a function of (seed, epoch, item) alone."""

import multiprocessing
import os
import pickle
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sound_groove.audio.reading import load_audio
from sound_groove.corpora.manifest import Utterance
from sound_groove.errors import TrainingError
from sound_groove.inputs.dataset import (
    Batch,
    CropReader,
    Item,
    load_features,
    read_crop,
    read_feature_crop,
    training_batches,
)
from sound_groove.inputs.sampler import PkSampler, ShuffledSampler
from sound_groove.inputs.speed import source_samples

COLUMNS = ("inputs", "labels", "speeds", "utterances")
LAST = 1.0 - 2.0**-53  # the largest number below 1 that a generator gives


def ramp(path: Path, first: int, count: int) -> Path:
    """A 16-bit wav whose samples count upwards, so that each says where it comes from."""
    soundfile.write(path, np.arange(first, first + count, dtype=np.int16), 16000, subtype="PCM_16")
    return path


def places(crop: NDArray[np.float32]) -> NDArray[np.int64]:
    """What the samples of a ramp say."""
    return np.round(crop * 32768).astype(np.int64)


def utterance(*paths: Path, key: str = "a/1", feature_path: Path | None = None) -> Utterance:
    samples = tuple(soundfile.info(path).frames for path in paths)
    stored = None if feature_path is None else str(feature_path)
    return Utterance(key, key.split("/")[0], tuple(map(str, paths)), samples, "train", None, None, stored)


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Utterance:
    """Three files of 1,700, 1,600 and 2,000 samples that are read as one."""
    folder = tmp_path_factory.mktemp("joined")
    parts = [(0, 1700), (1700, 1600), (3300, 2000)]
    return utterance(*(ramp(folder / f"{first}.wav", first, count) for first, count in parts))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Twelve utterances of four speakers, from shorter than a crop to much longer, with features."""
    folder = tmp_path_factory.mktemp("ramps")
    made = []
    for index in range(12):
        path = ramp(folder / f"{index}.wav", 1000 * index, 1600 + 700 * index)
        torch.save(torch.randn(8 + 4 * index, 80), path.with_suffix(".pt"))
        made.append(utterance(path, key=f"speaker{index % 4}/{index}", feature_path=path.with_suffix(".pt")))
    return made


def reader_of(
    corpus: Sequence[Utterance], seed: int = 0, stored_features: bool = False, speeds: tuple[float, ...] = (1.0,)
) -> CropReader:
    return CropReader(corpus, np.arange(12, dtype=np.int64) % 4, 20, seed, stored_features, speeds)


def sampler_of(seed: int = 0, batches: int = 3) -> PkSampler:
    return PkSampler(np.arange(12, dtype=np.int64) % 4, 3, 2, seed, batches)


def same(first: Sequence[Batch], second: Sequence[Batch]) -> bool:
    pairs = list(zip(first, second, strict=True))
    return all(torch.equal(getattr(a, column), getattr(b, column)) for a, b in pairs for column in COLUMNS)


# Where a crop lies


def test_a_crop_may_begin_with_the_first_sample_and_end_with_the_last(tmp_path: Path) -> None:
    whole = utterance(ramp(tmp_path / "a.wav", 0, 5000))
    assert places(read_crop(whole, 3000, 0.0)).tolist() == list(range(3000))
    assert places(read_crop(whole, 3000, LAST)).tolist() == list(range(2000, 5000))
    assert places(read_crop(whole, 5000, LAST)).tolist() == list(range(5000))


def test_every_place_is_equally_likely(tmp_path: Path) -> None:
    reader = CropReader([utterance(ramp(tmp_path / "a.wav", 0, 3604))], np.zeros(1, np.int64), 21, 0)  # 3,600 samples
    starts = Counter(
        int(places(reader.read((0, epoch, place)).numpy())[0]) for epoch in range(10) for place in range(50)
    )
    assert set(starts) == {0, 1, 2, 3, 4}
    assert min(starts.values()) > 70  # 100 each, were the drawing perfectly even


def test_an_utterance_shorter_than_the_crop_is_repeated(tmp_path: Path) -> None:
    short = utterance(ramp(tmp_path / "a.wav", 0, 1600))
    assert places(read_crop(short, 4000, 0.7)).tolist() == [*range(1600), *range(1600), *range(800)]


@given(st.floats(0, LAST), st.integers(1600, 6000))
@settings(max_examples=60, deadline=None)
def test_joined_files_are_read_as_if_they_were_one(joined: Utterance, fraction: float, count: int) -> None:
    whole = np.concatenate([load_audio(path) for path in joined.paths])
    crop = read_crop(joined, count, fraction)
    assert crop.dtype == np.float32 and len(crop) == count
    if count >= len(whole):
        assert np.array_equal(crop, np.resize(whole, count))
    else:
        start = places(crop)[0]
        assert start == int(fraction * (len(whole) - count + 1))
        assert np.array_equal(crop, whole[start : start + count])


def test_crops_of_joined_files_reach_both_ends_and_cross_every_border(joined: Utterance) -> None:
    starts = [int(places(read_crop(joined, 1600, fraction))[0]) for fraction in (0.0, 0.3, 0.55, LAST)]
    assert starts[0] == 0 and starts[-1] == 5300 - 1600
    assert 1700 - 1600 < starts[1] < 1700 and 3300 - 1600 < starts[2] < 3300


def test_crops_of_stored_features_lie_where_those_of_audio_do(tmp_path: Path) -> None:
    torch.save(torch.arange(50).unsqueeze(1).expand(50, 80).half(), tmp_path / "a.pt")
    stored = utterance(ramp(tmp_path / "a.wav", 0, 8240), feature_path=tmp_path / "a.pt")
    for fraction, first in ((0.0, 0), (0.5, 15), (LAST, 30)):
        crop = read_feature_crop(stored, 20, fraction)
        assert crop.dtype == torch.float32 and crop.shape == (20, 80)
        assert crop[:, 7].tolist() == list(range(first, first + 20))
    assert read_feature_crop(stored, 120, 0.4)[:, 0].tolist() == [*range(50), *range(50), *range(20)]


# What a crop depends on


@pytest.mark.parametrize("stored_features", [False, True])
def test_a_crop_is_a_function_of_seed_epoch_and_place(corpus: list[Utterance], stored_features: bool) -> None:
    items: list[Item] = [(index, epoch, place) for index in (9, 11) for epoch in (0, 1) for place in (0, 5)]
    reader = reader_of(corpus, stored_features=stored_features)
    forwards = [reader.read(item) for item in items]
    backwards = [reader_of(corpus, stored_features=stored_features).read(item) for item in reversed(items)]
    assert all(torch.equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    assert len({crop.numpy().tobytes() for crop in forwards}) == len(items)
    other = [reader_of(corpus, 1, stored_features).read(item) for item in items]
    assert sum(torch.equal(a, b) for a, b in zip(forwards, other, strict=True)) <= 1


@pytest.mark.parametrize("stored_features", [False, True])
def test_the_number_of_workers_changes_nothing(corpus: list[Utterance], stored_features: bool) -> None:
    reader = reader_of(corpus, stored_features=stored_features)
    here, there = (list(training_batches(reader, sampler_of(), range(2), workers=workers)) for workers in (0, 2))
    assert len(here) == 6 and same(here, there)


def test_a_batch_says_what_it_holds(corpus: list[Utterance]) -> None:
    plan = sampler_of().plan(1)
    for row, batch in enumerate(training_batches(reader_of(corpus), sampler_of(), range(1, 2))):
        assert batch.utterances.tolist() == plan[row].tolist()
        assert batch.labels.tolist() == [index % 4 for index in plan[row]]
        assert batch.inputs.shape == (6, 400 + 19 * 160)
        for crop, index in zip(batch.inputs, plan[row], strict=True):
            assert 1000 * index <= places(crop.numpy())[0] < 1000 * index + corpus[index].samples[0]


def test_starting_in_mid_epoch_gives_the_rest_of_what_starting_at_the_beginning_gives(corpus: list[Utterance]) -> None:
    whole = list(training_batches(reader_of(corpus), sampler_of(), range(3)))
    for done in (1, 3, 5, 9):
        rest = training_batches(reader_of(corpus), sampler_of(), range(done // 3, 3), first_batch=done % 3)
        assert same(list(rest), whole[done:])


def test_a_crop_is_as_long_as_its_speed_takes_and_its_class_is_that_of_its_speaker_at_that_speed(
    corpus: list[Utterance],
) -> None:
    speeds, samples = (1.0, 0.5, 1.1), 400 + 19 * 160
    plain = list(training_batches(reader_of(corpus), sampler_of(batches=40), range(1)))
    counts = Counter[int]()
    for batch, same_batch in zip(
        training_batches(reader_of(corpus, speeds=speeds), sampler_of(batches=40), range(1)), plain, strict=True
    ):
        counts.update(batch.speeds.tolist())
        assert batch.inputs.shape[1] == max(source_samples(samples, speeds[speed]) for speed in batch.speeds.tolist())
        assert batch.labels.tolist() == (same_batch.labels + 4 * batch.speeds).tolist()
        for crop, speed in zip(batch.inputs, batch.speeds.tolist(), strict=True):
            wanted = source_samples(samples, speeds[speed])
            assert not crop[wanted:].any()
            assert crop[:wanted].count_nonzero() >= wanted - 3  # the first file's first sample is 0, and is repeated
    assert set(counts) == {0, 1, 2} and min(counts.values()) > 55  # of 240: 80 each, were the drawing perfectly even


def test_the_speeds_of_an_epoch_are_a_function_of_seed_epoch_and_place(corpus: list[Utterance]) -> None:
    speeds = (0.9, 1.0, 1.1)
    whole = list(training_batches(reader_of(corpus, speeds=speeds), sampler_of(), range(2)))
    assert same(list(training_batches(reader_of(corpus, speeds=speeds), sampler_of(), range(1, 2))), whole[3:])
    shares = [
        list(training_batches(reader_of(corpus, speeds=speeds), sampler_of(), range(2), rank=rank, processes=2))
        for rank in range(2)
    ]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.stack([part.labels for part in parts], dim=1).flatten(), batch.labels)


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_together_read_the_crops_that_one_would_read(corpus: list[Utterance], processes: int) -> None:
    whole = list(training_batches(reader_of(corpus), sampler_of(), range(2)))
    shares = [
        list(training_batches(reader_of(corpus), sampler_of(), range(2), rank=rank, processes=processes))
        for rank in range(processes)
    ]
    for batch, *parts in zip(whole, *shares, strict=True):
        together = torch.stack([part.inputs for part in parts], dim=1).flatten(0, 1)
        assert torch.equal(together, batch.inputs)


def test_reading_does_not_touch_the_global_generators(corpus: list[Utterance]) -> None:
    before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    for workers in (0, 1):
        list(training_batches(reader_of(corpus), sampler_of(), range(1), workers=workers))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], before[1])


# The reading processes


class WorkerReader(CropReader):
    """Says which process reads."""

    def read_batch(self, items: Sequence[Item]) -> Batch:
        return Batch(torch.zeros(1), torch.zeros(1), torch.zeros(1), torch.tensor([os.getpid()]))


def test_the_workers_live_through_all_epochs_and_end_with_the_batches(corpus: list[Utterance]) -> None:
    reader = WorkerReader(corpus, np.zeros(12, np.int64), 20, 0)
    batches = training_batches(reader, sampler_of(), range(10), workers=2)
    workers = {int(batch.utterances) for batch in islice(batches, 25)}
    assert len(workers) == 2 and os.getpid() not in workers
    assert workers <= {process.pid for process in multiprocessing.active_children()}
    batches.close()
    assert not workers & {process.pid for process in multiprocessing.active_children()}


def test_an_epoch_is_planned_when_its_turn_comes(corpus: list[Utterance]) -> None:
    class CountingSampler(ShuffledSampler):
        planned: list[int] = []  # noqa: RUF012

        def plan(self, epoch: int) -> NDArray[np.int64]:
            self.planned.append(epoch)
            return super().plan(epoch)

    sampler = CountingSampler(12, 4, 0, 3)
    list(islice(training_batches(reader_of(corpus), sampler, range(10**9)), 4))
    assert sampler.planned == [0, 1]


def test_a_batch_is_split_evenly(corpus: list[Utterance]) -> None:
    (batch, *_) = training_batches(reader_of(corpus), sampler_of(), range(1))
    parts = batch.split(3)
    assert [len(part.inputs) for part in parts] == [2, 2, 2]
    assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)


# Files that are not what they were


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_vanished_is_named_in_one_sentence(tmp_path: Path, workers: int) -> None:
    path = ramp(tmp_path / "gone.wav", 0, 4000)
    gone = utterance(path, key="someone/gone")
    path.unlink()
    batches = training_batches(
        CropReader([gone], np.zeros(1, np.int64), 20, 0), ShuffledSampler(1, 1, 0, 1), range(1), workers=workers
    )
    with pytest.raises(TrainingError) as caught:
        next(batches)
    message = str(caught.value)
    assert "\n" not in message and "Traceback" not in message
    assert message.startswith(f"{path}: no such file") and "utterance someone/gone" in message


def test_a_file_that_became_shorter_is_named(tmp_path: Path) -> None:
    path = ramp(tmp_path / "a.wav", 0, 8000)
    listed = utterance(path)
    ramp(path, 0, 4000)
    reader = CropReader([listed], np.zeros(1, np.int64), 40, 0)
    with pytest.raises(TrainingError, match=r"a\.wav: has 4,000 samples at 16 kHz, fewer than the .*utterance a/1"):
        for place in range(20):
            reader.read((0, 0, place))


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


def test_an_object_in_a_feature_file_is_not_executed(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save(Trap(sprung), tmp_path / "zip.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Trap(sprung)))
    torch.save({"features": torch.zeros(3, 80), "trap": Trap(sprung)}, tmp_path / "dictionary.pt")
    for name in ("zip.pt", "bare.pt", "dictionary.pt"):
        with pytest.raises(TrainingError, match="holds something other than a tensor"):
            load_features(str(tmp_path / name))
    assert not sprung.exists()
    torch.load(tmp_path / "zip.pt", weights_only=False)  # the trap works
    assert sprung.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (torch.zeros(5, 40), "holds 40 values a frame, and 80 are expected"),
        (torch.zeros(0, 80), "holds something other than a tensor of features"),
        (torch.zeros(80), "holds something other than a tensor of features"),
        ([1, 2], "holds something other than a tensor of features"),
        (b"", "damaged"),
        (b"PK\x03\x04 and then nothing", "damaged"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_feature_file_that_holds_no_features_is_refused(tmp_path: Path, content: object, expected: str) -> None:
    path = tmp_path / "a.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(TrainingError) as caught:
        load_features(str(path))
    assert str(caught.value).startswith(str(path)) and expected in str(caught.value)


def test_a_feature_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(torch.randn(100, 80), path)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(TrainingError, match="damaged"):
        load_features(str(path))


def test_an_utterance_without_features_is_named(joined: Utterance) -> None:
    with pytest.raises(TrainingError, match=r"has no stored features.*utterance a/1"):
        CropReader([joined], np.zeros(1, np.int64), 20, 0, stored_features=True).read((0, 0, 0))
