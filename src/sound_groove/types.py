"""The records that the layers hand to each other: frozen, annotated, without behaviour that needs another module."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # (samples,) mono, in [-1, 1] but for resampling overshoot
Embeddings = NDArray[np.float32]  # (N, D), unit length
Scores = NDArray[np.float64]  # (trials,) higher = more likely the same speaker
Labels = NDArray[np.bool_]  # (trials,) True = same speaker


@dataclass(frozen=True, slots=True)
class QualityWarning:
    """Something about a recording that makes its embedding less trustworthy.

    Attributes:
        code: a stable word for machines: little_speech, clipping, narrow_band, long_silence or
            digital_silence.
        message: one sentence for people.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Recording:
    """One decoded recording.

    Attributes:
        path: where it was read from.
        samples: mono float32 at 16 kHz.
        source_sample_rate: the file's own rate, in Hz.
        source_channels: the file's own channel count.
    """

    path: Path
    samples: Samples
    source_sample_rate: int
    source_channels: int

    @property
    def duration_s(self) -> float:
        """Length in seconds at 16 kHz."""
        return len(self.samples) / 16000


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model gave an answer: its name and the SHA-256 of its weights (hexadecimal)."""

    name: str
    hash: str

    @property
    def label(self) -> str:
        """Its name and the beginning of its hash, as people are told of it.

        >>> ModelIdentity("pretrained", "8b894694a6767f48").label
        'pretrained (8b894694a676)'
        """
        return f"{self.name} ({self.hash[:12]})"


@dataclass(frozen=True, slots=True)
class CropAveraging:
    """How an utterance is cut for inference: evenly spaced crops whose embeddings are averaged.

    Attributes:
        count: number of crops.
        frames: length of each, in feature frames of 10 ms.
    """

    count: int = 10
    frames: int = 400
