"""The table of operations: for each public one, how to draw valid arguments, what NumPy says, what PyTorch says.

A `Trial` is one drawn call: a function of float64 arrays, the arrays, and what they should give. Hypothesis draws the
structure (shapes, axes, options) and a seed; NumPy fills in the values, at a distance from kinks and ties, which are
tested apart (test_singular_points.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import signal, special

import tinygrad_lab as tgl
from tinygrad_lab.backend import device_name, split_mix, transfer

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
    return x.new_tensor(array.tolist(), dtype=x.dtype) if array.dtype.kind == "f" else _torch().as_tensor(array)


def _torch() -> Any:
    import torch

    return torch


# ----------------------------------------------------------------------------------------------- one array, elementwise


def unary(name: str, low: float, high: float, expected: Any = None, torch: Any = None, **row: Any) -> None:
    """Enter a smooth function of one array."""

    @operation(name, **row)
    def trials(draw: Draw) -> Trial:
        f = getattr(tgl, name)
        reference = expected or getattr(np, name)
        return Trial(
            f, [values(draw, draw(shapes()), low, high)], reference, torch or (lambda x: getattr(_torch(), name)(x))
        )


unary("exp", -2, 2)
unary("expm1", -2, 2)
unary("log", 0.2, 3)
unary("log2", 0.2, 3)
unary("log10", 0.2, 3)
unary("log1p", -0.7, 3)
unary("sqrt", 0.2, 3)
unary("square", -2, 2)
unary("sin", -3, 3)
unary("cos", -3, 3)
unary("tan", -1.2, 1.2)
unary("arcsin", -0.9, 0.9)
unary("arccos", -0.9, 0.9)
unary("arctan", -3, 3)
unary("sinh", -2, 2)
unary("cosh", -2, 2)
unary("tanh", -2, 2)
unary("arcsinh", -3, 3)
unary("arccosh", 1.2, 3)
unary("arctanh", -0.9, 0.9)
unary("negative", -2, 2)
unary("sigmoid", -4, 4, special.expit)
unary("erf", -2, 2, special.erf)
unary("erfc", -2, 2, special.erfc)


def kinked(name: str, expected: Any = None, torch: Any = None, **row: Any) -> None:
    """Enter a function of one array with a kink or a jump at 0 or at the integers (and half-way)."""

    @operation(name, **row)
    def trials(draw: Draw) -> Trial:
        shape = draw(shapes())
        rng = generator(draw)
        x = rng.integers(-2, 2, shape) + rng.uniform(FAR, 0.5 - FAR, shape) + 0.5 * rng.integers(0, 2, shape)
        f = getattr(tgl, name)
        return Trial(f, [np.asarray(x)], expected or getattr(np, name), torch or (lambda x: getattr(_torch(), name)(x)))


kinked("absolute", complex_safe=False)
kinked("abs", complex_safe=False)
kinked("sign", complex_safe=False)
kinked("floor", complex_safe=False)
kinked("ceil", complex_safe=False)
kinked("rint", torch=lambda x: x.round(), complex_safe=False)
kinked("relu", lambda x: np.maximum(x, 0))


@operation("clip")
def _clip(draw: Draw) -> Trial:
    bounds = draw(st.sampled_from([(-1.0, 1.0), (None, 0.5), (-0.5, None), (0.0, 0.0), (1.0, -1.0), (None, None)]))
    x = values(draw, draw(shapes()))
    for bound in bounds:
        x = np.where(np.abs(x - (bound or 0.0)) < FAR, (bound or 0.0) + FAR, x)
    low, high = bounds

    def torch(x: Any) -> Any:
        return x.clamp(low, high) if bounds != (None, None) else x.clone()

    return Trial(lambda x: tgl.clip(x, low=low, high=high), [x], lambda x: np.clip(x, low, high), torch)


# ---------------------------------------------------------------------------------------------- two arrays, elementwise


def binary(name: str, low: float = -2, high: float = 2, torch: Any = None, **row: Any) -> None:
    """Enter a smooth function of two arrays, or of an array and a number."""

    @operation(name, **row)
    def trials(draw: Draw) -> Trial:
        f, reference = getattr(tgl, name), getattr(np, name)
        peer = torch or (lambda x, y: getattr(_torch(), name)(x, y))
        first, second = broadcast_pair(draw)
        x, y = values(draw, first, low, high), values(draw, second, low, high)
        return Trial(f, [x, y], reference, peer)


binary("add")
binary("subtract")
binary("multiply")
binary("divide", 0.5, 2)
binary("power", 0.5, 2, lambda x, y: x**y)
binary("arctan2", 0.3, 2, complex_safe=False)


def choice(name: str) -> None:
    """Enter a function that takes one of two elements."""

    @operation(name)
    def trials(draw: Draw) -> Trial:
        x, y = apart(draw, *broadcast_pair(draw))
        return Trial(getattr(tgl, name), [x, y], getattr(np, name), lambda x, y: getattr(_torch(), name)(x, y))


choice("maximum")
choice("minimum")


def division(name: str, torch: Any, **row: Any) -> None:
    """Enter a function of x / y that jumps where that is whole."""

    @operation(name, **row)
    def trials(draw: Draw) -> Trial:
        shape = draw(shapes())
        y = np.asarray(values(draw, draw(part_of(shape)), 0.5, 2) * draw(st.sampled_from([1, -1])))
        rng = generator(draw)
        x = (rng.integers(-3, 3, shape) + rng.uniform(FAR, 1 - FAR, shape)) * y
        return Trial(getattr(tgl, name), [np.asarray(x), y], getattr(np, name), torch)


division("remainder", lambda x, y: _torch().remainder(x, y), complex_safe=False)
division("floor_divide", lambda x, y: _torch().div(x, y, rounding_mode="floor"), complex_safe=False)


@operation("where")
def _where(draw: Draw) -> Trial:
    whole = draw(shapes())
    first, second, third = (draw(part_of(whole)) for _ in range(3))
    held = generator(draw).integers(0, 2, third).astype(bool)
    x, y = values(draw, first), values(draw, second)

    def f(x: Any, y: Any) -> Any:
        return tgl.where(constant(held, x), x, y)

    return Trial(f, [x, y], lambda x, y: np.where(held, x, y), lambda x, y: _torch().where(torch_like(x, held), x, y))


def constant(array: np.ndarray, like: Any) -> Any:
    """An array on the device of another."""
    return tgl.tensor(array, device=like.device) if isinstance(like, tgl.Tensor) else _raw_constant(array, like)


def _raw_constant(array: np.ndarray, like: Any) -> Any:
    return transfer(np.asarray(array), device_name(like))


# ----------------------------------------------------------------------------------------------------------- reductions


def reduction(
    name: str, torch: Any, *, least: int = 0, distinct: bool = False, expected: Any = None, **row: Any
) -> None:
    """Enter a reduction over any axes; `torch(x, axes, keepdims)`."""

    @operation(name, **row)
    def trials(draw: Draw) -> Trial:
        shape = draw(shapes(least=least))
        axis, keepdims = some_axes(draw, len(shape)), draw(st.booleans())
        x = apart(draw, shape)[0] if distinct else values(draw, shape)
        f, reference = getattr(tgl, name), expected or getattr(np, name)
        return Trial(
            lambda x: f(x, axis, keepdims=keepdims),
            [x],
            lambda x: reference(x, axis=axis, keepdims=keepdims),
            lambda x: torch(x, torch_axes(x, axis), keepdims),
        )


def torch_over(reduce: Callable[[Any, int], Any]) -> Callable[..., Any]:
    """Make a reduction over several axes of PyTorch's over one."""

    def over(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        axes = tuple(sorted(a % x.ndim for a in axes))
        others = [i for i in range(x.ndim) if i not in axes]
        length = math.prod(x.shape[i] for i in axes)
        out = reduce(x.permute((*others, *axes)).reshape(*(x.shape[i] for i in others), length), -1)
        kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
        return out.reshape(kept) if keepdims else out

    return over


def euclidean(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    """The norm, by its definition."""
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


def log_of_sum(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    """The logarithm of the sum of exponentials, by its definition."""
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def torch_sum(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """PyTorch takes no axes for all of them."""
    return x.sum(axes, keepdim=keepdims) if axes else x.clone()


def torch_logsumexp(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """As above."""
    return x.logsumexp(axes, keepdim=keepdims) if axes else x.clone()


reduction("sum", torch_sum)
reduction("mean", lambda x, axes, keep: x.mean(axes, keepdim=keep) if axes else x.clone(), least=1)
reduction("prod", torch_over(lambda x, axis: x.prod(axis)))
reduction("max", lambda x, axes, keep: x.amax(axes, keepdim=keep) if axes else x.clone(), least=1, distinct=True)
reduction("min", lambda x, axes, keep: x.amin(axes, keepdim=keep) if axes else x.clone(), least=1, distinct=True)
reduction("logsumexp", torch_logsumexp, least=1, expected=log_of_sum)
reduction("norm", lambda x, axes, keep: torch_sum(x * x, axes, keep).sqrt(), least=1, expected=euclidean)


def spread(name: str) -> None:
    """Enter the variance or the standard deviation."""

    @operation(name)
    def trials(draw: Draw) -> Trial:
        shape = draw(shapes(least=1, dims=(1, 3)).filter(lambda s: math.prod(s) > 1))
        ddof, keepdims = draw(st.integers(0, 1)), draw(st.booleans())
        long = [i for i, n in enumerate(shape) if n > 1]
        axis = draw(st.sampled_from([None, *long]))
        f, reference = getattr(tgl, name), getattr(np, name)
        return Trial(
            lambda x: f(x, axis, ddof=ddof, keepdims=keepdims),
            apart(draw, shape),
            lambda x: reference(x, axis=axis, ddof=ddof, keepdims=keepdims),
            lambda x: getattr(x, name)(torch_axes(x, axis), correction=ddof, keepdim=keepdims),
        )


spread("var")
spread("std")


@operation("cumsum")
def _cumsum(draw: Draw) -> Trial:
    x = values(draw, draw(shapes(dims=(1, 3))))
    axis = draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    torch_axis = 0 if axis is None else axis
    return Trial(
        lambda x: tgl.cumsum(x, axis),
        [x],
        lambda x: np.cumsum(x, axis),
        lambda x: (x.reshape(-1) if axis is None else x).cumsum(torch_axis),
    )


@operation("sort")
def _sort(draw: Draw) -> Trial:
    (x,) = apart(draw, draw(shapes(dims=(1, 3))))
    axis = draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    torch_axis = 0 if axis is None else axis
    return Trial(
        lambda x: tgl.sort(x, axis),
        [x],
        lambda x: np.sort(x, axis),
        lambda x: (x.reshape(-1) if axis is None else x).sort(torch_axis).values,
    )


def weights(name: str, expected: Any) -> None:
    """Enter a function of the softmax family."""

    @operation(name)
    def trials(draw: Draw) -> Trial:
        x = values(draw, draw(shapes(dims=(1, 3))))
        axis = draw(st.integers(-x.ndim, x.ndim - 1))
        return Trial(
            lambda x: getattr(tgl, name)(x, axis=axis),
            [x],
            lambda x: expected(x, axis=axis) if x.size else x,
            lambda x: getattr(x, name)(axis),
        )


weights("softmax", special.softmax)
weights("log_softmax", special.log_softmax)


# ------------------------------------------------------------------------------------------------------- linear algebra


@operation("matmul")
def _matmul(draw: Draw) -> Trial:
    n, k, m = (draw(st.integers(0, 3)) for _ in range(3))
    first, second = broadcast_pair(draw)
    x_shape = draw(st.sampled_from([(k,), (n, k), (*first[-2:], n, k)]))
    y_shape = draw(st.sampled_from([(k,), (k, m), (*second[-2:], k, m)]))
    return Trial(tgl.matmul, [values(draw, x_shape), values(draw, y_shape)], np.matmul, lambda x, y: x @ y)


@operation("tensordot")
def _tensordot(draw: Draw) -> Trial:
    common = draw(shapes(dims=(0, 2)))
    x = values(draw, (*draw(shapes(dims=(0, 1))), *common))
    y = values(draw, (*common, *draw(shapes(dims=(0, 1)))))
    count = len(common)
    axes: Any = count
    if count and draw(st.booleans()):
        order = draw(st.permutations(range(count)))
        axes = ([x.ndim - count + i for i in order], [i - y.ndim * draw(st.integers(0, 1)) for i in order])
    if count == 1 and draw(st.booleans()):
        axes = (-1, 0)
    return Trial(
        lambda x, y: tgl.tensordot(x, y, axes),
        [x, y],
        lambda x, y: np.tensordot(x, y, axes),
        lambda x, y: _torch().tensordot(
            x, y, axes if isinstance(axes, int) else [np.atleast_1d(a).tolist() for a in axes]
        ),
    )


EINSUMS = [
    ("ij,jk->ik", "ij jk"),
    ("ij,jk", "ij jk"),
    ("bij,bjk->bik", "bij bjk"),
    ("i,j->ij", "i j"),
    ("ij->ji", "ij"),
    ("ji", "ji"),
    ("ij->", "ij"),
    ("ijk->j", "ijk"),
    ("i,i->", "i i"),
    ("ij,ij,ij->i", "ij ij ij"),
    ("ij,kj,jl->kil", "ij kj jl"),
    ("ij,k->i", "ij k"),
    ("...i,...i->...", "bi bi"),
    ("...i,ij->...j", "abi ij"),
    ("ij,...jk->...ik", "ij bjk"),
    ("...i,...i", "Bi Ci"),  # capitals: of length 1 or as long as the others
    ("ii->i", "ii"),
    ("ii", "ii"),
    ("iij,j->i", "iij j"),
    (" i j , j i -> i ", "ij ji"),
]


@operation("einsum")
def _einsum(draw: Draw) -> Trial:
    subscripts, letters = draw(st.sampled_from(EINSUMS))
    lengths = {letter: draw(st.sampled_from([2, 3, 1, 0])) for letter in "abijkl"}
    lengths |= {"B": 1, "C": draw(st.integers(1, 3))}
    arrays = [values(draw, tuple(lengths[c] for c in term)) for term in letters.split()]
    return Trial(
        lambda *xs: tgl.einsum(subscripts, *xs),
        arrays,
        lambda *xs: np.einsum(subscripts, *xs),
        lambda *xs: _torch().einsum(subscripts, *xs),
    )


# --------------------------------------------------------------------------------------------------------------- shapes


@operation("reshape")
def _reshape(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    shape = draw(st.sampled_from([x.shape[::-1], (x.size,), (1, *x.shape), *([(-1,), (x.size, -1)] if x.size else [])]))
    return Trial(lambda x: tgl.reshape(x, shape=shape), [x], lambda x: x.reshape(shape), lambda x: x.reshape(shape))


@operation("transpose")
def _transpose(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    order = draw(st.permutations(range(x.ndim)))
    axes = draw(st.sampled_from([None, tuple(order), tuple(a - x.ndim for a in order)]))
    torch_order = list(range(x.ndim))[::-1] if axes is None else list(axes)
    return Trial(
        lambda x: tgl.transpose(x, axes=axes), [x], lambda x: np.transpose(x, axes), lambda x: x.permute(torch_order)
    )


@operation("moveaxis")
def _moveaxis(draw: Draw) -> Trial:
    x = values(draw, draw(shapes(dims=(1, 3))))
    count = draw(st.integers(0, x.ndim))
    source, destination = (draw(st.permutations(range(x.ndim)))[:count] for _ in range(2))
    pair: Any = (source, [d - x.ndim for d in destination])
    if count == 1:
        pair = (source[0], destination[0])
    return Trial(
        lambda x: tgl.moveaxis(x, *pair),
        [x],
        lambda x: np.moveaxis(x, *pair),
        lambda x: x.moveaxis(*map(torch_ints, pair)),
    )


def torch_ints(axes: Any) -> Any:
    """A tuple of a list."""
    return axes if isinstance(axes, int) else tuple(axes)


@operation("swapaxes")
def _swapaxes(draw: Draw) -> Trial:
    x = values(draw, draw(shapes(dims=(1, 3))))
    a, b = (draw(st.integers(-x.ndim, x.ndim - 1)) for _ in range(2))
    return Trial(lambda x: tgl.swapaxes(x, a, b), [x], lambda x: np.swapaxes(x, a, b), lambda x: x.swapaxes(a, b))


@operation("expand_dims")
def _expand_dims(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    axis = draw(st.one_of(st.integers(-x.ndim - 1, x.ndim), st.just((0, -1)), st.just((1, 0))))

    def torch(x: Any) -> Any:
        return x.reshape(np.expand_dims(np.empty(tuple(x.shape)), axis).shape)

    return Trial(lambda x: tgl.expand_dims(x, axis), [x], lambda x: np.expand_dims(x, axis), torch)


@operation("squeeze")
def _squeeze(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    ones = [i for i, n in enumerate(x.shape) if n == 1]
    axis = draw(st.sampled_from([None, tuple(ones), *ones]))

    def torch(x: Any) -> Any:
        return x.squeeze() if axis is None else x.squeeze(axis)

    return Trial(lambda x: tgl.squeeze(x, axis), [x], lambda x: np.squeeze(x, axis), torch)


@operation("flip")
def _flip(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    axis = some_axes(draw, x.ndim)
    return Trial(
        lambda x: tgl.flip(x, axis), [x], lambda x: np.flip(x, axis), lambda x: x.flip(list(torch_axes(x, axis)))
    )


@operation("roll")
def _roll(draw: Draw) -> Trial:
    x = values(draw, draw(shapes(dims=(1, 3))))
    axis = draw(st.sampled_from([None, -1, 0, tuple(range(x.ndim))]))
    shift: Any = draw(st.integers(-4, 4))
    if isinstance(axis, tuple) and draw(st.booleans()):
        shift = tuple(draw(st.integers(-4, 4)) for _ in axis)

    def torch(x: Any) -> Any:
        return x.roll((shift,) * len(axis) if isinstance(axis, tuple) and isinstance(shift, int) else shift, axis)

    return Trial(lambda x: tgl.roll(x, shift, axis), [x], lambda x: np.roll(x, shift, axis), torch)


@operation("pad")
def _pad(draw: Draw) -> Trial:
    mode = draw(st.sampled_from(["zero", "edge"]))
    x = values(draw, draw(shapes(least=mode == "edge", dims=(0, 3))))
    pairs = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in x.shape)
    widths, pairs = draw(
        st.sampled_from([(pairs, pairs), (list(pairs), pairs), (1, ((1, 1),) * x.ndim), ((2, 1), ((2, 1),) * x.ndim)])
    )
    numpy_mode: Any = "constant" if mode == "zero" else "edge"

    def expected(x: np.ndarray) -> np.ndarray:
        return np.pad(x, pairs, mode=numpy_mode) if x.ndim else x

    def torch(x: Any) -> Any:
        if mode == "zero":
            return _torch().nn.functional.pad(x, [w for pair in pairs[::-1] for w in pair])
        for axis, (before, after) in enumerate(pairs):
            places = np.clip(np.arange(-before, x.shape[axis] + after), 0, x.shape[axis] - 1)
            x = x.index_select(axis, _torch().as_tensor(places))
        return x

    return Trial(lambda x: tgl.pad(x, widths, mode=mode), [x], expected, torch)


@operation("crop")
def _crop(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    before = [draw(st.integers(0, n)) for n in x.shape]
    widths = tuple((a, draw(st.integers(0, n - a))) for a, n in zip(before, x.shape, strict=True))
    index = tuple(slice(a, n - b) for (a, b), n in zip(widths, x.shape, strict=True))
    return Trial(
        lambda x: tgl.crop(x, widths=widths), [x], lambda x: x[index], lambda x: x[index] if index else x.clone()
    )


@operation("concatenate")
def _concatenate(draw: Draw) -> Trial:
    shape = draw(shapes(dims=(1, 3)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    at = axis % len(shape)
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    parts = [values(draw, (*shape[:at], n, *shape[at + 1 :])) for n in lengths]
    return Trial(
        lambda *xs: tgl.concatenate(xs, axis),
        parts,
        lambda *xs: np.concatenate(xs, axis),
        lambda *xs: _torch().cat(xs, axis),
    )


@operation("stack")
def _stack(draw: Draw) -> Trial:
    shape = draw(shapes())
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    parts = [values(draw, shape) for _ in range(draw(st.integers(1, 3)))]
    return Trial(
        lambda *xs: tgl.stack(xs, axis), parts, lambda *xs: np.stack(xs, axis), lambda *xs: _torch().stack(xs, axis)
    )


@operation("split")
def _split(draw: Draw) -> Trial:
    axis = draw(st.integers(-2, 1))
    lengths = draw(st.lists(st.integers(0, 2), min_size=1, max_size=3))
    sections: Any = lengths if len(set(lengths)) > 1 or draw(st.booleans()) else len(lengths)
    shape = [draw(st.integers(0, 3)), draw(st.integers(0, 3))]
    shape[axis] = sum(lengths)
    return Trial(
        lambda x: tgl.split(x, sections, axis),
        [values(draw, tuple(shape))],
        lambda x: np.split(x, np.cumsum(lengths)[:-1], axis),
        lambda x: list(x.split(lengths, axis)),
    )


@operation("tile")
def _tile(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    repeats = draw(st.one_of(st.integers(0, 3), st.lists(st.integers(0, 3), max_size=4).map(tuple)))

    def torch(x: Any) -> Any:
        return x.tile((repeats,) if isinstance(repeats, int) else repeats)

    return Trial(lambda x: tgl.tile(x, repeats), [x], lambda x: np.tile(x, repeats), torch)


@operation("repeat")
def _repeat(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    repeats, axis = draw(st.integers(0, 3)), draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    return Trial(
        lambda x: tgl.repeat(x, repeats, axis),
        [x],
        lambda x: np.repeat(x, repeats, axis),
        lambda x: (x.reshape(-1) if axis is None else x).repeat_interleave(repeats, dim=axis or 0),
    )


@operation("broadcast_to")
def _broadcast_to(draw: Draw) -> Trial:
    shape = draw(shapes())
    x = values(draw, draw(part_of(shape)))
    return Trial(
        lambda x: tgl.broadcast_to(x, shape=shape),
        [x],
        lambda x: np.broadcast_to(x, shape),
        lambda x: x.broadcast_to(shape),
    )


@operation("sum_to")
def _sum_to(draw: Draw) -> Trial:
    shape = draw(shapes())
    small = draw(part_of(shape))

    def expected(x: np.ndarray) -> np.ndarray:
        extra = x.ndim - len(small)
        x = x.sum(tuple(range(extra)))
        return x.sum(tuple(i for i, n in enumerate(small) if n == 1), keepdims=True)

    return Trial(
        lambda x: tgl.sum_to(x, np.empty(small)), [values(draw, shape)], expected, lambda x: x.sum_to_size(small)
    )


@operation("astype")
def _astype(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    return Trial(lambda x: tgl.astype(x, dtype=x.dtype), [x], np.array, lambda x: x.clone())


# ------------------------------------------------------------------------------------------------------------- indexing


@st.composite
def indices(draw: Draw, shape: Shape) -> Any:
    """An index of any kind that NumPy takes: whole numbers, slices, None, ..., lists and arrays."""
    kind = draw(st.sampled_from(["basic", "integers", "mask", "row mask", "mixed", "list"]))
    rng = generator(draw)
    if kind == "mask":
        return rng.integers(0, 2, shape).astype(bool)
    if kind == "row mask" and shape:
        return rng.integers(0, 2, shape[:1]).astype(bool)
    if kind in ("integers", "mixed", "list") and (not shape or 0 in shape):
        kind = "basic"
    if kind == "list":
        return rng.integers(-shape[0], shape[0], 3).tolist()
    if kind == "integers":
        depth = draw(st.integers(1, len(shape)))
        grid = draw(shapes(dims=(0, 2)))
        arrays = tuple(rng.integers(-n, n, grid) for n in shape[:depth])
        return arrays[0] if depth == 1 else arrays
    parts: list[Any] = [draw(basic_index(n)) for n in shape]
    if kind == "mixed":
        for at in draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1)):
            parts[at] = rng.integers(-shape[at], shape[at], 2)
    parts = parts[: draw(st.integers(0, len(parts)))]
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    if len(parts) <= len(shape) and draw(st.booleans()):
        parts.append(...)
    return tuple(parts)


@st.composite
def basic_index(draw: Draw, n: int) -> Any:
    """A whole number or a slice, forwards or backwards."""
    if n and draw(st.booleans()):
        return draw(st.sampled_from([draw(st.integers(-n, n - 1)), np.int64(draw(st.integers(-n, n - 1)))]))
    ends = st.one_of(st.none(), st.integers(-n - 1, n + 1))
    return slice(draw(ends), draw(ends), draw(st.sampled_from([None, 1, 2, -1, -2])))


@operation("take")
def _take(draw: Draw) -> Trial:
    shape = draw(shapes())
    index = draw(indices(shape))
    moves = isinstance(index, np.ndarray | tuple)

    def at(x: Any) -> Any:
        if not moves:
            return index
        parts = index if isinstance(index, tuple) else (index,)
        moved = tuple(constant(p, x) if isinstance(p, np.ndarray) else p for p in parts)
        return moved if isinstance(index, tuple) else moved[0]

    backwards = any(isinstance(p, slice) and (p.step or 1) < 0 for p in (index if isinstance(index, tuple) else ()))

    def torch(x: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        parts = tuple(int(p) if isinstance(p, np.int64) else p for p in parts)
        moved = tuple(_torch().as_tensor(p) if isinstance(p, np.ndarray) else p for p in parts)
        return x[moved if isinstance(index, tuple) else moved[0]].clone()

    return Trial(lambda x: tgl.take(x, at(x)), [values(draw, shape)], lambda x: x[index], None if backwards else torch)


@operation("take_along_axis")
def _take_along_axis(draw: Draw) -> Trial:
    shape = draw(shapes(least=1, dims=(1, 3)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    at = axis % len(shape)
    rest = [n if draw(st.booleans()) else 1 for n in shape]
    rest[at] = draw(st.integers(0, 3))
    positions = generator(draw).integers(0, shape[at], rest)
    return Trial(
        lambda x: tgl.take_along_axis(x, constant(positions, x), axis),
        [values(draw, shape)],
        lambda x: np.take_along_axis(x, positions, axis),
        lambda x: _torch().take_along_dim(x, _torch().as_tensor(positions), axis),
    )


# ---------------------------------------------------------------------------------------------------- windows of images


@dataclass(frozen=True)
class Places:
    """A drawn window: everything that says where it stands."""

    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    dilation: tuple[int, int]
    size: tuple[int, int]  # of the image

    def options(self) -> dict[str, Any]:
        """The keyword arguments of a convolution."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    def spans(self) -> tuple[int, ...]:
        """How far a dilated window reaches."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.window, self.dilation, strict=True))

    def padded(self, x: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Images with their padding."""
        return np.pad(x, ((0, 0), *self.padding, (0, 0)), constant_values=fill)

    def windows(self, x: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """(N, H, W, C) -> (N, Ho, Wo, kh, kw, C), by NumPy's sliding windows."""
        views = np.lib.stride_tricks.sliding_window_view(
            self.padded(x, fill), self.spans(), (1, 2)
        )  # (N, H', W', C, h, w)
        views = views[:, :: self.stride[0], :: self.stride[1], :, :: self.dilation[0], :: self.dilation[1]]
        return np.moveaxis(views, 3, -1)


@st.composite
def places(draw: Draw, *, dilated: bool = True) -> Places:
    """Windows that fit into small images."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    steps = st.tuples(st.integers(1, 2), st.integers(1, 2))
    edge = st.tuples(st.integers(0, 2), st.integers(0, 2))
    window, stride, padding = draw(pair), draw(steps), (draw(edge), draw(edge))
    dilation = draw(steps) if dilated else (1, 1)
    least = [max(1, (k - 1) * d + 1 - sum(p)) for k, d, p in zip(window, dilation, padding, strict=True)]
    size = tuple(n + draw(st.integers(0, 3)) for n in least)
    return Places(window, stride, padding, dilation, (size[0], size[1]))


def torch_padded(x: Any, padding: Any) -> Any:
    """(N, H, W, C) to PyTorch's (N, C, H, W), padded."""
    (top, bottom), (left, right) = padding
    return _torch().nn.functional.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))


def torch_windows(at: Places, x: Any) -> Any:
    """(N, H, W, C) -> (N, Ho, Wo, kh, kw, C)."""
    (h, w), (sh, sw), (dh, dw) = at.spans(), at.stride, at.dilation
    views = torch_padded(x, at.padding).unfold(2, h, sh).unfold(3, w, sw)  # (N, C, Ho, Wo, h, w)
    return views[..., ::dh, ::dw].permute(0, 2, 3, 4, 5, 1)


def torch_adjoint(f: Callable[..., Any], shape: Shape, g: Any) -> Any:
    """The adjoint of a linear function of an array of that shape, applied to g."""
    x = g.new_zeros(shape, requires_grad=True)
    return _torch().autograd.grad(f(x), x, g, create_graph=True)[0]


@operation("unfold")
def _unfold(draw: Draw) -> Trial:
    at = draw(places())
    n, c = draw(st.integers(0, 2)), draw(st.integers(1, 2))
    return Trial(
        lambda x: tgl.unfold(x, window=at.window, **at.options()),
        [values(draw, (n, *at.size, c))],
        at.windows,
        lambda x: torch_windows(at, x),
    )


@operation("fold")
def _fold(draw: Draw) -> Trial:
    at = draw(places())
    n, c = draw(st.integers(0, 2)), draw(st.integers(1, 2))
    columns = at.windows(np.zeros((n, *at.size, c))).shape

    def expected(columns: np.ndarray) -> np.ndarray:
        grid = np.arange(math.prod(at.size)).reshape(1, *at.size, 1).astype(float)
        origin = at.windows(grid, fill=-1)[0, ..., 0].astype(int)  # where each element of a window comes from
        out = np.zeros((n, math.prod(at.size) + 1, c))
        np.add.at(out, (slice(None), origin), columns)
        return out[:, :-1].reshape(n, *at.size, c)

    return Trial(
        lambda g: tgl.fold(g, size=at.size, window=at.window, **at.options()),
        [values(draw, columns)],
        expected,
        lambda g: torch_adjoint(lambda x: torch_windows(at, x), (n, *at.size, c), g),
    )


def convolution(name: str, *, rectified: bool) -> None:
    """Enter a convolution."""

    @operation(name)
    def trials(draw: Draw) -> Trial:
        at, groups, biased = draw(places()), draw(st.integers(1, 2)), draw(st.booleans())
        n, c, o = draw(st.integers(0, 2)), groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
        x = values(draw, (n, *at.size, c))
        w, b = values(draw, (*at.window, c // groups, o)), values(draw, (o,))

        def f(x: Any, w: Any, b: Any = None) -> Any:
            return getattr(tgl, name)(x, w, b, groups=groups, **at.options())

        def expected(x: np.ndarray, w: np.ndarray, b: Any = None) -> np.ndarray:
            y = correlate(at, groups, x, w) + (0 if b is None else b)
            return np.maximum(y, 0) if rectified else y

        def torch(x: Any, w: Any, b: Any = None) -> Any:
            y = torch_correlate(at, groups, x, w, b)
            return y.relu() if rectified else y

        arrays = [x, w, b] if biased else [x, w]
        if rectified:  # away from the kink, which a random sum can come close to
            y = correlate(at, groups, x, w) + (b if biased else 0)
            arrays = arrays if np.abs(y).min(initial=1.0) > 0.01 else [np.abs(a) + FAR for a in arrays]
        return Trial(f, arrays, expected, torch if n else None)


def torch_correlate(at: Places, groups: int, x: Any, w: Any, b: Any = None) -> Any:
    """PyTorch's convolution of channels-last images."""
    channels_first = torch_padded(x, at.padding), w.permute(3, 2, 0, 1)
    return _torch().nn.functional.conv2d(*channels_first, b, at.stride, 0, at.dilation, groups).permute(0, 2, 3, 1)


def correlate(at: Places, groups: int, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Convolve by SciPy, image by image and channel by channel: with whole strides, then thinned out."""
    c, o = x.shape[3], w.shape[3]
    spread_out = np.zeros((*at.spans(), *w.shape[2:]))
    spread_out[:: at.dilation[0], :: at.dilation[1]] = w
    padded = at.padded(x)
    whole = [padded.shape[i + 1] - at.spans()[i] + 1 for i in (0, 1)]
    y = np.zeros((x.shape[0], *whole, o))
    for image in range(x.shape[0]):
        for j in range(o):
            for k in range(c // groups):
                channel = (j // (o // groups)) * (c // groups) + k
                y[image, :, :, j] += signal.correlate2d(padded[image, :, :, channel], spread_out[:, :, k, j], "valid")
    return y[:, :: at.stride[0], :: at.stride[1]]


convolution("conv2d", rectified=False)
convolution("conv2d_relu", rectified=True)


@st.composite
def pooling_places(draw: Draw) -> Places:
    """Windows without dilation, none of them in the padding alone."""
    at = draw(places(dilated=False))
    (top, bottom), (left, right) = at.padding
    kh, kw = at.window
    padding = (min(top, kh - 1), min(bottom, kh - 1)), (min(left, kw - 1), min(right, kw - 1))
    return Places(at.window, at.stride, padding, (1, 1), (max(at.size[0], kh), max(at.size[1], kw)))


@operation("max_pool2d")
def _max_pool2d(draw: Draw) -> Trial:
    at = draw(pooling_places())
    (x,) = apart(draw, (draw(st.integers(1, 2)), *at.size, draw(st.integers(1, 2))))

    def f(x: Any) -> Any:
        return tgl.max_pool2d(x, window=at.window, stride=at.stride, padding=at.padding)[0]

    def torch(x: Any) -> Any:
        columns = x.permute(0, 3, 1, 2)
        (top, bottom), (left, right) = at.padding
        padded = _torch().nn.functional.pad(columns, (left, right, top, bottom), value=-math.inf)
        return _torch().nn.functional.max_pool2d(padded, at.window, at.stride).permute(0, 2, 3, 1)

    return Trial(f, [x], lambda x: at.windows(x, -math.inf).max((3, 4)), torch)


@operation("sum_pool2d")
def _sum_pool2d(draw: Draw) -> Trial:
    at = draw(pooling_places())
    x = values(draw, (draw(st.integers(0, 2)), *at.size, draw(st.integers(1, 2))))

    def f(x: Any) -> Any:
        return tgl.sum_pool2d(x, window=at.window, stride=at.stride, padding=at.padding)

    def torch(x: Any) -> Any:
        pooled = _torch().nn.functional.avg_pool2d(torch_padded(x, at.padding), at.window, at.stride)
        return pooled.permute(0, 2, 3, 1) * math.prod(at.window)

    return Trial(f, [x], lambda x: at.windows(x).sum((3, 4)), torch if x.size else None)


@operation("count_pool2d")
def _count_pool2d(draw: Draw) -> Trial:
    at = draw(pooling_places())
    x = values(draw, (draw(st.integers(1, 2)), *at.size, 1))

    def f(x: Any) -> Any:
        return tgl.count_pool2d(x, window=at.window, stride=at.stride, padding=at.padding)

    def expected(x: np.ndarray) -> np.ndarray:
        return at.windows(np.ones((1, *at.size, 1))).sum((3, 4))

    return Trial(f, [x], expected, lambda x: torch_windows(at, x[:1] * 0 + 1).sum((3, 4)))


@operation("conv2d_grad_x")
def _conv2d_grad_x(draw: Draw) -> Trial:
    at, groups = draw(places()), draw(st.integers(1, 2))
    n, c, o = draw(st.integers(0, 2)), groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    w = values(draw, (*at.window, c // groups, o))
    g = values(draw, correlate(at, groups, np.zeros((n, *at.size, c)), w).shape)

    def expected(g: np.ndarray, w: np.ndarray) -> np.ndarray:
        out = np.zeros((n, *at.size, c))
        for place in np.ndindex(out.shape[1:]):  # the adjoint, column by column: <g, conv2d(one hot)>
            hot = np.zeros((1, *at.size, c))
            hot[0][place] = 1.0
            out[(slice(None), *place)] = (g * correlate(at, groups, hot, w)).sum((1, 2, 3))
        return out

    def torch(g: Any, w: Any) -> Any:
        return torch_adjoint(lambda x: torch_correlate(at, groups, x, w), (n, *at.size, c), g)

    return Trial(
        lambda g, w: tgl.conv2d_grad_x(g, w, size=at.size, groups=groups, **at.options()),
        [g, w],
        expected,
        torch if n else None,
    )


# -------------------------------------------------------------------------------------------------------- normalisation


def channels(draw: Draw) -> tuple[np.ndarray, Shape]:
    """Numbers with channels last, more than one for each, no two alike."""
    shape = (*draw(shapes(least=1, dims=(0, 2))), draw(st.integers(2, 4)), draw(st.integers(1, 3)))
    return apart(draw, shape)[0], shape[-1:]


@operation("batch_norm")
def _batch_norm(draw: Draw) -> Trial:
    x, channel = channels(draw)
    eps = draw(st.sampled_from([1e-5, 0.1]))

    def expected(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> list[np.ndarray]:
        rows = x.reshape(-1, x.shape[-1])
        mean, variance = rows.mean(0), rows.var(0)
        return [scale * (x - mean) / np.sqrt(variance + eps) + shift, mean, variance]

    def torch(x: Any, scale: Any, shift: Any) -> Any:
        rows = x.reshape(-1, x.shape[-1])
        y = _torch().nn.functional.batch_norm(rows, None, None, scale, shift, training=True, eps=eps)
        return [y.reshape(x.shape), rows.mean(0), rows.var(0, correction=0)]

    scale, shift = values(draw, channel), values(draw, channel)
    return Trial(lambda x, a, b: tgl.batch_norm(x, a, b, eps=eps), [x, scale, shift], expected, torch)


@operation("channel_affine")
def _channel_affine(draw: Draw) -> Trial:
    x, channel = channels(draw)

    def expected(x: Any, mean: Any, factor: Any, shift: Any) -> Any:
        return (x - mean) * factor + shift

    return Trial(tgl.channel_affine, [x, *(values(draw, channel) for _ in range(3))], expected, expected)


@operation("standardize")
def _standardize(draw: Draw) -> Trial:
    x, _ = channels(draw)
    axes = tuple(sorted({x.ndim - 2, *draw(st.sets(st.integers(0, x.ndim - 1)))}))

    def expected(x: np.ndarray) -> list[np.ndarray]:
        rstd = 1 / np.sqrt(x.var(axes, keepdims=True) + 0.01)
        return [(x - x.mean(axes, keepdims=True)) * rstd, rstd]

    def torch(x: Any) -> Any:
        rstd = (x.var(axes, correction=0, keepdim=True) + 0.01).rsqrt()
        return [(x - x.mean(axes, keepdim=True)) * rstd, rstd]

    return Trial(lambda x: tgl.standardize(x, axes=axes, eps=0.01), [x], expected, torch)


@operation("dropout")
def _dropout(draw: Draw) -> Trial:
    x = values(draw, draw(shapes(dims=(1, 3))))
    key, rate = draw(st.integers(0, 2**64 - 1)), draw(st.sampled_from([0.0, 0.3, 0.5]))
    shared = tuple(draw(st.sets(st.integers(0, x.ndim - 1))))

    shape = tuple(1 if axis in shared else n for axis, n in enumerate(x.shape))
    bits = [split_mix((key + i * 0x9E3779B97F4A7C15) % 2**64) for i in range(math.prod(shape))]
    kept = np.array([b >= int(rate * 2**64) for b in bits], dtype=float).reshape(shape) / (1 - rate)
    return Trial(
        lambda x: tgl.dropout(x, key=key, rate=rate, shared=shared),
        [x],
        lambda x: x * kept,
        lambda x: x * _torch().as_tensor(kept),
    )


# ----------------------------------------------------------------------------------------- results without a derivative


@dataclass
class Constant:
    """An operation whose result is of integers or booleans, and carries no gradient."""

    arrays: Callable[[Draw], Sequence[np.ndarray]]
    f: Callable[..., Any]
    expected: Callable[..., Any]


def _two_near(draw: Draw) -> list[np.ndarray]:
    """Two arrays with equal elements among them."""
    first, second = broadcast_pair(draw)
    rng = generator(draw)
    return [rng.integers(-1, 2, first).astype(float), rng.integers(-1, 2, second).astype(float)]


def _two_masks(draw: Draw) -> list[np.ndarray]:
    return [np.asarray(a > 0) for a in _two_near(draw)]


def _one_filled(draw: Draw) -> list[np.ndarray]:
    return [generator(draw).integers(-1, 2, draw(shapes(least=1, dims=(1, 3)))).astype(float)]


def _not_all_finite(draw: Draw) -> list[np.ndarray]:
    x = values(draw, draw(shapes(dims=(1, 3))))
    x[..., :1] = draw(st.sampled_from([math.inf, -math.inf, math.nan, 0.0]))
    return [x]


COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
CONSTANTS: dict[str, Constant] = {
    **{name: Constant(_two_near, getattr(tgl, name), getattr(np, name)) for name in COMPARISONS},
    "bitwise_and": Constant(_two_masks, tgl.bitwise_and, np.bitwise_and),
    "bitwise_or": Constant(_two_masks, tgl.bitwise_or, np.bitwise_or),
    "bitwise_xor": Constant(_two_masks, tgl.bitwise_xor, np.bitwise_xor),
    "bitwise_not": Constant(lambda draw: _two_masks(draw)[:1], tgl.bitwise_not, np.invert),
    "isfinite": Constant(_not_all_finite, tgl.isfinite, np.isfinite),
    "argmax": Constant(_one_filled, lambda x: tgl.argmax(x, -1), lambda x: np.argmax(x, -1)),
    "argmin": Constant(_one_filled, tgl.argmin, np.argmin),
    "argsort": Constant(_one_filled, lambda x: tgl.argsort(x, 0), lambda x: np.argsort(x, 0, kind="stable")),
    "all": Constant(_two_near, lambda x, y: tgl.all(x, keepdims=True), lambda x, y: np.all(x, keepdims=True)),
    "any": Constant(_one_filled, lambda x: tgl.any(x, 0), lambda x: np.any(x, 0)),
}

# Public names that are no operations.
OTHERS = frozenset(
    {
        *("Buffer", "Layer", "Parameter", "Primitive", "Sequential", "Tensor", "Window", "__version__", "checkpoint"),
        *("detect_anomaly", "errors", "expect_images", "functional_call", "grad", "hessian", "hvp", "initializers"),
        *("jacobian", "jvp", "kernels", "layers", "no_grad", "once", "ops", "pair", "primitive", "reference_only"),
        *("seed", "stop_gradient", "tensor", "value_and_grad", "vjp"),
    }
)
