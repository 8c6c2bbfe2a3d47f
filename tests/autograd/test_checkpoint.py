"""`checkpoint` gives the same derivatives from less memory, and `once` keeps recomputation from repeating effects."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.autograd.conftest import Make, host
from tinygrad_lab.errors import GradientError


def block(x: Any) -> Any:
    """A function of several operations."""
    return tgl.sin(tgl.exp(x) * x) + x


def test_the_same_value_and_gradient(variable: Make) -> None:
    plain, thin = variable([0.5, 1.0]), variable([0.5, 1.0])
    a, b = block(plain), tgl.checkpoint(block, thin)
    assert np.array_equal(host(a), host(b))
    a.sum().backward()
    b.sum().backward()
    assert np.array_equal(host(plain.grad), host(thin.grad))


def test_only_the_input_is_kept() -> None:
    made: list[weakref.ref[Any]] = []

    def watched(x: Any) -> Any:
        for _ in range(5):
            x = tgl.exp(x * 0.1)
            made.append(weakref.ref(x.value))
        return x

    y = tgl.checkpoint(watched, tgl.tensor(np.ones(3), requires_grad=True))
    assert sum(ref() is not None for ref in made) == 1  # the result
    y.sum().backward()
    assert len(made) == 10


def test_several_inputs_closures_and_parameters(variable: Make, make: Make) -> None:
    """Variables that the block closes over get gradients too, also if they are used twice or outside of the block."""
    w, x, z = variable([2.0]), variable([3.0]), variable([5.0])
    middle = w * x
    y = tgl.checkpoint(lambda x, c: middle * x * tgl.exp(w) * c * z, x, make([1.0]))
    (y + middle).sum().backward()
    e = np.exp(2.0)
    np.testing.assert_allclose(host(w.grad), [(9 * e + 18 * e) * 5 + 3])
    np.testing.assert_allclose(host(x.grad), [2 * 2 * 3 * e * 5 + 2])
    np.testing.assert_allclose(host(z.grad), [18 * e])


def test_nested_checkpoints(make: Make) -> None:
    count = []

    def inner(x: Any) -> Any:
        count.append("inner")
        return tgl.sin(x * x)

    def outer(x: Any) -> Any:
        count.append("outer")
        return tgl.checkpoint(inner, tgl.exp(x)) * tgl.checkpoint(inner, x)

    x = make([0.5, 1.0])
    plain = tgl.grad(lambda x: (tgl.sin(tgl.exp(x) ** 2) * tgl.sin(x * x)).sum())(x)
    count.clear()
    got = tgl.grad(lambda x: tgl.checkpoint(outer, x).sum())(x)
    np.testing.assert_allclose(host(got), host(plain), rtol=1e-12)
    assert (count.count("outer"), count.count("inner")) == (2, 2 + 2 + 2)  # forward, outer again, each inner again


def test_derivatives_of_any_order(make: Make) -> None:
    x, u = make([0.5, 1.0]), make([1.0, -2.0])

    def checkpointed(x: Any) -> Any:
        return tgl.checkpoint(block, x)

    for f in (block, checkpointed):
        second = tgl.grad(lambda x, f=f: tgl.grad(lambda x: f(x).sum())(x).sum())
        third = tgl.grad(lambda x, g=second: g(x).sum())
        results = [second(x), third(x), *tgl.jvp(f, (x,), (u,)), tgl.jacobian(f)(x)]
        results += [tgl.hvp(lambda x, f=f: f(x).sum(), (x,), (u,))[0]]
        if f is block:
            expected = results
    for got, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(host(got), host(wanted), rtol=1e-10)


def test_each_call_of_a_pullback_recomputes_once(make: Make) -> None:
    count = []
    _, pull = tgl.vjp(lambda x: tgl.checkpoint(lambda x: count.append(1) or x * x, x), make([3.0]))
    assert [host(pull(make([v]))[0]).tolist() for v in (1.0, 2.0)] == [[6.0], [12.0]]
    assert len(count) == 3


def test_a_checkpoint_of_constants_records_nothing(variable: Make, make: Make) -> None:
    x = make([1.0])
    assert type(tgl.checkpoint(block, x)) is type(x)
    with tgl.no_grad():
        assert not tgl.checkpoint(block, variable([1.0])).requires_grad
    w = variable([1.0])
    assert tgl.checkpoint(lambda x: w, x) is w


def test_an_error_in_the_recomputation_names_the_checkpoint(variable: Make) -> None:
    calls = []

    def fragile(x: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("once is enough")
        return x * 2.0

    y = tgl.checkpoint(fragile, variable([1.0]))
    with pytest.raises(GradientError, match=r"checkpoint: .* RuntimeError: once is enough"):
        y.sum().backward()


# ----------------------------------------------------------------------------------------------------------------- once


def test_once_runs_its_effect() -> None:
    log: list[str] = []
    assert tgl.once(lambda: log.append("ran") or 3) == 3
    assert tgl.once(lambda: log.append("ran") or 4) == 4
    assert log == ["ran", "ran"]


def test_a_recomputation_gets_the_results_of_once_in_order(variable: Make) -> None:
    source, used = iter(range(1, 100)), []

    def noisy(x: Any) -> Any:
        for _ in range(3):
            factor = tgl.once(lambda: next(source))
            used.append(factor)
            x = x * float(factor)
        return x

    x = variable([1.0])
    y = tgl.checkpoint(noisy, x)
    assert next(source) == 4  # drawn outside in between
    y.sum().backward(keep_graph=True)
    y.sum().backward()
    assert used == [1, 2, 3] * 3
    assert host(x.grad).tolist() == [12.0]
    assert next(source) == 5


def test_effects_in_nested_checkpoints_happen_once(variable: Make) -> None:
    source, used = iter(range(1, 100)), []

    def draw(x: Any) -> Any:
        used.append(tgl.once(lambda: next(source)))
        return x * float(used[-1])

    def middle(x: Any) -> Any:
        return tgl.checkpoint(draw, draw(tgl.checkpoint(draw, x)))

    x = variable([1.0])
    y = tgl.checkpoint(lambda x: draw(tgl.checkpoint(middle, draw(x))), x)
    y.sum().backward()
    assert next(source) == 6
    assert sorted(set(used)) == [1, 2, 3, 4, 5]
    assert used[:5] == [1, 2, 3, 4, 5]
    assert host(x.grad).tolist() == [120.0]


def test_second_derivatives_get_the_same_results_of_once(make: Make) -> None:
    source = iter(range(1, 100))

    def noisy(x: Any) -> Any:
        return x**3 * float(tgl.once(lambda: next(source)))

    def slope(x: Any) -> Any:
        return tgl.grad(lambda x: tgl.checkpoint(noisy, x).sum())(x).sum()

    assert host(tgl.grad(slope)(make([2.0]))).tolist() == [12.0]
    assert next(source) == 2


def test_an_effect_that_fails_leaves_no_log_behind(variable: Make) -> None:
    def failing(x: Any) -> Any:
        tgl.once(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        tgl.checkpoint(failing, variable([1.0]))
    assert tgl.once(lambda: 7) == 7


def test_assigning_a_parameter_before_the_recomputation_is_an_error(make: Make) -> None:
    """Otherwise its gradient would be lost silently."""
    w = tgl.Parameter(make([2.0]))
    y = tgl.checkpoint(lambda: w * w)
    w.assign(make([3.0]))
    with pytest.raises(GradientError, match="expected a function that repeats its computation"):
        y.sum().backward()


def test_changing_a_mode_before_the_recomputation_is_an_error(variable: Make) -> None:
    training = [True]
    y = tgl.checkpoint(lambda x: x * x if training else tgl.exp(x), variable([1.0]))
    training.clear()
    with pytest.raises(GradientError, match="other operations"):
        y.sum().backward()
