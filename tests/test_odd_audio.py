"""Files that are odd but whole, as streams, phones, editors and recorders write them: read to their end, or named.

The headers are those that ffmpeg and sox write when their output is a pipe, byte for byte in structure.
"""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from broken_audio import RATE, encode, hum
from sound_groove.audio import load_audio, probe, read_recording, read_segment, read_spans
from sound_groove.container import ogg_checksum
from sound_groove.errors import AudioError, ForeignFormatError
from sound_groove.mpeg import frame_length
from sound_groove.plain_wav import read_plain
from sound_groove.quality import Quality
from sound_groove.service import decoding
from sound_groove.service.decoding import answer

STEPS = np.random.default_rng(0).integers(-9999, 9999, RATE).astype("<i2")
SOUND = STEPS / np.float32(32768)
PCM = STEPS.tobytes()
FORMAT = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
INFO = b"INFOISFT\x0e\0\0\0Lavf59.27.100\0"  # what ffmpeg writes before the samples


@pytest.fixture(autouse=True)
def nothing_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "assess", lambda samples, rate: Quality(0.0, 0.0, ()))


def chunk(name: bytes, content: bytes, length: int | None = None, pad: bool = True) -> bytes:
    """A chunk of a wav; its length may be a lie, and the byte that fills up an odd length may be missing."""
    true = len(content)
    return name + struct.pack("<I", true if length is None else length) + content + b"\0" * (true % 2 if pad else 0)


def wav(*chunks: bytes, head: bytes = b"RIFF", riff: int | None = None) -> bytes:
    """A wav of these chunks."""
    content = b"WAVE" + b"".join(chunks)
    return head + struct.pack("<I", len(content) if riff is None else riff) + content


def fmt(content: bytes = FORMAT) -> bytes:
    return chunk(b"fmt ", content)


