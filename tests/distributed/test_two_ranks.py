"""Exchanges, trainings and checks of a job of two real ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.distributed.ranks import needs_mpi, results
from tests.distributed.trainings import train_all
from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.distributed import Group

pytestmark = needs_mpi


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run the program on two ranks once."""
    return results(2, "program_two_ranks.py", tmp_path_factory.mktemp("ranks"))


def test_exchanges_return_their_definition(found: list[dict[str, Any]]) -> None:
    x = [np.arange(6.0).reshape(2, 3) * (1 + rank) for rank in range(2)]
    total, stacked = x[0] + x[1], np.stack(x)
    expected = {
        "all_sum": [total, total],
        "broadcast": [x[1], x[1]],
        "sum_at": [0 * total, total],
        "all_gather": [stacked, stacked],
        "reduce_scatter": [total, 2 * total],
        "send and receive": [x[1], x[0]],
    }
    for name, by_rank in expected.items():
        for rank in range(2):
            np.testing.assert_array_equal(found[rank]["values"][name], by_rank[rank], err_msg=name)
    assert [one["any"] for one in found] == [[True, False]] * 2
    assert [one["large"] for one in found] == [0.0, 0.0]  # several buckets, the last of them smaller


def test_a_sum_sends_each_rank_the_half_of_an_array_twice(found: list[dict[str, Any]]) -> None:
    assert [one["sent"] for one in found] == [2 * 1000 * 4 // 2] * 2


def test_two_ranks_train_the_bits_of_one(found: list[dict[str, Any]]) -> None:
    with reference_only():
        alone = json.loads(json.dumps(train_all(Group())))
    assert found[0]["trainings"] == found[1]["trainings"]
    assert found[0]["trainings"] == alone


def test_fast_sums_train_the_same_weights_on_both_ranks(found: list[dict[str, Any]]) -> None:
    assert found[0]["fast"] == found[1]["fast"]


def test_ranks_that_differ_say_in_what(found: list[dict[str, Any]]) -> None:
    expected = "ranks: expected the same version of NumPy on all, got 2.0 on rank 0 and 2.1 on rank 1"
    assert [one["differing"] for one in found] == [expected] * 2


@pytest.mark.slow
def test_the_kit_finds_no_wrong_derivative_of_an_exchange(tmp_path: Path) -> None:
    assert len(results(2, "program_two_ranks.py", tmp_path, "kit")) == 2


@pytest.mark.slow
def test_one_two_four_and_eight_ranks_train_the_same_bits_for_51_updates(tmp_path: Path) -> None:
    """The default kernels compute here, not those of NumPy."""
    found = results(8, "program_sums.py", tmp_path, TINYGRAD_LAB_KERNELS="all")
    for case, expected in found[0]["8"].items():
        for one in found:
            assert {json.dumps(one[size][case]) for size in ("8", "4", "2", "1")} == {json.dumps(expected)}, case
