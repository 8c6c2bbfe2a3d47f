"""Arithmetic of the optimizers: one update of one parameter, on raw arrays.

Each update is a primitive so that kernels can be registered for it. It returns a *new* array for the parameter p, since
the old one may be referenced elsewhere, and updates the optimizer's own arrays (v, m and so on) *in place*. There are
no derivative rules: updates are never on the tape.
"""

from __future__ import annotations

from typing import Any

from tinygrad_lab.autograd.primitive import primitive


def decayed(p: Any, g: Any, weight_decay: float) -> Any:
    """Return g + weight_decay p, the gradient of the sum of the loss and the penalty (weight_decay / 2) |p|^2."""
    return g + weight_decay * p if weight_decay else g


@primitive
def sgd_update(xp: Any, p: Any, g: Any, *, lr: Any, weight_decay: float = 0.0) -> Any:
    """Return p - lr g."""
    return p - lr * decayed(p, g, weight_decay)


@primitive
def momentum_update(
    xp: Any,
    p: Any,
    g: Any,
    v: Any,
    *,
    lr: Any,
    momentum: float,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    reuse: bool = False,
) -> Any:
    """Set v to momentum v + g and return p - lr v; with `nesterov`, p - lr (g + momentum v).

    With `reuse`, a kernel may return the result in p's memory, which nothing else references.
    """
    g = decayed(p, g, weight_decay)
    v *= momentum
    v += g
    return p - lr * (g + momentum * v if nesterov else v)


@primitive
def adagrad_update(xp: Any, p: Any, g: Any, s: Any, *, lr: float, eps: float, weight_decay: float = 0.0) -> Any:
    """Add g^2 to s and return p - lr g / (sqrt(s) + eps)."""
    g = decayed(p, g, weight_decay)
    s += g * g
    return p - lr * g / (xp.sqrt(s) + eps)


@primitive
def rmsprop_update(
    xp: Any,
    p: Any,
    g: Any,
    s: Any,
    v: Any,
    *,
    lr: float,
    rho: float,
    eps: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> Any:
    """Set s to rho s + (1 - rho) g^2 and return p - lr d, where d = g / (sqrt(s) + eps).

    With a velocity v (not None), set v to momentum v + d and return p - lr v.
    """
    g = decayed(p, g, weight_decay)
    s *= rho
    s += (1.0 - rho) * (g * g)
    scaled = g / (xp.sqrt(s) + eps)
    if v is None:
        return p - lr * scaled
    v *= momentum
    v += scaled
    return p - lr * v


@primitive
def adadelta_update(
    xp: Any, p: Any, g: Any, s: Any, u: Any, *, lr: float, rho: float, eps: float, weight_decay: float = 0.0
) -> Any:
    """Move s toward g^2 and u toward d^2, where d = g sqrt(u + eps) / sqrt(s + eps), and return p - lr d."""
    g = decayed(p, g, weight_decay)
    s *= rho
    s += (1.0 - rho) * (g * g)
    d = g * xp.sqrt(u + eps) / xp.sqrt(s + eps)
    u *= rho
    u += (1.0 - rho) * (d * d)
    return p - lr * d


@primitive
def adam_update(
    xp: Any,
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    *,
    rate: Any,
    root: Any,
    kept: Any = 1.0,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float = 0.0,
) -> Any:
    """Move m toward g and v toward g^2, and return kept * p - rate * m / (root * sqrt(v) + eps).

    rate = lr / (1 - beta1^t) and root = (1 - beta2^t)^(-1/2) correct the biases of m and v. weight_decay times p is
    added to the gradient. For decoupled weight decay, `AdamW` passes weight_decay = 0 and kept = 1 - lr weight_decay.
    """
    g = decayed(p, g, weight_decay)
    m *= beta1
    m += (1.0 - beta1) * g
    v *= beta2
    v += (1.0 - beta2) * (g * g)
    if not (isinstance(kept, float) and kept == 1.0):
        p = p * kept
    return p - rate * m / (xp.sqrt(v) * root + eps)


@primitive
def average_update(xp: Any, average: Any, p: Any, *, weight: float) -> Any:
    """Add weight * (p - average) to the average in place and return it; the weight is from 0 to 1."""
    average += weight * (p - average)
    return average
