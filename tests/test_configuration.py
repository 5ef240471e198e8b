"""Recipes: what they may hold, how they are read and written, and what is said about mistakes in them."""

import pickle
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from sound_groove.errors import ConfigurationError
from sound_groove.recipe.loading import dump_recipe, load_recipe, parse_recipe
from sound_groove.recipe.schema import Recipe
from sound_groove.recipe.yaml_words import read_yaml, write_yaml

MINIMUM = "name: mine\ndata: {prepared: data/mine}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str, *overrides: str) -> tuple[str, ...]:
    """What is said about a recipe with mistakes."""
    with pytest.raises(ConfigurationError) as caught:
        load_recipe(write(folder, text), overrides)
    assert str(caught.value).startswith(f"{folder / 'recipe.yaml'}: ")
    return caught.value.problems


def test_the_schema_holds_the_defaults_the_file_overrides_them_and_words_override_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMUM + "training: {epochs: 7, gradient_clip: 1}\n")
    recipe = load_recipe(path, ["training.epochs=9", "data.prepared=elsewhere", "augmentation.snr_db=[3, 5]"])
    assert recipe.training.epochs == 9
    assert recipe.training.gradient_clip == 1.0
    assert recipe.training.precision == "auto"
    assert recipe.data.prepared == Path("elsewhere")
    assert recipe.augmentation.snr_db == (3.0, 5.0)


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = (
        "name: a/b\nseed: -1\ndata: {crop_frames: 3}\nlearning_rate: {peak: 0}\nlos: {}\n"
        "loss: {margin: {start_epoch: 5, end_epoch: 2, final: 9}}\n"
    )
    found = problems(tmp_path, text, "training.epochs=none", "nonsense")
    assert [problem.split(":")[0] for problem in found] == [
        "'nonsense' is not of the form key=value, such as training.epochs=3",
        "name",
        "seed",
        "data.prepared",
        "data.crop_frames",
        "loss.margin.final",
        "loss.margin.end_epoch",
        "learning_rate.peak",
        "training.epochs",
        "los",
    ]


