"""The arithmetic of the optimizers: one update of one parameter, on raw arrays.

Each update is a primitive for the sake of its kernels: a faster forward may be registered as for any other. It returns
a *fresh* array for the parameter p, since others may hold the old one, and changes the optimizer's own arrays (v, m, ...)
*in place*, since nobody else holds them. There are no derivative rules: nothing here is on a tape.
"""

from __future__ import annotations

from typing import Any

from tinygrad_lab.autograd.primitive import primitive


def decayed(p: Any, g: Any, weight_decay: float) -> Any:
    """Return the gradient of the loss plus (weight_decay / 2) |p|^2."""
    return g + weight_decay * p if weight_decay else g


@primitive
def sgd_update(xp: Any, p: Any, g: Any, *, lr: float, weight_decay: float = 0.0) -> Any:
    """Return p - lr g."""
    return p - lr * decayed(p, g, weight_decay)


@primitive
def momentum_update(
    xp: Any, p: Any, g: Any, v: Any, *, lr: float, momentum: float, nesterov: bool = False, weight_decay: float = 0.0
) -> Any:
    """Set v to momentum v + g and return p - lr v; with `nesterov`, p - lr (g + momentum v)."""
    g = decayed(p, g, weight_decay)
    v *= momentum
    v += g
    return p - lr * (g + momentum * v if nesterov else v)
