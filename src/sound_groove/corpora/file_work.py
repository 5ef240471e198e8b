"""What preparation does to one file or one utterance, inside a worker process."""

import errno
import io
import wave
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from sound_groove.audio.limits import SAMPLE_RATE
from sound_groove.audio.reading import load_audio, probe, read_recording
from sound_groove.errors import AudioError
from sound_groove.files import replaced_bytes
from sound_groove.types import Samples

if TYPE_CHECKING:
    from torch import Tensor

    from sound_groove.networks.features import KaldiFbank

BLOCK_FRAMES = 3000  # features of 30 s at a time: a file of hours must not need gigabytes in every worker
SIXTEEN_BIT = 32768
CHANGED = "changed while it was being prepared; run again"


class FileOutcome(NamedTuple):
    """What became of a file: its length at 16 kHz, or why it cannot be used (one clause, else empty).

    `passing`: the reason may be that of the machine and not of the file, so it is worth another try. `mixed`: its
    channels carry different sound, and were averaged.
    """

    samples: int
    reason: str
    passing: bool = False
    mixed: bool = False


class FileJob(NamedTuple):
    """A file to be checked; `quick` looks at its header only."""

    number: int
    path: str
    quick: bool


class CopyJob(NamedTuple):
    """An utterance to be written as features, as wav, or as both; paths in `paths` are joined without a gap."""

    number: int
    paths: tuple[str, ...]
    wav_path: str | None
    feature_path: str | None


Job = TypeVar("Job", FileJob, CopyJob)


def check_file(job: FileJob) -> FileOutcome:
    """Decode a file once from end to end, so that a corrupt one is found now and not in the middle of a training."""
    try:
        if job.quick:
            return FileOutcome(probe(job.path).samples, "")
        recording = read_recording(job.path)
        return FileOutcome(len(recording.samples), "", mixed=recording.channels.differing is not None)
    except Exception as error:  # decoders are foreign code: whatever one does on a bad file is news of that file only
        return explain(error)


def copy_utterance(job: CopyJob) -> FileOutcome:
    """Write what was asked for of an utterance.

    Raises:
        OSError: nothing can be written (the disk is full, say): that is no fault of the file.
    """
    try:
        samples = load_joined(job.paths)
    except Exception as error:  # as above
        return explain(error)
    try:
        if job.wav_path is not None:
            _write_wav(job.wav_path, samples)
        if job.feature_path is not None:
            _write_features(job.feature_path, samples)
    except MemoryError:
        return FileOutcome(0, "does not fit into memory", passing=True)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return FileOutcome(0, "has a name too long for its copy")
    return FileOutcome(len(samples), "")


def load_joined(paths: tuple[str, ...]) -> Samples:
    """The samples of files that are read as one.

    Raises:
        AudioError: one of them cannot be used; the reason names it where there are several.
    """
    parts: list[Samples] = []
    for path in paths:
        try:
            parts.append(load_audio(path))
        except AudioError as error:
            if len(paths) == 1:
                raise
            raise AudioError(path, f"{error.reason} ({path})", code=error.code) from error
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def explain(error: Exception) -> FileOutcome:
    """The outcome of a file that could not be decoded."""
    if isinstance(error, AudioError):
        return FileOutcome(0, error.reason)
    if isinstance(error, MemoryError):
        return FileOutcome(0, "does not fit into memory", passing=True)
    return FileOutcome(0, f"could not be decoded ({type(error).__name__}: {error})")


def crashed(job: FileJob | CopyJob) -> FileOutcome:
    """The outcome of a file that killed the process which read it."""
    return FileOutcome(0, "kills the process that decodes it", passing=True)


def to_sixteen_bit(samples: Samples) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Samples as 16-bit integers, exactly those of a 16-bit source; what lies beyond full scale is clipped.

    (soundfile's own conversion multiplies by 32767 but divides by 32768, so it would change every sample.)

    >>> to_sixteen_bit(np.float32([0, 1 / 32768, -1, 1.2])).tolist()
    [0, 1, -32768, 32767]
    """
    return np.clip(np.rint(samples * SIXTEEN_BIT), -SIXTEEN_BIT, SIXTEEN_BIT - 1).astype(np.int16)


def extract_features(samples: Samples) -> "Tensor":
    """Log-mel features of an utterance, without mean removal: (samples,) -> (T, F) float32."""
    import torch

    from sound_groove.audio.filterbank import FRAME_LENGTH, FRAME_SHIFT
    from sound_groove.networks.features import frame_count

    # A frame depends on its own 400 samples only, so blocks give what the whole would.
    step = BLOCK_FRAMES * FRAME_SHIFT
    starts = range(0, max(frame_count(len(samples)), 1) * FRAME_SHIFT, step)
    with torch.inference_mode():
        blocks = [
            _fbank()(torch.from_numpy(samples[start : start + step + FRAME_LENGTH - FRAME_SHIFT])[None])[0]
            for start in starts
        ]  # each (T, F)
        return torch.cat(blocks).clone()  # (T, F)


def _write_wav(path: str, samples: Samples) -> None:
    # Not soundfile, which hides why a file could not be written.
    with _new_file(path) as file, wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(to_sixteen_bit(samples).astype("<i2").tobytes())


def _write_features(path: str, samples: Samples) -> None:
    import torch

    buffer = io.BytesIO()  # torch's own file writer, too, hides a full disk
    torch.save(extract_features(samples), buffer)
    with _new_file(path) as file:
        file.write(buffer.getbuffer())


@cache
def _fbank() -> "KaldiFbank":
    import torch

    from sound_groove.networks.features import KaldiFbank

    torch.set_num_threads(1)  # one process a core already
    return KaldiFbank().eval()


def _new_file(path: str) -> AbstractContextManager[IO[bytes]]:
    # Not durable: half a million of them would take hours, and what a power cut takes is made again.
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return replaced_bytes(target, durable=False)
