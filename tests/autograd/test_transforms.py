"""grad, vjp, jvp, hvp, jacobian, hessian: nested, on trees, and with variables that are tracked outside of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.autograd.conftest import Make, host
from tinygrad_lab.errors import DTypeError, GradientError, ShapeError


def total(x: Any) -> Any:
    """The sum of a vector's elements."""
    return tgl.sum(x)


# --------------------------------------------------------------------------------------------------------------- orders


def test_grad_nests_to_the_fourth_order(make: Make) -> None:
    f: Any = lambda x: total(x**5 + tgl.sin(x))  # noqa: E731  rebound below
    x = np.array([0.5, 2.0])
    derivatives = [
        5 * x**4 + np.cos(x),
        20 * x**3 - np.sin(x),
        60 * x**2 - np.cos(x),
        120 * x + np.sin(x),
    ]
    for expected in derivatives:
        f = (lambda g: lambda x: total(g(x)))(tgl.grad(f))
        np.testing.assert_allclose(float(f(make(x))), expected.sum(), rtol=1e-12)


def test_transforms_mix_to_the_fourth_order(make: Make) -> None:
    """d^4/dx^4 of x^6 by jvp of grad of jvp of vjp."""

    def first(x: Any) -> Any:
        return tgl.vjp(lambda x: x**6, x)[1](x * 0.0 + 1.0)[0]

    def second(x: Any) -> Any:
        return tgl.jvp(first, (x,), (x * 0.0 + 1.0,))[1]

    third = tgl.grad(lambda x: total(second(x)))
    x = make([1.5, 2.0])
    fourth = tgl.jvp(third, (x,), (make([1.0, 1.0]),))[1]
    np.testing.assert_allclose(host(fourth), 360 * np.array([1.5, 2.0]) ** 2, rtol=1e-12)


def test_perturbation_confusion(make: Make) -> None:
    """d/dx (x * d/dy (x + y)) is 1, not 2 (Siskind and Pearlmutter 2005)."""
    f = tgl.grad(lambda x: x * tgl.grad(lambda y: x + y)(make(1.0)))
    assert float(f(make(1.0))) == 1.0
    f = tgl.grad(lambda x: x * tgl.grad(lambda y: x * y)(make(2.0)))
    assert float(f(make(3.0))) == 6.0
    f = tgl.grad(lambda x: x * tgl.jvp(lambda y: x * y, (make(2.0),), (make(1.0),))[1])
    assert float(f(make(3.0))) == 6.0


def test_nested_variables_with_the_same_value_stay_apart(make: Make) -> None:
    """The inner variable is new and has the outer's value: d/dx of (d/dy x^2 y^3 at y = x) is d/dx 3 x^4."""
    f = tgl.grad(lambda x: tgl.grad(lambda y: x**2 * y**3)(x))
    assert float(f(make(2.0))) == pytest.approx(12 * 2.0**3)
    f = tgl.grad(lambda x: tgl.grad(lambda y: tgl.grad(lambda z: x * y**2 * z**3)(y))(x))
    assert float(f(make(2.0))) == pytest.approx(4 * 12 * 2.0**3)  # d/dx of x * d/dy (3 y^4), at y = x


def test_a_loss_may_contain_a_gradient(make: Make) -> None:
    """A gradient penalty: d/dw of (w x)^2 + (d/dx (w x)^2)^2 = 2 w x^2 + 16 w^3 x^2."""

    def loss(w: Any) -> Any:
        value, slope = tgl.value_and_grad(lambda x: (w * x) ** 2)(make(3.0))
        return value + slope**2

    assert float(tgl.grad(loss)(make(2.0))) == pytest.approx(2 * 2 * 9 + 16 * 8 * 9)


def test_backward_through_a_gradient(variable: Make, make: Make) -> None:
    """`backward` goes through `grad`: the gradient depends on a leaf that its function closes over."""
    w = variable([2.0, 3.0])
    g = tgl.grad(lambda x: total((w * x) ** 2))(make([1.0, 1.0]))
    assert g.requires_grad
    g.sum().backward()
    assert host(w.grad).tolist() == [8.0, 12.0]


