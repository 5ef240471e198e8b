"""Networks outside the package: a class in a module of the user's, named `module:Class` in `network.kind`.

A recipe and a model file can only say which class they need. Code is loaded if whoever runs the program has named its
module: by `--module`, by the variable SOUND_GROOVE_MODULES, or by `allow_modules`. A module that happens to be imported
is not enough, or a file could have any class of any library called. A file alone never causes an import.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sound_groove.errors import ConfigurationError, printable

if TYPE_CHECKING:
    from torch import nn

    from sound_groove.recipe.network import NetworkConfiguration

# Names of modules, or paths of files, joined as in PATH. A variable, so that processes of this one's own have it too.
VARIABLE = "SOUND_GROOVE_MODULES"


@contextmanager
def allow_modules(*modules: str) -> Iterator[None]:
    """Let networks be loaded from these modules inside the block, in this process and those that it starts.

    Args:
        modules: names that Python can import (`my_package.networks`), or files (`here/my_network.py`), which are known
            by their names without `.py`.

    >>> with allow_modules("my_networks.py"):
    ...     allowed_modules()
    {'my_networks': 'my_networks.py'}
    """
    before = os.environ.get(VARIABLE)
    named = [*(before or "").split(os.pathsep), *modules]
    os.environ[VARIABLE] = os.pathsep.join(filter(None, named))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def allowed_modules() -> dict[str, str]:
    """The modules that the user has named: by the names that recipes know them by, and as they were given."""
    given = filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))
    return {Path(module).stem if module.endswith(".py") else module: module for module in given}


def is_own(kind: str) -> bool:
    """Whether a network is named as a class of a module."""
    return ":" in kind


def build_own(configuration: "NetworkConfiguration") -> "nn.Module":
    """A network of the user's own, with fresh weights: its class, called with the configuration.

    Args:
        configuration: whose `kind` names module and class.

    Raises:
        ConfigurationError: the user has not named the module, it cannot be imported, or it has no such network.
    """
    from torch import nn

    module_name, _, class_name = configuration.kind.partition(":")
    made_by = getattr(_module(module_name, class_name), class_name, None)
    if not (isinstance(made_by, type) and issubclass(made_by, nn.Module)):
        raise ConfigurationError(
            "network", [f"kind: the module '{module_name}' has no class '{printable(class_name)}' of torch's nn.Module"]
        )
    try:
        return made_by(configuration)
    except ConfigurationError:
        raise
    except Exception as error:  # whatever code of somebody else's does
        reason = printable(f"{type(error).__name__}: {error}")[:300]
        raise ConfigurationError("network", [f"kind: {configuration.kind} could not be made ({reason})"]) from error


def _module(name: str, class_name: str) -> ModuleType:
    given = allowed_modules().get(name)
    if given is None:
        shown = printable(name)
        raise ConfigurationError(
            "network",
            [
                f"kind: the network is {printable(class_name)} of the module '{shown}', outside Sound-Groove, whose "
                f"code is run only if you name it: --module {shown}, or --module with the path of its file"
            ],
        )
    try:
        return _from_file(name, Path(given)) if given.endswith(".py") else importlib.import_module(name)
    except Exception as error:  # an import runs code, which may do anything
        reason = printable(f"{type(error).__name__}: {error}")[:300]
        raise ConfigurationError("network", [f"kind: the module '{given}' cannot be imported ({reason})"]) from error


def _from_file(name: str, path: Path) -> ModuleType:
    """The module that a file is, imported once; under a name that no library has."""
    name = f"sound_groove_own_{name}"
    there = sys.modules.get(name)
    if there is not None:
        if there.__file__ is not None and Path(there.__file__).resolve() == path.resolve():
            return there
        raise ImportError("another file of this name was loaded before")
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None or not path.is_file():
        raise ImportError("there is no such file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
