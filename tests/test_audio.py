"""Reading recordings: what comes out is what was in the file, and what cannot be used is refused with its reason."""

import os
import pickle
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from broken_audio import FORMATS, RATE, encode, hum, write_broken_files
from sound_groove.audio.blocks import AudioHeader
from sound_groove.audio.formats.container import ogg_checksum
from sound_groove.audio.formats.mpeg import frame_length
from sound_groove.audio.limits import MAXIMUM_CHANNELS, MAXIMUM_DURATION_S
from sound_groove.audio.reading import load_audio, probe, read_recording, read_segment
from sound_groove.audio.sample_checks import check_samples
from sound_groove.errors import AudioError, ForeignFormatError

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"


def write(folder: Path, data: bytes, name: str = "recording.wav") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def tone(frequency: float, rate: int, seconds: float = 1.0, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def refusal(path: str | Path) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(path)
    message = str(caught.value)
    assert message.endswith(caught.value.reason) and "\n" not in message
    return caught.value.reason


# Physics.


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 32000, 44100, 48000, 96000])
def test_a_tone_keeps_its_frequency_level_and_phase_at_any_rate(tmp_path: Path, rate: int) -> None:
    samples = load_audio(write(tmp_path, encode(tone(440, rate), rate, subtype="FLOAT")))
    assert samples.dtype == np.float32 and len(samples) == RATE
    middle = slice(1600, -1600)  # the filter rings where the tone is cut
    np.testing.assert_allclose(samples[middle], tone(440, RATE)[middle], atol=2e-4)


def test_a_tone_above_8_khz_vanishes_instead_of_folding_back(tmp_path: Path) -> None:
    loud, quiet = tone(11000, 48000), tone(440, 48000, level=0.01)  # without a filter, 11 kHz would come back as 5 kHz
    samples = load_audio(write(tmp_path, encode(loud + quiet, 48000, subtype="FLOAT")))
    rest = samples[1600:-1600] - tone(440, RATE, level=0.01)[1600:-1600]
    assert np.abs(rest).max() < 0.5 * 10 ** (-90 / 20)


def test_six_channels_at_48_khz_are_averaged(tmp_path: Path) -> None:
    levels = [0.6, 0.0, 0.3, 0.0, 0.0, 0.0]
    frames = np.stack([tone(300, 48000, level=level) for level in levels], axis=1)
    recording = read_recording(write(tmp_path, encode(frames, 48000, subtype="FLOAT")))
    assert (recording.source_sample_rate, recording.channels.count, recording.duration_s) == (48000, 6, 1.0)
    np.testing.assert_allclose(recording.samples[1600:-1600], tone(300, RATE, level=0.15)[1600:-1600], atol=2e-4)


def test_16_khz_mono_comes_through_to_the_bit(tmp_path: Path) -> None:
    integers = np.random.default_rng(0).integers(-32768, 32768, RATE, dtype=np.int16)
    for kind in ("wav", "flac", "aiff", "au", "caf", "w64", "rf64", "sph"):
        path = write(tmp_path, encode(integers, kind=kind), f"a.{kind}")
        np.testing.assert_array_equal(load_audio(path), integers / np.float32(32768), err_msg=kind)


def test_float_samples_beyond_full_scale_are_kept(tmp_path: Path) -> None:
    loud = tone(440, RATE, level=3.5).astype(np.float32)
    np.testing.assert_array_equal(load_audio(write(tmp_path, encode(loud, subtype="FLOAT"))), loud)


# Oracle.


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_resampling_agrees_with_scipy(tmp_path: Path, rate: int) -> None:
    noise = np.random.default_rng(1).standard_normal(rate) * 0.1 * np.hanning(rate)
    speech_band = scipy.signal.sosfiltfilt(scipy.signal.butter(8, 3000, fs=rate, output="sos"), noise)
    ours = load_audio(write(tmp_path, encode(speech_band, rate, subtype="DOUBLE")))
    theirs = scipy.signal.resample(speech_band, RATE)  # through the Fourier transform: exact within the band
    assert 20 * np.log10((ours - theirs).std() / theirs.std()) < -80


