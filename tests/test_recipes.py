"""The recipes that come with the project: each loads, says what it trains, and holds the numbers that it promises."""

from pathlib import Path

import pytest
import torch

from sound_groove.networks.architectures import build_network
from sound_groove.recipe.loading import dump_recipe, load_recipe, stage_recipes
from sound_groove.recipe.schema import OptimizerConfiguration, Recipe
from sound_groove.training.checks import check_batches
from sound_groove.training.schedule import learning_rate, risen

RECIPES = sorted((Path(__file__).parents[1] / "recipes").rglob("*.yaml"))


def named(name: str) -> Recipe:
    return load_recipe(next(path for path in RECIPES if path.stem == name))


def test_there_are_recipes() -> None:
    assert {path.stem for path in RECIPES} >= {"ecapa512", "6gb", "ecapa-small", "resnet221", "vox-redimnet2"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_has_nothing_against_itself(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.description
    assert check_batches(recipe) == []
    if recipe.network.kind in ("w2v_bert", "wavlm"):
        pytest.importorskip("transformers", reason="transformers is not installed (pip install --editable '.[ssl]')")
    with torch.device("meta"):
        build_network(recipe.network)
    (tmp_path / "again.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "again.yaml") == recipe


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_how_its_data_is_prepared_and_how_it_is_trained(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "sound-groove prepare " in text
    named = f"sound-groove train {path.stem}"  # ready recipes are found by their names, too
    assert f"sound-groove train recipes/{path.parent.name}/{path.name}" in text or named in text
    if path.parent.name == "cnceleb":
        assert "research only" in load_recipe(path).description


def test_the_strongest_published_recipe_has_the_published_numbers() -> None:
    recipe = named("ecapa512")
    assert (recipe.network.channels, recipe.network.embedding_size, recipe.data.crop_frames) == (512, 192, 200)
    assert (recipe.loss.scale.initial, recipe.loss.scale.final, recipe.loss.subcenters) == (32, 32, 1)
    assert recipe.augmentation.speeds == (0.9, 1.0, 1.1)
    assert [round(risen(recipe.loss.margin, epoch), 3) for epoch in (0, 20, 30, 40, 149)] == [0, 0, 0.194, 0.2, 0.2]
    published = OptimizerConfiguration(kind="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4)
    assert recipe.optimizer == published and published.head_rate == 1
    factor = recipe.data.sampler.total_batch / 64
    rates = [learning_rate(recipe.learning_rate, epoch, 150, recipe.data.sampler.total_batch) for epoch in (3, 6, 150)]
    assert rates == pytest.approx([0.05 * factor, 0.1 * factor, 5e-5 * factor])
    assert (recipe.training.epochs, recipe.training.average_epochs) == (150, 10)
    _, tuning = stage_recipes(recipe)
    assert (tuning.training.epochs, tuning.data.crop_frames, tuning.augmentation.speeds) == (5, 600, (1.0,))
    assert {risen(tuning.loss.margin, epoch) for epoch in (0, 1, 5)} == {0.5}
    rates = [learning_rate(tuning.learning_rate, epoch, 5, tuning.data.sampler.total_batch) for epoch in (0, 5)]
    assert rates == pytest.approx([1e-4 * factor, 2.5e-5 * factor])


def test_the_first_versions_settings_are_kept() -> None:
    recipe = named("6gb")
    assert (recipe.data.sampler.kind, recipe.data.sampler.speakers, recipe.data.sampler.utterances) == ("pk", 32, 4)
    assert (recipe.network.embedding_size, recipe.data.crop_frames) == (256, 200)
    assert recipe.training.precision == "fp16" and recipe.training.gradient_clip > 0
    assert 60 <= recipe.training.epochs <= 150 and 30 <= recipe.loss.scale.final <= 35
    assert risen(recipe.loss.margin, 0) == pytest.approx(0.30)
    assert risen(recipe.loss.margin, recipe.training.epochs) == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("name", "kind", "parameters"),
    [
        ("resnet34", "resnet34", 6_634_336),
        ("resnet221", "resnet221", 23_792_224),
        ("resnet293", "resnet293", 28_626_016),
        ("campplus", "campplus", 7_176_224),
        ("eres2netv2", "eres2netv2", 17_859_632),
        ("redimnet2", "redimnet2", 12_394_784),
    ],
)
def test_each_network_has_recipes_for_both_corpora_at_its_published_size(name: str, kind: str, parameters: int) -> None:
    for recipe in (named(name), named(f"vox-{name}")):
        assert recipe.network.kind == kind
        with torch.device("meta"):
            network = build_network(recipe.network)
        assert sum(parameter.numel() for parameter in network.parameters()) == parameters
        assert recipe.loss.kind == ("sphereface2" if kind == "redimnet2" else "aam_softmax")
        for stage in stage_recipes(recipe)[1:]:
            assert stage.data.crop_frames == 600 and stage.augmentation.speeds == (1.0,)
            margin = 0.3 if kind == "redimnet2" else 0.5
            assert risen(stage.loss.margin, 0) == risen(stage.loss.margin, 5) == margin