def test_a_function_that_returns_an_outer_variable(make: Make) -> None:
    value = tgl.grad(lambda w: tgl.value_and_grad(lambda x: w)(make(1.0))[0])(make(2.0))
    assert float(value) == 1.0
    pushed = tgl.grad(lambda w: tgl.vjp(lambda x: (w, x), make(1.0))[0][0])(make(2.0))
    assert float(pushed) == 1.0


def test_transforms_without_variables(variable: Make, make: Make) -> None:
    w = variable(3.0)
    y, pull = tgl.vjp(lambda: w * w)
    y.backward(keep_graph=True)
    assert float(host(w.grad)) == 6.0
    assert pull(make(1.0)) == ()
    assert float(tgl.grad(lambda w: tgl.vjp(lambda: w * w)[0])(make(3.0))) == 6.0
    outer = w * w
    assert tgl.grad(lambda nothing: outer * 1.0)({}) == {}
    outer.backward()  # the tape of `outer` was not freed


def test_arrays_give_arrays_and_tensors_give_tensors(make: Make) -> None:
    x = make([1.0, 2.0])
    for result in (tgl.grad(total)(x), *tgl.value_and_grad(total)(x), *tgl.jvp(tgl.exp, (x,), (x,))):
        assert not isinstance(result, tgl.Tensor)
    boxed = tgl.grad(total)(tgl.tensor(x))
    assert isinstance(boxed, tgl.Tensor)
    assert not boxed.requires_grad
    tracked = tgl.grad(lambda x: total(x * x))(tgl.tensor(x, requires_grad=True))
    assert tracked.requires_grad


def test_under_no_grad_transforms_still_differentiate(variable: Make, make: Make) -> None:
    w = variable(2.0)
    with tgl.no_grad():
        g = tgl.grad(lambda x: w * x * x)(make(3.0))
    assert float(g) == 12.0
    assert not getattr(g, "requires_grad", False)


def test_stop_gradient(make: Make) -> None:
    x = make([2.0, 3.0])
    assert host(tgl.grad(lambda x: total(x * tgl.stop_gradient(x)))(x)).tolist() == [2.0, 3.0]
    assert tgl.stop_gradient(x) is x
    twice = tgl.grad(lambda x: total(tgl.grad(lambda x: total(x * x * tgl.stop_gradient(x)))(x)))
    assert host(twice(x)).tolist() == [2.0 * 2, 2.0 * 3]


# ----------------------------------------------------------------------------------------------------- grad's interface


def test_argnums(make: Make) -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return total(a * b * b * c)

    a, b, c = make([1.0]), make([2.0]), make([3.0])
    assert host(tgl.grad(f)(a, b, c)).tolist() == [12.0]
    assert host(tgl.grad(f, 1)(a, b, c)).tolist() == [12.0]
    assert host(tgl.grad(f, -1)(a, b, c)).tolist() == [4.0]
    both = tgl.grad(f, (2, 0))(a, b, c)
    assert [host(g).tolist() for g in both] == [[4.0], [12.0]]
    assert host(tgl.jacobian(lambda a, b: a * b, -1)(a, b)).tolist() == [[1.0]]
    assert host(tgl.jacobian(lambda a, b: a * b, 1)(a, b)).tolist() == [[1.0]]


def test_constants_and_keyword_arguments_reach_the_function(make: Make) -> None:
    """Only differentiated arguments must be floats."""

    def f(x: Any, power: int, *, factor: float) -> Any:
        """Return a power."""
        return factor * total(x**power)

    derivative = tgl.grad(f)
    assert derivative.__doc__ == "Return a power."
    assert host(derivative(make([2.0]), 3, factor=10.0)).tolist() == [120.0]
    value, g = tgl.value_and_grad(f)(make([2.0]), 3, factor=10.0)
    assert (float(value), host(g).tolist()) == (80.0, [120.0])


def test_python_numbers_count_as_arrays() -> None:
    assert float(tgl.grad(lambda x: x**3)(2.0)) == 12.0
    with pytest.raises(DTypeError, match="integers carry no gradient"):
        tgl.grad(lambda x: x**3)(2)


