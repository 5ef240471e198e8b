"""The marker that a fixture gives to every test that uses it."""

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def costs(*markers: str) -> Callable[[Function], Function]:
    """For a fixture, below `@pytest.fixture`: every test that uses it, directly or by another, gets the markers."""

    def marked(function: Function) -> Function:
        assert not function.__name__.startswith("test_"), f"{function.__name__} is no fixture: use pytest.mark"
        function.costs = markers  # type: ignore[attr-defined]
        return function

    return marked
