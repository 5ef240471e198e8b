"""MPEG audio (mp3): finding its frames, checking that they are all there, and a clean stream of them for the decoder.

libmpg123, the decoder under libsndfile, resynchronises over damage, takes a file of varying bit rate that lacks an
encoder's header for as long as its first frames suggest (and drops the rest), and prints what it thinks of tags and
sizes on the terminal. So the chain of frames is walked here (ISO 11172-3, section 2.4.1), and the decoder gets
nothing but those frames, after a header that counts them.

A file may hold several recordings, joined: each has a chain of its own, which ends where an encoder's header stands
among the frames, where the rate or the number of channels changes, or where a tag lies between. What lies before the
first chain (tags, the rest of a frame that was cut, other junk) is passed over.

What cannot be known: whether a file without an encoder's header (Xing, Info, VBRI) was cut exactly between two
frames. Damage inside of a frame that does not break the chain is concealed by the decoder, which may
print a line of its own about it (silencing it would mean redirecting the terminal under every thread of the process).
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sound_groove.audio.formats.spliced import read_at
from sound_groove.audio.formats.tags import TAGS, skip_tags
from sound_groove.errors import AudioError

SEARCHED_BYTES = 1 << 16  # in which frames are looked for, before the first of them and behind a chain
MAXIMUM_FRAME_BYTES = 5000  # a frame of layer II at 384 kbit/s and 8 kHz would have the most
ENOUGH_FRAMES = 3  # one after another are no coincidence: it has a probability of 1e-9 in the bytes searched
MAXIMUM_CHAINS = 1000
MOST_DEBTORS = 20  # frames in a row that begin in others: the bytes that they may borrow are 511
HEADER_BYTES = 48  # of a frame, within which an encoder's header shows itself

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


class _Promise(NamedTuple):
    """What an encoder's header says: frames of audio, bytes of all (0: nothing), its own length, its tag's place."""

    frames: int | None
    bytes: int
    info_bytes: int
    info_at: int


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


def find_frames(path: Path, file: BinaryIO, start: int, size: int) -> tuple[MpegFrames, ...]:
    """Walk the frames of an mp3.

    Args:
        path: the file's name, for messages.
        file: the file, opened for reading bytes, buffered.
        start: where its first frame starts, as `find_start` tells.
        size: the byte after its last.

    Returns:
        One chain of frames for each recording in it.

    Raises:
        AudioError: the file is truncated, damaged, or not an mp3 after all.
    """
    chains: list[MpegFrames] = []
    position: int | None = start
    while position is not None:
        if len(chains) == MAXIMUM_CHAINS:
            raise AudioError(path, f"is joined of more than {MAXIMUM_CHAINS:,} recordings; convert it again")
        chain, promised = _walk(path, file, position, size)
        chains.append(chain)
        position = _next_chain(path, file, size, chain, promised)
    return tuple(chains)


def find_start(file: BinaryIO, start: int, size: int) -> int | None:
    """The first byte of the first frame that others follow, in the beginning of a file; None where there is none."""
    if _is_encoder_header(read_at(file, start, HEADER_BYTES)):
        return start
    return _search(file, _skip_all(file, start, size), size)


def is_free(file: BinaryIO, start: int) -> bool:
    """Whether MPEG frames of a free bit rate start there: headers alike, at equal distances."""
    content = read_at(file, start, 4 * MAXIMUM_FRAME_BYTES)
    header = content[:4]
    usual = bytes((*header[:2], header[2] & 0x0F | 0x10, header[3])) if len(header) == 4 else b""
    if frame_length(usual) == 0 or header[2] >> 4 != 0:
        return False
    like = bytes((*header[:2], header[2] & 0xFD))  # but for the padding
    distances, last = [], 0
    for at in range(1, len(content) - 3):
        if content[at] == 0xFF and bytes((*content[at : at + 2], content[at + 2] & 0xFD)) == like:
            distances.append(at - last)
            last = at
    return len(distances) > ENOUGH_FRAMES and max(distances) - min(distances) <= 4  # a slot of padding


def _walk(path: Path, file: BinaryIO, start: int, size: int) -> tuple[MpegFrames, int | None]:
    """The chain of frames that starts there, and how many of audio its encoder promises, if it does."""
    header = read_at(file, start, 4)
    promise = _encoder_header(read_at(file, start, frame_length(header)))
    position, frames = start, 0
    while position < size:
        file.seek(position)
        here = file.read(HEADER_BYTES)
        length = frame_length(here)
        if length == 0 or _shared(here) != _shared(header) or (frames and _is_encoder_header(here)):
            break
        if position + length > size:
            found = "is truncated: its last MPEG frame is cut off; copy it again"
            if frames:
                raise AudioError(path, found, code="damaged")
            raise AudioError(path, "is not audio, or an mp3 that was cut off in its first frame", code="not_audio")
        position, frames = position + length, frames + 1
    count = frames - (1 if promise.info_bytes else 0)
    if not promise.info_bytes:
        start, lost = _skip_debts(file, start, position)
        count, header = count - lost, read_at(file, start, 4)
    chain = MpegFrames(start, position, count, header, promise.info_bytes, promise.info_at)
    # A header that promises more frames, but as many bytes as there are, has miscounted.
    has_miscounted = 0 <= position - start - promise.bytes < MAXIMUM_FRAME_BYTES
    return chain, min(promise.frames, count) if promise.frames is not None and has_miscounted else promise.frames


def _skip_debts(file: BinaryIO, start: int, end: int) -> tuple[int, int]:
    """The first frame that has all its bytes, and how many lie before it.

    A frame of layer III may begin in the bytes of those before it. Where they were cut off, it cannot be decoded, and
    libmpg123 complains of it on the terminal.
    """
    position, there = start, 0
    for lost in range(MOST_DEBTORS):
        header = read_at(file, position, HEADER_BYTES)
        side = 4 + (0 if header[1] & 1 else 2)  # behind the header, and its checksum
        bits = int.from_bytes(header[side : side + 2], "big")
        debt = bits >> (7 if _version(header) == 3 else 8)
        length = frame_length(header)
        if _layer(header) != 3 or debt <= there or position + length >= end:
            return position, lost
        there += length - side - _side_bytes(header)
        position += length
    return start, 0


def _next_chain(path: Path, file: BinaryIO, size: int, chain: MpegFrames, promised: int | None) -> int | None:
    """Judge what follows a chain: where another starts, or None where nothing that matters follows.

    Raises:
        AudioError: the chain was broken, or cut off.
    """
    position = chain.end
    is_whole = promised is not None and chain.count >= promised
    rest = read_at(file, position, 4096)
    is_tagged = rest.startswith(TAGS)
    is_tail = is_tagged or not rest.strip(b"\0")
    if chain.count < 2 and not is_tail and not _is_chain(file, position, size):
        # A few bytes that look like a frame are a coincidence.
        raise AudioError(path, "is not audio, or an mp3 that is damaged from its start", code="not_audio")
    behind = _skip_all(file, position, size)
    follows = behind < size and _is_chain(file, behind, size)
    starts_anew = follows and (
        is_tagged or read_at(file, behind, 3) == b"ID3" or _is_encoder_header(read_at(file, behind, HEADER_BYTES))
    )
    if promised is not None and not is_whole and (is_tail or follows or len(rest) < 4):
        raise AudioError(
            path,
            f"is truncated: its header promises {promised:,} MPEG frames, the file has {chain.count:,}; copy it again",
            code="damaged",
        )
    if follows and (is_whole or starts_anew or behind == position):
        return behind
    if is_whole or is_tagged:  # what follows is not ours, unless frames do
        return _search(file, behind, size) if behind < size else None
    if is_tail and behind >= size:
        return None
    if len(rest) < 4:
        raise AudioError(path, "is truncated: its last MPEG frame is cut off; copy it again", code="damaged")
    raise AudioError(path, f"is damaged: no MPEG frame at byte {position:,}; copy it again", code="damaged")


def _skip_all(file: BinaryIO, position: int, size: int) -> int:
    """The first byte behind all tags and zeros."""
    while (behind := _skip_fill(file, skip_tags(file, position, size), size)) > position:
        position = behind
    return position


def _skip_fill(file: BinaryIO, position: int, size: int) -> int:
    """The first byte that is not zero."""
    while position < size:
        content = read_at(file, position, min(SEARCHED_BYTES, size - position))
        if rest := content.lstrip(b"\0"):
            return position + len(content) - len(rest)
        position += len(content)
    return position


def _search(file: BinaryIO, start: int, size: int) -> int | None:
    """The first place from which frames follow one another."""
    content = read_at(file, start, min(SEARCHED_BYTES + (ENOUGH_FRAMES + 1) * MAXIMUM_FRAME_BYTES, size - start))
    at = content.find(0xFF)
    while 0 <= at < SEARCHED_BYTES:
        if _chains(content, at):
            return start + at
        at = content.find(0xFF, at + 1)
    return None


def _is_chain(file: BinaryIO, start: int, size: int) -> bool:
    """Whether frames follow one another from there."""
    return _chains(read_at(file, start, min((ENOUGH_FRAMES + 1) * MAXIMUM_FRAME_BYTES, size - start)), 0)


def _chains(content: bytes, at: int) -> bool:
    """Whether frames follow one another in some bytes, or one that is whole is the last there."""
    first = content[at : at + 4]
    for number in range(ENOUGH_FRAMES):
        header = content[at : at + 4]
        length = frame_length(header)
        if length == 0 or _shared(header) != _shared(first) or at + length > len(content):
            return False
        at += length
        if at == len(content) or content.startswith(TAGS, at):
            return number > 0
    return True


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
    at = 4 + _side_bytes(header)
    tag = b"Info" + (3).to_bytes(4, "big")  # 3: it has both sizes
    return (own.ljust(at, b"\0") + tag).ljust(frame_length(own), b"\0"), at


def _is_encoder_header(frame: bytes) -> bool:
    """Whether a frame that begins so is an encoder's header."""
    if frame_length(frame) == 0:
        return False
    at = 4 + _side_bytes(frame)
    return any(frame[place : place + 4] in (b"Xing", b"Info") for place in (at, at + 2)) or frame[36:40] == b"VBRI"


