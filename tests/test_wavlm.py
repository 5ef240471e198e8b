"""WavLM as a network, which hears samples: fed as its makers feed it, padded as alone, trained, gone on with, exported.

The backbones are tiny and random; nothing is downloaded.
"""

import doctest
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lively_weights import lively
from sound_groove.audio.reading import load_audio
from sound_groove.cli import main
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import AudioError, CheckpointError, ConfigurationError, MissingExtraError, UsageError
from sound_groove.export import onnx_file
from sound_groove.export.parity import worst_cosine
from sound_groove.networks import hearing
from sound_groove.networks.architectures import build_network
from sound_groove.networks.backbone import BackboneSizes
from sound_groove.networks.checkpoint import load_checkpoint
from sound_groove.networks.features import KaldiFbank, Normalization
from sound_groove.networks.hearing import Unchanged, Waveform, build_hearing, build_normalization
from sound_groove.networks.pretrained_backbone import load_backbone
from sound_groove.networks.tensor_groups import NETWORK
from sound_groove.networks.wavlm import WavLM
from sound_groove.recipe.network import NetworkConfiguration
from sound_groove.training.checks import check_batches, check_own_network
from sound_groove.training.trainer import train
from test_w2v_bert import needs_transformers, recipe_of, saved
from training_corpus import prepare_corpus, tiny_recipe, train_until_interrupted

SIZES = BackboneSizes(width=32, depth=2, heads=4, inner=48)
OPTIONS: dict[str, Any] = {**asdict(SIZES), "convolution": 16}
TINY: dict[str, Any] = {"kind": "wavlm", "channels": 8, "embedding_size": 12, "options": OPTIONS}
FORMS: dict[str, dict[str, Any]] = {
    "large": TINY,
    "base": {**TINY, "options": {**OPTIONS, "form": "base"}},
    "large, weighted sum of the last two": {**TINY, "options": {**OPTIONS, "layers": "weighted_sum", "states": 2}},
}


def built(fields: dict[str, Any]) -> WavLM:
    network = build_network(NetworkConfiguration.model_validate(fields))
    assert isinstance(network, WavLM)
    return network


def lively_one(fields: dict[str, Any]) -> WavLM:
    """With weights as after training, in evaluation mode."""
    network = built(fields)
    lively(network)
    return network


def samples(count: int, batch: int = 1, seed: int = 2) -> Tensor:
    """(B, T, 1) float32."""
    return torch.from_numpy(0.1 * np.random.default_rng(seed).standard_normal((batch, count, 1))).float()


def published(folder: Path, seed: int = 3, **changes: Any) -> Path:
    """A tiny backbone with random weights, in a folder as the hub has it."""
    from transformers import WavLMConfig, WavLMModel

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        WavLMModel(WavLMConfig(**{**built(TINY).fields(), **changes})).save_pretrained(folder)
    return folder


# --- what is heard


def test_the_examples_of_the_module_hold() -> None:
    result = doctest.testmod(hearing)
    assert result.attempted and not result.failed


def test_samples_are_frames_of_one_feature() -> None:
    waveforms = samples(500, batch=2).squeeze(2)
    heard = build_hearing(1)
    assert isinstance(heard, Waveform) and torch.equal(heard(waveforms), waveforms.unsqueeze(2))
    assert heard.frame_count(500) == 500 and heard.frame_count(torch.tensor([400, 500])).tolist() == [400, 500]
    assert isinstance(build_hearing(80), KaldiFbank) and build_hearing(80).frame_count(560) == 2
    with pytest.raises(AudioError, match=r"has 399 samples, fewer than 400 \(25 ms at 16 kHz\)"):
        heard(waveforms[:, :399])
    with pytest.raises(AudioError, match="not a batch"):
        heard(waveforms[0])


def test_dither_is_added_to_samples_in_training_alone() -> None:
    waveforms, noise = samples(500).squeeze(2), torch.ones(1, 500)
    dithered = Waveform(dither=2.0)
    torch.testing.assert_close(dithered(waveforms, noise)[..., 0], waveforms + 2.0 / 32768.0)
    assert torch.equal(dithered.eval()(waveforms)[..., 0], waveforms)
    with pytest.raises(UsageError, match="dither in training mode is made of noise"):
        dithered.train()(waveforms)


