"""The program of a worker process: recordings in by a pipe, samples and their quality out by another.

It runs for a service that does not trust what it is sent: limited in memory, processor time and files, without core
dumps, and under no name that a client chose. A recording lies in memory while it is decoded (a file without a name on
Linux, in a private folder elsewhere). The length that the header promises is checked before anything is decoded, and
where it promises none, decoding stops at the limit. FFmpeg is loaded before the first recording comes.

A message is FRAME (two lengths), then JSON, then raw bytes.
"""

import json
import math
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.media.ffmpeg import has_media, import_media
from sound_groove.audio.quality import assess
from sound_groove.audio.reading import read_recording
from sound_groove.errors import AudioError
from sound_groove.json_reading import parse_json

Buffer = bytes | memoryview
FRAME = struct.Struct("!IQ")  # bytes of JSON, bytes after it
OPEN_FILES = 64
STATM = Path("/proc/self/statm")


def main() -> None:
    """Serve the pipes until they are closed.

    The first argument is JSON: duration_s, decode_s, memory_bytes and file_bytes.
    """
    limits = parse_json(sys.argv[1])
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):  # what a decoder prints must not get between the messages
        os.dup2(nowhere, descriptor)
    confine(limits["memory_bytes"], limits["file_bytes"])
    if has_media():
        import_media()
    assess(np.random.default_rng(0).random(SAMPLE_RATE, np.float32), SAMPLE_RATE)  # loads the detector of speech
    write_message(answers, {"ready": os.getpid()})
    os.dup2(nowhere, 2)  # decoders write there what a stranger's file makes them say
    while True:
        head = requests.read(FRAME.size)
        if len(head) < FRAME.size:
            return
        text, length = FRAME.unpack(head)
        asked = parse_json(requests.read(text))
        allow_processor(limits["decode_s"])
        fields, samples = answer(requests.read(length), limits["duration_s"], asked["channel"], asked["judged"])
        write_message(answers, {**fields, "resident_bytes": resident_bytes()}, samples)


def answer(
    content: bytes, duration_s: float, channel: int | None = None, judged: bool = True
) -> tuple[dict[str, Any], Buffer]:
    """What became of a recording: its quality and its samples (float32), or a clause that says why it is refused.

    Args:
        content: of an audio file.
        duration_s: the most that it may last.
        channel: which one to listen to, counted from 1; None averages all.
        judged: tell its quality; without, whoever asks finds that out.
    """
    try:
        with held(content) as path:
            recording = read_recording(path, channel, duration_s)
        quality = assess(recording.samples, recording.source_sample_rate) if judged else None
    except AudioError as error:
        return {"refused": error.reason, "code": error.code, "values": error.values}, b""
    except MemoryError:
        return {"refused": "needs more memory than is allowed here", "code": "too_large", "values": {}}, b""
    return {
        "sample_rate": recording.source_sample_rate,
        "channels": asdict(recording.channels),
        "warnings": [asdict(warning) for warning in recording.warnings],
        "quality": None if quality is None else asdict(quality),
    }, recording.samples.astype("<f4", copy=False).data.cast("B")


@contextmanager
def held(content: bytes) -> Iterator[Path]:
    """A path under which content can be read while the block runs, and never again."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("recording", os.MFD_CLOEXEC), "wb", buffering=0) as file:
            _write_all(file, content)
            yield Path(f"/proc/self/fd/{file.fileno()}")
        return
    with tempfile.TemporaryDirectory(prefix="sound-groove-") as folder:
        path = Path(folder) / "recording"
        path.write_bytes(content)
        yield path


def _write_all(file: Any, content: bytes) -> None:
    """Write to a file without a buffer, which may take a part at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def confine(memory_bytes: int, file_bytes: int) -> None:
    """Bound what this process may take: memory for data, size and number of files, no core dump."""
    if sys.platform == "win32":
        return
    import resource

    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_DATA: memory_bytes,
    }
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))


def allow_processor(seconds: float) -> None:
    """End this process when it computes for much longer than a recording may take, should nobody be there to end it."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + 2 * seconds + 2)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def resident_bytes() -> int:
    """Memory that this process takes; 0 where the system does not say."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def write_message(stream: BinaryIO, fields: dict[str, Any], payload: Buffer = b"") -> None:
    """Send a message."""
    text = json.dumps(fields).encode()
    stream.write(FRAME.pack(len(text), len(payload)))
    stream.write(text)
    stream.write(payload)
    stream.flush()


if __name__ == "__main__":
    main()
