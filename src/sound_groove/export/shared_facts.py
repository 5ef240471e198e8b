"""What a model says of its training when it is given to others: nothing of the folders of a machine."""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Any


def shared_facts(training: Any) -> Any:
    """The same facts, of paths from the root of a disk only the last part.

    Args:
        training: what a model file says of its training, or a part of it.

    >>> shared_facts({"recipe": {"data": {"prepared": "/home/anna/corpus"}}, "description": "11 h / run"})
    {'recipe': {'data': {'prepared': 'corpus'}}, 'description': '11 h / run'}
    """
    if isinstance(training, dict):
        return {name: shared_facts(value) for name, value in training.items()}
    if isinstance(training, list):
        return [shared_facts(value) for value in training]
    if isinstance(training, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if (path := kind(training)).is_absolute():
                return path.name
    return training
