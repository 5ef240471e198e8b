"""Files that mean ill, made from a seed: what benchmarks/hostile.py sends to a running service.

Whole recordings (wav in three codings, flac, ogg, opus, mp3) of a few seconds, of the examples of the checkout, are
cut, bent and joined; pages of Ogg get right checksums again, so that what was bent reaches the decoder.
"""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sound_groove.audio.formats.container import ogg_checksum
from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS = 2
CODINGS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "alaw.wav": ("WAV", "ALAW"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
HEADER_BYTES = 128
EXTREMES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\x01\0\0\0", b"\0\0\0\x01")
NAMES = (
    "{0}.wav",
    "{0}.mp3",
    "{0}.exe",
    "../../{0}",
    "{0}.flac\r\nX: y",
    "",
    "{0}" * 30,
    "\u202e{0}\x00.ogg",
    "{0}.raw",
)
TYPES = ("audio/wav", "text/html", "application/zip", "image/gif", "", "multipart/mixed", "audio/ogg; codecs=\xff")


@dataclass(frozen=True, slots=True)
class HostileFile:
    """A file, and what the client says that it is.

    Attributes:
        family: what was done to it.
        content: its bytes.
        name: of the file.
        kind: its content type.
    """

    family: str
    content: bytes
    name: str
    kind: str


def encoded(samples: NDArray[np.floating], coding: str, rate: int = SAMPLE_RATE) -> bytes:
    """The bytes of a file of samples (T,) or (T, C)."""
    file_format, subtype = CODINGS[coding]
    stream = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(stream, "w", rate, channels, subtype, format=file_format) as file:
        for start in range(0, len(samples), 8192):  # libsndfile's Vorbis encoder overruns its stack on large writes
            file.write(samples[start : start + 8192])
    return stream.getvalue()


def whole_files() -> dict[str, list[bytes]]:
    """Every coding of every example."""
    clips = [load_audio(path)[: SECONDS * SAMPLE_RATE] for path in sorted(EXAMPLES.glob("*.flac"))]
    return {coding: [encoded(clip, coding) for clip in clips] for coding in CODINGS}


def hostile_files(count: int, seed: int, token: str) -> Iterator[HostileFile]:
    """Files, drawn from a seed.

    Args:
        count: how many.
        seed: of all draws.
        token: is in every file's name, so that it can be looked for where no name may be.
    """
    rng = np.random.default_rng(seed)
    whole = whole_files()
    codings = list(whole)
    for _ in range(count):
        coding = codings[rng.integers(len(codings))]
        family = FAMILIES[rng.integers(len(FAMILIES))]
        files = whole[coding]
        content = family(files[rng.integers(len(files))], whole, rng)
        if rng.random() < 0.5:
            content = with_checksums(content)
        name, kind = NAMES[rng.integers(len(NAMES))], TYPES[rng.integers(len(TYPES))]
        yield HostileFile(family.__name__, content, name.format(token), kind)


Bend = Callable[[bytes, dict[str, list[bytes]], np.random.Generator], bytes]


def cut(content: bytes, whole: dict[str, list[bytes]], rng: np.random.Generator) -> bytes:
    """Ends within its header, or anywhere, or a few bytes too early."""
    most = (HEADER_BYTES, len(content), 16)[rng.integers(3)]
    at = int(rng.integers(most))
    return content[:-at] if most == 16 and at else content[:at]


def flipped_in_header(content: bytes, whole: dict[str, list[bytes]], rng: np.random.Generator) -> bytes:
    """Some bits of the first bytes are wrong."""
    return _flipped(content, rng, HEADER_BYTES)


def flipped_in_body(content: bytes, whole: dict[str, list[bytes]], rng: np.random.Generator) -> bytes:
    """Some bits are wrong anywhere."""
    return _flipped(content, rng, len(content))


def extreme_numbers(content: bytes, whole: dict[str, list[bytes]], rng: np.random.Generator) -> bytes:
    """Sizes, rates or counts of the header are very large, negative or none."""
    found = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(4, HEADER_BYTES))
        value = EXTREMES[rng.integers(len(EXTREMES))]
        width = len(value) if len(value) > 1 else int(rng.choice([1, 2, 4, 8]))
        found[at : at + width] = value if len(value) > 1 else value * width
    return bytes(found)


