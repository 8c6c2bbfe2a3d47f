"""Without a GPU nothing of CuPy is imported, and asking for it says what is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.conftest import has_gpu
from tinygrad_lab.backend import BACKENDS
from tinygrad_lab.cli import main
from tinygrad_lab.errors import CaptureError, DeviceError
from tinygrad_lab.kernels.gpu.graphs import CudaGraphs

pytestmark = pytest.mark.skipif(has_gpu(), reason="there is a GPU")


def test_importing_everything_imports_no_gpu_library() -> None:
    code = (
        "import sys, tinygrad_lab, tinygrad_lab_layers, tinygrad_lab.train, tinygrad_lab.kernels.gpu\n"
        "import tinygrad_lab.kernels.gpu.graphs, tinygrad_lab.train.capture\n"
        "[tinygrad_lab.layers[name] for name in tinygrad_lab.layers if '.' not in name]\n"
        "sys.exit(sorted({'cupy', 'cupyx', 'cudnn'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_cupy_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(BACKENDS, "cupy", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"expected CuPy to be installed.*pip install 'tinygrad-lab\[cuda\]'"):
        tgl.tensor(np.ones(1)).to("cupy")


def test_a_cupy_that_does_not_import_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cupy.py").write_text("raise ImportError('libcublas.so.13: cannot open shared object file')")
    monkeypatch.delitem(BACKENDS, "cupy", raising=False)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match=r"got ImportError: libcublas.so.13: cannot open"):
        tgl.tensor(np.ones(1)).to("cupy")


class FakeCuda:
    """What a recording needs of `cupy.cuda`."""

    def __init__(self) -> None:
        self.pinned: Callable[[int], str] = lambda size: "pinned"
        self.Stream, self.MemoryPool = lambda non_blocking: self, lambda: SimpleNamespace(malloc=None)
        self.using_allocator, self.said = lambda malloc: nullcontext(), list[str]()

    def set_pinned_memory_allocator(self, allocator: Callable[[int], str]) -> None:
        self.pinned = allocator

    def begin_capture(self) -> None:
        self.said.append("begin")

    def end_capture(self) -> str:
        self.said.append("end")
        return "graph"


def test_a_recording_that_sends_something_is_refused_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy would record the place in the host's memory, and say nothing."""
    cuda = FakeCuda()
    usual = cuda.pinned
    pool = SimpleNamespace(malloc=usual)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda, get_default_pinned_memory_pool=lambda: pool))
    graphs = CudaGraphs()
    assert graphs.record(lambda: None) == "graph"
    with pytest.raises(CaptureError, match="sends nothing to the GPU, got 64 bytes from the host"):
        graphs.record(lambda: cuda.pinned(64))
    assert cuda.said == ["begin", "end"] * 2
    assert cuda.pinned is usual

    def elsewhere() -> None:
        with ThreadPoolExecutor(1) as other:
            assert other.submit(lambda: cuda.pinned(8)).result() == "pinned"

    assert graphs.record(elsewhere) == "graph"


def test_cupy_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy 14 imports without one."""
    monkeypatch.delitem(BACKENDS, "cupy", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False)))
    with pytest.raises(DeviceError, match="expected a CUDA GPU and its driver, got none; use device 'numpy'"):
        tgl.tensor(np.ones(1)).to("cupy")


def test_the_command_line_says_it_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(BACKENDS, "cupy", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["train", "lenet5", "--device", "cupy", "--runs", str(tmp_path / "runs")]) == 1
    assert "device 'cupy': expected CuPy to be installed" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
