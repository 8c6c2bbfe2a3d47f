"""Random numbers of layers in training, keyed by seed, step, path and number of the draw."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from hashlib import blake2b
from typing import Any

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, namespace, random_number, random_uniform


class Random:
    """Random numbers of one draw of a layer, on the device and in the dtype of a given array."""

    def __init__(self, key: Any, like: Any) -> None:
        self.key, self.like = key, unbox(like)

    def uniform(self, shape: tuple[int, ...] | None = None) -> Array:
        """Return numbers uniform in [0, 1); by default as many as the given array has."""
        shape = self.like.shape if shape is None else shape
        return random_uniform(namespace(self.like), self.key, shape, self.like.dtype)


def draw_base(seed: int, path: str, number: int) -> int:
    """Return what the keys of a layer's draw are made from: seed, path, and how many it drew before in a step."""
    return int.from_bytes(blake2b(f"{seed}/{path}/{number}".encode(), digest_size=8).digest(), "little")


def draw_key(seed: int, step: int, path: str, number: int) -> int:
    """Return the 64-bit key of a layer's draw in a step: a random number itself, which a device can work out too."""
    return random_number(draw_base(seed, path, number), step)


KEY_PLACES: ContextVar[Callable[[str, int], Array] | None] = ContextVar("tinygrad_lab.key_places", default=None)
