"""Tensors made from a shape or a range, with NumPy's names; at the root because `import tinygrad_lab` provides them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import as_array, namespace
from tinygrad_lab.errors import CallError, ShapeError
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
    fill_value: float,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor of one value. The options are those of `zeros`; `dtype` is by default that of the value."""
    return tensor(np.full(_lengths("full", (shape,)), fill_value, dtype), requires_grad, device=device)


def zeros_like(x: Any, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Return zeros of the shape of x. The options are those of `zeros`; dtype and device are by default those of x."""
    values = as_array(unbox(x), who="zeros_like: ")
    return tensor(namespace(values).zeros_like(values, dtype=dtype), requires_grad, device=device)


def ones_like(x: Any, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Return ones of the shape of x. The options are those of `zeros`; dtype and device are by default those of x."""
    values = as_array(unbox(x), who="ones_like: ")
    return tensor(namespace(values).ones_like(values, dtype=dtype), requires_grad, device=device)


def eye(
    N: int,
    M: int | None = None,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the (N, M) matrix with ones on the diagonal; M is N by default. The options are those of `zeros`."""
    lengths = _lengths("eye", (N, N if M is None else M))
    return tensor(np.eye(*lengths, dtype=dtype or float), requires_grad, device=device)


def arange(
    start: float | None = None,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the numbers from start to before stop; a single number is the stop, and the start is then 0.

    The options are those of `zeros`; `dtype` is by default that of the bounds.

    Raises
    ------
    CallError
        Neither start nor stop is given.

    Examples
    --------
    >>> arange(3).numpy(), arange(0.0, stop=1.0, step=0.5).numpy()
    (array([0, 1, 2]), array([0. , 0.5]))
    """
    if stop is None:
        start, stop = None, start
    if stop is None:
        raise CallError("arange: expected a stop, such as arange(3) or arange(0, 3), got none")
    return tensor(np.arange(start or 0, stop, step, dtype=dtype), requires_grad, device=device)


def linspace(
    start: float,
    stop: float,
    num: int = 50,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return `num` evenly spaced numbers, including both ends. The options are those of `zeros`."""
    return tensor(np.linspace(start, stop, num, dtype=dtype), requires_grad, device=device)


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
