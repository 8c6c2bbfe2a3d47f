"""CUDA graphs by CuPy: work that is recorded once and launched again as a whole."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_lab.errors import CaptureError


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

        with cupy.cuda.using_allocator(self.pool.malloc), _nothing_sent():
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


@contextmanager
def _nothing_sent() -> Iterator[None]:
    """Refuse this thread the pinned memory through which CuPy sends arrays of the host."""
    import cupy

    usual, here = cupy.get_default_pinned_memory_pool().malloc, threading.get_ident()

    def allocate(size: int) -> Any:
        if threading.get_ident() == here:
            raise CaptureError(
                f"capture: expected a step that sends nothing to the GPU, got {size} bytes from the host"
            )
        return usual(size)

    cupy.cuda.set_pinned_memory_allocator(allocate)
    try:
        yield
    finally:
        cupy.cuda.set_pinned_memory_allocator(usual)


MAKERS: dict[str, Callable[[], Any]] = {"cupy": CudaGraphs}  # by device