# Round trips.


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_every_format_gives_back_what_was_written(tmp_path: Path, kind: str) -> None:
    sound = scipy.signal.lfilter([1], [1, -0.9], hum(2.0)) * np.hanning(2 * RATE) * 0.3
    samples = load_audio(write(tmp_path, encode(sound, kind=kind), f"a.{kind}"))
    assert len(samples) == len(sound)
    delay = int(np.argmax(scipy.signal.correlate(samples, sound))) - (len(sound) - 1)
    assert delay == 0, "a codec's own delay must be taken out"
    error_db = 20 * np.log10((samples - sound).std() / sound.std())
    assert error_db < (-10 if kind in ("opus", "ogg", "mp3") else -70)


def test_the_content_decides_and_not_the_extension(tmp_path: Path) -> None:
    for kind, wrong in (
        ("wav", "opus"),
        ("opus", "wav"),
        ("flac", "mp3"),
        ("mp3", "flac"),
        ("ogg", "txt"),
        ("wav", "raw"),
    ):
        assert len(load_audio(write(tmp_path, encode(hum(1.0), kind=kind), f"a.{wrong}"))) == RATE


def test_any_name_that_the_system_allows_is_read(tmp_path: Path) -> None:
    whole = encode(hum(0.5))
    for name in (
        b"with spaces.wav",
        b"new\nline.wav",
        b"latin-1-\xe9\xff.wav",
        "语音.wav".encode(),
        b"no-extension",
        b"-x",
    ):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
        Path(path).write_bytes(whole)
        assert len(load_audio(path)) == len(load_audio(Path(path))) == RATE // 2
        Path(path).write_bytes(whole[:500])
        assert "truncated" in refusal(path)


def test_tags_and_other_chunks_around_the_audio_do_no_harm(tmp_path: Path) -> None:
    id3 = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    wav, odd = encode(hum(1.0)), encode(hum(1.0)[:-1], subtype="PCM_U8")
    for number, data in enumerate(
        (
            wav + b"LIST" + struct.pack("<I", 10) + b"INFO" + bytes(6),
            wav + b"LIST" + struct.pack("<I", 9999) + b"INFO",  # cut within a chunk that is not the samples
            wav + b"trailing junk",
            wav[:12] + b"JUNK" + struct.pack("<I", 27) + bytes(28) + wav[12:],  # odd length, padded
            odd[: 44 + RATE - 1],  # odd length of samples, the pad byte is missing
            id3 + wav,
            id3 + encode(hum(1.0), kind="flac"),
            id3 + encode(hum(1.0), kind="mp3") + b"TAG" + b" " * 125,
            encode(hum(1.0), kind="mp3") + bytes(999),
            encode(hum(1.0), kind="opus") + b"TAG" + b" " * 125,
        )
    ):
        assert abs(len(load_audio(write(tmp_path, data, f"{number}.bin"))) - RATE) <= 1, number


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFF000, 0x7FFFFFFF])
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    wav, unknown = encode(hum(1.0)), struct.pack("<I", size)
    path = write(tmp_path, wav[:4] + unknown + wav[8:40] + unknown + wav[44:])
    np.testing.assert_array_equal(load_audio(path), load_audio(write(tmp_path, wav, "whole.wav")))


