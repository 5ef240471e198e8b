"""Speaker models of others made ours: fed as their makers feed them, and found out where the file does not say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from foreign_models import write_foreign
from sound_groove.audio.front_end import of_family
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.importing.importer import import_model
from sound_groove.networks.front_ends import build_front_end
from sound_groove.types import Samples
from test_front_ends import by_kaldi

RATE = 16000
LENGTHS = {"length": TensorProto.INT64}
SHARES = {"lens": TensorProto.FLOAT}


def noise(duration_s: float, seed: int = 0) -> Samples:
    return (0.05 * np.random.default_rng(seed).standard_normal(round(duration_s * RATE))).astype(np.float32)


def unit(values: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
    values = np.asarray(values, np.float64).ravel()
    return np.asarray(values / np.linalg.norm(values))


def squares(features: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
    return np.square(np.asarray(features, np.float64)).mean(axis=0)


def by_module(family: Any, samples: Samples, bins: int) -> Any:
    """(T, F) by the modules that test_front_ends compares with other code."""
    return build_front_end(of_family(family, bins))(torch.from_numpy(samples)[None])[0].numpy()


# What a file looks like, and what it must give of samples.
FOREIGN: dict[str, tuple[Callable[[Path], Path], Callable[[Samples], Any]]] = {
    "WeSpeaker": (
        lambda path: write_foreign(path, {"feats": ["B", "T", 80]}, {"embs": ["B", 80]}, 1),
        lambda samples: squares(by_kaldi(samples, of_family("wespeaker"))),
    ),
    "sherpa-onnx's WeSpeaker, without a word of the mean": (
        lambda path: write_foreign(
            path, {"x": ["N", "T", 80]}, {"embedding": ["N", 80]}, 1, framework="wespeaker", normalize_samples="0"
        ),
        lambda samples: squares(by_kaldi(samples, of_family("wespeaker"))),
    ),
    "3D-Speaker, a batch of one": (
        lambda path: write_foreign(path, {"feature": [1, "T", 80]}, {"embedding": [1, 80]}, 1),
        lambda samples: squares(by_kaldi(samples, of_family("3d-speaker"))),
    ),
    "NeMo": (
        lambda path: write_foreign(
            path,
            {"audio_signal": ["B", 64, "T"], "length": ["B"]},
            {"logits": ["B", 64], "embs": ["B", 65]},
            2,
            LENGTHS,
            framework="nemo",
            feature_normalize_type="per_feature",
        ),
        lambda samples: np.append(squares(by_module("nemo", samples, 64)) / (len(samples) // 160), len(samples) // 160),
    ),
    "ReDimNet": (
        lambda path: write_foreign(path, {"features": [1, 1, 72, "T"]}, {"embedding": [1, 72]}, 3),
        lambda samples: squares(by_module("redimnet", samples, 72)),
    ),
    "waveforms with shares": (
        lambda path: write_foreign(path, {"wav": ["B", "N"], "lens": ["B"]}, {"emb": ["B", 1, 9]}, 1, SHARES),
        lambda samples: np.append(squares(samples.reshape(-1, 8)), 1.0),
    ),
    "waveforms of one length": (
        lambda path: write_foreign(path, {"audio": ["B", 96_000]}, {"embedding": ["B", 8]}, 1),
        lambda samples: squares(np.tile(samples, 4)[:96_000].reshape(-1, 8)),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOREIGN)
def test_an_imported_file_is_fed_as_its_makers_feed_it(tmp_path: Path, name: str) -> None:
    make, expected = FOREIGN[name]
    source = make(tmp_path / "theirs.onnx")
    done = import_model(source, tmp_path / "ours.onnx", pinned=True, licence="CC BY 4.0")
    encoder = SpeakerEncoder.load(done.file)
    recordings = [noise(2.5), noise(2.5, 1), noise(3.2, 2)]
    embeddings = encoder.embed(recordings, keep_pauses=True)
    for samples, embedding in zip(recordings, embeddings, strict=True):
        assert float(embedding @ unit(expected(samples))) > 1.0 - 1e-6
    metadata = {entry.key: entry.value for entry in onnx.load(done.file).metadata_props}
    assert json.loads(metadata["origin"])["sha256"] == done.source_sha256
    assert metadata["licence"] == "CC BY 4.0" and str(tmp_path) not in done.file.read_bytes().decode("latin-1")
    assert encoder.score_map is None and encoder.identity.hash == done.hash != done.source_sha256
