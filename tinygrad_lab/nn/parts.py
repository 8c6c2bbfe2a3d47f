"""Parts of a batch: what one call of a network knows about the rest of the batch."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Part:
    """Consecutive images of a batch, which one call of a network sees.

    Parameters
    ----------
    first, images : int
        The place of the first image in the batch, and the number of images.
    whole : int
        The number of images in the batch.
    sum : callable, optional
        ``sum(x)`` adds an array over all parts of the batch and can be differentiated. With it, statistics are those
        of the whole batch; without it, those of the part.
    updates : dict
        The buffers that the call would change, and their new values.
    """

    first: int
    images: int
    whole: int
    sum: Callable[[Any], Any] | None = None
    updates: dict[int, tuple[Any, Any]] = field(default_factory=dict)


PART: ContextVar[Part | None] = ContextVar("tinygrad_lab.part", default=None)
"""The part that is computed now, or None if a call sees the whole batch."""


def batch_part() -> Part | None:
    """Return the part of a batch that the network sees now, or None if it sees the whole batch.

    A layer with statistics of the batch, such as `BatchNorm`, adds them over all parts by ``part.sum``, if it is given.
    """
    return PART.get()
