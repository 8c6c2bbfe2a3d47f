"""Keyed random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.data.sampling import ORDER, SPLIT, batch_generator, epoch_order, keys
from tinygrad_lab.errors import OptionError


def test_numbers_of_a_key_never_change() -> None:
    """Pinned, so that later versions make the same splits."""
    assert keys(3, 0, SPLIT).tolist() == [12492077108140196533, 4482314363672241088, 11285050184309440768]
    assert epoch_order(8, seed=7, epoch=2).tolist() == [5, 4, 1, 6, 0, 3, 2, 7]


@given(st.integers(0, 2**40), st.integers(0, 50), st.integers(0, 50))
def test_a_longer_draw_begins_with_the_shorter_one(seed: int, count: int, more: int) -> None:
    assert keys(count + more, seed, ORDER, 3)[:count].tolist() == keys(count, seed, ORDER, 3).tolist()


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(0, 200))
def test_orders_are_permutations(seed: int, epoch: int, count: int) -> None:
    assert sorted(epoch_order(count, seed, epoch).tolist()) == list(range(count))


def test_different_keys_give_different_numbers() -> None:
    drawn = {
        tuple(batch_generator(seed, epoch, batch).integers(0, 2**63, 4))
        for seed in range(3)
        for epoch in range(3)
        for batch in range(3)
    }
    assert len(drawn) == 27


def test_orders_are_uniform() -> None:
    """Each image is at each position equally often: chi-squared with 36 - 11 degrees of freedom."""
    count, epochs = 6, 3000
    found = np.zeros((count, count))
    for epoch in range(epochs):
        found[np.arange(count), epoch_order(count, 1, epoch)] += 1
    expected = epochs / count
    assert ((found - expected) ** 2 / expected).sum() < 60


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(OptionError, match="at least 0, got -1"):
        keys(3, -1, SPLIT)
