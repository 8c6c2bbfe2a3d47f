"""Planted bugs of activations: wrong slopes, kinks, residuals and values that are not finite."""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl
from tests.planted_bugs.planting import plant, planted
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.ops.activation import log_softmax, relu, softmax
from tinygrad_lab.ops.arithmetic import clip_between
from tinygrad_lab.ops.elementary import sigmoid, tanh
from tinygrad_lab_layers import ReLU
from tinygrad_lab_layers.elu.layer import elu
from tinygrad_lab_layers.gelu.layer import gelu_tanh
from tinygrad_lab_layers.leaky_relu.layer import leaky_relu
from tinygrad_lab_layers.prelu.layer import prelu
from tinygrad_lab_layers.silu.layer import silu
from tinygrad_lab_layers.softplus.layer import softplus


def total(x: Any, axis: int) -> Any:
    """Return the sum along an axis, with a length of 1 for this axis."""
    return tgl.sum(x, axis, keepdims=True)


plant(
    "mean_for_sum",
    "softmax",
    "the rule takes the mean of g y where it should take the sum",
    rules={softmax: {"x": lambda g, out, axis: out * (g - tgl.mean(g * out, axis, keepdims=True))}},
)
plant(
    "diagonal_only",
    "softmax",
    "the rule is the elementwise one of the logistic function",
    rules={softmax: {"x": lambda g, out, axis: g * out * (1.0 - out)}},
)
plant(
    "blind_to_ones",
    "softmax",
    "the rule returns 0, which is right only for the derivative of the sum",
    rules={softmax: {"x": lambda g, out, axis: 0.0 * g}},
)
plant(
    "last_axis_backward",
    "softmax",
    "the forward uses the axis, the rule sums along the last one",
    rules={softmax: {"x": lambda g, out, axis: out * (g - total(g * out, -1))}},
)
plant(
    "softmax_residual_constant",
    "softmax",
    "the saved result is treated as a constant, so that only the second derivative is wrong",
    by="second_order",
    rules={softmax: {"x": lambda g, out, axis: tgl.stop_gradient(out) * (g - total(g * tgl.stop_gradient(out), axis))}},
)


def _softmax_not_shifted(xp: Any, x: Any, *, axis: int = -1) -> Any:
    powers = xp.exp(x)
    return powers / xp.sum(powers, axis=axis, keepdims=True)


plant(
    "softmax_overflows",
    "softmax",
    "the maximum is not subtracted, so that large scores overflow",
    by="translation_invariant",
    forwards={softmax: _softmax_not_shifted},
)
plant(
    "sum_of_cotangents_forgotten",
    "log_softmax",
    "the rule weights each cotangent by its own probability and omits the sum",
    rules={log_softmax: {"x": lambda g, out, axis: g - tgl.exp(out) * g}},
)
plant(
    "logarithm_twice",
    "log_softmax",
    "the rule uses the saved logarithms as probabilities",
    rules={log_softmax: {"x": lambda g, out, axis: g - out * total(g, axis)}},
)


def _positive_or_zero(xp: Any, x: Any) -> Any:
    return xp.where(x > 0, x, xp.zeros_like(x))


plant(
    "nan_swallowed",
    "relu",
    "NaN compares as not positive and becomes 0",
    by="non_finite",
    forwards={relu: _positive_or_zero},
)
plant(
    "mask_of_cotangent",
    "relu",
    "the mask is where the cotangent is positive, not where the result is",
    rules={relu: {"x": lambda g: tgl.where(g > 0, g, 0.0)}},
)
plant(
    "nan_cotangent_swallowed",
    "relu",
    "the rule replaces numbers of the cotangent that are not finite",
    by="non_finite",
    rules={relu: {"x": lambda g, out: tgl.where(out > 0, tgl.where(tgl.isfinite(g), g, 0.0), 0.0)}},
)
plant(
    "mask_off_by_a_half",
    "relu",
    "the mask is where the result is above 0.5",
    rules={relu: {"x": lambda g, out: tgl.where(out > 0.5, g, 0.0)}},
)


