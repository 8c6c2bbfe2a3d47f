"""Derivatives of elementary functions up to the fourth order, and nested transforms, compared with HIPS autograd."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a warning of HIPS autograd itself
    autograd = pytest.importorskip("autograd")
    anp = pytest.importorskip("autograd.numpy")
    special = pytest.importorskip("autograd.scipy.special")

pytestmark = pytest.mark.peers

POINTS = np.array([0.3, 0.5, 0.8])
BEYOND_ONE = {"arccosh"}
ELEMENTARY = [
    "exp",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sqrt",
    "square",
    "sin",
    "cos",
    "tan",
    "arcsin",
    "arccos",
]
ELEMENTARY += ["arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "negative", "abs"]


def summed(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the sum of a function's results."""
    return lambda x: tgl.sum(f(x))


@pytest.mark.filterwarnings("ignore:Output seems independent of input")  # HIPS autograd's warning about a constant
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ELEMENTARY)
def test_derivatives_of_high_order(name: str, order: int) -> None:
    ours, theirs = (lambda x: tgl.sum(getattr(tgl, name)(x))), getattr(anp, name)
    for _ in range(order):
        ours, theirs = summed(tgl.grad(ours)), autograd.elementwise_grad(theirs)
    x = POINTS + (name in BEYOND_ONE)
    np.testing.assert_allclose(ours(x), theirs(x).sum(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_error_functions(name: str) -> None:
    ours = tgl.grad(lambda x: tgl.sum(tgl.grad(lambda x: tgl.sum(getattr(tgl, name)(x)))(x)))
    theirs = autograd.elementwise_grad(autograd.elementwise_grad(getattr(special, name)))
    np.testing.assert_allclose(ours(POINTS), theirs(POINTS), rtol=1e-12)


def network(xp: Any, w: Any, v: Any, x: Any) -> Any:
    """A small network in either library."""
    hidden = xp.tanh(xp.matmul(x, w))
    return xp.sum(xp.exp(xp.matmul(hidden, v)) / (1.0 + x[:, 0] ** 2))


def test_hessian_of_a_network() -> None:
    rng = np.random.default_rng(0)
    w, v, x = rng.standard_normal((3, 4)), rng.standard_normal(4), rng.standard_normal((5, 3))
    for argument in (0, 1, 2):
        ours = tgl.hessian(lambda *a: network(tgl, *a), argument)(w, v, x)
        theirs = autograd.hessian(lambda *a: network(anp, *a), argument)(w, v, x)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_a_gradient_inside_a_gradient() -> None:
    def inner(grad: Any, xp: Any) -> Any:
        return lambda x: xp.sum(x * grad(lambda y: xp.sum(xp.sin(x * y)))(x * x))

    ours, theirs = tgl.grad(inner(tgl.grad, tgl)), autograd.grad(inner(autograd.grad, anp))
    np.testing.assert_allclose(ours(POINTS), theirs(POINTS), rtol=1e-12)


def test_jacobian() -> None:
    def f(xp: Any, x: Any) -> Any:
        return xp.stack([xp.prod(x), xp.sum(x * x), x[0] / x[1]])

    np.testing.assert_allclose(
        tgl.jacobian(lambda x: f(tgl, x))(POINTS), autograd.jacobian(lambda x: f(anp, x))(POINTS), rtol=1e-12
    )
