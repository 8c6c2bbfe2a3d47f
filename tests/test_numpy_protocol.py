"""NumPy's functions give the same for tensors as for arrays in every form of call, or are refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.errors import DTypeError, LabError
from tinygrad_lab.numpy_protocol import OPERATIONS

Call = Callable[[Any, Any], Any]
PLACES = np.array([[1], [0], [3]])

CALLS: dict[str, list[Call]] = {
    "sum": [lambda x, y: np.sum(x, axis=0), lambda x, y: np.sum(x, 1, None, None, True), lambda x, y: np.sum(a=x)],
    "mean": [lambda x, y: np.mean(x, 1, keepdims=True), lambda x, y: np.mean(x, dtype=None, out=None)],
    "var": [lambda x, y: np.var(x, ddof=1), lambda x, y: np.var(x, (0, 1))],
    "std": [lambda x, y: np.std(x, axis=-1)],
    "prod": [lambda x, y: np.prod(x)],
    "max": [lambda x, y: np.max(x, axis=1)],
    "min": [lambda x, y: np.min(x)],
    "amax": [lambda x, y: np.amax(x, axis=1)],
    "amin": [lambda x, y: np.amin(x, 0)],
    "all": [lambda x, y: np.all(x, axis=0)],
    "any": [lambda x, y: np.any(x)],
    "argmax": [lambda x, y: np.argmax(x, axis=1)],
    "argmin": [lambda x, y: np.argmin(x)],
    "cumsum": [lambda x, y: np.cumsum(x), lambda x, y: np.cumsum(x, axis=1)],
    "cumprod": [lambda x, y: np.cumprod(x), lambda x, y: np.cumprod(x, axis=1)],
    "diff": [
        lambda x, y: np.diff(x),
        lambda x, y: np.diff(x, 2, 0),
        lambda x, y: np.diff(x, prepend=0, append=y[:, :2]),
        lambda x, y: np.diff(y[0], append=x[0, 0]),
    ],
    "median": [lambda x, y: np.median(x, axis=0), lambda x, y: np.median(x, (0, 1), keepdims=True)],
    "dot": [lambda x, y: np.dot(x, y.T), lambda x, y: np.dot(y[0], x[1]), lambda x, y: np.dot(x, [1, 2, 3, 4])],
    "inner": [lambda x, y: np.inner(x, y), lambda x, y: np.inner(2.0, x)],
    "outer": [lambda x, y: np.outer(x, y), lambda x, y: np.outer([1, 2], x)],
    "kron": [lambda x, y: np.kron(x, y), lambda x, y: np.kron(np.eye(2, dtype=x.dtype), x)],
    "diag": [lambda x, y: np.diag(x), lambda x, y: np.diag(x[0], k=-1)],
    "diagonal": [lambda x, y: np.diagonal(x, 1), lambda x, y: np.diagonal(x, axis1=1, axis2=0)],
    "trace": [lambda x, y: np.trace(x, offset=-1)],
    "tril": [lambda x, y: np.tril(x), lambda x, y: np.tril(x, k=-1)],
    "triu": [lambda x, y: np.triu(x), lambda x, y: np.triu(x[0], 1)],
    "atleast_1d": [lambda x, y: np.atleast_1d(x[0, 0]), lambda x, y: np.atleast_1d(3.0, x)[1]],
    "atleast_2d": [lambda x, y: np.atleast_2d(x[0])],
    "atleast_3d": [lambda x, y: np.atleast_3d(x)],
    "vstack": [lambda x, y: np.vstack([x, y, [1, 2, 3, 4]]), lambda x, y: np.vstack(x)],
    "hstack": [lambda x, y: np.hstack((x, y))],
    "dstack": [lambda x, y: np.dstack([x, y])],
    "column_stack": [lambda x, y: np.column_stack([x[0], y[0], [1, 2, 3, 4]])],
    "inv": [lambda x, y: np.linalg.inv(x[:, :3])],
    "solve": [lambda x, y: np.linalg.solve(x[:, :3], y), lambda x, y: np.linalg.solve(y[:, :3], x[:, 0])],
    "det": [lambda x, y: np.linalg.det(x[:, :3])],
    "slogdet": [lambda x, y: np.linalg.slogdet(x[:, :3])[1]],
    "cholesky": [lambda x, y: np.linalg.cholesky(np.inner(x, x)), lambda x, y: np.linalg.cholesky(x @ x.T, upper=True)],
    "eigh": [lambda x, y: np.linalg.eigh(x[:, 1:], UPLO="U").eigenvalues, lambda x, y: np.linalg.eigh(x[:, :3])[1]],
    "eigvalsh": [lambda x, y: np.linalg.eigvalsh(x[:, :3])],
    "svd": [
        lambda x, y: np.linalg.svd(x, full_matrices=False).Vh,
        lambda x, y: np.linalg.svd(x, compute_uv=False),
        lambda x, y: np.linalg.svd(x[:, :3])[0],
    ],
    "svdvals": [lambda x, y: np.linalg.svdvals(x)],
    "qr": [lambda x, y: np.linalg.qr(x).Q, lambda x, y: np.linalg.qr(x, "r")],
    "norm": [
        lambda x, y: np.linalg.norm(x),
        lambda x, y: np.linalg.norm(x, 2),
        lambda x, y: np.linalg.norm(x, ord="nuc", keepdims=True),
        lambda x, y: np.linalg.norm(x, np.inf, axis=1),
    ],
    "matrix_power": [lambda x, y: np.linalg.matrix_power(x[:, :3], 3)],
    "sort": [lambda x, y: np.sort(x, axis=0), lambda x, y: np.sort(x, kind=None)],
    "argsort": [lambda x, y: np.argsort(x)],
    "concatenate": [
        lambda x, y: np.concatenate([x, y], axis=1),
        lambda x, y: np.concatenate((y, x)),
        lambda x, y: np.concatenate([x, [[1.0, 2.0, 3.0, 4.0]]]),
    ],
    "stack": [lambda x, y: np.stack((y, x), -1), lambda x, y: np.stack([x[0, 0], 1.0])],
    "expand_dims": [lambda x, y: np.expand_dims(x, 1), lambda x, y: np.expand_dims(a=x, axis=0)],
    "squeeze": [lambda x, y: np.squeeze(np.expand_dims(x, 0))],
    "moveaxis": [lambda x, y: np.moveaxis(x, 0, 1)],
    "swapaxes": [lambda x, y: np.swapaxes(x, 0, 1)],
    "flip": [lambda x, y: np.flip(x, 1), lambda x, y: np.flip(x)],
    "roll": [lambda x, y: np.roll(x, 2, axis=1), lambda x, y: np.roll(x, 3)],
    "pad": [
        lambda x, y: np.pad(x, ((0, 1), (2, 0))),
        lambda x, y: np.pad(x, np.array([[1, 1], [0, 2]]), mode="constant"),
        lambda x, y: np.pad(x, pad_width=1, mode="edge"),
        lambda x, y: np.pad(x, 1, "edge"),
    ],
    "tile": [lambda x, y: np.tile(x, (2, 1)), lambda x, y: np.tile(x, reps=np.array([2, 3]))],
    "repeat": [
        lambda x, y: np.repeat(x, 2, axis=1),
        lambda x, y: np.repeat(x, 3),
        lambda x, y: np.repeat(x, np.array([1, 0, 2]), 0),
    ],
    "broadcast_to": [lambda x, y: np.broadcast_to(x, (2, 3, 4))],
    "reshape": [lambda x, y: np.reshape(x, (4, -1)), lambda x, y: np.reshape(x, -1, "C")],
    "ravel": [lambda x, y: np.ravel(x)],
    "transpose": [
        lambda x, y: np.transpose(x, (1, 0)),
        lambda x, y: np.transpose(x, axes=[0, 1]),
        lambda x, y: np.transpose(x),
        lambda x, y: np.transpose(x, None),
    ],
    "clip": [
        lambda x, y: np.clip(x, -0.5, 0.5),
        lambda x, y: np.clip(x, a_min=None, a_max=0.5),
        lambda x, y: np.clip(x, min=0.1, max=0.5),
    ],
    "where": [lambda x, y: np.where(np.eye(3, 4) > 0, x, y), lambda x, y: np.where(x > 0, y, x)],
    "take": [lambda x, y: np.take(x, [0, 2]), lambda x, y: np.take(x, PLACES, axis=1), lambda x, y: np.take(x, 1, 0)],
    "split": [lambda x, y: np.split(x, 3)[1], lambda x, y: np.split(x, [1, 3], axis=1)[2]],
    "take_along_axis": [lambda x, y: np.take_along_axis(x, PLACES, axis=1)],
    "tensordot": [lambda x, y: np.tensordot(x, y, 2), lambda x, y: np.tensordot(x, y, axes=([1], [1]))],
    "einsum": [
        lambda x, y: np.einsum("ij,kj->ik", x, y, optimize=True),
        lambda x, y: np.einsum("ij,j->i", x, [1.0, 2.0, 3.0, 4.0]),
    ],
}
FORMS = [pytest.param(name, call, id=f"{name}-{i}") for name, calls in CALLS.items() for i, call in enumerate(calls)]


def test_every_operation_is_tested() -> None:
    assert {function.__name__ for function in OPERATIONS} == set(CALLS)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "call"), FORMS)
def test_a_function_of_arrays_takes_tensors(name: str, call: Call, dtype: str) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(dtype)
    expected, got = call(x, y), call(tgl.tensor(x, requires_grad=True), y)
    assert isinstance(got, tgl.Tensor)
    assert got.requires_grad == (got.dtype.kind == "f"), "the result stays on the tape"
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-14 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize(
    "call",
    [
        np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj, np.common_type, lambda x: np.size(x, 1),
        lambda x: np.size(x, axis=0), lambda x: np.result_type(x, np.float32), lambda x: np.can_cast(x.dtype, "f4"),
    ],
)  # fmt: skip
def test_functions_about_shapes_or_dtypes_accept_tensors(call: Callable[[Any], Any]) -> None:
    x = np.ones((2, 3))
    assert call(tgl.tensor(x, requires_grad=True)) == call(x)


@pytest.mark.parametrize(
    "call",
    [
        np.zeros_like, np.ones_like, lambda x: np.full_like(x, 3.0), np.isnan, np.isinf, np.isfinite, np.signbit,
        lambda x: np.allclose(x, x), lambda x: np.isclose(x, [1.0, 0.0, 2.0]), lambda x: np.array_equal(x, a2=x),
        np.count_nonzero, np.nonzero, np.argwhere,
    ],
)  # fmt: skip
def test_functions_without_a_derivative_return_arrays(call: Callable[[Any], Any]) -> None:
    x = np.array([[1.0, np.nan, -np.inf], [0.0, -0.0, 2.0]])
    got = call(tgl.tensor(x, requires_grad=True))
    np.testing.assert_array_equal(got, call(x))
    assert not isinstance(got, tgl.Tensor)


@pytest.mark.parametrize(
    "call",
    [
        np.cov, np.unwrap, np.copy, lambda t: np.take(t, [9], mode="clip"),
        lambda t: np.isin(1.0, t), lambda t: np.concatenate([t, t], axis=None), lambda t: np.sum(t, dtype="float32"),
        lambda t: np.argmax(t, keepdims=True), lambda t: np.sort(t, kind="stable"), lambda t: np.sum(t, where=[True]),
        lambda t: np.pad(t, 1, constant_values=3), lambda t: np.pad(t, 1, "reflect"), lambda t: np.var(t, mean=0.0),
        lambda t: np.einsum(t, [0, 1], [1, 0]), lambda t: np.repeat(t, [1, 2, 3], axis=1), lambda t: np.where(t > 0),
        lambda t: np.take_along_axis(t, np.array([[0]]), None), lambda t: np.reshape(t, 2, "F"),
    ],
)  # fmt: skip
def test_other_functions_and_options_are_refused_in_one_line(call: Callable[[Any], Any]) -> None:
    with pytest.raises(LabError, match=r"expected .*got|use t\.numpy\(\)") as told:
        call(tgl.tensor([[0.5, 2.0]], requires_grad=True))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_numbers_lists_and_integers_take_the_width_of_the_tensor(dtype: str) -> None:
    t = tgl.tensor(np.array([1.0, 2.0], dtype), requires_grad=True)
    for y in (
        np.where(t > 1, t, 0), np.where(t > 1, 0.5, t), np.where([True, False], np.array([1, 2]), t),
        np.concatenate([t, [1, 2]]), np.concatenate([[0.5], t]), np.clip(t, np.array([0, 1]), 1.5),
        np.take_along_axis(t, np.array([0]), 0), np.stack([[1, 2], t]),
    ):  # fmt: skip
        assert (y.dtype, y.requires_grad) == (dtype, True)


def test_any_argument_may_be_a_tensor() -> None:
    x, bound = np.array([1.0, 2.0, 3.0]), tgl.tensor(2.0, requires_grad=True)
    assert np.clip(x, bound, None).numpy().tolist() == [2.0, 2.0, 3.0]  # type: ignore[call-overload]
    assert np.tile(x, tgl.tensor(2)).tolist() == [*x, *x]  # type: ignore[call-overload]
    assert np.tile(x, tgl.tensor([2, 1])).shape == (2, 3)  # type: ignore[call-overload]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "bool"])
def test_products_and_sums_of_small_integers_widen(dtype: str) -> None:
    x = np.array([100, 100, 1]).astype(dtype)
    for function in (np.prod, np.sum, np.cumsum):
        expected, got = function(x), function(tgl.tensor(x))
        assert got.dtype == expected.dtype
        assert got.numpy().tolist() == expected.tolist()


def test_other_array_types_may_implement_the_function() -> None:
    class Other:
        """An array type with its own implementation."""

        def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> str:
            return "other"

    assert np.concatenate([tgl.tensor([1.0]), Other()]) == "other"  # type: ignore[comparison-overlap,list-item]
    with pytest.raises(DTypeError, match=r"np\.unwrap: expected arrays"):
        np.unwrap(tgl.tensor([1.0]))
