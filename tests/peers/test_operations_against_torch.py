"""Every operation and its first and second derivative compared with PyTorch, on drawn shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.table import TABLE
from tests.ops.test_operations import EACH, close, cotangents, gradient, outputs, paired, second

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.peers


def as_tensors(arrays: list[np.ndarray]) -> list[Any]:
    """Return arrays as leaf tensors of PyTorch."""
    return [torch.tensor(np.array(a), requires_grad=True) for a in arrays]


def torch_paired(f: Callable[..., Any], xs: list[Any], vs: list[np.ndarray]) -> Any:
    """Return the sum of v * f(x)."""
    ys = outputs(f(*xs))
    total = sum((y * torch.as_tensor(v)).sum() for y, v in zip(ys, vs, strict=True))
    return total + 0.0 * sum(x.sum() for x in xs)  # requires a gradient even if f has none


def torch_gradient(scalar: Any, xs: list[Any]) -> list[Any]:
    """Return the differentiable gradient, with zeros where PyTorch returns None."""
    found = torch.autograd.grad(scalar, xs, create_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, xs, strict=True)]


@pytest.mark.parametrize("name", sorted(TABLE))
@EACH
@given(data=st.data())
def test_value_and_two_derivatives(name: str, data: st.DataObject) -> None:
    trial = data.draw(TABLE[name].trials.filter(lambda t: t.torch is not None))
    assert trial.torch is not None
    xs, theirs = trial.arrays, as_tensors(trial.arrays)
    values = outputs(trial.f(*xs))
    for ours, other in zip(values, outputs(trial.torch(*theirs)), strict=True):
        close(np.asarray(ours), other.detach().numpy(), rtol=1e-10, atol=1e-11)
    vs, us = cotangents(values), cotangents(xs, seed=8)
    first = torch_gradient(torch_paired(trial.torch, theirs, vs), theirs)
    for ours, other in zip(gradient(paired(trial.f, vs), xs), first, strict=True):
        close(np.asarray(ours), other.detach().numpy(), rtol=1e-9, atol=1e-10)
    along = sum((g * torch.as_tensor(u)).sum() for g, u in zip(first, us, strict=True))
    twice = torch_gradient(along + 0.0 * sum(x.sum() for x in theirs), theirs)
    for ours, other in zip(gradient(second(trial.f, vs, us), xs), twice, strict=True):
        close(np.asarray(ours), other.detach().numpy(), rtol=1e-8, atol=1e-9)
