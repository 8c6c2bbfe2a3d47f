"""Thread pool for kernels, which run on contiguous ranges of blocks.

A kernel is a function ``kernel(*arguments, first, last)`` that works on the blocks first, ..., last - 1 and releases
the interpreter's lock meanwhile (compiled code with ``nogil``, or NumPy calls on large arrays). The division into
blocks depends only on the arrays' shapes, not on the number of threads, so results have the same bits for any number
of threads.

The caller works too: it takes every range that no thread has started, and never waits for a thread that is busy with
another job. Several Python threads can therefore use the pool at once. A `parallel_for` inside a kernel runs in the
kernel's own thread.
"""

from __future__ import annotations

import contextvars
import itertools
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError

RANGES_PER_THREAD = 4  # more ranges than threads: a thread delayed by another program does not delay the rest
ALIGNMENT = 64  # bytes of a cache line

_local = threading.local()


def _nothing(first: int, last: int) -> None:
    """Do nothing; replaces the kernel of a finished job."""


class _Job:
    """One call of `parallel_for`: its remaining ranges, the number of unfinished ones, and the first error."""

    def __init__(self, kernel: Callable[..., Any], arguments: tuple[Any, ...], ranges: list[tuple[int, int]]) -> None:
        self.kernel, self.arguments = kernel, arguments
        self.ranges, self.unfinished = deque(ranges), len(ranges)
        self.errors: list[tuple[int, BaseException]] = []
        self.context = contextvars.copy_context()  # numpy.errstate lives in it
        self.counting, self.done = threading.Lock(), threading.Lock()
        self.done.acquire()

    def work(self) -> None:
        """Take ranges until none is left."""
        context = self.context.copy()
        while True:
            try:
                first, last = self.ranges.popleft()
            except IndexError:
                return
            try:
                context.run(self.kernel, *self.arguments, first, last)
            except BaseException as error:
                self.errors.append((first, error))
            with self.counting:
                self.unfinished -= 1
                if not self.unfinished:
                    self.done.release()

    def finish(self) -> None:
        """Wait for the ranges of other threads; raise the error of the first block that failed."""
        self.done.acquire()
        self.kernel, self.arguments = _nothing, ()  # a late thread may still hold the job: drop its large arrays
        if self.errors:
            raise min(self.errors, key=lambda pair: pair[0])[1]


class _Pool:
    """Threads that wait for jobs; each is started when it is first needed."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self.started, self.starting = 0, threading.Lock()

    def offer(self, job: _Job, helpers: int) -> None:
        if self.started < helpers:
            with self.starting:
                while self.started < helpers:
                    self.started += 1
                    threading.Thread(target=self._serve, name=f"tinygrad_lab-{self.started}", daemon=True).start()
        for _ in range(helpers):
            self.jobs.put(job)

    def _serve(self) -> None:
        _local.inside = True
        while True:
            self.jobs.get().work()


def _threads_from_environment() -> int:
    text = os.environ.get("TINYGRAD_LAB_NUM_THREADS", "")
    if not text:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise OptionError(f"TINYGRAD_LAB_NUM_THREADS: expected a positive whole number, got {text!r}")
    return int(text)


class _State:
    """The pool and its number of threads; replaced in a forked child, where the parent's threads do not exist."""

    def __init__(self, threads: int | None = None) -> None:
        self.pool, self.threads = _Pool(), threads


_state = _State()


def _start_afresh() -> None:
    global _state
    _state = _State(_state.threads)
    _local.__dict__.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


def num_threads() -> int:
    """Return the number of threads that work on a kernel: TINYGRAD_LAB_NUM_THREADS, or the number of cores."""
    if _state.threads is None:
        _state.threads = _threads_from_environment()
    return _state.threads


@contextmanager
def using_threads(threads: int) -> Iterator[None]:
    """Use another number of threads inside the ``with`` block; results do not depend on it.

    Raises
    ------
    OptionError
        The number is not positive.
    """
    if threads < 1:
        raise OptionError(f"using_threads: expected a positive number of threads, got {threads}")
    before, _state.threads = num_threads(), threads
    try:
        yield
    finally:
        _state.threads = before


def parallel_for(kernel: Callable[..., Any], arguments: tuple[Any, ...], blocks: int) -> None:
    """Call ``kernel(*arguments, first, last)`` on ranges that cover ``range(blocks)``, in several threads.

    Parameters
    ----------
    kernel : callable
        Works on the blocks first, ..., last - 1; blocks must be independent of one another.
    arguments : tuple
        The kernel's other arguments.
    blocks : int
        Number of blocks.

    Raises
    ------
    Exception
        The error of the earliest block that failed, after all threads have stopped.
    """
    threads = num_threads()
    if threads == 1 or blocks <= 1 or getattr(_local, "inside", False):
        if blocks > 0:
            kernel(*arguments, 0, blocks)
        return
    pieces = min(blocks, threads * RANGES_PER_THREAD)
    cuts = [blocks * i // pieces for i in range(pieces + 1)]
    job = _Job(kernel, arguments, list(itertools.pairwise(cuts)))
    _state.pool.offer(job, min(threads, pieces) - 1)
    _local.inside = True
    try:
        job.work()
    finally:
        _local.inside = False
    job.finish()


def aligned(shape: tuple[int, ...], dtype: Any = np.float32, *, zeroed: bool = False) -> Array:
    """Return an array that starts on a cache line, so that no vector load straddles two lines."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = (np.zeros if zeroed else np.empty)(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
