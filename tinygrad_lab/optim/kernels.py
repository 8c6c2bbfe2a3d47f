"""Kernels of the updates: each array is read and written once, by compiled code, or a block at a time in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import holds_float32
from tinygrad_lab.kernels.blocked_pointwise import BLOCK, alike, by_blocks
from tinygrad_lab.kernels.blocked_pointwise import LEAST as LEAST_BLOCKED
from tinygrad_lab.kernels.pointwise import LEAST, flat, launch
from tinygrad_lab.kernels.threads import aligned
from tinygrad_lab.optim.updates import momentum_update


def _moves(
    p: Array, g: Array, v: Array, *, lr: float, momentum: float, nesterov: bool = False, weight_decay: float = 0.0
) -> bool:
    return holds_float32(p, g, v) and p.shape == g.shape and v.flags.c_contiguous


def _momentum(
    p: Array, g: Array, v: Array, *, lr: float, momentum: float, nesterov: bool = False, weight_decay: float = 0.0
) -> Array:
    from tinygrad_lab.kernels.compiled import pointwise

    out = aligned(p.shape)
    rates = np.float32(lr), np.float32(momentum), nesterov, np.float32(weight_decay)
    launch(pointwise.momentum, (flat(p), flat(g), v.reshape(-1), flat(out), *rates), p.size)
    return out


def _blocks(
    p: Array, g: Array, v: Array, *, lr: float, momentum: float, nesterov: bool = False, weight_decay: float = 0.0
) -> Array:
    out = np.empty(p.size, p.dtype)
    weights, slopes, speeds = p.reshape(-1), g.reshape(-1), v.reshape(-1)

    def work(part: slice) -> None:
        w, speed, moved = weights[part], speeds[part], out[part]
        slope = slopes[part] + weight_decay * w if weight_decay else slopes[part]
        speed *= momentum
        speed += slope
        np.multiply(speed, -lr * momentum if nesterov else -lr, out=moved)
        if nesterov:
            moved -= lr * slope
        moved += w

    by_blocks(work, p.size, BLOCK)
    return out.reshape(p.shape)


def _alike(p: Array, g: Array, v: Array, **options: Any) -> bool:
    return alike(p, g, v)


momentum_update.kernel("numpy", least=LEAST_BLOCKED, when=_alike, error=1e-6)(_blocks)
momentum_update.kernel("numba", least=LEAST, when=_moves, error=1e-6)(_momentum)