def test_a_flac_from_a_pipe_is_counted_and_read(tmp_path: Path) -> None:
    flac = encode(hum(3.0), 44100, "flac")
    unknown = flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]
    path = write(tmp_path, unknown, "pipe.flac")
    assert probe(path).frames == 3 * RATE  # hum counts at 16 kHz
    np.testing.assert_array_equal(load_audio(path), load_audio(write(tmp_path, flac, "whole.flac")))
    assert "truncated or damaged" in refusal(write(tmp_path, unknown[: len(unknown) // 2], "cut.flac"))


# MP3 without, and with a wrong, encoder's header.


def test_an_mp3_without_a_header_is_read_whole(tmp_path: Path) -> None:
    # Quiet, then loud, at a varying bit rate: from its first frames the decoder would take it for much shorter.
    sound = np.concatenate([hum(1.0) * 1e-3, hum(4.0, seed=2)])
    mp3 = encode(sound, kind="mp3")
    bare = write(tmp_path, mp3[frame_length(mp3[:4]) :], "bare.mp3")
    assert 0 <= len(load_audio(bare)) - len(sound) < 4000  # the encoder's delay and padding stay in


def test_joined_mp3s_are_read_whole(tmp_path: Path) -> None:
    mp3 = encode(hum(2.0), kind="mp3")
    assert len(load_audio(write(tmp_path, mp3 + mp3, "joined.mp3"))) >= 4 * RATE


def test_mp3_frame_lengths_are_those_of_the_standard() -> None:
    assert frame_length(bytes.fromhex("fffb9000")) == 417  # MPEG-1 layer III, 128 kbit/s, 44.1 kHz
    assert frame_length(bytes.fromhex("fffb9200")) == 418  # with padding
    assert frame_length(bytes.fromhex("fff388c4")) == 288  # MPEG-2 layer III, 64 kbit/s, 16 kHz: 72 * 64000 / 16000
    assert frame_length(bytes.fromhex("fffd9000")) == 522  # MPEG-1 layer II, 160 kbit/s, 44.1 kHz
    assert frame_length(bytes.fromhex("fffff000")) == 0  # no such bit rate
    assert frame_length(b"RIFF") == 0


def test_the_ogg_checksum_is_that_of_its_definition() -> None:
    def bit_by_bit(data: bytes) -> int:
        register = 0
        for byte in data:
            register ^= byte << 24
            for _ in range(8):
                register = (register << 1) ^ (0x104C11DB7 if register & 0x80000000 else 0)
        return register

    for data in (b"", b"\0", b"123456789", bytes(range(256))):
        assert ogg_checksum(data) == bit_by_bit(data)
    assert (
        ogg_checksum(b"123456789") == 0x89A1897F
    )  # "CRC-32/CKSUM" without its length and inversion, worked on its own


# Segments.


@pytest.mark.parametrize("rate", [16000, 8000, 48000])
@pytest.mark.parametrize("kind", ["wav", "flac", "opus", "ogg", "mp3"])
def test_a_segment_equals_the_slice_to_the_bit(tmp_path: Path, kind: str, rate: int) -> None:
    path = write(tmp_path, encode(hum(6.0, rate=rate), rate, kind), f"a.{kind}")
    whole = load_audio(path)
    rng = np.random.default_rng(0)
    cuts = [
        (0, 1),
        (0, len(whole)),
        (len(whole) - 7, 7),
        *((int(s), 4000) for s in rng.integers(0, len(whole) - 4000, 4)),
    ]
    for start, count in cuts:
        np.testing.assert_array_equal(read_segment(path, start, count), whole[start : start + count])


def test_a_segment_of_a_long_or_many_channelled_file_equals_the_slice(tmp_path: Path) -> None:
    frames = np.stack([hum(20.0, seed) for seed in range(5)], axis=1)  # several blocks
    for kind in ("wav", "flac", "mp3"):
        path = write(tmp_path, encode(frames if kind != "mp3" else frames[:, :2], kind=kind), f"a.{kind}")
        np.testing.assert_array_equal(read_segment(path, 123457, 48000), load_audio(path)[123457 : 123457 + 48000])


def test_a_segment_may_be_silent_but_not_past_the_end(tmp_path: Path) -> None:
    path = write(tmp_path, encode(np.concatenate([hum(1.0), np.zeros(RATE, np.float32)])))
    assert not read_segment(path, RATE, 1000).any()
    with pytest.raises(AudioError, match=r"has 32,000 samples at 16 kHz, fewer than the 32,001 that the segment needs"):
        read_segment(path, RATE, RATE + 1)
    with pytest.raises(ValueError, match="start=-1"):
        read_segment(path, -1, 10)


# Headers.


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_a_probe_tells_how_many_samples_will_come(tmp_path: Path, kind: str, rate: int) -> None:
    path = write(tmp_path, encode(hum(1.2345, rate=rate), rate, kind), f"a.{kind}")
    header = probe(path)
    assert (header.sample_rate, header.channels) == (rate, 1)
    assert header.frames == int(1.2345 * rate) and header.duration_s == header.frames / rate
    assert header.samples == len(load_audio(path))


def test_the_sample_count_is_rounded_as_the_resampler_does() -> None:
    assert AudioHeader(44100, 1, 44100).samples == 16000
    assert AudioHeader(48000, 1, 4801).samples == 1600  # 1600.33
    assert AudioHeader(32000, 1, 3201).samples == 1601  # 1600.5


# Refusals.


def test_each_refusal_is_one_sentence_that_names_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sound_groove.audio.given.WRITER_WAIT_S", 0.2)
    wav = encode(hum(1.0))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "nothing.wav") == "no such file; check the name and the folder"
    assert refusal("a\0b.wav").startswith("no such file")
    assert refusal("x" * 5000 + ".wav") == "could not be read (file name too long)"
    assert refusal(tmp_path / "folder") == "is a folder, not a recording; name a file in it"
    assert refusal(tmp_path / "pipe") == "is a pipe, and nobody wrote into it for 0.2 s"
    assert refusal(write(tmp_path, b"")) == "is empty (0 bytes)"
    assert refusal(write(tmp_path, b"hello, world\n" * 99)).startswith("is not audio (wav, flac, ogg, opus, mp3")
    assert refusal(write(tmp_path, b"\0\0\0 ftypM4A " + bytes(99))).startswith("is M4A that cannot be read: ")
    assert refusal(write(tmp_path, wav[:-1])) == (
        "is truncated: its header promises 32,000 bytes of samples, the file has 31,999; copy it again"
    )
    assert refusal(write(tmp_path, encode(np.zeros(0)))) == "is empty: it has a header but no samples"
    assert refusal(write(tmp_path, encode(np.zeros(RATE)))) == "is digital silence: all its samples have the same value"
    assert refusal(write(tmp_path, encode(np.full(RATE, 0.1)))).startswith("is digital silence")
    assert refusal(write(tmp_path, encode(hum(0.05)))) == "lasts 0.050 s, less than the 0.1 s that are needed"


def test_truncation_is_named_in_every_format(tmp_path: Path) -> None:
    for kind in FORMATS:
        whole = encode(hum(2.0), kind=kind)
        for end in (len(whole) - 9, len(whole) // 2, len(whole) // 5):
            reason = refusal(write(tmp_path, whole[:end], f"cut.{kind}"))
            assert "truncated" in reason or (kind == "caf" and "damaged" in reason), (kind, end, reason)


def test_a_missing_ogg_page_and_a_flipped_bit_in_one_are_found(tmp_path: Path) -> None:
    whole = encode(hum(9.0), kind="opus")
    pages = [at for at in range(len(whole)) if whole.startswith(b"OggS", at)]
    assert len(pages) > 4
    assert "pages are missing" in refusal(write(tmp_path, whole[: pages[3]] + whole[pages[4] :], "a.opus"))
    flipped = bytearray(whole)
    flipped[pages[3] + 100] ^= 1
    assert "fails its checksum" in refusal(write(tmp_path, bytes(flipped), "a.opus"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_is_refused_at_any_rate_and_channel_count(tmp_path: Path, value: float) -> None:
    for rate, channels in ((16000, 1), (48000, 2)):
        frames = np.stack([hum(1.0, rate=rate)] * channels, axis=1)
        frames[777, 0] = value
        assert "NaN or infinite" in refusal(write(tmp_path, encode(frames, rate, subtype="FLOAT")))


def test_levels_beyond_any_scale_are_refused_and_16_bit_levels_in_floats_are_not(tmp_path: Path) -> None:
    assert "where full scale is 1" in refusal(write(tmp_path, encode(hum(1.0) * 1e20, subtype="FLOAT")))
    assert load_audio(write(tmp_path, encode(hum(1.0) * 32768, subtype="FLOAT"))).max() > 1000


def test_opposite_phase_is_named_as_the_cause_of_silence(tmp_path: Path) -> None:
    sound = hum(1.0)
    for kind in ("wav", "flac", "mp3", "opus"):
        path = write(tmp_path, encode(np.stack([sound, -sound], axis=1), kind=kind), f"a.{kind}")
        assert "cancel each other (opposite phase); keep one channel" in refusal(path)
    one_dead = encode(np.stack([sound, 0 * sound], axis=1), subtype="FLOAT")
    np.testing.assert_array_equal(load_audio(write(tmp_path, one_dead)), sound / 2)


def test_a_small_file_cannot_claim_hours_or_a_crowd_of_channels(tmp_path: Path) -> None:
    flac = encode(hum(1.0), kind="flac")
    claim = flac[:22] + struct.pack(">I", int(MAXIMUM_DURATION_S * RATE) + 1) + flac[26:]
    assert refusal(write(tmp_path, claim)) == "lasts 4.0 h, more than 4 h; cut it into parts"
    many = np.tile(hum(0.2)[:, None], MAXIMUM_CHANNELS + 1)
    assert refusal(write(tmp_path, encode(many))) == "has 65 channels, more than 64; keep those with the voice"
    assert len(load_audio(write(tmp_path, encode(many[:, 1:])))) == len(many)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="an administrator may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, encode(hum(1.0)))
    path.chmod(0)
    assert refusal(path).startswith("may not be read (permission denied)")


def test_a_refused_permission_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    assert refusal(write_bytes_without_open(tmp_path)).startswith("may not be read (permission denied)")


def write_bytes_without_open(folder: Path) -> Path:
    path = folder / "locked.wav"
    with open(path, "wb") as file:  # noqa: PTH123 - Path.open is replaced
        file.write(encode(hum(1.0)))
    return path


def test_an_error_crosses_process_borders(tmp_path: Path) -> None:
    with pytest.raises(AudioError) as caught:
        load_audio(tmp_path / "nothing.wav")
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert (str(copy), copy.path, copy.reason) == (str(caught.value), caught.value.path, caught.value.reason)
    error = AudioError(None, "lasts 9.0 s, more than the 5 s allowed here", code="too_long", values={"most_s": 5})
    copy = pickle.loads(pickle.dumps(error.named("clip")))  # noqa: S301 - our own
    assert (str(copy), copy.code, copy.values) == (f"clip: {error.reason}", "too_long", {"most_s": 5})
    foreign = pickle.loads(pickle.dumps(ForeignFormatError(None, "WebM").named("clip")))  # noqa: S301 - our own
    assert (foreign.called, foreign.format, foreign.code) == ("clip", "WebM", "foreign_format")


# Many broken files.


def test_every_broken_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    paths = write_broken_files(tmp_path / "broken")
    assert len(paths) > 200
    for path in paths:
        assert 10 < len(refusal(path)) < 200, path
        with pytest.raises(AudioError) as caught:
            load_audio(path)
        sentence = re.match("is (truncated|damaged|not audio|empty|digital silence)", caught.value.reason)
        codes = {"not audio": "not_audio", "empty": "empty", "digital silence": "silent"}
        if sentence is not None:  # for whoever reads no English
            assert caught.value.code == codes.get(sentence[1], "damaged"), caught.value.reason


def test_broken_files_are_a_function_of_the_seed(tmp_path: Path) -> None:
    first, again = write_broken_files(tmp_path / "a", 3), write_broken_files(tmp_path / "b", 3)
    assert [path.name for path in first] == [path.name for path in again]
    # libsndfile draws an Ogg stream's serial number by chance, so only the other formats are equal to the byte.
    same = [
        a.read_bytes() == b.read_bytes() for a, b in zip(first, again, strict=True) if a.suffix not in (".opus", ".ogg")
    ]
    assert sum(same) > 0.8 * len(same)


@pytest.mark.parametrize("seed", range(4))
def test_flipped_and_lost_bytes_give_an_audio_error_or_a_valid_array(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = [encode(hum(0.5), kind=kind) for kind in FORMATS]
    whole += [encode(hum(0.5), subtype=subtype) for subtype in ("IMA_ADPCM", "MS_ADPCM", "GSM610", "DOUBLE", "ULAW")]
    outcomes = {"read": 0, "refused": 0}
    for number in range(150):
        data = bytearray(whole[number % len(whole)])
        reach = len(data) if number % 2 else 100  # anywhere, or in the header
        for at in rng.integers(0, reach, int(rng.integers(1, 6))):
            data[at] ^= 1 << int(rng.integers(8))
        if number % 5 == 0:
            del data[int(rng.integers(len(data))) :]
        path = write(tmp_path, bytes(data), "flipped.bin")
        try:
            samples = load_audio(path)
        except AudioError:
            outcomes["refused"] += 1
        else:
            assert samples.dtype == np.float32 and samples.ndim == 1 and len(samples) == probe(path).samples
            assert np.isfinite(samples).all()
            outcomes["read"] += 1
    assert min(outcomes.values()) > 20


def test_the_decoders_do_not_write_to_the_terminal(tmp_path: Path) -> None:
    mp3, long = encode(hum(1.0), kind="mp3"), encode(hum(30.0), 44100, "mp3")
    paths = [
        write(tmp_path, data, f"{number}.mp3")
        for number, data in enumerate((mp3 + mp3, mp3[: len(mp3) // 2], mp3 + b"junk" * 500, mp3[288:], long))
    ]
    program = """
import sys
from sound_groove.audio.reading import load_audio, read_segment
from sound_groove.errors import AudioError
for path in sys.argv[1:]:
    try:
        load_audio(path)
        read_segment(path, 5000, 5000)
    except AudioError:
        pass
print("torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program, *map(str, paths)], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("False\n", "")


# Samples from memory.


def test_samples_from_memory_are_checked_like_a_file() -> None:
    sound = hum(1.0)
    assert check_samples(sound) is not None and check_samples(sound.astype(np.float64)).dtype == np.float32
    np.testing.assert_array_equal(check_samples(np.repeat(sound, 2)[::2]), sound)
    for samples, reason in (
        (np.zeros((2, RATE), np.float32), "has the shape (2, 16000), not one row"),
        ((sound * 32768).astype(np.int16), "holds int16 values"),
        (sound[:1599], "lasts 0.100 s, less than"),
        (sound[:0], "is empty: it has no samples"),
        (np.zeros(RATE), "is digital silence"),
        (np.where(np.arange(RATE) == 5, np.nan, sound), "NaN or infinite"),
        (sound.astype(np.float64) * 1e300, "NaN or infinite"),
    ):
        with pytest.raises(AudioError) as caught:
            check_samples(samples)
        assert caught.value.reason.startswith(reason) or reason in caught.value.reason
        assert str(caught.value).startswith("the recording: ")
    with pytest.raises(AudioError, match=r"^call\.wav: is digital silence"):
        check_samples(np.zeros(RATE), "call.wav")


def test_the_quietest_16_bit_sound_is_not_silence(tmp_path: Path) -> None:
    one_bit = np.zeros(RATE, np.int16)
    one_bit[::100] = 1
    assert load_audio(write(tmp_path, encode(one_bit))).max() == np.float32(1 / 32768)


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.exists(), reason=f"the corpus is not at {CORPUS}")
def test_real_recordings_are_read_and_their_segments_equal_the_slices() -> None:
    paths = sorted(CORPUS.glob("*/**/*.opus"))[::200]
    assert len(paths) > 40
    for path in paths:
        samples = load_audio(path)
        assert len(samples) == probe(path).samples == soundfile.info(path).frames
        np.testing.assert_array_equal(read_segment(path, len(samples) // 3, 1000), samples[len(samples) // 3 :][:1000])
