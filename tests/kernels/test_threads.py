"""The thread pool: each block runs once; errors, nested calls, several callers, forks."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.errors import OptionError
from tinygrad_lab.kernels.threads import aligned, num_threads, parallel_for, using_threads


def count(counts: np.ndarray, first: int, last: int) -> None:
    counts[first:last] += 1


@given(blocks=st.integers(0, 100), threads=st.integers(1, 5))
def test_every_block_runs_once(blocks: int, threads: int) -> None:
    counts = np.zeros(blocks, int)
    with using_threads(threads):
        parallel_for(count, (counts,), blocks)
    assert (counts == 1).all()


def test_ranges_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=30)

    def meet(first: int, last: int) -> None:
        for _ in range(first, last):
            meeting.wait()

    with using_threads(3):
        parallel_for(meet, (), 3)
    assert not meeting.broken


def test_the_error_of_the_first_failed_block_is_raised_and_the_pool_survives() -> None:
    def fail(first: int, last: int) -> None:
        raise ValueError(f"block {first}")

    with using_threads(3):
        with pytest.raises(ValueError, match="block 0"):
            parallel_for(fail, (), 12)
        counts = np.zeros(12, int)
        parallel_for(count, (counts,), 12)
    assert (counts == 1).all()


def test_parallel_for_may_be_nested() -> None:
    counts = np.zeros((6, 7), int)

    def outer(first: int, last: int) -> None:
        for block in range(first, last):
            parallel_for(count, (counts[block],), 7)

    with using_threads(3):
        parallel_for(outer, (), 6)
    assert (counts == 1).all()


def test_several_threads_may_call_parallel_for() -> None:
    counts = [np.zeros(50, int) for _ in range(8)]

    def call(mine: np.ndarray) -> None:
        for _ in range(20):
            parallel_for(count, (mine,), 50)

    with using_threads(3):
        callers = [threading.Thread(target=call, args=(mine,)) for mine in counts]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(60)
    assert all((mine == 20).all() for mine in counts)


def test_a_finished_job_releases_its_arrays() -> None:
    blocked, release = threading.Event(), threading.Event()

    def hold(first: int, last: int) -> None:
        blocked.set()
        release.wait(60)

    with using_threads(2):
        busy = threading.Thread(target=parallel_for, args=(hold, (), 2))  # keeps the pool's threads busy
        busy.start()
        blocked.wait(60)
        arrays = [np.zeros(8, int), np.zeros(8, int)]
        there = [weakref.ref(array) for array in arrays]
        parallel_for(count, (arrays[0],), 8)
        parallel_for(functools.partial(count, arrays[1]), (), 8)
        del arrays
        held = [reference() for reference in there if reference() is not None]
        release.set()
        busy.join(60)
    assert not held


def test_the_callers_numpy_error_state_holds_in_the_threads() -> None:
    def overflow(first: int, last: int) -> None:
        np.float32([1e38]) * np.float32([1e38])

    with using_threads(2), np.errstate(over="ignore"):
        parallel_for(overflow, (), 8)
    with using_threads(2), np.errstate(over="raise"), pytest.raises(FloatingPointError):
        parallel_for(overflow, (), 8)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    script = """
import os
import numpy as np
from tinygrad_lab.kernels.threads import parallel_for, using_threads
def count(counts, first, last): counts[first:last] += 1
def check():
    with using_threads(3):
        counts = np.zeros(30, int)
        parallel_for(count, (counts,), 30)
    assert (counts == 1).all()
check()
child = os.fork()
check()
if not child: os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=120)


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5"])
def test_a_wrong_environment_variable_is_refused(text: str) -> None:
    script = "from tinygrad_lab.kernels.threads import num_threads; num_threads()"
    environment = {**os.environ, "TINYGRAD_LAB_NUM_THREADS": text}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "TINYGRAD_LAB_NUM_THREADS: expected a positive whole number" in result.stderr


def test_using_threads_is_undone_and_refuses_zero() -> None:
    before = num_threads()
    with using_threads(7):
        assert num_threads() == 7
    assert num_threads() == before
    with pytest.raises(OptionError, match="positive number of threads"), using_threads(0):
        pass


@given(shape=st.lists(st.integers(0, 9), min_size=1, max_size=3), dtype=st.sampled_from(["float32", "uint8", "int64"]))
def test_aligned_arrays_begin_on_a_cache_line(shape: list[int], dtype: str) -> None:
    array = aligned(tuple(shape), dtype, zeroed=True)
    assert array.shape == tuple(shape)
    assert array.dtype == dtype
    assert array.ctypes.data % 64 == 0 or not array.size
    assert not array.any()
