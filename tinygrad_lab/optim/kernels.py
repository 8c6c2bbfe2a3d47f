"""Kernels of optimizer updates: on a GPU, in NumPy, and compiled. The last one that fits is used.

Each array is read and written once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.numba.pointwise import LEAST, flat, launch
from tinygrad_lab.kernels.numpy.pointwise import BLOCK
from tinygrad_lab.kernels.numpy.pointwise import LEAST as LEAST_IN_NUMPY
from tinygrad_lab.kernels.tools import aligned, alike, are_numbers, by_blocks, gpu, holds_float32
from tinygrad_lab.optim.updates import (
    adadelta_update,
    adagrad_update,
    adam_update,
    average_update,
    momentum_update,
    rmsprop_update,
    sgd_update,
)


def _can_write(array: Array) -> bool:
    """Return whether writing to the flattened array changes the array itself."""
    return bool(array.flags.c_contiguous and array.flags.writeable)


# ----------------------------------------------------------------------------------------------------- on a GPU


def _takes_raw(p: Array, g: Array, *state: Any, **options: Any) -> bool:
    return gpu.takes(p, g, *state) and all(a is None or a.shape == p.shape for a in (g, *state))


def _launch_raw(
    name: str, p: Array, g: Array, state: tuple[Array | None, ...], *numbers: Any, reuse: bool = False
) -> Array:
    """Return the new parameter; the state, which is always contiguous, is updated in place."""
    p = gpu.contiguous(p)
    out = p if reuse else gpu.room(p.shape, p)
    gpu.run("updates", name, p, p.size, p, gpu.contiguous(g), *state, out, *numbers, p.size)
    return out


@sgd_update.kernel("cupy", when=_takes_raw, error_bound=1e-6)
def _raw_sgd(p: Array, g: Array, *, lr: Any, weight_decay: float = 0.0) -> Array:
    return _launch_raw("sgd", p, g, (), *gpu.number(lr, p), float(weight_decay))


@momentum_update.kernel("cupy", when=_takes_raw, error_bound=1e-6)
def _raw_momentum(
    p: Array,
    g: Array,
    v: Array,
    *,
    lr: Any,
    momentum: float,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    reuse: bool = False,
) -> Array:
    numbers = *gpu.number(lr, p), float(momentum), nesterov, float(weight_decay)
    return _launch_raw("momentum", p, g, (v,), *numbers, reuse=reuse)


@adagrad_update.kernel("cupy", when=_takes_raw, error_bound=1e-6)
def _raw_adagrad(p: Array, g: Array, s: Array, *, lr: Any, eps: float, weight_decay: float = 0.0) -> Array:
    return _launch_raw("adagrad", p, g, (s,), *gpu.number(lr, p), float(eps), float(weight_decay))


@rmsprop_update.kernel("cupy", when=_takes_raw, error_bound=1e-6)
def _raw_rmsprop(
    p: Array,
    g: Array,
    s: Array,
    v: Array | None,
    *,
    lr: Any,
    rho: float,
    eps: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> Array:
    numbers = float(rho), 1.0 - rho, float(eps), float(momentum), float(weight_decay)
    return _launch_raw("rmsprop", p, g, (s, v), *gpu.number(lr, p), *numbers)


@adadelta_update.kernel("cupy", when=_takes_raw, error_bound=1e-6)
def _raw_adadelta(
    p: Array, g: Array, s: Array, u: Array, *, lr: Any, rho: float, eps: float, weight_decay: float = 0.0
) -> Array:
    numbers = float(rho), 1.0 - rho, float(eps), float(weight_decay)
    return _launch_raw("adadelta", p, g, (s, u), *gpu.number(lr, p), *numbers)


@adam_update.kernel("cupy", when=_takes_raw, error_bound=1e-6)
def _raw_adam(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    rate: Any,
    root: Any,
    kept: Any = 1.0,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float = 0.0,
) -> Array:
    rates = *gpu.number(rate, p), *gpu.number(root, p), *gpu.number(kept, p)
    numbers = float(beta1), 1.0 - beta1, float(beta2), 1.0 - beta2, float(eps), float(weight_decay)
    return _launch_raw("adam", p, g, (m, v), *rates, *numbers)


@average_update.kernel("cupy", when=_takes_raw, error_bound=1e-6)
def _raw_average(average: Array, p: Array, *, weight: float) -> Array:
    gpu.run("updates", "average", average, average.size, average, gpu.contiguous(p), float(weight), average.size)
    return average


# ----------------------------------------------------------------------------------------------------- in NumPy


def _are_alike(p: Array, g: Array, v: Array, *, reuse: bool = False, **numbers: Any) -> bool:
    return alike(p, g, v) and _can_write(v) and (not reuse or _can_write(p)) and are_numbers(*numbers.values())


@momentum_update.kernel("numpy", min_size=LEAST_IN_NUMPY, when=_are_alike, error_bound=1e-6)
def _momentum_in_numpy(
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


# ----------------------------------------------------------------------------------------------------- compiled


def _are_float32(p: Array, g: Array, v: Array, *, reuse: bool = False, **numbers: Any) -> bool:
    fit = holds_float32(p, g, v) and p.shape == g.shape == v.shape and are_numbers(*numbers.values())
    return fit and _can_write(v) and (not reuse or _can_write(p))


@momentum_update.kernel("numba", min_size=LEAST, when=_are_float32, error_bound=1e-6)
def _compiled_momentum(
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
