"""Hypothesis strategies of calls: entries of the table, small shapes, axes, values away from kinks and ties.

A `Trial` is one drawn call: a function of float64 arrays, the arrays, and the expected results. Hypothesis draws the
structure (shapes, axes, options) and a seed. NumPy draws the values away from kinks and ties, which are tested
separately (test_singular_points.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.backend import device_name, transfer

Shape = tuple[int, ...]
Draw = Any

FAR = 0.1  # distance of drawn values from kinks, ties and jumps


@dataclass
class Trial:
    """One call of an operation.

    Parameters
    ----------
    f : callable
        The operation on float arrays, with its options; returns an array or a list of arrays.
    arrays : list of ndarray
        Its arguments, float64.
    expected : callable
        Independent code (NumPy, SciPy, a loop) for the same results.
    torch : callable or None
        The same on PyTorch's tensors, if PyTorch has the operation.
    """

    f: Callable[..., Any]
    arrays: list[np.ndarray]
    expected: Callable[..., Any]
    torch: Callable[..., Any] | None


@dataclass
class Operation:
    """A row of the table.

    Parameters
    ----------
    trials : strategy of Trial
        Its valid calls.
    complex_safe : bool
        Whether it is analytic, so that its derivative is Im f(x + ih u) / h.
    """

    trials: st.SearchStrategy[Trial]
    complex_safe: bool = True


TABLE: dict[str, Operation] = {}


def operation(name: str, *, complex_safe: bool = True) -> Callable[..., Any]:
    """Add the decorated drawing function to the table."""

    def enter(trials: Callable[[Draw], Trial]) -> Callable[[Draw], Trial]:
        TABLE[name] = Operation(st.composite(lambda draw: trials(draw))(), complex_safe)
        return trials

    return enter


def shapes(*, least: int = 0, dims: tuple[int, int] = (0, 3)) -> st.SearchStrategy[Shape]:
    """Small shapes, with some lengths of 0 unless `least` is positive."""
    lengths = st.sampled_from([1, 2, 3, 4] if least else [2, 1, 3, 0])
    return st.lists(lengths, min_size=dims[0], max_size=dims[1]).map(tuple)


def values(draw: Draw, shape: Shape, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Draw an array of uniform values in an interval."""
    return np.asarray(generator(draw).uniform(low, high, shape))


def generator(draw: Draw) -> np.random.Generator:
    """Return a NumPy generator with a drawn seed."""
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def apart(draw: Draw, *wanted: Shape) -> list[np.ndarray]:
    """Draw arrays without ties: no value occurs twice in them."""
    sizes = [math.prod(s) for s in wanted]
    grid = generator(draw).permutation(np.linspace(-2.0, 2.0, sum(sizes) + 1)[1:])
    parts = np.split(grid, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, wanted, strict=True)]


def broadcast_pair(draw: Draw) -> tuple[Shape, Shape]:
    """Draw two shapes that broadcast."""
    whole = draw(shapes())
    return draw(part_of(whole)), draw(part_of(whole))


@st.composite
def part_of(draw: Draw, whole: Shape) -> Shape:
    """A shape that broadcasts to another."""
    short = whole[draw(st.integers(0, len(whole))) :]
    return tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in short)


def some_axes(draw: Draw, ndim: int) -> Any:
    """Draw None, one axis or several axes, counted from either end."""
    if ndim == 0:
        return draw(st.sampled_from([None, ()]))
    several = st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim).map(tuple)
    kind = draw(st.sampled_from(["none", "one", "several"]))
    if kind == "none":
        return None
    if kind == "one":
        return draw(st.integers(-ndim, ndim - 1))
    return tuple(a - ndim * draw(st.integers(0, 1)) for a in draw(several))


def torch_axes(x: Any, axis: Any) -> tuple[int, ...]:
    """Return axes as PyTorch requires them."""
    return tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)


def torch_like(x: Any, array: np.ndarray) -> Any:
    """Return a constant tensor of PyTorch."""
    return x.new_tensor(array.tolist(), dtype=x.dtype) if array.dtype.kind == "f" else pytorch().as_tensor(array)


def pytorch() -> Any:
    """Import PyTorch, which only comparisons with it need."""
    import torch

    return torch


def constant(array: np.ndarray, like: Any) -> Any:
    """Return an array on the device of another."""
    if isinstance(like, tgl.Tensor):
        return tgl.tensor(array, device=like.device)
    return transfer(np.asarray(array), device_name(like))
