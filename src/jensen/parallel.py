r"""Work on blocks of rows in one process or in several, and pieces of work in a process each.

Block i goes to process i mod N, and its result is awaited in turn, so that results come in order
and a process holds at most `AHEAD` blocks: memory is bounded. Blocks are cut at the same places
whatever N, every process does the same arithmetic, and a row's result depends on the row alone, so
results are the same to the last bit. Processes start afresh (spawn) and end with the one that
started them.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import numpy as np

from jensen._errors import InputError

SLICE = 16_384
"""Rows of a block at most."""

AHEAD = 2
"""Blocks that a process holds: one in work, one waiting."""

_PATIENCE = 5.0  # seconds a process gets to end by itself

T = TypeVar("T")
S = TypeVar("S")


def mapped(
    work: Callable[[np.ndarray], T],
    opening: Callable[[], Callable[[np.ndarray], T]],
    blocks: Iterable[np.ndarray],
    jobs: int = 1,
) -> Generator[T, None, None]:
    """Yield the result of every block, in order.

    Wrap it in `contextlib.closing`: closing it ends the processes.

    Args:
        work: block → result, in this process; used with one job.
        opening: called in each process, returns its `work`; can be pickled.
        blocks: rows `(n, columns)`; cut into blocks of at most `SLICE` rows.
        jobs: N, the number of processes.

    Raises:
        InputError: for jobs < 1, a process that ended before its work, or as `work` raises.

    Example:
        >>> [float(x) for x in mapped(np.sum, lambda: np.sum, [np.ones((2, 3))])]
        [6.0]
    """
    check_jobs(jobs)
    if jobs == 1:
        yield from map(work, _cut(blocks))
        return
    workers: list[_Worker] = []
    waiting: deque[_Worker] = deque()
    done = False
    try:
        for i, block in enumerate(_cut(blocks)):
            if len(workers) <= i % jobs:
                workers.append(_Worker(opening))
            if len(waiting) == AHEAD * jobs:
                yield waiting.popleft().receive()
            workers[i % jobs].send(block)
            waiting.append(workers[i % jobs])
        while waiting:
            yield waiting.popleft().receive()
        done = True
    finally:
        for worker in workers:
            worker.close(_PATIENCE if done else 0.0)


def apart(
    work: Callable[[S], T], items: Sequence[S], jobs: int
) -> Generator[tuple[S, T | Exception], None, None]:
    """Yield every item with its result, or with the error that ended it, as they are done.

    Each item has a process of its own: what one of them breaks, or leaves behind, is no other's.
    Wrap it in `contextlib.closing`: closing it ends the processes.

    Args:
        work: item → result; can be pickled, and so can both.
        items: in the order in which they are begun.
        jobs: how many processes work at a time.

    Raises:
        InputError: for jobs < 1.

    Example:
        >>> from contextlib import closing
        >>> with closing(apart(abs, [-1], 2)) as results:
        ...     list(results)
        [(-1, 1)]
    """
    check_jobs(jobs)
    waiting = deque(items)
    working: dict[Any, tuple[S, _Worker]] = {}  # by their pipes
    try:
        while waiting or working:
            while waiting and len(working) < jobs:
                worker, item = _Worker(partial(_given, work)), waiting.popleft()
                working[worker.pipe] = item, worker
                worker.send(item)
            for pipe in wait(list(working)):
                item, worker = working[pipe]
                try:
                    found = worker.receive()
                except Exception as error:  # noqa: BLE001 - the item's own result
                    found = error
                del working[worker.pipe]
                worker.close(_PATIENCE)
                yield item, found
    finally:
        for _, worker in working.values():
            worker.close(0.0)


def _given(work: T) -> T:
    return work


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_jobs(jobs: int) -> None:
    """Raise InputError unless the number of processes is at least 1."""
    if jobs < 1:
        raise InputError(
            f"the number of processes must be at least 1, got {jobs}", "--jobs", "for example 2"
        )


def _cut(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        for start in range(0, len(block), SLICE):
            yield block[start : start + SLICE]


class _Worker:
    """A process that answers block by block."""

    def __init__(self, opening: Callable[[], Callable[[Any], Any]]) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, opening), daemon=True)
        with _interrupts_held():
            self._process.start()
        theirs.close()

    def send(self, block: Any) -> None:
        with suppress(OSError):  # it has ended: `receive` says why
            self.pipe.send(block)

    def receive(self) -> Any:
        try:
            good, value = self.pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(_PATIENCE)
            raise InputError(
                f"a process ended before its work (status {self._process.exitcode})",
                "--jobs",
                "take fewer processes: each holds the model and its own blocks of rows",
            ) from error
        if not good:
            raise value
        return value

    def close(self, patience: float) -> None:
        self.pipe.close()
        self._process.join(patience)
        self._process.terminate()
        self._process.join()
        self._process.close()


def _serve(pipe: Connection, opening: Callable[[], Callable[[Any], Any]]) -> None:
    """Answer until the pipe closes; a thread takes blocks in, so that no side waits on both."""
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_take_in, args=(pipe, inbox), daemon=True).start()
    try:
        work = opening()
        while (block := inbox.get()) is not None:
            pipe.send((True, work(block)))
    except Exception as error:  # noqa: BLE001 - raised again where the result is awaited
        with suppress(OSError):  # nobody awaits it any more
            pipe.send((False, _sendable(error)))


def _take_in(pipe: Connection, inbox: queue.SimpleQueue[Any]) -> None:
    with suppress(EOFError, OSError):  # the other side has closed: no more blocks
        while True:
            inbox.put(pipe.recv())
    inbox.put(None)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever pickle or the error's own code raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start a process that Ctrl-C does not reach: this one hears it, and ends the other."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # would open the mask again if it started inside
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
