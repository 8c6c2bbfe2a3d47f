"""Errors for wrong arguments name the operation, what it expected and what it got."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.errors import DTypeError, LabError, OptionError, ShapeError

X = np.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tgl.sum(X, 2), OptionError, r"sum: expected axes from -2 to 1, got 2"),
        (lambda: tgl.mean(X, (0, 0)), OptionError, r"expected each axis once, got \(0, 0\)"),
        (lambda: tgl.max(X, -3), OptionError, r"max: expected axes from -2 to 1, got -3"),
        (lambda: tgl.cumsum(X, 5), OptionError, r"cumsum: expected axes"),
        (lambda: tgl.sort(X, 5), OptionError, r"argsort: expected axes"),
        (lambda: tgl.argmax(X, 5), OptionError, r"argmax: expected axes"),
        (lambda: tgl.flip(X, 2), OptionError, r"flip: expected axes"),
        (lambda: tgl.roll(X, (1, 2)), OptionError, r"roll: expected a single shift if no axis is given"),
        (lambda: tgl.swapaxes(X, 0, 2), OptionError, r"swapaxes: expected axes from -2 to 1, got 2"),
        (lambda: tgl.moveaxis(X, (0, 1), 0), OptionError, r"moveaxis: expected as many destinations as sources"),
        (lambda: tgl.expand_dims(X, 4), OptionError, r"expand_dims: expected axes from -3 to 2, got 4"),
        (lambda: tgl.squeeze(X, 0), ShapeError, r"squeeze: expected axes of length 1, got axis 0 of shape \(2, 3\)"),
        (lambda: tgl.reshape(X, shape=(5,)), ShapeError, r"reshape: .*\(2, 3\)"),
        (lambda: tgl.transpose(X, axes=(0,)), ShapeError, r"transpose: "),
        (lambda: tgl.broadcast_to(X, shape=(2, 4)), ShapeError, r"broadcast_to: "),
        (lambda: tgl.pad(X, -1), OptionError, r"pad: expected 2 pairs of non-negative widths, got -1; use crop to cut"),
        (lambda: tgl.pad(X, ((1, 1),)), OptionError, r"pad: expected 2 pairs"),
        (lambda: tgl.pad(X, (1, 1, 1)), OptionError, r"pad: expected 2 pairs"),
        (lambda: tgl.pad(X, 1, mode="reflect"), OptionError, r"pad: expected mode 'zero' or 'edge', got 'reflect'"),
        (lambda: tgl.pad(X[:0], 1, mode="edge"), OptionError, r"pad: expected a border to repeat"),
        (lambda: tgl.crop(X, widths=((0, 3), (0, 0))), ShapeError, r"crop: .*got .* for shape \(2, 3\)"),
        (lambda: tgl.crop(X, widths=((0, -1), (0, 0))), ShapeError, r"crop: "),
        (lambda: tgl.crop(X, widths=((0, 0),)), ShapeError, r"crop: "),
        (lambda: tgl.concatenate([X, np.ones((2, 4))]), ShapeError, r"concatenate: .* differ only along axis 0"),
        (lambda: tgl.concatenate([]), ShapeError, r"concatenate: expected at least one part, got none"),
        (lambda: tgl.stack([X, X.T]), ShapeError, r"stack: expected parts of one shape, got \[\(2, 3\), \(3, 2\)\]"),
        (lambda: tgl.stack([]), ShapeError, r"stack: expected parts of one shape, got \[\]"),
        (lambda: tgl.split(X, 2, 1), ShapeError, r"split: expected a number of sections that divides 3, .*got 2"),
        (lambda: tgl.split(X, 0), ShapeError, r"split: expected a number of sections that divides 2, .*got 0"),
        (lambda: tgl.take(X, [0.5]), DTypeError, r"take: expected integer indices, got"),
        (lambda: tgl.take(X, X > 0), DTypeError, r"take: expected integer indices.*use x\[mask\]"),
        (lambda: tgl.take(X, 0, 2), OptionError, r"take: expected axes"),
        (lambda: tgl.take(X, 0, (0, 1)), OptionError, r"take: expected one axis, an integer, got \(0, 1\)"),
        (lambda: tgl.split(X, 1, None), OptionError, r"split: expected one axis, an integer, got None"),
        (lambda: tgl.split(X, 1.5), OptionError, r"split: expected a number of parts or a list of positions, got 1.5"),
        (lambda: tgl.split(X, [0.5]), OptionError, r"split: expected a number of parts or a list of positions, got"),
        (lambda: tgl.repeat(X, [1, 2]), ShapeError, r"repeat: expected 6 numbers for axis 0 of shape \(6,\)"),
        (lambda: tgl.repeat(X, 2, 2), OptionError, r"repeat: expected axes"),
        (lambda: tgl.matmul(X, X), ShapeError, r"matmul: expected equal inner lengths, got shapes \(2, 3\)"),
        (lambda: tgl.matmul(X, np.array(1.0)), ShapeError, r"matmul: expected vectors or matrices.*use \* for scalars"),
        (lambda: tgl.tensordot(X, X, 1), ShapeError, r"tensordot: expected axes .* of equal lengths"),
        (lambda: tgl.tensordot(X, X, 3), OptionError, r"tensordot: expected 0 to 2 axes, got 3"),
        (lambda: tgl.tensordot(X, X, (5, 0)), OptionError, r"tensordot: expected axes from -2 to 1, got 5"),
        (lambda: tgl.tensordot(X, X, ((0, 0), (0, 1))), OptionError, r"tensordot: expected each axis once"),
        (lambda: tgl.einsum("ij,jk->ik", X, X), ShapeError, r"'ij,jk->ik': expected one length for 'j', got 3 and 2"),
        (lambda: tgl.einsum("ij->ij", X, X), OptionError, r"expected 1 operands, got 2"),
        (lambda: tgl.einsum("ij->ik", X), OptionError, "expected different letters after the arrow"),
        (lambda: tgl.einsum("ij->ii", X), OptionError, r"different letters after the arrow"),
        (lambda: tgl.einsum("i->i", X), OptionError, r"expected a letter for each axis, got 'i' for shape \(2, 3\)"),
        (lambda: tgl.einsum("ii->i", X), ShapeError, r"expected one length for 'i', got 2 and 3"),
        (lambda: tgl.einsum("...i,...i", X, np.ones((4, 3))), ShapeError, r"expected one length for"),
        (lambda: tgl.take_along_axis(X, np.array([0]), 0), ShapeError, r"take_along_axis: expected positions with 2"),
        (
            lambda: tgl.unfold(np.ones((1, 2, 2, 1)), kernel_size=(3, 3)),
            ShapeError,
            r"unfold: expected a map of at least 3",
        ),
        (
            lambda: tgl.max_pool2d(
                np.ones((1, 20, 20, 1)), kernel_size=(17, 17), stride=(1, 1), padding=((0, 0), (0, 0))
            ),
            OptionError,
            r"max_pool2d: expected a window of at most 256 elements, got 17x17",
        ),
        (lambda: tgl.add(X, np.ones((2, 4))), ShapeError, r"add: .*\(2, 3\) and \(2, 4\)"),
        (lambda: tgl.where(X > 0, X, np.ones(4)), ShapeError, r"where: "),
        (lambda: tgl.clip(X, low="a"), (TypeError, ValueError), "clip|ufunc"),
        (lambda: tgl.bitwise_and(X, X), TypeError, "bitwise_and"),
        (lambda: tgl.exp(np.array(["text"])), TypeError, "exp"),
        (lambda: tgl.add(X, X.astype(np.float32)), DTypeError, r"add: expected one float width"),
    ],
)
def test_the_message_names_operation_expected_and_got(call: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("index", [5, (0, 9), np.array([7]), (0, 0, 0)])
def test_indices_out_of_range_raise_index_error(index: Any) -> None:
    with pytest.raises(IndexError):
        tgl.getitem(X, index)
    with pytest.raises(IndexError):
        tgl.tensor(X, requires_grad=True)[index]


def test_every_error_derives_from_lab_error_and_a_builtin_error() -> None:
    for error in (ShapeError, OptionError):
        assert issubclass(error, LabError)
        assert issubclass(error, ValueError)
    assert issubclass(DTypeError, TypeError)


def test_numpy_integers_are_accepted_as_integers() -> None:
    one, x = np.int64(1), tgl.tensor(X)
    assert tgl.sum(X, one).shape == (2,)
    assert tgl.pad(X, one).shape == (4, 5)
    assert tgl.expand_dims(X, one).shape == (2, 1, 3)
    assert tgl.split(X, one)[0].shape == tgl.split(X, np.array(1))[0].shape == (2, 3)
    assert x.reshape(np.int64(6)).shape == (6,)
    assert x[one].shape == (3,)
    assert tgl.roll(X, one, one).shape == (2, 3)
    assert tgl.repeat(X, one, one).shape == (2, 3)
    assert tgl.tile(X, one).shape == (2, 3)
    assert tgl.tensordot(X, X, np.int64(2)).shape == ()
    assert [part.shape for part in tgl.split(X, np.array([1]), 1)] == [(2, 1), (2, 2)]
    assert tgl.concatenate(x).shape == (6,)  # as NumPy joins the rows of an array


# ------------------------------------------------------------------------------------------------------------- indexing


def test_gradients_of_elements_taken_twice_add_up() -> None:
    x = np.array([1.0, 2.0, 3.0])
    g = tgl.grad(lambda x: tgl.sum(tgl.take(x, np.array([0, 0, 2, -1])) * np.array([1.0, 2.0, 4.0, 8.0])))(x)
    assert g.tolist() == [3.0, 0.0, 12.0]


def test_an_index_may_contain_tensors() -> None:
    x, rows = tgl.tensor(X.cumsum().reshape(2, 3), requires_grad=True), tgl.tensor(np.array([1, 1]))
    y = x[rows, tgl.tensor(np.array([0, 2]))]
    assert y.numpy().tolist() == [4.0, 6.0]
    (x[x > 2.0].sum() + y.sum()).backward()
    assert x.grad is not None
    assert x.grad.numpy().tolist() == [[0.0, 0.0, 1.0], [2.0, 1.0, 2.0]]


def test_getitem_and_its_adjoint_are_adjoint() -> None:
    """<x[index], g> = <x, scatter(g)> for every kind of index."""
    x = np.arange(24.0).reshape(2, 3, 4)
    rng = np.random.default_rng(0)
    indices: list[Any] = [0, -1, slice(None, None, -2), (..., 1), (None, 1), [0, 1, 1], (slice(1), [0, 2]), x > 7]
    indices += [(0, slice(None), np.array([1, 1])), (np.array([[0], [1]]), np.array([0, 2])), True, np.True_, ()]
    for index in indices:
        y, pull = tgl.vjp(lambda x, i=index: tgl.getitem(x, i), x)
        assert np.array_equal(y, x[index])
        g = rng.standard_normal(y.shape)
        np.testing.assert_allclose(np.sum(y * g), np.sum(x * pull(g)[0]))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("scalar", [0, 0.0, math.nan, True])
def test_a_python_scalar_does_not_change_the_float_width(dtype: str, scalar: float) -> None:
    x = tgl.tensor(np.array([1.0, -1.0], dtype), requires_grad=True)
    for out in (tgl.where(x > 0, x, scalar), tgl.where(x > 0, scalar, x), tgl.where(True, x[0], scalar)):
        assert out.dtype == dtype
    _, pull = tgl.vjp(lambda x: tgl.where(x > 0, x, scalar), x)
    (gradient,) = pull(np.ones(2, dtype))
    assert gradient.dtype == dtype