def test_grad_requires_one_scalar_result(make: Make) -> None:
    x = make([1.0, 2.0])
    expected = r"grad: expected a function that returns one scalar, got outputs of shapes \[\(2"
    with pytest.raises(GradientError, match=expected):
        tgl.grad(lambda x: x)(x)
    with pytest.raises(GradientError, match=r"outputs of shapes \[\(\), \(\)\]"):
        tgl.grad(lambda x: (total(x), total(x)))(x)
    with pytest.raises(GradientError, match="float"):
        tgl.grad(lambda x: 1.0)(x)


def test_arguments_without_influence_have_gradient_zero(make: Make) -> None:
    a, b = make([1.0, 2.0], "float32"), make([[1.0]], "float32")
    ga, gb = tgl.grad(lambda a, b: total(a), (0, 1))(a, b)
    assert host(ga).tolist() == [1.0, 1.0]
    assert host(gb).tolist() == [[0.0]]
    assert gb.dtype == "float32"
    assert host(tgl.grad(lambda a: total(tgl.stop_gradient(a)))(a)).tolist() == [0.0, 0.0]


# --------------------------------------------------------------------------------------------------- products with J, H


def test_a_pullback_may_be_called_many_times(make: Make) -> None:
    y, pull = tgl.vjp(lambda x, y: tgl.matmul(x, y), make([[1.0, 2.0], [3.0, 4.0]]), make([1.0, 1.0]))
    assert host(y).tolist() == [3.0, 7.0]
    for v in ([1.0, 0.0], [0.0, 1.0], [2.0, 3.0]):
        gx, gy = pull(make(v))
        np.testing.assert_allclose(host(gx), np.outer(v, [1.0, 1.0]))
        np.testing.assert_allclose(host(gy), np.array([[1.0, 2.0], [3.0, 4.0]]).T @ v)


def test_the_pullback_is_itself_differentiable(make: Make) -> None:
    """d/dv of <u, J^T v> is J u, although x is a constant when the pullback is called."""
    x, u = make([1.0, 2.0]), make([3.0, 5.0])
    _, pull = tgl.vjp(lambda x: x**3, x)
    g = tgl.grad(lambda v: total(u * pull(v)[0]))(make([1.0, 1.0]))
    assert host(g).tolist() == [9.0, 60.0]


def test_a_cotangent_must_fit(make: Make) -> None:
    _, pull = tgl.vjp(lambda x: x * 2.0, make([1.0, 2.0]))
    with pytest.raises(ShapeError, match=r"pullback: expected a cotangent like each.*float64 \(2,\).*float64 \(3,\)"):
        pull(make([1.0, 2.0, 3.0]))
    with pytest.raises(ShapeError, match="float32"):
        pull(make([1.0, 2.0], "float32"))
    with pytest.raises(ShapeError, match="float"):
        pull(1.0)
    with pytest.raises(ShapeError, match="pull"):
        pull((make([1.0, 2.0]), make([1.0, 2.0])))


def test_jvp_is_the_directional_derivative(make: Make) -> None:
    def f(x: Any, w: Any) -> Any:
        return tgl.tanh(tgl.matmul(x, w)), tgl.sum(w)

    rng = np.random.default_rng(0)
    x, w, dx, dw = (rng.standard_normal(s) for s in ((2, 3), (3, 4), (2, 3), (3, 4)))
    (y, s), (dy, ds) = tgl.jvp(f, (make(x), make(w)), (make(dx), make(dw)))
    np.testing.assert_allclose(host(y), np.tanh(x @ w))
    np.testing.assert_allclose(host(dy), (1 - np.tanh(x @ w) ** 2) * (dx @ w + x @ dw), rtol=1e-12)
    np.testing.assert_allclose([float(s), float(ds)], [w.sum(), dw.sum()])


def test_jvp_of_a_constant_is_zero(make: Make) -> None:
    x = make([1.0, 2.0])
    _, pushed = tgl.jvp(lambda x: tgl.stop_gradient(x) * 2.0, (x,), (x,))
    assert host(pushed).tolist() == [0.0, 0.0]


