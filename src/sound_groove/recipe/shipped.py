"""The recipes that come with the package, by name."""

from functools import cache
from pathlib import Path
from types import MappingProxyType

import sound_groove._version as version_module

PACKAGED = Path(version_module.__file__).parent / "recipes"
CHECKED_OUT = Path(version_module.__file__).parents[2] / "recipes"  # beside src/, where the package is run from


@cache
def shipped_recipes() -> MappingProxyType[str, Path]:
    """Their files by name, which is that of the file without `.yaml`, in the order of their folders."""
    folder = PACKAGED if PACKAGED.is_dir() else CHECKED_OUT
    return MappingProxyType({path.stem: path for path in sorted(folder.glob("*/*.yaml"))})


def recipe_path(recipe: str) -> Path:
    """The file that a recipe's name or path means: a file that is there, or one that comes with the package.

    >>> recipe_path("fine-tune").name, recipe_path("elsewhere/mine.yaml").as_posix()
    ('fine-tune.yaml', 'elsewhere/mine.yaml')
    """
    path = Path(recipe)
    return path if path.exists() else shipped_recipes().get(recipe, path)
