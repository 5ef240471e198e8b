"""The front end: against an independent implementation of Kaldi's filterbank, and against physics."""

import math
from pathlib import Path

import kaldi_native_fbank
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sound_groove.audio.filterbank import FRAME_LENGTH
from sound_groove.audio.reading import load_audio
from sound_groove.errors import AudioError, UsageError
from sound_groove.networks.features import KaldiFbank, frame_count, frame_mask, remove_mean
from sound_groove.synthesis.voices import made_up_speaker, speak

RATE = 16000
LSB = 1.0 / 32768.0  # one step of a 16-bit recording
Waveform = NDArray[np.float32]


def kaldi(waveform: Waveform) -> NDArray[np.float32]:
    """(samples,) -> (T, 80) by kaldi-native-fbank."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = RATE
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = 80
    options.use_energy = False
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(RATE, (waveform * np.float32(32768.0)).tolist())
    fbank.input_finished()
    return np.stack([fbank.get_frame(index) for index in range(fbank.num_frames_ready)])


def exact(waveform: Waveform) -> NDArray[np.float64]:
    """(samples,) -> (T, 80) in float64, every step of Kaldi's definition written out."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64) * 32768.0, 400)[::160]
    frames = frames - frames.mean(axis=1, keepdims=True)
    frames = frames - 0.97 * np.concatenate((frames[:, :1], frames[:, :-1]), axis=1)
    window = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(400) / 399)) ** 0.85
    power = np.abs(np.fft.rfft(frames * window, 512)) ** 2  # (T, 257)

    mel_hz = 1127.0 * np.log1p(np.arange(257) * RATE / 512 / 700.0)
    low, high = 1127.0 * np.log1p(np.array([20.0, 8000.0]) / 700.0)
    step = (high - low) / 81
    distance = np.abs(mel_hz[:, None] - (low + step * np.arange(1, 81))) / step  # from each filter's centre
    energies: NDArray[np.float64] = power @ np.clip(1.0 - distance, 0.0, None)
    return np.log(np.maximum(energies, 2.0**-23))


def heard(features: NDArray[np.float32], range_db: float) -> NDArray[np.bool_]:
    """The bins that are less than so many dB below the loudest of their frame."""
    result: NDArray[np.bool_] = features > features.max(axis=1, keepdims=True) - range_db * math.log(10.0) / 10.0
    return result


def ours(waveform: Waveform, training: bool = False) -> NDArray[np.float32]:
    features: NDArray[np.float32] = KaldiFbank().train(training)(torch.from_numpy(waveform)[None])[0].numpy()
    return features


def noise(level: float, seed: int = 0) -> Waveform:
    return (level * np.random.default_rng(seed).standard_normal(RATE)).astype(np.float32)


def one_bit_noise(seed: int = 0) -> Waveform:
    """The quietest dither that a 16-bit file can hold: -1, 0 or 1."""
    return (np.random.default_rng(seed).integers(-1, 2, RATE) * LSB).astype(np.float32)


def tone(frequency: float, level: float = 0.5) -> Waveform:
    return (level * np.sin(2.0 * np.pi * frequency * np.arange(RATE) / RATE)).astype(np.float32)


