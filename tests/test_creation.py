"""Tensors created from a shape or a range equal the arrays of the NumPy function with that name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.strict_device import StrictArray
from tinygrad_lab.errors import CallError, ShapeError


@pytest.mark.parametrize(
    ("ours", "numpy"),
    [
        (tgl.zeros(2, 3), np.zeros((2, 3))),
        (tgl.zeros((2, 3), dtype="int8"), np.zeros((2, 3), "int8")),
        (tgl.zeros(()), np.zeros(())),
        (tgl.zeros(), np.zeros(())),
        (tgl.ones([2, 0]), np.ones((2, 0))),
        (tgl.full(3, True), np.full(3, True)),
        (tgl.full((1, 2), 2.5, dtype="float32"), np.full((1, 2), 2.5, "float32")),
        (tgl.zeros_like(tgl.tensor([1.5, 2.0], dtype="float32")), np.zeros(2, "float32")),
        (tgl.ones_like([[1, 2]]), np.ones((1, 2), int)),
        (tgl.eye(3), np.eye(3)),
        (tgl.eye(2, 3, dtype="float32"), np.eye(2, 3, dtype="float32")),
        (tgl.arange(4), np.arange(4)),
        (tgl.arange(1.0, 2.0, 0.25, dtype="float32"), np.arange(1.0, 2.0, 0.25, "float32")),
        (tgl.arange(0, stop=3), np.arange(0, stop=3)),
        (tgl.arange(stop=3), np.arange(stop=3)),
        (tgl.arange(5, step=2), np.arange(5, step=2)),
        (tgl.arange(-2.0, 0), np.arange(-2.0, 0)),
        (tgl.arange(0), np.arange(0)),
        (tgl.linspace(0, 1, 5), np.linspace(0, 1, 5)),
        (tgl.linspace(0, 1, num=3), np.linspace(0, 1, num=3)),
        (tgl.full((2,), fill_value=1.0), np.full((2,), fill_value=1.0)),
        (tgl.eye(N=2, M=3), np.eye(N=2, M=3)),
        (tgl.ones_like([[1, 2]], dtype="float32"), np.ones_like([[1, 2]], dtype="float32")),
    ],
)
def test_created_tensors_agree_with_numpy(ours: tgl.Tensor, numpy: Any) -> None:
    assert (ours.dtype, ours.shape) == (numpy.dtype, numpy.shape)
    np.testing.assert_array_equal(ours.numpy(), numpy)


def test_created_tensors_may_be_leaves_on_a_device() -> None:
    x = tgl.ones(3, dtype="float32", requires_grad=True)
    (x * x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    assert isinstance(tgl.zeros(2, device="strict").value, StrictArray)
    assert tgl.zeros(2, device="strict").device == tgl.zeros_like(tgl.zeros(2, device="strict")).device == "strict"


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: tgl.zeros(2, **options),
        lambda **options: tgl.ones(2, **options),
        lambda **options: tgl.full(2, 1.5, **options),
        lambda **options: tgl.zeros_like([1, 2], **options),
        lambda **options: tgl.ones_like([1, 2], **options),
        lambda **options: tgl.eye(2, **options),
        lambda **options: tgl.arange(2, **options),
        lambda **options: tgl.linspace(0, 1, **options),
    ],
)
def test_every_function_takes_the_same_options(make: Any) -> None:
    made = make(dtype="float32", device="strict", requires_grad=True)
    assert (made.dtype, made.device, made.requires_grad) == (np.float32, "strict", True)


def test_a_range_needs_a_stop() -> None:
    with pytest.raises(CallError, match=r"^arange: expected a stop, such as arange\(3\)"):
        tgl.arange()


@pytest.mark.parametrize("shape", [(-1,), (2.5,), ("3",), ((2, None),), (2, (3,))])
def test_a_wrong_shape_is_refused(shape: Any) -> None:
    with pytest.raises(ShapeError, match=r"zeros: expected lengths of axes, such as zeros\(2, 3\), got "):
        tgl.zeros(*shape)