def write(folder: Path, data: bytes, name: str = "a.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def loaded(path: Path) -> np.ndarray:
    """The samples, once every other way to them was found to give the same."""
    samples = load_audio(path)
    assert probe(path).samples == len(samples)
    for start, count in ((0, 1000), (len(samples) // 2, 1234), (len(samples) - 800, 800)):
        np.testing.assert_array_equal(read_segment(path, start, count), samples[start : start + count])
        plain = read_plain(path, start, count)
        assert plain is None or np.array_equal(plain, samples[start : start + count])
    (whole,) = read_spans(path, lambda total: [(0, total)])
    np.testing.assert_array_equal(whole, samples)
    fields, content = answer(path.read_bytes(), 3600.0)
    assert "refused" not in fields, fields
    np.testing.assert_array_equal(np.frombuffer(content, "<f4"), samples)
    codes = [warning.code for warning in read_recording(path).warnings]
    assert codes == [each["code"] for each in fields["quality"]["warnings"] if each["code"] == "length_in_doubt"]
    return samples


def doubts(path: Path) -> list[str]:
    return [warning.code for warning in read_recording(path).warnings]


def refusal(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(path)
    with pytest.raises(AudioError):
        probe(path)
    assert answer(path.read_bytes(), 3600.0)[0]["refused"] == caught.value.reason
    return caught.value.reason


# Wav.

STREAMED = {
    **{
        f"data {length:#x}": wav(fmt(), chunk(b"LIST", INFO), chunk(b"data", PCM, length), riff=riff)
        for length, riff in (
            (0, 0), (0, 0xFFFFFFFF), (0, len(PCM) + 70), (0x7FFF0000, 0x7FFF0024), (0x80000000, 0x80000024),
            (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFFFFF, 0x80000023), (0x7FFFF000, 0x7FFFF024), (0xFFFFFFDB, 0xFFFFFFFF),
            (0x7FFFFF00, 0x7FFFFF24), (0x7FFFFFDB, 0x7FFFFFFF), (0x80000000, 0), (0xFFFFFF00, 36), (0x40000000, 0x40000024),
            (0x10000000, 0x10000024), (0xFFFFFFFE, 0xFFFFFFFE),
        )
    },
    "rf64 without its sizes": wav(
        chunk(b"ds64", bytes(28)), fmt(), chunk(b"LIST", INFO), chunk(b"data", PCM, 0xFFFFFFFF), head=b"RF64", riff=0xFFFFFFFF
    ),
    "rf64 with marks for sizes": wav(
        chunk(b"ds64", b"\xff" * 24 + bytes(4)), fmt(), chunk(b"data", PCM, 0xFFFFFFFF), head=b"RF64", riff=0xFFFFFFFF
    ),
    "rf64 without a chunk of sizes": wav(fmt(), chunk(b"data", PCM, 0xFFFFFFFF), head=b"RF64", riff=0xFFFFFFFF),
    "rf64 of length 0": wav(chunk(b"ds64", bytes(28)), fmt(), chunk(b"data", PCM, 0), head=b"RF64", riff=0),
    "bw64 without its sizes": wav(
        chunk(b"ds64", bytes(28)), fmt(), chunk(b"data", PCM, 0xFFFFFFFF), head=b"BW64", riff=0xFFFFFFFF
    ),
}  # fmt: skip
WHOLE = {
    "bw64": wav(
        chunk(b"ds64", struct.pack("<QQQI", len(PCM) + 80, len(PCM), 0, 0)), fmt(), chunk(b"data", PCM, 0xFFFFFFFF),
        head=b"BW64", riff=0xFFFFFFFF,
    ),
    "rf64": wav(
        chunk(b"ds64", struct.pack("<QQQI", len(PCM) + 80, len(PCM), 0, 0)), fmt(), chunk(b"data", PCM, 0xFFFFFFFF),
        head=b"RF64", riff=0xFFFFFFFF,
    ),
    "an odd list": wav(fmt(), chunk(b"LIST", INFO + b"x"), chunk(b"data", PCM)),
    "an odd list that is not filled up": wav(fmt(), chunk(b"LIST", INFO + b"x", pad=False), chunk(b"data", PCM)),
    "an odd list first": wav(chunk(b"LIST", INFO + b"x", pad=False), fmt(), chunk(b"data", PCM)),
    "an odd list behind": wav(fmt(), chunk(b"data", PCM), chunk(b"LIST", INFO + b"x", pad=False)),
    "a list one byte longer than it says": wav(fmt(), chunk(b"LIST", INFO + b"x", len(INFO)), chunk(b"data", PCM)),
    "a list much shorter than it says": wav(fmt(), chunk(b"LIST", INFO, 5000), chunk(b"data", PCM)),
    "a list with a length beyond the file": wav(fmt(), chunk(b"LIST", INFO, 0xFFFFFF), chunk(b"data", PCM)),
    "broadcast and junk": wav(
        chunk(b"JUNK", bytes(28)), chunk(b"bext", bytes(603)), fmt(), chunk(b"fact", b"\0\0\0\0"), chunk(b"data", PCM),
        chunk(b"id3 ", b"ID3\4\0\0\0\0\0\x0a" + bytes(10)), chunk(b"iXML", b"<a/>"),
    ),
    "two chunks of samples": wav(fmt(), chunk(b"data", PCM[:9000]), chunk(b"data", PCM[9000:])),
    "two with a list between": wav(
        fmt(), chunk(b"data", PCM[:9000]), chunk(b"LIST", INFO + b"x", pad=False), chunk(b"data", PCM[9000:])
    ),
    "the second never finished": wav(fmt(), chunk(b"data", PCM[:9000]), chunk(b"data", PCM[9000:], 0), riff=0),
    "the second from a stream": wav(fmt(), chunk(b"data", PCM[:9000]), chunk(b"data", PCM[9000:], 0xFFFFFFFF)),
    "an empty one first": wav(fmt(), chunk(b"data", b""), chunk(b"data", PCM)),
    "the format behind": wav(chunk(b"data", PCM), fmt()),
    "two wavs joined": wav(fmt(), chunk(b"data", PCM[:9000])) + wav(fmt(), chunk(b"LIST", INFO), chunk(b"data", PCM[9000:])),
    "bytes behind": wav(fmt(), chunk(b"data", PCM)) + b"\x1a\x00\xff" * 100,
    "zeros behind": wav(fmt(), chunk(b"data", PCM)) + bytes(70000),
    "text behind": wav(fmt(), chunk(b"data", PCM)) + b"<call><from>1234</from></call>\n" * 300,
    "a tag in front": b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + wav(fmt(), chunk(b"data", PCM, 0)),
    "a length too large, the whole is right": wav(fmt(), chunk(b"data", PCM, len(PCM) + 44), riff=len(PCM) + 36),
    "a length too large, the whole is the file": wav(fmt(), chunk(b"data", PCM, len(PCM) + 60), riff=len(PCM) + 44),
    "a length far too large, the whole is right": wav(fmt(), chunk(b"data", PCM, 8 * len(PCM)), riff=len(PCM) + 36),
    "samples for bytes": wav(fmt(), chunk(b"data", PCM, len(PCM) // 2), riff=len(PCM) + 36),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*STREAMED, *WHOLE])
def test_an_odd_wav_is_read_whole_and_nothing_is_said(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, {**STREAMED, **WHOLE}[kind])
    np.testing.assert_array_equal(loaded(path), SOUND)
    assert doubts(path) == []


@pytest.mark.parametrize("more", [24, 36, 44, 60, 80, 128])
def test_some_dozens_of_bytes_too_many_are_warned_of(tmp_path: Path, more: int) -> None:
    path = write(tmp_path, wav(fmt(), chunk(b"data", PCM, len(PCM) + more), riff=len(PCM) + more + 36))
    np.testing.assert_array_equal(loaded(path), SOUND)
    assert doubts(path) == ["length_in_doubt"]


@pytest.mark.parametrize("lost", [1, 2, 9, 200, 4096, len(PCM) // 2, len(PCM) - 100])
def test_a_copy_that_stopped_is_refused_whatever_the_length(tmp_path: Path, lost: int) -> None:
    for whole in (
        WHOLE["rf64"],
        WHOLE["bw64"],
        wav(fmt(), chunk(b"data", PCM)),
        wav(fmt(), chunk(b"JUNK", INFO), chunk(b"data", PCM)),
    ):
        assert "is truncated: its header promises 32,000 bytes" in refusal(write(tmp_path, whole[:-lost]))


def test_samples_behind_those_that_the_header_counts_are_read_and_warned_of(tmp_path: Path) -> None:
    for counted in (2000, len(PCM) // 2, len(PCM) - 5000):
        path = write(tmp_path, wav(fmt(), chunk(b"data", PCM, counted), riff=counted + 36))
        np.testing.assert_array_equal(loaded(path), SOUND)
        (warning,) = read_recording(path).warnings
        assert warning.code == "length_in_doubt" and f"counts {counted:,} bytes" in warning.message
