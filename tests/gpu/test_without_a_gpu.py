"""Without a GPU nothing of CuPy is imported, and asking for it says what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.conftest import has_gpu
from tinygrad_lab.backend import BACKENDS
from tinygrad_lab.cli import main
from tinygrad_lab.errors import DeviceError

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
