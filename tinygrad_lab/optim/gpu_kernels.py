"""The updates of parameters on a GPU: each array is read and written once."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.cupy.launch import number, plain, room, run, takes
from tinygrad_lab.optim.updates import (
    adadelta_update,
    adagrad_update,
    adam_update,
    average_update,
    momentum_update,
    rmsprop_update,
    sgd_update,
)


def _moves(p: Array, g: Array, *state: Any, **options: Any) -> bool:
    return takes(p, g, *state) and all(a is None or a.shape == p.shape for a in (g, *state))


def _launched(
    name: str, p: Array, g: Array, state: tuple[Array | None, ...], *numbers: Any, reuse: bool = False
) -> Array:
    """Return the new parameter; the state, which is in one piece for it was made so, is changed in place."""
    p = plain(p)
    out = p if reuse else room(p.shape, p)
    run("updates", name, p, p.size, p, plain(g), *state, out, *numbers, p.size)
    return out


@sgd_update.kernel("cupy", when=_moves, error=1e-6)
def _sgd(p: Array, g: Array, *, lr: Any, weight_decay: float = 0.0) -> Array:
    return _launched("sgd", p, g, (), *number(lr, p), float(weight_decay))


@momentum_update.kernel("cupy", when=_moves, error=1e-6)
def _momentum(
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
    numbers = *number(lr, p), float(momentum), nesterov, float(weight_decay)
    return _launched("momentum", p, g, (v,), *numbers, reuse=reuse)


@adagrad_update.kernel("cupy", when=_moves, error=1e-6)
def _adagrad(p: Array, g: Array, s: Array, *, lr: Any, eps: float, weight_decay: float = 0.0) -> Array:
    return _launched("adagrad", p, g, (s,), *number(lr, p), float(eps), float(weight_decay))


@rmsprop_update.kernel("cupy", when=_moves, error=1e-6)
def _rmsprop(
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
    return _launched("rmsprop", p, g, (s, v), *number(lr, p), *numbers)


@adadelta_update.kernel("cupy", when=_moves, error=1e-6)
def _adadelta(
    p: Array, g: Array, s: Array, u: Array, *, lr: Any, rho: float, eps: float, weight_decay: float = 0.0
) -> Array:
    numbers = float(rho), 1.0 - rho, float(eps), float(weight_decay)
    return _launched("adadelta", p, g, (s, u), *number(lr, p), *numbers)


@adam_update.kernel("cupy", when=_moves, error=1e-6)
def _adam(
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
    rates = *number(rate, p), *number(root, p), *number(kept, p)
    numbers = float(beta1), 1.0 - beta1, float(beta2), 1.0 - beta2, float(eps), float(weight_decay)
    return _launched("adam", p, g, (m, v), *rates, *numbers)


@average_update.kernel("cupy", when=_moves, error=1e-6)
def _average(average: Array, p: Array, *, weight: float) -> Array:
    run("updates", "average", average, average.size, average, plain(p), float(weight), average.size)
    return average
