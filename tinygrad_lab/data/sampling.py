"""Keyed random numbers for data, the same in every version and for any number of workers.

Every random decision has a key: a seed, the purpose and a position. Orders and splits use the raw 64-bit stream of
PCG64, which NumPy promises never to change, and a stable sort; they use no method of
`numpy.random.Generator`, whose streams may change between versions of NumPy.
"""

from __future__ import annotations

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError

SPLIT, ORDER, BATCH = 1, 2, 3  # the purposes of keys; numbers, because they are hashed into the key


def sequence(seed: int, *position: int) -> np.random.SeedSequence:
    """Return the seed sequence of a key.

    Parameters
    ----------
    seed : int
        At least 0.
    *position : int
        The purpose (`SPLIT`, `ORDER`, `BATCH`) and its counters.

    Raises
    ------
    OptionError
        The seed is negative.
    """
    if seed < 0:
        raise OptionError(f"seed: expected a whole number of at least 0, got {seed!r}")
    return np.random.SeedSequence(seed, spawn_key=position)


def keys(count: int, seed: int, *position: int) -> Array:
    """Return `count` random 64-bit keys: the first outputs of PCG64, seeded by `sequence`.

    Returns
    -------
    array of uint64, (count,)
        Key i depends on the seed, the position and i alone, so a longer draw begins with the shorter one.

    References
    ----------
    M. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random Number
    Generation", 2014 (the variant XSL-RR 128/64).

    Examples
    --------
    >>> [int(k) for k in keys(2, 0, SPLIT)] == [int(k) for k in keys(3, 0, SPLIT)[:2]]
    True
    """
    return np.random.PCG64(sequence(seed, *position)).random_raw(count)


def epoch_order(count: int, seed: int, epoch: int) -> Array:
    """Return the order in which an epoch visits `count` images: the stable argsort of one key per image.

    Returns
    -------
    array of int64, (count,)
        A permutation of 0 .. count - 1.

    Examples
    --------
    >>> sorted(epoch_order(5, seed=0, epoch=3).tolist())
    [0, 1, 2, 3, 4]
    """
    return np.argsort(keys(count, seed, ORDER, epoch), kind="stable")


def batch_generator(seed: int, epoch: int, batch: int) -> np.random.Generator:
    """Return the random numbers of one batch, keyed by (seed, epoch, batch) and independent of the worker."""
    return np.random.Generator(np.random.PCG64(sequence(seed, BATCH, epoch, batch)))