def _encoder_header(frame: bytes) -> "_Promise":
    """What the first frame promises, where it is an encoder's header."""
    for tag in (b"Xing", b"Info"):
        at = frame.find(tag, 4, 48)
        if at > 0 and len(frame) >= at + 16:
            flags, first, second = frame[at + 7], frame[at + 8 : at + 12], frame[at + 12 : at + 16]
            if not flags & 1:
                return _Promise(None, 0, len(frame), 0)
            return _Promise(
                int.from_bytes(first, "big"), int.from_bytes(second, "big") if flags & 2 else 0, len(frame), at
            )
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return _Promise(int.from_bytes(frame[50:54], "big"), int.from_bytes(frame[46:50], "big"), len(frame), 0)
    return _Promise(None, 0, 0, 0)


def _side_bytes(header: bytes) -> int:
    """Length of what describes a frame of layer III, between its header and its sound."""
    is_mono = header[3] >> 6 == 3
    return (17 if is_mono else 32) if _version(header) == 3 else (9 if is_mono else 17)


def _version(header: bytes) -> int:
    """3 = MPEG-1, 2 = MPEG-2, 0 = MPEG-2.5, 1 = none."""
    return header[1] >> 3 & 3


def _layer(header: bytes) -> int:
    """1 to 3; 4 = none."""
    return 4 - (header[1] >> 1 & 3)


def _shared(header: bytes) -> tuple[int, int, bool]:
    """What all frames of a recording have in common: version, layer, sample rate, and whether it is mono."""
    return header[1] & 0x1E, header[2] & 0x0C, header[3] >> 6 == 3
