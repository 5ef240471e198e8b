"""Ogg files (opus, vorbis, flac): whether their pages are all there and unharmed, and which of their streams is sound.

Phones and call recorders leave out the mark of the last page, so that a stream without one is read to its last whole
page. A file that was cut between two pages cannot be told from it; one that was cut within a page is truncated.
"""

import struct
import zlib
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from sound_groove.audio.formats.spliced import Piece, SplicedFile, read_at
from sound_groove.audio.formats.tags import TAGS
from sound_groove.errors import AudioError, ForeignFormatError

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
BEGINS, ENDS = 2, 4  # flags of a page
NO_PACKET = b"\xff" * 8  # in place of a position: no packet ends on the page
FLAC = b"\x7fFLAC"
SOUND = (b"\x01vorbis", b"OpusHead", FLAC)  # how the streams begin that the decoder knows
FOREIGN = (
    (b"Speex   ", "Speex"),
    (b"CELT    ", "CELT"),
    (b"PCM     ", "OggPCM"),
    (b"\x80theora", "Theora video"),
    (b"BBCD\0", "Dirac video"),
    (b"\x01video\0", "OGM video"),
    (b"OVP80\x01", "VP8 video"),
)
FLAC_HEADER_BYTES = 9  # before the native stream's first bytes, in the first packet


@dataclass(slots=True)
class OggStream:
    """One stream of an Ogg file.

    Attributes:
        head: its first bytes, which tell its codec.
        sequence: the number of its last page.
        has_ended: that page bears the mark of the end.
        has_sound: a page counts samples, or a packet's beginning.
        places: where its pages are, and how long: two numbers each.
    """

    head: bytes
    sequence: int = -1
    has_ended: bool = False
    has_sound: bool = False
    places: "array[int]" = field(default_factory=lambda: array("Q"))

    @property
    def is_sound(self) -> bool:
        """It holds sound that the decoder knows."""
        return self.head.startswith(SOUND)


def read_ogg(path: Path, file: BinaryIO, start: int, size: int) -> SplicedFile | None:
    """Check the pages of an Ogg file.

    Returns:
        What the decoder is to be given; None where that is the file itself.

    Raises:
        AudioError: the file is truncated, damaged, or holds something else than one recording of a known codec.
    """
    streams = _walk(path, file, start, size)
    sounds = [stream for stream in streams if stream.is_sound]
    if not sounds:
        raise _refusal(path, streams)
    if len(sounds) > 1:
        raise AudioError(
            path, f"holds {len(sounds)} recordings side by side; take one out: ffmpeg -i INPUT -map 0:a:0 OUTPUT.wav"
        )
    (sound,) = sounds
    if not sound.has_sound and not sound.has_ended:
        raise AudioError(
            path, "is truncated: it ends after the headers of its Ogg stream; copy it again", code="damaged"
        )
    if sound.head.startswith(FLAC):
        return _native_flac(file, sound)
    if len(streams) == 1 and start == 0 and sound.has_ended:
        return None
    return _with_end(file, sound)


def _with_end(file: BinaryIO, sound: OggStream) -> SplicedFile:
    """The pages of a stream up to the last one that ends a packet, which gets the mark of the end.

    Without it, a decoder may take what the last page says of the sound's end for damage.
    """
    places = [(at, at + length) for at, length in zip(sound.places[::2], sound.places[1::2], strict=True)]
    while len(places) > 1 and read_at(file, places[-1][0] + 6, 8) == NO_PACKET:
        places.pop()
    begin, end = places.pop()
    last = read_at(file, begin, end - begin)
    bare = last[:5] + bytes((last[5] | ENDS,)) + last[6:22] + bytes(4) + last[26:]
    return SplicedFile(file, [*places, bare[:22] + struct.pack("<I", ogg_checksum(bare)) + bare[26:]])


