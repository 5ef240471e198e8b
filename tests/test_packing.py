"""Packed corpora: shards hold what wav copies would, to the bit, and are as hard to break as all of preparation."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from processes import check_or_die, full_disk, nap, write_shard_or_die
from sound_groove.audio.reading import load_audio
from sound_groove.corpora import packing
from sound_groove.corpora.file_work import to_sixteen_bit
from sound_groove.corpora.layouts import Folder
from sound_groove.corpora.manifest import Utterance, read_manifest
from sound_groove.corpora.output_folder import OutputFolder
from sound_groove.corpora.packing import cut_into_shards
from sound_groove.corpora.preparation import prepare
from sound_groove.corpora.preparation_report import PreparationOptions
from sound_groove.corpora.shards import read_shard
from sound_groove.corpora.worker_pool import spread
from sound_groove.errors import ConfigurationError, TrainingError
from sound_groove.inputs.dataset import CropReader, read_crop, training_batches
from sound_groove.inputs.sampler import ShuffledSampler, speaker_labels
from sound_groove.training.preflight import preflight
from sound_groove.training.run_folder import RunFolder
from sound_groove.training.trainer import train
from training_corpus import prepare_corpus, tiny_recipe

LAST = 1.0 - 2.0**-53  # the largest number below 1 that a generator gives
LISTS = ("manifest.jsonl", "val_meta.jsonl", "report.json", "skipped.tsv")
PACK = PreparationOptions(pack=True, validation_speakers=0)


def write(
    path: Path, seconds: float, seed: int, rate: int = 16000, level: float = 0.3, subtype: str = "PCM_16"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).uniform(-level, level, round(seconds * rate))
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def write_speakers(root: Path, speakers: int = 4, utterances: int = 4) -> Path:
    """Utterances of 0.2 to 0.5 s, no two of them the same."""
    for speaker in range(speakers):
        for utterance in range(utterances):
            seed = 10 * speaker + utterance
            write(root / f"s{speaker}" / f"{utterance}.flac", 0.2 + 0.03 * (seed % 11), seed)
    return root


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second each, so that a corpus of seconds has many."""
    monkeypatch.setattr(packing, "SHARD_SAMPLES", 8000)


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    return write_speakers(tmp_path / "speech")


def shards(out: Path) -> list[str]:
    """The files in pack/; a name tells the content."""
    return sorted(path.name for path in (out / "pack").iterdir())


def packed(out: Path) -> list[list[object]]:
    """What the journal says of shards."""
    lines = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    return [line for line in lines if isinstance(line, list) and line[0] == "packed"]


def whole(utterance: Utterance) -> np.ndarray:
    return read_crop(utterance, sum(utterance.samples), 0.0)


def reader_of(utterances: Sequence[Utterance], crop_frames: int = 20) -> CropReader:
    speakers = sorted({u.speaker for u in utterances})
    labels = speaker_labels([u.speaker for u in utterances], {s: n for n, s in enumerate(speakers)})
    return CropReader(utterances, labels, crop_frames, seed=1)


# What is in a shard


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 40))
def test_shards_hold_every_utterance_once_in_order_and_are_no_longer_than_they_may(
    lengths: list[int], most: int
) -> None:
    cut = cut_into_shards(lengths, most)
    assert [index for members in cut for index in members] == list(range(len(lengths)))
    sizes = [sum(lengths[index] for index in members) for members in cut]
    assert all(size <= most or len(members) == 1 for size, members in zip(sizes, cut, strict=True))
    for members, after in zip(sizes, cut[1:], strict=False):
        assert members + lengths[after.start] > most  # none is cut earlier than it must


