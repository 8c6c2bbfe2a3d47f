"""Random numbers for layers in training, keyed by seed, step, path and number of the draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from hashlib import blake2b
from typing import Any

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, namespace, random_key_at, random_number, random_uniform
from tinygrad_lab.nn.parts import PART


class Random:
    """One random draw of a layer, on the device and in the dtype of a given array.

    If a network sees a part of a batch, a draw whose first axis is a multiple of the part's images returns the numbers
    that these images have in the draw for the whole batch. Any other draw is the same in every part.
    """

    def __init__(self, key: Any, like: Any) -> None:
        self._key, self.like = key, unbox(like)

    @property
    def key(self) -> Any:
        """The key of a draw in the shape of the given array."""
        return self.key_for(self.like.shape)

    def key_for(self, shape: tuple[int, ...]) -> Any:
        """Return the key of a draw in another shape."""
        part = PART.get()
        if part is None or not shape or shape[0] % part.images:
            return self._key
        return random_key_at(self._key, math.prod(shape) // part.images * part.first)

    def uniform(self, shape: tuple[int, ...] | None = None) -> Array:
        """Return uniform numbers in [0, 1); the default shape is that of the given array."""
        shape = self.like.shape if shape is None else shape
        return random_uniform(namespace(self.like), self.key_for(shape), shape, self.like.dtype)


def draw_base(seed: int, path: str, number: int) -> int:
    """Return the part of a draw's key that is the same in every step: a hash of seed, path and number of the draw."""
    return int.from_bytes(blake2b(f"{seed}/{path}/{number}".encode(), digest_size=8).digest(), "little")


def draw_key(seed: int, step: int, path: str, number: int) -> int:
    """Return the 64-bit key of a layer's draw in a step: itself a random number, which a device can compute too."""
    return random_number(draw_base(seed, path, number), step)


KEY_PLACES: ContextVar[Callable[[str, int], Array] | None] = ContextVar("tinygrad_lab.key_places", default=None)
"""A function of the path and the number of a draw that returns the array with its key, while a GPU captures a step."""