def test_an_error_can_cross_to_another_process_and_shows_each_mistake_on_a_line() -> None:
    error = ConfigurationError("recipe.yaml", ["one", "two"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "recipe.yaml: 2 mistakes\n  - one\n  - two"  # noqa: S301


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("trainning.epochs=3", "trainning: there is no such setting; did you mean 'training'?"),
        ("training.epoch=3", "training.epoch: there is no such setting; did you mean 'epochs'?"),
        ("data.sampler.speaker=3", "data.sampler.speaker: there is no such setting; did you mean 'speakers'?"),
        ("loss.margin.grow=linear", "loss.margin.grow: there is no such setting; did you mean 'growth'?"),
        ("crop_frames=3", "crop_frames: there is no such setting; did you mean 'data.crop_frames'?"),
        ("optimizer.kind=adam", "optimizer.kind: there is no 'adam'; did you mean 'adamw'?"),
        ("data.sampler.kind=xyz", "data.sampler.kind: there is no 'xyz'; choose from pk, shuffled"),
        (
            "optimizer.lr=1",
            "optimizer.lr: there is no such setting; choose from kind, momentum, nesterov, weight_decay, head_rate",
        ),
    ],
)
def test_an_unknown_key_or_choice_gets_the_nearest_valid_name(tmp_path: Path, word: str, expected: str) -> None:
    assert problems(tmp_path, MINIMUM, word) == (expected,)
    key, _, value = word.partition("=")  # the same mistake in the file
    *parents, last = key.split(".")
    if parents not in (["data"], ["data", "sampler"]):  # the minimum has this section already
        nested = "".join(f"{'  ' * depth}{parent}:\n" for depth, parent in enumerate(parents))
        assert problems(tmp_path, f"{MINIMUM}{nested}{'  ' * len(parents)}{last}: {value}\n") == (expected,)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("training.epochs", "'training.epochs' is not of the form key=value, such as training.epochs=3"),
        ("=3", "'=3' is not of the form key=value, such as training.epochs=3"),
        ("training.epochs=", "training.epochs: must be a whole number, given None"),
        ("training.epochs=2.5", "training.epochs: must be a whole number, given 2.5"),
        ("training.epochs=many", "training.epochs: must be a whole number, given 'many'"),
        ("training.epochs=yes", "training.epochs: must not be true or false (which yes, no, on and off mean in YAML)"),
        ("learning_rate.peak=high", "learning_rate.peak: must be a number, given 'high'"),
        ("optimizer.nesterov=3", "optimizer.nesterov: must be true or false, given 3"),
        ("data.prepared=3", "data.prepared: must be a path, given 3"),
        ("name=2024", "name: must be text, given 2024"),
        ("name=../x", "name: must begin with a letter or a digit and hold only those, '.', '_' and '-', given '../x'"),
        ("name.first=x", "'name.first=x' sets a part of 'name', which the recipe gives as 'mine'"),
        (
            "loss=aam",
            "loss: is a section with settings of its own (kind, scale, subcenters, margin, top_k, penalty, balance",
        ),
        ("augmentation.snr_db=3", "augmentation.snr_db: must be two numbers, [low, high], given 3"),
        ("augmentation.snr_db=[3]", "augmentation.snr_db: must be two numbers, [low, high], given [3]"),
        ("augmentation.snr_db=[1, 2, 3]", "augmentation.snr_db: must be two numbers, [low, high], given [1, 2, 3]"),
        ("augmentation.snr_db=[9, 1]", "augmentation.snr_db: must run from low to high, given [9, 1]"),
        ("augmentation.rt60_s=[0, 1]", "augmentation.rt60_s.0: must be greater than 0, given 0"),
        ("loss.margin={growth: adaptive}", "loss.margin.growth: 'adaptive' needs an end_epoch after start_epoch"),
        (
            "augmentation.noise_folders=[{folder: musan, foldr: musan}]",
            "augmentation.noise_folders.0.foldr: there is no such setting; did you mean 'folder'?",
        ),
        ("augmentation.noise_folders=[musan]", "augmentation.noise_folders.0: is a section with settings of its own"),
        ("augmentation.noise_folders=musan", "augmentation.noise_folders: must be a list, given 'musan'"),
        ("augmentation.speeds=1.1", "augmentation.speeds: must be a list, given 1.1"),
        ("stages=3", "stages: must be a list, given 3"),
        ("augmentation.speeds=[0.9, 1.1]", "augmentation.speeds: must have 1.0 among them, the speed at which"),
        ("augmentation.speeds=[1.0, 1.1, 1]", "augmentation.speeds: must be different from each other"),
        ("augmentation.speeds=[]", "augmentation.speeds: must have 1.0 among them"),
        ("augmentation.speeds=[1, 1.125]", "augmentation.speeds.1: must be a multiple of 0.01, given 1.125"),
        ("augmentation.speeds=[1, 3]", "augmentation.speeds.1: must be less than or equal to 2, given 3"),
        ("network.channels=10", "network.channels: must be a multiple of 4, given 10"),
        ("seed=[", "the value in 'seed=[' is not valid YAML: "),
        ("seed={a: 1, a: 2}", "the value in 'seed={a: 1, a: 2}' 'a' is given twice"),
        ("description=2024-13-01", "the value in 'description=2024-13-01' is not valid YAML: "),
    ],
)
def test_what_is_wrong_with_a_word_is_said_in_plain_words(tmp_path: Path, word: str, expected: str) -> None:
    (problem,) = problems(tmp_path, MINIMUM, word)
    assert problem.startswith(expected)


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "1e999"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, number: str) -> None:
    for key in ("learning_rate.peak", "training.gradient_clip", "training.dither", "loss.margin.start_epoch"):
        assert problems(tmp_path, MINIMUM, f"{key}={number}")[0].startswith(f"{key}: must be")
    assert "finite" in problems(tmp_path, MINIMUM, f"augmentation.snr_db=[{number}, {number}]")[0]


@pytest.mark.parametrize("text", ["5e-4", "5E-4", "+5e-4", "0.5e-3", "5.e-4", "0.0005"])
def test_a_number_with_an_exponent_is_a_number(tmp_path: Path, text: str) -> None:
    """PyYAML alone reads 5e-4 as text, because it has no dot."""
    assert load_recipe(write(tmp_path, MINIMUM + f"learning_rate: {{peak: {text}}}\n")).learning_rate.peak == 5e-4
    assert load_recipe(write(tmp_path, MINIMUM), [f"learning_rate.peak={text}"]).learning_rate.peak == 5e-4
    # A whole number may be written so as well, and text in quotes stays text.
    assert load_recipe(write(tmp_path, MINIMUM), ["training.epochs=2e2"]).training.epochs == 200
    assert load_recipe(write(tmp_path, MINIMUM), [f"description='{text}'"]).description == text