def test_crops_are_those_of_wav_copies_to_the_bit(speech: Path, tmp_path: Path) -> None:
    write(speech / "s0/high.wav", 0.7, 90, rate=44100)
    write(speech / "s1/loud.wav", 0.4, 91, level=1.4, subtype="FLOAT")
    write(speech / "s2/compressed.ogg", 0.6, 92, rate=8000, subtype="VORBIS")
    options: dict[str, Any] = {"join_s": 0.45, "validation_speakers": 0}
    copies = prepare(Folder(speech), tmp_path / "wav", PreparationOptions(wav=True, **options), workers=1)
    pack = prepare(Folder(speech), tmp_path / "pack", PreparationOptions(pack=True, **options), workers=1)
    assert pack.joined > 2 and pack.used == 19 and len(shards(pack.out)) > 3
    ours, theirs = reader_of(read_manifest(pack.out)), reader_of(read_manifest(copies.out))
    assert [u.key for u in ours.utterances] == [u.key for u in theirs.utterances]
    for epoch in range(5):
        items = [(index, epoch, place) for place, index in enumerate([*range(len(ours.utterances))] * 4)]
        assert torch.equal(*(reader.read_batch(items).to(torch.device("cpu")).inputs for reader in (ours, theirs)))
    for one, other in zip(ours.utterances, theirs.utterances, strict=True):
        for count in (1600, sum(one.samples), 20_000):  # the last is repeated
            for fraction in (0.0, 0.37, LAST):
                assert np.array_equal(read_crop(one, count, fraction), read_crop(other, count, fraction))


def test_crops_of_sixteen_bit_sources_are_those_of_the_sources(speech: Path, tmp_path: Path) -> None:
    utterances = read_manifest(prepare(Folder(speech), tmp_path / "out", PACK, workers=1).out)
    for utterance in utterances:
        assert np.array_equal(whole(utterance), load_audio(utterance.paths[0]))
        unpacked = replace(utterance, shard_path=None)
        assert np.array_equal(read_crop(utterance, 2000, 0.6), read_crop(unpacked, 2000, 0.6))


def test_a_shard_is_the_bare_samples_of_its_utterances_without_a_gap(speech: Path, tmp_path: Path) -> None:
    utterances = read_manifest(prepare(Folder(speech), tmp_path / "out", PACK, workers=1).out)
    for name in shards(tmp_path / "out"):
        path = str(tmp_path / "out" / "pack" / name)
        members = [u for u in utterances if u.shard_path == path]
        expected = np.concatenate([to_sixteen_bit(load_audio(u.paths[0])) for u in members])
        assert np.array_equal(np.fromfile(path, "<i2"), expected)
        assert [u.shard_offset for u in members] == np.cumsum([0, *(u.samples[0] for u in members)])[:-1].tolist()


def test_packing_goes_with_wav_and_features_and_leaves_the_lists_to_the_originals(speech: Path, tmp_path: Path) -> None:
    pack = prepare(Folder(speech), tmp_path / "pack", PreparationOptions(pack=True, features=True), workers=1).out
    plain = prepare(Folder(speech), tmp_path / "plain", workers=1).out
    records = [
        [json.loads(line) for line in (out / "val_meta.jsonl").read_text().splitlines()] for out in (pack, plain)
    ]
    assert records[0] == [
        {**record, "feature_path": str(pack / f"fbank_pt/{record['utterance']}.pt")} for record in records[1]
    ]
    both = prepare(Folder(speech), tmp_path / "both", PreparationOptions(pack=True, wav=True), workers=1).out
    assert shards(both) == shards(pack)
    for utterance in read_manifest(both):
        assert utterance.paths == (str(both / "wav" / f"{utterance.key}.wav"),)
        assert np.array_equal(whole(utterance), load_audio(utterance.paths[0]))


def test_an_unpacked_manifest_does_not_speak_of_shards(speech: Path, tmp_path: Path) -> None:
    out = prepare(Folder(speech), tmp_path / "out", workers=1).out
    assert "shard" not in (out / "manifest.jsonl").read_text()
    assert not (out / "pack").exists()


# Bad files


