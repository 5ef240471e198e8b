"""What may be given as a recording: pipes, bytes, open files, samples with their rate; and what is refused."""

import asyncio
import io
import os
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io.wavfile
import soundfile
import torch

from broken_audio import encode, hum
from sound_groove import (
    SoundGrooveError,
    SpeakerEncoder,
    compare,
    enroll,
    identify,
    load_audio,
    open_gallery,
    open_store,
    verify_speaker,
)
from sound_groove.audio.channels import with_channel
from sound_groove.audio.given import Part, split_name
from sound_groove.audio.reading import open_recording, probe, read_recording, read_segment
from sound_groove.errors import AudioError, UsageError
from sound_groove.scoring.decision import DecisionRule
from sound_groove.types import CropAveraging

EXAMPLES = Path(__file__).parents[1] / "examples"
CLIP, OTHER = EXAMPLES / "rms-1.flac", EXAMPLES / "rms-2.flac"
LOAD = "import sys; from sound_groove import load_audio; print(len(load_audio(sys.argv[1])))"


def refusal(recording: Any) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(recording)
    assert "\n" not in str(caught.value)
    return caught.value.reason


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder.load("pretrained", threads=1)


# Bytes and open files.


def test_the_same_audio_comes_from_a_path_bytes_and_open_files(tmp_path: Path) -> None:
    for kind in ("wav", "flac", "mp3", "opus"):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(encode(hum(1.0, rate=48000), 48000, kind))
        data, wanted = path.read_bytes(), load_audio(path)
        for given in (str(path), os.fspath(path), data, bytearray(data), memoryview(data), io.BytesIO(data)):
            np.testing.assert_array_equal(load_audio(given), wanted)
        with path.open("rb") as file, path.open("rb", buffering=0) as raw:
            np.testing.assert_array_equal(load_audio(file), wanted)
            np.testing.assert_array_equal(load_audio(raw), wanted)
            assert not file.closed and not raw.closed
        assert probe(data).samples == len(wanted)


def test_an_open_file_is_read_from_its_beginning_wherever_it_stands() -> None:
    file = io.BytesIO()
    soundfile.write(file, hum(1.0), 16000, format="WAV")  # stands at its end now
    first = load_audio(file)
    np.testing.assert_array_equal(load_audio(file), first)


def test_a_stream_that_cannot_go_back_is_read_to_its_end() -> None:
    class Stream:
        def __init__(self, data: bytes) -> None:
            self.rest = data

        def read(self, count: int = -1) -> bytes:
            piece, self.rest = self.rest[:777], self.rest[777:]
            return piece

    data = encode(hum(1.0))
    np.testing.assert_array_equal(load_audio(Stream(data)), load_audio(data))


def test_open_files_that_give_no_bytes_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encode(hum(1.0)))
    with path.open(encoding="latin-1") as text:
        assert refusal(text) == "gives a str where bytes were expected; open it with 'rb'"
    closed = path.open("rb")
    closed.close()
    assert refusal(closed).startswith("could not be read (ValueError: ")
    assert refusal(io.BytesIO()) == "is empty: nothing came out of it (a pipe can be read once only)"
    assert refusal(b"") == "is empty (0 bytes)"
    assert refusal(b"hello").startswith("is not audio")

    class Needy:
        def read(self, one: int, two: int) -> bytes:
            return b""

    assert refusal(Needy()).startswith("could not be read (TypeError: ")

    class Awaited:
        async def read(self, count: int) -> bytes:
            await asyncio.sleep(0)
            return b""

    assert refusal(Awaited()) == "gives a coroutine where bytes were expected; open it with 'rb'"


# Pipes.


@pytest.mark.skipif(os.name == "nt", reason="named pipes are a Unix thing")
def test_named_pipes_are_read(tmp_path: Path) -> None:
    for kind in ("wav", "flac", "mp3", "opus"):
        data = encode(hum(2.0), kind=kind)
        pipe = tmp_path / f"pipe.{kind}"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_bytes, args=(data,))
        writer.start()
        np.testing.assert_array_equal(load_audio(pipe), load_audio(data))
        writer.join()