def test_nothing_in_a_recipe_is_executed(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    tags = [f'!!python/object/apply:os.system ["touch {trap}"]', "!!python/name:os.system", "!!python/module:os"]
    for tag in tags:
        for found in (problems(tmp_path, f"{MINIMUM}description: {tag}\n"), problems(tmp_path, MINIMUM, f"seed={tag}")):
            assert "is not valid YAML: could not determine a constructor for the tag" in found[0]
    assert not trap.exists()


def test_a_key_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    """YAML parsers keep the last one silently."""
    found = problems(tmp_path, MINIMUM + "training:\n  epochs: 3\n  precision: fp32\n  epochs: 4\nseed: 1\nseed: 2\n")
    assert found == (
        "'seed' is given twice in the section that begins on line 1",
        "'epochs' is given twice in the section that begins on line 4",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "must be a YAML mapping of settings; it is empty"),
        ("# nothing but a comment\n", "must be a YAML mapping of settings; it is empty"),
        ("- name: mine\n", "must be a YAML mapping of settings"),
        ("mine", "must be a YAML mapping of settings"),
        ("name: [mine\n", "is not valid YAML: expected ',' or ']', but got '<stream end>' (line 2, column 1)"),
        ("name: mine\n\tseed: 3\n", "is not valid YAML: "),
        ("name: mine\n---\nname: yours\n", "is not valid YAML: but found another document (line 2, column 1)"),
        ("name: \x00", "is not valid YAML: "),
        ("[" * 500, "is not valid YAML: it is nested too deeply"),
    ],
)
def test_a_file_that_is_not_a_recipe_is_refused_in_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(expected) and "\n" not in problem


def test_a_file_that_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for path, expected in ((tmp_path / "missing.yaml", "no such file"), (tmp_path, "cannot be read as text")):
        with pytest.raises(ConfigurationError, match=expected):
            load_recipe(path)
    binary = tmp_path / "recipe.yaml"
    binary.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read as text"):
        load_recipe(binary)


def test_an_empty_section_means_its_defaults_and_overriding_one_does_not_touch_its_alias(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, MINIMUM + "training:\n")) == load_recipe(write(tmp_path, MINIMUM))
    aliased = MINIMUM + "learning_rate: &both {}\noptimizer: *both\n"
    assert load_recipe(write(tmp_path, aliased), ["learning_rate.peak=1"]).learning_rate.peak == 1.0


def test_a_recipe_cannot_be_changed() -> None:
    recipe = parse_recipe({"name": "mine", "data": {"prepared": "data/mine"}})
    with pytest.raises(Exception, match="frozen"):
        recipe.seed = 3


def test_parse_recipe_leaves_what_it_was_given_as_it_was() -> None:
    content = {"name": "mine", "data": {"prepared": "data/mine"}, "training": None}
    parse_recipe(content)
    assert content == {"name": "mine", "data": {"prepared": "data/mine"}, "training": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


bounds = st.tuples(st.floats(-60, 60), st.floats(-60, 60)).map(sorted)
recipes = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
        "seed": st.integers(0, 2**32 - 1),
        "description": st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
        | st.sampled_from(["5e-4", "1e5", "yes", "~", "3", "- a", "a: b", "# c", "语音识别", "\n", "!!python/name:os"]),
        "data": st.fixed_dictionaries(
            {
                "prepared": st.sampled_from(["data/mine", "1e3", "/tmp/a b", "数据", "a: b", "."]),
                "minimum_duration_s": st.floats(0, 1e6),
                "sampler": st.fixed_dictionaries({"kind": st.sampled_from(["pk", "shuffled"])}),
            }
        ),
        "augmentation": st.fixed_dictionaries({"snr_db": bounds}),
        "learning_rate": st.fixed_dictionaries({"peak": st.floats(1e-300, 1e300), "final": st.floats(1e-12, 1)}),
        "training": st.fixed_dictionaries({"batches_per_epoch": st.none() | st.integers(1, 10**9)}),
    }
)


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029", "\n", "\t", "\r", "\x00", "\ufeff", "\U0001f600"])
def test_text_with_characters_that_yaml_treats_specially_is_read_back(character: str) -> None:
    content = {"description": f"a {character} b{character}", "name": character}
    problems: list[str] = []
    assert read_yaml(write_yaml(content), problems) == content
    assert not problems


@given(recipes)
@settings(max_examples=30, deadline=None)
def test_a_recipe_that_is_written_and_read_is_the_same(folder: Path, content: dict[str, Any]) -> None:
    recipe = parse_recipe(content)
    assert load_recipe(write(folder, dump_recipe(recipe))) == recipe


def test_every_setting_is_explained_where_it_is_defined() -> None:
    """The docstring of each section lists its settings; that is what a reader of the schema has."""
    sections: list[type[BaseModel]] = [Recipe]
    for section in sections:
        inner = [field.annotation for field in section.model_fields.values()]
        inner += [kind for listed in inner for kind in get_args(listed)]
        sections += [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
    undocumented = [
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.model_fields.items()
        if not re.search(rf"^\s+{name}: ", section.__doc__ or "", re.MULTILINE)
        and section is not Recipe  # its sections explain themselves
    ]
    assert undocumented == [] and len(sections) > 8
