"""The same audio twice: copies that were encoded, cut, made louder or telephoned are found, and nothing else."""

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import soundfile
import soxr

from sound_groove.audio.content import Content
from sound_groove.audio.fingerprint import (
    BITS,
    FRAME_BITS,
    LANDMARKS,
    SHIFT,
    Fingerprint,
    Likeness,
    fingerprint,
    landmarks,
    likeness,
)
from sound_groove.audio.listening import AudioFacts, HeardRecording
from sound_groove.curation.copies import LEAST_SHARED, find_copies, shared_landmarks
from sound_groove.curation.examination import examine
from sound_groove.curation.findings import Labelled
from sound_groove.curation.heard import NUMBERS, HeardCorpus, heard_corpus, read_heard, write_heard
from sound_groove.encoder.bulk import packed, unpacked
from sound_groove.errors import AudioError
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import ModelIdentity, QualityWarning, Samples

RATE = 16_000
MODEL = ModelIdentity("made-up", "0" * 64)


def coded(samples: Samples, form: str, subtype: str, rate: int = RATE) -> Samples:
    """Written and read again in a lossy format, as small as it gets."""
    level = None if form == "WAV" else 0.9
    with TemporaryDirectory() as folder:
        path = Path(folder) / "coded"
        with soundfile.SoundFile(path, "w", rate, 1, subtype, format=form, compression_level=level) as file:
            file.write(samples)
        return np.asarray(soxr.resample(soundfile.read(path, dtype="float32")[0], rate, RATE), np.float32)


def narrow(samples: Samples) -> Samples:
    return np.asarray(soxr.resample(samples, RATE, 8000), np.float32)


