"""What may be given as a recording, and how it becomes a file that can be read from any place.

- a path, also of a named pipe or a process substitution (`/dev/fd/63`); the word `-` is the standard input;
- a part of a file, written as in a web address (W3C Media Fragments): `call.wav#t=12.5,20`; a channel of a file,
  `call.wav#2` (`channels`); or both, `call.wav#2#t=12.5,20`;
- the bytes of a file, or an open file;
- samples with their rate, (samples, rate) or (rate, samples), as soundfile, scipy and torchaudio give them.

A pipe has no end that one could look at, and decoders must go back and forth: it is read to its end first, into memory
and, where it is long, into a file without a name.
"""

import io
import os
import re
import select
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.channels import named_channel
from sound_groove.errors import AudioError, UsageError

STANDARD_INPUT = "-"
IN_MEMORY = 1 << 26  # bytes of a pipe that are kept in memory; more go into a file without a name
MOST_BYTES = 1 << 32  # of a pipe: what a wav can hold
STEP = 1 << 20  # bytes read at a time
WRITER_WAIT_S = 10  # for somebody to open the other end of a named pipe


class Readable(Protocol):
    """An open file."""

    def read(self, count: int, /) -> bytes:
        """At most so many bytes."""
        ...


PathLike: TypeAlias = str | os.PathLike[str]
# (samples, rate), in either order; the samples (T,), (T, C) or (C, T).
WithRate: TypeAlias = tuple[Any, Any]
AnyRecording: TypeAlias = PathLike | bytes | bytearray | memoryview | Readable | WithRate | NDArray[np.generic]
FORMS = "a path, the bytes of a file, an open file, or samples with their rate: (samples, 44100)"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a recording.

    Attributes:
        start_s: where it begins.
        end_s: where it ends; None for the end of the recording.
    """

    start_s: float
    end_s: float | None

    def word(self, path: str) -> str:
        """The part of a file as one word.

        >>> Part(12.5, 20.0).word("call.wav"), Part(3.0, None).word("call.wav")
        ('call.wav#t=12.5,20', 'call.wav#t=3')
        """
        return f"{path}#t={self.start_s:.12g}" + ("" if self.end_s is None else f",{self.end_s:.12g}")


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a recording.

    Attributes:
        name: for messages; None for what came from memory.
        file: can be read from any place, buffered.
        size: in bytes.
        part: what is wanted of it; None for the whole.
        channel: which channel its name asks for, from 1; None where it asks for none.
    """

    name: Path | None
    file: BinaryIO
    size: int
    part: Part | None = None
    channel: int | None = None


_PART = re.compile(r"#t=(\d+(?:\.\d+)?)?(?:,(\d+(?:\.\d+)?))?$")


def split_part(path: str) -> tuple[str, Part | None]:
    """A path, and which part of the file is meant; a file whose own name looks so is meant as a whole.

    >>> split_part("nowhere/call.wav#t=12.5,20")
    ('nowhere/call.wav', Part(start_s=12.5, end_s=20.0))
    >>> split_part("nowhere/call.wav")
    ('nowhere/call.wav', None)
    """
    found = _PART.search(path) if "#t=" in path else None
    if found is None or found.group(0) == "#t=" or os.path.lexists(path):
        return path, None
    start, end = found.groups()
    return path[: found.start()], Part(float(start or 0), None if end is None else float(end))


def split_name(name: str | os.PathLike[str]) -> tuple[Path, Part | None, int | None]:
    """The file that a name means, and which part and which channel of it.

    >>> split_name("nowhere/call.wav#2#t=3,7")
    (PosixPath('nowhere/call.wav'), Part(start_s=3.0, end_s=7.0), 2)
    """
    path, channel = named_channel(Path(os.fsdecode(name)))
    text, part = split_part(str(path))
    return Path(text), part, channel


