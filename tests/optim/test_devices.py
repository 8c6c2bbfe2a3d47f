"""Optimizers, clipping and averages on the strict device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.optim.problems import Bowl
from tests.optim.test_optimizers import MAKERS
from tests.strict_device import StrictArray, everywhere, to_device, to_host, transfers
from tinygrad_lab.optim import SGD, ExponentialMovingAverage, Optimizer, clip_by_norm, clip_by_value
from tinygrad_lab.train.checkpoint import load, save


class BowlThere(Bowl):
    """The problem `Bowl` on the device."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.start, self.curvature, self.shaking = (
            everywhere(tree, to_device) for tree in (self.start, self.curvature, self.shaking)
        )

    def parameters(self) -> dict[str, tgl.Parameter]:
        return {path: tgl.Parameter(array) for path, array in self.start.items()}


def values(optimizer: Optimizer) -> dict[str, np.ndarray]:
    return {path: to_host(p.value) for path, p in optimizer.parameters.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MAKERS)
def test_every_optimizer_takes_the_same_steps_without_transfers(name: str, dtype: str) -> None:
    bowl, make = BowlThere(dtype=dtype), MAKERS[name][0]
    optimizer, before = make(bowl.parameters()), transfers.copy()
    for step in range(10):
        bowl.loss(optimizer.parameters, step).backward()
        optimizer.step()
    assert transfers == before
    expected = Bowl(dtype=dtype).follow(make(Bowl(dtype=dtype).parameters()), stop=10)
    for path, array in values(optimizer).items():
        np.testing.assert_array_equal(array, expected[path])


@pytest.mark.parametrize("name", MAKERS)
def test_an_optimizer_may_resume_on_another_device(name: str, tmp_path: Path) -> None:
    bowl, make = Bowl(), MAKERS[name][0]
    expected = bowl.follow(make(bowl.parameters()), stop=10)
    first = make(bowl.parameters())
    bowl.follow(first, stop=4)
    save(tmp_path / "a", {"optimizer": first.state()})
    there = BowlThere()
    second = make({path: tgl.Parameter(to_device(p.numpy())) for path, p in first.parameters.items()})
    second.load_state(load(tmp_path / "a")["optimizer"])
    for step in range(4, 10):
        there.loss(second.parameters, step).backward()
        second.step()
    for path, array in values(second).items():
        np.testing.assert_array_equal(array, expected[path])
    save(tmp_path / "b", {"optimizer": second.state()})  # and back again
    assert load(tmp_path / "b")["optimizer"].keys() == second.state().keys()


def test_clipping_waits_only_for_the_norm() -> None:
    bowl, here = BowlThere(), Bowl()
    p, q = bowl.parameters(), here.parameters()
    bowl.loss(p, 0).backward()
    here.loss(q, 0).backward()
    before = transfers.copy()
    norm = clip_by_norm(p, 0.5)
    clip_by_value(p, 0.1)
    assert transfers - before == {"waits": 1}
    assert norm == clip_by_norm(q, 0.5)
    clip_by_value(q, 0.1)
    for path in p:
        assert isinstance(p[path].node.grad, StrictArray)
        np.testing.assert_array_equal(to_host(p[path].node.grad), q[path].grad.numpy())


def test_averages_stay_on_the_device() -> None:
    model = tgl.Sequential()
    model.weight = tgl.Parameter(to_device(np.array([0.0, 4.0])))
    average = ExponentialMovingAverage(model, decay=0.5)
    before = transfers.copy()
    average.update()
    model.weight.assign(model.weight.value + 2.0)
    average.update()
    weights = average.weights()
    assert transfers == before
    np.testing.assert_array_equal(to_host(weights["weight"]), [1.0, 5.0])
    other = ExponentialMovingAverage(model, decay=0.5)
    other.load_state({"count": 1, "average/weight": np.array([0.0, 4.0])})  # as from a file
    other.update()
    np.testing.assert_array_equal(to_host(other.weights()["weight"]), [1.0, 5.0])


def test_a_schedule_needs_no_device() -> None:
    optimizer = SGD(BowlThere().parameters(), lr=0.1)
    optimizer.lr = np.float32(0.05)
    assert optimizer.state()["lr"] == pytest.approx(0.05)
