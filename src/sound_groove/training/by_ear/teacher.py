"""Teachers that hear crops: any model of ours or in ONNX, and CAM++ as 3D-Speaker publishes it."""

import pickle
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from sound_groove.audio.filterbank import SIXTEEN_BIT
from sound_groove.corpora.shards import Steps, to_float
from sound_groove.encoder.embedding_file import unit_rows
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import SoundGrooveError, TrainingError, printable
from sound_groove.inputs.crops.pool import Frames
from sound_groove.networks.campplus import CamPlusPlus
from sound_groove.networks.features import KaldiFbank, remove_mean
from sound_groove.training.device import cpu_computes_bf16
from sound_groove.types import Embeddings

AT_ONCE_S = 60.0  # of crops in a batch of the teacher's: 0.6 GB for CAM++


class Heard(NamedTuple):
    """What a teacher says of crops.

    Attributes:
        embeddings: (B, D) of unit length.
        frames: (B, C, T) what it pools over time, a frame for every `FRAME_SAMPLES`; None where it does not tell.
    """

    embeddings: Embeddings
    frames: Frames | None


class HearingTeacher(Protocol):
    """What embeds crops.

    Attributes:
        path: its file.
        embedding_size: D, values in an embedding.
        pooled_size: C, channels that it pools over time; None where it does not tell them.
    """

    path: Path
    embedding_size: int
    pooled_size: int | None

    def hear(self, steps: Steps) -> Heard:
        """What it says of crops (B, samples) in 16-bit steps."""
        ...


def open_hearing_teacher(path: Path, device: torch.device) -> HearingTeacher:
    """The teacher in a file.

    Args:
        path: CAM++'s state dictionary (.pt), or a speaker model that `SpeakerEncoder` loads.
        device: where CAM++ is to be computed.

    Raises:
        TrainingError: the file cannot be used.
    """
    if path.suffix == ".npz":
        raise TrainingError(
            f"{printable(str(path))}: stored embeddings say nothing of crops that are made anew; name a model (.pt of "
            "CAM++, .onnx or .safetensors)"
        )
    if is_published(path):
        return PublishedCamPlusPlus(path, device)
    return EncoderTeacher(path)


def is_published(path: Path) -> bool:
    """Whether a teacher's file is CAM++'s state dictionary, by its name."""
    return path.suffix == ".pt"


class PublishedCamPlusPlus:
    """CAM++ with a state dictionary of 3D-Speaker, fed as its makers feed it.

    Samples in [-1, 1], Kaldi filterbanks with Povey's window, each crop's mean removed. A GPU, and a CPU that has
    instructions for it, compute it in bf16.

    Args:
        path: the state dictionary; it is read without unpickling anything but tensors.
        device: where it is computed.

    Raises:
        TrainingError: it cannot be read, or is of another network.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self.path, self._device = path, device
        self._network = _restored(path).to(device)
        self.pooled_size: int | None = self._network.pooled_size
        self.embedding_size = int(self._network.get_buffer("xvector.dense.nonlinear.batchnorm.running_mean").numel())
        self._front_end = KaldiFbank().eval().to(device)
        self._has_bf16 = device.type == "cuda" or (device.type == "cpu" and cpu_computes_bf16())

    @torch.inference_mode()
    def hear(self, steps: Steps) -> Heard:
        """What it says of crops (B, samples) in 16-bit steps."""
        at_once = max(1, int(AT_ONCE_S * 16_000 / steps.shape[1]))
        parts = [self._hear(to_float(steps[start : start + at_once])) for start in range(0, len(steps), at_once)]
        embeddings, frames = (np.concatenate(of_parts) for of_parts in zip(*parts, strict=True))
        return Heard(unit_rows(embeddings), frames)

    def _hear(self, samples: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> tuple[Embeddings, Frames]:
        # The front end scales to 16-bit steps, and 3D-Speaker does not.
        waveforms = torch.from_numpy(samples / SIXTEEN_BIT).to(self._device)
        features = remove_mean(self._front_end(waveforms))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._has_bf16):
            embeddings, frames = self._network.embed_and_tell(features)
        return embeddings.float().cpu().numpy(), frames.half().cpu().numpy()


class EncoderTeacher:
    """A speaker model that takes waveforms: in ONNX, or a model file of ours.

    Args:
        path: of the model.

    Raises:
        TrainingError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._encoder = SpeakerEncoder.load(path)
        except SoundGrooveError as error:
            raise TrainingError(str(error)) from None
        self.embedding_size = self._encoder.embedding_size
        self.pooled_size: int | None = None

    def hear(self, steps: Steps) -> Heard:
        """What it says of crops (B, samples) in 16-bit steps."""
        try:
            return Heard(self._encoder.embed(list(to_float(steps))), None)
        except SoundGrooveError as error:
            raise TrainingError(f"the teacher failed: {error}") from None


def _restored(path: Path) -> CamPlusPlus:
    """CAM++ with the weights of a state dictionary, in evaluation mode."""
    name = printable(str(path))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200] or "it is empty"
        raise TrainingError(f"{name}: is not a state dictionary that can be read: {reason}") from None
    try:
        channels = 16 * len(state["head.conv1.weight"])
        size = len(state["xvector.dense.linear.weight"])
        with torch.random.fork_rng(devices=[]):
            network = CamPlusPlus(channels=channels, embedding_size=size)
        network.load_state_dict(state, strict=True)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"{name}: is not a state dictionary of CAM++ as 3D-Speaker publishes it: {reason}"
        ) from None
    return network.eval()