def is_recording(given: object) -> bool:
    """Whether something is one recording, and not a collection of several.

    >>> is_recording("a.wav"), is_recording(b"RIFF"), is_recording((np.zeros(9), 8000)), is_recording(["a.wav"])
    (True, True, True, False)
    """
    if isinstance(given, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(given, "read"):
        return True
    return with_rate(given) is not None or (getattr(given, "ndim", None) == 1 and _holds_numbers(given))


def list_of(given: object) -> list[Any]:
    """Recordings of which one or several were given.

    Raises:
        UsageError: it is neither.

    >>> list_of("a.wav"), list_of(["a.wav", "b.wav"])
    (['a.wav'], ['a.wav', 'b.wav'])
    """
    if is_recording(given):
        return [given]
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise UsageError(f"a recording is {FORMS}, and several are a list of these; {described(given)} was given")
    return list(given)


def _holds_numbers(given: Any) -> bool:
    return getattr(getattr(given, "dtype", None), "kind", "f") in "fiu"


def with_rate(given: object) -> tuple[Any, Any] | None:
    """Samples and their rate, put in this order; None where something else was given."""
    if not isinstance(given, tuple) or len(given) != 2:
        return None
    first, second = given
    if _is_number(second) and not _is_number(first):
        return first, second
    if _is_number(first) and not _is_number(second):
        return second, first
    return None


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and (
        isinstance(value, int | float | np.number) or getattr(value, "shape", None) == ()
    )


@contextmanager
def opened(given: object) -> Iterator[Content]:
    """The bytes of a path, of bytes or of an open file.

    Raises:
        AudioError: there are none, or too many; or it is none of these.
        OSError: the system refuses.
    """
    if isinstance(given, bytes | bytearray | memoryview):
        data = bytes(given)
        yield Content(None, io.BytesIO(data), len(data))
    elif isinstance(given, str) and given.partition("#")[0] == STANDARD_INPUT and not os.path.lexists(given):
        _, part, channel = split_name(given)
        with _standard_input() as content:
            yield replace(content, part=part, channel=channel)
    elif isinstance(given, str | os.PathLike):
        with _path(given) as content:
            yield content
    elif hasattr(given, "read"):
        name = getattr(given, "name", None)
        path = Path(name) if isinstance(name, str) and name else None
        _rewind(given)
        with _spooled(path, given) as content:
            yield content
    else:
        raise AudioError(None, f"is {described(given)}, and a recording is {FORMS}")


def described(given: object) -> str:
    """What something is, in a few words, for a message that refuses it.

    >>> described(None), described({}), described([1]), described(3.0)
    ('None', 'a dict', 'a list', 'a float')
    """
    if given is None:
        return "None"
    name = type(given).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


@contextmanager
def _path(given: PathLike) -> Iterator[Content]:
    path, part, channel = split_name(given)
    try:
        status = path.stat()
    except ValueError as error:
        raise AudioError(path, "no such file; its name is not one that the system allows") from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(path, "is a folder, not a recording; name a file in it")
    if stat.S_ISREG(status.st_mode):
        with path.open("rb") as file:
            yield Content(path, file, os.fstat(file.fileno()).st_size, part, channel)
        return
    with _stream(path, status.st_mode) as stream, _spooled(path, stream) as content:
        yield replace(content, part=part, channel=channel)


def _stream(path: Path, mode: int) -> io.FileIO:
    """An open pipe, into which somebody writes."""
    if not stat.S_ISFIFO(mode):
        with path.open("rb", buffering=0) as device:
            if device.isatty() or device.read(1):
                raise AudioError(path, "is a device, not a recording; save the audio to a file, or pipe it")
        raise AudioError(path, "is empty: nothing came from it", code="empty")
    stream = io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    try:
        events = select.poll()
        events.register(stream, select.POLLIN)
        # Without a writer reading gives nothing at once, with one that is still silent it gives None.
        if not events.poll(WRITER_WAIT_S * 1000) and stream.read(1) == b"":
            raise AudioError(path, f"is a pipe, and nobody wrote into it for {WRITER_WAIT_S} s")
        os.set_blocking(stream.fileno(), True)
    except BaseException:
        stream.close()
        raise
    return stream


@contextmanager
def _standard_input() -> Iterator[Content]:
    name = Path("standard input")
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None or stream.closed:
        raise AudioError(name, "is closed; pipe a recording into it")
    if stream.isatty():
        raise AudioError(name, "is a terminal, and a recording was to come; pipe one into it")
    with _spooled(name, stream) as content:
        yield content


@contextmanager
def _spooled(name: Path | None, stream: Any) -> Iterator[Content]:
    """What comes out of a stream, as a file that can be read from any place."""
    with SpooledTemporaryFile(IN_MEMORY) as file:
        size = 0
        for piece in _pieces(name, stream):
            size += file.write(piece)
            if size > MOST_BYTES:
                raise AudioError(name, f"gives more than {MOST_BYTES >> 30} GiB; cut it into parts")
        if size == 0:
            raise AudioError(name, "is empty: nothing came out of it (a pipe can be read once only)", code="empty")
        file.seek(0)
        yield Content(name, file, size)  # type: ignore[arg-type]


def _pieces(name: Path | None, stream: Any) -> Iterator[bytes]:
    """The bytes of a stream; what kind of object it is, and what its `read` does, is not known."""
    while True:
        try:
            piece = stream.read(STEP)
        except Exception as error:
            raise AudioError(name, f"could not be read ({type(error).__name__}: {error})") from error
        if not isinstance(piece, bytes | bytearray | memoryview):
            close = getattr(piece, "close", None)  # of a coroutine, which would complain that nobody awaited it
            if callable(close):
                close()
            raise AudioError(name, f"gives {described(piece)} where bytes were expected; open it with 'rb'")
        if not piece:
            return
        yield bytes(piece)


def _rewind(stream: Any) -> None:
    """Go to the beginning of an open file that can go there: what was written to it a moment ago is to be read."""
    seekable = getattr(stream, "seekable", None)
    try:
        if callable(getattr(stream, "seek", None)) and (not callable(seekable) or seekable()):
            stream.seek(0)
    except (OSError, ValueError):
        pass  # reading says why
