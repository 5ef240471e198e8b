"""Uploads: a multipart form read into memory, never beyond its limit, and never onto a disk.

The parser is python-multipart's; what it finds is kept in memory, since the usual spooling would write recordings of
people into a folder for temporary files.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from sound_groove.errors import RequestError, printable
from sound_groove.service.limits import MEGABYTE, Limits

LONGEST_TEXT = 16_384  # bytes of a field that is no recording
LONGEST_FILE_NAME = 100  # characters
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")


class Holder(Protocol):
    """Who accounts for the memory of an upload."""

    def add(self, count: int) -> None:
        """So many bytes more lie in memory; raises RequestError (429) where there is no room for them."""
        ...


@dataclass(slots=True)
class Part:
    """One part of a form.

    Attributes:
        name: of the field.
        file_name: what the client calls the file; empty where it does not say.
        content: its bytes.
    """

    name: str = ""
    file_name: str = ""
    content: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class FormShape:
    """What a route's form may have.

    Attributes:
        files: names of recordings, each with how many may come.
        texts: names of other fields, each of which may come once.
    """

    files: Mapping[str, int]
    texts: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all fields."""
        return (*self.files, *self.texts)


class Form:
    """A form that was read.

    Args:
        parts: in the order in which they came.
    """

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts

    def has(self, name: str) -> bool:
        """Whether a field came."""
        return any(part.name == name for part in self._parts)

    def recordings(self, name: str) -> list[Part]:
        """The recordings of a field, at least one.

        Raises:
            RequestError: 400: there is none.
        """
        found = [part for part in self._parts if part.name == name]
        if not found:
            raise malformed(f"the form has no recording '{name}'; send one as multipart/form-data, field '{name}'")
        return found

    def text(self, name: str) -> str | None:
        """A field's text; None where it did not come.

        Raises:
            RequestError: 400: it is not UTF-8.
        """
        for part in self._parts:
            if part.name == name:
                try:
                    return part.content.decode("utf-8")
                except UnicodeDecodeError:
                    raise malformed(f"the field '{name}' is not UTF-8") from None
        return None

    def number(self, name: str, default: float) -> float:
        """A field's number.

        Raises:
            RequestError: 400: it is none.
        """
        text = self.text(name)
        try:
            return default if text is None else float(text)
        except ValueError:
            raise malformed(f"the field '{name}' needs a number; '{_short(text)}' was given") from None

    def integer(self, name: str, default: int) -> int:
        """A field's whole number.

        Raises:
            RequestError: 400: it is none.
        """
        text = self.text(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise malformed(f"the field '{name}' needs a whole number; '{_short(text)}' was given")
        return int(text)

    def flag(self, name: str) -> bool:
        """A field that is true or false; false where it did not come.

        Raises:
            RequestError: 400: it is neither.
        """
        text = (self.text(name) or "").strip().lower()
        if text not in TRUE + FALSE:
            raise malformed(f"the field '{name}' is true or false; '{_short(text)}' was given")
        return text in TRUE


def malformed(message: str) -> RequestError:
    """The refusal (400) of what cannot be understood."""
    return RequestError(400, "malformed", message)


def check_declared_length(headers: Mapping[str, str], limits: Limits) -> None:
    """Refuse a body that is too long by its own header.

    Raises:
        RequestError: 413.
    """
    text = headers.get("content-length", "")
    if text.isascii() and text.isdigit() and int(text) > limits.upload_bytes:
        raise _too_large(limits)


async def read_form(
    headers: Mapping[str, str], stream: AsyncIterator[bytes], shape: FormShape, limits: Limits, holding: Holder
) -> Form:
    """Read a form.

    Args:
        headers: of the request, by names in lower case.
        stream: gives the body in pieces.
        shape: what may be in it.
        limits: how long it may be, and take.
        holding: accounts for the memory.

    Raises:
        RequestError: 400: it is no such form; 408: it took too long; 413: it is too long; 415: it is another kind of
            body; 429: there is no room for it.
    """
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise RequestError(415, "unsupported_media_type", "send the recordings as multipart/form-data")
    boundary = options.get(b"boundary")
    if not boundary:
        raise malformed("the multipart form has no boundary")
    check_declared_length(headers, limits)
    collector = _Collector(shape)
    length = 0
    try:
        parser = MultipartParser(boundary, collector.callbacks())  # type: ignore[arg-type]
        async with asyncio.timeout(limits.reading_s):
            async for piece in stream:
                length += len(piece)
                if length > limits.upload_bytes:
                    raise _too_large(limits)
                holding.add(len(piece))  # not what was promised: promises cost a client nothing
                parser.write(piece)
        parser.finalize()
    except TimeoutError:
        raise RequestError(408, "too_slow", f"the request took more than {limits.reading_s:g} s to arrive") from None
    except FormParserError:
        raise malformed("the multipart form is damaged") from None
    if not collector.ended:
        raise malformed("the multipart form is cut off: its last boundary is missing")
    return Form(collector.parts)


class _Collector:
    """Takes what the parser finds.

    Attributes:
        parts: as far as they came.
        ended: the last boundary came.
    """

    def __init__(self, shape: FormShape) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._shape = shape
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""

    def callbacks(self) -> dict[str, object]:
        """As the parser wants them."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._name,
            "on_part_data": self._take,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._disposition = b""

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _name(self) -> None:
        """Judge a part by its header, before its content comes."""
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise malformed("a part of the form has no name")
        name = options[b"name"].decode("utf-8", "replace")
        if name not in self._shape.names:
            known = ", ".join(self._shape.names)
            raise malformed(f"the form has a field '{_short(name)}'; this address takes {known}")
        most = self._shape.files.get(name, 1)
        if sum(part.name == name for part in self.parts) >= most:
            raise malformed(f"the field '{name}' may come {'once' if most == 1 else f'{most} times'}")
        self.parts.append(Part(name, shown_file_name(options.get(b"filename", b""))))

    def _take(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        part.content += memoryview(data)[start:end]
        if part.name in self._shape.texts and len(part.content) > LONGEST_TEXT:
            raise malformed(f"the field '{part.name}' is longer than {LONGEST_TEXT:,} bytes")

    def _end(self) -> None:
        self.ended = True


def shown_file_name(given: bytes) -> str:
    r"""What warnings may call a file that a client named: its last part, printable and short; perhaps empty.

    >>> shown_file_name(rb"C:\Users\kim\a.wav"), shown_file_name(b"../../etc/passwd\n"), shown_file_name(b"..")
    ('a.wav', 'passwd\\n', '')
    """
    name = given.decode("utf-8", "replace").replace("\\", "/").rsplit("/", 1)[-1]
    return "" if name.strip(". ") == "" else printable(name[:LONGEST_FILE_NAME])


def _too_large(limits: Limits) -> RequestError:
    most = limits.upload_bytes / MEGABYTE
    return RequestError(413, "upload_too_large", f"a request may have {most:g} MB in all; send less audio, or as flac")


def _short(text: str | None) -> str:
    return printable((text or "")[:40])
