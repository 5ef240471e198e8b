"""Formats of browsers, phones and Apple: exactly what FFmpeg's encoders were given, or refused with the true reason."""

import io
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import correlate

from broken_audio import encode, hum
from media_files import LOSSLESS, LOSSY, encode_media, quantised
from sound_groove import compare
from sound_groove.audio.decoders import DecodingError, SndfileDecoder
from sound_groove.audio.media.ffmpeg import CODECS, MediaDecoder
from sound_groove.audio.media.mp4_tables import check_tables
from sound_groove.audio.media.signatures import MediaFormat, recognise_media
from sound_groove.audio.reading import load_audio, probe, read_recording, read_segment, read_spans
from sound_groove.errors import AudioError

EXAMPLES = Path(__file__).parents[1] / "examples"


def refusal(recording: object) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(recording)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return caught.value.reason


def at_16_khz(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples as they are heard here, by the resampler that everything goes through."""
    values = samples / {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}.get(samples.dtype, 1.0)
    values = values.astype(np.float32)
    return values if rate == 16000 else soxr.resample(values, rate, 16000, quality="HQ")


def best_lag(found: np.ndarray, wanted: np.ndarray, reach: int = 900) -> tuple[int, float]:
    """By how many samples the one is late, and how alike they are then."""
    middle = wanted[4000:20000].astype(np.float64)
    around = found[4000 - reach : 20000 + reach].astype(np.float64)
    products = correlate(around, middle - middle.mean(), mode="valid")  # one for each lag, as all below
    means, powers = (
        correlate(values, np.full(len(middle), 1 / len(middle)), "valid") for values in (around, around**2)
    )
    likeness = products / (len(middle) * middle.std() * np.sqrt(powers - means**2))
    place = int(likeness.argmax())
    return place - reach, float(likeness[place])


# Round trips.


@pytest.mark.parametrize("name", sorted(LOSSLESS))
def test_a_lossless_format_gives_back_the_source_to_the_bit(name: str) -> None:
    muxer, coding, form, rate = LOSSLESS[name]
    sound = hum(2.3456, rate=rate)
    data = encode_media(sound, muxer, coding, form, rate)
    wanted = at_16_khz(quantised(sound, form), rate)
    np.testing.assert_array_equal(load_audio(data), wanted)
    assert probe(data).samples == len(wanted) and probe(data).sample_rate == rate


@pytest.mark.parametrize("name", sorted(set(LOSSY) - {"aac.wav"}))
def test_a_lossy_format_sounds_like_the_source_and_is_as_long(name: str) -> None:
    muxer, coding, form, rate = LOSSY[name]
    sound = hum(2.3456, rate=rate)
    data = encode_media(sound, muxer, coding, form, rate)
    found, wanted = load_audio(data), at_16_khz(sound.astype(np.float32), rate)
    assert probe(data).samples == len(found)
    lag, likeness = best_lag(found, wanted)
    assert likeness > (0.93 if "amr" in name or "16" in name or "3gp" in name else 0.98), (lag, likeness)
    # A file that says how much an encoder put before and behind the sound is as long as its source, to the rounding of
    # its times; raw streams cannot say so, and keep a frame or two.
    tells = name.split(".")[1] in ("m4a", "m4b", "mp4", "mov", "3gp", "webm") or name == "opus.mka"
    assert abs(len(found) - len(wanted)) <= (120 if tells else 1100)
    if tells and "amr" not in name:
        assert lag == 0


def test_stereo_and_many_channels_are_averaged_like_those_of_other_formats() -> None:
    frames = np.stack([hum(1.5, 1, 44100), 0.5 * hum(1.5, 2, 44100)], axis=1)
    wav = load_audio(encode(quantised(frames, "s16"), 44100))  # type: ignore[arg-type]
    for muxer, coding, form in (("ipod", "alac", "s16p"), ("matroska", "flac", "s16"), ("mov", "pcm_s16le", "s16")):
        np.testing.assert_array_equal(load_audio(encode_media(frames, muxer, coding, form, 44100)), wav)


def test_segments_and_spans_equal_the_whole_to_the_bit() -> None:
    path_data = encode_media(hum(4.0, rate=44100), "ipod", "aac", "fltp", 44100)
    whole = load_audio(path_data)
    spans = [(0, 9000), (5000, 30000), (30000, len(whole))]
    for (start, end), part in zip(spans, read_spans(path_data, lambda total: spans), strict=True):
        np.testing.assert_array_equal(part, whole[start:end])


def test_a_segment_of_a_file_equals_the_slice(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(encode_media(hum(4.0, rate=16000), "ipod", "aac", "fltp", 16000))
    whole = load_audio(path)
    for start, count in ((0, 1), (12345, 20000), (len(whole) - 7, 7)):
        np.testing.assert_array_equal(read_segment(path, start, count), whole[start : start + count])
    with pytest.raises(AudioError, match=rf"has {len(whole):,} samples at 16 kHz, fewer than the {len(whole) + 1:,}"):
        read_segment(path, len(whole), 1)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "opus", "mp3"])
def test_ffmpeg_and_libsndfile_agree_on_what_both_read(kind: str) -> None:
    demuxer = {"opus": "ogg"}.get(kind, kind)
    data = encode(hum(3.0, rate=48000 if kind == "opus" else 44100), 48000 if kind == "opus" else 44100, kind)
    ours = SndfileDecoder(io.BytesIO(data)).read(10**9)
    theirs = MediaDecoder(io.BytesIO(data), len(data), MediaFormat(demuxer, kind)).read(10**9)
    if kind in ("wav", "flac"):
        np.testing.assert_array_equal(theirs, ours)
    else:
        common = min(len(ours), len(theirs))
        assert abs(len(ours) - len(theirs)) < 1200
        assert 20 * np.log10((theirs[:common] - ours[:common]).std() / ours.std()) < -50


# As programs and browsers write them.


def fragmented(seconds: float = 3.0) -> bytes:
    """An mp4 as browsers record it: pieces, and no length at the front."""
    flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "300000"}
    return encode_media(hum(seconds, rate=48000), "mp4", "aac", "fltp", 48000, options=flags)


def test_a_fragmented_mp4_and_a_webm_without_a_length_are_read_whole() -> None:
    assert abs(len(load_audio(fragmented())) - 48000) < 700  # the encoder's delay: nothing says how much it is
    live = encode_media(hum(3.0, rate=48000), "webm", "libopus", "flt", 48000, options={"live": "1"})
    assert len(load_audio(live)) == 48000


def test_an_mp4_with_its_index_behind_is_read_from_bytes_and_through_a_pipe(tmp_path: Path) -> None:
    data = encode_media(hum(2.0, rate=44100), "ipod", "alac", "s16p", 44100)
    assert data.index(b"mdat") < data.index(b"moov")
    whole = load_audio(data)
    program = "import sys; from sound_groove import load_audio; print(len(load_audio('-')), load_audio.__module__)"
    piped = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=True)
    assert piped.stdout.split()[0] == str(len(whole)).encode() and piped.stderr == b""


def test_a_live_recording_that_was_cut_off_within_a_block_is_refused() -> None:
    live = encode_media(hum(3.0, rate=48000), "webm", "libopus", "flt", 48000, options={"live": "1"})
    with pytest.raises(AudioError, match="it is truncated: its header promises"):
        load_audio(live[: len(live) // 2])


def test_tags_before_raw_aac_do_no_harm() -> None:
    aac = encode_media(hum(2.0, rate=44100), "adts", "aac", "fltp", 44100)
    tag = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    np.testing.assert_array_equal(load_audio(tag + aac), load_audio(aac))


def test_raw_gsm_is_read_as_libsndfile_reads_it(tmp_path: Path) -> None:
    raw = io.BytesIO()
    soundfile.write(raw, hum(2.0, rate=8000), 8000, format="RAW", subtype="GSM610")
    kept = {"samplerate": 8000, "channels": 1, "format": "RAW", "subtype": "GSM610", "dtype": "float32"}
    theirs = soundfile.read(io.BytesIO(raw.getvalue()), **kept)[0]
    np.testing.assert_array_equal(load_audio(raw.getvalue()), at_16_khz(theirs, 8000))


def test_pictures_are_passed_over_and_the_first_of_several_soundtracks_is_taken_with_a_word() -> None:
    sound = hum(2.0, rate=44100)
    film = encode_media(sound, "mov", "pcm_s16le", "s16", 44100, video=True)
    wanted = at_16_khz(quantised(sound, "s16"), 44100)
    np.testing.assert_array_equal(load_audio(film), wanted)
    two = read_recording(encode_media(sound, "mov", "pcm_s16le", "s16", 44100, tracks=2))
    np.testing.assert_array_equal(two.samples, wanted)
    assert [(warning.code, warning.message) for warning in two.warnings] == [
        ("several_tracks", "has 2 soundtracks, and the first was taken")
    ]


def test_a_film_without_sound_says_so() -> None:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    assert refusal(file.getvalue()) == "is MP4 that cannot be read: it has no soundtrack"


def test_an_encrypted_file_says_so() -> None:
    data = encode_media(hum(1.0, rate=44100), "ipod", "aac", "fltp", 44100)
    assert "encrypted" in refusal(data.replace(b"mp4a", b"drms", 1))


def test_limits_hold_for_what_ffmpeg_decodes() -> None:
    silence = np.zeros(16000, np.float32)
    assert "digital silence" in refusal(encode_media(silence, "ipod", "alac", "s16p", 16000))
    assert "less than the 0.1 s" in refusal(encode_media(hum(0.06), "ipod", "alac", "s16p", 16000))
    sound = hum(1.0)
    opposite = encode_media(np.stack([sound, -sound], axis=1), "ipod", "alac", "s16p", 16000)
    assert "cancel each other" in refusal(opposite)
    long = encode_media(hum(6.0, rate=48000), "webm", "libopus", "flt", 48000, options={"live": "1"})
    with pytest.raises(AudioError, match=r"lasts more than the 5 s allowed here"):
        read_recording(long, longest_s=5.0)
    with pytest.raises(AudioError, match=r"lasts 6\.0 s, more than the 5 s allowed here"):
        read_recording(encode_media(hum(6.0), "ipod", "alac", "s16p", 16000), longest_s=5.0)


# Damage.

REASONS = ("truncated", "damaged", "cannot be read", "empty", "not audio", "less than the 0.1 s")
STREAMS = ("aac.ts", "a.ac3", "a.eac3")  # made to be cut anywhere: they have no length and no end


@pytest.mark.parametrize("name", sorted({**LOSSLESS, **LOSSY}.keys() - {"aac.wav", *STREAMS}))
def test_a_file_that_was_cut_off_is_refused_or_whole_and_never_half(name: str) -> None:
    muxer, coding, form, rate = {**LOSSLESS, **LOSSY}[name]
    data = encode_media(hum(2.0, rate=rate), muxer, coding, form, rate)
    whole = load_audio(data)
    rng = np.random.default_rng(0)
    for end in (
        len(data) - 3,
        len(data) * 9 // 10,
        len(data) // 2,
        len(data) // 5,
        *rng.integers(9, len(data) // 2, 4),
    ):
        try:
            found = load_audio(data[: int(end)])
        except AudioError as error:
            assert any(
                word in error.reason for word in ("truncated", "damaged", "cannot be read", "empty", "not audio")
            )
        else:
            assert end > 0.98 * len(data) and len(found) >= len(whole) - 1024, (name, end)


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bytes_give_an_audio_error_or_finite_samples_in_bounded_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = {**LOSSLESS, **LOSSY}
    outcomes = {"read": 0, "refused": 0}
    for number, name in enumerate(sorted(kinds)):
        muxer, coding, form, rate = kinds[name]
        data = encode_media(hum(0.7, rate=rate), muxer, coding, form, rate)
        for reach in (len(data), 300):
            flipped = bytearray(data)
            for at in rng.integers(0, min(reach, len(data)), int(rng.integers(1, 6))):
                flipped[at] ^= 1 << int(rng.integers(8))
            began = time.process_time()
            try:
                samples = load_audio(bytes(flipped))
            except AudioError as error:
                assert "\n" not in str(error)
                outcomes["refused"] += 1
            else:
                assert np.isfinite(samples).all() and len(samples) < 16000 * 60
                outcomes["read"] += 1
            assert time.process_time() - began < 5, (number, name)
    assert min(outcomes.values()) > 5


def test_tables_that_count_more_samples_than_there_can_be_are_refused_before_they_are_unfolded() -> None:
    whole = fragmented()
    check_tables(io.BytesIO(whole), len(whole))
    at = whole.index(b"trun")
    for count in (100_000_000, 0xFFFFFFFF):
        bomb = whole[: at + 4] + struct.pack(">II", 1, count) + whole[at + 12 :]
        with pytest.raises(DecodingError, match="'trun' counts more samples"):
            check_tables(io.BytesIO(bomb), len(bomb))
        assert "counts more samples than there can be" in refusal(bomb)
    plain = encode_media(hum(2.0), "ipod", "aac", "fltp", 16000)
    at = plain.index(b"stts")
    bomb = plain[: at + 12] + struct.pack(">I", 4_000_000_000) + plain[at + 16 :]
    assert "'stts' counts more samples" in refusal(bomb)
    at = plain.index(b"stsz")
    bomb = plain[: at + 8] + struct.pack(">II", 1000, 4_000_000_000) + plain[at + 16 :]
    assert "'stsz' counts more samples" in refusal(bomb)
    packed = plain.replace(b"mvhd", b"cmov", 1)  # an index in zlib, as QuickTime once wrote it
    assert "its index is compressed" in refusal(packed)


def test_nothing_that_a_file_names_is_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encode(hum(1.0)))
    for number, text in enumerate(
        (
            f"#EXTM3U\n#EXTINF:1,\n{secret}\n",
            f"ffconcat version 1.0\nfile '{secret}'\n",
            f"[playlist]\nFile1={secret}\n",
            "<MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
        )
    ):
        path = tmp_path / f"list-{number}.m4a"
        path.write_text(text)
        assert refusal(path) == "is a playlist, which only names recordings; give those"
    for name in ("http://127.0.0.1:9/a.wav", f"file:{secret}", f"concat:{secret}|{secret}", f"subfile,,:{secret}"):
        assert refusal(name) == "no such file; check the name and the folder"
    # FFmpeg by itself would follow these; with the formats that are given to it, and no protocol, it cannot.
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n".encode()
    for demuxer in ("hls", "concat"):
        with pytest.raises(DecodingError):
            MediaDecoder(io.BytesIO(playlist), len(playlist), MediaFormat(demuxer, "playlist"))


def test_an_mp4_whose_sound_lies_in_another_file_is_refused(tmp_path: Path) -> None:
    """A 'dref' that is not the file itself, as QuickTime writes reference movies."""
    secret = tmp_path / "secret.pcm"
    secret.write_bytes(quantised(hum(2.0), "s16").tobytes())
    data = encode_media(hum(2.0), "mov", "pcm_s16le", "s16", 16000)
    at = data.index(b"dref")
    # The entry's flag 1 says 'in this file'; without it the file that 'alis' or 'url ' names is meant.
    entry = at + 12
    assert data[entry + 4 : entry + 8] in (b"url ", b"alis") and data[entry + 11] == 1
    outside = bytearray(data)
    outside[entry + 11] = 0
    try:
        found = load_audio(bytes(outside))
    except AudioError:
        return
    np.testing.assert_array_equal(found, load_audio(data))  # the bytes of the file itself, and of no other


def test_only_sound_is_decoded() -> None:
    import av

    assert all(av.Codec(name, "r").type == "audio" for name in CODECS if name in av.codecs_available)
    assert sum(name in av.codecs_available for name in CODECS) > 60


# Names.


def test_formats_are_told_by_their_first_bytes() -> None:
    for name, (muxer, coding, form, rate) in {**LOSSLESS, **LOSSY}.items():
        found = recognise_media(encode_media(hum(0.5, rate=rate), muxer, coding, form, rate)[:1024])
        assert (found is None) == name.endswith((".wav", ".caf", ".oga")), name
    assert recognise_media(b"\xd4" + bytes(32)) is None
    assert recognise_media((b"\xd4" + bytes(32)) * 32) == MediaFormat("gsm", "GSM")
    for kind in ("wav", "flac", "opus", "ogg", "mp3", "aiff", "au", "caf", "w64", "rf64", "sph"):
        assert recognise_media(encode(hum(0.5), kind=kind)[:1024]) is None


def test_without_the_extra_the_sentence_names_the_format_and_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    m4a = encode_media(hum(1.0, rate=44100), "ipod", "aac", "fltp", 44100)
    webm = encode_media(hum(1.0, rate=48000), "webm", "libopus", "flt", 48000)
    g726 = encode_media(hum(1.0, rate=8000), "wav", "g726", "s16", 8000)
    monkeypatch.setattr("sound_groove.audio.opening.has_media", lambda: False)
    assert refusal(m4a) == (
        "is M4A, and reading that needs the 'media' extra: pip install --editable '.[media]', "
        "or convert it: ffmpeg -i INPUT OUTPUT.wav"
    )
    assert refusal(webm).startswith("is WebM, and reading that needs the 'media' extra: pip install")
    assert "pip install --editable '.[media]'" in refusal(g726)
    assert len(load_audio(encode(hum(1.0)))) == 16000


def test_ffmpeg_says_nothing_on_the_terminal_and_is_loaded_only_when_needed(tmp_path: Path) -> None:
    m4a = encode_media(hum(1.0, rate=44100), "ipod", "aac", "fltp", 44100)
    (tmp_path / "a.wav").write_bytes(encode(hum(1.0)))
    (tmp_path / "cut.m4a").write_bytes(m4a[: len(m4a) // 2])
    (tmp_path / "noise.webm").write_bytes(b"\x1a\x45\xdf\xa3" + np.random.default_rng(0).bytes(3000))
    (tmp_path / "a.m4a").write_bytes(m4a)
    program = """
import sys
from sound_groove.audio.reading import load_audio
from sound_groove.errors import AudioError
load_audio("a.wav")
print("av" in sys.modules)
for name in ("a.m4a", "cut.m4a", "noise.webm"):
    try:
        print(len(load_audio(name)))
    except AudioError as error:
        print("refused")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (run.stdout.split(), run.stderr) == (["False", "16000", "refused", "refused"], "")


def test_decoding_is_the_same_every_time() -> None:
    data = encode_media(hum(3.0, rate=48000), "webm", "libopus", "flt", 48000)
    np.testing.assert_array_equal(load_audio(data), load_audio(data))


# In use.


def test_a_clip_as_m4a_is_compared_as_it_was(tmp_path: Path) -> None:
    clip, rate = soundfile.read(EXAMPLES / "rms-1.flac", dtype="float32")
    path = tmp_path / "rms-1.m4a"
    path.write_bytes(encode_media(clip, "ipod", "aac", "fltp", rate))
    assert compare(path, EXAMPLES / "rms-2.flac").verdict == "same"
    assert compare(path, EXAMPLES / "awb-1.flac").verdict == "different"


def test_voxceleb2_is_prepared_from_its_own_m4a(tmp_path: Path) -> None:
    from sound_groove.corpora.layouts import VoxCeleb
    from sound_groove.corpora.preparation import prepare
    from sound_groove.corpora.preparation_report import PreparationOptions

    for speaker in ("id00012", "id00015", "id00016"):
        folder = tmp_path / "vox2/dev/aac" / speaker / "21Uxsk56VDQ"
        folder.mkdir(parents=True)
        for number in range(2):
            sound = hum(4.0, seed=number, rate=16000)
            (folder / f"{number:05d}.m4a").write_bytes(encode_media(sound, "ipod", "aac", "fltp", 16000))
    report = prepare(
        VoxCeleb(tmp_path / "vox2"), tmp_path / "out", PreparationOptions(validation_speakers=0, wav=True), workers=1
    )
    assert (report.train.speakers, report.train.utterances, report.bad) == (3, 6, 0)
    wav = tmp_path / "out/wav/id00012/21Uxsk56VDQ/00000.wav"
    assert len(load_audio(wav)) == 64000


@pytest.mark.service
def test_the_decoding_worker_reads_them_within_its_memory() -> None:
    from sound_groove.service.limits import Limits
    from test_service_workers import refusal as refused
    from test_service_workers import with_workers

    m4a = encode_media(hum(3.0, rate=44100), "ipod", "aac", "fltp", 44100)
    webm = encode_media(hum(3.0, rate=48000), "webm", "libopus", "flt", 48000, tracks=1)
    bomb = fragmented()
    at = bomb.index(b"trun")
    bomb = bomb[: at + 4] + struct.pack(">II", 1, 100_000_000) + bomb[at + 12 :]
    long = encode_media(hum(6.0, rate=48000), "webm", "libopus", "flt", 48000, options={"live": "1"})

    async def work(workers: object) -> None:
        for data in (m4a, webm):
            heard = await workers.hear(data, "it")  # type: ignore[attr-defined]
            np.testing.assert_array_equal(heard.samples, load_audio(data))
        assert "counts more samples" in await refused(workers, bomb)  # type: ignore[arg-type]
        assert "lasts more than the 5 s allowed here" in await refused(workers, long)  # type: ignore[arg-type]

    assert with_workers(Limits(workers=1, duration_s=5.0), work).restarts == 0
