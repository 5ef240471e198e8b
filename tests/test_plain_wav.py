"""Wav files whose samples need no decoding: read as a decoder does, or left to one."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sound_groove.audio.plain_wav import read_plain
from sound_groove.audio.reading import load_audio, read_segment
from sound_groove.errors import AudioError

STEPS = np.random.default_rng(0).integers(-32768, 32768, 4000).astype(np.int16)


def wav(subtype: str = "PCM_16", rate: int = 16000, channels: int = 1, kind: str = "WAV") -> bytes:
    """A file of the steps, in each of so many channels."""
    file = io.BytesIO()
    soundfile.write(file, np.repeat(STEPS[:, None], channels, axis=1), rate, subtype=subtype, format=kind)
    return file.getvalue()


def with_chunk(content: bytes, name: bytes, body: bytes) -> bytes:
    """A wav with one more chunk before its samples."""
    chunk = name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    place = content.index(b"data")
    return content[:4] + struct.pack("<I", len(content) - 8 + len(chunk)) + content[8:place] + chunk + content[place:]


def test_every_step_becomes_what_a_decoder_makes_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    every = np.arange(-32768, 32768).astype(np.int16)
    soundfile.write(path, every, 16000, subtype="PCM_16")
    found = read_plain(path, 0, len(every))
    assert found is not None and found.dtype == np.float32
    np.testing.assert_array_equal(found, soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize("body", [b"INFOISFT\x05\0\0\0Lavf\0\0", b"odd", bytes(2000)])
def test_chunks_before_the_samples_are_passed_over(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(with_chunk(wav(), b"LIST", body))
    found = read_plain(path, 1000, 500)
    assert found is not None
    np.testing.assert_array_equal(found, load_audio(path)[1000:1500])


OTHERS = {
    "24 bits": wav("PCM_24"),
    "floating point": wav("FLOAT"),
    "A-law": wav("ALAW"),
    "another rate": wav(rate=8000),
    "two channels": wav(channels=2),
    "the extended header": wav(kind="WAVEX"),
    "another byte order": wav(kind="AIFF"),
    "flac": wav(kind="FLAC"),
    "a long way to the samples": with_chunk(wav(), b"LIST", bytes(5000)),
    "a length that was never corrected": wav()[:40] + b"\xff\xff\xff\xff" + wav()[44:],
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_left_to_a_decoder(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(OTHERS[kind])
    assert read_plain(path, 0, 1000) is None
    np.testing.assert_array_equal(read_segment(path, 100, 1000), load_audio(path)[100:1100])


def test_what_is_wrong_with_a_file_is_said_by_the_decoder(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav()[:-2])  # the segment is there, but the file is not whole
    with pytest.raises(AudioError, match="truncated"):
        read_segment(path, 0, 1000)
    path.write_bytes(wav())
    with pytest.raises(AudioError, match="has 4,000 samples at 16 kHz, fewer than the 4,001"):
        read_segment(path, 3000, 1001)
    with pytest.raises(AudioError, match="no such file"):
        read_segment(tmp_path / "b.wav", 0, 1000)
    with pytest.raises(AudioError, match="is a folder"):
        read_segment(tmp_path, 0, 1000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    assert read_plain(tmp_path / "a.wav", 0, 1000) is None
