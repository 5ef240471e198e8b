"""SpeechBrain's ECAPA-TDNN: its state dictionaries load strictly, and give what its network gives, written out here."""

import doctest
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lively_weights import clip, lively, lively_state
from published_layouts import Layout, speechbrain_ecapa
from sound_groove.audio.front_end import of_family
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError
from sound_groove.export import onnx_file
from sound_groove.export.parity import worst_cosine
from sound_groove.importing.importer import import_model
from sound_groove.importing.sources import open_source
from sound_groove.networks import masks
from sound_groove.networks.architectures import build_network
from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.ecapa_tdnn import EcapaTdnn
from sound_groove.networks.front_ends import build_front_end
from sound_groove.networks.masks import mirrored
from sound_groove.networks.published import read_published
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.recipe.network import NetworkConfiguration

SMALL = speechbrain_ecapa(32, 48, 24)
OPTIONS: dict[str, bool | int | float | str] = {"speechbrain": True, "pooled": 48}


def by_speechbrain(state: dict[str, Tensor], features: Tensor) -> Tensor:
    """(T, F) -> (D,) in float64, by the names of SpeechBrain's state dictionary."""

    def conv(x: Tensor, name: str, dilation: int = 1) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        reach = dilation * (weight.shape[2] - 1) // 2
        x = F.pad(x[None], (reach, reach), mode="reflect") if reach else x[None]
        return F.conv1d(x, weight, state[f"{name}.conv.bias"], dilation=dilation)[0]

    def norm(x: Tensor, name: str) -> Tensor:
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (state[f"{name}.norm.{part}"][:, None] for part in parts)
        return (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift

    def tdnn(x: Tensor, name: str, dilation: int = 1) -> Tensor:
        return norm(torch.relu(conv(x, f"{name}.conv", dilation)), f"{name}.norm")

    def statistics(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        mean = (weights * x).sum(dim=1, keepdim=True)
        return mean, (weights * (x - mean) ** 2).sum(dim=1, keepdim=True).clamp(min=1e-12).sqrt()

    x = tdnn(features.double().T, "blocks.0")
    outputs = []
    for number, dilation in ((1, 2), (2, 3), (3, 4)):
        block = f"blocks.{number}"
        first, *groups = tdnn(x, f"{block}.tdnn1").chunk(8)
        results = [first]  # passes unchanged, and does not enter what follows
        y = torch.zeros_like(first)
        for part, group in enumerate(groups):
            y = tdnn(group + y, f"{block}.res2net_block.blocks.{part}", dilation)
            results.append(y)
        y = tdnn(torch.cat(results), f"{block}.tdnn2")
        squeezed = torch.relu(conv(y.mean(dim=1, keepdim=True), f"{block}.se_block.conv1"))
        x = x + torch.sigmoid(conv(squeezed, f"{block}.se_block.conv2")) * y
        outputs.append(x)
    x = tdnn(torch.cat(outputs), "mfa")
    mean, deviation = statistics(x, torch.full_like(x[:1], 1.0 / x.shape[1]))
    seen = torch.cat((x, mean.expand_as(x), deviation.expand_as(x)))
    weights = conv(torch.tanh(tdnn(seen, "asp.tdnn")), "asp.conv").softmax(dim=1)
    pooled = torch.cat(statistics(x, weights))
    return conv(norm(pooled, "asp_bn"), "fc")[:, 0]


def loaded(layout: Layout, seed: int = 1) -> tuple[EcapaTdnn, dict[str, Tensor]]:
    """The network here and the dictionary that it was read from, both with the same weights."""
    state = lively_state(layout, seed)
    found = read_published(state)
    network = build_network(found.configuration)
    network.load_state_dict(found.state, strict=True)
    assert isinstance(network, EcapaTdnn)
    return network.eval(), state


@pytest.mark.parametrize("frames", [5, 6, 37, 200])  # fewer than 5 it cannot mirror
@pytest.mark.parametrize("layout", [SMALL, speechbrain_ecapa(64, 64, 16)], ids=["small", "wider"])
def test_the_embedding_is_that_of_speechbrains_network(frames: int, layout: Layout) -> None:
    network, state = loaded(layout)
    features = clip(frames)
    with torch.no_grad():
        found = network(features)[0]
    expected = by_speechbrain(state, features[0])
    assert expected.abs().max() > 1.0
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_a_channel_that_never_varies_is_as_quiet_as_there() -> None:
    network, state = loaded(SMALL)
    for name in ("mfa.conv.conv.weight", "mfa.conv.conv.bias"):
        state[name][:5] = -1.0 if name.endswith("bias") else 0.0
    found = read_published(state)
    network.load_state_dict(found.state)
    with torch.no_grad():
        embedding = network.double()(clip(50).double())[0]
    torch.testing.assert_close(embedding, by_speechbrain(state, clip(50)[0]), rtol=1e-6, atol=1e-6)


def test_the_published_one_has_as_many_parameters_as_there() -> None:
    layout = speechbrain_ecapa(1024, 3072, 192)
    found = read_published({name: torch.empty(shape, device="meta") for name, shape in layout.items()})
    assert (found.configuration.channels, found.configuration.embedding_size) == (1024, 192)
    assert found.configuration.options == {"speechbrain": True, "pooled": 3072}
    with torch.device("meta"):
        network = build_network(found.configuration)
    network.load_state_dict(found.state, strict=True, assign=True)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters == sum(
        torch.Size(shape).numel()
        for name, shape in layout.items()
        if "running" not in name and "num_batches" not in name
    )
    assert round(parameters / 1e5) == 208  # 20.8 M; 22.2 M with the 7,205 classes of its training
    assert round((parameters + 7205 * 192) / 1e5) == 222


def test_other_groups_are_told_and_what_does_not_fit_is_refused() -> None:
    small = {name: shape for name, shape in SMALL.items() if ".res2net_block." not in name}
    for number in (1, 2, 3):
        for part in range(3):
            name = f"blocks.{number}.res2net_block.blocks.{part}"
            small |= {f"{name}.conv.conv.weight": (8, 8, 3), f"{name}.conv.conv.bias": (8,)}
            names = ("weight", "bias", "running_mean", "running_var")
            small |= {f"{name}.norm.norm.{entry}": (8,) for entry in names}
            small[f"{name}.norm.norm.num_batches_tracked"] = ()
    assert read_published(lively_state(small)).configuration.options == {**OPTIONS, "scale": 4}
    shortcut: Layout = {"blocks.1.shortcut.conv.weight": (32, 32, 1)}
    for changes, complaint in (
        ({"asp.tdnn.conv.conv.weight": (128, 48, 1)}, "attention does not see the whole utterance"),
        ({"blocks.0.conv.conv.weight": (16, 80, 5)}, "whose blocks have 16 and 32 channels"),
        (shortcut, "not quite one of ecapa_tdnn: 'blocks.0.shortcut.conv.weight' is unknown to it"),
    ):
        with pytest.raises(CheckpointError, match=complaint):
            read_published({name: torch.empty(s, device="meta") for name, s in ({**SMALL, **changes}).items()})


def test_a_padded_batch_equals_its_clips_alone() -> None:
    network, _ = loaded(SMALL)
    lengths = torch.tensor([80, 1, 2, 3, 5, 33, 79])
    batch = clip(80, batch=len(lengths))
    for row, length in enumerate(lengths.tolist()):
        batch[row, length:] = 1e3 * (row + 1)
    with torch.no_grad():
        together = network(batch, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = network(batch[row : row + 1, :length])[0]
            torch.testing.assert_close(together[row], alone, rtol=1e-4, atol=1e-4)


def test_a_sequence_is_mirrored_at_its_own_ends() -> None:
    assert doctest.testmod(masks).attempted and not doctest.testmod(masks).failed
    x = torch.arange(1.0, 7.0)[None, None]
    torch.testing.assert_close(mirrored(x, 3, None), F.pad(x, (3, 3), mode="reflect"))
    mask = torch.arange(6)[None, None] < torch.tensor([4, 1]).view(2, 1, 1)
    found = mirrored(x.expand(2, 1, 6), 2, mask)
    assert found[0, 0, :8].tolist() == [3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0]
    assert found[1, 0, :5].tolist() == [1.0] * 5


def test_gradients_are_finite_where_nothing_varies() -> None:
    network = build_network(NetworkConfiguration(channels=16, embedding_size=8, options=OPTIONS)).train()
    features = torch.zeros(2, 20, 80)
    features[1] = clip(20)[0]
    network(features).square().sum().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.slow
def test_its_checkpoint_becomes_one_file(tmp_path: Path) -> None:
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in lively_state(SMALL).items()
    }
    torch.save(state, tmp_path / "embedding_model.ckpt")
    source = open_source(tmp_path / "embedding_model.ckpt")
    assert source.front_end == of_family("speechbrain") and "SpeechBrain" in source.told_by
    done = import_model(tmp_path / "embedding_model.ckpt", tmp_path / "m.onnx", pinned=True)
    samples = (0.05 * np.random.default_rng(0).standard_normal(40_000)).astype(np.float32)
    features = build_front_end(of_family("speechbrain"))(torch.from_numpy(samples)[None])[0]
    expected = by_speechbrain({name: tensor.double() for name, tensor in state.items()}, features)
    embedding = SpeakerEncoder.load(done.file).embed([samples], keep_pauses=True)[0]
    assert float(embedding @ (expected / expected.norm()).numpy()) > 1.0 - 1e-6


@pytest.mark.slow
def test_one_that_was_trained_here_is_exported_for_any_batch_and_length(tmp_path: Path) -> None:
    configuration = NetworkConfiguration(channels=16, embedding_size=8, options={**OPTIONS, "scale": 2})
    network = lively(build_network(configuration))
    tensors = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, tensors, CheckpointHeader("tiny", configuration.model_dump()))
    checkpoint = load_checkpoint(path)
    embed = onnx_file.running(onnx_file._trace(checkpoint).SerializeToString())
    assert worst_cosine(checkpoint.path, embed, (0.3, 1.7, 3.2)) > 0.9999
