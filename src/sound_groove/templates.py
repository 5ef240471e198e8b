"""Pages written by Jinja2: where a package's templates are found, and how they write."""

from functools import cache
from typing import TYPE_CHECKING

from sound_groove.errors import printable

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment_of(package: str) -> "Environment":
    """The environment of the folder `templates` of a package. Whatever it prints is made printable, and escaped.

    There is one for a process, as it keeps the templates that it has compiled.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