@pytest.mark.skipif(os.name == "nt", reason="named pipes are a Unix thing")
def test_a_pipe_that_stays_empty_or_without_a_writer_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"",))
    writer.start()
    assert refusal(pipe).startswith("is empty: nothing came out of it")
    writer.join()
    monkeypatch.setattr("sound_groove.audio.given.WRITER_WAIT_S", 0.1)
    assert refusal(pipe) == "is a pipe, and nobody wrote into it for 0.1 s"
    assert refusal("/dev/zero") == "is a device, not a recording; save the audio to a file, or pipe it"
    assert refusal("/dev/null") == "is empty: nothing came from it"


def run(command: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-c", command], input=data, capture_output=True, check=False)


@pytest.mark.skipif(os.name == "nt", reason="bash")
def test_the_standard_input_and_process_substitution_are_read(tmp_path: Path) -> None:
    python = f"'{sys.executable}' -c '{LOAD}'"
    data = CLIP.read_bytes()
    wanted = str(len(load_audio(CLIP))).encode()
    for command in (
        f"{python} -",
        f"cat | {python} -",
        f"{python} - < '{CLIP}'",
        f"{python} /dev/stdin",
        f"{python} <(cat '{CLIP}')",
    ):
        done = run(command, data)
        assert (done.stdout.strip(), done.stderr) == (wanted, b""), command


@pytest.mark.skipif(os.name == "nt", reason="bash")
def test_an_empty_standard_input_and_one_that_is_read_twice_are_refused_in_a_sentence() -> None:
    verb = f"'{sys.executable}' -m sound_groove compare"
    nothing = run(f"{verb} - '{CLIP}' < /dev/null")
    assert nothing.returncode == 1
    assert nothing.stderr == (
        b"error: standard input: is empty: nothing came out of it (a pipe can be read once only)\n"
    )
    twice = run(f"cat '{CLIP}' | {verb} - -")
    assert twice.returncode == 1 and b"can be read once only" in twice.stderr and b"Traceback" not in twice.stderr
    piped = run(f"cat '{CLIP}' | {verb} - '{OTHER}'")
    assert piped.returncode == 0 and b"verdict      same speaker" in piped.stdout


# Parts.


def test_a_part_of_a_file_is_what_the_whole_has_there(tmp_path: Path) -> None:
    for kind, rate in (("wav", 16000), ("flac", 16000), ("opus", 16000), ("mp3", 16000)):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(encode(hum(3.0, rate=rate), rate, kind))
        whole = load_audio(path)
        close = 1e-6 if kind == "mp3" else 0  # libmpg123 rounds by where it is asked to stop
        for part, wanted in (
            ("0.5,2", whole[8000:32000]),
            ("1.25", whole[20000:]),
            (",1", whole[:16000]),
            ("2,3.4", whole[32000:]),  # beyond the end, within Kaldi's tolerance
        ):
            np.testing.assert_allclose(load_audio(f"{path}#t={part}"), wanted, rtol=0, atol=close)
        assert probe(f"{path}#t=0.5,2").samples == 24000
    assert refusal(f"{path}#t=2,9") == "has no part from 2 s to 9 s: it lasts 3.00 s"
    assert refusal(f"{path}#t=4") == "has no part from 4 s to its end: it lasts 3.00 s"
    assert "would end before it begins" in refusal(f"{path}#t=2,1")


def test_a_part_of_what_ffmpeg_decodes(tmp_path: Path) -> None:
    from media_files import encode_media

    path = tmp_path / "a.m4a"
    path.write_bytes(encode_media(hum(3.0), "ipod", "alac", "s16p", 16000))
    np.testing.assert_array_equal(load_audio(f"{path}#t=0.5,2"), load_audio(path)[8000:32000])
    assert "ends before the part does" in refusal(f"{path}#t=1,9")


def test_a_file_whose_own_name_looks_like_a_part_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.wav#t=1,2"
    path.write_bytes(encode(hum(3.0)))
    assert len(load_audio(path)) == 48000


# Samples with their rate.


def test_samples_are_taken_as_soundfile_scipy_and_torch_hand_them_over(tmp_path: Path) -> None:
    frames = np.stack([hum(1.5, 1, 44100), 0.3 * hum(1.5, 2, 44100)], axis=1)
    path = tmp_path / "a.wav"
    soundfile.write(path, frames, 44100, subtype="PCM_16")
    wanted = load_audio(path)
    samples, rate = soundfile.read(path, dtype="float32")
    integers = soundfile.read(path, dtype="int16")[0]
    wide = soundfile.read(path, dtype="int32")[0]
    for given in (
        soundfile.read(path, dtype="float32"),
        scipy.io.wavfile.read(path),  # (rate, int16)
        (samples, rate),
        (rate, samples),
        (samples.T, np.int64(rate)),
        (integers, float(rate)),
        (wide, rate),
        (samples.astype(np.float64), rate),
        (torch.from_numpy(samples.T.copy()), rate),  # as torchaudio.load: (channels, time)
        (torch.from_numpy(integers.T.copy()), rate),
        (torch.from_numpy(samples.T.copy()).requires_grad_(), torch.tensor(rate)),
        (np.asfortranarray(samples), rate),
        (integers.astype(">i2"), rate),
        (samples.tolist(), rate),
    ):
        np.testing.assert_array_equal(load_audio(given), wanted)
    half = load_audio((samples.astype(np.float16), rate))
    assert np.abs(half - wanted).max() < 1e-3
    assert read_recording((samples, rate)).channels.count == 2
    mono = encode(hum(1.0, rate=8000), 8000, subtype="PCM_U8")
    (tmp_path / "b.wav").write_bytes(mono)
    np.testing.assert_array_equal(load_audio(scipy.io.wavfile.read(tmp_path / "b.wav")), load_audio(mono))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ((np.zeros((2, 3, 4)), 16000), "has the shape (2, 3, 4); samples are"),
        ((np.zeros(16000, np.int64), 16000), "holds int64 values, of which nobody knows the full scale"),
        ((np.zeros(16000, complex), 16000), "holds complex128 values"),
        ((np.array(["a"] * 9), 16000), "holds <U1 values"),
        ((np.array([None] * 9), 16000), "holds object values"),
        ((None, 16000), "has the shape ()"),
        (({}, 16000), "has the shape ()"),
        (([[1.0], [1.0, 2.0]], 16000), "cannot be made an array of samples"),
        ((hum(1.0), 16000.5), "has a sample rate of 16000.5, which is no whole number of Hz"),
        ((hum(1.0), float("nan")), "has a sample rate of nan"),
        ((hum(1.0), 0), "has a sample rate of 0 Hz, outside"),
        ((hum(1.0), -16000), "has a sample rate of -16,000 Hz, outside"),
        ((hum(1.0), 10**30), "has a sample rate of"),
        ((np.tile(hum(1.0)[:, None], 65), 16000), "has 65 channels, more than 64"),
        ((np.zeros(16000, np.int16), 16000), "is digital silence"),
        ((np.full(16000, np.nan), 16000), "holds samples that are NaN"),
        ((hum(0.05), 16000), "lasts 0.050 s"),
        ((np.zeros(0), 16000), "is empty"),
        ((hum(1.0), "16000"), "is a tuple, and a recording is a path"),
        ((hum(1.0),), "is a tuple"),
        ((16000, 16000), "is a tuple"),
        (None, "is None, and a recording is a path, the bytes of a file, an open file, or samples"),
        ({}, "is a dict"),
        ([0.1, 0.2], "is a list"),
        (3, "is an int"),
        (object(), "is an object"),
        ("no such.wav", "no such file"),
        ("", "is a folder"),
        (np.array([None, 1]), "holds object values"),
        (np.zeros((2, 16000), np.float32), "has the shape (2, 16000), not one row"),
        (torch.zeros(16000), "is digital silence"),
    ],
)
def test_what_is_no_recording_is_refused_in_a_sentence(given: Any, reason: str) -> None:
    assert refusal(given).startswith(reason) or reason in refusal(given)


