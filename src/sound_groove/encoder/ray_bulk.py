"""The work of `sound_groove.encoder.bulk` on a Ray cluster, by Ray Data: recordings go to wherever there are cores.

The recordings and the model must be where every machine finds them under the same paths.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sound_groove.audio.listening import HeardRecording
from sound_groove.encoder.bulk import COLUMNS, Embed, Outcome, Recordings, packed, unpacked
from sound_groove.encoder.encoder import SpeakerEncoder
from sound_groove.encoder.listener import Listener
from sound_groove.errors import UsageError, require_extra
from sound_groove.types import CropAveraging

BATCH = 16  # recordings that a process is given at a time


class _Embedder:
    """A process of the cluster: it opens the model once."""

    def __init__(self, model: str, device: str, crops: CropAveraging | None, recordings: Recordings) -> None:
        self._encoder = SpeakerEncoder.load(model, device, threads=1)
        self._listener, self._recordings = Listener(self._encoder, crops), recordings

    def _hear(self, name: str) -> HeardRecording:
        return self._listener.hear_in_parts(self._recordings.open(name), name)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        found = list(self._listener.hear_all(map(str, batch["name"]), self._hear))
        return {"place": batch["place"], **packed(found, self._encoder.embedding_size)}


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
        UsageError: there is no such cluster.
    """
    require_extra("Embedding on a Ray cluster", "ray", "ray")
    import ray
    import ray.data

    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UsageError(f"there is no Ray cluster at '{address}': {str(error).splitlines()[0]}") from None
    ray.data.DataContext.get_current().enable_progress_bars = False
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    resource = "GPU" if device.startswith("cuda") else "CPU"
    count = workers or max(1, int(resources.get(resource, 1)))

    def embed(recordings: Recordings, names: Sequence[str]) -> Iterator[Outcome]:
        rows = [{"place": place, "name": name} for place, name in enumerate(names)]
        found = ray.data.from_items(rows, override_num_blocks=max(1, len(rows) // BATCH)).map_batches(
            _Embedder,
            fn_constructor_args=(str(model), device, crops, recordings),
            batch_size=BATCH,
            concurrency=count,
            num_cpus=1,
            num_gpus=1 if resource == "GPU" else 0,
        )
        for row in sorted(found.iter_rows(), key=lambda row: int(row["place"])):
            yield unpacked(*(row[column] for column in COLUMNS))

    return embed
