"""A small text costs little: aliases that stand for much, deep nesting, long values, letters that move a cursor."""

import time
from pathlib import Path

import pytest

from sound_groove.errors import ConfigurationError
from sound_groove.recipe.loading import load_recipe
from sound_groove.recipe.yaml_words import MOST_DEPTH, MOST_VALUES, quoted, read_yaml

BILLION = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BILLION, "stands for more than 20,000 values, its aliases written out"),
        ("a: " + "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1), f"more than {MOST_DEPTH} deep"),
        ("a: &a [1, *a]", "has an alias within the list or section that it names"),
        ("a: " + "[" * 100_000, "nested too deeply"),
        ("a: [" + "1, " * MOST_VALUES + "1]", "stands for more than"),
        ("a: " + "x" * 1_000_001, "has 1,000,004 characters; settings have 1,000,000 at most"),
    ],
    ids=["aliases", "depth", "itself", "deeper", "values", "letters"],
)
def test_what_is_more_than_settings_have_is_refused_at_once(text: str, said: str) -> None:
    problems: list[str] = []
    started = time.process_time()
    assert read_yaml(text, problems) is None
    assert len(problems) == 1 and said in problems[0] and len(problems[0]) < 200
    assert time.process_time() - started < 20  # seconds of work, where it was hours: no measure of speed


def test_aliases_that_stand_for_little_are_fine() -> None:
    problems: list[str] = []
    assert read_yaml("a: &a [1, 2]\nb: {c: *a, d: *a}", problems) == {"a": [1, 2], "b": {"c": [1, 2], "d": [1, 2]}}
    assert not problems


def test_a_recipe_that_says_too_much_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(BILLION, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="aliases written out"):
        load_recipe(path)


@pytest.mark.parametrize(
    "text", ['"net\\e[2Jwork": {}\n', '"a\\e[1A": 1\n"a\\e[1A": 2\n', 'loss: "\\e[2J"\n', "network: {kind: {a: 1}}\n"]
)
def test_nothing_that_a_recipe_says_moves_the_cursor(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_recipe(path)
    assert all(letter.isprintable() or letter == "\n" for letter in str(caught.value))


def test_what_is_quoted_is_short() -> None:
    long = quoted(["x" * 50] * 1000)
    assert len(long) == 80 and long.endswith("…")
    assert quoted({"a": 1}) == "{'a': 1}" and quoted("b") == "'b'"
