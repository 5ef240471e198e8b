"""Versions of ONNX's operators: what a graph is in, and how it is brought to a later one."""

from typing import TYPE_CHECKING

from sound_groove.encoder.runtimes import complaint
from sound_groove.errors import CheckpointError

if TYPE_CHECKING:
    import onnx

_DEFAULT_DOMAINS = ("", "ai.onnx")  # two names of one set


def operators_of(proto: "onnx.ModelProto") -> int:
    """The version of ONNX's own operators that a graph is in."""
    return next((int(one.version) for one in proto.opset_import if one.domain in _DEFAULT_DOMAINS), 1)


def with_operators(proto: "onnx.ModelProto", version: int, name: str) -> "onnx.ModelProto":
    """The same graph in a later version of the operators.

    Args:
        proto: the graph.
        version: to bring it to.
        name: what an error calls it.

    Raises:
        CheckpointError: the library cannot bring it there.
    """
    import onnx

    before = operators_of(proto)
    if before == version:
        return proto
    try:
        converted: onnx.ModelProto = onnx.version_converter.convert_version(proto, version)
        return converted
    except Exception as error:  # of many kinds
        raise CheckpointError(
            f"{name}: is in version {before} of ONNX's operators and cannot be brought to {version}: {complaint(error)}"
        ) from None
