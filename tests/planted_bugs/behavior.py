"""Planted bugs of randomness, modes, configuration, widths and kernels."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tests.planted_bugs.planting import plant, planted
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.ops.dropping import dropout
from tinygrad_lab.ops.elementary import tanh
from tinygrad_lab_layers import (
    AvgPool2d,
    BatchNorm,
    Dense,
    Dropout,
    LayerNorm,
    PReLU,
    ReLU,
    Sigmoid,
    SpatialDropout2d,
    Tanh,
)

plant(
    "mask_redrawn_backward",
    "dropout",
    "the rule draws a different mask than the forward does",
    rules={dropout: {"x": lambda g, key, rate, shared: dropout(g, key=key + 1, rate=rate, shared=shared)}},
)
plant(
    "mask_not_scaled_backward",
    "dropout",
    "the rule leaves out the factor 1 / (1 - p)",
    rules={dropout: {"x": lambda g, key, rate, shared: dropout(g, key=key, rate=rate, shared=shared) * (1.0 - rate)}},
)
plant(
    "not_scaled_at_all",
    "dropout",
    "kept elements are not scaled by 1 / (1 - p), so the means of training and evaluation differ",
    by="kept_or_dropped",
    rules={dropout: {"x": lambda g, key, rate, shared: dropout(g, key=key, rate=rate, shared=shared) * (1.0 - rate)}},
    forwards={
        dropout: lambda xp, x, *, key, rate, shared=(): (
            _dropout(xp, x, key=key, rate=rate, shared=shared) * (1.0 - rate)
        )
    },
)
plant(
    "kept_and_dropped_exchanged",
    "dropout",
    "an element is kept with probability p and not 1 - p",
    by="statistics",
    rules={dropout: {"x": lambda g, key, rate, shared: dropout(g, key=key, rate=1.0 - rate, shared=shared)}},
    forwards={dropout: lambda xp, x, *, key, rate, shared=(): _dropout(xp, x, key=key, rate=1.0 - rate, shared=shared)},
)
_dropout = dropout.forward


@planted(
    "mask_redrawn_in_recomputation",
    "dropout",
    "masks are numbered by a counter of the layer, which recomputation increases",
    by="determinism",
)
class OwnCounter(Dropout):
    def __init__(self, rate: float = 0.5) -> None:
        super().__init__(rate)
        self.masks = itertools.count()

    def forward(self, x: Any) -> Any:
        return tgl.dropout(x, key=next(self.masks), rate=self.rate) if self.training and self.rate else x


@planted("dropped_in_evaluation", "dropout", "elements are dropped in evaluation too", by="identity_in_evaluation")
class DroppedInEvaluation(Dropout):
    def forward(self, x: Any) -> Any:
        return tgl.dropout(x, key=self.random(x).key, rate=self.rate)


@planted(
    "global_generator",
    "dropout",
    "the mask is drawn from a generator that the process shares, not from the seed and the step",
    by="determinism",
)
class GlobalGenerator(Dropout):
    generator = np.random.default_rng(0)

    def forward(self, x: Any) -> Any:
        if not self.training or not self.rate:
            return x
        return tgl.dropout(x, key=int(self.generator.integers(2**62)), rate=self.rate)


@planted("pixels_dropped_one_by_one", "spatial_dropout2d", "single pixels are dropped, not planes", by="whole_planes")
class PixelsDropped(SpatialDropout2d):
    def forward(self, x: Any) -> Any:
        self.output_shape(x.shape)
        return tgl.dropout(x, key=self.random(x).key, rate=self.rate) if self.training and self.rate else x


@planted("frozen_noise", "dropout", "the mask is the same in every step", by="statistics")
class FrozenNoise(Dropout):
    def forward(self, x: Any) -> Any:
        return tgl.dropout(x, key=7, rate=self.rate) if self.training and self.rate else x


@planted("noise_of_its_own", "tanh", "the layer adds a little noise from its own generator", by="determinism")
class Noise(Tanh):
    generator = np.random.default_rng(0)

    def forward(self, x: Any) -> Any:
        return super().forward(x) * float(1.0 + 1e-6 * self.generator.uniform())


_noise = np.random.default_rng(0)
plant(
    "rounding_by_chance",
    "tanh",
    "the gradient is rounded up or down at random",
    by="determinism",
    rules={tanh: {"x": lambda g, out: g * (1.0 - out * out) * float(1.0 + 1e-6 * _noise.uniform(-1, 1))}},
)


@planted("options_not_restored", "avg_pool2d", "from_config() forgets stride and padding", by="fresh_process")
class OptionsNotRestored(AvgPool2d):
    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(config["kernel_size"])


@planted("buffer_left_out_of_state", "batch_norm", "state() leaves out the running mean", by="fresh_process")
class BufferLeftOut(BatchNorm):
    def state(self) -> dict[str, Any]:
        return {path: value for path, value in super().state().items() if path != "running_mean"}

    def load_state(self, state: Any) -> None:
        super().load_state({"running_mean": self.running_mean.value, **state})


@planted("weights_kept", "dense", "loading a state leaves the weights as they were drawn", by="fresh_process")
class WeightsKept(Dense):
    def load_state(self, state: Any) -> None:
        super().load_state({**state, **{path: v.value for path, v in self.parameters().items() if path == "weight"}})


@planted("widened", "layer_norm", "float32 becomes float64", by="shapes_and_dtypes")
class Widened(LayerNorm):
    def forward(self, x: Any) -> Any:
        return tgl.astype(super().forward(x), dtype="float64")


@planted("constant_of_one_width", "sigmoid", "a constant is float64 whatever the input is", by="shapes_and_dtypes")
class ConstantOfOneWidth(Sigmoid):
    def forward(self, x: Any) -> Any:
        return super().forward(x * np.ones((), "float64"))


@planted("writes_into_its_input", "relu", "the forward works in place", by="forward")
class InPlace(ReLU):
    def forward(self, x: Any) -> Any:
        np.maximum(unbox(x), 0, out=unbox(x))
        return super().forward(x)


@tgl.primitive
def tanh_in_place(xp: Any, x: Any) -> Any:
    """Return the hyperbolic tangent, with a rule that overwrites its cotangent."""
    return xp.tanh(x)


def _in_place(g: Any, out: Any) -> Any:
    g *= 1.0 - out * out
    return g


tanh_in_place.defvjp(x=_in_place)


@planted("writes_into_the_cotangent", "tanh", "the rule works in place on its cotangent", by="nothing_mutated")
class WritesIntoCotangent(Tanh):
    def forward(self, x: Any) -> Any:
        return tanh_in_place(x)


@planted("empty_batch_divides", "dense", "rows are scaled by n / n, an error for an empty batch", by="zero_size")
class EmptyBatchDivides(Dense):
    def forward(self, x: Any) -> Any:
        n = x.shape[0]
        return super().forward(x) * (n / n)


@planted(
    "centred_over_the_batch",
    "dense",
    "the batch's mean is subtracted, so that rows depend on each other",
    by="batch_independent",
)
class CentredOverBatch(Dense):
    def forward(self, x: Any) -> Any:
        return super().forward(x - tgl.mean(x, 0, keepdims=True) if x.shape[0] > 1 else x)


@planted("error_not_raised", "dense", "an input with too long a last axis is silently truncated", by="bad_inputs")
class ErrorNotRaised(Dense):
    def forward(self, x: Any) -> Any:
        return super().forward(x[..., : self.in_features])


@planted("raises_a_bare_error", "dropout", "a rate out of range raises AssertionError", by="bad_inputs")
class RaisesABareError(Dropout):
    def __init__(self, rate: float = 0.5) -> None:
        assert 0 <= rate < 1
        super().__init__(rate)


def sigmoid_with_kernel() -> tgl.Primitive:
    """Return the logistic function with a kernel that skips the last of an odd number of elements."""

    @tgl.primitive
    def logistic(xp: Any, x: Any) -> Any:
        return 1.0 / (1.0 + xp.exp(-x))

    logistic.defvjp(x=lambda g, out: g * out * (1.0 - out))

    @logistic.kernel("numpy", error_bound=1e-5)
    def in_pairs(x: Any) -> Any:
        out = 1.0 / (1.0 + np.exp(-x))
        if x.ndim and x.shape[-1] % 2:
            out[..., -1] = 0.5
        return out

    return logistic


def prelu_with_kernel() -> tgl.Primitive:
    """Return PReLU with a kernel that assumes one slope for each channel."""

    @tgl.primitive
    def leak(xp: Any, x: Any, slope: Any) -> Any:
        return xp.where(x > 0, x, slope * x)

    leak.defvjp(
        x=lambda g, x, slope: tgl.where(x > 0, g, slope * g),
        slope=lambda g, x, slope_like: tgl.sum_to(g * tgl.where(x > 0, 0.0, x), slope_like),
    )

    @leak.kernel("numpy", when=lambda x, slope: slope.shape != (1,), error_bound=1e-6)
    def by_address(x: Any, slope: Any) -> Any:
        slopes = np.lib.stride_tricks.as_strided(slope, x.shape[-1:], slope.strides[-1:])
        return np.where(x > 0, x, slopes * x)

    return leak


@planted("kernel_reads_beyond", "prelu", "a kernel reads slopes beyond the end of the array", by="misfits")
class KernelReadsBeyond(PReLU):
    leak = staticmethod(prelu_with_kernel())

    def forward(self, x: Any) -> Any:
        self.output_shape(x.shape)
        return self.leak(x, self.slope)


@planted("kernel_forgets_the_tail", "sigmoid", "a kernel skips the last of an odd number of elements", by="kernels")
class KernelForgetsTail(Sigmoid):
    logistic = staticmethod(sigmoid_with_kernel())

    def forward(self, x: Any) -> Any:
        return self.logistic(x)
