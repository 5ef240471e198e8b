"""The encoder: a recording's embedding depends on that recording alone."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sound_groove.audio.reading import load_audio
from sound_groove.encoder.encoder import SpeakerEncoder, default_model
from sound_groove.errors import CheckpointError, MissingExtraError, UsageError
from sound_groove.networks.features import KaldiFbank
from sound_groove.types import CropAveraging, Embeddings, ModelIdentity, Samples

RATE = 16000


class Recorder(nn.Module):
    """A network whose embedding can be worked out by hand: the mean over time of the raised features' first bins.

    It keeps the shapes and lengths that it was called with.
    """

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.size = size
        self.scale = nn.Parameter(torch.ones(1))
        self.batches: list[tuple[tuple[int, ...], list[int]]] = []
        self.features: list[Tensor] = []
        self.modes: set[bool] = set()
        self.threads: set[int] = set()

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        self.batches.append((tuple(features.shape), lengths.tolist()))
        self.features.append(features)
        self.modes.add(self.training)
        self.threads.add(torch.get_num_threads())
        squares = features.square().sum(dim=1) / lengths.unsqueeze(1)  # padding is zero: (B, F)
        return squares[:, : self.size] * self.scale


def recorder() -> tuple[SpeakerEncoder, Recorder]:
    network = Recorder()
    return SpeakerEncoder.of_network(network, ModelIdentity("recorder", "0"), network.size), network


def noise(duration_s: float, seed: int = 0) -> Samples:
    draw = np.random.default_rng(seed)
    colour = np.convolve(draw.standard_normal(int(duration_s * RATE) + 63), draw.standard_normal(64) / 8, "valid")
    return (0.05 * colour).astype(np.float32)


def cosines(a: Embeddings, b: Embeddings) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.asarray(np.sum(a.astype(np.float64) * b.astype(np.float64), axis=1))


@pytest.fixture(scope="module")
def encoder(model_path: Path) -> SpeakerEncoder:
    return SpeakerEncoder.load(model_path)


def test_a_batch_gives_what_its_members_give_alone(encoder: SpeakerEncoder) -> None:
    recordings = [noise(duration_s, seed) for seed, duration_s in enumerate((0.1, 7.3, 2.0, 0.8, 3.21, 2.0, 12.0, 1.0))]
    together = encoder.embed(recordings)
    alone = np.concatenate([encoder.embed([recording]) for recording in recordings])
    # The embeddings of a random network lie close together: only their differences from the mean can be confused.
    centre = alone.mean(axis=0)
    assert cosines(together, alone).min() > 0.9999999
    spread = np.linalg.norm(alone - centre, axis=1)
    assert (np.linalg.norm(together - alone, axis=1) < 1e-3 * spread).all()


def test_embeddings_are_of_unit_length_in_the_order_given(encoder: SpeakerEncoder) -> None:
    recordings = [noise(duration_s, seed) for seed, duration_s in enumerate((3.0, 9.0, 2.5))]
    embeddings = encoder.embed(recordings)
    assert embeddings.shape == (3, encoder.embedding_size) and embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-6)
    backwards = encoder.embed(recordings[::-1])[::-1]
    np.testing.assert_allclose(embeddings, backwards, atol=1e-6)
    assert cosines(embeddings[:1], embeddings[1:2])[0] < 0.99999  # it could tell them apart


def test_the_same_recording_gives_the_same_bits(encoder: SpeakerEncoder) -> None:
    recording = noise(4.0)
    assert np.array_equal(encoder.embed([recording]), encoder.embed([recording.copy()]))


def test_a_gain_changes_nothing_since_the_mean_is_removed(encoder: SpeakerEncoder) -> None:
    recording = noise(4.0)
    assert cosines(encoder.embed([recording]), encoder.embed([recording * np.float32(0.25)]))[0] > 0.999999


def test_the_network_sees_features_without_their_mean_and_padding_as_zeros() -> None:
    encoder, network = recorder()
    recordings = [noise(3.0, 1), noise(2.5, 2)]
    encoder.embed(recordings)
    features = network.features[0]
    assert network.batches == [((2, 298, 80), [298, 248])]
    for row, recording in zip(features, recordings, strict=True):
        raw = KaldiFbank().eval()(torch.from_numpy(recording[None]))[0]
        torch.testing.assert_close(row[: len(raw)], raw - raw.mean(dim=0), atol=1e-4, rtol=0)
        assert not row[len(raw) :].any()


def test_short_recordings_are_repeated_whole_until_they_last_two_seconds() -> None:
    encoder, network = recorder()
    half = noise(0.6)
    encoder.embed([half])
    # 0.6 s four times is 2.4 s: 1 + (38400 - 400) // 160 frames
    assert network.batches == [((1, 238, 80), [238])]
    np.testing.assert_array_equal(encoder.embed([half]), encoder.embed([np.tile(half, 4)]))
    network.batches.clear()
    encoder.embed([noise(2.0)])
    assert network.batches == [((1, 198, 80), [198])]  # long enough: as it is


def test_the_shortest_recordings_are_embedded() -> None:
    encoder, network = recorder()
    assert np.isfinite(encoder.embed([noise(0.1), noise(0.025)])).all()
    assert all(length >= 198 for _, lengths in network.batches for length in lengths)


def test_long_recordings_are_cut_into_windows_of_at_most_a_minute_and_averaged() -> None:
    encoder, network = recorder()
    long = noise(130.0)
    embedding = encoder.embed([long])
    assert sum(len(lengths) for _, lengths in network.batches) == 3
    assert all(shape[1] <= 6000 for shape, _ in network.batches)
    edges = np.linspace(0, len(long), 4).round().astype(int)
    parts = encoder.embed([long[start:end] for start, end in pairwise(edges)])
    mean = parts.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(embedding[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_batches_stay_within_the_seconds_given() -> None:
    encoder, network = recorder()
    durations = [3.0, 2.0, 5.0, 4.0, 2.5, 20.0, 2.0, 2.0, 7.0]
    encoder.embed([noise(duration_s) for duration_s in durations], batch_seconds=10.0)
    sizes = [shape[0] * shape[1] for shape, _ in network.batches]
    assert sum(len(lengths) for _, lengths in network.batches) == len(durations)
    assert len(sizes) > 3
    # a recording of its own may be longer than the limit
    assert all(size <= 1000 or shape[0] == 1 for size, (shape, _) in zip(sizes, network.batches, strict=True))


def test_crops_are_evenly_spaced_and_their_embeddings_averaged() -> None:
    encoder, network = recorder()
    recording = noise(5.0)
    length = 400 + 299 * 160  # 300 frames
    embedding = encoder.embed([recording], CropAveraging(count=3, frames=300))
    assert [lengths for _, lengths in network.batches] == [[300] * 3]
    starts = (0, (len(recording) - length) // 2, len(recording) - length)
    parts = encoder.embed([recording[start : start + length] for start in starts])
    mean = parts.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(embedding[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_one_crop_is_the_middle_one_and_short_recordings_are_repeated_to_a_crop() -> None:
    encoder, network = recorder()
    recording = noise(5.0)
    length = 400 + 299 * 160
    start = (len(recording) - length) // 2
    middle = encoder.embed([recording[start : start + length]])
    np.testing.assert_array_equal(encoder.embed([recording], CropAveraging(1, 300)), middle)
    network.batches.clear()
    encoder.embed([noise(1.0)], CropAveraging(count=2, frames=300))
    assert [lengths for _, lengths in network.batches] == [[300, 300]]  # 4 s after repeating, two crops of 3 s


def test_crops_of_nothing_are_refused() -> None:
    encoder, _ = recorder()
    for crops in (CropAveraging(0, 300), CropAveraging(3, 0)):
        with pytest.raises(UsageError, match="at least 1"):
            encoder.embed([noise(1.0)], crops)


def test_stored_features_give_the_embedding_of_their_waveform(encoder: SpeakerEncoder) -> None:
    recordings = [noise(duration_s, seed) for seed, duration_s in enumerate((3.0, 5.0))]
    features = [KaldiFbank().eval()(torch.from_numpy(recording[None]))[0].numpy() for recording in recordings]
    by_waveform = encoder.embed(recordings)
    assert cosines(encoder.embed_features(features), by_waveform).min() > 0.999999
    centred = [item - item.mean(axis=0) for item in features]  # stored with the mean removed: no difference
    assert cosines(encoder.embed_features(centred), by_waveform).min() > 0.999999
    with pytest.raises(CheckpointError, match=r"takes features of shape \(T, 80\), and these have .* \(298, 40\)"):
        encoder.embed_features([features[0][:, :40]])


def test_nothing_gives_no_embeddings(encoder: SpeakerEncoder) -> None:
    assert encoder.embed([]).shape == (0, encoder.embedding_size)


def test_global_state_is_left_as_it_was() -> None:
    network = Recorder()
    encoder = SpeakerEncoder.of_network(network, ModelIdentity("recorder", "0"), network.size, threads=1)
    network.train()
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(2)
    try:
        encoder.embed([noise(3.0)])
        assert network.threads == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert network.modes == {False} and network.training
    assert torch.equal(state, torch.random.get_rng_state())
    assert network.scale.grad is None and not network.features[0].requires_grad


def test_an_output_that_is_not_finite_is_an_error() -> None:
    encoder, network = recorder()
    for value in (float("nan"), 0.0):
        with torch.no_grad():
            network.scale.fill_(value)
        with pytest.raises(CheckpointError, match="model 'recorder' gave an embedding that is not finite or is zero"):
            encoder.embed([noise(3.0)])


def test_a_centre_is_subtracted_from_the_unit_embedding_of_every_piece() -> None:
    encoder, _ = recorder()
    recordings = [noise(2.5), noise(4.0, seed=1)]
    plain = encoder.embed(recordings).astype(np.float64)
    encoder.centre = np.array([0.5, 0.1, -0.2, 0.3], dtype=np.float32)
    expected = plain - encoder.centre
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(encoder.embed(recordings), expected, atol=1e-6)
    assert not np.allclose(plain, expected, atol=1e-2)
    crops = CropAveraging(2, 200)
    encoder.centre, centre = None, np.array(encoder.centre)
    pieces = [recordings[1][:32240], recordings[1][-32240:]]  # what two crops of 2 s are
    first, second = encoder.embed(pieces).astype(np.float64) - centre
    mean = first / np.linalg.norm(first) + second / np.linalg.norm(second)
    encoder.centre = centre
    assert np.allclose(encoder.embed(recordings[1:], crops)[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_a_loaded_model_knows_its_name_size_and_score_map(encoder: SpeakerEncoder) -> None:
    assert encoder.identity.name == "random" and len(encoder.identity.hash) == 64
    assert encoder.embedding_size == 12
    assert encoder.score_map is not None and encoder.score_map.scale == 10.0


def test_without_torch_one_sentence_says_which_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    with pytest.raises(MissingExtraError, match=r"needs the 'train' extra: pip install --editable '\.\[train\]'"):
        SpeakerEncoder.load("best.safetensors")


def test_an_unknown_device_is_named(model_path: Path) -> None:
    with pytest.raises(UsageError, match="device 'abacus' cannot be used"):
        SpeakerEncoder.load(model_path, device="abacus")


def test_the_default_model_is_named_by_the_environment_and_else_the_one_in_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOUND_GROOVE_MODEL", "some/where")
    assert default_model() == "some/where"
    monkeypatch.setenv("SOUND_GROOVE_MODEL", "")
    assert default_model() == "pretrained"
    monkeypatch.delenv("SOUND_GROOVE_MODEL")
    assert default_model() == "pretrained"


def test_the_examples_in_the_docstrings_hold() -> None:
    program = "import doctest, sound_groove.encoder.encoder as m, sys; sys.exit(doctest.testmod(m).failed)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.corpus
def test_real_speech_gives_the_same_embedding_in_a_batch_and_alone(encoder: SpeakerEncoder, corpus: Path) -> None:
    paths = sorted((corpus / "val").glob("*/*.opus"))[::300]
    assert paths
    recordings = [load_audio(path) for path in paths]
    alone = np.concatenate([encoder.embed([recording]) for recording in recordings])
    assert cosines(encoder.embed(recordings), alone).min() > 0.99999
