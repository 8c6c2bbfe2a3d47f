"""Integers, booleans and float16: each function gives NumPy's result, the right number, or a clear error."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.ops.table import TABLE, Trial
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.errors import DTypeError, GradientError, LabError, OptionError

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
PROVIDERS = {"reference": frozenset(), "numpy": frozenset({"numpy"}), "numba": frozenset({"numpy", "numba"})}
EACH = settings(max_examples=settings().max_examples // 10, suppress_health_check=list(HealthCheck))
DIGITS = {"float16": 2e-3, "float32": 2e-5}  # relative errors of numbers that were rounded a few times


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "numba":
        pytest.importorskip("numba")
    with using(providers=PROVIDERS[request.param]):
        yield request.param


def outputs(y: Any) -> list[np.ndarray]:
    return [np.asarray(each) for each in (y if isinstance(y, (list, tuple)) else [y])]


def agree(got: Any, wanted: Any) -> bool:
    """Return whether results agree up to the precision of the dtype of `got`."""
    for g, w in zip(outputs(got), outputs(wanted), strict=True):
        digits = DIGITS.get(g.dtype.name, 1e-9)
        if not np.allclose(np.asarray(g, float), np.asarray(w, float), rtol=digits, atol=digits, equal_nan=True):
            return False
    return True


def same(got: Any, wanted: Any) -> bool:
    pairs = zip(outputs(got), outputs(wanted), strict=True)
    return all(g.dtype == w.dtype and np.allclose(g, w, equal_nan=True) for g, w in pairs)


@pytest.mark.parametrize("name", sorted(TABLE))
@EACH
@given(data=st.data())
def test_integers_are_right_or_refused(name: str, data: st.DataObject) -> None:
    """For functions with NumPy's names, NumPy's own result is right too, including its overflow."""
    trial = data.draw(TABLE[name].trials)
    scaled = [np.rint(a * 40) for a in trial.arrays]
    for dtype in INTEGERS:
        integers = [(abs(a) if dtype[0] in "ub" else a).astype(dtype) for a in scaled]
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            assert right(name, trial, integers), dtype


def right(name: str, trial: Trial, integers: list[np.ndarray]) -> bool:
    """Return whether the result is that of NumPy, or that of the same numbers in float64, or an error of ours."""
    try:
        got = trial.f(*integers)
    except LabError:
        return True
    if hasattr(np, name):
        try:
            if same(got, trial.expected(*integers)):
                return True
        except TypeError:  # NumPy does not accept these integers
            pass
    return agree(got, trial.f(*(a.astype("float64") for a in integers)))


# ------------------------------------------------------------------------------------------------------------- float16


@pytest.mark.parametrize(
    ("f", "shape", "value"),
    [
        (tgl.mean, 1000, 100.0),
        (tgl.mean, 70_000, 1.0),
        (tgl.norm, 100, 300.0),
        (tgl.logsumexp, 70_000, 0.0),
        (lambda x: tgl.sum(x, 0), (4096, 2), 1.0),
        (lambda x: tgl.softmax(x)[:3], 5000, 1.0),
        (lambda x: tgl.log_softmax(x)[:3], 70_000, 0.0),
    ],
)
def test_float16_is_summed_in_float32(provider: str, f: Callable[..., Any], shape: Any, value: float) -> None:
    x = np.full(shape, value)
    got = f(x.astype("float16"))
    assert got.dtype == "float16"
    np.testing.assert_allclose(got.astype("float64"), f(x), rtol=1e-3)


def test_gradients_of_float16_are_rounded_gradients_of_float32(provider: str) -> None:
    x = (np.random.default_rng(0).standard_normal((5, 8)) * 300).astype("float16")
    functions: list[Callable[..., Any]] = [
        lambda x: tgl.sum(tgl.mean(x, 0)),
        tgl.norm,
        lambda x: tgl.sum(tgl.std(x, 1)),
        lambda x: tgl.sum(tgl.standardize(x, axes=(1,), eps=1e-5)[0] * np.arange(8, dtype=x.dtype)),
        lambda x: tgl.sum(tgl.log_softmax(x * x.dtype.type(0.01))[:, 1]),
    ]
    for f in functions:
        got, wide = tgl.grad(f)(x), tgl.grad(f)(x.astype("float32"))
        assert got.dtype == "float16"
        np.testing.assert_allclose(got, wide, rtol=4e-3, atol=4e-3 * np.abs(wide).max())


def test_float16_with_float32_is_refused() -> None:
    x, channel = np.ones((4, 2), "float16"), np.ones(2, "float32")
    with pytest.raises(DTypeError, match="batch_norm: expected one float width"):
        tgl.batch_norm(x, channel, channel, eps=1e-5)


# --------------------------------------------------------------------------------------------------- lists and numbers


LISTS: list[tuple[Callable[..., Any], Callable[..., Any], list[Any]]] = [
    *((getattr(tgl, n), getattr(np, n), [[[3.0, 1.0], [2.0, 4.0]]]) for n in ("sum", "mean", "max", "sort", "cumsum")),
    *((getattr(tgl, n), getattr(np, n), [[3.0, 1.0]]) for n in ("var", "std", "prod", "argmax", "flip", "squeeze")),
    (tgl.norm, np.linalg.norm, [[3.0, 4.0]]),
    (tgl.matmul, np.matmul, [[[1.0, 2.0]], [[3.0], [4.0]]]),
    (tgl.tensordot, np.tensordot, [[[1.0, 2.0]], [[3.0, 4.0]]]),
    (lambda *a: tgl.einsum("i,i", *a), lambda *a: np.einsum("i,i", *a), [[1.0, 2.0], [3.0, 4.0]]),
    (tgl.concatenate, np.concatenate, [[[1.0], [2.0, 3.0]]]),
    (tgl.stack, np.stack, [[1.0, 2.0]]),
    (tgl.sin, np.sin, [[1.0, 2.0]]),
    (tgl.add, np.add, [[1.0, 2.0], 3.0]),
    (lambda x: tgl.clip(x, 0.0, 1.0), lambda x: np.clip(x, 0.0, 1.0), [[-1.0, 2.0]]),
    (lambda x: tgl.take_along_axis(x, [1], 0), lambda x: np.array(x)[1:], [[5.0, 6.0]]),
    (tgl.sum, np.sum, [3.0]),
]


@pytest.mark.parametrize(("ours", "numpys", "given_lists"), LISTS)
def test_lists_and_numbers_are_accepted_as_arrays(ours: Any, numpys: Any, given_lists: list[Any]) -> None:
    got, wanted = ours(*given_lists), numpys(*given_lists)
    np.testing.assert_allclose(got, wanted)
    assert got.dtype == wanted.dtype


def test_a_list_of_floats_takes_the_width_of_the_other_array() -> None:
    x, row = tgl.tensor(np.eye(2, dtype="float32"), requires_grad=True), [1.0, 2.0]
    for y in (tgl.matmul(x, row), tgl.add(row, x), tgl.concatenate([x, [row]]), x * row, x * [1, 2]):
        assert (y.dtype, y.requires_grad) == ("float32", True)


@pytest.mark.parametrize("integers", [np.array([1, 2]), np.array([1, 2], "uint8"), [1, 2]])
def test_operators_accept_integers_on_either_side(integers: Any) -> None:
    x = tgl.tensor(np.ones(2, "float32"), requires_grad=True)
    for y in (x * integers, integers * x, x @ integers, integers @ x, integers - x, integers**x):
        assert (y.dtype, y.requires_grad) == ("float32", True)


def test_bytes_in_another_order_are_the_same_numbers() -> None:
    for dtype in (">f4", ">f8", "<f4"):
        x = np.array([1.0, 2.0], dtype)
        gradient = tgl.grad(lambda x: tgl.sum(tgl.sin(x) * np.array([1.0, 2.0], x.dtype.newbyteorder())))(x)
        np.testing.assert_allclose(gradient, np.cos([1.0, 2.0]) * [1.0, 2.0], rtol=1e-6)
        assert gradient.dtype.isnative
        assert tgl.tensor(x).dtype.isnative


# ----------------------------------------------------------------------------------------------------- what is refused


REFUSED = r"expected (numbers|arrays of numbers|an array without a mask|a rectangular)|is not converted to"


@pytest.mark.parametrize(
    "foreign",
    [
        *(Fraction(1, 2), "text", np.array([1, "a"], object), [[1.0], [1.0, 2.0]]),
        np.ma.array([1.0, 2.0], mask=[False, True]),
    ],
)
def test_arrays_that_hold_no_numbers_are_refused_everywhere(foreign: Any) -> None:
    x = tgl.tensor(np.ones(2), requires_grad=True)
    ways: list[Callable[[], Any]] = [
        lambda: tgl.tensor(foreign), lambda: x * foreign, lambda: foreign * x, lambda: tgl.add(x, foreign),
        lambda: tgl.sum(foreign), lambda: tgl.softmax(foreign), lambda: tgl.clip(x, foreign),
        lambda: tgl.matmul(x, foreign), lambda: tgl.concatenate([x, foreign]), lambda: tgl.mean(foreign),
        lambda: x.backward(foreign),
        lambda: tgl.Parameter(foreign), lambda: tgl.Buffer(foreign),
    ]  # fmt: skip
    for way in ways:
        with pytest.raises(LabError, match=REFUSED):
            way()


@pytest.mark.parametrize("dtype", ["U5", object, "datetime64[s]", "V2"])
def test_a_dtype_of_no_numbers_is_refused(dtype: Any) -> None:
    x = tgl.tensor(np.ones(2), requires_grad=True)
    raw = np.ones(2)
    for way in (lambda: x.astype(dtype), lambda: tgl.astype(raw, dtype=dtype), lambda: tgl.tensor([0], dtype=dtype)):
        with pytest.raises(DTypeError, match=r"expected (a numeric dtype|numbers|arrays of numbers)"):
            way()


@pytest.mark.parametrize("name", ["bfloat16", "float8_e5m2", "float8_e4m3fn", "int4"])
def test_dtypes_of_other_packages_are_refused(name: str) -> None:
    """Some of these dtypes have the kind of NumPy's floats."""
    dtype = np.dtype(getattr(pytest.importorskip("ml_dtypes"), name))
    x, foreign = tgl.tensor(np.ones(2, "float32"), requires_grad=True), np.ones(2, dtype)
    ways: list[Callable[[], Any]] = [
        lambda: tgl.tensor(foreign), lambda: x.astype(dtype), lambda: x * foreign, lambda: foreign * x,
        lambda: tgl.grad(tgl.sum)(foreign), lambda: tgl.mean(foreign), lambda: tgl.softmax(foreign),
        lambda: tgl.Parameter(foreign), lambda: np.where(x > 0, x, foreign), lambda: tgl.concatenate([x, foreign]),
    ]  # fmt: skip
    for way in ways:
        with pytest.raises(DTypeError, match=f"expected .*numbers, got .*{name}"):
            way()


