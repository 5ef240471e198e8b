"""The work of `sound_groove.archive.indexing` on a Ray cluster: recordings go to wherever there are cores.

The recordings and the model must be where every machine finds them under the same paths. The index itself is written by
the process that asked for it.
"""

from collections.abc import Generator
from contextlib import closing
from functools import partial
from pathlib import Path

from sound_groove.archive.index_file import IndexedRecording
from sound_groove.archive.indexing import Hear, Unheard
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.ray_cluster import RayProcesses
from sound_groove.errors import AudioError, require_extra


class _Hearer:
    """Hears, with one model, those recordings of an archive whose names a process is given."""

    def __init__(self, model: str, unheard: Unheard) -> None:
        self._encoder, self._unheard = SpeakerEncoder.load(model, threads=1), unheard

    def __call__(self, name: str) -> IndexedRecording:
        try:
            return self._unheard.hear(name, self._encoder)
        except AudioError as error:
            return self._unheard.refused(name, error)


def on_ray(model: str | Path, workers: int | None = None, address: str | None = None) -> Hear:
    """Hear the recordings of an archive on a Ray cluster, a recording on each of its cores.

    Args:
        model: as `SpeakerEncoder.load` takes it, found under this path on every machine.
        workers: processes; None takes as many as the cluster has cores.
        address: of the cluster; None takes the one that RAY_ADDRESS names, else starts one on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: there is no such cluster; as soon as there is a recording to hear.
    """
    require_extra("Indexing on a Ray cluster", "ray", "ray")

    def heard(unheard: Unheard) -> Generator[IndexedRecording, None, None]:
        processes: RayProcesses[str, IndexedRecording]
        with closing(RayProcesses(partial(_Hearer, str(model), unheard), "cpu", workers, address)) as processes:
            yield from processes.do(tuple(unheard.states), ordered=False)

    return heard
