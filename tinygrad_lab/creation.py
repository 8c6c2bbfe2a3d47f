"""Tensors made from a shape or a range, with NumPy's names; at the root because `import tinygrad_lab` provides them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import as_array, namespace
from tinygrad_lab.errors import ShapeError
from tinygrad_lab.tensor import Tensor, tensor

__all__ = ["arange", "eye", "full", "linspace", "ones", "ones_like", "zeros", "zeros_like"]


def zeros(*shape: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of zeros.

    Parameters
    ----------
    *shape : int, or one tuple of int
        The lengths of the axes.
    dtype : str or numpy.dtype
        By default float64, as in NumPy. Layers compute in float32 unless they are converted.
    device : {"cpu", "cuda"}
        By default the CPU.
    requires_grad : bool
        Whether the tensor is a leaf of the tape.

    Raises
    ------
    ShapeError
        A length is negative or not an integer.

    Examples
    --------
    >>> zeros(2, 3).shape, zeros((2, 3), dtype="float32").dtype
    ((2, 3), dtype('float32'))
    """
    return full(_lengths("zeros", shape), 0.0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones(*shape: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of ones. The arguments are those of `zeros`."""
    return full(_lengths("ones", shape), 1.0, dtype=dtype, device=device, requires_grad=requires_grad)


def full(
    shape: int | Sequence[int],
    value: float,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor of one value. The options are those of `zeros`; `dtype` is by default that of the value."""
    return tensor(np.full(_lengths("full", (shape,)), value, dtype), requires_grad, device=device)


def zeros_like(x: Any, *, requires_grad: bool = False) -> Tensor:
    """Return zeros of the shape and dtype of x, on its device."""
    values = as_array(unbox(x), who="zeros_like: ")
    return tensor(namespace(values).zeros_like(values), requires_grad)


def ones_like(x: Any, *, requires_grad: bool = False) -> Tensor:
    """Return ones of the shape and dtype of x, on its device."""
    values = as_array(unbox(x), who="ones_like: ")
    return tensor(namespace(values).ones_like(values), requires_grad)


def eye(size: int, columns: int | None = None, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Return the identity matrix, or a rectangular one with ones on the diagonal."""
    return tensor(np.eye(size, columns, dtype=dtype or float), device=device)


def arange(*bounds: float, dtype: Any = None, device: str | None = None) -> Tensor:
    """Return the numbers from start to before stop: ``arange(stop)`` or ``arange(start, stop, step)``.

    Examples
    --------
    >>> arange(3).numpy(), arange(0.0, 1.0, 0.5).numpy()
    (array([0, 1, 2]), array([0. , 0.5]))
    """
    return tensor(np.arange(*bounds, dtype=dtype), device=device)


def linspace(start: float, stop: float, count: int = 50, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Return `count` evenly spaced numbers, including both ends."""
    return tensor(np.linspace(start, stop, count, dtype=dtype), device=device)


def _lengths(who: str, shape: Sequence[Any]) -> tuple[int, ...]:
    """Return a shape given as integers or as one sequence of them."""
    given = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    try:
        lengths = tuple(map(operator.index, given))
    except TypeError:
        lengths = (-1,)
    if min(lengths, default=0) < 0:
        raise ShapeError(f"{who}: expected lengths of axes, such as {who}(2, 3), got {given}")
    return lengths
