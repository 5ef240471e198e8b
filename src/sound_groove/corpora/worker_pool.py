"""Work spread over processes that outlives its workers: a bad file may kill a process, but not the night's run."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_handles
from multiprocessing.context import BaseContext
from typing import TypeVar

from sound_groove.errors import SoundGrooveError

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH = 16  # items a task: enough to hide its cost, few enough that Ctrl-C is obeyed within a second or two
AHEAD = 3  # tasks in flight for each worker


def spread(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    crashed: Callable[[Item], Result],
    batch: int = BATCH,
    loaded: Sequence[str] = (),
) -> Iterator[tuple[Item, Result]]:
    """Do one thing to many items in several processes.

    A worker that dies (a decoder that crashes, the system that runs out of memory) takes the tasks in flight with it.
    Their items are then tried again one at a time in a process of their own: those that kill it again are given up.

    Args:
        work: a function of a module, so that it can be found in another process.
        items: taken up as they are needed, never all at once.
        workers: number of processes, at least 1.
        crashed: gives the result of an item that kills its process.
        batch: items a task; 1 where an item is work for seconds.
        loaded: names of modules that `work` imports while it runs. They are loaded once for all workers, before the
            first one is forked, as is the module of `work`; where processes are not forked, each worker loads them.

    Yields:
        Each item with its result, in no particular order.

    Raises:
        SoundGrooveError: processes die before they were given anything.
    """
    batches, context = _batches(items, batch), _context((work.__module__, *loaded))
    while True:
        suspects: list[Item] = []
        yield from _until_broken(work, batches, context, workers, suspects)
        if not suspects:
            return
        yield from _one_at_a_time(work, suspects, context, crashed)


def _context(modules: Sequence[str]) -> BaseContext:
    """What starts the workers, with these modules loaded.

    Not fork: the parent may hold threads (progress bar, torch), and a fork would copy their locks as they are.
    """
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *modules])  # does nothing where the process that forks is there already
    resource_tracker.ensure_running()  # would let Ctrl-C through again, were it started with what follows
    # It inherits that Ctrl-C is held back, and so is not interrupted while it loads; workers leave it to their parent.
    held_back = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
    # Until it has loaded, Ctrl-C would leave it workers to fork that find nothing of their parent any more.
    first = context.Process(target=_nothing, args=(None,), daemon=True)
    first.start()
    first.join()
    return context


def _until_broken(
    work: Callable[[Item], Result],
    batches: Iterator[list[Item]],
    context: BaseContext,
    workers: int,
    suspects: list[Item],
) -> Iterator[tuple[Item, Result]]:
    """Do the batches; where a worker dies, leave the items that were in flight in `suspects` and end."""
    pending: dict[Future[list[Result]], list[Item]] = {}
    with _Pool(context, workers) as pool:
        while True:
            for batch in islice(batches, workers * AHEAD - len(pending)):
                pending[pool.submit(work, batch)] = batch
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            broken = False
            for future in done:
                batch = pending.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    broken = True
                    suspects += batch
                else:
                    yield from zip(batch, future.result(), strict=True)
            if broken:
                # All futures of a broken pool end at once, those that had finished before with their results.
                wait(pending)
                for future, batch in pending.items():
                    if future.exception() is None:
                        yield from zip(batch, future.result(), strict=True)
                    else:
                        suspects += batch
                return


def _one_at_a_time(
    work: Callable[[Item], Result], items: list[Item], context: BaseContext, crashed: Callable[[Item], Result]
) -> Iterator[tuple[Item, Result]]:
    remaining = iter(items)
    while (item := next(remaining, None)) is not None:
        with _Pool(context, 1) as pool:
            if isinstance(pool.submit(_nothing, [None]).exception(), BrokenProcessPool):
                raise SoundGrooveError(
                    "the worker processes die before they are given anything; free some memory or use fewer workers; "
                    "a script of your own must call this under 'if __name__ == \"__main__\":', which they import",
                )
            while item is not None:
                future = pool.submit(work, [item])
                if isinstance(future.exception(), BrokenProcessPool):
                    yield item, crashed(item)
                    break
                yield item, future.result()[0]
                item = next(remaining, None)


class _Pool:
    """An executor that never waits for work that nobody wants any more, and reports its death in the future.

    Left by an exception, it does not even wait for the work that is being done: whatever a worker writes takes its name
    only when it is whole.
    """

    def __init__(self, context: BaseContext, workers: int) -> None:
        # Nothing is ever sent: the workers' end is ready to be read when this one is closed.
        self._theirs, self._ours = context.Pipe(duplex=False)
        self._executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(self._theirs,))

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._ours.close()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._ours.close()
        self._theirs.close()

    def submit(self, work: Callable[[Item], Result], batch: list[Item]) -> Future[list[Result]]:
        try:
            with _undisturbed():  # it may start a worker
                return self._executor.submit(_do, work, batch)
        except BrokenProcessPool as error:  # it died between two calls
            future: Future[list[Result]] = Future()
            future.set_exception(error)
            return future


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put Ctrl-C off until what is done here has ended: of a parent that has gone, a worker prints a traceback."""
    if threading.current_thread() is not threading.main_thread():  # where Ctrl-C never arrives
        yield
        return
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _do(work: Callable[[Item], Result], batch: list[Item]) -> list[Result]:
    return [work(item) for item in batch]


def _nothing(_: None) -> None:
    """Show that a worker can start."""


def _begin(wanted: Connection) -> None:
    """Make a fresh worker leave Ctrl-C to its parent, and end when the parent is killed or wants nothing any more."""
    gc.freeze()  # what it was forked with is no garbage, and to look through it would copy it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(wanted,), daemon=True).start()


def _end_with_parent(wanted: Connection) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_handles([parent.sentinel, wanted])
        os._exit(1)
