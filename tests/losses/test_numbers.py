"""Losses of integers, of float16 and of lists give the right number or a clear error."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.errors import DTypeError, ShapeError
from tinygrad_lab.registry import losses

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
LABELLED = ("auxiliary_cross_entropy", "multiclass_hinge", "nll", "softmax_cross_entropy")
SIGNS = ("hinge",)
PROVIDERS = [frozenset(), frozenset({"numpy"}), frozenset({"numpy", "numba"})]

numbers = np.array([[100.0, 1.0, 0.0], [7.0, 90.0, 90.0]] * 60)


def target_of(name):
    if name in LABELLED:
        return np.array([1, 0] * 60)
    if name in SIGNS:
        return np.where(numbers > 50, 1, -1)
    return np.array([[3, 90, 0], [0, 1, 120]] * 60)


@pytest.mark.parametrize("providers", PROVIDERS, ids=["reference", "numpy", "numba"])
@pytest.mark.parametrize("name", losses)
def test_integers_have_the_loss_of_the_same_floats(name, providers):
    with using(providers=providers):
        for dtype in INTEGERS:
            x, target = numbers.astype(dtype), target_of(name)
            got, wanted = losses[name](x, target), losses[name](x.astype("float64"), target)
            assert got.dtype == "float64"
            np.testing.assert_allclose(got, wanted)
            if name not in (*LABELLED, *SIGNS):
                np.testing.assert_allclose(losses[name](x, target.astype("uint8")), wanted)


@pytest.mark.parametrize("providers", PROVIDERS, ids=["reference", "numpy", "numba"])
@pytest.mark.parametrize("name", losses)
def test_float16_is_computed_in_float32(name, providers):
    x, target = np.tile(numbers, (600, 1)) / 64, np.tile(target_of(name).T, 600).T
    target = target if name in (*LABELLED, *SIGNS) else target / 64
    narrow = target if name in (*LABELLED, *SIGNS) else target.astype("float16")
    with using(providers=providers):
        got, gradient = tgl.value_and_grad(losses[name])(x.astype("float16"), narrow)
        wanted, steep = tgl.value_and_grad(losses[name])(x, target)
    assert (got.dtype, gradient.dtype) == ("float16", "float16")
    np.testing.assert_allclose(got, wanted, rtol=2e-3)
    np.testing.assert_allclose(gradient, steep, rtol=5e-3, atol=1e-7)


def test_predictions_may_be_lists_with_float_targets():
    assert losses["mse"]([1.0, 3.0], [1, 1]) == 2.0
    target = tgl.tensor(np.ones(2, "float32"), requires_grad=True)
    assert losses["mse"](np.array([1, 3]), target).dtype == "float32"
    with pytest.raises(ShapeError, match="mse: expected a rectangular nested list"):
        losses["mse"]([[1.0], [1.0, 2.0]], [1])


@pytest.mark.parametrize("name", [name for name in losses if name != "auxiliary_cross_entropy"])
def test_complex_predictions_are_refused(name):
    with pytest.raises(DTypeError, match=f"{name}: expected real numbers, got complex128"):
        losses[name](numbers + 1j, target_of(name))
