"""The sources of raw kernels compile for their target GPUs. This needs a compiler but no GPU."""

from __future__ import annotations

import functools
import glob
import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.gpu.simulated import THEMES
from tinygrad_lab.kernels.cupy import launch

ARCHITECTURES = ("sm_80", "sm_90")
CASES = [(theme, dtype) for theme in THEMES for dtype in launch.TYPES]
NVCC = shutil.which("nvcc") or next(iter(glob.glob("/usr/local/cuda*/bin/nvcc")), None)  # noqa: PTH207  absolute


@functools.cache
def nvrtc() -> object | None:
    """Return CuPy's interface to NVRTC, or None if it is not installed."""
    try:
        from cupy_backends.cuda.libs import nvrtc as found

        found.getVersion()
    except Exception:  # CuPy raises various errors for a missing library
        return None
    return found


def headers() -> list[str]:
    """Return the folders with CUDA's headers, from a toolkit or from its wheels."""
    folders = [Path(p) for p in glob.glob("/usr/local/cuda*/include")]  # noqa: PTH207  absolute
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or [] if spec else []:
        folders += Path(root).glob("**/include")
    return [f"-I{folder}" for folder in folders if (folder / "cuda_fp16.h").exists()]


@pytest.mark.skipif(nvrtc() is None, reason="needs NVRTC, as CuPy's wheels and nvidia-cuda-nvrtc bring it")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("theme", "dtype"), CASES)
def test_nvrtc_compiles(theme: str, dtype: str, architecture: str) -> None:
    from cupy_backends.cuda.libs import nvrtc as library

    if dtype == "float16" and not headers():
        pytest.skip("needs cuda_fp16.h, as nvidia-cuda-runtime brings it")
    program = library.createProgram(launch.source(theme, dtype), f"{theme}.cu", (), ())
    options = ("--std=c++17", f"--gpu-architecture={architecture}", *headers())
    try:
        library.compileProgram(program, options)
    except library.NVRTCError:
        pytest.fail(library.getProgramLog(program))


@pytest.mark.slow
@pytest.mark.skipif(NVCC is None, reason="needs nvcc")
@pytest.mark.parametrize("dtype", launch.TYPES)
@pytest.mark.parametrize("theme", THEMES)
def test_nvcc_compiles(theme: str, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "kernels.cu"
    path.write_text(launch.source(theme, dtype), encoding="utf-8")
    targets = [f"-gencode=arch=compute_{a[3:]},code={a}" for a in ARCHITECTURES]
    command = [str(NVCC), "-std=c++17", "--fatbin", *targets, str(path)]
    done = subprocess.run([*command, "-o", str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr
