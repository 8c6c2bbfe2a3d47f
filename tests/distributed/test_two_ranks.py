"""Exchanges, trainings and checks of a job of two real ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.distributed.ranks import needs_mpi, results
from tests.distributed.trainings import bits, curve, residual, train_all, trainer
from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.distributed import Group
from tinygrad_lab.train.checkpoint import load

pytestmark = needs_mpi


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder into which the two ranks write."""
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    """Run the program on two ranks once."""
    return results(2, "program_two_ranks.py", folder)


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


def test_one_rank_resumes_a_training_of_two(found: list[dict[str, Any]], folder: Path) -> None:
    with reference_only():
        resumed = trainer(residual(), Group())
        resumed.load_state(load(folder / "half.safetensors"))
        resumed.train(2)
    assert [bits(resumed), curve(resumed)] == found[0]["trainings"]["residual"]


def test_a_network_divided_over_two_ranks_trains_as_on_one(found: list[dict[str, Any]]) -> None:
    """Logits, gradients and weights of two steps, with dropout, agree; only the exchanges' own bytes are sent."""
    for one in found:
        sizes = one["halves"]
        assert sizes.pop("bytes") == sizes.pop("ideal") > 0
        assert len(sizes) == 6
        assert max(sizes.values()) < 1e-12


def test_fast_sums_train_the_same_weights_on_both_ranks(found: list[dict[str, Any]]) -> None:
    assert found[0]["fast"] == found[1]["fast"]


def test_ranks_that_differ_say_in_what(found: list[dict[str, Any]]) -> None:
    expected = "ranks: expected the same version of NumPy on all, got 2.0 on rank 0 and 2.1 on rank 1"
    assert [one["differing"] for one in found] == [expected] * 2


@pytest.mark.slow
def test_the_kit_finds_no_wrong_derivative_of_an_exchange(tmp_path: Path) -> None:
    assert len(results(2, "program_two_ranks.py", tmp_path, "kit")) == 2


@pytest.mark.slow
def test_one_two_four_and_eight_ranks_train_the_same_bits_for_52_updates(tmp_path: Path) -> None:
    found = results(8, "program_sums.py", tmp_path, TINYGRAD_LAB_KERNELS="numpy")
    long, short = ([v for one in found for k, v in one.items() if k.endswith(f", {n} epochs")] for n in (26, 3))
    assert (len(long), len(short)) == (8 + 1, 8 + 4 + 2)
    assert all(one == long[0] for one in long)
    assert all(one == short[0] for one in short)
