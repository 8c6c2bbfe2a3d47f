"""Activations far from 0, at their kinks, for NaN, and compared with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import log_ndtr
from scipy.stats import norm

import tinygrad_lab as tgl
from tinygrad_lab_layers import (
    ELU,
    GELU,
    SELU,
    Hardtanh,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)

HUGE = 1e30  # its square overflows in float32

FUNCTIONS: dict[str, tuple[tgl.Layer, Callable[[Any, Any], Any]]] = {  # the layer, and PyTorch's function
    "leaky_relu": (LeakyReLU(slope=0.1), lambda f, x: f.leaky_relu(x, 0.1)),
    "elu": (ELU(alpha=0.7), lambda f, x: f.elu(x, 0.7)),
    "selu": (SELU(), lambda f, x: f.selu(x)),
    "gelu": (GELU(), lambda f, x: f.gelu(x)),
    "gelu_tanh": (GELU(form="tanh"), lambda f, x: f.gelu(x, approximate="tanh")),
    "silu": (SiLU(), lambda f, x: f.silu(x)),
    "sigmoid": (Sigmoid(), lambda f, x: f.sigmoid(x)),
    "tanh": (Tanh(), lambda f, x: f.tanh(x)),
    "softplus": (Softplus(beta=2.0), lambda f, x: f.softplus(x, beta=2.0)),
    "log_softmax": (LogSoftmax(), lambda f, x: f.log_softmax(x, -1)),
    "hardtanh": (Hardtanh(low=-0.5, high=2.0), lambda f, x: f.hardtanh(x, -0.5, 2.0)),
}
named = pytest.mark.parametrize("name", FUNCTIONS)


def derivative(layer: tgl.Layer, x: Any) -> Any:
    """Return the derivative of an elementwise layer at each element."""
    return tgl.vjp(layer, x)[1](np.ones(x.shape, x.dtype))[0]


@named
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_do_not_overflow_far_from_zero(name: str, dtype: str) -> None:
    """Warnings are errors, so no intermediate result may overflow."""
    x = np.array([-HUGE, -1000.0, -80.0, 80.0, 1000.0, HUGE], dtype)
    layer, _ = FUNCTIONS[name]
    slopes = derivative(layer, x)
    assert np.isfinite(layer(x)).all()
    assert np.isfinite(slopes).all()
    assert np.isfinite(derivative(lambda z: derivative(layer, z), x)).all()
    assert slopes.dtype == layer(x).dtype == dtype


@named
def test_nan_stays(name: str) -> None:
    layer, _ = FUNCTIONS[name]
    assert np.isnan(layer(np.full((3, 2), np.nan))).all()


@pytest.mark.parametrize("name", ["elu", "hardtanh", "leaky_relu", "selu", "sigmoid", "softplus", "tanh"])
def test_values_and_slopes_at_infinity_are_limits(name: str) -> None:
    layer, _ = FUNCTIONS[name]
    far, infinite = (layer(np.array([-x, x])) for x in (HUGE, np.inf))
    assert all(b in (a, np.copysign(np.inf, a)) for a, b in zip(far, infinite, strict=True))
    assert np.isfinite(derivative(layer, np.array([-np.inf, np.inf]))).all()


def test_small_results_keep_their_digits() -> None:
    x = np.array([-5.0, -12.0, -35.0])
    assert GELU()(x) == pytest.approx(x * np.exp(log_ndtr(x)), rel=1e-12)
    assert derivative(GELU(), x) == pytest.approx(norm.cdf(x) + x * norm.pdf(x), rel=1e-9)
    assert Softplus()(x) == pytest.approx(np.log1p(np.exp(x)), rel=1e-14)
    assert ELU()(np.array([-1e-12])) == pytest.approx(-1e-12, rel=1e-11)
    assert SiLU()(x) == pytest.approx(x * np.exp(x) / (1 + np.exp(x)), rel=1e-14)


def test_log_softmax_of_scores_far_apart() -> None:
    out = LogSoftmax()(np.array([[0.0, 800.0, -np.inf]]))
    assert out.tolist() == [[-800.0, 0.0, -np.inf]]


def test_slopes_at_the_kinks() -> None:
    zero = np.zeros(1)
    assert derivative(LeakyReLU(slope=0.1), zero) == 0.1
    assert derivative(ELU(alpha=0.7), zero) == 0.7
    assert derivative(SELU(), zero) == pytest.approx(1.758099)
    assert derivative(Hardtanh(), np.array([-1.0, 1.0])).tolist() == [1.0, 1.0]


def test_selu_keeps_mean_and_variance() -> None:
    """The moments are computed by Gauss-Hermite quadrature on each half of the line."""
    nodes, weights = np.polynomial.laguerre.laggauss(60)
    density = weights * np.exp(nodes) * norm.pdf(nodes)
    above, below = SELU()(nodes), SELU()(-nodes)
    assert (density * (above + below)).sum() == pytest.approx(0, abs=1e-6)
    assert (density * (above**2 + below**2)).sum() == pytest.approx(1, abs=1e-6)


def test_the_tanh_form_of_gelu_is_close_to_the_exact_one() -> None:
    x = np.linspace(-8, 8, 2001)
    assert 1e-4 < np.abs(GELU()(x) - GELU(form="tanh")(x)).max() < 5e-4


def test_prelu_learns_its_slope() -> None:
    layer = PReLU(2)
    x = np.array([[-1.0, 2.0], [-3.0, -np.inf], [np.inf, np.inf]], "float32")
    layer(x).backward(np.array([[1.0, 1.0], [10.0, 0.5], [1.0, 1.0]], "float32"))
    assert layer.slope.grad.numpy().tolist() == [-31.0, -np.inf]


def test_prelu_may_share_one_slope() -> None:
    layer = PReLU(1, slope=0.5)
    assert layer(np.full((2, 3), -2.0, "float32")).numpy().tolist() == [[-1.0] * 3] * 2
    assert layer.parameters()["slope"].shape == (1,)


@pytest.mark.peers
@named
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_as_pytorch(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    layer, theirs = FUNCTIONS[name]
    x = np.random.default_rng(0).normal(scale=3.0, size=(7, 5)).astype(dtype)
    g = np.random.default_rng(1).normal(size=(7, 5)).astype(dtype)
    leaf = torch.tensor(x, requires_grad=True)
    y = theirs(torch.nn.functional, leaf)
    y.backward(torch.tensor(g))
    tolerance = {"float32": 2e-6, "float64": 1e-14}[dtype]
    assert layer(x) == pytest.approx(y.detach().numpy(), rel=tolerance, abs=tolerance)
    assert tgl.vjp(layer, x)[1](g)[0] == pytest.approx(leaf.grad.numpy(), rel=tolerance, abs=2 * tolerance)


@pytest.mark.peers
def test_prelu_as_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    layer, theirs = PReLU(3), torch.nn.PReLU(3)
    layer(x).backward(np.ones((4, 3), "float32"))
    theirs(torch.tensor(x)).sum().backward()
    assert layer.slope.grad.numpy() == pytest.approx(theirs.weight.grad.numpy(), rel=1e-6)
