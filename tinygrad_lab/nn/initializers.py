"""Initializers of weights. NumPy draws the values, so every backend starts with the same ones.

fan_in is the number of inputs that a unit sums over, fan_out the number of outputs that an input feeds. For filters
(kh, kw, in, out) they are kh * kw * in and kh * kw * out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array, Shape
from tinygrad_lab.errors import OptionError
from tinygrad_lab.limits import check_memory

Rng = int | np.random.Generator | None

_MOST = 1 << 60  # largest number of weights of one shape; NumPy can still count their bytes
_MANY = 1 << 24  # number of weights from which the machine's memory is checked first
_WHILE_DRAWN = 12  # bytes per weight while it is drawn in float64 and converted to float32

_DEFAULT_RNG: ContextVar[np.random.Generator | None] = ContextVar("tinygrad_lab.rng", default=None)
_DRAWING: ContextVar[bool] = ContextVar("tinygrad_lab.drawing", default=True)


def seed(number: int) -> None:
    """Seed a generator for this thread or task, which from now on draws all weights that get no ``rng``."""
    _DEFAULT_RNG.set(np.random.default_rng(number))


def as_rng(rng: Rng) -> np.random.Generator:
    """Return a generator: the given one, one for the given seed, or for None that of `seed` or a new unseeded one."""
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None:
        return _DEFAULT_RNG.get() or np.random.default_rng()
    return np.random.default_rng(rng)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Skip drawing weights inside the ``with`` block: parameters have their shapes, are zero and take no memory."""
    token = _DRAWING.set(False)
    try:
        yield
    finally:
        _DRAWING.reset(token)


def _fill(shape: Shape, draw: Any) -> Array:
    _check_size(shape)
    if not _DRAWING.get():
        return np.broadcast_to(np.float32(0), shape)
    return np.asarray(draw(), dtype=np.float32)


def _check_size(shape: Shape) -> None:
    """Raise for weights that do not fit in any memory; for drawn weights, also if this machine has too little."""
    numbers = math.prod(shape)
    if numbers > _MOST:
        raise OptionError(f"weights: expected at most {_MOST:,} elements, got shape {shape}")
    if numbers > _MANY and _DRAWING.get():
        check_memory(OptionError, f"weights of shape {shape}", _WHILE_DRAWN * numbers, cure="take fewer")


def fans(shape: Shape) -> tuple[int, int]:
    """Return (fan_in, fan_out) of weights (in, out) or filters (kh, kw, in, out).

    Raises
    ------
    OptionError
        The shape has fewer than two axes, or too many elements for any memory.
    """
    if len(shape) < 2:
        raise OptionError(f"fans: expected weights (..., in, out), got shape {shape}")
    _check_size(shape)
    kernel_size = math.prod(shape[:-2])
    return kernel_size * shape[-2], kernel_size * shape[-1]


def zeros(shape: Shape) -> Array:
    """Return zeros."""
    return _fill(shape, lambda: np.zeros(shape))


def constant(shape: Shape, value: float) -> Array:
    """Return one value everywhere."""
    return _fill(shape, lambda: np.full(shape, value))


def ones(shape: Shape) -> Array:
    """Return ones."""
    return constant(shape, 1.0)


def normal(shape: Shape, *, std: float, rng: Rng = None) -> Array:
    """Draw from the normal distribution with mean 0 and standard deviation `std`."""
    return _fill(shape, lambda: std * as_rng(rng).standard_normal(shape))


def uniform(shape: Shape, *, bound: float, rng: Rng = None) -> Array:
    """Draw uniformly from [-bound, bound)."""
    return _fill(shape, lambda: as_rng(rng).uniform(-bound, bound, shape))


def glorot_uniform(shape: Shape, *, rng: Rng = None) -> Array:
    """Draw uniformly within sqrt(6 / (fan_in + fan_out)) of 0 (Glorot and Bengio 2010, equation 16)."""
    return uniform(shape, bound=math.sqrt(6.0 / max(1, sum(fans(shape)))), rng=rng)


def glorot_normal(shape: Shape, *, rng: Rng = None) -> Array:
    """Draw normally with variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, equation 12)."""
    return normal(shape, std=math.sqrt(2.0 / max(1, sum(fans(shape)))), rng=rng)


def he_normal(shape: Shape, *, rng: Rng = None) -> Array:
    """Draw normally with variance 2 / fan_in, derived for ReLU (He et al. 2015, equation 10)."""
    return normal(shape, std=math.sqrt(2.0 / max(1, fans(shape)[0])), rng=rng)


def he_uniform(shape: Shape, *, rng: Rng = None) -> Array:
    """Draw uniformly within sqrt(6 / fan_in) of 0; the variance is that of `he_normal`."""
    return uniform(shape, bound=math.sqrt(6.0 / max(1, fans(shape)[0])), rng=rng)


def lecun_normal(shape: Shape, *, rng: Rng = None) -> Array:
    """Draw normally with variance 1 / fan_in (LeCun et al. 1998, "Efficient BackProp", equation 16)."""
    return normal(shape, std=math.sqrt(1.0 / max(1, fans(shape)[0])), rng=rng)


INITIALIZERS = {
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "lecun_normal": lecun_normal,
}


def draw(name: str | float, shape: Shape, *, rng: Rng = None) -> Array:
    """Draw weights with a named initializer, or normally with a given standard deviation.

    Raises
    ------
    OptionError
        The name is unknown.
    """
    if not isinstance(name, str):
        return normal(shape, std=float(name), rng=rng)
    if name not in INITIALIZERS:
        raise OptionError(f"init: expected a standard deviation or one of {sorted(INITIALIZERS)}, got {name!r}")
    return INITIALIZERS[name](shape, rng=rng)
