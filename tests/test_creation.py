"""Tensors created from a shape or a range equal the arrays of the NumPy function with that name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.strict_device import StrictArray
from tinygrad_lab.errors import ShapeError


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
        (tgl.linspace(0, 1, 5), np.linspace(0, 1, 5)),
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


@pytest.mark.parametrize("shape", [(-1,), (2.5,), ("3",), ((2, None),), (2, (3,))])
def test_a_wrong_shape_is_refused(shape: Any) -> None:
    with pytest.raises(ShapeError, match=r"zeros: expected lengths of axes, such as zeros\(2, 3\), got "):
        tgl.zeros(*shape)
