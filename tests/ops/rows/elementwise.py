"""Rows of the table: elementwise operations."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import special

import tinygrad_lab as tgl
from tests.ops.drawing import (
    FAR,
    Draw,
    Trial,
    apart,
    broadcast_pair,
    constant,
    generator,
    operation,
    part_of,
    pytorch,
    shapes,
    torch_like,
    values,
)

# ------------------------------------------------------------------------------------ one array


def unary(name: str, low: float, high: float, expected: Any = None, torch: Any = None, **row: Any) -> None:
    """Add a smooth function of one array."""

    @operation(name, **row)
    def trials(draw: Draw) -> Trial:
        f = getattr(tgl, name)
        reference = expected or getattr(np, name)
        return Trial(
            f, [values(draw, draw(shapes()), low, high)], reference, torch or (lambda x: getattr(pytorch(), name)(x))
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
unary("positive", -2, 2)
unary("reciprocal", 0.4, 3)
unary("deg2rad", -200, 200, complex_safe=False)
unary("rad2deg", -2, 2, complex_safe=False)
unary("sigmoid", -4, 4, special.expit)
unary("erf", -2, 2, special.erf)
unary("erfc", -2, 2, special.erfc)


def kinked(name: str, expected: Any = None, torch: Any = None, **row: Any) -> None:
    """Add a function of one array with kinks or jumps at integers or halfway between them."""

    @operation(name, **row)
    def trials(draw: Draw) -> Trial:
        shape = draw(shapes())
        rng = generator(draw)
        x = rng.integers(-2, 2, shape) + rng.uniform(FAR, 0.5 - FAR, shape) + 0.5 * rng.integers(0, 2, shape)
        f = getattr(tgl, name)
        return Trial(
            f, [np.asarray(x)], expected or getattr(np, name), torch or (lambda x: getattr(pytorch(), name)(x))
        )


kinked("absolute", complex_safe=False)
kinked("abs", complex_safe=False)
kinked("sign", complex_safe=False)
kinked("floor", complex_safe=False)
kinked("ceil", complex_safe=False)
kinked("trunc", complex_safe=False)
kinked("rint", torch=lambda x: x.round(), complex_safe=False)
kinked("relu", lambda x: np.maximum(x, 0))


@operation("clip")
def _clip(draw: Draw) -> Trial:
    bounds = draw(st.sampled_from([(-1.0, 1.0), (None, 0.5), (-0.5, None), (0.0, 0.0), (1.0, -1.0), (None, None)]))
    if draw(st.booleans()):
        return clip_by_arrays(draw)
    x = values(draw, draw(shapes()))
    for bound in bounds:
        x = np.where(np.abs(x - (bound or 0.0)) < FAR, (bound or 0.0) + FAR, x)
    low, high = bounds

    def torch(x: Any) -> Any:
        return x.clamp(low, high) if bounds != (None, None) else x.clone()

    return Trial(
        lambda x: tgl.clip(x, low=low, high=high),
        [x],
        lambda x: x + 0 if low is high is None else np.clip(x, low, high),
        torch,
    )


def clip_by_arrays(draw: Draw) -> Trial:
    """Return a trial of clip by bounds that broadcast and may cross."""
    shape = draw(shapes())
    x, low, high = apart(draw, shape, draw(part_of(shape)), draw(part_of(shape)))
    return Trial(tgl.clip, [x, low, high], np.clip, lambda x, low, high: x.clamp(low, high))


# ----------------------------------------------------------------------------------- two arrays


def binary(name: str, low: float = -2, high: float = 2, torch: Any = None, **row: Any) -> None:
    """Add a smooth function of two arrays, or of an array and a number."""

    @operation(name, **row)
    def trials(draw: Draw) -> Trial:
        f, reference = getattr(tgl, name), getattr(np, name)
        peer = torch or (lambda x, y: getattr(pytorch(), name)(x, y))
        first, second = broadcast_pair(draw)
        x, y = values(draw, first, low, high), values(draw, second, low, high)
        return Trial(f, [x, y], reference, peer)


binary("add")
binary("subtract")
binary("multiply")
binary("divide", 0.5, 2)
binary("power", 0.5, 2, lambda x, y: x**y)
binary("arctan2", 0.3, 2, complex_safe=False)
binary("hypot", 0.3, 2, complex_safe=False)
binary("logaddexp", complex_safe=False)


@operation("add_relu")
def _add_relu(draw: Draw) -> Trial:
    rng, (first, second) = generator(draw), broadcast_pair(draw)
    x = 0.5 * rng.integers(-4, 4, first) + rng.uniform(0.15, 0.25, first)  # so that no sum is near the kink at 0
    y = 0.5 * rng.integers(-4, 4, second) + rng.uniform(-0.05, 0.05, second)
    return Trial(
        tgl.add_relu,
        [np.asarray(x), np.asarray(y)],
        lambda x, y: np.maximum(x + y, 0),
        lambda x, y: (x + y).relu(),
    )


def choice(name: str) -> None:
    """Add a function that chooses one of two elements."""

    @operation(name)
    def trials(draw: Draw) -> Trial:
        x, y = apart(draw, *broadcast_pair(draw))
        return Trial(getattr(tgl, name), [x, y], getattr(np, name), lambda x, y: getattr(pytorch(), name)(x, y))


choice("maximum")
choice("minimum")


def division(name: str, torch: Any, **row: Any) -> None:
    """Add a function of x / y that jumps at integers."""

    @operation(name, **row)
    def trials(draw: Draw) -> Trial:
        shape = draw(shapes())
        y = np.asarray(values(draw, draw(part_of(shape)), 0.5, 2) * draw(st.sampled_from([1, -1])))
        rng = generator(draw)
        x = (rng.integers(-3, 3, shape) + rng.uniform(FAR, 1 - FAR, shape)) * y
        return Trial(getattr(tgl, name), [np.asarray(x), y], getattr(np, name), torch)


division("remainder", lambda x, y: pytorch().remainder(x, y), complex_safe=False)
division("floor_divide", lambda x, y: pytorch().div(x, y, rounding_mode="floor"), complex_safe=False)


@operation("where")
def _where(draw: Draw) -> Trial:
    whole = draw(shapes())
    first, second, third = (draw(part_of(whole)) for _ in range(3))
    held = generator(draw).integers(0, 2, third).astype(bool)
    x, y = values(draw, first), values(draw, second)

    def f(x: Any, y: Any) -> Any:
        return tgl.where(constant(held, x), x, y)

    return Trial(f, [x, y], lambda x, y: np.where(held, x, y), lambda x, y: pytorch().where(torch_like(x, held), x, y))
