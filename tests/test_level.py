"""The level of a recording and the floor below it: silence and gain decide nothing, in every path the same."""

import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import kaldi_native_fbank
import numpy as np
import onnxruntime
import pytest
import sherpa_onnx
import soundfile
import torch

from costs import costs
from sound_groove.audio.filterbank import samples_of
from sound_groove.audio.level import (
    floor_energies,
    frame_energies,
    level_of,
    level_of_features,
    level_of_samples,
    level_spans,
)
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import EnrolmentError, OtherModelError, UsageError
from sound_groove.export.network_file import export_network
from sound_groove.export.onnx_file import export_onnx
from sound_groove.export.sherpa_file import export_sherpa
from sound_groove.networks.checkpoint import load_checkpoint, save_checkpoint
from sound_groove.networks.features import KaldiFbank, Normalization, find_levels, frame_count, remove_mean
from sound_groove.networks.tensor_groups import HEAD
from sound_groove.synthesis.voices import made_up_speaker, speak
from sound_groove.types import CropAveraging, Embeddings, ModelIdentity, Samples
from sound_groove.voiceprints.enrolment import enroll, re_embed
from sound_groove.voiceprints.gallery import open_gallery
from sound_groove.voiceprints.identification import identify
from sound_groove.voiceprints.store.opening import open_store
from sound_groove.voiceprints.verification import verify_speaker

EXAMPLES = Path(__file__).parents[1] / "examples"
RATE = 16000
FLOOR_DB = 40.0


def voice(number: int = 0, duration_s: float = 3.0) -> Samples:
    return speak(made_up_speaker(5, number), 0, duration_s)


def noise(duration_s: float, deviation: float, seed: int = 0) -> Samples:
    return (deviation * np.random.default_rng(seed).standard_normal(int(duration_s * RATE))).astype(np.float32)


def decibels(a: float, b: float) -> float:
    return float(10 * np.log10(a / b))


def cosines(a: Embeddings, b: Embeddings) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.asarray(np.sum(a.astype(np.float64) * b.astype(np.float64), axis=1))