COPIES: dict[str, Callable[[Samples], Samples]] = {
    "opus": lambda x: coded(x, "OGG", "OPUS"),
    "mp3": lambda x: coded(x, "MP3", "MPEG_LAYER_III"),
    "vorbis": lambda x: coded(x, "OGG", "VORBIS"),
    "quiet": lambda x: 0.05 * x,
    "telephone": lambda x: coded(narrow(x), "WAV", "ULAW", 8000),
    "cut": lambda x: x[len(x) // 4 + 77 :],
    "half, encoded": lambda x: coded(x[: len(x) // 2], "MP3", "MPEG_LAYER_III"),
}


def heard_as(samples: Samples, row: int) -> HeardRecording:
    length_s = len(samples) / RATE
    found = landmarks(fingerprint(samples))
    return HeardRecording(f"{row}", AudioFacts(length_s, length_s, 20.0, RATE), (), f"{row}", landmarks=found)


def heard_all(recordings: list[Samples]) -> HeardCorpus:
    return heard_corpus(heard_as(samples, row) for row, samples in enumerate(recordings))


def copies_among(recordings: list[Samples]) -> list[tuple[int, int]]:
    found = find_copies(heard_all(recordings), lambda row: (recordings[row], RATE))
    return sorted((copy.row, copy.of) for copy in found)


@pytest.fixture(scope="module")
def voices() -> list[Samples]:
    """What twelve made-up voices say, two of them each thing twice, in other words."""
    return [speak(made_up_speaker(7, number % 10), number, 4.0) for number in range(12)]


# --- fingerprints ---


def test_neither_level_nor_an_empty_band_above_changes_a_fingerprint(voices: list[Samples]) -> None:
    first = fingerprint(voices[0])
    assert likeness(first, fingerprint(0.1 * voices[0]), 0).errors < 0.001
    telephoned = soxr.resample(narrow(voices[0]), 8000, RATE)
    assert likeness(first, fingerprint(telephoned), 0).errors < 0.02


def test_half_of_the_bits_of_unrelated_voices_differ(voices: list[Samples]) -> None:
    prints = [fingerprint(samples) for samples in voices]
    errors = [likeness(one, other, 0).errors for one, other in combinations(prints, 2)]
    assert np.mean(errors) == pytest.approx(0.48, abs=0.04)  # of five offsets the best
    assert min(errors) > 0.38


def test_a_cut_begins_where_it_was_cut(voices: list[Samples]) -> None:
    offset_s = 1.25
    start = round(offset_s * RATE)
    found = likeness(fingerprint(voices[0]), fingerprint(voices[0][start:]), round(offset_s * RATE / 2 / SHIFT))
    assert found.is_copy
    assert found.offset_s == pytest.approx(offset_s, abs=0.02)
    assert found.share == pytest.approx(1.0, abs=0.05)


def test_what_lies_over_each_other_worked_by_hand() -> None:
    bits = np.zeros((4, BITS), bool)
    other = bits.copy()
    other[0, :6] = True
    every, loud = np.ones(4, bool), np.array([True, True, False, True])
    found = likeness(Fingerprint(bits, every), Fingerprint(other[:3], loud[:3]), 0)
    # The second one's loud frames 0 and 1; laid one frame earlier only its frame 1 meets one, without an error.
    assert found == Likeness(0.0, 1, 0.5, -SHIFT / 8000)
    assert not found.is_copy


def test_the_fewer_frames_the_fewer_errors_make_a_copy() -> None:
    assert Likeness(0.34, 200, 1.0, 0.0).is_copy
    assert not Likeness(0.34, 100, 1.0, 0.0).is_copy
    assert Likeness(0.0, 20, 1.0, 0.0).is_copy
    assert not Likeness(0.0, 19, 1.0, 0.0).is_copy
    assert not Likeness(0.0, 500, 0.4, 0.0).is_copy


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(3000), np.zeros(RATE), np.full(RATE, 0.25)])
def test_of_silence_and_of_next_to_nothing_there_is_no_landmark(samples: Samples) -> None:
    assert len(landmarks(fingerprint(samples.astype(np.float32)))) <= 1


def test_a_part_chooses_the_landmarks_of_the_whole(voices: list[Samples]) -> None:
    long = np.concatenate(voices[:4])
    whole, part = (landmarks(fingerprint(samples)) for samples in (long, long[: len(long) // 2 // 256 * 256]))
    assert len(whole) == LANDMARKS
    inside = whole[(whole & np.uint64(2**FRAME_BITS - 1)) < len(long) // 4 // SHIFT - 20]
    assert len(inside) > LANDMARKS // 4
    assert np.isin(inside, part).mean() > 0.95


# --- copies ---


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found_and_nothing_else(voices: list[Samples], kind: str) -> None:
    recordings = [*voices, COPIES[kind](voices[3])]
    longer, shorter = sorted((3, 12), key=lambda row: -len(recordings[row]))
    assert copies_among(recordings) == [(shorter, longer)]


def test_of_several_copies_each_is_named_once_with_the_longest(voices: list[Samples]) -> None:
    whole = voices[5]
    recordings = [0.5 * whole[8000:], *voices[:3], 0.5 * whole[4000:], whole]
    assert copies_among(recordings) == [(0, 5), (4, 5)]


def test_of_copies_that_are_as_long_the_one_without_doubts_stays(voices: list[Samples]) -> None:
    clipped, clean = (heard_as(samples, row) for row, samples in enumerate((np.clip(3 * voices[0], -1, 1), voices[0])))
    doubtful = replace(clipped, warnings=(QualityWarning("clipping", "clips"),))
    found = find_copies(heard_corpus([doubtful, clean]), lambda row: (voices[0], RATE))
    assert [(copy.row, copy.of) for copy in found] == [(0, 1)]


def test_a_recording_that_is_gone_is_nobodys_copy(voices: list[Samples]) -> None:
    def gone(row: int) -> Samples:
        raise AudioError(None, f"{row} is gone")

    assert find_copies(heard_all([voices[0], 0.5 * voices[0]]), gone) == []


def test_shared_landmarks_are_those_of_all_pairs_compared() -> None:
    draws = np.random.default_rng(0)
    recordings = []
    for _ in range(60):
        keys = np.unique(draws.integers(0, 400, 40)).astype(np.uint64)
        recordings.append((keys << np.uint64(FRAME_BITS)) | draws.integers(0, 3, len(keys)).astype(np.uint64))
    expected = set()
    for (a, one), (b, other) in combinations(enumerate(recordings), 2):
        places = [{int(v) >> FRAME_BITS: int(v) & (2**FRAME_BITS - 1) for v in rows.tolist()} for rows in (one, other)]
        offsets = Counter(places[0][key] - places[1][key] for key in places[0].keys() & places[1].keys())
        if any(sum(offsets[by] for by in range(at, at + 3)) >= LEAST_SHARED for at in range(-3, 4)):
            expected.add((a, b))
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in recordings])])
    found = list(shared_landmarks(np.concatenate(recordings), starts))
    assert len(found) == len({pair[:2] for pair in found})
    assert len(expected) > 100
    assert len({pair[:2] for pair in found} & expected) > 0.95 * len(expected)  # but for what many have
    assert {pair[:2] for pair in found} <= expected


def test_in_several_passes_the_same_is_found(voices: list[Samples], monkeypatch: pytest.MonkeyPatch) -> None:
    heard = heard_all([*voices, *(0.5 * samples[5000:] for samples in voices)])
    once = sorted(shared_landmarks(heard.landmarks, heard.starts))
    monkeypatch.setattr("sound_groove.curation.copies.PASSES_OF", len(heard.landmarks) // 7)
    assert sorted(shared_landmarks(heard.landmarks, heard.starts)) == once
    assert len(once) >= 12


def test_a_copy_is_dropped_and_told(voices: list[Samples]) -> None:
    recordings = [*voices[:2], COPIES["half, encoded"](voices[0])]
    heard = heard_all(recordings)
    labelled = [Labelled("0.wav", "a"), Labelled("1.wav", "b"), Labelled("2.mp3", "b")]
    found = examine(labelled, heard, copies=find_copies(heard, lambda row: (recordings[row], RATE)))
    (copy,) = found.of_kind("same_audio")
    assert (copy.path, copy.other) == ("2.mp3", "0.wav")
    assert copy.detail.startswith("holds the sound of 0.wav, which is labelled 'a'; ")
    assert copy.detail.endswith("% of the fingerprint changed")
    assert sorted(found.labels) == ["0.wav", "1.wav"]


@pytest.mark.corpus
def test_copies_of_real_recordings_are_found_and_nothing_else(corpus: Path) -> None:
    with (corpus / "manifest.tsv").open(encoding="utf-8") as file:
        listed = [row["path"] for row in csv.DictReader(file, delimiter="\t") if float(row["duration_s"]) > 3]
    recordings = [soundfile.read(corpus / path, dtype="float32")[0] for path in listed[::300]]
    assert len(recordings) >= 20
    made = [make(samples) for samples, make in zip(recordings[: len(COPIES)], COPIES.values(), strict=True)]
    found = copies_among(recordings + made)
    assert {frozenset(pair) for pair in found} == {frozenset((n, len(recordings) + n)) for n in range(len(made))}


# --- what is kept ---


def test_what_was_heard_of_a_corpus_is_kept_and_read_again(tmp_path: Path, voices: list[Samples]) -> None:
    said = (QualityWarning("clipping", "clips"), QualityWarning("mono", "is mono"))
    embedding = np.array([0.6, 0.8], np.float32)
    one = heard_as(voices[0], 0)
    spans = (((0, RATE),), ((RATE, 2 * RATE),))
    content, marks = Content(-31.5, 1.25, 0.5, 2.0, -9.0), one.landmarks
    whole = HeardRecording("a", one.facts, said, "d" * 64, (), one.samples, embedding, MODEL, spans, marks, content)
    again = unpacked(*(column[0] for column in packed([whole]).values()))
    assert isinstance(again, HeardRecording)
    assert again.voices == spans
    np.testing.assert_array_equal(again.landmarks, one.landmarks)
    assert again.content == content
    heard = heard_corpus([AudioError(None, "is gone", code="empty"), again])
    assert heard.codes(1) == ["clipping"]
    assert "2 voices are heard in it" in heard.voices[1]
    names, states = ["0.wav", "日本.wav"], [(-1, -1), (5, 7)]
    write_heard(tmp_path / "heard.npz", heard, names, states, "m")
    np.savez(tmp_path / "emb.npz", emb=embedding[np.newaxis], model=np.array("m"))
    files = (tmp_path / "heard.npz", tmp_path / "emb.npz")
    read = read_heard(*files, names, states, "m")
    assert read is not None
    assert (float(heard.level_db[1]), float(heard.music_s[1]), heard.refusals) == (-31.5, 1.25, {0: "empty"})
    for name in ("embeddings", "landmarks", "starts", *NUMBERS):
        np.testing.assert_array_equal(getattr(read, name), getattr(heard, name))
    assert (read.reasons, read.refusals, read.voices) == (heard.reasons, heard.refusals, heard.voices)
    assert read_heard(*files, names, [(-1, -1), (5, 8)], "m") is None
    assert read_heard(*files, names, states, "another") is None
    assert read_heard(*files, names[::-1], states, "m") is None
    files[1].unlink()
    assert read_heard(*files, names, states, "m") is None


def test_several_voices_are_told_and_the_recording_stays() -> None:
    facts = AudioFacts(9.0, 9.0, 20.0, RATE)
    spans = (((0, 5 * RATE),), ((5 * RATE, 9 * RATE),))
    found = examine([Labelled("0.wav", "a")], heard_corpus([HeardRecording("0", facts, (), "0", voices=spans)]))
    (several,) = found.of_kind("several_voices")
    assert several.path == "0.wav"
    assert "voice 2 from 5.0 to 9.0 s" in several.detail
    assert "0.wav" in found.labels