def test_hvp(make: Make) -> None:
    def f(x: Any, y: Any) -> Any:
        return total(x**2 * y)

    x, y, u, v = make([1.0, 2.0]), make([3.0, 4.0]), make([1.0, 0.5]), make([2.0, -1.0])
    hx, hy = tgl.hvp(f, (x, y), (u, v))
    np.testing.assert_allclose(host(hx), [2 * 3 * 1 + 2 * 1 * 2, 2 * 4 * 0.5 + 2 * 2 * -1])
    np.testing.assert_allclose(host(hy), [2 * 1 * 1, 2 * 2 * 0.5])


def test_one_argument_needs_no_tuple(make: Make) -> None:
    """A bare array is one argument, not a sequence of its rows."""
    x, u = make([[1.0, 2.0], [3.0, 4.0]]), make([[1.0, 0.0], [0.0, 1.0]])
    y, pushed = tgl.jvp(lambda x: x**3, x, u)
    assert host(y).tolist() == [[1.0, 8.0], [27.0, 64.0]]
    assert host(pushed).tolist() == [[3.0, 0.0], [0.0, 48.0]]
    assert host(tgl.hvp(lambda x: total(x**3), x, u)).tolist() == [[6.0, 0.0], [0.0, 24.0]]


def test_jvp_and_hvp_are_differentiable(make: Make) -> None:
    x, u = make([1.0, 2.0]), make([1.0, 1.0])
    g = tgl.grad(lambda x: total(tgl.hvp(lambda x: total(x**4), (x,), (u,))[0]))(x)
    assert host(g).tolist() == [24.0, 48.0]
    g = tgl.grad(lambda u: total(tgl.jvp(lambda x: x**3, (x,), (u,))[1]))(u)
    assert host(g).tolist() == [3.0, 12.0]
    g = tgl.grad(lambda x: total(tgl.jvp(lambda x: x**3, (x,), (u,))[1]))(x)
    assert host(g).tolist() == [6.0, 12.0]


# ------------------------------------------------------------------------------------------------------- whole matrices


def test_jacobian(make: Make) -> None:
    def f(x: Any) -> Any:
        return tgl.stack([x[0] * x[1], x[1] ** 2, tgl.sum(x)])

    j = tgl.jacobian(f)(make([2.0, 3.0]))
    assert host(j).tolist() == [[3.0, 2.0], [0.0, 6.0], [1.0, 1.0]]
    j = tgl.jacobian(lambda x: tgl.matmul(make(np.ones((2, 3))), x))(make(np.ones((3, 2))))
    assert j.shape == (2, 2, 3, 2)
    np.testing.assert_allclose(host(j).reshape(4, 6), np.kron(np.ones((2, 3)), np.eye(2)))


@pytest.mark.parametrize(("given", "result"), [((0,), (0,)), ((), ()), ((2, 0), (0,)), ((3,), (0, 2))])
def test_jacobian_with_empty_arrays(make: Make, given: tuple[int, ...], result: tuple[int, ...]) -> None:
    def f(x: Any) -> Any:
        return tgl.broadcast_to(tgl.sum(x), shape=result)

    j = tgl.jacobian(f)(make(np.ones(given)))
    assert j.shape == result + given
    assert j.dtype == "float64"


def test_hessian(make: Make) -> None:
    x = np.array([0.5, -1.0, 2.0])
    h = tgl.hessian(lambda x: tgl.sum(x) ** 3 + tgl.sum(tgl.exp(x)))(make(x))
    np.testing.assert_allclose(host(h), 6 * x.sum() * np.ones((3, 3)) + np.diag(np.exp(x)), rtol=1e-12)
    mixed = tgl.hessian(lambda a, b: total(a * b**3), 1)(make([2.0]), make([3.0]))
    assert host(mixed).tolist() == [[36.0]]


def test_jacobian_inside_a_gradient(make: Make) -> None:
    """d/dx trace(J(x)) for f = x^3."""
    g = tgl.grad(lambda x: tgl.einsum("ii->", tgl.jacobian(lambda x: x**3)(x)))(make([1.0, 2.0]))
    assert host(g).tolist() == [6.0, 12.0]


