"""Dropout: random elements become 0 and the others are scaled up, so the mean is unchanged."""

from __future__ import annotations

import math
from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.backend import random_bits, random_bits_at


@primitive
def keys_in_step(xp: Any, bases: Any, step: Any) -> Any:
    """Return the keys of a step's random draws, one for each base; see `tinygrad_lab.nn.randomness.draw_key`."""
    return random_bits_at(xp, bases, step + xp.uint64(1))


@primitive
def dropout(xp: Any, x: Any, *, key: int, rate: float, shared: tuple[int, ...] = ()) -> Any:
    """Return x / (1 - rate) where a random number, uniform in [0, 1), is at least `rate`, and 0 elsewhere.

    The random numbers depend only on the key. Along the `shared` axes all elements get the same number. The operation
    is linear in x and its own adjoint. The tape does not keep the mask; the rule draws it again.
    """
    shape = tuple(1 if axis in shared else n for axis, n in enumerate(x.shape))
    kept = random_bits(xp, key, math.prod(shape)) >= xp.uint64(int(rate * 2**64))
    return x * (kept.reshape(shape).astype(x.dtype) * (1.0 / (1.0 - rate)))


dropout.defvjp(x=lambda g, key, rate, shared: dropout(g, key=key, rate=rate, shared=shared))
