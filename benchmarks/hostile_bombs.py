"""Bombs: small files that promise, or hold, hours, a thousand channels, or work without end."""

import io
import struct
from collections.abc import Iterator

import numpy as np
import soundfile
from hostile_audio import encoded, with_checksums

from sound_groove.audio.limits import SAMPLE_RATE

FLAC_BLOCK = 65_535  # samples in a frame, the most that the format allows
WHOLE_UPLOAD = 24_000_000  # bytes


def bombs() -> Iterator[tuple[str, bytes]]:
    """What each is, and its bytes."""
    yield "flac of 599 s", constant_flac(599.0, SAMPLE_RATE, 1)
    yield "flac of 4 hours", constant_flac(4 * 3600.0, SAMPLE_RATE, 1)
    yield "flac that claims 29 hours", constant_flac(1000.0, 655_350, 8, says=2**36 - 1)
    yield "flac of 599 s, 8 channels, 655 kHz", constant_flac(599.0, 655_350, 8)
    yield "flac that does not say its length, of 4 hours", constant_flac(4 * 3600.0, SAMPLE_RATE, 1, says=0)
    yield "flac that does not say its length, 8 channels, 655 kHz", constant_flac(3600.0, 655_350, 8, says=0)
    yield "flac of 4 hours that says 1 s", constant_flac(4 * 3600.0, SAMPLE_RATE, 8, says=SAMPLE_RATE)
    quiet = np.zeros(599 * SAMPLE_RATE, np.float32)
    quiet[:: SAMPLE_RATE // 2] = 1e-3
    yield "opus of 2 minutes", encoded(quiet[: 120 * SAMPLE_RATE], "opus")
    yield "ogg of 599 s", encoded(quiet, "ogg")
    yield "ogg of 15 minutes", encoded(np.resize(quiet, 900 * SAMPLE_RATE), "ogg")
    yield "mp3 of hours", repeated_mp3(WHOLE_UPLOAD)
    yield "mp3 of minutes", repeated_mp3(400_000)
    yield "wav of 1,000 channels", wide_wav(1000)
    yield "wav of 64 channels, 768 kHz", wide_wav(64, 768_000, 180_000)
    yield "wav that claims 4 GB", encoded(quiet[:16000], "wav")[:40] + b"\xf0\xff\xff\x7f" + bytes(32000)
    yield "wav of chunks of nothing", b"RIFF\xff\xff\xff\x7fWAVE" + b"junk\0\0\0\0" * (WHOLE_UPLOAD // 8)
    yield "tags of nothing before nothing", b"ID3\x04\0\0\0\0\0\0" * (WHOLE_UPLOAD // 10)
    yield "ogg of pages of nothing", b"".join(_empty_page(number) for number in range(100_000))


def constant_flac(seconds: float, rate: int, channels: int, says: int | None = None) -> bytes:
    """A flac whose every frame holds one value, so that 65,535 samples of a channel take 3 bytes.

    Written by hand after the format's description (RFC 9639): an encoder would have to be fed all the samples.

    Args:
        seconds: how long it is.
        rate: in Hz.
        channels: up to 8.
        says: samples that its header promises, 0 for none; None tells the truth.
    """
    frames = max(1, round(seconds * rate / FLAC_BLOCK))
    promised = frames * FLAC_BLOCK if says is None else says
    about = (rate << 44 | channels - 1 << 41 | 15 << 36 | promised & 0xFFFFFFFFF).to_bytes(8, "big")
    information = struct.pack(">HH", FLAC_BLOCK, FLAC_BLOCK) + bytes(6) + about + bytes(16)
    found = io.BytesIO()
    found.write(b"fLaC\x80\0\0\x22" + information)
    for number in range(frames):
        # sync, fixed block size; block size in 16 bits, rate by the header; channels, 16 bits; number as UTF-8
        head = b"\xff\xf8\x70" + bytes([channels - 1 << 4 | 8]) + _as_utf8(number) + struct.pack(">H", FLAC_BLOCK - 1)
        frame = head + bytes([_crc(head, 8, 0x07)]) + (b"\0" + struct.pack(">h", 1 + number % 2)) * channels
        found.write(frame + _crc(frame, 16, 0x8005).to_bytes(2, "big"))
    return found.getvalue()


def _as_utf8(number: int) -> bytes:
    """A number as UTF-8 would write it as a code point, up to 36 bits."""
    if number < 0x80:
        return bytes([number])
    tail = []
    most = 0x40
    while number >= most:
        tail.append(0x80 | number & 0x3F)
        number >>= 6
        most = 0x40 >> len(tail)
    return bytes([0xFF00 >> len(tail) + 1 & 0xFF | number, *reversed(tail)])


def _crc(content: bytes, bits: int, polynomial: int) -> int:
    value, top, mask = 0, 1 << bits - 1, (1 << bits) - 1
    for byte in content:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value


def repeated_mp3(size: int) -> bytes:
    """Frames of silence, 24 bytes each: 8 kbit/s at 24 kHz."""
    frame = bytes.fromhex("fff314c4").ljust(24, b"\0")
    return frame * (size // len(frame))


def wide_wav(channels: int, rate: int = SAMPLE_RATE, frames: int = 1600) -> bytes:
    """A wav of very many channels."""
    file = io.BytesIO()
    soundfile.write(file, np.ones((frames, channels), np.int16), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _empty_page(number: int) -> bytes:
    page = b"OggS\0" + bytes([2 if number == 0 else 0]) + bytes(8) + struct.pack("<III", 1, number, 0) + b"\0"
    return with_checksums(page)
