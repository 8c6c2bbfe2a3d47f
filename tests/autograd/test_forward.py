"""Forward mode: the three kinds of rules, operations without a rule, and other transforms inside and outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.autograd import forward
from tinygrad_lab.autograd.forward import additive, defjvp, jvp, linear, symmetric
from tinygrad_lab.errors import NonFiniteError, RuleError

X, U = np.array([0.5, -1.0, 2.0]), np.array([1.0, 3.0, -2.0])
ZERO = np.zeros(())


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the rules that a test declares."""
    monkeypatch.setattr(forward, "RULES", dict(forward.RULES))


def refused(*args: Any) -> Any:
    raise AssertionError("expected no reverse rule to run")


def test_a_linear_operation_runs_twice_and_no_reverse_rule_runs() -> None:
    seen = []

    @tgl.primitive
    def scaled(xp: Any, x: Any, y: Any, *, factor: float) -> Any:
        seen.append(x)
        return factor * x * y

    scaled.defvjp(x=refused, y=refused)
    linear(scaled)
    y, pushed = jvp(lambda x: scaled(x, X, factor=3.0), X, U)
    np.testing.assert_array_equal(y, 3.0 * X * X)
    np.testing.assert_array_equal(pushed, 3.0 * U * X)
    assert len(seen) == 2
    np.testing.assert_array_equal(jvp(lambda x: scaled(x, x, factor=1.0), X, U)[1], 2.0 * X * U)


def test_an_operation_that_is_linear_in_all_arguments_together_runs_twice() -> None:
    seen = []

    @tgl.primitive
    def difference(xp: Any, *parts: Any) -> Any:
        seen.append(parts)
        return parts[0] - parts[1]

    difference.defvjp(parts=refused)
    additive(difference)
    np.testing.assert_array_equal(jvp(lambda x: difference(X, x), X, U)[1], -U)
    np.testing.assert_array_equal(jvp(lambda x: difference(x * 3.0, x), X, U)[1], 2.0 * U)
    assert len(seen) == 4


def test_a_symmetric_operation_uses_its_reverse_rule_with_broadcast_arguments() -> None:
    @tgl.primitive
    def product(xp: Any, x: Any, y: Any) -> Any:
        return x * y

    product.defvjp(x=lambda g, x_like, y: tgl.sum_to(g * y, x_like), y=lambda g, x, y_like: tgl.sum_to(g * x, y_like))
    symmetric(product)
    column = X[:, None]
    np.testing.assert_array_equal(jvp(lambda x: product(x, column), X, U)[1], U * column)
    np.testing.assert_array_equal(jvp(lambda x: product(x[:, None], x), X, U)[1], U[:, None] * X + X[:, None] * U)
    np.testing.assert_array_equal(jvp(lambda x: product(2.0, x), X, U)[1], 2.0 * U)


def test_a_rule_of_its_own_asks_for_what_it_needs() -> None:
    @tgl.primitive(outputs=("power", "places"))
    def raised(xp: Any, x: Any, *, n: int = 2) -> Any:
        return x**n, xp.argsort(x)

    raised.defvjp(x=refused)
    defjvp(raised, x=lambda u, x, power, n: (n * power / x * u, None))
    (y, places), (pushed, none) = jvp(lambda x: raised(x, n=3), X, U)
    np.testing.assert_allclose(y, X**3)
    np.testing.assert_allclose(pushed, 3.0 * X**2 * U)
    np.testing.assert_array_equal((places, none), (np.argsort(X), np.zeros(3)))
    np.testing.assert_allclose(jvp(lambda x: raised(x)[0] + raised(x * 2.0)[0], X, U)[1], 10.0 * X * U)
    with pytest.raises(RuleError, match=r"raised: expected a rule that asks for some of .*, got 'y'"):
        defjvp(raised, x=lambda u, y: u)
    with pytest.raises(RuleError, match="raised: expected a rule for one of"):
        defjvp(raised, y=lambda u: u)


def everything(x: Any) -> Any:
    """Operations with rules, without rules, with several results, and with constants."""
    matrix = tgl.outer(x, x) + tgl.diag(np.array([4.0, 5.0, 6.0]))
    w, v = tgl.linalg.eigh(matrix)
    lower = tgl.linalg.cholesky(matrix)
    parts = tgl.concatenate([w, tgl.cumprod(x), tgl.floor(x + 0.25), lower.ravel(), np.ones(2)])
    return {"vector": tgl.softmax(parts) * tgl.max(x), "square": v @ v.T @ tgl.sort(x), "constant": tgl.sign(x)}