@planted(
    "mask_of_previous_call",
    "relu",
    "the mask is kept on the layer, where the next call overwrites it before the backward pass",
    by="accumulation",
)
class MaskOnLayer(ReLU):
    def forward(self, x: Any) -> Any:
        self.kept = {"mask": unbox(x) > 0}

        @tgl.primitive
        def relu_again(xp: Any, x: Any) -> Any:
            return xp.maximum(x, 0)

        relu_again.defvjp(x=lambda g: tgl.where(self.kept["mask"], g, 0.0))
        return relu_again(x)


plant(
    "sigmoid_residual_constant",
    "sigmoid",
    "the saved result is treated as a constant, so that only the second derivative is wrong",
    by="second_order",
    rules={sigmoid: {"x": lambda g, out: g * tgl.stop_gradient(out * (1.0 - out))}},
)
plant(
    "sigmoid_of_input",
    "sigmoid",
    "the rule is x (1 - x) of the input, not of the result",
    rules={sigmoid: {"x": lambda g, x: g * x * (1.0 - x)}},
)
plant(
    "square_missing",
    "tanh",
    "the rule is 1 - y, not 1 - y^2",
    rules={tanh: {"x": lambda g, out: g * (1.0 - out)}},
)
plant(
    "tanh_residual_constant",
    "tanh",
    "the saved result is treated as a constant, so that only the second derivative is wrong",
    by="second_order",
    rules={tanh: {"x": lambda g, out: g * tgl.stop_gradient(1.0 - out * out)}},
)
plant(
    "sign_wrong_far_out",
    "tanh",
    "below -4, where values are rare and slopes are small, the sign is wrong",
    rules={tanh: {"x": lambda g, x, out: tgl.where(x < -4.0, -g, g) * (1.0 - out * out)}},
)
plant(
    "alpha_forgotten",
    "elu",
    "the rule is y + 1, which is right only for alpha = 1",
    rules={elu: {"x": lambda g, out: tgl.where(out > 0, g, g * (out + 1.0))}},
)
plant(
    "sign_wrong_in_the_tail",
    "elu",
    "below -5, where values are rare, the sign is wrong",
    rules={elu: {"x": lambda g, x, out, alpha: tgl.where(x < -5.0, -g, g) * tgl.where(out > 0, 1.0, out + alpha)}},
)
plant(
    "slope_squared",
    "leaky_relu",
    "the slope counts twice",
    rules={leaky_relu: {"x": lambda g, x, slope: tgl.where(x > 0, g, slope * slope * g)}},
)
plant(
    "positive_part_counted",
    "prelu",
    "the slope's gradient sums over positive inputs too",
    rules={prelu: {"slope": lambda g, x, slope_like: tgl.sum_to(g * x, slope_like)}},
)
plant(
    "slope_gradient_not_summed",
    "prelu",
    "the slope's gradient is not summed over the axes along which the slope is broadcast",
    by="shapes_and_dtypes",
    rules={prelu: {"slope": lambda g, x: g * tgl.where(x > 0, 0.0, x)}},
)
plant(
    "approximation_differentiated",
    "gelu",
    "the rule of the tanh form is that of the less exact x sigmoid(1.702 x)",
    rules={
        gelu_tanh: {"x": lambda g, x: g * tgl.sigmoid(1.702 * x) * (1.0 + 1.702 * x * (1.0 - tgl.sigmoid(1.702 * x)))}
    },
)
plant(
    "product_rule_forgotten",
    "silu",
    "the rule is sigmoid(x) and lacks x sigmoid'(x)",
    rules={silu: {"x": lambda g, x: g * tgl.sigmoid(x)}},
)
plant(
    "inner_derivative_twice",
    "softplus",
    "the rule multiplies by beta, which the division by beta cancels",
    rules={softplus: {"x": lambda g, x, beta: g * tgl.sigmoid(beta * x) * beta}},
)
plant(
    "straight_through",
    "hardtanh",
    "the gradient passes outside of the bounds too",
    rules={clip_between: {"x": lambda g: g}},
)
plant(
    "upper_bound_open",
    "hardtanh",
    "the gradient is stopped below and not above",
    rules={clip_between: {"x": lambda g, x, low: tgl.where(x >= low, g, 0.0)}},
)
