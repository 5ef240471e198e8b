"""The work of `sound_groove.encoder.bulk` on a Ray cluster: recordings go to wherever there are cores.

The recordings and the model must be where every machine finds them under the same paths.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from sound_groove.audio.listening import HeardRecording
from sound_groove.encoder.bulk import Embed, Outcome, Recordings
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.encoder.ray_cluster import RayProcesses
from sound_groove.errors import require_extra
from sound_groove.types import CropAveraging

BATCH = 16  # recordings that a process is given at a time


class _Embedder:
    """Embeds, with one model, those of some recordings whose names a process is given."""

    def __init__(self, model: str, device: str, crops: CropAveraging | None, recordings: Recordings) -> None:
        self._listener = Listener(SpeakerEncoder.load(model, device, threads=1), crops)
        self._recordings = recordings

    def __call__(self, names: Sequence[str]) -> list[Outcome]:
        return list(self._listener.hear_all(names, self._hear))

    def _hear(self, name: str) -> HeardRecording:
        return self._listener.hear_in_parts(self._recordings.open(name), name)


def on_ray(
    model: str | Path, device: str, crops: CropAveraging | None, workers: int | None = None, address: str | None = None
) -> Embed:
    """Embed on a Ray cluster.

    Args:
        model: as `SpeakerEncoder.load` takes it, found under this path on every machine.
        device: "cpu" or "cuda"; each process has one core, or one GPU.
        crops: how recordings are cut; None takes them whole.
        workers: processes; None takes as many as the cluster has cores (or GPUs).
        address: of the cluster; None takes the one that RAY_ADDRESS names, else starts one on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: there is no such cluster; as soon as there is something to embed.
    """
    require_extra("Embedding on a Ray cluster", "ray", "ray")
    started: list[tuple[Recordings, RayProcesses[Sequence[str], list[Outcome]]]] = []

    def embed(recordings: Recordings, names: Sequence[str]) -> Iterator[Outcome]:
        if not started or started[0][0] is not recordings:
            make = partial(_Embedder, str(model), device, crops, recordings)
            started[:] = [(recordings, RayProcesses(make, device, workers, address))]
        batches = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
        for outcomes in started[0][1].do(batches, ordered=True):
            yield from outcomes

    return embed
