"""The start of a program with kernels on disk, with none yet, without a writable cache, and without Numba."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

USE = """
import numpy as np
from tinygrad_lab.ops.convolution import conv2d
x, w = np.ones((2, 6, 6, 1), np.float32), np.ones((3, 3, 1, 1), np.float32)
y = conv2d(x, w, None)
assert (y == 9).all()
"""
NO_NUMBA = """
import sys
sys.modules["numba"] = None
"""
NOWHERE = """
from numba.core import caching
def refuse(self):
    raise OSError("read-only")
for locator in caching.CacheImpl._locator_classes:
    locator.ensure_cache_path = refuse
"""
CHANGED = """
from tinygrad_lab.kernels.numba.loops import cache
cache._sources = lambda: b"another file of the folder has changed"
"""
FULL = """
import errno
from tinygrad_lab.kernels.numba.loops.cache import _SealedFiles
def refuse(self, *args):
    raise OSError(errno.ENOSPC, "No space left on device")
_SealedFiles._load_index = lambda self: {}
_SealedFiles._open_for_write = refuse
"""


def errors_of(script: str, **environment: str) -> str:
    """Run a program in a new process and return its standard error."""
    command = [sys.executable, "-c", script]
    variables = {**os.environ, **environment}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=True, timeout=300).stderr


@pytest.mark.slow
def test_the_first_program_announces_compilation_and_the_next_loads(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    first = errors_of(USE, NUMBA_CACHE_DIR=str(tmp_path))
    assert first.count("\n") == 1
    assert "tinygrad_lab: compiling kernels for this machine" in first
    assert list(tmp_path.rglob("*.nbc"))
    assert errors_of(USE, NUMBA_CACHE_DIR=str(tmp_path)) == ""
    assert "compiling kernels" in errors_of(CHANGED + USE, NUMBA_CACHE_DIR=str(tmp_path))


@pytest.mark.slow
def test_damaged_kernels_are_compiled_again(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    errors_of(USE, NUMBA_CACHE_DIR=str(tmp_path))
    for number, path in enumerate(sorted(tmp_path.rglob("*.nb?"))):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes((content, content[:-9], b"", b"cbuiltins\nexit\n(tR.")[number % 4])
    said = errors_of(USE, NUMBA_CACHE_DIR=str(tmp_path))
    assert said.count("\n") == 1
    assert "compiling kernels" in said
    assert errors_of(USE, NUMBA_CACHE_DIR=str(tmp_path)) == "", "the damaged files were replaced"


@pytest.mark.slow
def test_a_full_disk_gives_a_warning_and_right_results() -> None:
    pytest.importorskip("numba")
    said = errors_of(FULL + USE).splitlines()
    assert [line.partition(" in ")[0] for line in said if "No space" in line] == [
        "tinygrad_lab: compiled kernels cannot be cached"
    ]


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_gives_a_warning() -> None:
    pytest.importorskip("numba")
    said = errors_of(NOWHERE + USE).splitlines()
    assert len(said) == 2
    assert "compiled kernels cannot be cached" in said[0]
    assert "set NUMBA_CACHE_DIR" in said[0]
    assert "compiling kernels" in said[1]


def test_without_numba_numpy_kernels_run_with_a_warning() -> None:
    said = errors_of(NO_NUMBA + USE)
    assert said.count("\n") == 1
    assert "no compiled kernels" in said
    assert "pip install numba" in said


def test_without_numba_there_is_no_warning_if_it_is_not_wanted() -> None:
    assert errors_of(NO_NUMBA + USE, TINYGRAD_LAB_KERNELS="numpy") == ""


def test_importing_the_package_does_not_import_numba() -> None:
    assert errors_of("import tinygrad_lab, sys; assert 'numba' not in sys.modules") == ""


def test_other_functions_without_a_module_still_compile() -> None:
    numba = pytest.importorskip("numba")
    from tinygrad_lab.kernels.numba.loops import jit  # noqa: F401  it observes every compilation

    made: dict[str, Any] = {}
    exec("def f(x):\n    return x + 1", made)
    assert numba.njit(made["f"])(1) == 2
