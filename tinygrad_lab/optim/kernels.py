"""Compiled kernels of the updates: each array is read and written once."""

from __future__ import annotations

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import holds_float32
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


momentum_update.kernel("numba", least=LEAST, when=_moves, error=1e-6)(_momentum)