# In every call.


def forms() -> list[Any]:
    samples, rate = soundfile.read(CLIP, dtype="float32")
    return [str(CLIP), CLIP, CLIP.read_bytes(), io.BytesIO(CLIP.read_bytes()), (samples, rate), (rate, samples)]


def test_every_call_takes_every_form(tmp_path: Path) -> None:
    encoder = SpeakerEncoder.load("pretrained", threads=1)
    wanted = encoder.embed(CLIP)
    for given in forms():
        np.testing.assert_array_equal(encoder.embed(given), wanted)
    np.testing.assert_allclose(encoder.embed(forms()[:3]), np.stack([wanted] * 3), atol=1e-5)
    assert encoder.embed([]).shape == (0, encoder.embedding_size)
    other = compare(CLIP, OTHER, encoder)
    assert all(compare(given, OTHER, encoder).score == other.score for given in forms()[2:])
    with closing(open_store(tmp_path / "voices.db", create=True)) as store:
        enroll(store, "rms", OTHER.read_bytes(), encoder)
        enroll(store, "rms", [soundfile.read(EXAMPLES / "rms-1.flac")], encoder, force=True)
        gallery = open_gallery(store, encoder.identity)
        for given in forms()[2:5]:
            assert verify_speaker(store, "rms", given, encoder).verdict == "same"
            assert identify(gallery, given, encoder).speaker == "rms"


