"""What exported graphs compute: the same as Kaldi, and as the network that was trained, from other steps."""

import math

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from sound_groove.export.folded_fbank import FoldedFbank
from sound_groove.export.serving_ecapa import ServingEcapa, _Layer
from sound_groove.export.tracing import trace
from sound_groove.networks.ecapa_tdnn import EcapaTdnn
from test_ecapa_tdnn import features, lively, reference
from test_features import SIGNALS, Waveform, exact, heard, kaldi, noise, one_bit_noise, tone


def folded(waveform: Waveform) -> np.ndarray:
    return FoldedFbank()(torch.from_numpy(waveform)[None])[0].numpy()  # type: ignore[no-any-return]


HARD = {
    "hum over one bit": tone(25.0, 0.8) + one_bit_noise(),
    "one bit beside the largest offset": one_bit_noise() - np.float32(0.99),
}


@pytest.mark.parametrize("name", [*SIGNALS, *HARD])
def test_the_folded_front_end_is_as_close_to_the_exact_value_as_kaldi(name: str) -> None:
    # Twice as far where float32 runs out: the sum of two samples has their rounding and its own. Beside an offset it is
    # Kaldi that is off, which sums a frame's mean sample by sample.
    waveform = (SIGNALS | HARD)[name]
    expected = exact(waveform)
    allowed = max(1e-3, 2.0 * np.abs(kaldi(waveform) - expected).max())
    np.testing.assert_allclose(folded(waveform), expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("frequency", [60.0, 440.0, 3000.0, 7900.0])
def test_the_folded_front_end_hears_tones_as_kaldi_does(frequency: float) -> None:
    waveform = tone(frequency, 0.5)
    expected = kaldi(waveform)
    bins = heard(expected, 60.0)
    np.testing.assert_allclose(folded(waveform)[bins], expected[bins], rtol=0, atol=1e-3)


def test_the_folded_front_end_takes_every_length_and_batches() -> None:
    for samples in (400, 401, 559, 560, 719, 720, 721, 1000):
        both = np.stack([noise(0.1, seed)[:samples] for seed in (1, 2)])
        found = FoldedFbank()(torch.from_numpy(both)).numpy()
        for one, waveform in zip(found, both, strict=True):
            np.testing.assert_allclose(one, kaldi(waveform), rtol=0, atol=1e-3)


def network(negative: bool = False, sharp: bool = False) -> EcapaTdnn:
    """A network with values as after training; with scales of both signs, and an attention that is very sure."""
    made = EcapaTdnn(channels=32, embedding_size=24)
    lively(made)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in made.modules():
            if negative and isinstance(module, nn.BatchNorm1d):
                module.weight.mul_(torch.where(torch.rand(len(module.weight), generator=generator) < 0.3, -1.0, 1.0))
                module.weight[0] = 0.0
        if sharp:
            made.pooling.scores.weight *= 60.0
            assert made.pooling.scores.bias is not None
            made.pooling.scores.bias += 200.0
    return made


@pytest.mark.parametrize(("negative", "sharp"), [(False, False), (True, False), (True, True)])
def test_the_serving_network_gives_the_embeddings_of_the_paper(negative: bool, sharp: bool) -> None:
    made = network(negative, sharp)
    serving = ServingEcapa(made).eval()
    assert serving.pooling.is_bounded != sharp
    clips = features(3, 37)
    with torch.no_grad():
        found = serving(clips)
    for one, clip in zip(found, clips, strict=True):
        expected = reference(made.state_dict(), clip).float()
        assert torch.allclose(one, expected, atol=2e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("frames", [1, 2, 5, 200, 801])
def test_the_serving_network_equals_the_trained_one_at_every_length(frames: int) -> None:
    made = network(negative=True)
    clips = features(2, frames)
    with torch.no_grad():
        expected, found = made(clips), ServingEcapa(made).eval()(clips)
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


def test_the_trained_network_stays_as_it_is() -> None:
    made = network()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    serving = ServingEcapa(made)
    for buffer in serving.buffers():
        buffer.fill_(math.nan)
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())


@pytest.mark.slow
def test_scales_of_both_signs_are_exported_as_they_are_computed() -> None:
    layer = _Layer(network(negative=True).layer).eval()
    assert layer.has_ceiling
    rows = torch.from_numpy(np.random.default_rng(3).standard_normal((7, 400))).float()
    session = onnxruntime.InferenceSession(trace(layer, rows, "rows", ("batch",)).SerializeToString())
    (found,) = session.run(None, {"rows": rows.numpy()})
    expected = layer(rows).detach().numpy()
    assert np.abs(found - expected).max() < 1e-5
    layer.has_ceiling = False
    assert np.abs(found - layer(rows).detach().numpy()).max() > 0.1
