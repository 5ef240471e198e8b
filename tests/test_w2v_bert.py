"""w2v-BERT 2.0 as a network: fed as its makers feed it, padded as alone, trained, saved whole, exported.

The backbones are tiny and random; nothing is downloaded.
"""

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lively_weights import clip, lively
from sound_groove.audio.reading import load_audio
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import CheckpointError, ConfigurationError, MissingExtraError
from sound_groove.export import onnx_file
from sound_groove.export.parity import worst_cosine
from sound_groove.networks.architectures import build_network
from sound_groove.networks.backbone import BackboneSizes, WeightedLayers
from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.networks.checkpoint_header import CheckpointHeader
from sound_groove.networks.features import KaldiFbank, Normalization
from sound_groove.networks.pretrained_backbone import load_backbone
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.networks.w2v_bert import W2vBert
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.recipe.schema import Recipe
from sound_groove.training.trainer import train
from training_corpus import prepare_corpus, tiny_recipe, train_until_interrupted

SIZES = BackboneSizes(width=32, depth=2, heads=4, inner=48)
TINY: dict[str, Any] = {"kind": "w2v_bert", "channels": 8, "embedding_size": 12, "options": asdict(SIZES)}
WEIGHTED: dict[str, Any] = {**TINY, "options": {**TINY["options"], "layers": "weighted_sum"}}
SHALLOW: dict[str, Any] = {**TINY, "options": {**TINY["options"], "depth": 1}}  # traced in half the time
FORMS = {"adapters": TINY, "weighted sum": WEIGHTED, "last two": {**TINY, "options": {**TINY["options"], "states": 2}}}

needs_transformers = pytest.mark.skipif(
    find_spec("transformers") is None,
    reason="transformers is not installed (pip install --editable '.[ssl]')",
)


def built(fields: dict[str, Any]) -> W2vBert:
    network = build_network(NetworkConfiguration.model_validate(fields))
    assert isinstance(network, W2vBert)
    return network


def lively_one(fields: dict[str, Any]) -> W2vBert:
    """With weights as after training, in evaluation mode."""
    network = built(fields)
    lively(network)
    return network


def published(folder: Path, seed: int = 3, **changes: Any) -> Path:
    """A tiny backbone with random weights, in a folder as the hub has it."""
    from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

    fields = {**built(TINY).fields(), **changes}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        Wav2Vec2BertModel(Wav2Vec2BertConfig(**fields)).save_pretrained(folder)
    return folder


def recipe_of(prepared: Path, fields: dict[str, Any] = TINY, **changes: Any) -> Recipe:
    recipe = tiny_recipe(prepared, training__epochs=1, **changes)
    return recipe.model_copy(update={"network": NetworkConfiguration.model_validate(fields)})


# --- without transformers


def test_without_transformers_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"network.kind w2v_bert needs the 'ssl' extra: pip install .*\[ssl\]"):
        build_network(NetworkConfiguration.model_validate(TINY))


# --- the network


@needs_transformers
def test_it_has_as_many_parameters_as_were_published() -> None:
    with torch.device("meta"):
        network = built({"kind": "w2v_bert"})
    count = sum(parameter.numel() for parameter in network.backbone.parameters())
    assert round(count / 1e6) == 580
    # By hand, of 25 outputs of 1,024 values, adapters of 128: two linear layers and a normalisation each.
    adapters = 25 * ((1024 * 128 + 128) + 2 * 128 + (128 * 128 + 128))
    attention = (3200 * 128 + 128) + (128 * 3200 + 3200)
    embedding = 2 * 3200 * 256 + 256
    found = sum(p.numel() for p in network.back_end.parameters())
    assert found == adapters + attention + embedding and round(found / 1e5) == 62  # published: 6.2 M


