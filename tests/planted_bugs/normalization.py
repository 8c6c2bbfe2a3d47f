"""Planted bugs of normalizations: moments, their derivatives, and running statistics."""

from __future__ import annotations

import math
from typing import Any

import tinygrad_lab as tgl
from tests.planted_bugs.planting import plant, planted
from tinygrad_lab.ops.normalization import batch_norm, blend, centered_sums, standardize
from tinygrad_lab_layers import BatchNorm
from tinygrad_lab_layers.local_response_norm.layer import channel_sum, local_response_norm


def batch_norm_rule(
    *,
    variance_term: float = 1.0,
    mean_term: float = 1.0,
    with_eps: float = 1.0,
    less: int = 0,
    scaled: bool = True,
    constants: bool = False,
) -> Any:
    """Return batch normalization's rule with a term dropped or damaged."""

    def rule(g: Any, x: Any, scale: Any, mean: Any, variance: Any, eps: float, wanted: Any) -> Any:
        if constants:
            mean, variance = tgl.stop_gradient(mean), tgl.stop_gradient(variance)
        g, g_mean, g_variance = g
        per_element = 1.0 / max(1, math.prod(x.shape[:-1]) - less)
        r = 1.0 / tgl.sqrt(variance + eps * with_eps)
        total, moment = centered_sums(g, x, mean)
        a = scale * r
        b = (2.0 * g_variance - variance_term * a * r * r * moment) * per_element
        c = (g_mean - mean_term * a * total) * per_element
        return blend(g, x, mean, a, b, c), r * moment if scaled else moment, total

    return {batch_norm: {"x, scale, shift": rule}}


plant(
    "variance_term_dropped",
    "batch_norm",
    "the derivative through the batch's variance is missing",
    rules=batch_norm_rule(variance_term=0.0),
)
plant(
    "mean_term_dropped",
    "batch_norm",
    "the derivative through the batch's mean is missing",
    rules=batch_norm_rule(mean_term=0.0),
)
plant("eps_forgotten_backward", "batch_norm", "in the backward pass, eps is 0", rules=batch_norm_rule(with_eps=0.0))
plant(
    "unbiased_backward",
    "batch_norm",
    "in the backward pass, sums are divided by m - 1 and not by m",
    rules=batch_norm_rule(less=1),
)
plant(
    "scale_gradient_not_normalized",
    "batch_norm",
    "the scale's gradient sums g (x - mean) and is not divided by the deviation",
    rules=batch_norm_rule(scaled=False),
)
plant(
    "statistics_as_constants",
    "batch_norm",
    "the saved mean and variance are treated as constants, so that only the second derivative is wrong",
    by="second_order",
    rules=batch_norm_rule(constants=True),
)


@planted("updated_in_evaluation", "batch_norm", "running statistics are updated in evaluation too", by="modes")
class UpdatedInEvaluation(BatchNorm):
    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        if not self.training and x.shape[0]:
            with tgl.no_grad():
                self.update(running_mean=self._moved(self.running_mean, tgl.mean(x, tuple(range(x.ndim - 1)))))
        return y


@planted(
    "updated_again_in_recomputation",
    "batch_norm",
    "running statistics are assigned in the forward, so that recomputation updates them a second time",
    by="checkpoint",
)
class UpdatedAgain(BatchNorm):
    def update(self, **buffers: Any) -> None:
        for name, value in buffers.items():
            getattr(self, name).assign(value)


@planted("momentum_exchanged", "batch_norm", "momentum weights the new statistics instead of the old ones", by="modes")
class MomentumExchanged(BatchNorm):
    def _moved(self, running: Any, new: Any) -> Any:
        return running * (1.0 - self.momentum) + new * self.momentum


@planted("running_variance_biased", "batch_norm", "the running variance is divided by m and not by m - 1", by="modes")
class RunningVarianceBiased(BatchNorm):
    def update(self, **buffers: Any) -> None:
        if "running_var" in buffers:
            new = self._variance
            with tgl.no_grad():
                buffers["running_var"] = self._moved(self.running_var, new)
        super().update(**buffers)

    def forward(self, x: Any) -> Any:
        with tgl.no_grad():
            axes = tuple(range(x.ndim - 1))
            self._variance = tgl.var(x, axes) if self.training else None
        return super().forward(x)


@planted("updated_twice", "batch_norm", "one call in training updates the running statistics twice", by="modes")
class UpdatedTwice(BatchNorm):
    def _moved(self, running: Any, new: Any) -> Any:
        return super()._moved(super()._moved(running, new), new)


