"""What every network promises: padding changes nothing, gradients are finite, sizes are checked, and it is exported.

ECAPA-TDNN and CAM++ have files of their own, with more.
"""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from lively_weights import clip, lively
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import ConfigurationError
from sound_groove.export import onnx_file
from sound_groove.export.parity import worst_cosine
from sound_groove.networks import eres2netv2, redimnet2, resnet
from sound_groove.networks.architectures import ARCHITECTURES, build_network
from sound_groove.networks.checkpoint import load_checkpoint, restore_network, save_checkpoint
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.redimnet2 import GroupNorm, WeightedMean
from sound_groove.networks.tensor_groups import NETWORK, network_hash
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.recipe.network_sizes import REDIMNET2, SIZES
from sound_groove.training.trainer import train
from training_corpus import prepare_corpus, tiny_recipe, train_until_interrupted

WIDE = {"width": 24, "scale": 4, "expansion": 4}
SMALL = {
    "resnet34": {"kind": "resnet34", "channels": 4},
    "resnet221": {"kind": "resnet221", "channels": 4},
    "eres2netv2": {"kind": "eres2netv2", "channels": 12},
    "eres2netv2 wide": {"kind": "eres2netv2", "channels": 12, "options": WIDE},
    "redimnet2": {"kind": "redimnet2", "channels": 4},
    "redimnet2 normalised": {"kind": "redimnet2", "channels": 4, "options": {"group_norm": True}},
}


def small(name: str) -> tuple[NetworkConfiguration, nn.Module]:
    configuration = NetworkConfiguration.model_validate({**SMALL[name], "embedding_size": 12})
    return configuration, build_network(configuration)


def test_every_name_builds_a_network_and_has_a_published_size() -> None:
    assert set(SIZES) == set(ARCHITECTURES)
    assert set(redimnet2.LAYOUTS) == set(REDIMNET2)
    assert NetworkConfiguration(kind="resnet221").embedding_size == 256
    configuration = NetworkConfiguration(kind="redimnet2", size="b3")
    assert (configuration.channels, configuration.embedding_size, configuration.feature_size) == (24, 192, 72)
    assert NetworkConfiguration(kind="redimnet2") == NetworkConfiguration(kind="redimnet2", size="b0")


@pytest.mark.parametrize("name", SMALL)
def test_a_padded_batch_equals_its_clips_alone(name: str) -> None:
    configuration, network = small(name)
    network = lively(network).double()
    lengths = torch.tensor([75, 1, 2, 3, 8, 33, 74])
    batch = clip(75, batch=len(lengths), size=configuration.feature_size).double()
    for row, length in enumerate(lengths.tolist()):
        batch[row, length:] = 1e3 * (row + 1)  # what padding holds must not matter
    with torch.no_grad():
        together = network(batch, lengths)
        scale = together.abs().max().item()
        for row, length in enumerate(lengths.tolist()):
            alone = network(batch[row : row + 1, :length])[0]
            torch.testing.assert_close(together[row], alone, rtol=1e-8, atol=1e-8 * scale)
        batch[1, 1:] = math.nan
        torch.testing.assert_close(network(batch, lengths), together)
        torch.testing.assert_close(network(batch[:1]), network(batch[:1], lengths[:1]))
    for row in range(1, len(lengths) - 1):  # ReDimNet2 leaves out what does not make four frames
        assert (together[0] - together[row]).abs().max() > 1e-4 * scale  # the clips do differ


@pytest.mark.parametrize("kind", ["noise", "zero", "huge", "one frame"])
@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_finite(name: str, kind: str) -> None:
    configuration, network = small(name)
    size = configuration.feature_size
    inputs = {
        "noise": clip(40, batch=3, size=size),
        "zero": torch.zeros(3, 40, size),
        "huge": 1e4 * clip(40, batch=3, size=size),
        "one frame": clip(1, batch=3, size=size),
    }[kind].requires_grad_()
    network.train()(inputs).square().sum().backward()
    gradients = {n: p.grad for n, p in network.named_parameters() if p.requires_grad} | {"inputs": inputs.grad}
    assert len(gradients) > 80
    for part, gradient in gradients.items():
        assert gradient is not None and gradient.isfinite().all(), part