@needs_transformers
@pytest.mark.parametrize("samples", [16000, 16160, 560, 20000])
def test_the_backbone_hears_what_its_own_feature_extractor_gives(samples: int) -> None:
    from transformers import SeamlessM4TFeatureExtractor

    waveform = 0.1 * np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    theirs = SeamlessM4TFeatureExtractor()(waveform, sampling_rate=16000, return_tensors="pt")
    features = Normalization()(KaldiFbank()(torch.from_numpy(waveform)[None]))
    frames = features.shape[1]
    ours = built(TINY).stacked(features, torch.tensor([frames]))
    real = int(theirs["attention_mask"].sum())
    assert real == frames // 2 and ours.shape == (1, -(-frames // 2), 160)
    torch.testing.assert_close(ours[:, :real], theirs["input_features"][:, :real], rtol=0.0, atol=2e-3)


@needs_transformers
def test_the_layers_are_those_that_transformers_gives_alone() -> None:
    network = lively_one(TINY)
    features = clip(40)
    heard: list[tuple[Tensor, ...]] = []
    network.back_end.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    with torch.no_grad():
        network(features)
        stacked = network.stacked(features, torch.tensor([40]))
        alone = network.backbone(stacked, output_hidden_states=True).hidden_states
    assert len(heard[0]) == len(alone) == SIZES.depth + 1
    for ours, theirs in zip(heard[0], alone, strict=True):
        torch.testing.assert_close(ours, theirs)


@needs_transformers
def test_the_weights_of_the_layers_are_a_softmax_and_choose_among_them() -> None:
    network = lively_one(WEIGHTED)
    back_end, features = network.back_end, clip(30)
    assert isinstance(back_end, WeightedLayers)
    with torch.no_grad():
        back_end.weights.zero_()
        torch.testing.assert_close(back_end.shares(), torch.full((3,), 1 / 3))
        back_end.weights.copy_(torch.tensor([-80.0, 80.0, -80.0]))
        stacked = network.stacked(features, torch.tensor([30]))
        states = network.backbone(stacked, output_hidden_states=True).hidden_states
        expected = back_end.network(states[1])
        torch.testing.assert_close(network(features), expected, rtol=1e-4, atol=1e-5)


@needs_transformers
@pytest.mark.parametrize("name", FORMS)
def test_a_padded_batch_equals_its_clips_alone(name: str) -> None:
    network = lively_one(FORMS[name]).double()
    lengths = torch.tensor([75, 1, 2, 3, 8, 33, 74])
    batch = clip(75, batch=len(lengths)).double()
    for row, length in enumerate(lengths.tolist()):
        batch[row, length:] = 1e3 * (row + 1)  # what padding holds must not matter
    with torch.no_grad():
        together = network(batch, lengths)
        scale = together.abs().max().item()
        for row, length in enumerate(lengths.tolist()):
            alone = network(batch[row : row + 1, :length])[0]
            torch.testing.assert_close(together[row], alone, rtol=1e-8, atol=1e-8 * scale)
        batch[1, 1:] = torch.nan
        torch.testing.assert_close(network(batch, lengths), together)
    assert (together[0] - together[6]).abs().max() > 1e-4 * scale  # the clips do differ


@needs_transformers
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", ["noise", "zero", "one frame"])
def test_gradients_are_finite(name: str, kind: str) -> None:
    network = built(FORMS[name]).train()
    inputs = {"noise": clip(40, batch=3), "zero": torch.zeros(3, 40, 80), "one frame": clip(1, batch=3)}[kind]
    network(inputs).square().sum().backward()
    reached = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    assert len(reached) > 40 and all(gradient.isfinite().all() for gradient in reached.values())


@needs_transformers
def test_nothing_in_training_is_drawn() -> None:
    network = lively_one(TINY).train()
    features = clip(40, batch=2)
    with torch.no_grad():
        torch.testing.assert_close(network(features), network(features), rtol=0.0, atol=0.0)


@needs_transformers
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"layers": "mean"}, "options.layers: must be adapters or weighted_sum, given 'mean'"),
        ({"layers": 3}, "options.layers: must be a word, given 3"),
        ({"states": 4}, "options.states: a backbone of 2 layers has 3, given 4"),
        ({"heads": 5}, "options.heads: 5 heads do not divide a width of 32"),
        ({"depth": 65}, "options.depth: must lie between 1 and 64, given 65"),
        ({"widht": 32}, "options.widht: w2v_bert has no such option; did you mean 'width'?"),
    ],
)
def test_options_that_it_cannot_have_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        built({**TINY, "options": {**TINY["options"], **options}})
    assert problem in caught.value.problems


