"""ECAPA-TDNN: against a plain float64 rewriting of the paper, and padded against alone."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sound_groove.errors import ConfigurationError
from sound_groove.networks.architectures import build_network
from sound_groove.networks.ecapa_tdnn import EcapaTdnn, Res2Conv, SqueezeExcitation
from sound_groove.networks.pooling import AttentiveStatistics
from sound_groove.recipe.network import NetworkConfiguration


def lively(network: nn.Module, seed: int = 1) -> nn.Module:
    """The network in evaluation mode with weights and batch statistics as after training: none at its fresh 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if "num_batches" in name:
                continue
            values = torch.randn(tensor.shape, generator=generator)
            if "running_var" in name:
                tensor.copy_(0.5 + values.abs())
            elif name.endswith("norm.weight"):
                tensor.copy_(1.0 + 0.2 * values)
            elif name.endswith("weight"):
                tensor.copy_(values * math.sqrt(1.5 / tensor[0].numel()))
            else:
                tensor.copy_(0.3 * values)
    return network.eval()


def features(batch: int, frames: int, seed: int = 2, size: int = 80) -> Tensor:
    return torch.randn(batch, frames, size, generator=torch.Generator().manual_seed(seed))


def reference(state: dict[str, Tensor], clip: Tensor) -> Tensor:
    """(T, F) -> (D,): one utterance, float64, written from the paper with no masks, batches or modules."""
    weights = {name: tensor.double() for name, tensor in state.items()}

    def conv(x: Tensor, name: str, dilation: int = 1) -> Tensor:
        """(C, T) -> (C', T), each output frame summed over the taps by hand."""
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]  # (C', C, K)
        reach = dilation * (weight.shape[2] // 2)
        y = bias.unsqueeze(1).repeat(1, x.shape[1])
        for frame in range(x.shape[1]):
            for tap in range(weight.shape[2]):
                source = frame + tap * dilation - reach
                if 0 <= source < x.shape[1]:
                    y[:, frame] += weight[:, :, tap] @ x[:, source]
        return y

    def norm(x: Tensor, name: str) -> Tensor:
        """(C, T) with the running statistics."""
        mean, variance, scale, shift = (
            weights[f"{name}.{kind}"].unsqueeze(1) for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def layer(x: Tensor, name: str, dilation: int = 1) -> Tensor:
        return norm(conv(x, f"{name}.conv", dilation).relu(), f"{name}.norm")

    x = layer(clip.double().T, "layer")
    outputs = []
    for index, dilation in enumerate((2, 3, 4)):
        y = layer(x, f"blocks.{index}.before")
        groups = y.chunk(8)
        results = [layer(groups[0], f"blocks.{index}.res2.layers.0", dilation)]
        for group in range(1, 7):
            name = f"blocks.{index}.res2.layers.{group}"
            results.append(layer(groups[group] + results[-1], name, dilation))
        y = layer(torch.cat([*results, groups[7]]), f"blocks.{index}.after")
        squeeze, excite = (f"blocks.{index}.excitation.{name}" for name in ("squeeze", "excite"))
        hidden = (weights[f"{squeeze}.weight"] @ y.mean(dim=1) + weights[f"{squeeze}.bias"]).relu()
        factors = (weights[f"{excite}.weight"] @ hidden + weights[f"{excite}.bias"]).sigmoid()
        x = x + y * factors.unsqueeze(1)
        outputs.append(x)
    x = conv(torch.cat(outputs), "aggregation").relu()

    mean = x.mean(dim=1, keepdim=True)
    deviation = (x - mean).square().mean(dim=1, keepdim=True).clamp(min=1e-7).sqrt()
    context = torch.cat((x, mean.expand_as(x), deviation.expand_as(x)))
    attention = conv(conv(context, "pooling.hidden").tanh(), "pooling.scores").softmax(dim=1)
    mean = (attention * x).sum(dim=1)
    deviation = (attention * (x - mean.unsqueeze(1)).square()).sum(dim=1).clamp(min=1e-7).sqrt()
    pooled = norm(torch.cat((mean, deviation)).unsqueeze(1), "norm").squeeze(1)
    return weights["embedding.weight"] @ pooled + weights["embedding.bias"]


@pytest.mark.parametrize("frames", [1, 5, 37])
def test_equals_the_paper_written_out(frames: int) -> None:
    network = lively(EcapaTdnn(channels=32, embedding_size=24))
    clip = features(1, frames)
    with torch.no_grad():
        embedding = network(clip)[0]
    expected = reference(network.state_dict(), clip[0])
    assert expected.abs().max() > 1.0
    torch.testing.assert_close(embedding.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("channels", "parameters"), [(512, 6_190_720), (1024, 14_657_088)])
def test_the_parameters_are_those_of_the_published_implementation(channels: int, parameters: int) -> None:
    # Published as 6.19 M and 14.65 M; by hand, with C channels and 1536 pooled:
    c = channels
    norm, dense = 2, 1  # values for each channel of a batch normalisation, of a bias
    first = 80 * c * 5 + (dense + norm) * c
    res2 = 7 * (c // 8 * c // 8 * 3 + (dense + norm) * c // 8)
    block = 2 * (c * c + (dense + norm) * c) + res2 + (c * 128 + 128) + (128 * c + c)
    pooling = (3 * 1536 * 128 + 128) + (128 * 1536 + 1536)
    by_hand = first + 3 * block + (3 * c * 1536 + 1536) + pooling + norm * 3072 + (3072 * 192 + 192)
    with torch.device("meta"):
        network = build_network(NetworkConfiguration(channels=channels, embedding_size=192))
    assert sum(parameter.numel() for parameter in network.parameters()) == by_hand == parameters


def test_a_padded_batch_equals_its_clips_alone() -> None:
    network = lively(EcapaTdnn(channels=64))
    lengths = torch.tensor([300, 1, 2, 7, 50, 299])
    batch = features(6, 300)
    for row, length in enumerate(lengths.tolist()):
        batch[row, length:] = 1e3 * (row + 1)  # what padding holds must not matter
    with torch.no_grad():
        together = network(batch, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = network(batch[row : row + 1, :length])[0]
            assert 1.0 - F.cosine_similarity(together[row].double(), alone.double(), dim=0) < 1e-5
            torch.testing.assert_close(together[row], alone, rtol=1e-4, atol=1e-4)
    assert F.cosine_similarity(together[0], together[4], dim=0) < 0.999  # the clips do differ


def test_rubbish_in_the_padding_stays_there() -> None:
    network = lively(EcapaTdnn(channels=16))
    batch = features(2, 40)
    lengths = torch.tensor([40, 25])
    with torch.no_grad():
        expected = network(batch, lengths)
        batch[1, 25:] = math.nan
        assert torch.equal(network(batch, lengths), expected)


def test_no_lengths_are_full_lengths() -> None:
    network = lively(EcapaTdnn(channels=16))
    with torch.no_grad():
        torch.testing.assert_close(network(features(2, 30)), network(features(2, 30), torch.tensor([30, 30])))


def test_weights_load_strictly() -> None:
    network = EcapaTdnn(channels=16)
    state = network.state_dict()
    EcapaTdnn(channels=16).load_state_dict(state)
    with pytest.raises(RuntimeError, match="size mismatch"):
        EcapaTdnn(channels=32).load_state_dict(state)
    state["unknown"] = state.pop("embedding.weight")
    with pytest.raises(RuntimeError, match=r"(?s)Missing key.*embedding\.weight.*Unexpected key.*unknown"):
        network.load_state_dict(state)


def test_an_unknown_architecture_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match=r"no network called 'ecapa_tdn'; did you mean 'ecapa_tdnn'\?"):
        build_network(NetworkConfiguration(kind="ecapa_tdn"))


def test_channels_that_do_not_make_8_groups_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="channels: 100 is not a multiple of 8"):
        EcapaTdnn(channels=100)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["noise", "constant", "zero", "huge", "one frame"])
def test_gradients_are_finite(kind: str, precision: torch.dtype) -> None:
    network = EcapaTdnn(channels=32).train()
    inputs = {
        "noise": features(4, 50),
        "constant": torch.full((4, 50, 80), 3.0),
        "zero": torch.zeros(4, 50, 80),
        "huge": 1e4 * features(4, 50),
        "one frame": features(4, 1),
    }[kind].requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        embedding = network(inputs)
    embedding.float().square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()} | {"inputs": inputs.grad}
    assert len(gradients) > 80
    for name, gradient in gradients.items():
        assert gradient is not None and gradient.isfinite().all(), name