def test_samples_are_not_normalised_and_padding_is_silent() -> None:
    unchanged = build_normalization(1)
    assert isinstance(unchanged, Unchanged) and isinstance(build_normalization(80, 40.0), Normalization)
    given = 3.0 + samples(6, batch=2)
    assert torch.equal(unchanged(given), given)
    heard = unchanged(given, torch.tensor([6, 2]), torch.tensor([0.1, 0.1]))
    assert torch.equal(heard[0], given[0]) and torch.equal(heard[1, :2], given[1, :2]) and not heard[1, 2:].any()


def test_few_networks_hear_samples_and_none_of_these_has_a_floor() -> None:
    assert NetworkConfiguration.model_validate({"kind": "wavlm"}).feature_size == 1
    assert NetworkConfiguration.model_validate({"kind": "mine:Net", "feature_size": 1}).feature_size == 1
    for fields, complaint in (
        ({"feature_size": 1}, "which wavlm and networks of your own hear"),
        ({"kind": "wavlm", "floor_db": 40.0}, "is laid under filterbanks"),
        ({"kind": "wavlm", "silence_share": 0.5}, "without a floor digital silence would decide"),
    ):
        with pytest.raises(ValueError, match=complaint):
            NetworkConfiguration.model_validate(fields)


# --- without transformers


def test_without_transformers_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"network.kind wavlm needs the 'ssl' extra: pip install .*\[ssl\]"):
        build_network(NetworkConfiguration.model_validate(TINY))


# --- the network


@needs_transformers
@pytest.mark.parametrize(("form", "final", "published"), [("large", 768, 316.62), ("base", 256, 94.70)])
def test_it_has_as_many_parameters_as_were_published(form: str, final: int, published: float) -> None:
    with torch.device("meta"):
        network = built({"kind": "wavlm", "options": {"form": form}})
    count = sum(parameter.numel() for parameter in network.backbone.parameters())
    assert count == {"large": 315_452_096, "base": 94_381_168}[form]
    # The paper counts what guesses hidden frames too: a vector in their place, a layer to `final` values, 504 classes.
    width = network.sizes.width
    guessing = width + (width * final + final) + 504 * final
    assert int((count + guessing) / 1e4) / 100 == published


@needs_transformers
@pytest.mark.parametrize("form", ["large", "base"])
def test_the_backbone_hears_what_its_own_feature_extractor_gives(form: str) -> None:
    from transformers import Wav2Vec2FeatureExtractor

    waveforms = [0.02 + samples(count, seed=count)[0, :, 0].numpy() for count in (9000, 5000)]
    extractor = Wav2Vec2FeatureExtractor(do_normalize=form == "large", return_attention_mask=True)
    theirs = extractor(waveforms, sampling_rate=16000, padding=True, return_tensors="pt")["input_values"]
    padded = torch.full((2, 9000), 5.0)
    for row, waveform in zip(padded, waveforms, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform)
    ours = built(FORMS[form]).scaled(padded, torch.tensor([9000, 5000]))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@needs_transformers
@pytest.mark.parametrize("form", ["large", "base"])
def test_the_layers_are_those_that_transformers_gives_alone(form: str) -> None:
    network = lively_one(FORMS[form])
    heard: list[list[Tensor]] = []
    network.back_end.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    given = samples(8000)
    with torch.no_grad():
        network(given)
        backbone: Any = network.backbone
        found = backbone(network.scaled(given[..., 0], torch.tensor([8000])), output_hidden_states=True)
    assert len(heard[0]) == SIZES.depth + 1 and heard[0][0].shape == (1, 24, 32)  # (8000 - 400) // 320 + 1 frames
    for ours, theirs in zip(heard[0][:-1], found.hidden_states, strict=False):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(heard[0][-1], found.last_hidden_state)


