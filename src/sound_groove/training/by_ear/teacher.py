"""Teachers that hear crops: any model of ours or in ONNX, and CAM++ as 3D-Speaker publishes it."""

import pickle
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sound_groove.audio.filterbank import SIXTEEN_BIT
from sound_groove.corpora.shards import Steps, to_float
from sound_groove.encoder.embedding_file import unit_rows
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.errors import SoundGrooveError, TrainingError, printable
from sound_groove.networks.campplus import CamPlusPlus
from sound_groove.networks.features import KaldiFbank, remove_mean
from sound_groove.training.device import cpu_computes_bf16
from sound_groove.types import Embeddings

AT_ONCE_S = 60.0  # of crops in a batch of the teacher's: 0.6 GB for CAM++


class HearingTeacher(Protocol):
    """What embeds crops.

    Attributes:
        path: its file.
        embedding_size: values in an embedding.
    """

    path: Path
    embedding_size: int

    def embed(self, steps: Steps) -> Embeddings:
        """(B, samples) in 16-bit steps -> (B, D) of unit length."""
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
    if path.suffix == ".pt":
        return PublishedCamPlusPlus(path, device)
    return EncoderTeacher(path)


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
        self.embedding_size = int(self._network.get_buffer("xvector.dense.nonlinear.batchnorm.running_mean").numel())
        self._front_end = KaldiFbank().eval().to(device)
        self._has_bf16 = device.type == "cuda" or (device.type == "cpu" and cpu_computes_bf16())

    @torch.inference_mode()
    def embed(self, steps: Steps) -> Embeddings:
        """(B, samples) in 16-bit steps -> (B, D) of unit length."""
        at_once = max(1, int(AT_ONCE_S * 16_000 / steps.shape[1]))
        parts = [self._embed(to_float(steps[start : start + at_once])) for start in range(0, len(steps), at_once)]
        return unit_rows(np.concatenate(parts))

    def _embed(self, samples: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Embeddings:
        # The front end scales to 16-bit steps, and 3D-Speaker does not.
        waveforms = torch.from_numpy(samples / SIXTEEN_BIT).to(self._device)
        features = remove_mean(self._front_end(waveforms))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._has_bf16):
            embeddings: Tensor = self._network(features)
        found: Embeddings = embeddings.float().cpu().numpy()
        return found


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

    def embed(self, steps: Steps) -> Embeddings:
        """(B, samples) in 16-bit steps -> (B, D) of unit length."""
        try:
            return self._encoder.embed(list(to_float(steps)))
        except SoundGrooveError as error:
            raise TrainingError(f"the teacher failed: {error}") from None


def _restored(path: Path) -> nn.Module:
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
