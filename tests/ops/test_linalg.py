"""Linear algebra: dtypes, errors, and derivatives where a matrix is singular or values are equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab import linalg
from tinygrad_lab.errors import GradientError, LabError, MatrixError, OptionError, ShapeError

REGULAR = np.array([[2.0, 1.0], [1.0, 3.0]])
FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "inv": lambda np, x: np.linalg.inv(x),
    "solve": lambda np, x: np.linalg.solve(x, x[0]),
    "det": lambda np, x: np.linalg.det(x),
    "slogdet": lambda np, x: np.linalg.slogdet(x).logabsdet,
    "cholesky": lambda np, x: np.linalg.cholesky(x),
    "eigh": lambda np, x: np.linalg.eigh(x).eigenvectors,
    "eigvalsh": lambda np, x: np.linalg.eigvalsh(x, "U"),
    "svd": lambda np, x: np.linalg.svd(x).U,
    "svdvals": lambda np, x: np.linalg.svdvals(x),
    "qr": lambda np, x: np.linalg.qr(x).R,
    "norm": lambda np, x: np.linalg.norm(x),
    "norm of vectors": lambda np, x: np.linalg.norm(x, 1, 0),
    "norm of order 0": lambda np, x: np.linalg.norm(x, 0, 0),
    "matrix_power": lambda np, x: np.linalg.matrix_power(x, 3),
    "matrix_power 0": lambda np, x: np.linalg.matrix_power(x, 0),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint8"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_and_their_dtypes_are_those_of_numpy(name: str, dtype: str) -> None:
    x = REGULAR.astype(dtype)
    got, expected = FUNCTIONS[name](tgl, x), FUNCTIONS[name](np, x)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if not name.startswith("matrix_power")])
def test_half_precision_is_computed_in_single_precision(name: str) -> None:
    """NumPy refuses float16, except in products."""
    got = FUNCTIONS[name](tgl, REGULAR.astype("float16"))
    assert got.dtype == "float16"
    np.testing.assert_allclose(got, FUNCTIONS[name](np, REGULAR.astype("float32")), rtol=1e-3)


def test_the_parts_of_results_have_names() -> None:
    t = tgl.tensor(REGULAR, requires_grad=True)
    assert np.linalg.slogdet(t)._fields == ("sign", "logabsdet")
    assert np.linalg.eigh(t)._fields == ("eigenvalues", "eigenvectors")
    assert np.linalg.svd(t)._fields == ("U", "S", "Vh")
    assert np.linalg.qr(t)._fields == ("Q", "R")


def test_constants_may_have_complete_factors() -> None:
    x = np.arange(6.0).reshape(3, 2)
    for got, expected in zip(linalg.svd(x), np.linalg.svd(x), strict=True):
        np.testing.assert_allclose(got, expected)
    for got, expected in zip(linalg.qr(tgl.tensor(x), "complete"), np.linalg.qr(x, "complete"), strict=True):
        np.testing.assert_allclose(got.numpy(), expected)
    t = tgl.tensor(x, requires_grad=True)
    with pytest.raises(GradientError, match=r"svd: expected full_matrices=False .* shape \(3, 2\)"):
        linalg.svd(t)
    with pytest.raises(GradientError, match="qr: expected mode='reduced'"):
        linalg.qr(t, "complete")
    with tgl.no_grad():
        assert linalg.svd(t).U.shape == (3, 3)


REFUSED: list[tuple[Callable[[], Any], type[LabError], str]] = [
    (lambda: linalg.inv(np.ones((2, 3))), ShapeError, r"inv: expected square matrices .*, got shape \(2, 3\)"),
    (lambda: linalg.det(np.ones(3)), ShapeError, "det: expected square matrices"),
    (lambda: linalg.svd(np.ones(3)), ShapeError, r"svd: expected matrices \(..., m, n\), got shape \(3,\)"),
    (lambda: linalg.solve(REGULAR, np.ones(3)), ShapeError, r"solve: expected b with 2 rows, got .* and \(3,\)"),
    (lambda: linalg.solve(REGULAR, 1.0), ShapeError, "solve: expected b with 2 rows"),
    (lambda: linalg.inv(np.ones((2, 2))), MatrixError, r"inv_matrices: expected .* shapes \(2, 2\): Singular matrix"),
    (lambda: linalg.cholesky(-REGULAR), MatrixError, "not positive definite"),
    (lambda: linalg.eigh(REGULAR, UPLO="l"), OptionError, "eigh: expected UPLO 'L' or 'U', got 'l'"),  # type: ignore[arg-type]
    (lambda: linalg.qr(REGULAR, "raw"), OptionError, "qr: expected mode 'reduced', 'complete' or 'r', got 'raw'"),  # type: ignore[arg-type]
    (lambda: linalg.norm(REGULAR, 3), OptionError, "expected 'fro', .* as the ord of a matrix norm, got 3"),
    (lambda: linalg.norm(REGULAR, "fro", 0), OptionError, "expected a number as the ord of a vector norm, got 'fro'"),
    (lambda: linalg.norm(np.ones((2, 2, 2)), 1), OptionError, r"expected one axis for vectors or two .* \(0, 1, 2\)"),
    (lambda: linalg.eigh(REGULAR * 1j), LabError, "eigh: expected real numbers"),
    (lambda: linalg.matrix_power(REGULAR, 2.5), OptionError, "matrix_power: expected an integer n, got 2.5"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("call", range(len(REFUSED)))
def test_wrong_arguments_are_refused(call: int) -> None:
    function, error, message = REFUSED[call]
    with pytest.raises(error, match=message):
        function()


def test_the_errors_of_matrices_are_those_of_numpy_too() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.inv(tgl.tensor(np.zeros((2, 2)), requires_grad=True))


# ------------------------------------------------------------------------------------------------------ singular points


def test_the_determinant_of_a_singular_matrix_has_a_derivative() -> None:
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    cofactors = [[-3.0, 6.0, -3.0], [6.0, -12.0, 6.0], [-3.0, 6.0, -3.0]]
    np.testing.assert_allclose(tgl.grad(linalg.det)(x), cofactors, atol=1e-12)
    np.testing.assert_array_equal(tgl.grad(linalg.det)(np.zeros((3, 3))), np.zeros((3, 3)))
    sign, logarithm = linalg.slogdet(np.zeros((2, 2)))
    assert (float(sign), float(logarithm)) == (0.0, -np.inf)
    with pytest.raises(GradientError, match="Singular matrix"):
        tgl.grad(lambda x: linalg.slogdet(x).logabsdet)(np.zeros((2, 2)))


def test_a_matrix_that_is_not_finite_has_a_determinant_and_a_derivative_that_are_nan() -> None:
    """The other matrices of a stack keep theirs."""
    stack = np.stack([REGULAR, np.where(REGULAR == 3.0, np.nan, REGULAR)])
    with np.errstate(invalid="ignore"):
        gradient = tgl.grad(lambda x: tgl.sum(linalg.det(x)))(stack)
    np.testing.assert_allclose(gradient, [[[3.0, -1.0], [-1.0, 2.0]], np.full((2, 2), np.nan)])


def test_the_power_zero_is_a_constant_on_the_tape() -> None:
    gradient = tgl.grad(lambda x: tgl.sum(linalg.matrix_power(x, 0)))(REGULAR)
    np.testing.assert_array_equal(gradient, np.zeros((2, 2)))


def test_functions_of_equal_eigenvalues_have_derivatives_and_eigenvectors_have_none() -> None:
    eye = np.eye(3)
    cubes = tgl.grad(lambda x: tgl.sum(linalg.eigvalsh(x) ** 3))(eye)
    np.testing.assert_allclose(cubes, 3.0 * eye, atol=1e-12)

    def root(x: Any) -> Any:
        w, v = linalg.eigh(x)
        return tgl.sum(((v * tgl.sqrt(w)) @ v.mT) * np.arange(9.0).reshape(3, 3))

    with np.errstate(divide="ignore", invalid="ignore"):
        assert not np.isfinite(tgl.grad(lambda x: tgl.sum(linalg.eigh(x)[1] * np.arange(9.0).reshape(3, 3)))(eye)).all()
    different = np.diag([1.0, 4.0, 9.0])
    by_root = tgl.grad(root)(different)  # dX_ij / (sqrt(w_i) + sqrt(w_j)), all of it in the lower triangle
    sums = np.add.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    weights = np.arange(9.0).reshape(3, 3)
    np.testing.assert_allclose(by_root, np.tril(weights + weights.T - np.diag(weights.diagonal())) / sums, atol=1e-12)


def test_the_nuclear_norm_has_a_derivative_at_equal_singular_values() -> None:
    nuclear = tgl.grad(lambda x: linalg.norm(x, "nuc"))
    np.testing.assert_allclose(nuclear(2.0 * np.eye(3)), np.eye(3), atol=1e-12)
    tall = np.array([[3.0, 0.0], [0.0, 3.0], [0.0, 0.0]])
    np.testing.assert_allclose(nuclear(tall), tall / 3.0, atol=1e-12)
    assert np.isfinite(nuclear(np.zeros((3, 2)))).all()


@pytest.mark.parametrize("order", [None, 2, 3, 1, np.inf])
def test_the_derivative_of_a_norm_at_zero_is_finite(order: Any) -> None:
    gradient = tgl.grad(lambda x: linalg.norm(x, order))(np.zeros(3))
    np.testing.assert_array_equal(gradient, np.zeros(3))


@pytest.mark.parametrize("order", [0.5, -1, -2.5])
def test_an_element_that_is_zero_leaves_the_derivative_of_a_norm_finite(order: float) -> None:
    gradient = tgl.grad(lambda x: linalg.norm(x, order))(np.array([0.0, 1.0, 4.0]))
    np.testing.assert_allclose(gradient, [0.0, 3.0, 1.5] if order == 0.5 else np.zeros(3))
