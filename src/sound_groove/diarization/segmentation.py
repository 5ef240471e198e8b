"""Who of a few speaks in every 17 ms of ten seconds: a segmentation model, run over a whole recording.

The model is one of the family of pyannote's segmentation-3.0: waveforms (B, 1, samples) in, and for every frame the
logarithms of the probabilities of seven sets of speakers out: nobody, one of three, or two of them (Plaquet & Bredin
2023). Which of the three somebody is, a window of ten seconds decides for itself; `overlap` finds out who that is in
the recording. Windows overlap by half, so that what lies at the edge of one lies in the middle of another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import OpenRecording
from sound_groove.audio.voices import LISTENED_SAMPLES
from sound_groove.encoder.runtimes import open_model
from sound_groove.errors import CheckpointError, printable
from sound_groove.public_models import find_public
from sound_groove.types import Samples

PUBLIC = "segmentation-3.0"
WINDOW = 10 * SAMPLE_RATE
STEP = 5 * SAMPLE_RATE
FRAME = 270  # samples between the middles of two frames
BATCH = 8  # windows
SETS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.float64)

Activity = NDArray[np.float16]  # (F, 3) the probability that each of three speaks


@dataclass(frozen=True, slots=True, eq=False)
class LocalActivity:
    """What a model says of one window.

    Attributes:
        start: its first sample.
        length: samples of the recording in it, WINDOW at most.
        activity: of the three speakers of this window.
    """

    start: int
    length: int
    activity: Activity

    @property
    def middles(self) -> NDArray[np.float64]:
        """(F,) of the frames, in samples of the recording."""
        frames = len(self.activity)
        return np.asarray(self.start + WINDOW / 2 + FRAME * (np.arange(frames) - (frames - 1) / 2), dtype=np.float64)


class Segmentation:
    """A segmentation model.

    Args:
        path: an ONNX file.
        threads: that compute; None takes all cores.

    Raises:
        CheckpointError: it cannot be opened, or is of another kind.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.name = printable(str(path))
        self._opened = open_model(path, "cpu", threads)
        shapes = list(self._opened.inputs.values())
        if len(shapes) != 1 or len(shapes[0]) != 3 or (isinstance(shapes[0][1], int) and shapes[0][1] != 1):
            raise CheckpointError(f"{self.name}: is no segmentation model, which takes waveforms (B, 1, samples) alone")
        if isinstance(shapes[0][2], int) and shapes[0][2] != WINDOW:
            heard = f"hears {shapes[0][2]:,} samples at a time"
            raise CheckpointError(f"{self.name}: {heard}, and a segmentation model of this family {WINDOW:,}")

    def hear(self, recording: OpenRecording, progress: Callable[[float], object] | None = None) -> list[LocalActivity]:
        """What it says of a recording, which is read once more, in parts of ten minutes.

        Args:
            recording: of any length.
            progress: is told how many seconds more were heard; what it raises ends the hearing.

        Raises:
            AudioError: the recording cannot be used.
            CheckpointError: the model gives something else than it should.
        """
        found = list[LocalActivity]()
        spans = list(pairwise([*range(0, recording.samples, LISTENED_SAMPLES), recording.samples]))
        for (start, _), part in zip(spans, recording.parts(spans), strict=True):
            starts = window_starts(len(part))
            for first in range(0, len(starts), BATCH):
                here = starts[first : first + BATCH]
                heard = self.activity([part[place : place + WINDOW] for place in here])
                found += [
                    LocalActivity(start + place, min(WINDOW, len(part) - place), activity)
                    for place, activity in zip(here, heard, strict=True)
                ]
                if progress is not None:
                    progress(len(here) / len(starts) * len(part) / SAMPLE_RATE)
        return found

    def activity(self, pieces: list[Samples]) -> list[Activity]:
        """(F, 3) each, of pieces of WINDOW samples at most."""
        batch = np.stack([np.pad(piece, (0, WINDOW - len(piece))) for piece in pieces])[:, np.newaxis]
        outputs = self._opened.run(np.ascontiguousarray(batch, np.float32), np.zeros(len(batch), np.float32))
        sets = np.asarray(outputs[0], dtype=np.float64)
        if sets.ndim != 3 or len(sets) != len(batch) or sets.shape[2] != len(SETS) or not np.isfinite(sets).all():
            given = f"gave values of shape {sets.shape}"
            raise CheckpointError(f"{self.name}: {given}, and a segmentation model of this family (B, frames, 7)")
        odds = np.exp(sets - sets.max(axis=2, keepdims=True))
        return list(np.asarray(odds / odds.sum(axis=2, keepdims=True) @ SETS, dtype=np.float16))


def window_starts(samples: int) -> list[int]:
    """Where windows begin in a part of so many samples; the last ends with it.

    >>> [start / SAMPLE_RATE for start in window_starts(18 * SAMPLE_RATE)]
    [0.0, 5.0, 8.0]
    """
    last = max(samples - WINDOW, 0)
    return [*range(0, last, STEP), last]


def public_segmentation() -> Path | None:
    """The public segmentation model, where it was fetched."""
    model = find_public(PUBLIC)
    return model.path if model.is_here else None


def chosen_segmentation(given: str | None) -> Path | None:
    """The model that an option names: a file; the public one, if it was fetched, where it names none; None for 'none'.

    >>> chosen_segmentation("none") is None, chosen_segmentation("mine.onnx")
    (True, PosixPath('mine.onnx'))
    """
    if given is None:
        return public_segmentation()
    return None if given == "none" else Path(given)
