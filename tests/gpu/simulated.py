"""A simulated GPU: the strict device under the name of CuPy, with raw kernels compiled for the processor.

`simulated_gpu()` registers it for a ``with`` block. The sources are those for a GPU; a small header replaces CUDA.
Each kernel is called for a few threads of a few blocks, one after another. They share the items, as on a GPU.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

import tinygrad_lab_layers
from tests import strict_device
from tests.strict_device import STRICT, Recording, StrictArray, change
from tinygrad_lab.autograd.dispatch import provider_serves
from tinygrad_lab.backend import BACKENDS
from tinygrad_lab.kernels.cupy import cudnn, launch, matmul

ON_A_GPU = bool(os.environ.get("TINYGRAD_LAB_TEST_GPU"))  # then tests of kernels run on a real GPU
DEVICE = "cuda" if ON_A_GPU else STRICT.name
SHIM = Path(__file__).parent / "shim"
BLOCKS, THREADS = 2, 3  # any number covers all items
LAYERS = Path(tinygrad_lab_layers.__file__).parent
THEMES = [
    *launch.themes(),
    *(f"tinygrad_lab_layers.{path.parent.name}:{path.stem}" for path in sorted(LAYERS.glob("*/*.cu"))),
]
LAUNCHED: set[tuple[str, str, str]] = set()  # theme, dtype, kernel

needs_a_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and not ON_A_GPU, reason="needs g++ to run raw kernels on the processor"
)


@functools.cache
def folder() -> Path:
    """Return the folder of compiled kernels, which exists until the process ends."""
    keeper = tempfile.TemporaryDirectory(prefix="tinygrad_lab-kernels-")
    folder.keeper = keeper  # type: ignore[attr-defined]
    return Path(keeper.name)


@functools.cache
def library(theme: str, dtype: str) -> ctypes.CDLL:
    """Compile a theme's kernels for the processor, without contraction of products and sums, which changes results."""
    path = folder() / f"{theme.rpartition(':')[2]}-{dtype}"
    path.with_suffix(".cc").write_text(f'#include "shim.h"\n{launch.source(theme, dtype)}', encoding="utf-8")
    options = [
        "-std=c++17",
        "-O1",
        "-ffp-contract=off",
        "-shared",
        "-fPIC",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unused-parameter",
        f"-I{SHIM}",
    ]
    subprocess.run(["g++", *options, str(path.with_suffix(".cc")), "-o", str(path.with_suffix(".so"))], check=True)
    return ctypes.CDLL(str(path.with_suffix(".so")))


def as_c(value: Any) -> Any:
    """Convert an argument as a launch does: numbers by value in their own width, arrays to their address."""
    if isinstance(value, StrictArray):
        array = value._behind_the_wall
        assert array.flags.c_contiguous, "a kernel got an array that is not contiguous"
        return ctypes.c_void_p(array.ctypes.data)
    kinds = {"int32": ctypes.c_int, "float32": ctypes.c_float, "float64": ctypes.c_double, "uint64": ctypes.c_uint64}
    return kinds[np.dtype(type(value)).name](value)


class Module:
    """The compiled kernels of a theme."""

    def __init__(self, theme: str, dtype: str) -> None:
        self.theme, self.dtype = theme, dtype

    def get_function(self, name: str) -> Callable[..., None]:
        code, held = library(self.theme, self.dtype), []  # the arrays of a recording live as long as the function

        def call(blocks: tuple[int], threads: tuple[int], arguments: tuple[Any, ...]) -> None:
            assert blocks[0] > 0
            assert threads[0] % 32 == 0, "rows are shared by 32 lanes"
            LAUNCHED.add((self.theme, self.dtype, name))
            given = [as_c(a) for a in arguments]

            def launched() -> None:
                for block in range(BLOCKS):
                    for thread in range(THREADS):
                        code.stand_at(block, thread, THREADS, BLOCKS)
                        getattr(code, name)(*given)

            arrays = [a._behind_the_wall for a in arguments if isinstance(a, StrictArray)]
            if Recording.now:
                held.append(arrays)
            change(launched, [a for a in arrays if a.flags.writeable])

        return call


class SimulatedPlan:
    """A plan of cuDNN, computed by the reference forwards from arrays with the described axes and strides."""

    workspace = 0

    def __init__(self, problem: cudnn.Problem) -> None:
        self.problem = problem

    def run(self, first: StrictArray, second: StrictArray, out: StrictArray) -> None:
        arrays, options = cudnn.describe(self.problem)
        names = {"forward": "xwy", "grad_x": "ywx", "grad_w": "xyw"}[self.problem.kind]
        seen = {}
        for name, array in zip(names, (first, second, out), strict=True):
            dim, strides = arrays[name]
            memory = array._behind_the_wall
            assert memory.flags.c_contiguous
            assert memory.size == np.prod(dim)
            assert not memory.size or memory.ctypes.data % launch.ALIGNMENT == 0
            if memory.dtype == np.uint16:  # bfloat16; such a plan cannot be recorded here
                memory = (memory.astype(np.uint32) << 16).view(np.float32)
            bytes_apart = [memory.itemsize * s for s in strides]
            seen[name] = np.lib.stride_tricks.as_strided(memory, dim, bytes_apart, writeable=memory.flags.writeable)
        x, y = (seen[name].transpose(0, 2, 3, 1) for name in "xy")  # (N, C, H, W) -> (N, H, W, C)
        w = seen["w"].transpose(2, 3, 1, 0)  # (O, C, kh, kw) -> (kh, kw, C, O)
        how = {
            "stride": tuple(options["stride"]),
            "dilation": tuple(options["dilation"]),
            "padding": tuple(zip(options["pre_padding"], options["post_padding"], strict=True)),
            "groups": x.shape[3] // w.shape[2],
        }

        def computed() -> None:
            self._compute(x, w, y, how)

        change(computed, [out._behind_the_wall])

    def _compute(self, x: np.ndarray, w: np.ndarray, y: np.ndarray, how: dict[str, Any]) -> None:
        from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x

        if self.problem.kind == "forward":
            y[...] = conv2d.forward(np, x, w, None, **how)
        elif self.problem.kind == "grad_x":
            x[...] = conv2d_grad_x.forward(np, y, w, size=x.shape[1:3], **how)
        else:
            w[...] = conv2d_grad_w.forward(np, x, y, kernel_size=w.shape[:2], **how)


@contextmanager
def simulated_gpu(*, with_cudnn: bool = True) -> Iterator[None]:
    """Run the kernels for CuPy on the strict device; do nothing on a real GPU."""
    if ON_A_GPU:
        yield
        return
    provider_serves.cache_clear()
    launch._function.cache_clear()
    try:
        with (
            patch.dict(BACKENDS, {"cuda": replace(STRICT, name="cuda")}),
            patch.object(launch, "compiled", Module),
            patch.object(launch, "address", lambda array: array._behind_the_wall.ctypes.data),
            patch.object(matmul, "_tensor_cores", nullcontext),
            patch.object(cudnn, "is_there", lambda: with_cudnn),
            patch.object(cudnn, "_made", SimulatedPlan),
            patch.dict(cudnn._PLANS, clear=True),
        ):
            yield
    finally:
        provider_serves.cache_clear()
        launch._function.cache_clear()


fake: Any = strict_device.fake
to_device: Callable[[Any], Any] = strict_device.to_device
to_host: Callable[[Any], np.ndarray] = strict_device.to_host
if ON_A_GPU:
    import cupy

    from tinygrad_lab.backend import find_backend

    find_backend("cuda")
    fake, to_device, to_host = cupy, cupy.array, cupy.asnumpy
