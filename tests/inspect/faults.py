"""Forty training faults, each in a small network, for `explain_backward` and for PyTorch's anomaly mode.

A fault is a function of a library `t` and of variables. The line of the fault ends with the comment ``# here``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

HERE = "# here"
RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 1.5, (6, 3)).astype("float32")
W = RNG.normal(0.0, 0.5, (3, 4)).astype("float32")
V = RNG.normal(0.0, 0.5, (4, 2)).astype("float32")
Y = np.array([0, 1, 0, 1, 1, 0])
SQUARE = (np.eye(4) * 0.5).astype("float32")


@dataclass(frozen=True)
class Fault:
    """A function with a fault, the variable that suffers from it, and the kind of the cause."""

    compute: Callable[..., Any]
    kind: str
    variable: str
    state: str
    arrays: dict[str, Any]

    @property
    def name(self) -> str:
        return self.compute.__name__

    @property
    def line(self) -> int:
        lines, first = inspect.getsourcelines(self.compute)
        (at,) = [i for i, line in enumerate(lines) if HERE in line]
        return first + at


FAULTS: list[Fault] = []


def fault(kind: str, variable: str, state: str, **arrays: Any) -> Callable[[Any], Any]:
    """Plant a fault. A variable whose name ends in ``_frozen`` or begins with ``data`` is a constant."""

    def plant(compute: Any) -> Any:
        FAULTS.append(Fault(compute, kind, variable, state, {k: np.asarray(v, "float32") for k, v in arrays.items()}))
        return compute

    return plant


# ------------------------------------------------------------------------------------------------- gradients that are 0


@fault("dead_relu", "w", "zero", w=W, b=np.full(4, -50.0), v=V)
def a_bias_far_below_zero(t: Any, w: Any, b: Any, v: Any) -> Any:
    h = t.array(X) @ w + b
    h = t.relu(h)  # here
    return ((h @ v) ** 2.0).sum()


@fault("dead_relu", "w", "zero", w=np.abs(W))
def relu_of_inputs_that_are_all_negative(t: Any, w: Any) -> Any:
    return ((t.relu(t.array(-X) @ w) - 1.0) ** 2.0).mean()  # here


@fault("dead_relu", "v", "zero", w=W, v=V, b=np.full(2, -9.0))
def relu_at_the_output(t: Any, w: Any, v: Any, b: Any) -> Any:
    h = t.tanh(t.array(X) @ w)
    y = t.relu(h @ v + b)  # here
    return ((y - 1.0) ** 2.0).mean()


@fault("dead_relu", "v", "zero", w=W, b=np.full(4, -50.0), v=V)
def a_dead_layer_below(t: Any, w: Any, b: Any, v: Any) -> Any:
    h = t.relu(t.array(X) @ w + b)  # here
    return ((h @ v - 1.0) ** 2.0).sum()


@fault("dead_relu", "w", "zero", w=W)
def a_margin_that_every_example_keeps(t: Any, w: Any) -> Any:
    scores = t.abs(t.array(X) @ w).sum(1) + 5.0
    return t.relu(1.0 - scores).mean()  # here


@fault("saturated", "w", "zero", w=W, v=V)
def a_sigmoid_of_large_inputs(t: Any, w: Any, v: Any) -> Any:
    h = t.sigmoid(t.array(X * 1000.0) @ t.abs(w))  # here
    return ((h @ v) ** 2.0).mean()


@fault("saturated", "w", "zero", w=np.abs(W) + 0.1, v=V)
def a_tanh_of_pixels_from_0_to_255(t: Any, w: Any, v: Any) -> Any:
    h = t.tanh(t.array(X * 255.0) @ w)  # here
    return ((h @ v) ** 2.0).mean()


@fault("saturated", "v", "zero", w=W, v=np.array([[900.0, -900.0]] * 4))
def a_softmax_of_large_logits(t: Any, w: Any, v: Any) -> Any:
    h = t.abs(t.array(X) @ w)
    p = t.softmax(h @ v)  # here
    return ((p - 0.5) ** 2.0).mean()


@fault("one_class", "v", "zero", w=W, v=V[:, :1])
def a_softmax_over_one_output(t: Any, w: Any, v: Any) -> Any:
    p = t.softmax(t.tanh(t.array(X) @ w) @ v)  # here
    return ((p - 0.5) ** 2.0).mean()


@fault("clipped", "w", "zero", w=np.abs(W) + 1.0)
def predictions_clipped_out_of_their_range(t: Any, w: Any) -> Any:
    y = t.array(X) @ w
    y = t.clip(y, 0.0, 1.0)  # here
    return ((y - 0.5) ** 2.0).mean()


@fault("not_chosen", "w", "zero", w=W)
def a_floor_that_is_higher_than_every_result(t: Any, w: Any) -> Any:
    y = t.maximum(t.array(X) @ w, t.array(np.full((6, 4), 99.0)))  # here
    return y.mean()


@fault("masked", "w", "zero", w=W)
def a_condition_that_is_never_true(t: Any, w: Any) -> Any:
    y = t.array(X) @ w
    y = t.where(t.array(X[:, :1]) > 9.0, y, t.array(np.zeros((6, 4))))  # here
    return (y - 1.0).sum()


@fault("zero_factor", "w", "zero", w=W, v=np.zeros((4, 2)))
def a_second_layer_that_starts_at_zero(t: Any, w: Any, v: Any) -> Any:
    h = t.tanh(t.array(X) @ w)
    y = h @ v  # here
    return ((y - 1.0) ** 2.0).mean()


@fault("zero_factor", "w", "zero", w=W, b=np.ones(4))
def images_that_are_all_black(t: Any, w: Any, b: Any) -> Any:
    h = t.array(X * 0.0) @ w + b  # here
    return (h**2.0).mean()


@fault("zero_factor", "w", "zero", w=W)
def a_mask_that_selects_nothing(t: Any, w: Any) -> Any:
    losses = ((t.array(X) @ w) ** 2.0).sum(1)
    return (losses * t.array(X[:, 0] > 9.0)).sum()  # here


@fault("zero_factor", "u", "zero", w=W, u=V)
def an_auxiliary_loss_with_weight_zero(t: Any, w: Any, u: Any) -> Any:
    h = t.tanh(t.array(X) @ w)
    auxiliary = ((h @ u - 1.0) ** 2.0).mean()
    return (h**2.0).mean() + auxiliary * 0.0  # here


@fault("zero_derivative", "w", "missing", w=W)
def predictions_that_are_rounded(t: Any, w: Any) -> Any:
    y = t.round(t.array(X) @ w)  # here
    return ((y - 1.0) ** 2.0).mean()


@fault("hook", "w", "zero", w=W, v=V)
def a_hook_that_returns_zero(t: Any, w: Any, v: Any) -> Any:
    h = t.tanh(t.array(X) @ w)
    h.register_hook(lambda g: g * 0.0)  # here
    return ((h @ v) ** 2.0).mean()


@fault("underflow", "w", "zero", w=W)
def a_loss_scaled_below_the_smallest_number(t: Any, w: Any) -> Any:
    loss = ((t.array(X) @ w) ** 2.0).mean() * 1e-30  # here
    return loss * 1e-30


# --------------------------------------------------------------------------------------- gradients that are too small


@fault("cancels", "b", "vanishing", w=W, b=np.ones(4), v=V)
def a_bias_before_a_normalization(t: Any, w: Any, b: Any, v: Any) -> Any:
    h = t.array(X) @ w + b  # here
    h = h - h.mean(0)
    return (t.tanh(h) @ v)[0].sum()


@fault("saturated", "w", "vanishing", w=W, v=V)
def a_sigmoid_that_is_almost_saturated(t: Any, w: Any, v: Any) -> Any:
    h = t.sigmoid(t.array(X) @ w - 25.0)  # here
    return (h @ v).sum()


@fault("vanishing", "w", "vanishing", w=W, u=SQUARE)
def thirty_layers_of_sigmoids(t: Any, w: Any, u: Any) -> Any:
    h = t.array(X) @ w
    for _ in range(30):
        h = t.sigmoid(h @ u)  # here
    return h.sum()


@fault("exploding", "w", "exploding", w=W, u=SQUARE * 8.0)
def twenty_layers_with_large_weights(t: Any, w: Any, u: Any) -> Any:
    h = t.array(X) @ w
    for _ in range(20):
        h = h @ u  # here
    return h.sum()


# ----------------------------------------------------------------------------------------- gradients that are missing


@fault("stop_gradient", "w", "missing", w=W, v=V)
def features_behind_stop_gradient(t: Any, w: Any, v: Any) -> Any:
    h = t.detach(t.tanh(t.array(X) @ w))  # here
    return ((h @ v) ** 2.0).mean()


@fault("detached", "w", "missing", w=W, v=V)
def features_that_were_numpy_for_a_moment(t: Any, w: Any, v: Any) -> Any:
    h = t.array(X) @ w
    h = t.array(np.tanh(t.numpy(h)))  # here
    return ((h @ v) ** 2.0).mean()


@fault("detached", "u", "missing", w=W, u=V)
def a_penalty_that_became_a_number(t: Any, w: Any, u: Any) -> Any:
    loss = ((t.array(X) @ w) ** 2.0).mean()
    return loss + (u**2.0).sum().item()  # here


@fault("no_grad", "w", "missing", w=W, v=V)
def features_under_no_grad(t: Any, w: Any, v: Any) -> Any:
    with t.no_grad():
        h = t.array(X) @ w  # here
    return ((h @ v) ** 2.0).mean()


@fault("frozen", "w_frozen", "missing", w_frozen=W, v=V)
def a_layer_that_is_still_frozen(t: Any, w_frozen: Any, v: Any) -> Any:
    h = t.array(X) @ w_frozen  # here
    return ((h @ v) ** 2.0).mean()


@fault("constant", "data", "missing", w=W, data=X)
def an_input_that_is_a_constant(t: Any, w: Any, data: Any) -> Any:
    return ((data @ w) ** 2.0).mean()  # here


@fault("never_used", "u", "missing", w=W, u=V)
def a_layer_that_forward_forgot(t: Any, w: Any, u: Any) -> Any:  # here
    return ((t.array(X) @ w) ** 2.0).mean()


@fault("unused_result", "u", "missing", w=W, u=V)
def a_branch_that_is_not_added_to_the_loss(t: Any, w: Any, u: Any) -> Any:
    h = t.tanh(t.array(X) @ w)
    h @ u  # here
    return (h**2.0).mean()


@fault("integer_result", "w", "missing", w=W)
def an_accuracy_as_the_loss(t: Any, w: Any) -> Any:
    labels = t.argmax(t.array(X) @ w, 1)  # here
    return t.where(labels == 1, t.array(np.zeros(6)), t.array(np.ones(6))).mean()


# -------------------------------------------------------------------------------------- gradients that are not finite


@fault("log_of_zero", "w", "not finite", w=W, v=np.array([[900.0, -900.0]] * 4))
def the_logarithm_of_a_softmax(t: Any, w: Any, v: Any) -> Any:
    p = t.softmax(t.abs(t.array(X) @ w) @ v)
    return -t.log(p)[:, 1].mean()  # here


@fault("division_by_zero", "w", "not finite", w=W)
def a_mean_over_a_mask_that_selects_nothing(t: Any, w: Any) -> Any:
    mask = t.array(X[:, 0] > 9.0)
    losses = ((t.array(X) @ w) ** 2.0).sum(1) * mask
    return losses.sum() / mask.sum()  # here


@fault("root_at_zero", "w", "not finite", w=W * 0.0)
def a_distance_of_zero(t: Any, w: Any) -> Any:
    squares = ((t.array(X) @ w) ** 2.0).sum(1)
    return t.sqrt(squares).sum()  # here


@fault("overflow", "w", "not finite", w=W * 1000.0)
def a_softmax_by_hand(t: Any, w: Any) -> Any:
    powers = t.exp(t.array(X) @ w)  # here
    return (powers / powers.sum(1).reshape(6, 1))[:, 0].sum()


@fault("power_of_negative", "w", "not finite", w=W)
def the_root_of_a_negative_number_by_power(t: Any, w: Any) -> Any:
    y = t.array(X) @ w
    return (y**0.5).sum()  # here


@fault("masked_infinity", "w", "not finite", w=np.array([1.0, 0.0, 2.0]))
def a_logarithm_whose_infinity_is_masked(t: Any, w: Any) -> Any:
    y = t.log(w)  # here
    return t.where(w > 0.0, y, t.array(np.zeros(3))).sum()


@fault("bad_data", "w", "not finite", w=W)
def a_missing_value_in_the_data(t: Any, w: Any) -> Any:
    x = np.where(np.arange(18).reshape(6, 3) == 7, np.nan, X)
    return ((t.array(x) @ w) ** 2.0).mean()  # here


@fault("bad_parameter", "w", "not finite", w=W, v=V * np.inf)
def a_weight_that_diverged(t: Any, w: Any, v: Any) -> Any:
    h = t.tanh(t.array(X) @ w)
    return ((h @ v) ** 2.0).mean()  # here