# --- published weights


@needs_transformers
def test_published_weights_are_taken_whole(tmp_path: Path) -> None:
    from transformers import Wav2Vec2BertModel

    folder = published(tmp_path / "backbone")
    network = built(TINY)
    load_backbone(str(folder), network)
    theirs = Wav2Vec2BertModel.from_pretrained(folder).state_dict()
    ours = network.backbone.state_dict()
    assert set(theirs) - set(ours) == {"masked_spec_embed"}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@needs_transformers
def test_a_backbone_that_does_not_fit_is_refused_in_one_sentence(tmp_path: Path) -> None:
    wide = published(tmp_path / "wide", hidden_size=64, position_embeddings_type="relative")
    (tmp_path / "wavlm").mkdir()
    (tmp_path / "wavlm/config.json").write_text(json.dumps({"model_type": "wavlm"}))
    (tmp_path / "empty").mkdir()
    bare = published(tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    for source, message in (
        (wide, r"is not the network's backbone: hidden_size is 64 there, and 32 here; position_embeddings_type is"),
        (
            tmp_path / "wavlm",
            r"is a network of the type 'wavlm', and this one takes one of 'wav2vec2-bert', .* wavlm takes WavLM",
        ),
        (tmp_path / "empty", r"is a folder without config.json"),
        (bare, r"cannot be read from this folder"),
        ("no such folder", r"is neither a folder nor owner/name on the Hugging Face hub"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            load_backbone(str(source), built(TINY))
        assert "\n" not in str(caught.value)


@needs_transformers
def test_a_name_on_the_hub_may_have_a_revision_and_a_failure_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import PreTrainedConfig

    asked: list[tuple[str, str]] = []

    def unreachable(name: str, revision: str) -> None:
        asked.append((name, revision))
        raise OSError("We could not connect.\nCheck\nyour connection.")

    monkeypatch.setattr(PreTrainedConfig, "get_config_dict", unreachable)
    for source in ("facebook/w2v-bert-2.0", "facebook/w2v-bert-2.0@da985ba"):
        with pytest.raises(
            CheckpointError, match=r"cannot be had from the Hugging Face hub \(We could not .*Check your"
        ):
            load_backbone(source, built(TINY))
    assert asked == [("facebook/w2v-bert-2.0", "main"), ("facebook/w2v-bert-2.0", "da985ba")]


@needs_transformers
def test_weights_that_are_not_all_there_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = published(tmp_path / "backbone") / "model.safetensors"
    state = load_file(file)
    del state["encoder.layers.1.ffn1.output_dense.weight"]
    save_file(state, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"it lacks encoder.layers.1.ffn1.output_dense.weight"):
        load_backbone(str(file.parent), built(TINY))


# --- training, the model file, the export


@needs_transformers
@pytest.mark.slow
@pytest.mark.parametrize("frozen", [True, False])
def test_it_is_trained_and_the_model_file_needs_no_backbone_beside_it(frozen: bool, tmp_path: Path) -> None:
    folder = published(tmp_path / "backbone")
    start = built(TINY)
    load_backbone(str(folder), start)
    settings: dict[str, Any] = {"training__backbone": str(folder), "training__frozen_backbone": frozen}
    train(recipe_of(prepare_corpus(tmp_path), **settings), tmp_path / "run")
    folder.rename(tmp_path / "away")
    checkpoint = load_checkpoint(tmp_path / "run")
    origin = checkpoint.header.training["start_from"]
    assert origin["name"] == str(folder) and len(origin["hash"]) == 64
    trained = checkpoint.group(NETWORK)
    begun = start.backbone.state_dict()
    moved = [name for name, tensor in begun.items() if not torch.equal(trained[f"backbone.{name}"], tensor)]
    assert bool(moved) is not frozen
    encoder = SpeakerEncoder.load(tmp_path / "run")  # which tries the probe
    recording = load_audio(next((tmp_path / "audio").rglob("*.*")))
    together, alone = encoder.embed([recording, recording[:9000]]), encoder.embed(recording[:9000])
    assert float(together[1] @ alone) == pytest.approx(1.0, abs=1e-5)
    # Trained on from that model, with the backbone let go.
    further = recipe_of(
        tmp_path / "prepared", training__start_from=str(tmp_path / "run"), training__frozen_backbone=False
    )
    train(further, tmp_path / "further")
    later = load_checkpoint(tmp_path / "further").group(NETWORK)
    assert any(not torch.equal(later[name], trained[name]) for name in trained if name.startswith("backbone."))


@needs_transformers
@pytest.mark.slow
def test_a_run_with_a_frozen_backbone_is_gone_on_with_and_reads_the_backbone_no_more(tmp_path: Path) -> None:
    folder = published(tmp_path / "backbone")
    settings: dict[str, Any] = {"training__backbone": str(folder), "training__checkpoint_every": 1}
    recipe = recipe_of(prepare_corpus(tmp_path), **settings)
    train(recipe, tmp_path / "whole")
    train_until_interrupted(recipe, tmp_path / "run", 2)
    folder.rename(tmp_path / "away")
    train(recipe, tmp_path / "run", resume=True)
    resumed, whole = load_checkpoint(tmp_path / "run"), load_checkpoint(tmp_path / "whole")
    assert resumed.hash == whole.hash
    assert resumed.header.training["start_from"] == whole.header.training["start_from"]


@needs_transformers
@pytest.mark.parametrize(
    ("fields", "settings", "problem"),
    [
        (TINY, {}, "training.backbone: a w2v_bert that begins at random learns next to nothing"),
        (TINY, {"backbone": "wide"}, "hidden_size is 64 there, and 32 here"),
        (
            {"channels": 8},
            {"backbone": "wide"},
            "training.backbone: is for network.kind w2v_bert or wavlm, and the recipe has",
        ),
    ],
)
def test_a_recipe_is_refused_before_training(
    fields: dict[str, Any], settings: dict[str, str], problem: str, tmp_path: Path
) -> None:
    published(tmp_path / "wide", hidden_size=64)
    given = {f"training__{name}": str(tmp_path / value) for name, value in settings.items()}
    with pytest.raises(ConfigurationError) as caught:
        train(recipe_of(prepare_corpus(tmp_path), fields, **given), tmp_path / "run")
    assert any(problem in found for found in caught.value.problems), caught.value.problems
    assert not (tmp_path / "run").exists()


def saved(network: nn.Module, fields: dict[str, Any], path: Path) -> Path:
    tensors = {NETWORK + name: tensor for name, tensor in lively(network).state_dict().items()}
    configuration = NetworkConfiguration.model_validate(fields)
    save_checkpoint(path, tensors, CheckpointHeader("tiny", configuration.model_dump()))
    return path


@needs_transformers
@pytest.mark.slow
def test_it_is_exported_for_any_batch_and_length(tmp_path: Path) -> None:
    """With adapters of one layer and its input; what weighs layers is WavLM's too, and exported there."""
    checkpoint = load_checkpoint(saved(built(SHALLOW), SHALLOW, tmp_path / "model.safetensors"))
    embed = onnx_file.running(onnx_file._trace(checkpoint).SerializeToString())
    assert worst_cosine(checkpoint.path, embed, (0.3, 1.7, 3.2)) > 0.9999


@needs_transformers
@pytest.mark.slow
def test_what_an_onnx_file_cannot_hold_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved(built(SHALLOW), SHALLOW, tmp_path / "model.safetensors")
    monkeypatch.setattr(onnx_file, "LARGEST_BYTES", 1000)
    assert main(["export", str(model), "--out", str(tmp_path / "model.onnx")]) == 1
    assert "GB, and an ONNX file holds no more than 0.0; take --precision fp16, or --format" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
