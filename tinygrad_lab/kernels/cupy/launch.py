"""Raw CUDA kernels: compile their sources at first use, and launch them.

A source is a small file of CUDA C++, one per theme. It is compiled for one float type at a time: REAL is the type of
stored numbers, SUM the type of computations. `common.cu` is prepended to each source. Theme ``name`` is
`sources/name.cu`; ``package:name`` is `name.cu` in a package, such as that of a layer.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array, is_array, namespace
from tinygrad_lab.errors import ShapeError

BLOCK = 256  # threads
MOST_BLOCKS = 1 << 14  # each thread loops over items, so more blocks would only cost start-up time
MOST_ITEMS = 1 << 30  # item numbers are 32-bit, and a stride is added to them
ALIGNMENT = 16  # bytes; cuDNN's plans assume addresses that are multiples of it, but a slice may start elsewhere

TYPES: dict[str, tuple[str, str, type]] = {  # dtype -> REAL, SUM, and NumPy's type for SUM
    "float16": ("__half", "float", np.float32),
    "float32": ("float", "float", np.float32),
    "float64": ("double", "double", np.float64),
}
NOWHERE = np.uint64(0)  # a null pointer


def takes(*arrays: Any) -> bool:
    """Return whether kernels accept these arrays: of one float dtype, not empty, not too large. None is ignored."""
    given = [a for a in arrays if a is not None]
    if not all(map(is_array, given)):
        return False
    dtype = given[0].dtype
    return dtype.name in TYPES and all(a.dtype == dtype and 0 < a.size < MOST_ITEMS for a in given)


def contiguous(array: Array) -> Array:
    """Return a contiguous array of the same contents; it is copied only if necessary."""
    return namespace(array).ascontiguousarray(array) if array.ndim else array  # NumPy would add an axis to a scalar


def address(array: Array) -> int:
    """Return the device address of an array."""
    return int(array.data.ptr)


def aligned(array: Array) -> Array:
    """Return a contiguous array of the same contents whose address is a multiple of `ALIGNMENT`."""
    array = contiguous(array)
    return namespace(array).array(array) if address(array) % ALIGNMENT else array


def room(shape: tuple[int, ...], like: Array, dtype: Any = None) -> Array:
    """Return a new uninitialized array on the device of `like`."""
    return namespace(like).empty(shape, like.dtype if dtype is None else dtype)


def source(theme: str, dtype: str) -> str:
    """Return the source of a theme's kernels for a dtype."""
    real, total, _ = TYPES[dtype]
    head = "#include <cuda_fp16.h>\n" if dtype == "float16" else ""
    package, _, name = theme.rpartition(":")
    ours = resources.files("tinygrad_lab.kernels.cupy") / "sources"
    files = [ours / "common.cu", (resources.files(package) if package else ours) / f"{name}.cu"]
    texts = [file.read_text(encoding="utf-8") for file in files]
    return "\n".join([f"{head}#define REAL {real}\n#define SUM {total}", *texts])


def themes() -> list[str]:
    """Return the names of the themes in `sources`."""
    folder = resources.files("tinygrad_lab.kernels.cupy") / "sources"
    return sorted(
        f.name.removesuffix(".cu") for f in folder.iterdir() if f.name.endswith(".cu") and f.name != "common.cu"
    )


@functools.cache
def compiled(theme: str, dtype: str) -> Any:
    """Return the module of a theme's kernels, compiled for the current GPU (CuPy caches it on disk)."""
    import cupy

    return cupy.RawModule(code=source(theme, dtype), options=("--std=c++17",))


@functools.cache
def _function(theme: str, dtype: str, name: str) -> Any:
    return compiled(theme, dtype).get_function(name)


def either(value: Any, dtype: Any) -> tuple[Any, Any]:
    """Return two arguments for a NUMBER of `common.cu`: a value and a null pointer, or 0 and the value's address.

    Parameters
    ----------
    value : number or array
        An array has one element, on the device.
    dtype : NumPy type
        The type of the kernel's argument.
    """
    return (dtype(0), value) if is_array(value) and not isinstance(value, np.generic) else (dtype(value), NOWHERE)


def number(value: Any, like: Array) -> tuple[Any, Any]:
    """Return two arguments for a NUMBER of type SUM."""
    return either(value, TYPES[like.dtype.name][2])


def run(theme: str, name: str, like: Array, items: int, *arguments: Any) -> None:
    """Launch a kernel with enough threads for a number of items.

    Parameters
    ----------
    theme, name : str
        The source and the kernel in it.
    like : array
        Its dtype is the kernel's float type. Kernels for integers are compiled with every float type; they are launched
        from the module for float32.
    items : int
        The number of items; each thread takes one or more.
    *arguments
        Arrays, and scalars: integers become ``int``, floats SUM, None a null pointer; NumPy scalars keep their type.

    Raises
    ------
    ShapeError
        There are more items than a kernel can count.
    """
    if not items:
        return
    if items >= MOST_ITEMS:
        raise ShapeError(f"{name}: expected fewer than {MOST_ITEMS:,} numbers, got {items:,}; use smaller batches")
    dtype = like.dtype.name if like.dtype.name in TYPES else "float32"
    total = TYPES[dtype][2]
    given = tuple(_argument(value, total) for value in arguments)
    blocks = min(-(-items // BLOCK), MOST_BLOCKS)
    _function(theme, dtype, name)((blocks,), (BLOCK,), given)


def _argument(value: Any, total: type) -> Any:
    if isinstance(value, float) and not isinstance(value, np.generic):
        return total(value)
    if isinstance(value, int):  # booleans too
        return np.int32(value)
    return NOWHERE if value is None else value