@needs_transformers
@pytest.mark.parametrize("name", FORMS)
def test_a_padded_batch_equals_its_clips_alone(name: str) -> None:
    network = lively_one(FORMS[name]).double()
    lengths = torch.tensor([8000, 400, 401, 720, 3200, 7999])
    batch = samples(8000, batch=len(lengths)).double()
    for row, length in enumerate(lengths.tolist()):
        batch[row, length:] = 1e3 * (row + 1)  # what padding holds must not matter
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        together = network(batch, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = network(batch[row : row + 1, :length])[0]
            torch.testing.assert_close(together[row], alone, rtol=1e-8, atol=1e-8)
        batch[1, 400:] = torch.nan
        torch.testing.assert_close(network(batch, lengths), together)
    assert (together[0] - together[4]).abs().max() > 1e-3  # the clips do differ


@needs_transformers
def test_the_large_form_does_not_hear_gain_and_offset_and_the_base_one_does() -> None:
    given = samples(8000)
    for name, hears in (("large", False), ("base", True)):
        network = lively_one(FORMS[name]).double()
        with torch.no_grad():
            difference = network(given.double()) - network(0.3 * given.double() + 0.1)
        assert bool(difference.abs().max() > 1e-3) is hears


@needs_transformers
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", ["noise", "zero", "one frame"])
def test_gradients_are_finite(name: str, kind: str) -> None:
    network = built(FORMS[name]).train()
    inputs = {"noise": samples(4000, 3), "zero": torch.zeros(3, 4000, 1), "one frame": samples(400, 3)}[kind]
    network(inputs).square().sum().backward()
    reached = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    assert len(reached) > 40 and all(gradient.isfinite().all() for gradient in reached.values())


@needs_transformers
def test_nothing_in_training_is_drawn() -> None:
    network = lively_one(TINY).train()
    given = samples(4000, batch=2)
    with torch.no_grad():
        torch.testing.assert_close(network(given), network(given), rtol=0.0, atol=0.0)


@needs_transformers
@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"form": "huge"}, "options.form: must be large or base, given 'huge'"),
        ({"layers": "mean"}, "options.layers: must be adapters or weighted_sum, given 'mean'"),
        ({"states": 4}, "options.states: a backbone of 2 layers has 3, given 4"),
        ({"width": 20}, "options.width: must be a multiple of 16, given 20"),
        ({"from": "base"}, "options.from: wavlm has no such option; did you mean 'form'?"),
    ],
)
def test_options_that_it_cannot_have_are_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        built({**TINY, "options": {**OPTIONS, **fields}})
    assert problem in caught.value.problems
    with pytest.raises(ConfigurationError, match="wavlm hears the samples themselves, 1; given 80"):
        built({**TINY, "feature_size": 80})


# --- published weights


@needs_transformers
def test_published_weights_are_taken_whole(tmp_path: Path) -> None:
    from transformers import WavLMModel

    folder = published(tmp_path / "backbone")
    network = built(TINY)
    load_backbone(str(folder), network)
    theirs = WavLMModel.from_pretrained(folder).state_dict()
    ours = network.backbone.state_dict()
    assert set(theirs) - set(ours) <= {"masked_spec_embed"}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@needs_transformers
