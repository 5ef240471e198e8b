"""What an ONNX file says of itself, read without the onnx package.

The file is a message in the wire format of Protocol Buffers: fields, each a number, a kind, and an integer or bytes,
which may be a message again. Only the few fields that are needed are read, and the weights are passed over, so that a
large file takes no longer than a small one. The numbers of the fields are those of onnx.proto.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sound_groove.errors import CheckpointError, printable

TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 16: "bfloat16", 17: "float8e4m3fn", 19: "float8e5m2", 21: "uint4", 22: "int4",
}  # fmt: skip
# The entry with the SHA-256 of the whole file, in which this value stands as zeros: bits that a disk or a copy turned
# are not taken for weights.
CHECKSUM = "sound_groove_checksum"
NO_CHECKSUM = "0" * 64
# Key (field 1) and value (field 2) of the entry; the metadata come after the graph.
_CHECKSUM_START = bytes([0x0A, len(CHECKSUM)]) + CHECKSUM.encode() + bytes([0x12, len(NO_CHECKSUM)])
Shape = list[int | str]  # a number of values, or the name of an axis that may have any


@dataclass(frozen=True)
class OnnxContent:
    """What an ONNX file says.

    Attributes:
        producer: the program that wrote it, with its version, as far as it says so.
        opsets: version of each set of operators, by its name.
        inputs: shape of what the model takes, by name.
        outputs: shape of what it gives, by name.
        values: how many numbers the file stores as weights and constants, by their type.
        metadata: its entries.
    """

    producer: str
    opsets: dict[str, int]
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    values: dict[str, int]
    metadata: dict[str, str]


def read_onnx(path: Path) -> OnnxContent:
    """Read what an ONNX file says.

    Raises:
        CheckpointError: the file is missing, damaged, or no ONNX file.
    """
    if not path.is_file():
        raise CheckpointError(f"{printable(str(path))}: there is no such model file")
    try:
        content = _model(np.memmap(path, dtype=np.uint8, mode="r").data)
    except OSError as error:
        raise CheckpointError(f"{printable(str(path))}: cannot be read: {error.strerror or error}") from None
    except (ValueError, IndexError, TypeError):
        raise CheckpointError(f"{printable(str(path))}: is damaged, truncated or not an ONNX file") from None
    return content


def with_checksum(content: bytes) -> bytes:
    """A file whose entry CHECKSUM is NO_CHECKSUM, with the checksum in its place."""
    start, end = _checksum_place(content)
    return content[:start] + _checksum(content, start, end).encode() + content[end:]


def check_content(path: Path) -> None:
    """Refuse a file that is not what was written; one without a checksum is believed.

    Raises:
        CheckpointError: it is not, or cannot be read.
    """
    name = printable(str(path))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read: {error.strerror or error}") from None
    start, end = _checksum_place(content)
    if start and content[start:end] != _checksum(content, start, end).encode():
        raise CheckpointError(f"{name}: is damaged: it is not what was written; restore it from a copy")


def _checksum_place(content: bytes) -> tuple[int, int]:
    """Where the checksum of a file begins and ends; zeros where it has none."""
    found = content.rfind(_CHECKSUM_START)
    start = found + len(_CHECKSUM_START)
    return (0, 0) if found < 0 else (start, start + len(NO_CHECKSUM))


def _checksum(content: bytes, start: int, end: int) -> str:
    digest, whole = hashlib.sha256(), memoryview(content)
    for part in (whole[:start], NO_CHECKSUM.encode(), whole[end:]):
        digest.update(part)
    return digest.hexdigest()


def _model(message: memoryview) -> OnnxContent:
    """A ModelProto.

    Raises:
        ValueError: it has no graph, or is damaged; then an IndexError or a TypeError too.
    """
    producer, opsets, metadata, graphs = ["", ""], {}, {}, []
    for number, value in _fields(message):
        if number in (2, 3):  # name and version
            producer[number - 2] = _text(value)
        elif number == 7:
            graphs.append(_bytes(value))
        elif number == 8:
            entry = dict(_fields(value))
            opsets[_text(entry.get(1))] = _integer(entry.get(2))
        elif number == 14:
            entry = dict(_fields(value))
            metadata[_text(entry.get(1))] = _text(entry.get(2))
    (graph,) = graphs
    inputs, outputs, values = _graph(graph)
    return OnnxContent(" ".join(producer).strip(), opsets, inputs, outputs, values, metadata)


def _graph(message: memoryview) -> tuple[dict[str, Shape], dict[str, Shape], dict[str, int]]:
    """Inputs, outputs and stored values of a GraphProto."""
    values: Counter[str] = Counter()
    stored, shapes = set(), {11: dict[str, Shape](), 12: dict[str, Shape]()}
    for number, value in _fields(message):
        if number == 1:  # a node: a constant has its tensor (5) in one of its attributes (5)
            for attribute in (inner for field, inner in _fields(value) if field == 5):
                for tensor in (inner for field, inner in _fields(attribute) if field == 5):
                    values.update(_tensor(tensor)[1])
        elif number == 5:  # an initializer
            name, counted = _tensor(value)
            stored.add(name)
            values.update(counted)
        elif number in shapes:
            name, shape = _value_info(value)
            shapes[number][name] = shape
    # Old files list their weights among the inputs too.
    inputs = {name: shape for name, shape in shapes[11].items() if name not in stored}
    return inputs, shapes[12], dict(values.most_common())


def _tensor(message: "int | memoryview | None") -> tuple[str, dict[str, int]]:
    """Name of a TensorProto, and how many values of what type it has."""
    name, kind, dimensions = "", 0, list[int]()
    for number, value in _fields(message):
        if number == 1:
            dimensions += [value] if isinstance(value, int) else _packed(_bytes(value))
        elif number == 2:
            kind = _integer(value)
        elif number == 8:
            name = _text(value)
    return name, {TYPES.get(kind, f"type {kind}"): math.prod(dimensions)}


def _value_info(message: "int | memoryview | None") -> tuple[str, Shape]:
    """Name and shape of a ValueInfoProto; of something that is no tensor the shape is empty."""
    info = dict(_fields(message))
    kind = dict(_fields(dict(_fields(info.get(2, memoryview(b"")))).get(1, memoryview(b""))))
    shape: Shape = []
    for _, dimension in _fields(kind.get(2, memoryview(b""))):
        found = dict(_fields(dimension))
        shape.append(_integer(found[1]) if 1 in found else _text(found.get(2)) or "?")
    return _text(info.get(1)), shape


def _fields(message: "int | memoryview | None") -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message: an integer or bytes.

    Raises:
        ValueError, IndexError, TypeError: it is damaged.
    """
    content, at = _bytes(message), 0
    while at < len(content):
        key, at = _varint(content, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(content, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"fields of kind {kind} are not used")
        if length > len(content) - at:
            raise ValueError("the field ends after the file")
        yield number, content[at : at + length]
        at += length


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """An integer of at most 64 bits, seven in a byte, the lowest first; and where the next field starts."""
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("the integer has no end")


def _packed(content: memoryview) -> list[int]:
    """Integers that follow each other."""
    found, at = [], 0
    while at < len(content):
        value, at = _varint(content, at)
        found.append(value)
    return found


def _bytes(value: "int | memoryview | None") -> memoryview:
    if not isinstance(value, memoryview):
        raise TypeError("bytes are expected")
    return value


def _text(value: "int | memoryview | None") -> str:
    return "" if value is None else bytes(_bytes(value)).decode("utf-8", "replace")


def _integer(value: "int | memoryview | None") -> int:
    if value is None:
        return 0
    if not isinstance(value, int):
        raise TypeError("an integer is expected")
    return value
