"""Primitives: rules by argument name, parameters of rules, several results, and errors of definition and call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.autograd.conftest import Make, host
from tests.strict_device import to_device
from tinygrad_lab.errors import DeviceError, DTypeError, GradientError, RuleError


def scaled_sum() -> tgl.Primitive:
    """A fresh primitive: scale * x + y."""

    @tgl.primitive
    def scaled_sum(xp: Any, x: Any, y: Any, *, scale: float = 1.0) -> Any:
        """Return scale * x + y."""
        return scale * x + y

    assert isinstance(scaled_sum, tgl.Primitive)
    return scaled_sum


# ----------------------------------------------------------------------------------------------------------- definition


@pytest.mark.parametrize("asked", ["z", "z_like", "Out", "scale_like", "out_like"])
def test_a_rule_that_asks_for_an_unknown_name_is_refused_when_defined(asked: str) -> None:
    rule = eval(f"lambda g, {asked}: g")  # a rule with a parameter of that name
    with pytest.raises(RuleError, match=rf"scaled_sum: expected a rule that asks for some of .*got '{asked}'"):
        scaled_sum().defvjp(x=rule)


def test_a_rule_for_an_unknown_argument_is_refused() -> None:
    op = scaled_sum()
    with pytest.raises(RuleError, match=r"scaled_sum: expected a rule for one of \['x', 'y'\], got one for 'w'"):
        op.defvjp(w=lambda g: g)
    with pytest.raises(RuleError, match="got one for 'w'"):
        op.defvjp("x", "w", lambda g: (g, g))


def test_an_argument_must_not_have_the_name_of_a_rule_parameter() -> None:
    """Otherwise a rule that asks for the argument `out` would get the result."""
    with pytest.raises(RuleError, match="'out'"):
        tgl.primitive(lambda xp, g, out: g)
    with pytest.raises(RuleError, match="'mean'"):
        tgl.primitive(outputs=("y", "mean"))(lambda xp, x, mean: (x, mean))
    with pytest.raises(RuleError, match="'wanted'"):
        tgl.primitive(lambda xp, x, *, wanted: x)


def test_a_primitive_has_the_name_docstring_and_signature_of_its_function() -> None:
    op = scaled_sum()
    assert repr(op) == op.__name__ == "scaled_sum"
    assert op.__doc__ == "Return scale * x + y."
    assert str(op.__signature__) == "(x: 'Any', y: 'Any', *, scale: 'float' = 1.0)"


# --------------------------------------------------------------------------------------------- the parameters of a rule


def test_a_rule_gets_the_values_that_it_names(variable: Make) -> None:
    op, given = scaled_sum(), []

    def rule(g: Any, y: Any, x_like: Any, out: Any, scale: float, wanted: tuple[bool, ...]) -> Any:
        given.append((host(g), host(y), x_like.shape, x_like.dtype, hasattr(x_like, "value"), host(out), scale, wanted))
        return scale * g

    op.defvjp(x=rule)
    x = variable([1.0, 2.0])
    op(x, 5.0 + tgl.stop_gradient(x), scale=3.0).sum().backward()
    ((g, y, shape, dtype, has_values, out, scale, wanted),) = given
    assert (shape, dtype, has_values, scale, wanted) == ((2,), "float64", False, 3.0, (True,))
    assert [g.tolist(), y.tolist(), out.tolist()] == [[1.0, 1.0], [6.0, 7.0], [9.0, 13.0]]
    assert host(x.grad).tolist() == [3.0, 3.0]


def test_the_default_of_an_option_reaches_the_rule(variable: Make) -> None:
    op = scaled_sum()
    op.defvjp(x=lambda g, scale: g * scale)
    x = variable([1.0])
    op(x, 1.0).sum().backward()
    assert host(x.grad).tolist() == [1.0]


def test_a_shared_rule_runs_once_a_backward_pass_and_knows_the_wanted_gradients(variable: Make) -> None:
    op, calls = scaled_sum(), []

    def rule(g: Any, scale: float, wanted: tuple[bool, bool]) -> Any:
        calls.append(wanted)
        return (g * scale if wanted[0] else None, g if wanted[1] else None)

    op.defvjp("x", "y", rule)
    x, y = variable([1.0, 2.0]), variable([3.0, 4.0])
    op(x, y, scale=2.0).sum().backward()
    assert calls == [(True, True)]
    op(tgl.stop_gradient(x), y, scale=2.0).sum().backward()
    op(x, 1.0).sum().backward()
    assert calls[1:] == [(False, True), (True, False)]
    assert host(x.grad).tolist() == [3.0, 3.0]
    assert host(y.grad).tolist() == [2.0, 2.0]


def test_separate_rules_run_only_for_tracked_arguments(variable: Make, make: Make) -> None:
    op, calls = scaled_sum(), []
    op.defvjp(x=lambda g: calls.append("x") or g, y=lambda g: calls.append("y") or g)
    op(variable([1.0]), make([1.0])).sum().backward()
    assert calls == ["x"]


def test_a_rule_runs_only_for_the_variables_of_the_transform(make: Make) -> None:
    """Only the gradient of the inner variable is wanted, so the rule of the outer one would be wasted work."""
    op, calls = scaled_sum(), []
    op.defvjp(x=lambda g: calls.append("x") or g, y=lambda g: calls.append("y") or g)
    tgl.grad(lambda y: tgl.stop_gradient(tgl.grad(lambda x: op(x, y).sum())(make([1.0])).sum()) + y.sum())(make([1.0]))
    assert calls == ["x"]


def test_none_declares_a_derivative_to_be_zero(variable: Make) -> None:
    op = scaled_sum()
    op.defvjp(x=None, y=lambda g: g)
    x, y = variable([1.0]), variable([2.0])
    out = op(x, y)
    out.sum().backward()
    assert x.grad is None
    assert host(y.grad).tolist() == [1.0]
    assert not op(x, 1.0).requires_grad


def test_a_tracked_argument_without_a_rule_is_an_error(variable: Make) -> None:
    op = scaled_sum()
    op.defvjp(x=lambda g: g)
    x = variable([1.0])
    with pytest.raises(GradientError, match="scaled_sum: expected a constant for y, which has no derivative rule"):
        op(1.0, x)
    with tgl.no_grad():
        assert host(op(1.0, x)).tolist() == [2.0]
    assert host(op(1.0, tgl.stop_gradient(x))).tolist() == [2.0]


def test_a_rule_may_be_replaced(variable: Make) -> None:
    op = scaled_sum()
    op.defvjp(x=lambda g: g)
    x = variable([1.0])
    op(x, 1.0).sum().backward()
    op.defvjp(x=lambda g: 10.0 * g)
    op(x, 1.0).sum().backward()
    assert host(x.grad).tolist() == [11.0]


# ------------------------------------------------------------------------------------------------------------- the call


def test_arrays_give_an_array_and_tensors_a_tensor(make: Make) -> None:
    x = make([1.0, 2.0])
    assert type(tgl.exp(x)) is type(x)
    constant = tgl.exp(tgl.tensor(x))
    assert isinstance(constant, tgl.Tensor)
    assert not constant.requires_grad
    assert tgl.exp(tgl.tensor(x, requires_grad=True)).requires_grad


def test_arrays_given_by_name_stay_on_the_tape(variable: Make) -> None:
    op = scaled_sum()
    op.defvjp(x=lambda g, scale: g * scale, y=lambda g: g)
    x, y = variable([1.0]), variable([2.0])
    op(y=y, x=x, scale=3.0).sum().backward()
    op(x, y=y).sum().backward()
    assert host(x.grad).tolist() == [4.0]
    assert host(y.grad).tolist() == [2.0]


def test_an_unknown_option_or_a_missing_argument_is_an_error(variable: Make) -> None:
    op = scaled_sum()
    with pytest.raises(TypeError, match="scal"):
        op(variable([1.0]), 1.0, scal=2.0)
    with pytest.raises(TypeError, match="y"):
        op(variable([1.0]))


def test_a_primitive_may_take_any_number_of_arguments(variable: Make, make: Make) -> None:
    @tgl.primitive
    def weighted(xp: Any, *parts: Any, weights: tuple[float, ...]) -> Any:
        return sum(w * p for w, p in zip(weights, parts, strict=True))

    seen = []

    def rule(g: Any, parts: Any, parts_like: Any, weights: Any, wanted: Any) -> Any:
        seen.append((wanted, len(parts), [like.shape for like in parts_like]))
        return [w * g if need else None for w, need in zip(weights, wanted, strict=True)]

    with pytest.raises(RuleError, match=r"expected a rule for one of \[\], got one for 'parts'"):
        weighted.defvjp("parts", "weights", rule)  # a shared rule would lose all gradients but the first
    weighted.defvjp(parts=rule)
    x, y = variable([1.0, 2.0]), variable([1.0, 1.0])
    weighted(x, make([0.0, 0.0]), y, x, weights=(1.0, 2.0, 3.0, 4.0)).sum().backward()
    assert seen == [((True, False, True, True), 4, [(2,)] * 4)]
    assert host(x.grad).tolist() == [5.0, 5.0]
    assert host(y.grad).tolist() == [3.0, 3.0]


def test_a_shared_rule_that_returns_one_array_is_an_error(variable: Make) -> None:
    """Otherwise its rows would be taken for the gradients."""
    op = scaled_sum()
    op.defvjp("x", "y", lambda g: g)
    y = op(variable([[1.0, 2.0], [1.0, 2.0]]), variable([[1.0, 2.0], [1.0, 2.0]]))
    with pytest.raises(GradientError, match="expected 2 gradients in a tuple, got one array"):
        y.sum().backward()


def test_the_value_of_a_parameter_is_the_one_at_the_time_of_the_call(variable: Make, make: Make) -> None:
    """A parameter may get a new array between forward and backward; the tape keeps the array that was used."""
    w, x = variable([3.0]), variable([5.0])
    y = (w * x).sum()
    w.assign(make([100.0]))
    y.backward()
    assert host(x.grad).tolist() == [3.0]
    assert w.grad is None


# ------------------------------------------------------------------------------------------------------ several results


@tgl.primitive(outputs=("root", "position", "inverse"))
def root_and_more(xp: Any, x: Any) -> Any:
    """Return sqrt(x), the position of the largest element, and 1 / sqrt(x)."""
    root = xp.sqrt(x)
    return root, xp.argmax(x, axis=-1), 1.0 / root


def _root_rule(g: Any, root: Any, inverse: Any, position: Any) -> Any:
    g_root, g_position, g_inverse = g
    assert g_position is None
    assert position.dtype.kind == "i"
    return g_root * inverse * 0.5 - g_inverse * inverse / (root * root) * 0.5


root_and_more.defvjp(x=_root_rule)


def test_each_of_several_results_has_its_gradient(make: Make) -> None:
    x = make([1.0, 4.0])
    root, position, inverse = root_and_more(tgl.tensor(x, requires_grad=True))
    assert root.requires_grad
    assert inverse.requires_grad
    assert not position.requires_grad
    assert int(position) == 1
    for chosen, expected in ((0, [0.5, 0.25]), (2, [-0.5, -0.0625])):
        assert host(tgl.grad(lambda x, k=chosen: root_and_more(x)[k].sum())(x)).tolist() == expected


def test_both_results_used_call_the_rule_once(variable: Make) -> None:
    x = variable([1.0, 4.0])
    root, _, inverse = root_and_more(x)
    (2.0 * root + inverse + root).sum().backward()
    np.testing.assert_allclose(host(x.grad), [1.0, 0.6875])


def test_float_results_are_on_the_tape_so_second_derivatives_are_right(make: Make) -> None:
    """The rule uses `inverse`, itself a function of x. As a constant it would give half of the second derivative."""
    x = make([1.0, 4.0, 2.25])
    expected = np.array([1.0, 4.0, 2.25])
    for k, d2, d3 in ((0, -0.25 * expected**-1.5, 0.375 * expected**-2.5), (2, 0.75 * expected**-2.5, None)):
        first = tgl.grad(lambda x, k=k: root_and_more(x)[k].sum())
        second = tgl.grad(lambda x, f=first: f(x).sum())
        np.testing.assert_allclose(host(second(x)), d2, rtol=1e-12)
        if d3 is not None:
            np.testing.assert_allclose(host(tgl.grad(lambda x, f=second: f(x).sum())(x)), d3, rtol=1e-12)


def test_arrays_give_a_tuple_of_arrays(make: Make) -> None:
    results = root_and_more(make([1.0]))
    assert type(results) is tuple
    assert not any(isinstance(r, tgl.Tensor) for r in results)


# ----------------------------------------------------------------------------------------- widths, devices and integers


def test_different_float_widths_are_refused(make: Make) -> None:
    x, y = tgl.tensor(make([1.0], "float32")), tgl.tensor(make([1.0], "float64"))
    message = r"add: expected one float width, got float32 \(1,\) and float64 \(1,\); convert one with .astype"
    with pytest.raises(DTypeError, match=message):
        tgl.add(x, y)
    with pytest.raises(DTypeError, match=message):
        tgl.add(x.value, y.value)


def test_numbers_take_the_width_of_the_array(make: Make) -> None:
    x = tgl.tensor(make([1.0, 2.0], "float32"), requires_grad=True)
    y = (2 * x + 1.5) ** 2 / 3
    assert y.dtype == "float32"
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == "float32"


def test_integers_that_would_widen_a_tracked_array_are_refused(make: Make) -> None:
    x = tgl.tensor(make([1.0], "float32"), requires_grad=True)
    with pytest.raises(DTypeError, match=r"multiply: expected a result of float32 .* got float64; an array of int"):
        tgl.multiply(x, make([2], "int64"))
    assert (x * make([2], "int64")).dtype == "float32"  # the operator converts
    assert tgl.multiply(x, make([2], "int8")).dtype == "float32"


def test_integers_carry_no_gradient_and_the_error_says_so(make: Make) -> None:
    whole = make([1, 2], "int64")
    with pytest.raises(DTypeError, match="expected floats to require a gradient, got int64"):
        tgl.tensor(whole, requires_grad=True)
    with pytest.raises(DTypeError, match="integers carry no gradient"):
        tgl.grad(lambda x: x.sum())(whole)
    rounded = tgl.tensor(make([1.5]), requires_grad=True).astype("int64")
    assert not rounded.requires_grad


def test_arrays_of_two_devices_are_refused() -> None:
    here, there = tgl.tensor(np.ones(2)), tgl.tensor(to_device(np.ones(2)))
    message = r"multiply: expected arrays of one device, got \['cpu', 'strict'\]; move them with \.to"
    with pytest.raises(DeviceError, match=message):
        tgl.multiply(here, there)
    with pytest.raises(DeviceError, match="matmul_matrices: expected arrays of one device"):
        tgl.matmul(here.value.reshape(1, 2), there.value.reshape(2, 1))


def test_complex_numbers_may_be_combined_with_float64_only(make: Make) -> None:
    z, x = make([1.0 + 2.0j], "complex128"), make([3.0])
    assert host(tgl.multiply(z, x)).tolist() == [3.0 + 6.0j]
    with pytest.raises(DTypeError, match="expected one float width"):
        tgl.multiply(z, make([3.0], "float32"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: tgl.astype(x, "int8"), r"astype: expected astype\(x, \*, dtype\), arrays by position"),
        (lambda x: tgl.exp(), "missing a required argument: 'x'"),
        (lambda x: tgl.add(x, None), "add: expected arrays of numbers, got float64, None"),
        (lambda x: x * "a", "multiply: expected numbers, got str of <U1"),
        (lambda x: tgl.exp(x, base=2), r"exp: expected exp\(x\), arrays by position .* 'base'"),
    ],
)
def test_arguments_that_a_forward_does_not_take_are_refused(variable: Make, call: Any, message: str) -> None:
    with pytest.raises(DTypeError, match=message):
        call(variable([1.0]))
