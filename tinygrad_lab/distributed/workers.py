"""Workers: processes that call functions for this one, several at once.

On one machine each worker is a process of Python's own `concurrent.futures`. A worker that is killed loses its call
alone. On several machines, start the program by ``mpiexec -n 9 python -m mpi4py.futures``: its workers are the ranks
from 1 on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tinygrad_lab.distributed.launcher import share_of_cores
from tinygrad_lab.errors import DistributedError

Call = tuple[Any, ...]


def call_each(function: Callable[..., Any], calls: Iterable[Call], *, workers: int) -> Iterator[tuple[Call, Any]]:
    """Yield each call's arguments and its result, or the exception that it raised, in the order in which calls end.

    Parameters
    ----------
    function : callable
        A function of a module, which the workers can import.
    calls : iterable of tuple
        The arguments of each call.
    workers : int
        The number of processes; each gets its share of the cores. MPI's launcher gives its own number.
    """
    with _executor(workers) as executor:
        begun: dict[Future[Any], Call] = {executor.submit(function, *call): call for call in calls}
        try:
            for future in as_completed(begun):
                error = future.exception()
                yield begun[future], future.result() if error is None else error
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _executor(workers: int) -> Executor:
    if "mpi4py.futures" in sys.modules:
        from mpi4py.futures import MPIPoolExecutor

        executor: Executor = MPIPoolExecutor()
        return executor
    return _Processes(workers)


class _Processes(Executor):
    """One pool for each worker, so that a killed worker breaks no other one."""

    def __init__(self, workers: int) -> None:
        self.threads = ThreadPoolExecutor(workers, thread_name_prefix="tinygrad_lab-worker")
        self.free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self.all = [_Worker(share_of_cores(workers)) for _ in range(workers)]
        for worker in self.all:
            self.free.put(worker)

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Call a function in the next free worker."""
        return self.threads.submit(self._call, function, args, options)

    def _call(self, function: Callable[..., Any], args: Call, options: dict[str, Any]) -> Any:
        worker = self.free.get()
        try:
            return worker.call(function, args, options)
        finally:
            self.free.put(worker)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers; with `cancel_futures`, their calls too."""
        if cancel_futures:
            for worker in self.all:
                worker.stop()
        self.threads.shutdown(wait=True, cancel_futures=cancel_futures)
        for worker in self.all:
            worker.close()


class _Worker:
    """A process that is started when it is first needed, and again if it was killed."""

    def __init__(self, threads: int) -> None:
        self.threads, self.pool, self.process = threads, None, 0

    pool: ProcessPoolExecutor | None

    def call(self, function: Callable[..., Any], args: Call, options: dict[str, Any]) -> Any:
        try:
            if self.pool is None:
                context = multiprocessing.get_context("spawn")
                self.pool = ProcessPoolExecutor(1, context, _begin, (self.threads,))
                self.process = self.pool.submit(os.getpid).result()
            return self.pool.submit(function, *args, **options).result()
        except BrokenProcessPool:
            who = f"process {self.process}" if self.process else "a process that had just begun"
            self.close()
            raise DistributedError(
                f"worker: expected a process that ends its work, got {who}, which was killed; is there enough memory?"
            ) from None

    def stop(self) -> None:
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process, signal.SIGTERM)

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
            self.pool, self.process = None, 0


def _begin(threads: int) -> None:
    """Give a new worker its share of the cores."""
    os.environ.setdefault("TINYGRAD_LAB_NUM_THREADS", str(threads))
