"""What is embedded of a recording is its speech, wherever that is, with short pauses."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from pydantic import ValidationError

from sound_groove.audio import voices
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.listening import hear
from sound_groove.audio.pauses import AROUND_S, assembled, joined, kept_spans, within, without_pauses
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.networks.architectures import build_network
from sound_groove.networks.tensor_groups import network_hash
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import CropAveraging, ModelIdentity, Samples


@pytest.fixture(scope="module")
def encoder(exported: Path) -> SpeakerEncoder:
    return SpeakerEncoder.load(exported, threads=1)


@pytest.fixture(scope="module")
def voice() -> Samples:
    return speak(made_up_speaker(0, 3), 0, 5.0)


def shorten_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a recording of more than 7 s a long one, which is listened to in parts of 7 s."""
    monkeypatch.setattr(voices, "LISTENED_SAMPLES", 7 * SAMPLE_RATE)


def zeros(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def cosine(encoder: SpeakerEncoder, first: Samples, second: Samples) -> float:
    a, b = encoder.embed([first, second])
    return float(a @ b)


def test_silence_around_and_between_speech_is_not_embedded(voice: Samples) -> None:
    pretrained = SpeakerEncoder.load("pretrained", threads=1)  # it has a floor: of a pause of zeros half a second stays
    for silent in (
        np.concatenate((zeros(20), voice, zeros(30))),
        np.concatenate((voice, zeros(3))),
        np.concatenate((voice[:40000], zeros(8), voice[40000:])),
    ):
        assert cosine(pretrained, silent, voice) > 0.95
        kept = without_pauses(silent)
        assert len(kept) <= len(voice) + 4 * AROUND_S * SAMPLE_RATE


def test_speech_with_short_pauses_is_embedded_as_it_is(encoder: SpeakerEncoder, voice: Samples) -> None:
    assert np.array_equal(without_pauses(voice), voice)
    assert np.array_equal(encoder.embed(voice), encoder.embed(voice, keep_pauses=True))


def test_a_recording_without_speech_is_embedded_whole(encoder: SpeakerEncoder) -> None:
    hiss = np.random.default_rng(0).normal(scale=0.01, size=10 * SAMPLE_RATE).astype(np.float32)
    assert np.array_equal(without_pauses(hiss), hiss)


def test_what_was_heard_is_embedded_like_the_file(encoder: SpeakerEncoder, voice: Samples, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.concatenate((zeros(4), voice, zeros(5), voice)), SAMPLE_RATE)
    heard = hear(tmp_path / "a.wav")
    assert len(heard.speech) >= 2
    assert len(without_pauses(heard.samples, heard.speech)) < len(heard.samples) - 5 * SAMPLE_RATE
    assert np.array_equal(Listener(encoder).hear(heard).embedding, encoder.embed(tmp_path / "a.wav"))
    assert np.array_equal(Listener(encoder).hear(heard).embedding, encoder.embed(heard.samples))


@pytest.mark.parametrize("crops", [None, CropAveraging(3, 200)])
def test_a_long_recording_is_embedded_by_its_speech_alone(
    encoder: SpeakerEncoder,
    voice: Samples,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    crops: CropAveraging | None,
) -> None:
    # Parts of 7 s, so that the recording is long, and its speech lies across their seams.
    samples = np.concatenate((zeros(12), voice, zeros(9), voice, zeros(20)))
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, "FLOAT")
    whole = encoder.embed(tmp_path / "a.wav", crops)
    shorten_parts(monkeypatch)
    assert float(encoder.embed(tmp_path / "a.wav", crops) @ whole) > 0.99
    assert np.allclose(
        encoder.embed(tmp_path / "a.wav", crops, keep_pauses=True),
        encoder.embed(samples, crops, keep_pauses=True),
        atol=1e-4,
    )


@pytest.fixture(scope="module")
def floored() -> SpeakerEncoder:
    """A small network with random weights that asks for silence."""
    settings = NetworkConfiguration(channels=16, embedding_size=12, floor_db=40.0, silence_share=0.5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(settings).eval()
    return SpeakerEncoder.of_network(network, ModelIdentity("small", ""), 12, floor_db=40.0, silence_share=0.5)


def test_silence_is_put_behind_each_recording(floored: SpeakerEncoder, voice: Samples, tmp_path: Path) -> None:
    expected = floored.embed(np.pad(voice, (0, len(voice) // 2)), keep_pauses=True)
    assert float(expected @ floored.embed(voice, keep_pauses=True)) < 0.999
    assert np.allclose(floored.embed(voice), expected, atol=1e-6)
    soundfile.write(tmp_path / "a.wav", voice, SAMPLE_RATE, "FLOAT")
    assert np.allclose(Listener(floored).hear(tmp_path / "a.wav").embedding, expected, atol=1e-6)


def test_silence_is_put_behind_each_piece_of_a_long_recording(
    floored: SpeakerEncoder, voice: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", np.tile(voice, 5), SAMPLE_RATE, "FLOAT")
    whole = floored.embed(tmp_path / "a.wav")
    shorten_parts(monkeypatch)
    assert float(floored.embed(tmp_path / "a.wav") @ whole) > 0.999


def test_zeros_behind_a_recording_change_it_less_where_all_have_some(floored: SpeakerEncoder, voice: Samples) -> None:
    padded = np.pad(voice, (0, len(voice) // 4))
    bare = floored.embed([voice, padded], keep_pauses=True)
    behind = floored.embed([np.pad(samples, (0, len(samples) // 2)) for samples in (voice, padded)], keep_pauses=True)
    assert behind[0] @ behind[1] > bare[0] @ bare[1]


def test_it_is_a_part_of_the_model_and_needs_a_floor() -> None:
    weights = {"network.a": torch.ones(1)}
    hashes = {network_hash(weights, {"floor_db": 40.0, "silence_share": share}) for share in (None, 0.0, 0.5)}
    assert len(hashes) == 3
    with pytest.raises(ValidationError, match=r"set network\.floor_db too"):
        NetworkConfiguration(silence_share=0.5)


def test_windows_of_what_is_kept_are_read_in_one_pass() -> None:
    samples = np.arange(1000, dtype=np.float32)
    kept = [(100, 300), (600, 900)]
    windows = [within(kept, window) for window in ((0, 150), (100, 400), (350, 500))]  # they overlap, as crops do
    asked: list[list[tuple[int, int]]] = []

    def read(spans: list[tuple[int, int]]) -> list[Samples]:
        asked.append(list(spans))
        return [samples[start:end] for start, end in spans]

    found = list(assembled(read, windows))  # type: ignore[arg-type]
    (spans,) = asked
    assert spans == sorted(spans)
    assert found[0].tolist() == list(range(100, 250)) and found[2].tolist() == list(range(750, 900))
    assert found[1][0] == 200 and found[1][-1] == 799 and len(found[1]) == 300 - 80  # faded over 80 samples


def test_stretches_are_joined_without_a_step() -> None:
    both = joined([np.ones(1000, np.float32), -np.ones(1000, np.float32)])
    assert len(both) == 2000 - 80 and np.abs(np.diff(both)).max() < 0.03
    assert joined([np.ones(10, np.float32), np.ones(5, np.float32)]).tolist() == [1.0] * 10


def test_what_is_kept_holds_all_speech() -> None:
    speech = [(16000, 32000), (34000, 40000), (90000, 99000)]
    kept = kept_spans(speech, 100000)
    assert kept == [(8000, 48000), (82000, 100000)]
    assert kept_spans([], 5000) == [(0, 5000)]
