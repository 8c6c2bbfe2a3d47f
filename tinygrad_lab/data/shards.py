"""Shards of batches: the images of one rank, in blocks that do not depend on the number of ranks.

Each batch is divided into the same consecutive blocks however many ranks there are, and every rank gets the same number
of consecutive blocks. What is computed for a block therefore has the same bits on any number of ranks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError

_SIZES = {"random": 0, "standard_normal": 0, "exponential": 1, "poisson": 1}
_SIZES |= dict.fromkeys(("beta", "binomial", "gamma", "integers", "laplace", "lognormal", "normal", "uniform"), 2)


def numbers_of_ranks(blocks: int) -> list[int]:
    """Return the numbers of ranks that can share some blocks, with sums that have the same bits.

    Examples
    --------
    >>> numbers_of_ranks(8), numbers_of_ranks(6)
    ([1, 2, 4, 8], [1, 3, 6])
    """
    each = [1 << power for power in range(blocks.bit_length())]
    return sorted({1, *(blocks // own for own in each if blocks % own == 0)}) if blocks > 0 else []


@dataclass(frozen=True)
class Shard:
    """The blocks of each batch that one of several ranks computes.

    Parameters
    ----------
    rank, ranks : int
        The rank's own number, from 0, and the number of ranks.
    blocks : int
        The number of blocks of a batch. Each of several ranks has 1, 2, 4, 8, ... of them, so that the pairs in which
        their sums are added are those of one rank.

    Raises
    ------
    OptionError
        The ranks cannot share the blocks, or there is no such rank.

    Examples
    --------
    >>> Shard(rank=1, ranks=2, blocks=4).blocks_of(10)
    [(5, 7), (7, 10)]
    """

    rank: int = 0
    ranks: int = 1
    blocks: int = 1

    def __post_init__(self) -> None:
        if self.ranks not in numbers_of_ranks(self.blocks):
            raise OptionError(
                f"Shard: expected the same number of blocks for each rank, 1 or 2 or 4 or 8 ..., got {self.blocks} "
                f"blocks for {self.ranks} ranks"
            )
        if not 0 <= self.rank < self.ranks:
            raise OptionError(f"Shard: expected a rank from 0 to {self.ranks - 1}, got {self.rank}")

    def blocks_of(self, images: int) -> list[tuple[int, int]]:
        """Return where this rank's blocks of a batch begin and end."""
        own = self.blocks // self.ranks
        cuts = [images * block // self.blocks for block in range(self.rank * own, (self.rank + 1) * own + 1)]
        return list(itertools.pairwise(cuts))


class BlockGenerator(np.random.Generator):
    """Random numbers of some consecutive images of a batch, the same as in a draw for the whole batch.

    A draw with numbers for each image, along the first axis, draws them for all images of the batch and returns those
    of the block. A permutation of the images is restricted to the block. Other draws are the same in every block.

    Parameters
    ----------
    rng : numpy.random.Generator
        The generator of the whole batch.
    first, images : int
        The place of the block's first image, and the number of its images.
    whole : int
        The number of images in the batch.
    """

    def __init__(self, rng: np.random.Generator, first: int, images: int, whole: int) -> None:
        super().__init__(rng.bit_generator)
        self.first, self.images, self.whole = first, images, whole

    def permutation(self, x: Any, axis: int = 0) -> Array:
        """Return a permutation of the block's images if x is their number, else a permutation of x."""
        if not isinstance(x, Integral) or x != self.images:
            return super().permutation(x, axis)
        return np.argsort(super().permutation(self.whole)[self.first : self.first + self.images])

    def choice(
        self, a: Any, size: Any = None, replace: bool = True, p: Any = None, axis: int = 0, shuffle: bool = True
    ) -> Any:
        """Draw as `numpy.random.Generator.choice` does for the block; without replacement, of its images alone."""
        draw = _restricted("choice", 1) if replace else np.random.Generator.choice
        return draw(self, a, size, replace=replace, p=p, axis=axis, shuffle=shuffle)


def _restricted(name: str, place: int) -> Callable[..., Any]:
    """Return a generator's method that draws for the whole batch and returns the rows of the block."""
    draw = getattr(np.random.Generator, name)

    def method(self: BlockGenerator, *args: Any, **options: Any) -> Any:
        size = args[place] if len(args) > place else options.get("size")
        shape = () if size is None else tuple(np.atleast_1d(size).tolist())  # of Python's or NumPy's integers
        if not shape or shape[0] != self.images:
            return draw(self, *args, **options)
        options["size"] = (self.whole, *shape[1:])
        return draw(self, *args[:place], **options)[self.first : self.first + self.images]

    method.__name__ = name
    method.__doc__ = f"Draw as `numpy.random.Generator.{name}` does, for the images of the block."
    return method


for _name, _place in _SIZES.items():
    setattr(BlockGenerator, _name, _restricted(_name, _place))
