"""Recipes that come with the package: found by name, shown, copied; and what `train` makes of its words."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest

from sound_groove.cli import build_parser, main
from sound_groove.cli.train import _Given, _given
from sound_groove.errors import UsageError
from sound_groove.recipe import shipped
from sound_groove.recipe.loading import load_recipe
from sound_groove.recipe.shipped import recipe_path, shipped_recipes
from sound_groove.service.application import SAMPLES

RECIPES = Path(__file__).parents[1] / "recipes"


def given(*words: str) -> _Given:
    parsed: argparse.Namespace = build_parser(["train"]).parse_args(["train", *words])
    return _given(parsed)


def test_every_recipe_of_the_tree_has_a_name_of_its_own_and_loads_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sorted(shipped_recipes().values()) == sorted(RECIPES.glob("*/*.yaml"))
    for name, path in shipped_recipes().items():
        assert load_recipe(name, ["data.prepared=x"]) == load_recipe(path, ["data.prepared=x"])


def test_the_wheel_is_told_of_every_recipe_of_the_pages_samples_and_of_nothing_else() -> None:
    import tomllib

    build = tomllib.loads((RECIPES.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    packaged = set()
    for source, target in build["targets"]["wheel"]["force-include"].items():
        path = RECIPES.parent / source
        assert target == f"sound_groove/{source}"
        packaged |= {path} if path.is_file() else set(path.iterdir())
    samples = {RECIPES.parent / "examples" / name for name in SAMPLES}
    assert packaged == {*RECIPES.glob("*/*.yaml"), *samples} and all(path.is_file() for path in samples)


def test_in_an_installed_package_they_lie_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "only.yaml").write_text("name: only\n", encoding="utf-8")
    monkeypatch.setattr(shipped, "PACKAGED", tmp_path)
    shipped_recipes.cache_clear()
    try:
        assert dict(shipped_recipes()) == {"only": tmp_path / "own" / "only.yaml"}
    finally:
        shipped_recipes.cache_clear()


def test_a_file_that_is_there_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert recipe_path("ecapa512") == RECIPES / "cnceleb" / "ecapa512.yaml"
    Path("ecapa512").write_text("", encoding="utf-8")
    assert recipe_path("ecapa512") == Path("ecapa512")


def test_they_are_listed_shown_and_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in shipped_recipes()) and "cnceleb:" in listed.splitlines()
    assert main(["recipes", "show", "6gb"]) == 0
    text = (RECIPES / "cnceleb" / "6gb.yaml").read_text(encoding="utf-8")
    assert capsys.readouterr().out == text
    assert main(["recipes", "copy", "6gb"]) == 0
    assert Path("6gb.yaml").read_text(encoding="utf-8") == text
    Path("6gb.yaml").write_text("mine", encoding="utf-8")
    assert main(["recipes", "copy", "6gb"]) == 1
    assert "--force" in capsys.readouterr().err and Path("6gb.yaml").read_text(encoding="utf-8") == "mine"
    assert (
        main(["recipes", "copy", "6gb", "other.yaml"]) == 0 and Path("other.yaml").read_text(encoding="utf-8") == text
    )
    assert main(["recipes", "show", "ecapa521"]) == 2
    assert "did you mean 'ecapa512'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["6gb"], _Given("6gb", [], None, False)),
        (["6gb", "a=1", "--out", "o", "b=2"], _Given("6gb", ["a=1", "b=2"], "o", False)),
        (["--out", "o", "6gb", "a=1"], _Given("6gb", ["a=1"], "o", False)),
        (["6gb", "--resume"], _Given("6gb", [], None, True)),
        (["6gb", "--resume", "a=1"], _Given("6gb", ["a=1"], None, True)),
        (["6gb", "a=1", "--resume", "b=2"], _Given("6gb", ["a=1", "b=2"], None, True)),
        (["--resume", "mine.yaml"], _Given("mine.yaml", [], None, True)),
    ],
)
def test_words_of_train_may_stand_among_its_options(words: Sequence[str], expected: _Given) -> None:
    assert given(*words) == expected


def test_a_run_goes_on_by_its_own_recipe(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(UsageError, match=r"is no run to go on with; it has no recipe\.yaml"):
        given("--resume", str(run))
    run.mkdir()
    (run / "recipe.yaml").write_text("", encoding="utf-8")
    assert given("--resume", str(run)) == _Given(str(run / "recipe.yaml"), [], str(run), True)
    assert given("--resume", str(run), "a=1") == _Given(str(run / "recipe.yaml"), ["a=1"], str(run), True)
    with pytest.raises(UsageError, match="which has its own"):
        given("6gb", "--resume", str(run))


def test_what_train_cannot_make_out_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["train"], "'sound-groove recipes' lists ready ones), or go on with a run: --resume outputs/RUN"),
        (["train", "a=1"], "name a recipe"),
        (["train", "6gb", "7gb"], "'7gb' is no setting (key=value), and the recipe is '6gb'"),
        (["train", "6gb", "--chck"], "did you mean '--check'?"),
    ):
        try:
            status = main(words)
        except SystemExit as left:
            status = int(left.code or 0)
        assert status == 2 and told in capsys.readouterr().err
