"""What public models are fed, against code that we did not write: kaldi-native-fbank, torch.stft, librosa's filters."""

import kaldi_native_fbank
import numpy as np
import pytest
import torch
from torch import Tensor

from sound_groove.audio.filterbank import kaldi_fbank, white_noise_energies
from sound_groove.audio.front_end import FAMILIES, FrontEnd, of_family, parsed_front_end, restored_front_end
from sound_groove.errors import UsageError
from sound_groove.networks.front_ends import build_front_end, hertz_triangles, slaney_filters
from sound_groove.synthesis.voices import made_up_speaker, speak

RATE = 16000
WITHIN = 1e-3  # of features, as for our own front end


def voice(duration_s: float = 2.3, seed: int = 0) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    """A made-up voice, with an offset, as cheap microphones have it."""
    return (0.5 * speak(made_up_speaker(0, seed), seed, duration_s) + np.float32(0.01)).astype(np.float32)


def by_kaldi(samples: "np.ndarray[tuple[int], np.dtype[np.float32]]", fed: FrontEnd) -> "np.ndarray":
    """(T, F) by kaldi-native-fbank."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = fed.window
    options.mel_opts.num_bins = fed.num_mel_bins
    options.mel_opts.high_freq = fed.high_frequency
    options.use_energy = False
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(RATE, (samples * np.float32(fed.scale)).tolist())
    fbank.input_finished()
    features = np.stack([fbank.get_frame(index) for index in range(fbank.num_frames_ready)])
    return features - features.mean(axis=0) if fed.removes_mean else features


def spectrum(waveform: Tensor, size: int, window: Tensor, is_mirrored: bool = False) -> Tensor:
    """(T, n / 2 + 1) power spectra by torch.stft, of frames that are centred at 0, 10, 20 ms ..."""
    mode = "reflect" if is_mirrored else "constant"
    spectra = torch.stft(waveform, size, 160, 400, window, center=True, pad_mode=mode, return_complex=True)
    return spectra.abs().square().T


@pytest.mark.parametrize(
    "text", ["wespeaker", "3d-speaker", "wespeaker,mean=kept,high=7600", "3d-speaker,window=hamming,scale=32768"]
)
def test_kaldis_families_are_fed_what_kaldi_native_fbank_gives(text: str) -> None:
    fed = parsed_front_end(text)
    samples = voice()
    expected = by_kaldi(samples, fed)
    found = build_front_end(fed)(torch.from_numpy(samples)[None])[0].numpy()
    assert found.shape == expected.shape and np.abs(found - expected).max() < WITHIN
    plain = kaldi_fbank(samples, fed.num_mel_bins, fed.scale, fed.window, fed.high_frequency)
    assert np.abs(plain - (plain.mean(axis=0) if fed.removes_mean else 0.0) - expected).max() < WITHIN


def test_nemos_features_are_those_of_its_definition() -> None:
    samples = torch.from_numpy(voice()).double()
    emphasised = torch.cat((samples[:1], samples[1:] - 0.97 * samples[:-1]))
    power = spectrum(emphasised, 512, torch.hann_window(400, periodic=False).double())
    frames = len(samples) // 160
    features = (power @ torch.from_numpy(slaney_filters(64)) + 2.0**-24).log()[:frames]
    features = (features - features.mean(dim=0)) / (features.std(dim=0) + 1e-5)
    found = build_front_end(of_family("nemo", 64))(samples.float()[None])[0]
    assert len(found) % 16 == 0 and len(found) > frames and not found[frames:].any()
    assert (found[:frames] - features).abs().max() < WITHIN


def test_speechbrains_features_have_a_floor_below_the_loudest() -> None:
    samples = torch.from_numpy(voice()).double()
    samples[:8000] *= 1e-6  # a start so quiet that the floor is what is heard there
    power = spectrum(samples, 400, torch.hamming_window(400).double())
    mels = torch.linspace(0.0, 2595.0 * np.log10(1.0 + 8000.0 / 700.0), 82, dtype=torch.float64)
    hertz = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    slope = (torch.linspace(0.0, 8000.0, 201).double()[:, None] - hertz[1:-1]) / (hertz[1:] - hertz[:-1])[:-1]
    filters = torch.minimum(slope + 1.0, 1.0 - slope).clamp(min=0.0)
    level = 10.0 * (power @ filters).clamp(min=1e-10).log10()
    assert (level < level.max() - 80.0).any()
    level = torch.maximum(level, level.max() - 80.0)
    found = build_front_end(of_family("speechbrain"))(samples.float()[None])[0]
    assert (found - (level - level.mean(dim=0))).abs().max() < 10 * WITHIN  # in dB


def test_redimnets_features_do_not_know_the_gain() -> None:
    samples = torch.from_numpy(voice()).double()
    normalised = (samples - samples.mean()) / (samples.std(unbiased=False) + 1e-6)
    emphasised = torch.cat((normalised[:1] - 0.97 * normalised[1:2], normalised[1:] - 0.97 * normalised[:-1]))
    power = spectrum(emphasised, 512, torch.hamming_window(400).double(), is_mirrored=True)
    features = (power @ torch.from_numpy(hertz_triangles(72, 20.0, 7600.0)) + 1e-6).log()
    features = features - features.mean(dim=0)
    front_end = build_front_end(of_family("redimnet"))
    assert (front_end(samples.float()[None])[0] - features).abs().max() < WITHIN
    assert (front_end(0.25 * samples.float()[None])[0] - features).abs().max() < WITHIN


def test_the_filters_are_librosas() -> None:
    # Made with librosa 0.11.0: filters.mel(sr=16000, n_fft=512, n_mels=64, fmin=0, fmax=8000), its row 40 from bin 78.
    theirs = [0.00134263, 0.00351333, 0.00568402, 0.00785471, 0.0065265, 0.00445724, 0.00238799, 0.00031873]
    filters = slaney_filters(64)
    assert np.abs(filters[78:86, 40] - theirs).max() < 1e-7 and not filters[:78, 40].any()
    assert filters.max() == pytest.approx(0.021113267, abs=1e-8)


@pytest.mark.parametrize("text", ["wespeaker", "3d-speaker", "3d-speaker,high=7600"])
def test_white_noise_has_the_energies_that_the_floor_adds(text: str) -> None:
    fed = parsed_front_end(text)
    noise = np.random.default_rng(0).standard_normal(400 * RATE // 10).astype(np.float32)
    energies = np.exp(kaldi_fbank(noise, 80, 1.0, fed.window, fed.high_frequency)).mean(axis=0)
    assert np.abs(energies / white_noise_energies(80, fed.window, fed.high_frequency) - 1.0).max() < 0.08


# NeMo's guard and SpeechBrain's range are higher than one step of 16 bits already.
@pytest.mark.parametrize("family", ["wespeaker", "3d-speaker", "redimnet"])
def test_the_floor_makes_digital_silence_a_quiet_room(family: str) -> None:
    # Half of a recording is zeros, or 16-bit noise of one step. With the floor these are nearly the same.
    samples = voice()
    noise = np.random.default_rng(1).standard_normal(RATE).astype(np.float32) / 32768.0
    gated, noisy = samples.copy(), samples.copy()
    gated[:RATE] = 0.0
    noisy[:RATE] = noise

    def apart(floor: str) -> float:
        front_end = build_front_end(restored_front_end({**of_family(family).as_dict(), "floor": floor}))  # type: ignore[arg-type]
        one, other = front_end(torch.from_numpy(np.stack((gated, noisy))))
        return float((one - other).square().mean().sqrt())

    assert apart("step") < 0.5 * apart("none")


def test_a_front_end_is_written_and_read() -> None:
    for text in (*FAMILIES, "wespeaker,mean=kept", "3d-speaker,window=hamming,scale=32768,high=7000"):
        fed = parsed_front_end(text)
        assert restored_front_end(fed.as_dict()) == fed
    assert parsed_front_end("3d-speaker").is_the_makers
    assert not parsed_front_end("3d-speaker,high=7600").is_the_makers
    for fields in ({"family": "wespeaker", "scale": 2.0}, {"family": "none"}, {}, {"family": "nemo", "x": 1}):
        with pytest.raises(ValueError):
            restored_front_end(fields)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("wespeker", "there is no front end 'wespeker'; did you mean 'wespeaker'"),
        ("wespeaker,windows=povey", "there is no option 'windows'; did you mean 'window'"),
        ("wespeaker,window=hann", "window is povey or hamming, and 'hann' was given"),
        ("wespeaker,high=20", "high is a frequency from 1000 to 8000"),
        ("nemo,mean=kept", "'nemo': there is no option 'mean'; it has no options"),
    ],
)
def test_a_front_end_that_is_not_there_is_one_sentence(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parsed_front_end(text)
