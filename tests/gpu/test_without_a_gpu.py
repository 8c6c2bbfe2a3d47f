"""Without a GPU, CuPy is not imported, and the error for device `cuda` says what is missing."""

from __future__ import annotations

import subprocess
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.conftest import has_gpu
from tests.gpu.hooks import TO_THE_HOST, watching
from tinygrad_lab.backend import BACKENDS
from tinygrad_lab.cli import main
from tinygrad_lab.errors import CaptureError, DeviceError
from tinygrad_lab.kernels.cupy.graphs import CudaGraphs

pytestmark = pytest.mark.skipif(has_gpu(), reason="there is a GPU")


def test_importing_everything_imports_no_gpu_library() -> None:
    code = (
        "import sys, tinygrad_lab, tinygrad_lab_layers, tinygrad_lab.train, tinygrad_lab.kernels.cupy\n"
        "import tinygrad_lab.kernels.cupy.graphs, tinygrad_lab.train.capture\n"
        "[tinygrad_lab.layers[name] for name in tinygrad_lab.layers if '.' not in name]\n"
        "sys.exit(sorted({'cupy', 'cupyx', 'cudnn'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_cupy_the_error_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(BACKENDS, "cuda", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"expected CuPy to be installed.*pip install 'tinygrad-lab\[cuda\]'"):
        tgl.tensor(np.ones(1)).to("cuda")


def test_the_error_says_why_cupy_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cupy.py").write_text("raise ImportError('libcublas.so.13: cannot open shared object file')")
    monkeypatch.delitem(BACKENDS, "cuda", raising=False)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match=r"got ImportError: libcublas.so.13: cannot open"):
        tgl.tensor(np.ones(1)).to("cuda")


class FakePool:
    """A pool of pinned memory like CuPy's: each block has a weak reference to its pool."""

    def malloc(self, size: int) -> Any:
        return SimpleNamespace(mem=SimpleNamespace(pool=weakref.ref(self)), size=size)


class FakeHook:
    """A memory hook that is never called."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


class FakeCuda:
    """The part of `cupy.cuda` that a recording and `tests.gpu.hooks` use."""

    PinnedMemoryPool, MemoryHook, Event, runtime = FakePool, FakeHook, object, object

    def __init__(self) -> None:
        self.pool = FakePool()
        self.pinned: Callable[[int], Any] = self.pool.malloc
        self.Stream, self.MemoryPool = lambda non_blocking: self, lambda: SimpleNamespace(malloc=None)
        self.using_allocator, self.said = lambda malloc: nullcontext(), list[str]()

    def set_pinned_memory_allocator(self, allocator: Callable[[int], Any]) -> None:
        self.pinned = allocator

    def alloc_pinned_memory(self, size: int) -> Any:
        return self.pinned(size)

    def begin_capture(self) -> None:
        self.said.append("begin")

    def end_capture(self) -> str:
        self.said.append("end")
        return "graph"


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    cuda = FakeCuda()
    ndarray = type("ndarray", (), dict.fromkeys(TO_THE_HOST, lambda self: None))
    cupy = SimpleNamespace(cuda=cuda, ndarray=ndarray, get_default_pinned_memory_pool=lambda: cuda.pool)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cuda


def test_a_recording_with_a_transfer_is_refused_and_ended(cuda: FakeCuda) -> None:
    """Otherwise CuPy would silently record the host address, and each launch would copy what is there by then."""
    graphs = CudaGraphs()
    assert graphs.record(lambda: None) == "graph"
    with pytest.raises(CaptureError, match="sends nothing to the GPU, got 64 bytes from the host"):
        graphs.record(lambda: cuda.alloc_pinned_memory(64))
    assert cuda.said == ["begin", "end"] * 2
    assert cuda.alloc_pinned_memory(64).mem.pool() is cuda.pool

    def elsewhere() -> None:
        with ThreadPoolExecutor(1) as other:
            assert other.submit(lambda: cuda.alloc_pinned_memory(8)).result().size == 8

    assert graphs.record(elsewhere) == "graph"


def test_a_recording_keeps_the_pool_of_pinned_memory(cuda: FakeCuda) -> None:
    """The pool may be set before the first recording or later; all threads share one allocator."""
    for pool in (FakePool(), FakePool()):
        cuda.set_pinned_memory_allocator(pool.malloc)
        for _ in range(2):
            CudaGraphs().record(lambda: None)
            assert cuda.alloc_pinned_memory(64).mem.pool() is pool
        with pytest.raises(CaptureError, match="got 64 bytes from the host"):
            CudaGraphs().record(lambda: cuda.alloc_pinned_memory(64))


def test_pinned_memory_without_a_pool_is_refused(cuda: FakeCuda) -> None:
    memory = SimpleNamespace(mem=object())
    cuda.set_pinned_memory_allocator(lambda size: memory)
    with pytest.raises(CaptureError, match=r"expected pinned memory of a pool, got object.*PinnedMemoryPool"):
        CudaGraphs().record(lambda: None)
    assert cuda.alloc_pinned_memory(64) is memory


def test_a_recording_that_ends_does_not_end_that_of_another_thread(cuda: FakeCuda) -> None:
    def work() -> None:
        with ThreadPoolExecutor(1) as other:
            other.submit(CudaGraphs().record, lambda: None).result()
        CudaGraphs().record(lambda: None)  # and a recording inside the recording
        cuda.alloc_pinned_memory(64)

    with pytest.raises(CaptureError, match="got 64 bytes from the host"):
        CudaGraphs().record(work)
    assert cuda.alloc_pinned_memory(64).size == 64


def test_transfers_are_counted_after_a_recording_too(cuda: FakeCuda) -> None:
    with watching() as counts:
        CudaGraphs().record(lambda: None)
        before = counts.copy()
        cuda.alloc_pinned_memory(64)
        assert (counts - before)["to the device"] == 1
    cuda.alloc_pinned_memory(64)
    assert (counts - before)["to the device"] == 1


def test_the_error_says_that_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy 14 can be imported without a GPU."""
    monkeypatch.delitem(BACKENDS, "cuda", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False)))
    with pytest.raises(DeviceError, match="expected a CUDA GPU and its driver, got none; use device 'cpu'"):
        tgl.tensor(np.ones(1)).to("cuda")


def test_the_command_line_reports_missing_cupy_before_it_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(BACKENDS, "cuda", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["train", "lenet5", "--device", "cuda", "--runs", str(tmp_path / "runs")]) == 1
    assert "device 'cuda': expected CuPy to be installed" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
