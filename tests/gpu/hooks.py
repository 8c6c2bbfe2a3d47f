"""Counters of CuPy's transfers and waits, for tests on a GPU.

Transfers from the host pass through pinned memory. A pool that counts replaces the allocator of this memory; recordings
continue to use this pool (`tinygrad_lab.kernels.cupy.graphs`). Transfers to the host, and waits for streams, events and
devices, are calls of methods, which are replaced by counting ones. Memory that is not in CuPy's pool is allocated by
the driver, which waits too; a memory hook of CuPy counts these allocations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

TO_THE_HOST = ("get", "item", "tolist", "__bool__", "__int__", "__float__", "__complex__")


def counted(counts: Counter[str], what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that counts its calls."""

    def call(*arguments: Any, **options: Any) -> Any:
        counts[what] += 1
        return function(*arguments, **options)

    return call


@contextmanager
def watching() -> Iterator[Counter[str]]:
    """Count, inside the ``with`` block: "to the device", "to the host", "waits" and "memory from the driver"."""
    import cupy

    counts: Counter[str] = Counter()

    class Asked(cupy.cuda.MemoryHook):  # type: ignore[misc]  # CuPy has no types
        name = "asked"

        def alloc_preprocess(self, **options: Any) -> None:
            counts["memory from the driver"] += 1

    class Counting(cupy.cuda.PinnedMemoryPool):  # type: ignore[misc]  # CuPy has no types
        def malloc(self, size: int) -> Any:
            counts["to the device"] += 1
            return super().malloc(size)

    with ExitStack() as stack:
        for name in TO_THE_HOST:
            function = counted(counts, "to the host", getattr(cupy.ndarray, name))
            stack.enter_context(patch.object(cupy.ndarray, name, function))
        for kind in (cupy.cuda.Stream, cupy.cuda.Event, cupy.cuda.runtime):
            for name in {"synchronize", "deviceSynchronize", "streamSynchronize", "eventSynchronize"} & {*dir(kind)}:
                stack.enter_context(patch.object(kind, name, counted(counts, "waits", getattr(kind, name))))
        cupy.cuda.set_pinned_memory_allocator(Counting().malloc)
        stack.callback(cupy.cuda.set_pinned_memory_allocator, cupy.get_default_pinned_memory_pool().malloc)
        stack.enter_context(Asked())
        yield counts