def test_all_operations_together_agree_with_differences_with_rules_and_without(monkeypatch: Any) -> None:
    h = 1e-6
    ahead, behind = everything(X + h * U), everything(X - h * U)
    pushed = jvp(everything, X, U)[1]
    monkeypatch.setattr(forward, "RULES", {})
    by_reverse_rules = jvp(everything, X, U)[1]
    for name in pushed:
        np.testing.assert_allclose(pushed[name], (ahead[name] - behind[name]) / (2 * h), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(pushed[name], by_reverse_rules[name], rtol=1e-12, atol=1e-14)


def cubes(x: Any) -> Any:
    return tgl.sum(tgl.power(x, 3) * tgl.max(x))


@pytest.mark.parametrize(
    "derivative",
    [
        lambda f, x, u: jvp(lambda x: jvp(f, x, u)[1], x, u)[1],
        lambda f, x, u: jvp(lambda x: tgl.sum(tgl.grad(f)(x) * u), x, u)[1],
        lambda f, x, u: tgl.sum(tgl.grad(lambda x: jvp(f, x, u)[1])(x) * u),
        lambda f, x, u: tgl.sum(tgl.hvp(f, x, u) * u),
        lambda f, x, u: jvp(lambda s: jvp(lambda t: f(x + (s + t) * u), ZERO, ZERO + 1.0)[1], ZERO, ZERO + 1.0)[1],
    ],
    ids=["forward over forward", "forward over reverse", "reverse over forward", "hvp", "inner over outer variable"],
)
@pytest.mark.parametrize("tracked", [False, True])
def test_second_derivatives_of_every_kind_are_the_same(derivative: Callable[..., Any], tracked: bool) -> None:
    x = tgl.tensor(X, requires_grad=True) if tracked else X
    expected = U @ tgl.hessian(cubes)(X) @ U
    np.testing.assert_allclose(tgl.stop_gradient(derivative(cubes, x, U)) * 1.0, expected, rtol=1e-12)


@pytest.mark.parametrize("f", [tgl.sin, lambda x: tgl.linalg.eigvalsh(tgl.diag(x))], ids=["with a rule", "without"])
def test_a_direction_may_be_tracked(f: Callable[[Any], Any]) -> None:
    gradient = tgl.grad(lambda u: tgl.sum(jvp(f, X, u)[1] * U))(X)
    np.testing.assert_allclose(gradient, U @ tgl.jacobian(f)(X))
    u = tgl.tensor(U, requires_grad=True)
    with tgl.no_grad():
        assert not isinstance(jvp(f, X, u)[1], tgl.Tensor)


def test_other_features_of_the_engine_inside_the_function() -> None:
    expected = np.cos(X) * U
    np.testing.assert_allclose(jvp(lambda x: tgl.checkpoint(tgl.sin, x), X, U)[1], expected)
    np.testing.assert_array_equal(jvp(lambda x: tgl.stop_gradient(x) * 2.0, X, U)[1], np.zeros(3))

    def watched(x: Any) -> Any:
        with tgl.detect_anomaly():
            return tgl.sin(x)

    np.testing.assert_allclose(jvp(watched, X, U)[1], expected)

    def partly(x: Any) -> Any:
        with tgl.no_grad():
            constant = tgl.exp(x)
        return tgl.sin(x) + constant

    np.testing.assert_allclose(jvp(partly, X, U)[1], expected)
    with tgl.detect_anomaly(), np.errstate(invalid="ignore"), pytest.raises(NonFiniteError, match="log: its result"):
        jvp(tgl.log, X, U)


def test_a_layer_along_its_inputs_and_parameters() -> None:
    weight = tgl.tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    _, pushed = jvp(lambda x: tgl.tanh(x @ weight), X, U)
    assert pushed.requires_grad, "it depends on the weight, a leaf outside"
    pushed.backward(np.ones(2))
    expected = tgl.grad(lambda w: tgl.sum(jvp(lambda x: tgl.tanh(x @ w), X, U)[1]))(weight.numpy())
    assert weight.grad is not None
    np.testing.assert_allclose(weight.grad.numpy(), expected)
    with tgl.no_grad():
        assert not isinstance(jvp(lambda x: tgl.tanh(x @ weight), X, U)[1], tgl.Tensor)