def _walk(path: Path, file: BinaryIO, start: int, size: int) -> list[OggStream]:
    """Every stream, once its pages have been found whole."""
    position = start
    streams: dict[int, OggStream] = {}  # by serial number
    while position < size:
        header = read_at(file, position, 27)
        if len(header) == 27 and header[:4] != b"OggS":
            has_ended = all(stream.has_ended for stream in streams.values())
            if has_ended or header.startswith(TAGS) or not header.strip(b"\0"):
                break  # something else follows the audio, such as a tag
            raise AudioError(path, f"is damaged: no Ogg page at byte {position:,}; copy it again", code="damaged")
        sizes = read_at(file, position + 27, header[26]) if len(header) == 27 else b""
        length = 27 + len(sizes) + sum(sizes)
        if len(header) < 27 or len(sizes) < header[26] or position + length > size:
            raise AudioError(path, "is truncated: its last Ogg page is cut off; copy it again", code="damaged")
        content = read_at(file, position + 27 + len(sizes), sum(sizes))
        checksum = int.from_bytes(header[22:26], "little")
        if ogg_checksum(header[:22] + bytes(4) + header[26:] + sizes + content) != checksum:
            raise AudioError(
                path, f"is damaged: the Ogg page at byte {position:,} fails its checksum; copy it again", code="damaged"
            )
        _take_page(path, streams, header, content, (position, length))
        position += length
    return list(streams.values())


def _take_page(
    path: Path, streams: dict[int, OggStream], header: bytes, content: bytes, place: tuple[int, int]
) -> None:
    """Remember a page under its stream."""
    flags, granule, serial, sequence = struct.unpack("<xBqII", header[4:22])
    begins = bool(flags & BEGINS)
    if begins and any(stream.sequence > 0 or stream.has_ended for stream in streams.values()):
        # libsndfile would read the first and say nothing.
        raise AudioError(
            path, "holds several Ogg recordings one after another; join them into one: ffmpeg -i INPUT OUTPUT.wav"
        )
    stream = streams.get(serial)
    if stream is None:
        stream = streams[serial] = OggStream(content[:16])
    if stream.has_ended:
        raise AudioError(
            path, f"is damaged: Ogg pages follow the last one, from byte {place[0]:,} on; copy it again", code="damaged"
        )
    if not begins and sequence != stream.sequence + 1:
        raise AudioError(
            path, f"is damaged: Ogg pages are missing before byte {place[0]:,}; copy it again", code="damaged"
        )
    stream.sequence = sequence
    stream.has_ended = bool(flags & ENDS)
    stream.has_sound = stream.has_sound or granule != 0
    stream.places.extend(place)


def _refusal(path: Path, streams: list[OggStream]) -> AudioError:
    """Why a file without a stream that the decoder knows is refused."""
    for stream in streams:
        for magic, name in FOREIGN:
            if stream.head.startswith(magic):
                return ForeignFormatError(path, f"{name} inside an Ogg file")
    reason = "is an Ogg file without sound, or with sound of an unknown codec; convert it again"
    return AudioError(path, reason, code="foreign_format")


def _native_flac(file: BinaryIO, stream: OggStream) -> SplicedFile:
    """The packets of a flac stream one after another, which is what a flac file is: libsndfile reads few of the others.

    What pages hold is in order, however packets are cut by them (RFC 9639, section 10.1).
    """
    pieces: list[Piece] = []
    for at, length in zip(stream.places[::2], stream.places[1::2], strict=True):
        head = 27 + read_at(file, at + 26, 1)[0]
        pieces.append((at + head, at + length))
    first, end = pieces[0]
    pieces[0] = (int(first) + FLAC_HEADER_BYTES, int(end))
    return SplicedFile(file, pieces)


def ogg_checksum(page: bytes) -> int:
    """The checksum of an Ogg page whose checksum field is zero (RFC 3533, section 6).

    Ogg's CRC-32 has zlib's polynomial but the other bit order, and neither initial nor final inversion: with the bits
    of every byte reversed, zlib computes it at the speed of C.
    """
    crc = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED_BITS), "big")
