"""Everyday functions agree with NumPy in every dtype, for empty arrays and about which arguments are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.errors import LabError, OptionError, ShapeError

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "dot": lambda np, m: np.dot(m, m.T),
    "dot of vectors": lambda np, m: np.dot(m[0], m[1]),
    "dot with a number": lambda np, m: np.dot(m, m[0, 0]),
    "inner": lambda np, m: np.inner(m, m),
    "outer": lambda np, m: np.outer(m, m[0]),
    "kron": lambda np, m: np.kron(m[0], m),
    "vstack": lambda np, m: np.vstack([m, m[0]]),
    "hstack": lambda np, m: np.hstack([m[0], m[0, 0]]),
    "dstack": lambda np, m: np.dstack([m, m]),
    "column_stack": lambda np, m: np.column_stack([m, m[:, 0]]),
    "ravel": lambda np, m: np.ravel(m.T),
    "diag": lambda np, m: np.diag(m[0], -2),
    "diag of a matrix": lambda np, m: np.diag(m, 7),
    "diagonal": lambda np, m: np.diagonal(m, 1),
    "trace": lambda np, m: np.trace(m),
    "tril": lambda np, m: np.tril(m, -1),
    "triu of a vector": lambda np, m: np.triu(m[0]),
    "diff": lambda np, m: np.diff(m, 2),
    "diff with ends": lambda np, m: np.diff(m, prepend=m[:, :1], append=m[:, 1:]),
    "cumprod": lambda np, m: np.cumprod(m, 0),
    "roll": lambda np, m: np.roll(m, (1, -2), (0, 1)),
    "flip": lambda np, m: np.flip(m, -1),
    "tile": lambda np, m: np.tile(m, (2, 1, 2)),
    "repeat": lambda np, m: np.repeat(m, [2, 0, 1], 1),
    "repeat by one": lambda np, m: np.repeat(m, [2], 1),
    "repeat by a boolean": lambda np, m: np.repeat(m, True, 1),
    "squeeze": lambda np, m: np.squeeze(m[:, :1]),
    "take": lambda np, m: np.take(m, [[0, -1]], 1),
    "sort": lambda np, m: np.sort(m, 0),
    "median": lambda np, m: np.median(m, 1),
    "median of an even number": lambda np, m: np.median(m, 0, keepdims=True),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8", "uint8", "int64", "bool"])
@pytest.mark.parametrize("name", CALLS)
def test_results_and_their_dtypes_are_those_of_numpy(name: str, dtype: str) -> None:
    m = np.array([[3, 0, 1], [2, 7, 1]]).astype(dtype)
    expected, got, tracked = CALLS[name](np, m), CALLS[name](tgl, m), CALLS[name](np, tgl.tensor(m))
    for result in (got, tracked.numpy()):
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("repeat", "take")])
def test_empty_arrays(name: str) -> None:
    for m in (np.zeros((3, 0), "float32"), np.zeros((0, 3), "float32")):
        try:
            expected = CALLS[name](np, m)
        except (ValueError, IndexError):
            continue  # not a call for empty arrays
        got = CALLS[name](tgl, m)
        assert got.shape == expected.shape
        np.testing.assert_array_equal(got, expected)


x, v = np.ones((2, 3)), np.ones(3)
REFUSED: list[tuple[Callable[[], Any], type[LabError], str]] = [
    (lambda: tgl.dot(x, x), ShapeError, r"dot: expected equal inner lengths, got shapes \(2, 3\) and \(2, 3\)"),
    (lambda: tgl.inner(x, np.ones(2)), ShapeError, r"inner: expected last axes of equal lengths"),
    (lambda: tgl.vstack([]), ShapeError, "vstack: expected at least one part"),
    (lambda: tgl.vstack([x, np.ones(2)]), ShapeError, r"vstack: expected parts that differ only along axis 0"),
    (lambda: tgl.hstack([x, v]), ShapeError, "hstack: expected parts that differ only along axis 1"),
    (lambda: tgl.diag(np.ones((2, 2, 2))), ShapeError, r"diag: expected a vector or a matrix, got shape \(2, 2, 2\)"),
    (lambda: tgl.diag(1.0), ShapeError, r"diag: expected a vector or a matrix"),
    (lambda: tgl.diagonal(v), ShapeError, r"diagonal: expected at least two axes, got shape \(3,\)"),
    (lambda: tgl.diagonal(x, 0, 1, -1), OptionError, "diagonal: expected two different axes, got 1 and -1"),
    (lambda: tgl.trace(x, axis1=2), OptionError, "trace: expected axes from -2 to 1, got 2"),
    (lambda: tgl.tril(1.0), ShapeError, "tril: expected matrices or a vector"),
    (lambda: tgl.diff(1.0), OptionError, "diff: expected no axis of a 0-dimensional array"),
    (lambda: tgl.diff(v, -1), OptionError, "diff: expected n of at least 0, got -1"),
    (lambda: tgl.cumprod(x, 2), OptionError, "cumprod: expected axes from -2 to 1, got 2"),
    (lambda: tgl.median(x, 2), OptionError, "median: expected axes from -2 to 1, got 2"),
    (lambda: tgl.repeat(v, [1, 2]), ShapeError, r"repeat: expected 3 numbers for axis 0 of shape \(3,\), got \[1, 2\]"),
    (lambda: tgl.repeat(v, -1), OptionError, "repeat: expected integers of at least 0, got -1"),
    (lambda: tgl.repeat(v, 1.5), OptionError, "repeat: expected integers of at least 0, got 1.5"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("call", range(len(REFUSED)))
def test_wrong_arguments_are_refused(call: int) -> None:
    function, error, message = REFUSED[call]
    with pytest.raises(error, match=message):
        function()


def test_methods_of_arrays_are_methods_of_tensors() -> None:
    a = np.arange(12.0).reshape(3, 4)
    t = tgl.tensor(a, requires_grad=True)
    for name, given in [
        ("ravel", ()), ("dot", (np.ones(4),)), ("trace", (1,)), ("diagonal", (-1,)), ("cumprod", (1,)),
        ("repeat", (2, 0)),
    ]:  # fmt: skip
        got = getattr(t, name)(*given)
        assert got.requires_grad
        np.testing.assert_array_equal(got.numpy(), getattr(a, name)(*given))
    np.testing.assert_array_equal(t.mT.numpy(), a.mT)


@pytest.mark.parametrize("join", [tgl.vstack, tgl.hstack, tgl.concatenate, tgl.stack])
def test_parts_may_come_from_a_generator(join: Callable[[Any], Any]) -> None:
    parts = [np.ones((1, 2)), np.zeros((1, 2))]
    np.testing.assert_array_equal(join(part for part in parts), join(parts))
