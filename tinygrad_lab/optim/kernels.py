"""Kernels of the updates: each array is read and written once, by compiled code, or a block at a time in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import are_numbers, holds_float32
from tinygrad_lab.kernels.numba.pointwise import LEAST, flat, launch
from tinygrad_lab.kernels.numpy.pointwise import BLOCK, alike, by_blocks
from tinygrad_lab.kernels.numpy.pointwise import LEAST as LEAST_BLOCKED
from tinygrad_lab.kernels.threads import aligned
from tinygrad_lab.optim.updates import momentum_update


def _momentum(
    p: Array,
    g: Array,
    v: Array,
    *,
    lr: float,
    momentum: float,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    reuse: bool = False,
) -> Array:
    from tinygrad_lab.kernels.numba.loops import pointwise

    rates = np.float32(lr), np.float32(momentum), bool(nesterov), np.float32(weight_decay)
    if reuse:
        launch(pointwise.momentum_in_place, (p.reshape(-1), flat(g), v.reshape(-1), *rates), p.size)
        return p
    out = aligned(p.shape)
    launch(pointwise.momentum, (flat(p), flat(g), v.reshape(-1), flat(out), *rates), p.size)
    return out


def _blocks(
    p: Array,
    g: Array,
    v: Array,
    *,
    lr: float,
    momentum: float,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    reuse: bool = False,
) -> Array:
    out = p if reuse else np.empty(p.shape, p.dtype)
    weights, slopes, speeds, results = (a.reshape(-1) for a in (p, g, v, out))

    def work(part: slice) -> None:
        speed, slope = speeds[part], slopes[part]
        if weight_decay:
            slope = slope + weight_decay * weights[part]
        speed *= momentum
        speed += slope
        moved = speed * (-lr * momentum if nesterov else -lr)
        if nesterov:
            moved -= lr * slope
        np.add(weights[part], moved, out=results[part])

    by_blocks(work, p.size, BLOCK)
    return out


def _are_alike(p: Array, g: Array, v: Array, *, reuse: bool = False, **numbers: Any) -> bool:
    return alike(p, g, v) and _can_write(v) and (not reuse or _can_write(p)) and are_numbers(*numbers.values())


def _are_float32(p: Array, g: Array, v: Array, *, reuse: bool = False, **numbers: Any) -> bool:
    fit = holds_float32(p, g, v) and p.shape == g.shape == v.shape and are_numbers(*numbers.values())
    return fit and _can_write(v) and (not reuse or _can_write(p))


def _can_write(array: Array) -> bool:
    """Return whether an array is changed in place by what is written to its elements along one axis."""
    return bool(array.flags.c_contiguous and array.flags.writeable)


momentum_update.kernel("numpy", least=LEAST_BLOCKED, when=_are_alike, error=1e-6)(_blocks)
momentum_update.kernel("numba", least=LEAST, when=_are_float32, error=1e-6)(_momentum)
