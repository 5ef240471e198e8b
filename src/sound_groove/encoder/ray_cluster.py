"""Work shared out over the processes of a Ray cluster, which is found by its address or started on this machine."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from sound_groove.errors import UsageError

TRIES = 3  # of what a process that was lost had to do

Item = TypeVar("Item")
Found = TypeVar("Found")


class _Worker(Generic[Item, Found]):
    """A process of the cluster: it makes what does the work once."""

    def __init__(self, make: Callable[[], Callable[[Item], Found]]) -> None:
        self._work = make()

    def do(self, item: Item) -> Found:
        return self._work(item)


class RayProcesses(Generic[Item, Found]):
    """Processes of a Ray cluster that do the same work, each with one core or one GPU, started when they are needed.

    The extra "ray" must be installed.

    Args:
        make: is called in each process, and gives what does the work there.
        device: "cpu" or "cuda"; what each process has one of.
        workers: processes; None takes as many as the cluster has cores (or GPUs).
        address: of the cluster; None takes the one that RAY_ADDRESS names, else starts one on this machine, which lives
            as long as this process.
    """

    def __init__(
        self,
        make: Callable[[], Callable[[Item], Found]],
        device: str = "cpu",
        workers: int | None = None,
        address: str | None = None,
    ) -> None:
        self._make, self._device, self._workers, self._address = make, device, workers, address
        self._processes: list[Any] = []

    def do(self, items: Sequence[Item], *, ordered: bool) -> Iterator[Found]:
        """What the work gives of each item, in their order or as soon as it is done.

        Raises:
            UsageError: there is no such cluster, or it lost the processes.
        """
        if not items:
            return
        self._start()
        from ray.exceptions import RayActorError
        from ray.util import ActorPool

        pool = ActorPool(self._processes)
        share_out = pool.map if ordered else pool.map_unordered
        try:
            yield from share_out(lambda process, item: process.do.remote(item), list(items))
        except RayActorError as error:
            reason = str(error).splitlines()[0]
            raise UsageError(
                f"the Ray cluster lost the processes that were at work: {reason} (what was done is kept; the same "
                "command goes on)"
            ) from None

    def close(self) -> None:
        """End the processes."""
        if self._processes:
            import ray

            for process in self._processes:
                ray.kill(process)
            self._processes = []

    def _start(self) -> None:
        if self._processes:
            return
        import ray

        if not ray.is_initialized():
            try:
                ray.init(
                    address=self._address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise UsageError(
                    f"there is no Ray cluster at '{self._address}': {str(error).splitlines()[0]}"
                ) from None
        resource = "GPU" if self._device.startswith("cuda") else "CPU"
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        worker: Any = ray.remote(
            num_cpus=1, num_gpus=int(resource == "GPU"), max_restarts=TRIES, max_task_retries=TRIES
        )(_Worker)
        count = self._workers or max(1, int(resources.get(resource, 1)))
        self._processes = [worker.remote(self._make) for _ in range(count)]