def test_a_file_that_cannot_be_decoded_is_left_out_and_named(speech: Path, tmp_path: Path) -> None:
    bad = speech / "s1/2.flac"
    bad.write_bytes(bad.read_bytes()[:-1000])  # a sound header, so a quick look does not find it
    options = PreparationOptions(pack=True, quick=True, join_s=0.6, validation_speakers=0)
    report = prepare(Folder(speech), tmp_path / "out", options, workers=1)
    named = {Path(skip.path).name: skip.reason for skip in report.skipped}
    assert "2.flac" in named and len(named) > 1 and report.used + len(named) == 16  # joined with its neighbours
    assert all(reason.endswith(f"copy it again ({bad})") for reason in named.values())
    for utterance in read_manifest(report.out):
        assert np.array_equal(whole(utterance), np.concatenate([load_audio(path) for path in utterance.paths]))
    lists = {name: (report.out / name).read_bytes() for name in LISTS}
    prepare(Folder(speech), tmp_path / "out", options, workers=1)
    assert {name: (report.out / name).read_bytes() for name in LISTS} == lists


def test_a_file_that_is_not_as_long_as_it_was_is_left_out_until_the_next_run(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = packing.Packer.run

    def change_and_run(*arguments: object) -> dict[int, str]:
        write(speech / "s1/2.flac", 0.8, 99)
        return run(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(packing.Packer, "run", change_and_run)
    report = prepare(Folder(speech), tmp_path / "out", PACK, workers=1)
    assert [(Path(s.path).name, s.reason) for s in report.skipped] == [
        ("2.flac", "changed while it was being prepared; run again")
    ]
    monkeypatch.undo()
    monkeypatch.setattr(packing, "SHARD_SAMPLES", 8000)
    report = prepare(Folder(speech), tmp_path / "out", PACK, workers=1)
    assert report.used == 16
    for utterance in read_manifest(report.out):
        assert np.array_equal(whole(utterance), load_audio(utterance.paths[0]))


def test_a_file_that_kills_its_worker_costs_no_other_and_is_tried_again(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(speech / "s1/deadly.flac", 0.1, 77)
    with monkeypatch.context() as patch:
        patch.setattr(packing, "write_shard", write_shard_or_die)
        patch.setattr(packing, "check_file", check_or_die)
        report = prepare(Folder(speech), tmp_path / "out", PACK, workers=2)
    assert [(Path(s.path).name, s.reason) for s in report.skipped] == [
        ("deadly.flac", "kills the process that decodes it")
    ]
    assert report.used == 16
    for utterance in read_manifest(report.out):
        assert np.array_equal(whole(utterance), load_audio(utterance.paths[0]))
    assert prepare(Folder(speech), tmp_path / "out", PACK, workers=2).used == 17


def test_a_full_disk_ends_the_run_and_blames_no_file(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(packing, "write_shard", full_disk)
        with pytest.raises(OSError, match="No space left"):
            prepare(Folder(speech), tmp_path / "out", PACK, workers=1)
    assert prepare(Folder(speech), tmp_path / "out", PACK, workers=1).bad == 0


# Stopping and going on


def test_the_number_of_workers_changes_no_byte(speech: Path, tmp_path: Path) -> None:
    seen = []
    for workers in (1, 3):
        out = prepare(Folder(speech), tmp_path / "same", PACK, workers=workers, force=True).out
        contents = [(out / "pack" / name).read_bytes() for name in shards(out)]
        seen.append((shards(out), contents, [(out / name).read_bytes() for name in LISTS]))
    assert seen[0] == seen[1]


def test_a_second_run_writes_nothing(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = prepare(Folder(speech), tmp_path / "out", PACK, workers=1).out
    before = [(out / name).read_bytes() for name in (*LISTS, "journal.jsonl")]
    monkeypatch.setattr(packing, "spread", None)  # no work may be given to anyone
    prepare(Folder(speech), out, PACK, workers=1)
    assert [(out / name).read_bytes() for name in (*LISTS, "journal.jsonl")] == before


SCRIPT = """
import sys, time
from sound_groove import cli
from sound_groove.corpora import packing, shards

def slow_write(job):
    time.sleep(0.05)
    return shards.write_shard(job)

if __name__ in ("__main__", "__mp_main__"):
    packing.SHARD_SAMPLES, packing.write_shard = 8000, slow_write
if __name__ == "__main__":
    cli.VERBS = ("prepare",)
    sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
def test_a_run_killed_between_shards_goes_on_with_the_next(tmp_path: Path) -> None:
    speech, out = write_speakers(tmp_path / "speech", utterances=40), tmp_path / "out"
    (tmp_path / "script.py").write_text(SCRIPT)
    words = ["prepare", "folder", speech, "--out", out, "--pack", "--validation-speakers", "0", "--workers", "2"]
    process = subprocess.Popen([sys.executable, str(tmp_path / "script.py"), *map(str, words)])
    deadline = time.monotonic() + 120
    while not (out / "journal.jsonl").exists() or len(packed(out)) < 5:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    psutil.wait_procs(workers, timeout=60)  # they end a moment after their parent
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    before = packed(out)
    assert not (out / "manifest.jsonl").exists()
    kept = {name: (out / "pack" / str(name)).stat().st_mtime_ns for _, _, _, name, _ in before}
    prepare(Folder(speech), out, PACK, workers=2)
    assert len(packed(out)) == len(shards(out)) > len(before)  # none was written twice
    assert all((out / "pack" / str(name)).stat().st_mtime_ns == time_ns for name, time_ns in kept.items())
    whole_run = prepare(Folder(speech), tmp_path / "whole", PACK, workers=1).out
    assert shards(out) == shards(whole_run)


def test_an_earlier_manifest_stays_true_until_the_new_one_is_there(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = prepare(Folder(speech), tmp_path / "out", PACK, workers=1).out
    earlier = [(utterance, whole(utterance)) for utterance in read_manifest(out)]
    before = shards(out)
    write(speech / "s0/1.flac", 0.31, 50)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OutputFolder, "write_lists", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(Folder(speech), out, PACK, workers=1)
    assert [utterance for utterance, _ in earlier] == read_manifest(out)
    assert all(np.array_equal(whole(utterance), samples) for utterance, samples in earlier)
    assert set(shards(out)) > set(before)
    (out / "pack" / "00099.pcm.partial").touch()  # as a kill leaves it
    prepare(Folder(speech), out, PACK, workers=1)
    named = {Path(str(utterance.shard_path)).name for utterance in read_manifest(out)}
    assert shards(out) == sorted(named) and not set(before) <= named


def test_work_that_nobody_waits_for_any_more_is_not_waited_for() -> None:
    results: Iterator[tuple[float, float]] = spread(nap, [0.0, 100.0, 100.0], 2, lambda seconds: -1.0, batch=1)
    assert next(results) == (0.0, 0.0)
    start = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 30


# Reading


@pytest.fixture
def utterances(speech: Path, tmp_path: Path) -> list[Utterance]:
    return read_manifest(prepare(Folder(speech), tmp_path / "out", PACK, workers=1).out)


def damage(utterances: list[Utterance], cut: bool) -> str:
    """Take away the last sample of the last shard, or all of it."""
    path = str(utterances[-1].shard_path)
    if cut:
        os.truncate(path, Path(path).stat().st_size - 2)
    else:
        Path(path).unlink()
    return path


@pytest.mark.parametrize("opened", [False, True])
def test_forked_workers_read_what_one_process_reads(utterances: list[Utterance], opened: bool) -> None:
    if opened:  # the workers inherit open files
        for utterance in utterances:
            whole(utterance)
    sampler, reader = ShuffledSampler(16, 4, 0, 6), reader_of(utterances)
    there = list(training_batches(reader, sampler, range(3), workers=2))
    here = list(training_batches(reader, sampler, range(3)))
    assert len(here) == len(there) == 18
    assert all(torch.equal(one.inputs, other.inputs) for one, other in zip(here, there, strict=True))


@pytest.mark.parametrize(("cut", "complaint"), [(True, "is truncated, it ends before sample"), (False, "No such file")])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_is_not_what_it_was_is_named_in_one_sentence(
    utterances: list[Utterance], cut: bool, complaint: str, workers: int
) -> None:
    path = damage(utterances, cut)
    last = utterances[-1]
    batches = training_batches(reader_of([last], 100), ShuffledSampler(1, 1, 0, 1), range(1), workers=workers)
    with pytest.raises(TrainingError) as caught:
        list(batches)
    assert not active_children()  # although the error is still held, and the generator's frame with it
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and complaint in message and "\n" not in message
    assert message.endswith(f"(utterance {last.key}); run 'sound-groove prepare' again")


def test_a_crop_never_runs_into_the_next_utterance_or_past_the_end(utterances: list[Utterance]) -> None:
    path = str(utterances[0].shard_path)
    samples = Path(path).stat().st_size // 2
    assert len(read_shard(path, samples - 5, 5)) == 5
    with pytest.raises(TrainingError, match=f"ends before sample {samples + 1:,}"):
        read_shard(path, samples - 4, 5)


@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_shard_is_found_before_training_and_mended_by_preparing_again(
    speech: Path, tmp_path: Path, cut: bool
) -> None:
    options = PreparationOptions(pack=True, validation_speakers=2)
    write_speakers(speech, speakers=5)
    out = prepare(Folder(speech), tmp_path / "out", options, workers=1).out
    recipe = tiny_recipe(out, data__sampler={"speakers": 2, "utterances": 2})
    for path in speech.rglob("*.flac"):
        path.rename(path.with_suffix(".away"))  # a packed corpus does without its sources
    assert len(preflight(recipe, RunFolder(tmp_path / "run"), False, False).utterances) == 12
    damaged = damage(read_manifest(out), cut)
    with pytest.raises(ConfigurationError) as caught:
        preflight(recipe, RunFolder(tmp_path / "run"), False, False)
    (problem,) = caught.value.problems
    state = r"has [\d,]+ of its [\d,]+ bytes" if cut else "is missing or empty"
    count = len(packed(out))
    assert problem.startswith(f"{out}: 1 of {count} shards are missing or truncated, the first, {damaged}, ")
    assert re.search(f"{state}; bring them back, or run 'sound-groove prepare' again$", problem)
    for away in speech.rglob("*.away"):
        away.rename(away.with_suffix(".flac"))
    prepare(Folder(speech), out, options, workers=1)
    assert preflight(recipe, RunFolder(tmp_path / "run"), False, False).utterances


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_training_on_a_packed_corpus_gives_the_losses_of_its_wav_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = prepare_corpus(tmp_path, training=6, validation=2, utterances=4).parent / "audio"
    logs: list[list[list[dict[str, Any]]]] = []
    for name in ("wav", "pack"):
        options = PreparationOptions(wav=name == "wav", pack=name == "pack", validation_speakers=2, join_s=1.1)
        out = prepare(Folder(audio), tmp_path / name, options, workers=1).out
        recipe = tiny_recipe(out, training__dither=1.0, validation__centre_utterances=4, data__workers=len(logs))
        train(recipe, tmp_path / f"{name}-run")
        files = (tmp_path / f"{name}-run" / f"{log_name}.jsonl" for log_name in ("steps", "epochs"))
        logs.append([[json.loads(line) for line in file.read_text().splitlines()] for file in files])
    for steps, epochs in logs:
        assert len(steps) == 10 and len(epochs) == 2
        for row in epochs:
            del row["crops_per_second"], row["waiting"]
    assert logs[0] == logs[1]
