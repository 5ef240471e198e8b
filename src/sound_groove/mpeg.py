"""MPEG audio (mp3): finding its frames, checking that they are all there, and a clean stream of them for the decoder.

libmpg123, the decoder under libsndfile, resynchronises over damage, takes a file of varying bit rate that lacks an
encoder's header for as long as its first frames suggest (and drops the rest), and prints what it thinks of tags and
sizes on the terminal. So the chain of frames is walked here (ISO 11172-3, section 2.4.1), and the decoder gets
nothing but those frames, after a header that counts them.

What cannot be known: whether a file without an encoder's header (Xing, Info, VBRI) was cut exactly between two
frames. Damage inside of a frame that does not break the chain is concealed by the decoder, which may
print a line of its own about it (silencing it would mean redirecting the terminal under every thread of the process).
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sound_groove.errors import AudioError

# What may follow the last frame: ID3v1, APE, Lyrics3 and ID3v2 tags.
TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"LYRICS200", b"ID3", b"3DI")

_BIT_RATES = {  # kbit/s by (is it version 1, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version bits


@dataclass(frozen=True, slots=True)
class MpegFrames:
    """Where the frames of an mp3 are.

    Attributes:
        start: first byte of the first frame, that of the encoder's header where there is one.
        end: first byte after the last frame.
        count: frames of audio, without the encoder's header.
        header: the first four bytes of the first frame.
        info_bytes: length of the encoder's header frame, 0 where there is none.
        info_at: where in that frame the Xing or Info tag with its count is; 0 where there is none.
    """

    start: int
    end: int
    count: int
    header: bytes
    info_bytes: int
    info_at: int

    @property
    def duration_s(self) -> float:
        """Length in seconds, with the encoder's delay and padding."""
        version, layer, rate = _version(self.header), _layer(self.header), self.header[2] >> 2 & 3
        samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
        return self.count * samples / _SAMPLE_RATES[version][rate]


def frame_length(header: bytes) -> int:
    """Length in bytes of the frame that starts with these four bytes.

    0 where they start none, or one of a free bit rate (whose length its header does not tell).

    >>> frame_length(bytes.fromhex("fffb9000"))  # 128 kbit/s at 44.1 kHz: 144 * 128000 / 44100
    417
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer, rate, bits = _version(header), _layer(header), header[2] >> 2 & 3, header[2] >> 4
    if version == 1 or layer == 4 or rate == 3 or bits in (0, 15):
        return 0
    sample_rate = _SAMPLE_RATES[version][rate]
    per_second, padding = 1000 * _BIT_RATES[version == 3, layer][bits], header[2] >> 1 & 1
    if layer == 1:
        return (12 * per_second // sample_rate + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * per_second // sample_rate + padding


def find_frames(path: Path, file: BinaryIO, start: int, size: int) -> MpegFrames:
    """Walk the frames of an mp3.

    Args:
        path: the file's name, for messages.
        file: the file, opened for reading bytes, buffered.
        start: where its first frame starts.
        size: its length in bytes.

    Raises:
        AudioError: the file is truncated, damaged, or not an mp3 after all.
    """
    file.seek(start)
    header = file.read(4)
    info = file.read(frame_length(header) - 4)
    promised, info_bytes, info_at = _encoder_header(header + info)
    position, frames = start, 0
    while True:
        file.seek(position)
        here = file.read(4)
        length = frame_length(here)
        if length == 0 or _shared(here) != _shared(header):
            break
        if position + length > size:
            found = "is truncated: its last MPEG frame is cut off; copy it again"
            raise AudioError(path, found if frames else "is not audio, or an mp3 that was cut off in its first frame")
        position, frames = position + length, frames + 1
    count = frames - (1 if info_bytes else 0)
    _check_end(path, here + file.read(4096), position, count, promised)
    return MpegFrames(start, position, count, header, info_bytes, info_at)


def _check_end(path: Path, rest: bytes, position: int, count: int, promised: int | None) -> None:
    """Judge what follows the last frame, at byte `position`."""
    is_tail = not rest.strip(b"\0") or rest.startswith(TAGS)
    if count < 2 and not is_tail:  # a few bytes that look like a frame are a coincidence
        raise AudioError(path, "is not audio, or an mp3 that is damaged from its start")
    if promised is not None and count >= promised:
        return  # all there: what follows is not ours
    if promised is not None and (is_tail or len(rest) < 4):
        raise AudioError(
            path, f"is truncated: its header promises {promised:,} MPEG frames, the file has {count:,}; copy it again"
        )
    if is_tail:
        return
    if len(rest) < 4:
        raise AudioError(path, "is truncated: its last MPEG frame is cut off; copy it again")
    raise AudioError(path, f"is damaged: no MPEG frame at byte {position:,}; copy it again")


def clean_stream(file: BinaryIO, frames: MpegFrames) -> io.BytesIO:
    """The frames alone, after an encoder's header with their true number and bytes, for the decoder.

    A Xing or Info header of the encoder's own is kept, because it also holds how much delay and padding to drop; only
    its two sizes are set right (they are wrong after two files have been joined). Layers I and II know no such
    header, nor need one.
    """
    file.seek(frames.start)
    data = bytearray(file.read(frames.end - frames.start))
    if _layer(frames.header) != 3:
        return io.BytesIO(data)
    if not frames.info_at:
        del data[: frames.info_bytes]  # a VBRI header, which the decoder does not use
        info, at = _made_up_info(frames.header)
        data[:0] = info
    else:
        at = frames.info_at
    data[at + 8 : at + 12] = frames.count.to_bytes(4, "big")
    if data[at + 7] & 2:
        data[at + 12 : at + 16] = len(data).to_bytes(4, "big")
    return io.BytesIO(data)


def _made_up_info(header: bytes) -> tuple[bytes, int]:
    """An Info frame with both sizes still empty, and where its tag is."""
    # The highest bit rate, because a frame of the lowest is too short for the tag; no padding, no checksum.
    own = bytes((header[0], header[1] | 1, 0xE0 | header[2] & 0x0C, header[3]))
    is_mono = header[3] >> 6 == 3
    side_bytes = (17 if is_mono else 32) if _version(header) == 3 else (9 if is_mono else 17)
    at = 4 + side_bytes
    tag = b"Info" + (3).to_bytes(4, "big")  # 3: it has both sizes
    return (own.ljust(at, b"\0") + tag).ljust(frame_length(own), b"\0"), at


def _encoder_header(frame: bytes) -> tuple[int | None, int, int]:
    """Promised frames, bytes, and place of the tag, where the first frame is an encoder's header."""
    for tag in (b"Xing", b"Info"):
        at = frame.find(tag, 4, 48)
        if at > 0 and len(frame) >= at + 16 and frame[at + 7] & 1:
            return int.from_bytes(frame[at + 8 : at + 12], "big"), len(frame), at
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return int.from_bytes(frame[50:54], "big"), len(frame), 0
    return None, 0, 0


def _version(header: bytes) -> int:
    """3 = MPEG-1, 2 = MPEG-2, 0 = MPEG-2.5, 1 = none."""
    return header[1] >> 3 & 3


def _layer(header: bytes) -> int:
    """1 to 3; 4 = none."""
    return 4 - (header[1] >> 1 & 3)


def _shared(header: bytes) -> tuple[int, int]:
    """What all frames of a file have in common: version, layer and sample rate."""
    return header[1] & 0x1E, header[2] & 0x0C