def test_half_precision_gives_nearly_the_same_embedding() -> None:
    network = lively(EcapaTdnn(channels=64))
    with torch.no_grad():
        expected = network(features(4, 100))
        with torch.autocast("cpu", torch.bfloat16):
            embedding = network(features(4, 100))
    assert F.cosine_similarity(embedding.float(), expected).min() > 0.999


def test_a_constant_far_from_zero_has_no_deviation() -> None:
    # In float32 the mean of squares less the square of the mean would give about 4.
    pooling = lively(AttentiveStatistics(4))
    clip = torch.full((1, 4, 100), 1000.1)
    with torch.no_grad():
        mean, deviation = pooling(clip)[0].chunk(2)
    torch.testing.assert_close(mean, clip[0, :, 0])
    assert deviation.max() < 0.01


def test_pooling_without_attention_is_the_mean_and_the_deviation() -> None:
    # Scores of zero weigh every frame alike. Worked by hand: 1, 3, 8 has mean 4 and variance (9 + 1 + 16) / 3.
    pooling = AttentiveStatistics(1)
    nn.init.zeros_(pooling.scores.weight)
    assert pooling.scores.bias is not None
    nn.init.zeros_(pooling.scores.bias)
    clip = torch.tensor([[[1.0, 3.0, 8.0, 99.0]]])
    pooled = pooling(clip, torch.tensor([[[True, True, True, False]]]))
    assert pooled[0].tolist() == pytest.approx([4.0, math.sqrt(26.0 / 3.0)], abs=1e-6)


