"""How calls are drawn: the table's entries, small shapes, axes, values away from kinks and ties.

A `Trial` is one drawn call: a function of float64 arrays, the arrays, and what they should give. Hypothesis draws the
structure (shapes, axes, options) and a seed; NumPy fills in the values, at a distance from kinks and ties, which are
tested apart (test_singular_points.py).
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

FAR = 0.1  # how far from kinks, ties and jumps values are drawn


@dataclass
class Trial:
    """One call of an operation.

    Parameters
    ----------
    f : callable
        The operation on float arrays, options filled in; to an array or a list of them.
    arrays : list of ndarray
        Its arguments, float64.
    expected : callable
        What independent code (NumPy, SciPy, a loop) makes of the arguments.
    torch : callable or None
        The same on PyTorch's tensors, where PyTorch has it.
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
    """Enter the decorated drawing function into the table."""

    def enter(trials: Callable[[Draw], Trial]) -> Callable[[Draw], Trial]:
        TABLE[name] = Operation(st.composite(lambda draw: trials(draw))(), complex_safe)
        return trials

    return enter


def shapes(*, least: int = 0, dims: tuple[int, int] = (0, 3)) -> st.SearchStrategy[Shape]:
    """Small shapes; a length of 0 now and then, where `least` admits it."""
    lengths = st.sampled_from([1, 2, 3, 4] if least else [2, 1, 3, 0])
    return st.lists(lengths, min_size=dims[0], max_size=dims[1]).map(tuple)


def values(draw: Draw, shape: Shape, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Values uniform in an interval."""
    return np.asarray(generator(draw).uniform(low, high, shape))


def generator(draw: Draw) -> np.random.Generator:
    """NumPy's generator of a drawn seed."""
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def apart(draw: Draw, *wanted: Shape) -> list[np.ndarray]:
    """Arrays without two equal values among them: no ties."""
    sizes = [math.prod(s) for s in wanted]
    grid = generator(draw).permutation(np.linspace(-2.0, 2.0, sum(sizes) + 1)[1:])
    parts = np.split(grid, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, wanted, strict=True)]


def broadcast_pair(draw: Draw) -> tuple[Shape, Shape]:
    """Two shapes that broadcast."""
    whole = draw(shapes())
    return draw(part_of(whole)), draw(part_of(whole))


@st.composite
def part_of(draw: Draw, whole: Shape) -> Shape:
    """A shape that broadcasts to another."""
    short = whole[draw(st.integers(0, len(whole))) :]
    return tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in short)


def some_axes(draw: Draw, ndim: int) -> Any:
    """None, one axis or several, counted from either end."""
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
    """Axes as PyTorch wants them."""
    return tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)


def torch_like(x: Any, array: np.ndarray) -> Any:
    """A constant of PyTorch's."""
    return x.new_tensor(array.tolist(), dtype=x.dtype) if array.dtype.kind == "f" else pytorch().as_tensor(array)


def pytorch() -> Any:
    """PyTorch, which only the comparisons with it need."""
    import torch

    return torch


def constant(array: np.ndarray, like: Any) -> Any:
    """An array on the device of another."""
    if isinstance(like, tgl.Tensor):
        return tgl.tensor(array, device=like.device)
    return transfer(np.asarray(array), device_name(like))