SIGNALS: dict[str, Waveform] = {
    "noise": noise(0.1),
    "full-scale noise, clipped": noise(1.0).clip(-1.0, 1.0),
    "near silence: one bit": one_bit_noise(),
    "near silence: a thirtieth of a bit": noise(LSB / 30),
    "near silence: below the floor": noise(LSB / 1e5),
    "digital silence": np.zeros(RATE, np.float32),
    "one bit beside a large offset": one_bit_noise() + np.float32(0.5),
    "an offset alone": np.full(RATE, 0.5, np.float32),
    "hum over noise": tone(25.0) + noise(1e-3),
    "a tone in noise 60 dB below": tone(100.0) + noise(0.00035),
    "a square wave": np.sign(tone(200.0)),
    "an impulse": np.eye(1, RATE, 5000, dtype=np.float32)[0],
    "a made-up voice": speak(made_up_speaker(seed=1, index=0), seed=1, duration_s=2.0),
    "exactly one frame": noise(0.1)[:FRAME_LENGTH],
    "one sample short of two frames": noise(0.1)[:559],
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", SIGNALS)
def test_equals_kaldi(name: str, training: bool) -> None:
    waveform = SIGNALS[name]
    expected = kaldi(waveform)
    assert expected.shape == (frame_count(len(waveform)), 80)
    np.testing.assert_allclose(ours(waveform, training), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", [*SIGNALS, "hum over one bit", "one bit beside the largest offset"])
def test_is_as_close_to_the_exact_value_as_kaldi(name: str, training: bool) -> None:
    # Where float32 runs out (Kaldi sums a frame's mean sample by sample, so beside an offset of -0.99 it is 2.8 off).
    hard = {
        "hum over one bit": tone(25.0, 0.8) + one_bit_noise(),
        "one bit beside the largest offset": one_bit_noise() - np.float32(0.99),
    }
    waveform = (SIGNALS | hard)[name]
    expected = exact(waveform)
    allowed = max(1e-3, 1.5 * np.abs(kaldi(waveform) - expected).max())
    np.testing.assert_allclose(ours(waveform, training), expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("level", [0.9, 0.5, 0.01])
@pytest.mark.parametrize("frequency", [60.0, 100.0, 440.0, 1000.0, 3000.0, 7900.0])
def test_tones_equal_kaldi_down_to_the_rounding_noise_of_float32(
    frequency: float, level: float, training: bool
) -> None:
    # Beside a pure tone the other bins hold the rounding noise of the implementation, Kaldi's own included: in bins
    # 120 dB below the tone it is off by more than 1 from the exact value. So the comparison ends 60 dB below.
    waveform = tone(frequency, level)
    expected = kaldi(waveform)
    bins = heard(expected, 60.0)
    assert bins.sum(axis=1).min() >= 2
    np.testing.assert_allclose(ours(waveform, training)[bins], expected[bins], rtol=0, atol=1e-3)


@pytest.mark.corpus
def test_real_speech_equals_kaldi(corpus: Path) -> None:
    paths = sorted((corpus / "val").rglob("*.opus"))[::60]
    assert len(paths) > 10
    for path in paths:
        waveform = load_audio(path)
        expected = kaldi(waveform)
        bins = heard(expected, 80.0)  # deeper holes in a spectrum hold Kaldi's own rounding noise
        assert bins.mean() > 0.9
        np.testing.assert_allclose(ours(waveform)[bins], expected[bins], rtol=0, atol=1e-3, err_msg=str(path))


@pytest.mark.parametrize("index", [5, 20, 40, 60, 79])
def test_a_tone_lands_in_its_bin(index: int) -> None:
    # mel(f) = 1127 ln(1 + f / 700); 80 triangles between 20 Hz and 8 kHz have 81 equal steps.
    low, high = (1127.0 * math.log1p(f / 700.0) for f in (20.0, 8000.0))
    centre_hz = 700.0 * math.expm1((low + (high - low) * (index + 1) / 81) / 1127.0)
    assert (ours(tone(centre_hz)).argmax(axis=1) == index).all()


def test_a_gain_only_shifts_the_log() -> None:
    # Energy goes with the square of the gain: + 2 ln g.
    np.testing.assert_allclose(ours(noise(0.01) * np.float32(8.0)) - ours(noise(0.01)), 2.0 * math.log(8.0), atol=1e-4)


def test_an_offset_changes_nothing() -> None:
    np.testing.assert_allclose(ours(noise(0.01) + np.float32(0.3)), ours(noise(0.01)), atol=2e-3)


def test_silence_is_the_logarithm_of_float32_epsilon() -> None:
    np.testing.assert_allclose(ours(np.zeros(RATE, np.float32)), math.log(2.0**-23), atol=1e-6)


def test_a_delay_of_one_shift_moves_the_frames_by_one() -> None:
    waveform = noise(0.1)
    np.testing.assert_allclose(ours(waveform[160:]), ours(waveform)[1:], atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_a_batch_equals_its_rows(training: bool) -> None:
    rows = np.stack([noise(0.1, seed) for seed in range(3)])
    batch = KaldiFbank().train(training)(torch.from_numpy(rows)).numpy()
    for row, features in zip(rows, batch, strict=True):
        np.testing.assert_allclose(features, ours(row, training), atol=1e-5)


def test_training_and_evaluation_give_the_same_features() -> None:
    rows = torch.from_numpy(np.stack([noise(0.1, seed) for seed in range(3)]))
    both = [KaldiFbank().train(training)(rows) for training in (True, False)]
    assert (both[0] - both[1]).abs().mean() < 1e-5
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=1e-3)


def test_half_precision_around_it_changes_nothing() -> None:
    waveforms = torch.from_numpy(one_bit_noise() + np.float32(0.25))[None]
    expected = KaldiFbank()(waveforms)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(KaldiFbank()(waveforms), expected)
    assert torch.equal(KaldiFbank().half()(waveforms), expected)
    assert torch.equal(KaldiFbank().double()(waveforms), expected)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_a_process_that_allows_coarser_products_gets_the_same_features(precision: str) -> None:
    waveform = noise(LSB) + tone(100.0)
    expected = ours(waveform)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        np.testing.assert_allclose(ours(waveform), expected, atol=3e-3)
    finally:
        torch.set_float32_matmul_precision(before)


def test_it_has_no_weights_and_saves_nothing() -> None:
    assert not list(KaldiFbank().parameters())
    assert not KaldiFbank().state_dict()


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_less_than_one_frame_is_refused(samples: int) -> None:
    with pytest.raises(AudioError, match=rf"has {samples} samples, fewer than one frame of 400"):
        KaldiFbank()(torch.zeros(1, samples))


def test_a_waveform_outside_a_batch_is_refused() -> None:
    with pytest.raises(AudioError, match=r"shape \(16000,\) are not a batch \(B, samples\)"):
        KaldiFbank()(torch.zeros(RATE))


def test_dither_is_added_in_training_only_and_made_of_the_noise_that_is_given() -> None:
    fbank = KaldiFbank(dither=1.0)
    silence = torch.zeros(1, 10 * RATE)
    first, second = (torch.randn(1, 10 * RATE, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    noisy = fbank(silence, first)
    assert torch.equal(noisy, fbank(silence, first))
    assert not torch.equal(noisy, fbank(silence, second))
    # A standard deviation of one 16-bit step is noise of that level.
    expected = ours((LSB * np.random.default_rng(3).standard_normal(10 * RATE)).astype(np.float32))
    assert abs(noisy.mean().item() - expected.mean()) < 0.02
    with pytest.raises(UsageError, match="is made of noise"):
        fbank(silence)
    assert torch.equal(fbank.eval()(silence), KaldiFbank()(silence))


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16000, 98)])
def test_the_number_of_frames(samples: int, frames: int) -> None:
    assert frame_count(samples) == frames
    assert frame_count(torch.tensor([samples])).tolist() == [frames]


def test_the_mean_counts_real_frames_only() -> None:
    # By hand: rows (1, 3, 8) and (2, 4) with one frame of padding that holds rubbish.
    features = torch.tensor([[[1.0], [3.0], [8.0]], [[2.0], [4.0], [math.nan]]])
    result = remove_mean(features, torch.tensor([3, 2]))
    assert result.squeeze(2).tolist() == [[-3.0, -1.0, 4.0], [-1.0, 1.0, 0.0]]
    assert torch.equal(remove_mean(features[:1]), result[:1])


def test_the_mask_marks_the_first_frames() -> None:
    assert frame_mask(torch.tensor([0, 2, 3]), 3).tolist() == [[False] * 3, [True, True, False], [True] * 3]


@pytest.mark.slow
def test_it_can_be_exported_for_any_batch_and_length() -> None:
    # Two frames at least: the exporter takes a length of 1 for a constant.
    dynamic = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("samples", min=560, max=1_000_000)}
    fbank = KaldiFbank().eval()
    program = torch.export.export(fbank, (torch.zeros(2, RATE),), dynamic_shapes=(dynamic,))
    for shape in ((1, 560), (3, 16123)):
        waveforms = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(program.module()(waveforms), fbank(waveforms))


def test_gradients_reach_the_waveform() -> None:
    waveforms = torch.from_numpy(noise(0.1))[None].requires_grad_()
    KaldiFbank()(waveforms).sum().backward()
    assert waveforms.grad is not None
    assert waveforms.grad.isfinite().all()
    assert waveforms.grad.abs().max() > 0
