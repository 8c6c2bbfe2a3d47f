"""CUDA graphs by CuPy: record GPU work once and launch it again as a whole."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_lab.errors import CaptureError


class HostMemory:
    """Guard of the pinned memory through which CuPy copies host arrays; a recording thread gets none.

    CuPy has one allocator for all threads and no function that returns it. But each piece of memory knows its pool:
    `allocate` replaces the allocator and calls that pool. If the program sets another allocator later, the next
    recording replaces it in the same way. (An allocator that does more than its pool should itself be a pool with its
    own `malloc`.)
    """

    _malloc: Callable[[int], Any]

    def __init__(self) -> None:
        self._here, self._one_at_a_time = threading.local(), threading.Lock()

    def allocate(self, size: int) -> Any:
        """Return memory of the pool, or raise an error if this thread is recording.

        Raises
        ------
        CaptureError
            This thread is recording.
        """
        if getattr(self._here, "recordings", 0):
            raise CaptureError(
                f"capture: expected a step that sends nothing to the GPU, got {size} bytes from the host"
            )
        return self._malloc(size)

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Deny this thread pinned memory inside the ``with`` block; other threads are unaffected."""
        self._here.recordings = getattr(self._here, "recordings", 0) + 1
        try:
            with self._one_at_a_time:
                self._stand_in_front()
            yield
        finally:
            self._here.recordings -= 1

    def _stand_in_front(self) -> None:
        import cupy

        try:
            memory = cupy.cuda.alloc_pinned_memory(1).mem
        except CaptureError:  # already in place
            return
        pool = getattr(memory, "pool", lambda: None)()
        if pool is None:
            raise CaptureError(
                f"capture: expected pinned memory of a pool, got {type(memory).__name__} without one; call "
                "cupy.cuda.set_pinned_memory_allocator(pool.malloc) with a cupy.cuda.PinnedMemoryPool"
            )
        self._malloc = pool.malloc
        cupy.cuda.set_pinned_memory_allocator(self.allocate)


HOST_MEMORY = HostMemory()


class CudaGraphs:
    """Recorder of CUDA graphs, with its own stream, on which it also launches them.

    The arrays of a graph must keep their addresses. Memory that is allocated during a recording comes from a private
    pool and stays allocated as long as this object lives.
    """

    def __init__(self) -> None:
        import cupy

        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.pool = cupy.cuda.MemoryPool()

    @contextmanager
    def session(self) -> Iterator[None]:
        """Let everything inside the ``with`` block run on the stream, in order with the graphs."""
        import cupy

        cupy.cuda.get_current_stream().synchronize()  # wait for work on other streams
        with self.stream:
            yield
        self.stream.synchronize()

    def record(self, work: Callable[[], Any]) -> Any:
        """Return the graph of the GPU work of a function, without computing it.

        Raises
        ------
        CaptureError
            The function copies from the host. A graph would copy the same host address at each launch, whatever is
            stored there by then.
        """
        import cupy

        with cupy.cuda.using_allocator(self.pool.malloc), HOST_MEMORY.refused():
            self.stream.begin_capture()
            try:
                work()
            except BaseException:
                with contextlib.suppress(Exception):  # already broken; the error that broke it is raised
                    self.stream.end_capture()
                raise
            return self.stream.end_capture()

    def launch(self, graph: Any) -> None:
        """Launch a graph after all work queued earlier."""
        graph.launch(self.stream)


MAKERS: dict[str, Callable[[], Any]] = {"cuda": CudaGraphs}  # by device