def block_moved(content: bytes, whole: dict[str, list[bytes]], rng: np.random.Generator) -> bytes:
    """A block is missing, twice there, zero, or noise."""
    start = int(rng.integers(len(content)))
    end = min(len(content), start + int(2 ** rng.uniform(0, 14)))
    block = content[start:end]
    instead = (b"", block * 2, bytes(len(block)), rng.bytes(len(block)))[rng.integers(4)]
    return content[:start] + instead + content[end:]


def spliced(content: bytes, whole: dict[str, list[bytes]], rng: np.random.Generator) -> bytes:
    """The start of one file, and the end of another of any coding."""
    other = whole[list(whole)[rng.integers(len(whole))]][0]
    head = (HEADER_BYTES, len(content))[rng.integers(2)]
    return content[: rng.integers(1, head)] + other[rng.integers(len(other)) :]


def joined(content: bytes, whole: dict[str, list[bytes]], rng: np.random.Generator) -> bytes:
    """Two files one after the other, or a tag, an archive or a page around one."""
    other = whole[list(whole)[rng.integers(len(whole))]][0]
    tag = b"ID3\x04\0\0" + bytes([0, 0, int(rng.integers(128)), int(rng.integers(128))])
    around = (other, b"PK\x03\x04" + bytes(26), b"<html><script>alert(1)</script>", tag, tag + bytes(300), b"\0" * 4096)
    piece = around[rng.integers(len(around))]
    return piece + content if rng.random() < 0.5 else content + piece


def no_audio(content: bytes, whole: dict[str, list[bytes]], rng: np.random.Generator) -> bytes:
    """Something else altogether, or the first bytes of a recording before noise."""
    kinds = (
        b"GIF89a" + rng.bytes(500),
        b"PK\x03\x04" + rng.bytes(500),
        b"<!DOCTYPE html><html></html>",
        b"\x1a\x45\xdf\xa3" + rng.bytes(500),
        b"%PDF-1.7\n" + rng.bytes(200),
        rng.bytes(int(rng.integers(5000))),
        bytes(int(rng.integers(5000))),
        content[: rng.integers(4, 64)] + rng.bytes(5000),
        "RIFF".encode("utf-16") * 50,
    )
    return kinds[rng.integers(len(kinds))]


def strange_samples(content: bytes, whole: dict[str, list[bytes]], rng: np.random.Generator) -> bytes:
    """A float wav with samples that are no numbers, or beyond any scale, or all but nothing."""
    samples = load_audio(EXAMPLES / "awb-1.flac")[: SECONDS * SAMPLE_RATE].copy()
    values = np.array([np.nan, np.inf, -np.inf, 1e38, 1e-45, 1e9, -0.0, 2.0**31, 1e-30], np.float32)
    value = values[rng.integers(len(values))]
    if rng.random() < 0.3:
        with np.errstate(all="ignore"):
            samples = samples * value
    else:
        samples[rng.integers(len(samples), size=int(10 ** rng.uniform(0, 4)))] = value
    with np.errstate(all="ignore"):
        return encoded(samples.astype(np.float32), "float.wav")


def whole_under_another_name(content: bytes, whole: dict[str, list[bytes]], rng: np.random.Generator) -> bytes:
    """As it was."""
    return content


FAMILIES: tuple[Bend, ...] = (
    cut, flipped_in_header, flipped_in_body, extreme_numbers, block_moved, spliced, joined, no_audio, strange_samples,
    whole_under_another_name,
)  # fmt: skip


def _flipped(content: bytes, rng: np.random.Generator, within: int) -> bytes:
    found = bytearray(content)
    for at in rng.integers(min(within, len(found)), size=int(2 ** rng.uniform(0, 6))):
        found[at] ^= 1 << int(rng.integers(8))
    return bytes(found)


def with_checksums(content: bytes) -> bytes:
    """The same, with every page of Ogg that can be found under its right checksum."""
    found, position = bytearray(content), 0
    while found[position : position + 4] == b"OggS" and position + 27 <= len(found):
        sizes = found[position + 27 : position + 27 + found[position + 26]]
        end = position + 27 + len(sizes) + sum(sizes)
        found[position + 22 : position + 26] = bytes(4)
        found[position + 22 : position + 26] = struct.pack("<I", ogg_checksum(bytes(found[position:end])))
        position = end
    return bytes(found)