def test_a_backbone_that_does_not_fit_is_refused_in_one_sentence(tmp_path: Path) -> None:
    base = published(tmp_path / "base", feat_extract_norm="group", do_stable_layer_norm=False)
    (tmp_path / "hubert").mkdir()
    (tmp_path / "hubert/config.json").write_text(json.dumps({"model_type": "hubert"}))
    for source, message in (
        (base, r"feat_extract_norm is 'group' there, and 'layer' here; do_stable_layer_norm is False there"),
        (
            tmp_path / "hubert",
            r"of the type 'hubert', and this one takes one of 'wavlm', such as microsoft/wavlm-large",
        ),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            load_backbone(str(source), built(TINY))
        assert "\n" not in str(caught.value)


# --- training, the model file, the export


@needs_transformers
@pytest.mark.slow
@pytest.mark.parametrize("frozen", [True, False])
def test_it_is_trained_gone_on_with_and_judged(
    frozen: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = published(tmp_path / "backbone")
    start = built(TINY)
    load_backbone(str(folder), start)
    settings: dict[str, Any] = {
        "training__backbone": str(folder),
        "training__frozen_backbone": frozen,
        "training__checkpoint_every": 1,
        "training__dither": 1.0,
    }
    recipe = recipe_of(prepare_corpus(tmp_path), TINY, **settings)
    train(recipe, tmp_path / "whole")
    train_until_interrupted(recipe, tmp_path / "run", 2)
    folder.rename(tmp_path / "away")  # the state has its weights
    train(recipe, tmp_path / "run", resume=True)
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint.hash == load_checkpoint(tmp_path / "whole").hash
    trained, begun = checkpoint.group(NETWORK), start.backbone.state_dict()
    moved = [name for name, tensor in begun.items() if not torch.equal(trained[f"backbone.{name}"], tensor)]
    assert bool(moved) is not frozen
    encoder = SpeakerEncoder.load(tmp_path / "run")  # which tries the probe
    files = sorted(map(str, (tmp_path / "audio").rglob("*.*")))[:4]
    recording = load_audio(files[0])
    together, alone = encoder.embed([recording, recording[:9000]]), encoder.embed(recording[:9000])
    assert float(together[1] @ alone) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(CheckpointError, match="hears the samples themselves; give it recordings"):
        encoder.embed_features([np.zeros((100, 80), np.float32)])
    trials = tmp_path / "trials.txt"
    trials.write_text(f"1 {files[0]} {files[1]}\n0 {files[0]} {files[3]}\n0 {files[1]} {files[2]}\n")
    capsys.readouterr()
    words = ["verify", "--model", str(tmp_path / "run"), "--trials", str(trials), "--allow-trained-speakers"]
    words += ["--out", str(tmp_path / "judged")]
    assert main(words) == 0
    assert (tmp_path / "judged" / "metrics.json").is_file()


@needs_transformers
@pytest.mark.slow
@pytest.mark.parametrize("name", ["base", "large, weighted sum of the last two"])
def test_it_is_exported_for_any_batch_and_length(name: str, tmp_path: Path) -> None:
    fields = FORMS[name]
    if name == "base":  # that a layer is given what the one before made of positions is in the other
        fields = {**fields, "options": {**fields["options"], "depth": 1}}
    checkpoint = load_checkpoint(saved(built(fields), fields, tmp_path / "model.safetensors"))
    embed = onnx_file.running(onnx_file._trace(checkpoint).SerializeToString())
    assert worst_cosine(checkpoint.path, embed, (0.3, 1.7, 3.2)) > 0.9999


@needs_transformers
@pytest.mark.slow
def test_what_gives_features_cannot_run_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = saved(built(TINY), TINY, tmp_path / "model.safetensors")
    words = ["export", str(model), "--format", "sherpa-onnx", "--out", str(tmp_path / "model.onnx")]
    assert main(words) == 1
    assert "hears the samples themselves, and sherpa-onnx gives features; take --format onnx" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@needs_transformers
def test_a_recipe_is_refused_before_training(tmp_path: Path) -> None:
    recipe = recipe_of(prepare_corpus(tmp_path), TINY)
    with pytest.raises(ConfigurationError) as caught:
        train(recipe, tmp_path / "run")
    assert any("training.backbone: a wavlm that begins at random" in found for found in caught.value.problems)
    masked = recipe_of(tmp_path / "prepared", TINY, augmentation__masking={"time_masks": 1})
    assert any("augmentation.masking: hides frames" in problem for problem in check_batches(masked))
    stored = recipe_of(tmp_path / "prepared", TINY, data__input="features")
    assert any("stored features have 80 bins" in problem for problem in check_batches(stored))


# --- a network of one's own that hears samples

OWN = """
import torch
from torch import nn

from sound_groove.networks.masks import masked, real_frames
from sound_groove.networks.pooling import TemporalStatistics


class Sinc(nn.Module):
    def __init__(self, configuration):
        super().__init__()
        self.layer = nn.Conv1d(configuration.feature_size, 8, 401, stride=1, padding=200)
        self.pooling = TemporalStatistics(1e-7)
        self.embedding = nn.Linear(16, configuration.embedding_size)

    def forward(self, samples, lengths=None):
        mask = real_frames(lengths, samples.shape[1])
        x = torch.relu(self.layer(masked(samples.transpose(1, 2), mask)))
        return self.embedding(self.pooling(x, mask))
"""


def test_a_network_of_ones_own_may_hear_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sound_groove.networks.own import allow_modules

    (tmp_path / "hearing_samples.py").write_text(OWN)
    fields = {"kind": "hearing_samples:Sinc", "feature_size": 1, "embedding_size": 6}
    recipe = tiny_recipe(tmp_path).model_copy(update={"network": NetworkConfiguration.model_validate(fields)})
    with allow_modules(str(tmp_path / "hearing_samples.py")):
        assert check_own_network(recipe) == []
        network = build_network(recipe.network).eval()
        encoder = SpeakerEncoder.of_network(network, "mine", 6, feature_size=1)  # type: ignore[arg-type]
        long, short = samples(24000)[0, :, 0].numpy(), samples(9000, seed=3)[0, :, 0].numpy()
        together = encoder.embed([long, short], keep_pauses=True)
        assert float(together[1] @ encoder.embed(short, keep_pauses=True)) == pytest.approx(1.0, abs=1e-6)