@pytest.fixture(scope="module")
def floored(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of the tests with a floor."""
    checkpoint = load_checkpoint(tiny_run, (HEAD,))
    path = tmp_path_factory.mktemp("floored") / "floored.safetensors"
    header = replace(checkpoint.header, network={**checkpoint.header.network, "floor_db": FLOOR_DB})
    save_checkpoint(path, checkpoint.tensors, header)
    return path


@pytest.fixture(scope="module")
@costs("slow")
def floored_onnx(floored: Path) -> Path:
    return export_onnx(floored).file


# The level


def test_the_level_is_that_of_the_frame_with_half_of_the_amplitude_above_it() -> None:
    # Amplitudes 1, 2, 3, 4 and their sum 10: 4 has less than half of it, 4 and 3 have more.
    assert level_of(np.array([1.0, 4.0, 9.0, 16.0])) == 9.0
    assert level_of(np.array([7.0])) == pytest.approx(7.0)


@pytest.mark.parametrize("silence_s", [3.0, 60.0])
@pytest.mark.parametrize("deviation", [0.0, 10 ** (-90 / 20)])
def test_silence_before_behind_and_between_changes_no_level(silence_s: float, deviation: float) -> None:
    spoken, rest = voice(), noise(silence_s, deviation)
    level = level_of_samples(spoken)
    half = len(spoken) // 2
    for recording in ((rest, spoken), (spoken, rest), (spoken[:half], rest, spoken[half:])):
        assert abs(decibels(level_of_samples(np.concatenate(recording)), level)) < 1.5


def test_a_quiet_room_nine_times_as_long_as_the_speech_lowers_the_level_by_little() -> None:
    spoken = voice()
    room = noise(27.0, 10 ** (-50 / 20) * float(np.sqrt(np.mean(spoken**2))))
    assert abs(decibels(level_of_samples(np.concatenate((spoken, room))), level_of_samples(spoken))) < 2.0


def test_a_click_of_full_scale_and_an_offset_change_the_level_by_little() -> None:
    spoken = 0.1 * voice()
    clicked = spoken.copy()
    clicked[20000] = 1.0
    assert abs(decibels(level_of_samples(clicked), level_of_samples(spoken))) < 1.5
    assert abs(decibels(level_of_samples(spoken + np.float32(0.5)), level_of_samples(spoken))) < 0.1


def test_a_gain_of_10_db_raises_the_level_by_10_db() -> None:
    assert decibels(level_of_samples(voice() * np.float32(10**0.5)), level_of_samples(voice())) == pytest.approx(10.0)


def test_torch_and_numpy_find_the_same_level_also_in_a_padded_batch() -> None:
    recordings = [voice(0, 2.0), 0.01 * voice(1, 3.0), noise(1.0, 0.1), voice(2)[:480]]
    batch = np.zeros((len(recordings), max(map(len, recordings))), np.float32)
    for row, recording in zip(batch, recordings, strict=True):
        row[: len(recording)] = recording
        row[len(recording) + 240 :] = 0.9  # padding may hold anything
    lengths = frame_count(torch.tensor([len(recording) for recording in recordings]))
    found = find_levels(KaldiFbank().eval()(torch.from_numpy(batch)).exp(), lengths)
    for level, recording in zip(found.tolist(), recordings, strict=True):
        assert abs(decibels(level, level_of_samples(recording))) < 0.002


def test_the_energies_of_frames_are_those_of_kaldi_native_fbank() -> None:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = 80
    options.use_energy = False
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(RATE, (voice() * np.float32(32768)).tolist())
    fbank.input_finished()
    theirs = np.stack([fbank.get_frame(index) for index in range(fbank.num_frames_ready)])
    assert np.allclose(frame_energies(voice()), np.exp(theirs).sum(axis=1), rtol=1e-3)
    assert level_of_features(theirs) == pytest.approx(level_of_samples(voice()), rel=1e-3)


@pytest.mark.parametrize("samples", [400, 559, 560, 480_239, 480_240, 480_399, 480_400, 1_000_000])
def test_stretches_have_every_frame_once(samples: int) -> None:
    assert sum(frame_count(end - start) for start, end in level_spans(samples)) == frame_count(samples)


# The floor


def test_the_floor_has_the_form_of_white_noise() -> None:
    energies = KaldiFbank().eval()(torch.from_numpy(noise(120.0, 0.01))[None]).exp()[0].mean(dim=0).double().numpy()
    assert np.allclose(energies / energies.sum(), floor_energies(), rtol=0.05)
    assert floor_energies().sum() == pytest.approx(1.0)


def test_without_a_floor_only_the_mean_is_removed() -> None:
    features = KaldiFbank().eval()(torch.from_numpy(np.stack([voice(0), voice(1)])))
    lengths = torch.tensor([298, 100])
    assert torch.equal(Normalization(None)(features, lengths), remove_mean(features, lengths))


def test_with_a_floor_a_digital_silence_sounds_like_a_room_that_is_as_quiet_as_the_floor() -> None:
    spoken = voice()
    front_end, normalization = KaldiFbank().eval(), Normalization(FLOOR_DB)

    def heard(rest: Samples) -> torch.Tensor:
        features: torch.Tensor = normalization(front_end(torch.from_numpy(np.concatenate((spoken, rest)))[None]))
        return features[0]

    zeros, quiet = heard(np.zeros(RATE, np.float32)), heard(noise(1.0, 1e-5))
    assert (zeros - quiet).abs().max() < 0.05
    assert (zeros[310:] - zeros[310]).abs().max() < 1e-4
    # By hand: the floor is 40 dB below the level, and nothing else is there.
    energies = np.exp(front_end(torch.from_numpy(spoken)[None])[0].double().numpy())
    spread = np.log(energies / level_of_samples(spoken) + 1e-4 * floor_energies()) - np.log(1e-4 * floor_energies())
    found = (zeros[: len(energies)] - zeros[-1]).numpy()
    assert np.abs(found - spread).max() < 1e-2


def test_a_gain_changes_no_embedding(floored: Path, floored_onnx: Path) -> None:
    recordings = [voice(number) for number in range(3)]
    for encoder in (SpeakerEncoder.load(floored), SpeakerEncoder.load(floored_onnx)):
        as_they_are = encoder.embed(recordings)
        for gain_db in (-80, -45, -20, 6):
            gained = encoder.embed([recording * np.float32(10 ** (gain_db / 20)) for recording in recordings])
            assert cosines(as_they_are, gained).min() > 0.99999, gain_db


def test_nothing_at_all_has_an_embedding_and_no_error(floored_onnx: Path) -> None:
    session = onnxruntime.InferenceSession(str(floored_onnx))
    assert np.isfinite(session.run(None, {"waveform": np.zeros((1, 2 * RATE), np.float32)})[0]).all()


# The level is the recording's


def test_every_piece_of_a_long_recording_is_heard_at_the_level_of_the_whole(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))

        def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            seen.extend(row[:length] for row, length in zip(features, lengths.tolist(), strict=True))
            return self.scale * features.square().mean(dim=1)[:, :4]

    encoder = SpeakerEncoder.of_network(Network(), ModelIdentity("n", ""), 4, floor_db=FLOOR_DB)
    loud = np.tile(voice(), 12)  # 36 s
    recording = np.concatenate((loud, 0.01 * loud)).astype(np.float32)
    of_samples = encoder.embed([recording])
    quiet = min(seen, key=lambda features: float(features.square().mean()))
    features = KaldiFbank().eval()(torch.from_numpy(recording[len(loud) :])[None])
    level = torch.tensor([level_of_samples(recording)], dtype=torch.float32)
    expected = Normalization(FLOOR_DB)(features, levels=level)[0]
    assert len(quiet) == len(expected) and (quiet - expected).abs().max() < 1e-2
    soundfile.write(tmp_path / "long.wav", recording, RATE, subtype="FLOAT")
    assert cosines(of_samples, encoder.embed([tmp_path / "long.wav"])).min() > 0.999999
    with (tmp_path / "long.wav").open("rb") as file:  # what can be read once only has a level all the same
        pipe = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        assert pipe.stdout is not None
        assert cosines(of_samples, encoder.embed([pipe.stdout])).min() > 0.999999
        assert pipe.wait() == 0
    kept = [KaldiFbank().eval()(torch.from_numpy(recording)[None])[0].numpy()]
    assert cosines(of_samples, encoder.embed_features(kept)).min() > 0.9999


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_the_exported_file_hears_long_recordings_and_crops_as_the_checkpoint_does(
    floored: Path, floored_onnx: Path, device: str
) -> None:
    by_torch, by_onnx = SpeakerEncoder.load(floored), SpeakerEncoder.load(floored_onnx, device)
    loud = np.tile(voice(1), 11)
    recordings = [voice(0), np.concatenate((loud, 0.01 * loud)).astype(np.float32), voice(2, 0.7), voice(3, 5.0)]
    for crops in (None, CropAveraging(3, 200)):
        assert cosines(by_torch.embed(recordings, crops), by_onnx.embed(recordings, crops)).min() > 0.99999


def test_a_batch_gives_what_its_members_give_alone(floored: Path) -> None:
    encoder = SpeakerEncoder.load(floored)
    recordings = [voice(0, 2.2), 0.01 * voice(1, 5.0), np.concatenate((voice(2), np.zeros(RATE, np.float32)))]
    alone = np.concatenate([encoder.embed([recording]) for recording in recordings])
    assert cosines(encoder.embed(recordings), alone).min() > 0.9999999


# The file


def test_a_file_with_a_floor_has_one_input_for_a_plain_user_and_takes_a_level_from_those_who_know(
    floored_onnx: Path,
) -> None:
    session = onnxruntime.InferenceSession(str(floored_onnx))
    assert [one.name for one in session.get_inputs()] == ["waveform"]
    both = np.stack([voice(0), 0.01 * voice(1)])
    plain = session.run(None, {"waveform": both})[0]
    levels = np.array([level_of_samples(row) for row in both], np.float32)
    given = session.run(None, {"waveform": both, "recording_level": levels})[0]
    assert cosines(plain, given).min() > 0.99999
    louder = session.run(None, {"waveform": both, "recording_level": 1e4 * levels[:1]})[0]
    assert cosines(plain, louder).max() < 0.9999


def test_the_hash_covers_the_floor_and_files_without_one_keep_theirs(tiny_run: Path, floored: Path) -> None:
    plain = load_checkpoint(tiny_run)
    assert plain.header.network.get("floor_db") is None and plain.floor_db is None
    found = load_checkpoint(floored)
    assert found.floor_db == FLOOR_DB and found.hash != plain.hash
    assert all(torch.equal(tensor, found.tensors[name]) for name, tensor in plain.tensors.items())
    half = export_network(floored, floored.with_name("half.safetensors"), precision="fp16")
    assert half.hash == load_checkpoint(half.file).hash != found.hash  # halves are other numbers
    assert SpeakerEncoder.load(half.file).identity.hash == half.hash


def test_stored_features_give_the_embedding_of_their_waveform_if_they_have_their_mean(floored: Path) -> None:
    encoder = SpeakerEncoder.load(floored)
    recordings = [voice(0), 0.01 * voice(1)]
    features = [KaldiFbank().eval()(torch.from_numpy(recording[None]))[0].numpy() for recording in recordings]
    assert cosines(encoder.embed_features(features), encoder.embed(recordings)).min() > 0.999999
    with pytest.raises(UsageError, match=r"has a floor .* lost their level with their mean; give it features"):
        encoder.embed_features([features[0] - features[0].mean(axis=0)])


def test_sherpa_onnx_hears_the_floor_too(floored: Path) -> None:
    encoder, file = SpeakerEncoder.load(floored), export_sherpa(floored).file
    loaded = sherpa_onnx.SpeakerEmbeddingExtractor(sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(file)))
    for number in range(3):
        spoken = voice(number, 4.0)
        gated = np.where(np.arange(len(spoken)) // 3200 % 3 == 0, 0.0, spoken).astype(np.float32)
        for recording in (spoken, gated, 0.01 * gated):
            stream = loaded.create_stream()
            stream.accept_waveform(RATE, recording)
            stream.input_finished()
            found = np.asarray(loaded.compute(stream), np.float32)
            assert float(found @ encoder.embed(recording)) > 0.98


def test_a_frame_is_enough() -> None:
    normalization = Normalization(FLOOR_DB)
    features = KaldiFbank().eval()(torch.from_numpy(voice()[None, : samples_of(1)]))
    assert not normalization(features).any()  # one frame is its own mean


# What was enrolled before


def test_voiceprints_without_the_floor_are_not_compared_with_those_that_have_one(
    tiny_run: Path, floored: Path, tmp_path: Path
) -> None:
    old, new = SpeakerEncoder.load(tiny_run), SpeakerEncoder.load(floored)
    with closing(open_store(tmp_path / "voiceprints.db", create=True)) as store:
        enroll(store, "anna", [EXAMPLES / "slt-1.flac"], old, keep_audio=True)
        enroll(store, "ben", [EXAMPLES / "rms-1.flac"], old)
        for name in ("anna", "ben"):
            with pytest.raises(OtherModelError, match="re-embed"):
                verify_speaker(store, name, EXAMPLES / "slt-2.flac", new)
        with pytest.raises(OtherModelError):
            identify(open_gallery(store, old.identity), EXAMPLES / "slt-2.flac", new)
        assert store.count(new.identity.hash) == 0 and store.count(old.identity.hash) == 2
        re_embed(store, "anna", new)
        with pytest.raises(EnrolmentError, match="its audio was not kept, so it must be enrolled again"):
            re_embed(store, "ben", new)
        assert verify_speaker(store, "anna", EXAMPLES / "slt-2.flac", new).model == new.identity
        assert verify_speaker(store, "ben", EXAMPLES / "slt-2.flac", old).model == old.identity  # who serves on
        assert identify(open_gallery(store, old.identity), EXAMPLES / "rms-2.flac", old).model == old.identity