@planted(
    "batch_statistics_in_evaluation",
    "batch_norm",
    "evaluation normalizes by the batch and not by the running statistics",
    by="reference",
)
class BatchStatisticsInEvaluation(BatchNorm):
    def forward(self, x: Any) -> Any:
        self.output_shape(x.shape)
        y, *_ = tgl.batch_norm(x, self.scale, self.shift, eps=self.eps)
        return y if not self.training else super().forward(x)


def standardize_rule(*, along_term: float = 1.0, constants: bool = False) -> Any:
    """Return the rule of standard scores with a term dropped, or with its residual a constant."""

    def rule(g: Any, out: Any, rstd: Any, axes: tuple[int, ...]) -> Any:
        if constants:
            rstd = tgl.stop_gradient(rstd)
        g, g_rstd = g
        per_element = 1.0 / max(1, math.prod(out.shape[i] for i in axes))
        along = along_term * tgl.mean(g * out, axes, keepdims=True) + g_rstd * rstd * per_element
        return rstd * (g - tgl.mean(g, axes, keepdims=True) - out * along)

    return {standardize: {"x": rule}}


def _eps_outside(xp: Any, x: Any, *, axes: tuple[int, ...], eps: float) -> Any:
    centered = x - xp.mean(x, axis=axes, keepdims=True)
    rstd = 1.0 / (xp.sqrt(xp.mean(centered * centered, axis=axes, keepdims=True)) + eps)
    return centered * rstd, rstd


plant(
    "deviation_as_constant",
    "layer_norm",
    "the derivative through the row's deviation is missing",
    rules=standardize_rule(along_term=0.0),
)
plant(
    "rstd_residual_constant",
    "layer_norm",
    "the saved 1 / deviation is treated as a constant, so that only the second derivative is wrong",
    by="second_order",
    rules=standardize_rule(constants=True),
)
plant(
    "eps_outside_the_root",
    "layer_norm",
    "eps is added to the deviation instead of the variance",
    by="reference",
    forwards={standardize: _eps_outside},
)
plant(
    "group_deviation_as_constant",
    "group_norm",
    "the derivative through the group's deviation is missing",
    rules=standardize_rule(along_term=0.0),
)


_forward = standardize.forward
plant(
    "channels_for_groups",
    "group_norm",
    "each channel is normalized by itself, and not with its group",
    by="reference",
    forwards={standardize: lambda xp, x, *, axes, eps: _forward(xp, x, axes=(1,), eps=eps)},
)


def response_rule(*, neighbors: float = 1.0, mirrored: bool = True, power: float = 1.0, constants: bool = False) -> Any:
    """Return local response normalization's rule, damaged."""

    def rule(g: Any, x: Any, before: int, after: int, factor: float, beta: float, k: float) -> Any:
        base = channel_sum(x * x, before=before, after=after) * factor + k
        base = tgl.stop_gradient(base) if constants else base
        shrink = tgl.power(base, -beta)
        back = (after, before) if mirrored else (before, after)
        seen = channel_sum(g * x * shrink / tgl.power(base, power), before=back[0], after=back[1])
        return g * shrink - neighbors * x * seen * (2.0 * factor * beta)

    return {local_response_norm: {"x": rule}}


plant(
    "inhibition_as_constant",
    "local_response_norm",
    "the derivative through the neighbors' squares is missing",
    rules=response_rule(neighbors=0.0),
)
plant(
    "neighborhood_not_mirrored",
    "local_response_norm",
    "in the backward pass, an asymmetric neighborhood is not reversed",
    rules=response_rule(mirrored=False),
)
plant(
    "exponent_not_lowered",
    "local_response_norm",
    "the derivative of base^-beta has the exponent -beta instead of -beta - 1",
    rules=response_rule(power=0.0),
)


plant(
    "inhibition_that_does_not_bend",
    "local_response_norm",
    "the gradient is right, but its own derivative treats the sums of squares as constants",
    by="second_order",
    rules=response_rule(constants=True),
)


_response = local_response_norm.forward
plant(
    "inhibition_across_pixels",
    "local_response_norm",
    "the last channels of a pixel inhibit the first ones of the next",
    by="reference",
    forwards={local_response_norm: lambda xp, x, **options: _response(xp, x.reshape(-1), **options).reshape(x.shape)},
)
