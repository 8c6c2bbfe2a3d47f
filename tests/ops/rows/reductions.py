"""Rows of the table: reductions, cumulative sums, sorting, softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import special

import tinygrad_lab as tgl
from tests.ops.drawing import Draw, Trial, apart, operation, shapes, some_axes, torch_axes, values


def reduction(
    name: str, torch: Any, *, least: int = 0, distinct: bool = False, expected: Any = None, **row: Any
) -> None:
    """Add a reduction over any axes; PyTorch's version is `torch(x, axes, keepdims)`."""

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
    """Return a reduction over several axes, made from PyTorch's reduction over one axis."""

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
    """PyTorch interprets an empty tuple of axes as all axes."""
    return x.sum(axes, keepdim=keepdims) if axes else x.clone()


def torch_logsumexp(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """PyTorch interprets an empty tuple of axes as all axes here too."""
    return x.logsumexp(axes, keepdim=keepdims) if axes else x.clone()


reduction("sum", torch_sum)
reduction("mean", lambda x, axes, keep: x.mean(axes, keepdim=keep) if axes else x.clone(), least=1)
reduction("prod", torch_over(lambda x, axis: x.prod(axis)))
reduction("max", lambda x, axes, keep: x.amax(axes, keepdim=keep) if axes else x.clone(), least=1, distinct=True)
reduction("min", lambda x, axes, keep: x.amin(axes, keepdim=keep) if axes else x.clone(), least=1, distinct=True)
reduction("logsumexp", torch_logsumexp, least=1, expected=log_of_sum)
reduction("norm", lambda x, axes, keep: torch_sum(x * x, axes, keep).sqrt(), least=1, expected=euclidean)


def torch_median(x: Any, axis: int) -> Any:
    """Return the median by `quantile`, because PyTorch's `median` takes the lower of two middle elements."""
    return x.quantile(0.5, axis)


reduction("median", torch_over(torch_median), least=1, distinct=True, complex_safe=False)


def spread(name: str) -> None:
    """Add the variance or the standard deviation."""

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


def cumulative(name: str) -> None:
    """Add a cumulative sum or product."""

    @operation(name)
    def trials(draw: Draw) -> Trial:
        x = values(draw, draw(shapes(dims=(1, 3))))
        axis = draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
        torch_axis = 0 if axis is None else axis
        return Trial(
            lambda x: getattr(tgl, name)(x, axis),
            [x],
            lambda x: getattr(np, name)(x, axis),
            lambda x: getattr(x.reshape(-1) if axis is None else x, name)(torch_axis),
        )


cumulative("cumsum")
cumulative("cumprod")


@operation("diff")
def _diff(draw: Draw) -> Trial:
    shape = draw(shapes(dims=(1, 3)))
    axis, n = draw(st.integers(-len(shape), len(shape) - 1)), draw(st.integers(0, 3))
    at = axis % len(shape)
    ends: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(["prepend", "append"]), unique=True)) if n else []:
        end = (*shape[:at], draw(st.integers(0, 2)), *shape[at + 1 :])
        ends[name] = draw(st.sampled_from([(), end]))
    return Trial(
        lambda x, *more: tgl.diff(x, n, axis, **dict(zip(ends, more, strict=True))),
        [values(draw, shape), *(values(draw, end) for end in ends.values())],
        lambda x, *more: np.diff(x, n, axis, **dict(zip(ends, more, strict=True))),
        None if () in ends.values() else lambda x, *more: x.diff(n, axis, **dict(zip(ends, more, strict=True))),
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
    """Add a function of the softmax family."""

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