@pytest.mark.parametrize("f", [tgl.norm, tgl.var, tgl.std])
def test_complex_numbers_are_refused_where_numpy_defines_another_function(f: Callable[..., Any]) -> None:
    with pytest.raises(DTypeError, match=f"{f.__name__}: expected real numbers, got complex128"):
        f(np.array([1 + 2j, 3 - 1j]))


def test_complex_results_and_complex_variables() -> None:
    x, z = np.ones(2), np.array([3 + 4j])
    assert tgl.abs(z) == 5.0
    with pytest.raises(DTypeError, match=r"absolute: .* is not analytic and has no complex derivative"):
        tgl.grad(lambda z: tgl.sum(tgl.abs(z)))(z)
    with pytest.raises(DTypeError, match="a complex number among the arguments"):
        tgl.grad(lambda x: tgl.sum(x * 1j))(x)
    with pytest.raises(GradientError, match="a complex result has no gradient with respect to a real variable"):
        tgl.grad(lambda x: tgl.sum(x * np.array([1j, 1.0])))(x)
    with pytest.raises(GradientError, match="differentiate the real part"):
        tgl.grad(lambda x: tgl.sum(tgl.astype(x, dtype="complex128")))(x)


# ------------------------------------------------------------------------------------------------ empty, 0-dimensional


