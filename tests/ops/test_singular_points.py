"""Conventions at kinks, ties and poles, as in the docstrings, and precision where simple formulas lose digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl

INF, NAN = math.inf, math.nan


def slope(f: Callable[[Any], Any], x: Any) -> list[Any]:
    """Return the gradient of sum(f)."""
    with np.errstate(all="ignore"):
        return np.asarray(tgl.grad(lambda x: tgl.sum(f(x)))(np.asarray(x, dtype=float))).tolist()


def same(a: Any, b: Any) -> bool:
    """Return whether arrays are equal; NaN equals NaN."""
    return np.allclose(a, b, rtol=1e-14, atol=0.0, equal_nan=True)


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (tgl.log, [0.0, 1.0], [INF, 1.0]),
        (tgl.sqrt, [0.0, 4.0], [INF, 0.25]),
        (tgl.arcsin, [1.0, -1.0], [INF, INF]),
        (tgl.arccos, [1.0, -1.0], [-INF, -INF]),
        (tgl.arctanh, [1.0], [INF]),
        (tgl.arccosh, [1.0], [INF]),
        (tgl.absolute, [0.0, -0.0, -2.0], [0.0, 0.0, -1.0]),
        (tgl.sign, [0.0, 2.0], [0.0, 0.0]),
        (tgl.floor, [1.0, 1.5], [0.0, 0.0]),
        (tgl.relu, [0.0, -1.0, 1.0], [0.0, 0.0, 1.0]),
        (tgl.relu, [NAN], [0.0]),
        (tgl.norm, [0.0, 0.0], [0.0, 0.0]),
        (tgl.norm, [3.0, 4.0], [0.6, 0.8]),
        (tgl.std, [2.0, 2.0], [0.0, 0.0]),
        (tgl.std, [1.0, 3.0], [-0.5, 0.5]),
        (tgl.max, [1.0, 3.0, 3.0], [0.0, 0.5, 0.5]),
        (tgl.min, [1.0, 3.0, 1.0, 1.0], [1 / 3, 0.0, 1 / 3, 1 / 3]),
        (tgl.max, [1.0, NAN, 3.0], [0.0, 1.0, 0.0]),
        (tgl.min, [NAN, NAN, 3.0], [0.5, 0.5, 0.0]),
        (lambda x: tgl.clip(x, low=-1.0, high=1.0), [-1.0, 1.0, 1.1, 0.0], [1.0, 1.0, 0.0, 1.0]),
        (tgl.prod, [0.0, 3.0, 5.0], [15.0, 0.0, 0.0]),
        (tgl.prod, [0.0, 0.0, 5.0], [0.0, 0.0, 0.0]),
        (lambda x: tgl.hypot(x, np.array([0.0, 4.0])), [0.0, 3.0], [0.0, 0.6]),
        (lambda x: tgl.logaddexp(x, -INF), [0.0, -INF], [1.0, NAN]),
        (tgl.cumprod, [0.0, 3.0, 5.0], [19.0, 0.0, 0.0]),
        (tgl.cumprod, [2.0, 0.0, 0.0], [1.0, 2.0, 0.0]),
        (tgl.median, [5.0, 1.0, 2.0], [0.0, 0.0, 1.0]),
        (tgl.median, [5.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.5, 0.5]),
        (tgl.median, [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]),
        (tgl.median, [1.0, NAN, 3.0], [0.0, 1.0, 0.0]),
        (lambda x: x**0, [0.0, 2.0], [0.0, 0.0]),
        (lambda x: x**1, [0.0, 2.0], [1.0, 1.0]),
        (lambda x: x**2, [0.0], [0.0]),
        (lambda x: x**0.5, [0.0], [INF]),
        (lambda x: x**-1, [2.0, 0.0], [-0.25, -INF]),
        (lambda x: tgl.power(x, np.array([0.0, 1.0, 2.0])), [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
        (lambda x: tgl.power(x, np.array([0.0, 1.0, 3.0])), [-2.0, -2.0, -2.0], [0.0, 1.0, 12.0]),
        (lambda x: 0.0**x, [0.0, 1.0], [0.0, 0.0]),
        (lambda x: tgl.power(np.array([0.0, 2.0]), x), [2.0, 0.0], [0.0, math.log(2.0)]),
        (lambda x: tgl.remainder(x, 2.0), [4.0, -1.0], [1.0, 1.0]),
        (lambda x: tgl.where(np.array([True, False]), x, 0.0), [INF, INF], [1.0, 0.0]),
        (lambda x: tgl.logsumexp(x), [INF, 0.0], [NAN, 0.0]),
        (lambda x: tgl.logsumexp(x), [-INF, 0.0], [0.0, 1.0]),
        (lambda x: tgl.softmax(x)[0], [1000.0, 0.0], [0.0, 0.0]),
    ],
)
def test_derivatives_at_singular_points(f: Callable[[Any], Any], x: list[float], expected: list[float]) -> None:
    assert same(slope(f, x), expected)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize(("x", "y"), [(1.0, 1.0), (NAN, 1.0), (0.0, -0.0)])
def test_a_tie_of_two_is_halved(name: str, x: float, y: float) -> None:
    """There is no warning, even for NaN."""
    got = tgl.grad(lambda x, y: getattr(tgl, name)(x, y), (0, 1))(np.array(x), np.array(y))
    assert tuple(map(float, got)) == (0.5, 0.5)


def test_a_tie_with_a_number_is_halved() -> None:
    assert slope(lambda x: tgl.maximum(x, 0.0), [-1.0, 0.0, 1.0]) == [0.0, 0.5, 1.0]
    assert slope(lambda x: tgl.minimum(0.0, x), [-1.0, 0.0, 1.0]) == [1.0, 0.5, 0.0]


def test_equal_elements_are_sorted_in_their_order() -> None:
    x = np.array([2.0, 1.0, 2.0, 1.0])
    assert tgl.argsort(x).tolist() == [1, 3, 0, 2]
    assert slope(lambda x: tgl.sort(x) * np.array([1.0, 2.0, 3.0, 4.0]), x) == [3.0, 1.0, 4.0, 2.0]


def test_the_first_of_equal_maxima_of_a_window_gets_the_gradient_and_padding_never() -> None:
    x = np.array([[-1.0, -1.0], [-3.0, -1.0]]).reshape(1, 2, 2, 1)
    options: Any = {"kernel_size": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    out, index = tgl.max_pool2d(x, **options)
    assert (out.item(), index.item()) == (-1.0, 0)
    assert slope(lambda x: tgl.max_pool2d(x, **options)[0], x) == [[[[1.0], [0.0]], [[0.0], [0.0]]]]
    padded = tgl.max_pool2d(x, kernel_size=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)))[0]
    assert np.asarray(padded).max() == -1.0
    x = np.array([[1.0, NAN], [NAN, 5.0]]).reshape(1, 2, 2, 1)
    out, index = tgl.max_pool2d(x, **options)
    assert math.isnan(out.item())
    assert index.item() == 1


def test_mixed_derivatives_of_a_power_at_singular_points() -> None:
    """d/dx d/dy x^y = x^(y-1) (1 + y log x), also at y = 0, where the first derivative with respect to x is 0."""

    def by_x(x: Any, y: Any) -> Any:
        return tgl.grad(lambda x: tgl.power(x, y))(x)

    for x, y in ((2.0, 0.0), (0.5, 1.0), (3.0, -1.0)):
        expected = x ** (y - 1) * (1 + y * math.log(x))
        assert float(tgl.grad(by_x, 1)(np.array(x), np.array(y))) == pytest.approx(expected)
    for y, expected in ((0.0, 0.0), (1.0, 0.0), (2.0, 2.0), (3.0, 0.0)):
        assert float(tgl.grad(by_x)(np.array(0.0), np.array(y))) == expected
    for whole, expected in ((0, 0.0), (1, 0.0), (2, 2.0), (3, 0.0)):
        assert float(tgl.grad(tgl.grad(lambda x, n=whole: x**n))(np.array(0.0))) == expected


def test_the_norm_at_zero_has_no_infinite_second_derivative() -> None:
    assert np.asarray(tgl.hessian(tgl.norm)(np.zeros(2))).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    rows = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert same(slope(lambda x: tgl.norm(x, -1), rows), [[0.0, 0.0], [0.6, 0.8]])


def test_the_second_derivative_of_the_standard_deviation() -> None:
    x, deviation = np.array([1.0, 3.0, 4.0]), np.std([1.0, 3.0, 4.0])
    centered = x - x.mean()
    expected = (np.eye(3) - 1 / 3) / (3 * deviation) - np.outer(centered, centered) / (9 * deviation**3)
    np.testing.assert_allclose(tgl.hessian(tgl.std)(x), expected, rtol=1e-12, atol=1e-15)
    assert same(tgl.hessian(tgl.std)(np.full(2, 2.0)), np.zeros((2, 2)))


def test_nan_reaches_results_and_gradients() -> None:
    x = np.array([NAN, 1.0])
    for f in (tgl.relu, tgl.sigmoid, tgl.absolute, lambda x: tgl.clip(x, low=0.0), lambda x: tgl.maximum(x, 0.0)):
        assert math.isnan(f(x)[0])
    for f in (tgl.max, tgl.min, tgl.logsumexp, tgl.norm, tgl.prod):
        assert math.isnan(f(x))
    assert np.isnan(tgl.softmax(x)).all()


# --------------------------------------------------------------------------------------------------------------- digits


def test_nothing_overflows_and_small_results_keep_their_digits() -> None:
    far = np.array([-800.0, -40.0, 0.0, 40.0, 800.0])
    np.testing.assert_allclose(tgl.sigmoid(far), [0.0, math.exp(-40), 0.5, 1.0, 1.0], rtol=1e-15)
    np.testing.assert_allclose(tgl.sigmoid(far.astype(np.float32))[1], math.exp(-40), rtol=1e-6)
    np.testing.assert_allclose(slope(tgl.sigmoid, far)[:2], [0.0, math.exp(-40)], rtol=1e-15)
    np.testing.assert_allclose(slope(tgl.expm1, [-40.0]), [math.exp(-40)], rtol=1e-15)
    assert tgl.logsumexp(np.array([1000.0, 1000.0])) == 1000.0 + math.log(2.0)
    assert tgl.logsumexp(np.array([-1000.0, -1000.0])) == -1000.0 + math.log(2.0)
    np.testing.assert_allclose(tgl.log_softmax(np.array([0.0, 1000.0])), [-1000.0, 0.0])
    assert tgl.softmax(np.array([1000.0, 1000.0])).tolist() == [0.5, 0.5]


def test_logarithms_of_powers_are_exact() -> None:
    assert tgl.log2(2.0 ** np.arange(-5, 6)).tolist() == list(range(-5, 6))
    assert tgl.log10(np.array([1e3, 1e-2, 1.0])).tolist() == [3.0, -2.0, 0.0]
    assert tgl.mean(np.ones(49)) == 1.0


def test_a_quotient_of_small_numbers_has_its_derivative() -> None:
    """y * y would underflow in float32."""
    x, y = np.array([2e-30], np.float32), np.array([1e-30], np.float32)
    g = tgl.grad(lambda y: tgl.sum(tgl.divide(x, y)) * np.float32(1e-30))(y)
    np.testing.assert_allclose(g, [-2.0], rtol=1e-5)


def test_the_inverse_functions_do_not_cancel_near_their_ends() -> None:
    gap = 2.0**-40
    np.testing.assert_allclose(slope(tgl.arcsin, [1 - gap]), [1 / math.sqrt(gap * (2 - gap))], rtol=1e-14)
    np.testing.assert_allclose(slope(tgl.arctanh, [1 - gap]), [1 / (gap * (2 - gap))], rtol=1e-14)
    np.testing.assert_allclose(slope(tgl.arccosh, [1 + gap]), [1 / math.sqrt(gap * (2 + gap))], rtol=1e-14)


# --------------------------------------------------------------------------------------------------------- empty arrays


def test_reductions_of_empty_arrays() -> None:
    empty = np.zeros((2, 0))
    assert tgl.sum(empty) == 0.0
    assert tgl.prod(empty, 1).tolist() == [1.0, 1.0]
    assert np.isnan(tgl.mean(empty, 1)).all()
    assert np.isnan(tgl.var(np.ones((2, 1)), 1, ddof=1)).all()
    with np.errstate(divide="ignore"):
        assert tgl.logsumexp(empty, 1).tolist() == [-INF, -INF]
    assert tgl.softmax(empty).shape == (2, 0)
    assert tgl.norm(empty, 1).tolist() == [0.0, 0.0]
    for name in ("max", "min", "argmax", "argmin"):
        with pytest.raises(tgl.errors.ShapeError, match=rf"{name}: expected at least one element along axes \(1,\)"):
            getattr(tgl, name)(empty, 1)
        assert getattr(tgl, name)(np.zeros((0, 2)), 1).shape == (0,)
