"""Hooks run once in each backward pass, and arrays that a transform returns belong to its caller."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.errors import OptionError
from tinygrad_lab_layers.dense import Dense


def test_checkpoint_runs_the_hooks_of_its_arguments_once() -> None:
    x, calls = tgl.tensor(0.0, requires_grad=True), []
    x.register_hook(lambda g: calls.append(1) or 2 * g)
    tgl.checkpoint(tgl.sin, x).backward()
    assert x.grad is not None
    assert (float(x.grad), len(calls)) == (2.0, 1)


def test_a_parameter_keeps_its_hooks_when_it_is_updated() -> None:
    p = tgl.Parameter(np.ones(2))
    remove = p.register_hook(lambda g: 10 * g)
    for expected in (10.0, 10.0, 1.0):
        p.assign(p.value * 1.0)
        if expected == 1.0:
            remove()
        p.sum().backward()
        assert p.grad is not None
        assert p.grad.numpy().tolist() == [expected] * 2


def test_results_of_transforms_are_copies() -> None:
    a, v = np.ones(2), np.ones(2)
    y, pull = tgl.vjp(lambda a, b: a + b, a, a)
    ga, gb = pull(v)
    ga *= 5
    y *= 7
    assert a.tolist() == v.tolist() == gb.tolist() == [1.0, 1.0]
    part, _ = tgl.vjp(lambda x: x[:1], a)
    part *= 7
    assert a.tolist() == [1.0, 1.0]
    gradient = tgl.grad(tgl.sum)(np.ones(3))
    gradient *= 2  # not a read-only view of one number
    assert gradient.tolist() == [2.0] * 3


@pytest.mark.parametrize("names", [("a.b", "c"), (1, "1")])
def test_names_in_a_sequential_differ_and_have_no_dots(names: tuple[Any, ...]) -> None:
    with pytest.raises(OptionError, match="different names without dots"):
        tgl.Sequential({name: Dense(1, 1, rng=0) for name in names})