def test_jacobian_requires_a_function_that_returns_arrays(make: Make) -> None:
    with pytest.raises(ShapeError, match="jacobian: expected a function that returns arrays, got float"):
        tgl.jacobian(lambda x: 1.0)(make([1.0]))


# ---------------------------------------------------------------------------------------------------------------- trees


class Pair(NamedTuple):
    """A named tuple as a branch of a tree."""

    left: Any
    right: Any


def tree_of(make: Make) -> Any:
    """Two leaves in a dict, a list and a named tuple."""
    return {"w": [make([1.0, 2.0])], "b": Pair(make(3.0), ())}


def quadratic(tree: Any) -> Any:
    """sum(w^2) b."""
    return total(tree["w"][0] ** 2) * tree["b"].left


def test_gradients_are_trees_like_the_arguments(make: Make) -> None:
    value, g = tgl.value_and_grad(quadratic)(tree_of(make))
    assert float(value) == 15.0
    assert list(g) == ["w", "b"]
    assert isinstance(g["b"], Pair)
    assert host(g["w"][0]).tolist() == [6.0, 12.0]
    assert float(g["b"].left) == 5.0


def test_products_on_trees(make: Make) -> None:
    tree, u = tree_of(make), {"w": [make([1.0, 0.0])], "b": Pair(make(2.0), ())}
    y, push = tgl.jvp(lambda t: {"y": (quadratic(t), t["b"].left * 2.0)}, (tree,), (u,))
    assert [float(v) for v in y["y"]] == [15.0, 6.0]
    assert [float(v) for v in push["y"]] == [2 * 3 * 1 + 5 * 2, 4.0]
    (h,) = tgl.hvp(quadratic, (tree,), (u,))
    assert host(h["w"][0]).tolist() == [2 * 3 * 1 + 2 * 1 * 2, 2 * 2 * 2]
    assert float(h["b"].left) == 2.0


def test_jacobians_on_trees(make: Make) -> None:
    """The Jacobian is a tree like the result; each of its leaves is a tree like the argument."""
    j = tgl.jacobian(lambda t: {"square": t["w"][0] ** 2, "b": t["b"].left})(tree_of(make))
    assert host(j["square"]["w"][0]).tolist() == [[2.0, 0.0], [0.0, 4.0]]
    assert host(j["square"]["b"].left).tolist() == [0.0, 0.0]
    assert host(j["b"]["w"][0]).tolist() == [0.0, 0.0]
    assert float(j["b"]["b"].left) == 1.0


def test_hessians_on_trees(make: Make) -> None:
    h = tgl.hessian(quadratic)(tree_of(make))
    assert host(h["w"][0]["w"][0]).tolist() == [[6.0, 0.0], [0.0, 6.0]]
    assert host(h["w"][0]["b"].left).tolist() == [2.0, 4.0]
    assert host(h["b"].left["w"][0]).tolist() == [2.0, 4.0]
    assert float(h["b"].left["b"].left) == 0.0


def test_dicts_are_matched_by_key(make: Make) -> None:
    """The order of a dict's keys does not matter."""
    x = make([1.0, 1.0])
    _, pull = tgl.vjp(lambda x: {"p": x, "q": 10.0 * x}, x)
    (g,) = pull({"q": make([0.0, 1.0]), "p": make([1.0, 0.0])})
    assert host(g).tolist() == [1.0, 10.0]
    point, direction = {"a": make(2.0), "b": make(3.0)}, {"b": make(1.0), "a": make(0.0)}
    _, pushed = tgl.jvp(lambda d: d["a"] ** 2 * d["b"], (point,), (direction,))
    assert float(pushed) == 4.0
    with pytest.raises(ShapeError, match="'r'"):
        pull({"p": x, "r": x})
    with pytest.raises(ShapeError, match="pull"):
        pull({"p": x})


def test_an_array_that_is_given_twice_makes_two_variables(make: Make) -> None:
    x = make([2.0])
    ga, gb = tgl.grad(lambda pair: total(pair[0] ** 2 * pair[1]))((x, x))
    assert [host(ga).tolist(), host(gb).tolist()] == [[8.0], [4.0]]
