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
        code: a stable word for machines, such as little_speech, clipping, narrow_band or channels_differ.
        message: one sentence for people.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ModelTerms:
    """Under which terms a model comes, as far as its file says.

    Attributes:
        licence: of its weights, or of what it was trained on.
        trained_on: in words.
        use: what alone it may be used for; empty where the file sets no such bound.
    """

    licence: str = ""
    trained_on: str = ""
    use: str = ""


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What is known of a recording's channels.

    Attributes:
        count: how many it has.
        chosen: which one was listened to, from 1; None where they were averaged.
        differing: the loudest channel and one that carries another sound, from 1; None where all are alike.
        cancel: averaged, they leave next to nothing of themselves.
    """

    count: int
    chosen: int | None = None
    differing: tuple[int, int] | None = None
    cancel: bool = False

    @property
    def warnings(self) -> tuple[QualityWarning, ...]:
        """That the average is of different sounds.

        >>> ChannelFacts(2, differing=(1, 2)).warnings[0].message[:53]
        'channels 1 and 2 carry different sound, as where each'
        """
        if self.differing is None:
            return ()
        first, second = sorted(self.differing)
        message = (
            f"channels {first} and {second} carry different sound, as where each side of a call has its own, so there "
            f"is no verdict on their average; choose one (--channel {first}, or channel={first})"
        )
        return (QualityWarning("channels_differ", message),)


@dataclass(frozen=True, slots=True)
class Recording:
    """One decoded recording.

    Attributes:
        path: where it was read from; None for what came from memory.
        samples: mono float32 at 16 kHz.
        source_sample_rate: the file's own rate, in Hz.
        channels: the file's own, and what became of them.
        warnings: what is doubtful about the file, such as its length.
    """

    path: Path | None
    samples: Samples
    source_sample_rate: int
    channels: ChannelFacts
    warnings: tuple[QualityWarning, ...] = ()

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


@dataclass(frozen=True, slots=True, eq=False)
class VoiceEmbeddings:
    """Embeddings of voices, and what their length said before they were brought to unit length.

    Attributes:
        unit: (N, D) float32 of unit length.
        norms: (N,) how long each was before, the mean over its pieces: longer, in many networks, the better the voice
            was heard. None where the model gives unit embeddings alone.
    """

    unit: Embeddings
    norms: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class CropAveraging:
    """How an utterance is cut for inference: evenly spaced crops whose embeddings are averaged.

    Attributes:
        count: number of crops.
        frames: length of each, in feature frames of 10 ms.
    """

    count: int = 10
    frames: int = 400


@dataclass(frozen=True, slots=True, order=True)
class SpeakerTurn:
    """Somebody speaks, from one moment to another.

    Attributes:
        start_s: when, in seconds from the beginning of the recording.
        end_s: until when.
        speaker: who, by a label that is one person's in this recording.
    """

    start_s: float
    end_s: float
    speaker: str