@pytest.mark.parametrize("name", ["resnet34", "eres2netv2", "redimnet2"])
def test_half_precision_gives_nearly_the_same_embedding(name: str) -> None:
    configuration, network = small(name)
    features = clip(60, batch=2, size=configuration.feature_size)
    with torch.no_grad():
        expected = network.eval()(features)
        with torch.autocast("cpu", torch.bfloat16):
            embedding = network(features)
    assert nn.functional.cosine_similarity(embedding.float(), expected).min() > 0.99


def test_the_mean_of_sequences_is_weighted_for_every_channel() -> None:
    # Worked by hand: weights ln 3 and 0 are shares of 3/4 and 1/4.
    mean = WeightedMean(2, 2)
    mean.weight.data = torch.tensor([[[math.log(3)], [0.0]], [[0.0], [0.0]]]).unsqueeze(0)
    sequences = [torch.tensor([[[4.0], [4.0]]]), torch.tensor([[[8.0], [8.0]]])]
    torch.testing.assert_close(mean(sequences), torch.tensor([[[5.0], [6.0]]]))


def test_sequences_are_normalised_over_their_real_frames() -> None:
    norm = GroupNorm(2, 4)
    nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
    x = clip(6, batch=2, size=4).transpose(1, 2)  # (2, 4, 6)
    mask = torch.tensor([[[True] * 6], [[True] * 4 + [False] * 2]])
    alone = nn.functional.group_norm(x[1:, :, :4], 2, norm.weight, norm.bias)
    torch.testing.assert_close(norm(x, mask)[1:, :, :4], alone)
    torch.testing.assert_close(norm(x, mask)[:1], norm(x[:1]))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"kind": "resnet34", "channels": 512}, "channels: 512 are more than resnet34 may have, 128"),
        ({"kind": "eres2netv2", "channels": 512}, "channels: 512 are more than eres2netv2 may have, 256"),
        ({"kind": "eres2netv2", "options": {"width": 0}}, "options.width: must lie between 1 and 256, given 0"),
        ({"kind": "eres2netv2", "options": {"width": "a"}}, "options.width: must be a whole number, given 'a'"),
        ({"kind": "eres2netv2", "options": {"wdth": 1}}, "has no such option; did you mean 'width'?"),
        ({"kind": "resnet34", "options": {"width": 1}}, "options.width: resnet34 has no such option; it has none"),
        ({"options": {"unbiased": 1}}, "options.unbiased: must be true or false, given 1"),
        ({"kind": "campplus", "options": {"epsilon": 2.0}}, "options.epsilon: must lie between 0 and 1, given 2.0"),
        ({"kind": "redimnet2", "size": "b2", "feature_size": 80}, "feature_size: 80 is not a multiple of 12"),
        ({"kind": "redimnet2", "size": "b6", "channels": 4}, "cannot be divided by [96, 128, 192, 256]"),
        ({"kind": "resnet35"}, "there is no network called 'resnet35'; did you mean 'resnet34'?"),
    ],
)
def test_sizes_and_options_that_a_network_cannot_have_are_refused(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught, torch.device("meta"):
        build_network(NetworkConfiguration.model_validate(fields))
    assert any(problem in found for found in caught.value.problems), caught.value.problems


def test_only_a_network_that_comes_in_sizes_takes_one() -> None:
    with pytest.raises(ValueError, match="only redimnet2 comes in sizes"):
        NetworkConfiguration(kind="resnet34", size="b0")


def test_options_are_a_part_of_the_hash() -> None:
    tensors = {"network.a": torch.ones(1)}
    plain = network_hash(tensors, {"options": {}})
    assert plain == network_hash(tensors) != network_hash(tensors, {"options": {"unbiased": True}})


def test_files_that_call_the_kind_an_architecture_are_read() -> None:
    fields = NetworkConfiguration(kind="campplus", channels=16).model_dump()
    earlier = {"architecture" if name == "kind" else name: value for name, value in fields.items()}
    del earlier["options"], earlier["size"]  # which earlier files have not
    assert NetworkConfiguration.model_validate(earlier) == NetworkConfiguration(kind="campplus", channels=16)
    with pytest.raises(ValueError, match="architecture"):
        NetworkConfiguration.model_validate({"architecture": "campplus", "kind": "campplus"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet221", "eres2netv2", "redimnet2 normalised"]
)  # The plain one is in it; resnet34 is traced where published weights are imported (test_importing.py).
def test_it_is_exported_for_any_batch_and_length(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One block a stage has all that more of them have, and is traced in a fraction of the time.
    shallow = {depth: (block, (1, 1, 1, 1)) for depth, (block, _) in resnet._LAYOUTS.items()}
    monkeypatch.setattr(resnet, "_LAYOUTS", shallow)
    monkeypatch.setattr(eres2netv2, "_BLOCKS", (1, 1, 1, 1))
    layout = redimnet2.LAYOUTS["b0"]  # three stages for six, with the strides of all of them
    shorter = redimnet2.Layout(
        layout.expansions[:3], layout.reductions[:3], layout.channels_out, (1, 1, 1), ((2, 1), (2, 2), (2, 2))
    )
    monkeypatch.setitem(redimnet2.LAYOUTS, "b0", shorter)
    configuration, network = small(name)
    tensors = {NETWORK + part: tensor for part, tensor in lively(network).state_dict().items()}
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, tensors, CheckpointHeader(name, configuration.model_dump()))
    checkpoint = load_checkpoint(path)
    assert type(restore_network(checkpoint)) is type(network)
    embed = onnx_file.running(onnx_file._trace(checkpoint).SerializeToString())
    assert worst_cosine(checkpoint.path, embed, (0.3, 1.7, 3.2)) > 0.9999


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "loss"),
    [
        ({"kind": "redimnet2", "channels": 4, "embedding_size": 12, "floor_db": 40}, "sphereface2"),
        ({"kind": "campplus", "channels": 16, "embedding_size": 12}, "aam_softmax"),
    ],
    ids=["redimnet2", "campplus"],
)
def test_it_is_trained_and_the_model_file_builds_it(fields: dict[str, object], loss: str, tmp_path: Path) -> None:
    recipe = tiny_recipe(prepare_corpus(tmp_path), training__epochs=1, loss__kind=loss)
    recipe = recipe.model_copy(update={"network": NetworkConfiguration.model_validate(fields)})
    train(recipe, tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint.configuration == recipe.network
    assert checkpoint.probe is not None
    encoder = SpeakerEncoder.load(tmp_path / "run")  # which tries the probe
    recording = next((tmp_path / "audio").rglob("*.*"))
    together = encoder.embed([load_audio(recording), load_audio(recording)[:9000]])
    alone = encoder.embed(load_audio(recording)[:9000])
    assert float(together[1] @ alone) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.slow
def test_a_run_of_a_network_with_weights_that_are_not_trained_is_gone_on_with(tmp_path: Path) -> None:
    recipe = tiny_recipe(prepare_corpus(tmp_path), training__epochs=1, training__checkpoint_every=1)
    recipe = recipe.model_copy(update={"network": small("redimnet2")[0]})
    train_until_interrupted(recipe, tmp_path / "run", 2)
    train(recipe, tmp_path / "run", resume=True)
    train(recipe, tmp_path / "whole")
    assert load_checkpoint(tmp_path / "run").hash == load_checkpoint(tmp_path / "whole").hash
