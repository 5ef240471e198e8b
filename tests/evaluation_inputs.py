"""What stands in for a trained model and its trials in the tests of evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from sound_groove.audio.pauses import without_pauses
from sound_groove.audio.voices import Voice
from sound_groove.scoring.calibration import ScoreMap
from sound_groove.types import CropAveraging, Embeddings, ModelIdentity, Samples, VoiceEmbeddings

RATE = 16000


class SpectrumEncoder:
    """A stand-in for a trained model: the mean log spectrum in 32 bands tells made-up voices apart."""

    def __init__(self, score_map: ScoreMap | None = None) -> None:
        self.identity = ModelIdentity("mean spectrum", "0" * 64)
        self.embedding_size = 32
        self.score_map = score_map
        self.trained_speakers: frozenset[str] = frozenset()
        self.lengths: list[int] = []
        self.crops: list[CropAveraging | None] = []

    def embed(self, recordings: Sequence[Samples]) -> Embeddings:
        return self.embed_voices([without_pauses(samples) for samples in recordings]).unit

    def embed_voices(self, voices: Sequence[Voice], crops: CropAveraging | None = None) -> VoiceEmbeddings:
        recordings = [voice for voice in voices if isinstance(voice, np.ndarray)]
        assert len(recordings) == len(voices)
        self.lengths += [len(samples) for samples in recordings]
        self.crops.append(crops)
        rows = []
        for samples in recordings:
            frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (0, 512)), 512)[::160] * np.hanning(512)
            power = np.abs(np.fft.rfft(frames))[:, 1:].reshape(len(frames), 32, 8).sum(axis=2)
            row = np.log(power.mean(axis=0) + 1e-6)
            row -= row.mean()
            rows.append(row / np.linalg.norm(row))
        return VoiceEmbeddings(np.array(rows, dtype=np.float32), None)


def tone(path: Path, frequency: float, duration_s: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(duration_s * RATE)) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * frequency * time), RATE)
    return path


def write_small_list(folder: Path) -> Path:
    """Two 'speakers' of two tones each, and a list with all their pairs."""
    for name, frequency in {"a1": 500, "a2": 520, "b1": 2000, "b2": 2050}.items():
        tone(folder / f"wav/{name}.wav", frequency)
    names = ("a1", "a2", "b1", "b2")
    lines = [f"{int(x[0] == y[0])} {x}.wav {y}.wav\n" for i, x in enumerate(names) for y in names[i + 1 :]]
    (folder / "trials.txt").write_text("".join(lines))
    return folder


def read_scores(path: Path) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
    """The cells of a scores.tsv, and of them the scores and the labels."""
    header, *lines = path.read_text().splitlines()
    assert header == "enrolment\ttest\tscore\tllr\tlabel"
    cells = [line.split("\t") for line in lines]
    return cells, np.array([float(row[2]) for row in cells]), np.array([row[4] == "1" for row in cells])