def test_a_recording_that_is_none_is_told_by_its_place(encoder: SpeakerEncoder) -> None:
    with pytest.raises(AudioError, match=r"^the second recording: is None, and a recording is a path"):
        compare(CLIP, None, encoder)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match=r"^the first recording: is a list"):
        compare([1.0, 2.0], CLIP, encoder)  # type: ignore[arg-type]


def test_wrong_arguments_raise_our_errors_in_one_sentence(
    encoder: SpeakerEncoder, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store: Any = open_store(tmp_path / "voices.db", create=True)
    request.addfinalizer(store.close)
    gallery = open_gallery(store, encoder.identity)
    anything: Any = object()
    calls: list[Any] = [
        lambda: compare(CLIP, OTHER, encoder, prior="half"),  # type: ignore[arg-type]
        lambda: compare(CLIP, OTHER, encoder, prior=None),  # type: ignore[arg-type]
        lambda: compare(CLIP, OTHER, encoder, prior=float("nan")),
        lambda: compare(CLIP, OTHER, encoder, prior=True),
        lambda: compare(CLIP, OTHER, encoder, crops=10),  # type: ignore[arg-type]
        lambda: compare(CLIP, OTHER, encoder, crops=CropAveraging("a", 2)),  # type: ignore[arg-type]
        lambda: compare(CLIP, OTHER, encoder, rule="strict"),  # type: ignore[arg-type]
        lambda: compare(CLIP, OTHER, 7),  # type: ignore[arg-type]
        lambda: compare(CLIP, OTHER, {}),  # type: ignore[arg-type]
        lambda: DecisionRule(false_accept="much"),  # type: ignore[arg-type]
        lambda: DecisionRule(max_false_accept="little"),  # type: ignore[arg-type]
        lambda: encoder.embed(None),  # type: ignore[arg-type]
        lambda: encoder.embed({}),  # type: ignore[arg-type]
        lambda: encoder.embed(5),  # type: ignore[arg-type]
        lambda: encoder.embed([None]),  # type: ignore[list-item]
        lambda: encoder.embed([1.0, 2.0]),  # type: ignore[list-item]
        lambda: encoder.embed(np.array([None, None])),
        lambda: encoder.embed(CLIP, batch_seconds="long"),  # type: ignore[arg-type]
        lambda: encoder.embed(CLIP, batch_seconds=-1),
        lambda: encoder.embed(CLIP, batch_seconds=0),
        lambda: encoder.embed(CLIP, batch_seconds=float("inf")),
        lambda: encoder.embed(CLIP, crops=3),  # type: ignore[arg-type]
        lambda: encoder.embed(CLIP, crops=CropAveraging(1.5, 100)),  # type: ignore[arg-type]
        lambda: SpeakerEncoder.load(None),  # type: ignore[arg-type]
        lambda: SpeakerEncoder.load("pretrained", device=0),  # type: ignore[arg-type]
        lambda: SpeakerEncoder.load("pretrained", threads="many"),  # type: ignore[arg-type]
        lambda: SpeakerEncoder.load("pretrained", threads=0),
        lambda: enroll(store, 5, CLIP, encoder),  # type: ignore[arg-type]
        lambda: enroll(store, "a", None, encoder),  # type: ignore[arg-type]
        lambda: enroll(store, "a", [None], encoder),  # type: ignore[list-item]
        lambda: enroll(store, "a", CLIP, None),  # type: ignore[arg-type]
        lambda: enroll(anything, "a", CLIP, encoder),
        lambda: identify(gallery, CLIP, encoder, top="all"),  # type: ignore[arg-type]
        lambda: identify(gallery, CLIP, encoder, prior="half"),  # type: ignore[arg-type]
        lambda: identify(anything, CLIP, encoder),
        lambda: identify(gallery, CLIP, None),  # type: ignore[arg-type]
        lambda: verify_speaker(store, None, CLIP, encoder),  # type: ignore[arg-type]
        lambda: verify_speaker(anything, "a", CLIP, encoder),
        lambda: open_store(None),  # type: ignore[arg-type]
    ]
    for number, call in enumerate(calls):
        with pytest.raises(SoundGrooveError) as caught:
            call()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300, number
    with pytest.raises(UsageError, match=r"^the prior must be a number; 'half' was given$"):
        compare(CLIP, OTHER, encoder, prior="half")  # type: ignore[arg-type]


# Channels and parts.


def test_a_channel_is_chosen_of_all_that_can_be_given(tmp_path: Path) -> None:
    frames = np.stack([hum(2.0, 1), hum(2.0, 2)], axis=1)
    path = tmp_path / "call.wav"
    soundfile.write(path, frames, 16000, subtype="FLOAT")
    wanted = frames[:, 1].astype(np.float32)
    for given in (path, path.read_bytes(), path.open("rb"), (frames, 16000), (16000, frames.T)):
        np.testing.assert_array_equal(load_audio(given, 2), wanted)
    part = wanted[8000:24000]
    np.testing.assert_array_equal(load_audio(f"{path}#2#t=0.5,1.5"), part)
    np.testing.assert_array_equal(load_audio(f"{path}#t=0.5,1.5#2"), part)
    np.testing.assert_array_equal(load_audio(f"{path}#2#t=0.5,1.5", 1), part)
    np.testing.assert_array_equal(load_audio(f"{path}#t=0.5,1.5", 2), part)
    np.testing.assert_array_equal(read_segment(f"{path}#2", 100, 50), wanted[100:150])
    for mono in ((wanted, 16000), wanted):
        np.testing.assert_array_equal(load_audio(mono, 1), wanted)
        with pytest.raises(AudioError, match=r"there is no channel 2: it has 1"):
            load_audio(mono, 2)


def test_with_channel_leaves_a_name_that_says_one_already(tmp_path: Path) -> None:
    assert with_channel(tmp_path / "call.wav#2#t=1,3", 1).name == "call.wav#2#t=1,3"
    assert split_name(with_channel(tmp_path / "call.wav#t=1,3", 2)) == (tmp_path / "call.wav", Part(1.0, 3.0), 2)
    assert split_name(with_channel(Path("-"), 2)) == (Path("-"), None, 2)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "opus", "mp3", "joined"])
def test_what_is_read_twice_is_the_same_the_second_time(tmp_path: Path, kind: str) -> None:
    data = encode(hum(2.0), kind="mp3") * 2 if kind == "joined" else encode(hum(2.0), kind=kind)
    whole = load_audio(data)
    with open_recording(io.BytesIO(data)) as recording:
        for _ in range(2):
            (found,) = recording.parts([(0, recording.samples)])
            np.testing.assert_array_equal(found, whole)
        (found,) = recording.parts([(500, recording.samples - 7)])
        np.testing.assert_array_equal(found, whole[500:-7])
    path = tmp_path / "a"
    path.write_bytes(data)
    np.testing.assert_array_equal(load_audio(f"{path}#t=0"), whole)
