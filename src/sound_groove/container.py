"""What a recording's file is, and whether it is whole, told from its structure without decoding.

The decoders (libsndfile and the libraries under it) are lenient: a wav that was cut off is silently shortened, a lost
Ogg page is silently skipped, and libmpg123 talks to the terminal about a damaged mp3. So the structure is checked
here first:

- wav, rf64, w64, aiff, au, caf, sphere: the header's promise of sample bytes against the bytes that the file has;
- ogg (opus, vorbis, flac): every page is there, its checksum is right, and the stream has its end page (RFC 3533);
- mp3: an unbroken chain of frames, as many as the encoder promises (see mpeg.py).

A flac file is not checked here: its frames can only be found by decoding, which also checks them.

What cannot be known: whether a wav, aiff or au written to a pipe is whole, because its sizes are placeholders.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sound_groove.errors import AudioError
from sound_groove.mpeg import MpegFrames, find_frames, frame_length

# Sizes that writers put in a header when they cannot go back to correct it: ffmpeg writes 0xFFFFFFFF, GStreamer a
# little less, sox 0x7FFFF000 rounded down to whole frames, others 0x7FFFFFFF. Such a size promises nothing.
UNKNOWN_SIZES = (range(0x7FFFE000, 0x80000000), range(0xFFFFF000, 0x100000000))

# Formats that people do have, and that the decoder cannot read: named, so that the message can say what to do.
FOREIGN = (
    (4, b"ftyp", "MP4 or M4A"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"#!AMR", "AMR"),
    (0, b"\x30\x26\xb2\x75", "WMA"),
    (0, b"FLV", "Flash video"),
    (8, b"AVI ", "AVI video"),
)
READABLE = "wav, flac, ogg, opus, mp3, aiff, au, caf, w64 or sphere"


@dataclass(frozen=True, slots=True)
class Container:
    """What a file was found to be.

    Attributes:
        kind: "wav", "rf64", "w64", "aiff", "au", "caf", "sphere", "flac", "ogg" or "mp3".
        mpeg: where the frames of an mp3 are, None for the others.
    """

    kind: str
    mpeg: MpegFrames | None = None


def check_container(path: Path, file: BinaryIO, size: int) -> Container:
    """The container that a file is, once its structure has been found whole.

    Args:
        path: the file's name, for messages.
        file: the file, opened for reading bytes, buffered.
        size: its length in bytes.

    Raises:
        AudioError: it is empty, not audio, audio of a kind that cannot be read, truncated, or damaged.
        OSError: it could not be read.
    """
    if size == 0:
        raise AudioError(path, "is empty (0 bytes)")
    start = skip_id3(file, size)
    kind = recognise(path, read_at(file, start, 64), size)
    if kind == "mp3":
        return Container(kind, find_frames(path, file, start, size))
    if kind == "ogg":
        check_ogg(path, file, start, size)
    elif kind != "flac":
        check_promise(path, kind, file, start, size)
    return Container(kind)


def recognise(path: Path, head: bytes, size: int) -> str:
    """The kind of container that the first bytes of a file announce; its name does not count.

    Raises:
        AudioError: none that can be read.
    """
    wave = head[8:12] == b"WAVE"
    if head[:4] in (b"RIFF", b"RIFX") and wave:
        return "wav"
    if head[:4] == b"RF64" and wave:
        return "rf64"
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return "w64"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    for magic, kind in ((b".snd", "au"), (b"dns.", "au"), (b"caff", "caf"), (b"NIST_1A", "sphere"), (b"fLaC", "flac")):
        if head.startswith(magic):
            return kind
    if head.startswith(b"OggS"):
        return "ogg"
    for offset, magic, name in FOREIGN:
        if head[offset:].startswith(magic):
            raise AudioError(path, f"is {name}, which cannot be read; convert it first: ffmpeg -i INPUT OUTPUT.wav")
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        raise AudioError(path, "is AAC, which cannot be read; convert it first: ffmpeg -i INPUT OUTPUT.wav")
    if frame_length(head[:4]) > 0:
        return "mp3"
    if size < 44 and any(magic.startswith(head[:4]) for magic in (b"RIFF", b"OggS", b"fLaC", b"FORM")):
        raise AudioError(path, f"is truncated: it ends within its header, after {size} bytes; copy it again")
    raise AudioError(path, f"is not audio ({READABLE})")


# Chunked formats: where the samples are, and how many bytes of them the header promises.


def check_promise(path: Path, kind: str, file: BinaryIO, start: int, size: int) -> None:
    """Check that a file has the bytes of samples that its header promises.

    Raises:
        AudioError: it has fewer, or its header was never finished.
    """
    if kind == "au":
        promise = _promise_of_au(file, start)
    elif kind == "sphere":
        promise = _promise_of_sphere(file, start)
    else:
        promise = _promise_of_chunks(path, kind, file, start, size)
    if promise is None:
        return
    begin, wanted = promise
    there = size - begin
    if wanted > there:
        raise AudioError(
            path,
            f"is truncated: its header promises {wanted:,} bytes of samples, the file has {there:,}; copy it again",
        )


def _promise_of_chunks(path: Path, kind: str, file: BinaryIO, start: int, size: int) -> tuple[int, int] | None:
    """First byte of the samples and how many bytes are promised; None where nothing is."""
    order = ">" if kind in ("aiff", "caf") or read_at(file, start, 4) == b"RIFX" else "<"
    wide = 0  # the 64-bit length of the samples that RF64 keeps in a chunk of its own
    for name, begin, length in _chunks(kind, order, file, start, size):
        if name == b"ds64":
            wide = struct.unpack("<Q", read_at(file, begin + 8, 8).ljust(8, b"\0"))[0]
        elif name in (b"data", b"SSND"):
            if kind == "rf64" and length == 0xFFFFFFFF:
                return None if wide in (0, 2**64 - 1) else (begin, wide)
            riff_end = start + 8 + struct.unpack(order + "I", read_at(file, start + 4, 4))[0]
            if length == 0 and kind == "wav" and riff_end <= begin < size:
                raise AudioError(
                    path,
                    f"has a header that was never finished: it says 0 bytes of samples, {size - begin:,} follow; "
                    "repair it: ffmpeg -i INPUT OUTPUT.wav",
                )
            unknown = length <= 0 or any(length in sizes for sizes in UNKNOWN_SIZES)
            return None if unknown else (begin, length)
        elif begin + length > size:
            raise AudioError(path, "is truncated or damaged: it ends within its header; copy it again")
    return None  # no samples: the decoder says why


def _chunks(kind: str, order: str, file: BinaryIO, start: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and length of each chunk of a file made of chunks."""
    # Bytes before the first chunk, bytes of a chunk's name, format of its length, alignment of chunks.
    first, name_bytes, number, alignment = {"caf": (8, 4, "q", 1), "w64": (40, 16, "Q", 8)}.get(kind, (12, 4, "I", 2))
    header_bytes = name_bytes + struct.calcsize("<" + number)
    position = start + first
    while position + header_bytes <= size:
        header = read_at(file, position, header_bytes)
        length = struct.unpack(order + number, header[name_bytes:])[0]
        if kind == "w64":  # here, a chunk's length counts its header
            length -= header_bytes
        yield header[:4], position + header_bytes, length
        if length < 0:
            return
        end = position + header_bytes + length
        position = end + (start - end) % alignment


