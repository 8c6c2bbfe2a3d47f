"""CUDA graphs by CuPy: work that is recorded once and launched again as a whole."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_lab.errors import CaptureError


class HostMemory:
    """The pinned memory through which CuPy sends arrays of the host; threads that record are refused it.

    CuPy has one allocator for all threads and does not tell which. But memory knows the pool that it is of: `allocate`
    is put in front of that pool and stays. Where another allocator was set since, the next recording puts it in front
    of that one's pool. (An allocator that does more than its pool is best a pool itself, with a `malloc` of its own.)
    """

    _malloc: Callable[[int], Any]

    def __init__(self) -> None:
        self._here, self._one_at_a_time = threading.local(), threading.Lock()

    def allocate(self, size: int) -> Any:
        """Return memory of the pool, or refuse it.

        Raises
        ------
        CaptureError
            This thread records.
        """
        if getattr(self._here, "recordings", 0):
            raise CaptureError(
                f"capture: expected a step that sends nothing to the GPU, got {size} bytes from the host"
            )
        return self._malloc(size)

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Refuse this thread all memory inside the ``with`` block; other threads get theirs."""
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
        except CaptureError:  # it does already
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
    """Records work on a stream of its own and launches it.

    What a graph works on must lie where it lay: memory that is taken during a recording comes from a pool that nothing
    else uses, and stays there for as long as this object lives.
    """

    def __init__(self) -> None:
        import cupy

        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.pool = cupy.cuda.MemoryPool()

    @contextmanager
    def session(self) -> Iterator[None]:
        """Let everything inside the ``with`` block run on the stream, in order with the graphs."""
        import cupy

        cupy.cuda.get_current_stream().synchronize()  # what was begun elsewhere
        with self.stream:
            yield
        self.stream.synchronize()

    def record(self, work: Callable[[], Any]) -> Any:
        """Return the graph of what a function asks the GPU for; nothing of it is computed yet.

        Raises
        ------
        CaptureError
            It sends something from the host: a graph would send the same place of memory each time, whatever lies
            there then.
        """
        import cupy

        with cupy.cuda.using_allocator(self.pool.malloc), HOST_MEMORY.refused():
            self.stream.begin_capture()
            try:
                work()
            except BaseException:
                with contextlib.suppress(Exception):  # the capture is broken, which is what is being reported
                    self.stream.end_capture()
                raise
            return self.stream.end_capture()

    def launch(self, graph: Any) -> None:
        """Compute what a graph holds, behind what was asked for before."""
        graph.launch(self.stream)


MAKERS: dict[str, Callable[[], Any]] = {"cuda": CudaGraphs}  # by device