def test_squeeze_excitation_of_zero_weights_halves() -> None:
    excitation = SqueezeExcitation(8)
    for parameter in excitation.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(excitation(torch.ones(1, 8, 3)), torch.full((1, 8, 3), 0.5))


def test_the_receptive_field_of_a_res2_convolution_grows_with_the_group() -> None:
    # Group i passes i + 1 convolutions of 3 taps with dilation 2, the last group none. With nothing negative no ReLU
    # closes, so the gradient shows every frame that counts.
    res2 = Res2Conv(8, dilation=2).eval()
    for parameter in res2.parameters():
        nn.init.constant_(parameter, 0.5)
    clip = torch.ones(1, 8, 61, requires_grad=True)
    for group, convolutions in enumerate([1, 2, 3, 4, 5, 6, 7, 0]):
        (gradient,) = torch.autograd.grad(res2(clip)[0, group, 30], clip)
        frames = gradient[0].sum(dim=0).nonzero().squeeze(1).tolist()
        assert frames == list(range(30 - 2 * convolutions, 31 + 2 * convolutions, 2))


def test_a_step_is_deterministic() -> None:
    def step() -> Tensor:
        network = lively(EcapaTdnn(channels=16)).train()
        network(features(4, 50)).square().sum().backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    assert torch.equal(step(), step())


@pytest.mark.slow
def test_it_can_be_exported_for_any_batch_and_length() -> None:
    network = lively(EcapaTdnn(channels=16))
    dynamic = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("frames", min=2, max=10_000)}
    program = torch.export.export(network, (features(2, 50),), dynamic_shapes=(dynamic,))
    for batch, frames in ((1, 2), (3, 123)):
        clips = features(batch, frames)
        torch.testing.assert_close(program.module()(clips), network(clips), rtol=1e-4, atol=1e-4)