def _promise_of_au(file: BinaryIO, start: int) -> tuple[int, int] | None:
    header = read_at(file, start, 12)
    if len(header) < 12:
        return None
    begin, length = struct.unpack(">II" if header[:4] == b".snd" else "<II", header[4:])
    return None if length in (0, 0xFFFFFFFF) else (start + begin, length)


def _promise_of_sphere(file: BinaryIO, start: int) -> tuple[int, int] | None:
    words = [line.split() for line in read_at(file, start, 1024).decode("ascii", "replace").splitlines()]
    fields = {line[0]: line[2] for line in words if len(line) == 3}
    header_bytes = words[1][0] if len(words) > 1 and words[1] else ""
    counts = [fields.get(name, "") for name in ("sample_count", "channel_count", "sample_n_bytes")]
    if fields.get("sample_coding", "pcm") not in ("pcm", "ulaw", "alaw"):
        return None
    if not all(number.isascii() and number.isdigit() for number in (header_bytes, *counts)):
        return None
    return start + int(header_bytes), int(counts[0]) * int(counts[1]) * int(counts[2])


# Ogg: pages.

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check_ogg(path: Path, file: BinaryIO, start: int, size: int) -> None:
    """Check that all pages of an Ogg file are there and unharmed, and that each stream has its end page.

    Raises:
        AudioError: the file is truncated or damaged.
    """
    position = start
    streams: dict[int, tuple[int, bool]] = {}  # serial number -> sequence number of its last page, whether it has ended
    while position < size:
        header = read_at(file, position, 27)
        if len(header) == 27 and header[:4] != b"OggS":
            if all(ended for _, ended in streams.values()):
                return  # something else follows the audio, such as a tag
            raise AudioError(path, f"is damaged: no Ogg page at byte {position:,}; copy it again")
        sizes = read_at(file, position + 27, header[26]) if len(header) == 27 else b""
        length = 27 + len(sizes) + sum(sizes)
        if len(header) < 27 or len(sizes) < header[26] or position + length > size:
            raise AudioError(path, "is truncated: its last Ogg page is cut off; copy it again")
        flags, _, serial, sequence, checksum = struct.unpack("<xBqIII", header[4:26])
        page = header[:22] + bytes(4) + header[26:] + read_at(file, position + 27, length - 27)
        if ogg_checksum(page) != checksum:
            raise AudioError(path, f"is damaged: the Ogg page at byte {position:,} fails its checksum; copy it again")
        begins = bool(flags & 2)
        if begins and streams and all(ended for _, ended in streams.values()):
            # libsndfile would read the first and say nothing.
            raise AudioError(
                path,
                "holds several Ogg recordings one after another; join them into one: ffmpeg -i INPUT OUTPUT.wav",
            )
        if not begins and sequence != streams.get(serial, (-1, False))[0] + 1:
            raise AudioError(path, f"is damaged: Ogg pages are missing before byte {position:,}; copy it again")
        streams[serial] = (sequence, bool(flags & 4))
        position += length
    if not all(ended for _, ended in streams.values()):
        raise AudioError(path, "is truncated: its Ogg stream has no end page; copy or record it again")


def ogg_checksum(page: bytes) -> int:
    """The checksum of an Ogg page whose checksum field is zero (RFC 3533, section 6).

    Ogg's CRC-32 has zlib's polynomial but the other bit order, and neither initial nor final inversion: with the bits
    of every byte reversed, zlib computes it at the speed of C.
    """
    crc = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED_BITS), "big")


def skip_id3(file: BinaryIO, size: int) -> int:
    """First byte after the ID3v2 tags at the start of a file (music programs put them before mp3 and flac)."""
    position = 0
    while position < size:
        header = read_at(file, position, 10)
        if len(header) < 10 or header[:3] != b"ID3" or max(header[6:10]) > 127:
            break
        length = header[6] << 21 | header[7] << 14 | header[8] << 7 | header[9]
        position += 10 + length + (10 if header[5] & 0x10 else 0)
    return position


def read_at(file: BinaryIO, position: int, count: int) -> bytes:
    """Up to `count` bytes from a position, fewer at the end of the file."""
    file.seek(position)
    return file.read(count)
