"""Files that are odd but whole, as streams, phones, editors and recorders write them: read to their end, or named.

The headers are those that ffmpeg and sox write when their output is a pipe, byte for byte in structure.
"""

import contextlib
import io
import pickle
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from broken_audio import FORMATS, RATE, encode, hum
from media_files import encode_media
from sound_groove.audio.formats.container import ogg_checksum
from sound_groove.audio.formats.mpeg import frame_length
from sound_groove.audio.listening import hear
from sound_groove.audio.plain_wav import read_plain
from sound_groove.audio.quality import Quality
from sound_groove.audio.reading import load_audio, probe, read_recording, read_segment, read_spans
from sound_groove.errors import AudioError, ForeignFormatError
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
    assert codes == [each["code"] for each in fields["warnings"] if each["code"] == "length_in_doubt"]
    return samples


def error_db(samples: np.ndarray, expected: np.ndarray) -> float:
    """How far samples are from others, against the level of these."""
    return float(20 * np.log10(max(float((samples - expected).std()), 1e-9) / expected.std()))


def doubts(path: Path) -> list[str]:
    return [warning.code for warning in read_recording(path).warnings]


def refusal(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(path)
    assert answer(path.read_bytes(), 3600.0)[0]["refused"] == caught.value.reason
    return caught.value.reason


# Wav.

STREAMED = {
    **{
        f"data {length:#x}": wav(fmt(), chunk(b"LIST", INFO), chunk(b"data", PCM, length), riff=riff)
        for length, riff in (
            (0, 0), (0, 0xFFFFFFFF), (0, len(PCM) + 70), (0x7FFF0000, 0x7FFF0024), (0x80000000, 0x80000024),
            (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFFFFF, 0x80000023), (0x7FFFF000, 0x7FFFF024), (0xFFFFFFDB, 0xFFFFFFFF),
            (0x7FFFFF00, 0x7FFFFF24), (0x7FFFFFDB, 0x7FFFFFFF), (0x80000000, 0), (0xFFFFFF00, 36),
            (0x40000000, 0x40000024), (0x10000000, 0x10000024), (0xFFFFFFFE, 0xFFFFFFFE),
        )
    },
    "rf64 without its sizes": wav(
        chunk(b"ds64", bytes(28)), fmt(), chunk(b"LIST", INFO), chunk(b"data", PCM, 0xFFFFFFFF),
        head=b"RF64", riff=0xFFFFFFFF,
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
    **{
        f"an odd list of {length} bytes that is not filled up": wav(
            fmt(), chunk(b"LIST", b"INFO" + b"x" * (length - 4), pad=False), chunk(b"LIST", INFO), chunk(b"data", PCM)
        )
        for length in (5, 31, 33, 65, 101, 127)
    },
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
    "two wavs joined": (
        wav(fmt(), chunk(b"data", PCM[:9000])) + wav(fmt(), chunk(b"LIST", INFO), chunk(b"data", PCM[9000:]))
    ),
    "a tag behind": wav(fmt(), chunk(b"data", PCM)) + b"TAG" + bytes(125),
    "zeros behind": wav(fmt(), chunk(b"data", PCM)) + bytes(70000),
    "text behind": wav(fmt(), chunk(b"data", PCM)) + b"<call><from>1234</from></call>\n" * 300,
    "a tag in front": b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + wav(fmt(), chunk(b"data", PCM, 0)),
    "a length too large, the whole is right": wav(fmt(), chunk(b"data", PCM, len(PCM) + 44), riff=len(PCM) + 36),
    "a length too large, the whole is the file": wav(fmt(), chunk(b"data", PCM, len(PCM) + 60), riff=len(PCM) + 44),
    "a length far too large, the whole is right": wav(fmt(), chunk(b"data", PCM, 8 * len(PCM)), riff=len(PCM) + 36),
    "a few bytes too few, the whole is right": wav(fmt(), chunk(b"data", PCM, len(PCM) - 44), riff=len(PCM) + 36),
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
    behind = write(tmp_path, wav(fmt(), chunk(b"data", PCM)) + b"\x1a\x00\xff" * 100)
    np.testing.assert_array_equal(loaded(behind), SOUND)
    assert "300 behind were not read" in read_recording(behind).warnings[0].message
    for counted in (2000, len(PCM) // 2, len(PCM) - 5000):
        path = write(tmp_path, wav(fmt(), chunk(b"data", PCM, counted), riff=counted + 36))
        np.testing.assert_array_equal(loaded(path), SOUND)
        (warning,) = read_recording(path).warnings
        assert warning.code == "length_in_doubt" and f"counts {counted:,} bytes" in warning.message


def test_a_doubt_reaches_those_who_compare(tmp_path: Path) -> None:
    path = write(tmp_path, wav(fmt(), chunk(b"data", PCM, len(PCM) // 2), riff=len(PCM) // 2 + 36))
    found = [warning for warning in hear(path).warnings if warning.code == "length_in_doubt"]
    assert [warning.message.startswith(f"{path}: its header counts 16,000 bytes") for warning in found] == [True]
    (told,) = answer(path.read_bytes(), 3600.0)[0]["warnings"]
    assert told["code"] == "length_in_doubt"


@pytest.fixture
def without_media(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sound_groove.audio.opening.has_media", lambda: False)


@pytest.mark.usefixtures("without_media")
def test_the_coding_inside_a_wav_decides_what_can_be_read(tmp_path: Path) -> None:
    extended = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 2 * RATE, 2, 16, 22, 16, 4)
    sub_format = bytes.fromhex("0000000010008000 00aa00389b71")
    pcm = wav(fmt(extended + b"\1\0" + sub_format), chunk(b"data", PCM, 0xFFFFFFFF), riff=0xFFFFFFFF)
    np.testing.assert_array_equal(loaded(write(tmp_path, pcm)), SOUND)
    for coding, name in (
        (0xFF, "AAC"),
        (0x28F, "G.722"),
        (0x65, "G.722"),
        (0x45, "G.726"),
        (0x64, "G.726"),
        (0x161, "WMA"),
    ):
        head = struct.pack("<HHIIHHH", coding, 1, RATE, 8000, 1, 4, 0)
        path = write(tmp_path, wav(fmt(head), chunk(b"data", PCM)))
        assert refusal(path).startswith(f"is {name} inside a wav, which cannot be read")
        hidden = write(tmp_path, wav(fmt(extended + struct.pack("<H", coding) + sub_format), chunk(b"data", PCM)))
        assert refusal(hidden).startswith(f"is {name} inside a wav, which cannot be read")
    assert "is sound of the coding 0x4321 inside a wav" in refusal(
        write(tmp_path, wav(fmt(struct.pack("<H", 0x4321) + FORMAT[2:]), chunk(b"data", PCM)))
    )


@pytest.mark.parametrize("order", ["RIFF", "RIFX"])
def test_wide_and_many_channelled_and_big_endian_streams_are_read(tmp_path: Path, order: str) -> None:
    frames = np.stack([STEPS, STEPS // 2, -STEPS // 3], axis=1)
    for subtype in ("PCM_16", "PCM_24", "FLOAT", "ULAW"):
        stream = io.BytesIO()
        endian = "BIG" if order == "RIFX" else "LITTLE"
        soundfile.write(stream, frames, RATE, subtype=subtype, endian=endian, format="WAV")
        data = stream.getvalue()
        at = data.index(b"data") + 4
        expected = load_audio(write(tmp_path, data))
        for length in (b"\xff" * 4, bytes(4)):
            np.testing.assert_array_equal(
                loaded(write(tmp_path, data[:4] + bytes(4) + data[8:at] + length + data[at + 4 :])), expected
            )
        assert "truncated" in refusal(write(tmp_path, data[:-200]))


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610", "ALAW"])
def test_blocks_of_other_codings_are_read_to_the_end_of_a_stream(tmp_path: Path, subtype: str) -> None:
    data = encode(hum(2.0), subtype=subtype)
    at = data.index(b"data") + 4
    streamed = data[:4] + b"\xff" * 4 + data[8:at] + b"\xff" * 4 + data[at + 4 :]
    expected = load_audio(write(tmp_path, data))
    np.testing.assert_array_equal(loaded(write(tmp_path, streamed)), expected)


def test_mpeg_frames_in_a_wav_are_what_they_are_alone(tmp_path: Path) -> None:
    mp3 = encode(hum(2.0), kind="mp3")
    head = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 576, 1, 1393)
    alone = load_audio(write(tmp_path, mp3, "a.mp3"))
    for length in (None, 0, 0xFFFFFFFF):
        np.testing.assert_array_equal(loaded(write(tmp_path, wav(fmt(head), chunk(b"data", mp3, length)))), alone)
    assert "truncated" in refusal(write(tmp_path, wav(fmt(head), chunk(b"data", mp3))[:-400]))


# Other uncompressed formats.


def field(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def streams() -> dict[str, bytes]:
    """What ffmpeg writes to a pipe, and other writers that cannot go back."""
    big = STEPS.astype(">i2").tobytes()
    rate = bytes.fromhex("400cfa00000000000000")  # 16,000 Hz as a number of 80 bits
    common = b"COMM" + struct.pack(">IHIH", 18, 1, 0, 16) + rate
    caf = b"caff\0\1\0\0desc" + struct.pack(">qd4sIIIII", 32, RATE, b"lpcm", 0, 2, 1, 1, 16)
    free = b"free" + struct.pack(">q", 9) + bytes(9)
    w64 = encode(STEPS, kind="w64")
    data_at = w64.index(b"data") + 16
    guids = [w64[:16], w64[24:40], w64[40:56], w64[data_at - 16 : data_at]]
    form = guids[2] + struct.pack("<Q", 40) + FORMAT
    return {
        "aiff": b"FORM\0\0\0\0AIFF" + common + b"SSND" + bytes(12) + big,
        "aiff with marks": b"FORM\xff\xff\xff\xffAIFF" + common + b"SSND\xff\xff\xff\xff" + bytes(8) + big,
        "au": b".snd" + struct.pack(">IIIII", 32, 0xFFFFFFFF, 3, RATE, 1) + bytes(8) + big,
        "au of length 0": b".snd" + struct.pack(">IIIII", 24, 0, 3, RATE, 1) + big,
        "au of length 0x7fffffff": b".snd" + struct.pack(">IIIII", 24, 0x7FFFFFFF, 3, RATE, 1) + big,
        "caf": caf + b"data" + struct.pack(">q", -1) + bytes(4) + big,
        "caf after free bytes": caf + free + b"data" + struct.pack(">q", -1) + bytes(4) + big,
        "w64": guids[0] + b"\xff" * 8 + guids[1] + form + guids[3] + b"\xff" * 7 + b"\x7f" + PCM,
        "w64 of length 24": guids[0] + bytes(8) + guids[1] + form + guids[3] + struct.pack("<Q", 24) + PCM,
    }  # fmt: skip


@pytest.mark.parametrize("kind", streams())
def test_other_formats_from_a_pipe_are_read_to_their_end(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, streams()[kind])
    np.testing.assert_array_equal(loaded(path), SOUND)
    assert doubts(path) == []


COUNTS = {
    "aiff": (b"SSND", 4, ">I", 8),
    "au": (b".snd", 8, ">I", 0),
    "caf": (b"data", 4, ">q", 4),
    "w64": (b"data", 16, "<Q", 24),
}


@pytest.mark.parametrize("kind", [*COUNTS, "sph"])
def test_other_formats_that_go_on_after_their_samples_are_read_on(tmp_path: Path, kind: str) -> None:
    data = encode(STEPS, kind=kind)
    if kind == "sph":
        assert b"sample_count -i 16000" in data
        shorter = data.replace(b"sample_count -i 16000", b"sample_count -i 6000 ")
    else:
        name, after, number, more = COUNTS[kind]
        shorter = field(data, data.index(name) + after, struct.pack(number, 12000 + more))
    if kind == "aiff":
        shorter = shorter.replace(struct.pack(">IHIH", 18, 1, 16000, 16), struct.pack(">IHIH", 18, 1, 6000, 16))
    np.testing.assert_array_equal(loaded(write(tmp_path, shorter)), SOUND)
    for tail in (b"the end", b"\0" * 9000, b"call 1234\n" * 900):
        np.testing.assert_array_equal(loaded(write(tmp_path, data + tail)), SOUND)


def test_samples_that_begin_behind_the_end_are_refused(tmp_path: Path) -> None:
    au = streams()["au"]
    for offset in (len(au) + 1, 0x7FFFFFFF, 0xFFFFFFFF):
        assert "ends within its header" in refusal(write(tmp_path, field(au, 4, struct.pack(">I", offset))))
    assert "is empty" in refusal(write(tmp_path, field(au, 4, struct.pack(">I", len(au)))))


def test_what_ffmpeg_knows_inside_a_wav_is_decoded_wherever_its_samples_are(tmp_path: Path) -> None:
    whole = encode_media(hum(2.0), "wav", "g722", "s16", 16000)
    at = whole.index(b"data") + 4
    expected = load_audio(write(tmp_path, whole))
    assert abs(len(expected) - 32000) < 100
    for length in (bytes(4), b"\xff" * 4):
        odd = write(tmp_path, whole[:4] + length + whole[8:at] + length + whole[at + 4 :])
        np.testing.assert_array_equal(load_audio(odd), expected)
    assert "truncated" in refusal(write(tmp_path, whole[: len(whole) // 2]))


@pytest.mark.usefixtures("without_media")
def test_codings_inside_of_other_formats_are_named(tmp_path: Path) -> None:
    caf = streams()["caf"]
    aiff = streams()["aiff"].replace(b"AIFF", b"AIFC")
    for data, name in (
        (caf.replace(b"lpcm", b"aac "), "AAC inside a caf"),
        (caf.replace(b"lpcm", b"ima4"), "IMA ADPCM inside a caf"),
        (aiff[:16] + struct.pack(">I", 24) + aiff[20:38] + b"QDM2\0\0" + aiff[38:], "QDesign Music inside an aiff"),
        (field(streams()["au"], 12, struct.pack(">I", 24)), "G.722 inside an au"),
        (
            encode(STEPS, kind="sph").replace(
                b"sample_coding -s3 pcm\n", b"sample_coding -s26 pcm,embedded-shorten-v2.00\n"
            ),
            "shorten-v2.00 inside a sphere",
        ),
    ):
        assert refusal(write(tmp_path, data)).startswith(f"is {name}, which cannot be read"), name


@pytest.mark.parametrize(
    ("head", "name"),
    [(b"\x02#!SILK_V3", "SILK"), (b"Creative Voice File\x1a", "Creative Voice"), (b"\x03ds2", "DSS Pro")],
)
def test_a_format_that_cannot_be_read_is_called_by_its_name(tmp_path: Path, head: bytes, name: str) -> None:
    path = write(tmp_path, head + np.random.default_rng(0).bytes(3000), "a.wav")
    assert refusal(path) == f"is {name}, which cannot be read; convert it first: ffmpeg -i INPUT OUTPUT.wav"
    assert name_in_the_error(path) == name


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"#!AMR\n", "AMR"), (b"#!AMR-WB\n", "AMR"), (b"#!iLBC30\n", "iLBC"),
        (b"wvpk\x9c\3\0\0", "WavPack"), (b"TTA1\1\0\1\0", "TTA"), (b"MAC \x96\x0f", "Monkey's Audio"),
        (b"\x0b\x77\xc2\xb6", "AC-3"), (b"\xff\xf1\x60\x40\x1f\xfc", "AAC"), (b"ADIF", "AAC"),
        (b"\x56\xe0\x03abc\x56\xe0", "AAC"), (b".RMF\0\0\0\x12", "RealAudio"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA or another Windows Media file"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "MP4"), (b"\0\0\0\x18ftyp3gp4", "3GP"), (b"ajkg\2", "Shorten"),
        (b"RIFF\0\1\0\0QLCMfmt ", "QCP"), (b"DSD \x1c", "DSF"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("without_media")
def test_a_format_that_needs_the_extra_is_called_by_its_name(tmp_path: Path, head: bytes, name: str) -> None:
    path = write(tmp_path, head + np.random.default_rng(0).bytes(3000), "a.wav")
    assert refusal(path).startswith(f"is {name}, and reading that needs the 'media' extra: pip install ")
    assert name_in_the_error(path) == name


def name_in_the_error(path: Path) -> str:
    """Of the format, also after the error has crossed the border of a process."""
    with pytest.raises(ForeignFormatError) as caught:
        load_audio(path)
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert (copy.format, copy.path, str(copy)) == (caught.value.format, path, str(caught.value))
    return caught.value.format


def test_what_is_no_sound_is_called_by_its_name(tmp_path: Path) -> None:
    for head, name in ((b"PK\3\4", "a ZIP archive"), (b"%PDF-1.7", "a PDF"), (b"\x89PNG\r\n", "a picture")):
        assert refusal(write(tmp_path, head + bytes(3000))) == f"is not audio but {name}"


# Ogg.


def pages(data: bytes) -> list[bytes]:
    found = []
    while data:
        length = 27 + data[26] + sum(data[27 : 27 + data[26]])
        found.append(data[:length])
        data = data[length:]
    return found


def page(data: bytes, flags: int | None = None, serial: int | None = None, sequence: int | None = None) -> bytes:
    """A page with other numbers, and the checksum that belongs to them."""
    flags = data[5] if flags is None else flags
    data = data[:5] + bytes([flags]) + data[6:]
    data = data if serial is None else data[:14] + struct.pack("<I", serial) + data[18:]
    data = data if sequence is None else data[:18] + struct.pack("<I", sequence) + data[22:]
    bare = data[:22] + bytes(4) + data[26:]
    return bare[:22] + struct.pack("<I", ogg_checksum(bare)) + bare[26:]


@pytest.mark.parametrize("kind", ["opus", "ogg"])
def test_an_ogg_without_the_mark_of_its_end_is_read_to_its_last_whole_page(tmp_path: Path, kind: str) -> None:
    data = encode(hum(5.0), kind=kind)
    expected = load_audio(write(tmp_path, data))
    *before, last = pages(data)
    unmarked = b"".join([*before, page(last, flags=last[5] & ~4)])
    # The mark also says where within its last packet the sound ends; some decoders then give the whole packet.
    samples = loaded(write(tmp_path, unmarked))
    assert 0 <= len(samples) - len(expected) < 1000
    np.testing.assert_allclose(samples[: len(expected) - 2000], expected[:-2000], atol=1e-6)
    np.testing.assert_array_equal(loaded(write(tmp_path, unmarked + b"TAG" + bytes(125))), samples)
    np.testing.assert_array_equal(loaded(write(tmp_path, unmarked + bytes(5000))), samples)
    shorter = loaded(write(tmp_path, b"".join(before)))  # the last page never came
    assert 0.5 * len(expected) < len(shorter) < len(expected)
    np.testing.assert_allclose(shorter[:-2000], expected[: len(shorter) - 2000], atol=1e-6)
    for cut in (5, 26, 28, 100, len(last) - 1):
        assert "its last Ogg page is cut off" in refusal(write(tmp_path, b"".join(before) + last[:cut]))
    assert "pages are missing" in refusal(write(tmp_path, b"".join(pages(data)[1:])))
    assert "pages are missing" in refusal(write(tmp_path, b"".join([*before[:3], *before[4:], last])))
    headers = before[:2]
    assert "ends after the headers" in refusal(write(tmp_path, b"".join(headers)))
    joined = unmarked + b"".join(page(each, serial=77) for each in pages(data))
    assert "several Ogg recordings one after another" in refusal(write(tmp_path, joined))


@pytest.mark.parametrize("kind", ["opus", "ogg"])
def test_the_one_stream_of_sound_is_taken_out_of_an_ogg(tmp_path: Path, kind: str) -> None:
    data = encode(hum(3.0), kind=kind)
    first, *rest = pages(data)
    expected = load_audio(write(tmp_path, data))

    def other(head: bytes, count: int) -> list[bytes]:
        made = []
        for number in range(count):
            content = head if number == 0 else b"x" * 200
            flags = 2 if number == 0 else 4 if number == count - 1 else 0
            start = b"OggS\0" + bytes([flags]) + struct.pack("<qIII", number, 5, number, 0)
            made.append(page(start + bytes([1, len(content)]) + content))
        return made

    for head in (b"fishead\0\3\0", b"\x80theora\3", b"CMML\0"):
        begin, *others = other(head, 4)
        for mixed in ([first, begin, *rest[:2], *others, *rest[2:]], [begin, first, *others[:1], *rest, *others[1:]]):
            np.testing.assert_array_equal(loaded(write(tmp_path, b"".join(mixed))), expected)
    twin = [page(each, serial=6) for each in (first, *rest)]
    both = [first, twin[0], *rest, *twin[1:]]
    assert "holds 2 recordings side by side" in refusal(write(tmp_path, b"".join(both)))
    for head, name in ((b"\x80theora\3", "Theora video"), (b"CELT    ", "CELT")):
        assert refusal(write(tmp_path, b"".join(other(head, 3)))).startswith(
            f"is {name} inside an Ogg file, which cannot"
        )


def test_flac_in_ogg_is_read(tmp_path: Path) -> None:
    flac = encode(hum(3.0), kind="flac")
    expected = load_audio(write(tmp_path, flac))
    assert flac[4] & 0x7F == 0 and flac[42] & 0x7F == 4  # the block of metadata that must come second
    begin = 46 + int.from_bytes(flac[43:46], "big")
    assert flac[42] & 0x80
    packets = [
        b"\x7fFLAC\1\0\0\1" + flac[:42],
        flac[42:begin],
        *(flac[at : at + 40000] for at in range(begin, len(flac), 40000)),
    ]
    for flags in (0, 4):
        data = b""
        for number, packet in enumerate(packets):
            lacing = [255] * (len(packet) // 255) + [len(packet) % 255]
            kind = 2 if number == 0 else flags if number == len(packets) - 1 else 0
            head = b"OggS\0" + bytes([kind]) + struct.pack("<qIII", max(number - 1, 0) * 4096, 9, number, 0)
            data += page(head + bytes([len(lacing), *lacing]) + packet)
        np.testing.assert_array_equal(loaded(write(tmp_path, data)), expected)
        assert "truncated" in refusal(write(tmp_path, data[:-100]))


# Flac.


def test_a_flac_that_counts_too_few_samples_is_read_on(tmp_path: Path) -> None:
    for kind, seconds in (("flac", 1.0), ("flac", 5.0)):
        data = encode(hum(seconds), kind=kind)
        for count in (1, 8000, int(seconds * RATE) // 2):
            np.testing.assert_array_equal(
                loaded(write(tmp_path, data[:22] + struct.pack(">I", count) + data[26:])),
                load_audio(write(tmp_path, data, "b")),
            )
        assert "truncated or damaged" in refusal(write(tmp_path, data[:22] + struct.pack(">I", 10**6) + data[26:]))


def test_a_streamed_flac_may_have_tags_around_it(tmp_path: Path) -> None:
    data = encode(hum(2.0), kind="flac")
    streamed = data[:21] + bytes([data[21] & 0xF0]) + bytes(4) + data[26:]
    for whole in (
        streamed,
        ID3 + streamed,
        streamed + ID3V1,
        ID3 + streamed + APE + ID3V1,
        data + APE,
        data[:22] + b"\0\0\1\0" + data[26:] + ID3V1,
    ):
        np.testing.assert_array_equal(loaded(write(tmp_path, whole)), load_audio(write(tmp_path, data, "b")))


def test_joined_flacs_are_read_one_after_the_other(tmp_path: Path) -> None:
    first, second = hum(1.0), hum(2.0, seed=1, rate=48000)
    data = encode(first, kind="flac"), encode(np.stack([second, second], axis=1), 48000, "flac")
    parts = [load_audio(write(tmp_path, each)) for each in data]
    tag = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
    for joined in (data[0] + data[1], tag + data[0] + tag + data[1]):
        samples = loaded(write(tmp_path, joined))
        assert len(samples) == 3 * RATE
        assert error_db(samples, np.concatenate(parts)) < -30  # the first was resampled up and down again
    np.testing.assert_array_equal(loaded(write(tmp_path, data[0] + data[0])), np.tile(parts[0], 2))
    assert "truncated or damaged" in refusal(write(tmp_path, data[0] + data[1][:-3000]))
    assert "holds several flac recordings" in refusal(
        write(tmp_path, data[0] + data[1][:21] + bytes([data[1][21] & 0xF0]) + bytes(4) + data[1][26:])
    )


# Mp3.


def bare(mp3: bytes) -> bytes:
    """Without the encoder's header."""
    return mp3[frame_length(mp3[:4]) :]


ID3 = b"ID3\4\0\0\0\0\1\0" + b"\xff\xfb\x90\0" * 32
ID3V1 = b"TAG" + b" " * 125
APE = (
    b"APETAGEX" + struct.pack("<IIII8x", 2000, 32 + 100, 1, 0xA0000000) + b"\xff" * 100
    + b"APETAGEX" + struct.pack("<IIII8x", 2000, 32 + 100, 1, 0x80000000)
)  # fmt: skip
BETWEEN = {
    "nothing": b"", "ID3v2": ID3, "ID3v1": ID3V1, "APE": APE, "ID3v1 and ID3v2": ID3V1 + ID3,
    "APE and ID3v1": APE + ID3V1, "zeros": bytes(3000),
}  # fmt: skip


@pytest.mark.parametrize("between", BETWEEN)
def test_joined_mp3s_are_read_one_after_the_other(tmp_path: Path, between: str) -> None:
    mp3s = [encode(hum(2.0), kind="mp3"), encode(hum(1.0, seed=1), kind="mp3")]
    parts = [load_audio(write(tmp_path, mp3)) for mp3 in mp3s]
    joined = ID3 + mp3s[0] + BETWEEN[between] + mp3s[1] + APE + ID3V1
    np.testing.assert_array_equal(loaded(write(tmp_path, joined)), np.concatenate(parts))
    with_junk = mp3s[0] + BETWEEN[between] + b"\xff\xfbjunk" * 30 + mp3s[1] + b"junk" * 9
    np.testing.assert_array_equal(loaded(write(tmp_path, with_junk)), np.concatenate(parts))
    assert "truncated" in refusal(write(tmp_path, joined[: len(mp3s[0]) + len(ID3) + 4000]))
    lacking = mp3s[0][: -frame_length(mp3s[0][:4])] + BETWEEN[between] + mp3s[1]
    assert any(word in refusal(write(tmp_path, lacking)) for word in ("truncated", "damaged"))


@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (8000, 1), (16000, 2), (48000, 2), (24000, 1)])
def test_mp3s_of_other_rates_and_channels_are_joined(tmp_path: Path, rate: int, channels: int) -> None:
    first, second = hum(2.0), hum(2.0, seed=1, rate=rate)
    mp3 = encode(first, kind="mp3")
    other = encode(np.stack([second] * channels, axis=1) if channels > 1 else second, rate, "mp3")
    for one, two in ((mp3, other), (bare(mp3), bare(other)), (other, mp3), (bare(mp3) + ID3V1 + ID3, bare(other))):
        lengths = [len(load_audio(write(tmp_path, part))) for part in (one, two)]
        samples = loaded(write(tmp_path, one + two))
        assert abs(len(samples) - sum(lengths)) <= 1
        alone = load_audio(write(tmp_path, one)), load_audio(write(tmp_path, two))
        for found, part in ((samples[: lengths[0]], alone[0]), (samples[-lengths[1] :], alone[1])):
            assert (
                error_db(found[2000:-2000], part[2000:-2000]) < -10
            )  # it has noise up to 8 kHz, moved by part of a step


JUNK = {
    "text": b"some words before the sound\n" * 10,
    "noise": np.random.default_rng(3).bytes(5000),
    "zeros": bytes(9000),
    "a tag": APE,
    "false beginnings": b"\xff\xfb\x90\0" * 300,
    "a tag that is cut": b"ID3\4\0\0\0\0\x7f\x7f" + b"TIT2\0\0\0\5\0\0\0song",
    "a tag and zeros": ID3 + bytes(1000),
}


@pytest.mark.parametrize("junk", JUNK)
def test_what_lies_before_an_mp3_is_passed_over(tmp_path: Path, junk: str) -> None:
    mp3 = encode(hum(2.0), kind="mp3")
    for data in (mp3, bare(mp3)):
        np.testing.assert_array_equal(
            loaded(write(tmp_path, JUNK[junk] + data)), load_audio(write(tmp_path, data, "alone"))
        )
        assert "truncated" in refusal(write(tmp_path, JUNK[junk] + data[:-100]))


def test_a_cut_frame_before_an_mp3_is_passed_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mp3 = bare(encode(hum(3.0), kind="mp3"))
    length = frame_length(mp3[:4])
    rest = load_audio(write(tmp_path, mp3[length:]))
    for cut in (1, 2, 5, length // 2, length - 1):
        np.testing.assert_array_equal(loaded(write(tmp_path, mp3[cut:])), rest)
    assert capfd.readouterr() == ("", "")


def test_an_encoder_s_header_with_wrong_numbers_is_set_right(tmp_path: Path) -> None:
    mp3 = encode(hum(2.0), kind="mp3")
    at = max(mp3.find(b"Xing", 0, 100), mp3.find(b"Info", 0, 100))
    assert at > 0 and mp3[at + 7] & 3 == 3
    expected = load_audio(write(tmp_path, mp3))
    (count,) = struct.unpack(">I", mp3[at + 8 : at + 12])
    for wrong in (count + 1, 2 * count, 10 * count, count // 2, 1, 0):
        np.testing.assert_array_equal(loaded(write(tmp_path, field(mp3, at + 8, struct.pack(">I", wrong)))), expected)
    no_count = field(mp3, at + 4, struct.pack(">I", struct.unpack(">I", mp3[at + 4 : at + 8])[0] & ~1))
    assert abs(len(loaded(write(tmp_path, no_count))) - len(expected)) < 3000
    assert "header promises" in refusal(write(tmp_path, mp3[: -frame_length(mp3[:4]) * 3]))


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_a_tag_before_any_format_changes_nothing(tmp_path: Path, kind: str) -> None:
    data = encode(hum(2.0), kind=kind)
    np.testing.assert_array_equal(loaded(write(tmp_path, ID3 + data)), load_audio(write(tmp_path, data, "alone")))


def test_damage_within_an_mp3_is_not_taken_for_a_border(tmp_path: Path) -> None:
    mp3 = bare(encode(hum(3.0), kind="mp3"))
    middle = len(mp3) // 2
    for damage in (bytes(300), bytes(6000), b"junk" * 100, np.random.default_rng(0).bytes(2000)):
        assert "damaged" in refusal(write(tmp_path, mp3[:middle] + damage + mp3[middle + 10 :]))
    assert "damaged" in refusal(write(tmp_path, mp3[:middle] + mp3[middle + 100 :]))


def test_a_free_bit_rate_is_named(tmp_path: Path) -> None:
    frame = bytes.fromhex("fff308c4") + bytes(300)
    assert refusal(write(tmp_path, frame * 40)).startswith("is an mp3 of a free bit rate, which cannot be read")


def test_headers_cannot_ask_for_time(tmp_path: Path) -> None:
    mp3 = encode(hum(0.2), kind="mp3")
    assert "joined of more than 1,000" in refusal(write(tmp_path, mp3 * 1500))
    flac = encode(hum(0.1), kind="flac")
    assert "joined of more than 1,000" in refusal(write(tmp_path, flac * 1500))
    for data in (
        b"\xff\xfb" * 500_000, b"\xff" * 1_000_000, b"TAG" + b" " * 125 + b"TAG" * 300_000, b"fLaC" * 200_000,
        wav(fmt(), *[chunk(b"LIST", b"")] * 100_000), wav(fmt(), *[chunk(b"data", b"ab")] * 100_000),
        mp3 + b"\xff\xfb\x90" * 300_000,
    ):  # fmt: skip
        begin = time.process_time()
        with contextlib.suppress(AudioError):
            load_audio(write(tmp_path, data))
        assert time.process_time() - begin < 3