def test_sums_of_empty_arrays_keep_their_dtype() -> None:
    x = np.zeros((2, 0), "float32")
    with np.errstate(divide="ignore"):
        assert tgl.logsumexp(x, 1).dtype == "float32"
        assert tgl.grad(lambda x: tgl.sum(tgl.logsumexp(x, 1)))(x).shape == (2, 0)
    for dtype in INTEGERS:
        empty = np.zeros(0, dtype)
        assert tgl.prod(empty).dtype == np.prod(empty).dtype
        assert tgl.sum(empty).dtype == np.sum(empty).dtype


@pytest.mark.parametrize("f", [tgl.softmax, tgl.log_softmax])
@pytest.mark.parametrize("shape", [(), (2, 3), (200, 300)])
def test_an_axis_out_of_range_is_refused(provider: str, f: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match=rf"{f.__name__}: expected .*got {len(shape) + 1}"):
        f(np.ones(shape, "float32"), axis=len(shape) + 1)
    if not shape:
        with pytest.raises(OptionError, match="expected no axis of a 0-dimensional array, got 0"):
            tgl.sum(np.array(1.0), 0)


# ---------------------------------------------------------------------------------------------------------------- clip


def test_clip_by_tensors_and_arrays() -> None:
    x, low, high = np.array([1.0, 2.0, 3.0, 5.0]), np.array([2.0, 2.0, 2.0, 7.0]), np.array([9.0, 9.0, 2.5, 6.0])
    got, pull = tgl.vjp(tgl.clip, x, low, high)
    np.testing.assert_array_equal(got, np.clip(x, low, high))
    by_x, by_low, by_high = pull(np.ones(4))
    assert (by_x.tolist(), by_low.tolist(), by_high.tolist()) == ([0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1])
    bound = tgl.tensor(2.0, requires_grad=True)
    for y in (np.clip(x, bound, None), np.clip(x, None, bound), tgl.tensor(x).clip(bound), tgl.clip(x, high=bound)):
        y.sum().backward()
    assert bound.grad is not None
    assert bound.grad.item() == 1 + 2 + 1 + 2
    assert [tgl.clip(tgl.tensor(t), low=bound).item() for t in (1.0, 3.0)] == [2.0, 3.0]
