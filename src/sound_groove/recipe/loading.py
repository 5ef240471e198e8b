"""Recipes as files: reading them with the words that override them, writing them, and taking them apart into stages.

The schema holds the defaults, the recipe file overrides it, and `key=value` words override the file. Nothing in a
recipe is executed, an unknown key is an error with the nearest valid name, and all mistakes are reported at once.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from sound_groove.errors import ConfigurationError
from sound_groove.recipe.schema import Recipe
from sound_groove.recipe.shipped import recipe_path
from sound_groove.recipe.yaml_words import apply_override, leaves, merged, read_yaml, sentence, write_yaml

# What a stage may change; a name stands for everything below it.
STAGE_SETTINGS = (
    "data.crop_frames",
    "data.sampler",
    "augmentation",
    "loss.scale",
    "loss.margin",
    "loss.top_k",
    "loss.penalty",
    "distillation.weight",
    "distillation.label_weight",
    "learning_rate",
    "training.epochs",
    "training.batches_per_epoch",
    "training.gradient_clip",
    "training.gradient_accumulation",
    "training.average_epochs",
)


def stage_recipes(recipe: Recipe) -> list[Recipe]:
    """The recipe of each stage, the first of which is the recipe itself; none of them has stages of its own.

    Raises:
        ConfigurationError: a stage is wrong; all mistakes at once.
    """
    base = recipe.model_copy(update={"stages": ()})
    stages, problems = [base], []
    for index, changes in enumerate(recipe.stages):
        found = [f"{name}: a stage cannot change it" for name in leaves(changes) if not _may_change(name)]
        if "training.epochs" not in leaves(changes):
            found.append("training.epochs: a stage must say how long it is")
        try:
            stages.append(Recipe.model_validate(merged(base.model_dump(mode="json"), changes)))
        except ValidationError as error:
            wrong = [sentence(dict(problem), Recipe) for problem in error.errors(include_url=False)]
            found = [problem for problem in found if problem.split(":")[0] not in {w.split(":")[0] for w in wrong}]
            found += wrong
        else:
            unknown = sorted(set(stages[-1].augmentation.speeds) - set(base.augmentation.speeds))
            if unknown:
                found.append(f"augmentation.speeds: the recipe has no classes for the speed {unknown[0]:g}")
        problems += [f"stages.{index}.{problem}" for problem in found]
    if problems:
        raise ConfigurationError(recipe.name, problems)
    return stages


def _may_change(name: str) -> bool:
    return any(name == setting or name.startswith(f"{setting}.") for setting in STAGE_SETTINGS)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file and the `key=value` words that override it.

    Args:
        path: a YAML file, or the name of a recipe that comes with the package.
        overrides: words such as "training.epochs=3"; the value is read as YAML.

    Raises:
        ConfigurationError: the file cannot be read, or anything in it or in the words is wrong; all mistakes at once.
    """
    path = recipe_path(str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            str(path), ["there is no such file; 'sound-groove recipes' lists ready ones"]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), [f"cannot be read as text: {error}"]) from None
    problems: list[str] = []
    content = read_yaml(text, problems)
    if not problems and not isinstance(content, dict):
        problems.append("must be a YAML mapping of settings" + ("; it is empty" if content is None else ""))
    if not isinstance(content, dict):
        raise ConfigurationError(str(path), problems)
    problems += [problem for word in overrides for problem in apply_override(content, word)]
    return parse_recipe(content, source=str(path), problems=problems)


def parse_recipe(content: Mapping[str, object], source: str = "recipe", problems: Sequence[str] = ()) -> Recipe:
    """Check settings against the schema.

    Args:
        content: the settings, nested as in the file.
        source: what to name in the error.
        problems: mistakes found earlier, to be reported together.

    Raises:
        ConfigurationError: with every mistake.
    """
    found = list(problems)
    try:
        recipe = Recipe.model_validate({str(key): value for key, value in content.items()})
    except ValidationError as error:
        found += [sentence(dict(problem), Recipe) for problem in error.errors(include_url=False)]
    else:
        try:
            stage_recipes(recipe)
        except ConfigurationError as error:
            found += error.problems
    if found:
        raise ConfigurationError(source, found)
    return recipe


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML text; `load_recipe` gives the same recipe back."""
    return write_yaml(recipe.model_dump(mode="json"))
