"""Speaker models in ONNX, of ours and of others, used without torch."""

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kaldi_native_fbank
import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper, numpy_helper

from foreign_models import write_foreign
from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import AudioError, CheckpointError, MissingExtraError, UsageError
from sound_groove.types import CropAveraging, Samples

RATE = 16000


def noise(duration_s: float, seed: int = 0) -> Samples:
    return (0.05 * np.random.default_rng(seed).standard_normal(round(duration_s * RATE))).astype(np.float32)


def features_in(path: Path, bins: int = 80, shape: list[Any] | None = None, **metadata: str) -> Path:
    """A model whose embedding is the mean over time of the squared features: what it is given shows in the answer."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["feats", "feats"], ["power"]),
            helper.make_node("ReduceMean", ["power", "axis"], ["embs"], keepdims=0),
        ],
        "foreign",
        [helper.make_tensor_value_info("feats", TensorProto.FLOAT, shape or ["B", "T", bins])],
        [helper.make_tensor_value_info("embs", TensorProto.FLOAT, ["B", bins])],
        [numpy_helper.from_array(np.array([1]), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def kaldi(samples: Samples, bins: int, scale: float, window: str) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Features by kaldi-native-fbank."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = window
    options.mel_opts.num_bins = bins
    options.use_energy = False
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(RATE, (samples * np.float32(scale)).tolist())
    fbank.input_finished()
    return np.stack([fbank.get_frame(index) for index in range(fbank.num_frames_ready)])


# Our own files


def test_an_exported_file_gives_what_its_checkpoint_gives(exported: Path, model_path: Path) -> None:
    by_torch, by_onnx = SpeakerEncoder.load(model_path), SpeakerEncoder.load(exported)
    assert by_onnx.identity == by_torch.identity and by_onnx.embedding_size == by_torch.embedding_size
    assert by_onnx.score_map == by_torch.score_map and by_onnx.score_map is not None
    recordings = [noise(duration_s, seed) for seed, duration_s in enumerate((0.3, 2.0, 3.7, 2.0, 65.0))]
    for crops in (None, CropAveraging(3, 200)):
        cosines = (by_torch.embed(recordings, crops) * by_onnx.embed(recordings, crops)).sum(axis=1)
        assert cosines.min() > 0.99999


def test_a_batch_gives_what_its_members_give_alone(exported: Path) -> None:
    encoder = SpeakerEncoder.load(exported)
    recordings = [noise(duration_s, seed) for seed, duration_s in enumerate((2.5, 3.0, 2.5, 0.4, 2.5))]
    together = encoder.embed(recordings)
    for recording, embedding in zip(recordings, together, strict=True):
        assert np.allclose(encoder.embed(recording), embedding, atol=1e-5)


def test_a_path_gives_what_its_samples_give(exported: Path, tmp_path: Path) -> None:
    encoder = SpeakerEncoder.load(exported, threads=1)
    paths = []
    for seed, (duration_s, rate) in enumerate(((0.4, RATE), (3.0, 44100), (130.0, 8000))):
        paths.append(tmp_path / f"{seed}.flac")
        samples = np.random.default_rng(seed).normal(scale=0.05, size=int(duration_s * rate))
        soundfile.write(paths[-1], samples, rate)
    samples_of = [load_audio(path) for path in paths]
    for crops in (None, CropAveraging(4, 300), CropAveraging(1, 300)):
        expected = encoder.embed(samples_of, crops)
        assert np.array_equal(encoder.embed(paths, crops), expected)
        assert np.array_equal(encoder.embed(str(paths[1]), crops), encoder.embed(samples_of[1], crops))
    assert encoder.embed(paths[0]).shape == (encoder.embedding_size,)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_long_recordings_take_no_more_memory_than_short_ones(exported: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    with soundfile.SoundFile(long, "w", RATE, 1, "PCM_16") as file:
        for minute in range(15):  # hours of it only take longer: 0.52 GB for three, at C = 256
            file.write(noise(60.0, minute))
    program = (
        "import sys; from pathlib import Path; from sound_groove.encoder.encoder import SpeakerEncoder\n"
        f"encoder = SpeakerEncoder.load({str(exported)!r}, threads=1); encoder.embed({str(long)!r})\n"
        "assert not {'torch', 'onnx'} & set(sys.modules)\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"  # not ru_maxrss: of the parent too
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 600_000  # kilobytes


def test_what_is_no_recording_is_one_sentence(exported: Path, tmp_path: Path) -> None:
    encoder = SpeakerEncoder.load(exported)
    with pytest.raises(AudioError, match=r"shape \(3, 2\)"):
        encoder.embed([np.zeros((3, 2), np.float32)])
    with pytest.raises(AudioError, match="type int16"):
        encoder.embed([np.ones(RATE, np.int16)])
    with pytest.raises(AudioError, match=r"missing\.wav"):
        encoder.embed(tmp_path / "missing.wav")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    with pytest.raises(AudioError, match="silence"):
        encoder.embed(tmp_path / "silent.wav")
    with pytest.raises(UsageError, match="embeds audio, not stored features"):
        encoder.embed_features([np.ones((200, 80), np.float32)])


# Those of others


@pytest.mark.parametrize(
    ("metadata", "bins", "scale", "window", "is_centred"),
    [
        ({}, 80, 32768.0, "hamming", True),  # as WeSpeaker publishes them, without a word
        ({"framework": "wespeaker", "normalize_samples": "0"}, 80, 32768.0, "hamming", True),  # sherpa-onnx's copies
        ({"framework": "3d-speaker", "normalize_samples": "1"}, 80, 1.0, "povey", True),
        ({"framework": "3d-speaker", "feature_normalize_type": "global-mean"}, 80, 1.0, "povey", True),
        ({"framework": "wespeaker", "feature_normalize_type": ""}, 40, 32768.0, "hamming", False),
    ],
)
def test_a_foreign_model_is_given_the_features_that_it_was_trained_on(
    tmp_path: Path, metadata: dict[str, str], bins: int, scale: float, window: str, is_centred: bool
) -> None:
    encoder = SpeakerEncoder.load(features_in(tmp_path / "foreign.onnx", bins, None, **metadata))
    assert encoder.embedding_size == bins and encoder.identity.name == "foreign" and encoder.score_map is None
    samples = noise(2.5)
    features = kaldi(samples, bins, scale, window).astype(np.float64)
    features -= features.mean(axis=0) if is_centred else 0.0
    expected = np.square(features).mean(axis=0)
    assert np.allclose(encoder.embed(samples), expected / np.linalg.norm(expected), atol=2e-5)


def test_a_file_for_batches_of_two_takes_any_number(tmp_path: Path) -> None:
    shapes = {"feats": [2, "T", 80]}, {"logits": [2, 80], "embs": [2, 80]}
    of_two = SpeakerEncoder.load(write_foreign(tmp_path / "two.onnx", *shapes, 1, framework="wespeaker"))
    of_any = SpeakerEncoder.load(features_in(tmp_path / "any.onnx"))
    recordings = [noise(2.5, seed) for seed in range(3)]
    assert np.allclose(of_two.embed(recordings), of_any.embed(recordings), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path, "there is no such model file"),
        (lambda path: path.write_bytes(b"nonsense"), "cannot be opened as an ONNX model"),
        (lambda path: features_in(path, shape=["B", 3, 80]), r"takes feats .* a speaker model takes one input"),
        (lambda path: features_in(path, sample_rate="8000"), "is for audio at 8000 Hz, and 16000 is used here"),
        (lambda path: features_in(path, framework="nemo"), "takes nemo's features, not Kaldi's; 'sound-groove import"),
        (lambda path: features_in(path, framework="others"), "how it is to be fed is not known"),
        (lambda path: features_in(path, feature_normalize_type="per_feature"), "normalises features by 'per_feature'"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, make: Any, reason: str) -> None:
    make(tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match=reason) as error:
        SpeakerEncoder.load(tmp_path / "model.onnx")
    assert "\n" not in str(error.value)


def test_a_device_that_is_not_here_is_named(exported: Path) -> None:
    for device in ("abacus", "cuda:first", "cuda:bf16", "openvino:fp8", "openvino:1"):
        with pytest.raises(UsageError, match=f"device '{device}' is not one for an ONNX model: cpu, cuda"):
            SpeakerEncoder.load(exported, device=device)
    with pytest.raises(UsageError, match="this onnxruntime has no TensorrtExecutionProvider"):
        SpeakerEncoder.load(exported, device="tensorrt:1")


def test_openvino_that_is_not_installed_is_one_sentence(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    with pytest.raises(MissingExtraError, match=r"pip install --editable '\.\[openvino\]'"):
        SpeakerEncoder.load(exported, device="openvino")


@pytest.mark.parametrize(("device", "least"), [("openvino", 0.99999), ("openvino:bf16", 0.99)])
def test_openvino_gives_what_onnxruntime_gives(exported: Path, tmp_path: Path, device: str, least: float) -> None:
    if device == "openvino:bf16" and "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip("OpenVINO chooses bf16 by the processor and not by this limit, and then finds no kernel")
    here, there = SpeakerEncoder.load(exported), SpeakerEncoder.load(exported, device, threads=1)
    assert there.identity == here.identity and there.score_map == here.score_map
    recordings = [noise(duration_s, seed) for seed, duration_s in enumerate((0.3, 2.0, 3.7, 2.0, 12.0))]
    expected = here.embed(recordings)
    assert (there.embed(recordings) * expected).sum(axis=1).min() > least
    with ThreadPoolExecutor(3) as executor:  # each thread has a request of its own
        found = np.stack(list(executor.map(there.embed, recordings * 4)))
    assert (found * np.tile(expected, (4, 1))).sum(axis=1).min() > least
    foreign = features_in(tmp_path / "foreign.onnx", framework="wespeaker")
    cosines = SpeakerEncoder.load(foreign, device).embed(recordings) * SpeakerEncoder.load(foreign).embed(recordings)
    assert cosines.sum(axis=1).min() > least
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="is damaged, truncated or not an ONNX file"):
        SpeakerEncoder.load(tmp_path / "broken.onnx", device)
