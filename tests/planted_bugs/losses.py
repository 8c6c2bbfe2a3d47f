"""Planted bugs of losses."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tests.planted_bugs.planting import plant_plugin
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.conformance.cases.case import LayerCases
from tinygrad_lab.conformance.kinds.losses import draw_loss_case

LABELS = LayerCases(draw_loss_case("labels"))


def reduced(errors: Any, reduction: str) -> Any:
    """Return the errors, their sum or their mean."""
    return {"none": errors, "sum": errors.sum(), "mean": errors.mean()}[reduction]


def log_cosh(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    """Return log cosh of the errors; correct."""
    d = tgl.abs(prediction - target)
    return reduced(d + tgl.log(1.0 + tgl.exp(-2.0 * d)) - float(np.log(2.0)), reduction)


def squares(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    """Return squared errors; correct."""
    return reduced((prediction - target) ** 2, reduction)


SQUARES = LayerCases(draw_loss_case("shares"), reference=lambda p, t, reduction: reduced(np.square(p - t), reduction))


@plant_plugin("loss", "the mean over the rows alone", by="reductions")
def row_mean(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    errors = (prediction - target) ** 2
    return errors.sum() / errors.shape[0] if reduction == "mean" else reduced(errors, reduction)


@plant_plugin("loss", "the option reduction is ignored", by="reductions", says="reduction 'none'")
def always_mean(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    return ((prediction - target) ** 2).mean()


@plant_plugin("loss", "a half is missing in the value", by="reference", cases=SQUARES)
def halved(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    return squares(prediction, target, reduction=reduction) / 2


@tgl.primitive
def square_error(xp: Any, p: Any, t: Any) -> Any:
    return xp.square(p - t)


square_error.defvjp(p=lambda g, p, t: g * (p - t))


@plant_plugin("loss", "a rule without its factor of 2", by="gradients")
def no_factor(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    return reduced(square_error(prediction, target), reduction)


@plant_plugin("loss", "an error is taken out of the tape", by="gradients")
def detached(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    errors = prediction - target
    return reduced(errors * tgl.stop_gradient(errors), reduction)


@plant_plugin("loss", "log(1 + exp(z)) overflows", by="large_predictions", says="expected finite numbers, got inf")
def overflowing(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    return reduced(tgl.log(1.0 + tgl.exp(prediction)) - prediction * target, reduction)


@plant_plugin("loss", "NaN becomes 0", by="non_finite")
def hides_nan(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    errors = (prediction - target) ** 2
    return reduced(tgl.where(tgl.not_equal(errors, errors), 0.0, errors), reduction)


@plant_plugin("loss", "the predictions are changed in place", by="forward", says="read-only")
def in_place(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    raw = unbox(prediction)
    raw -= unbox(target)
    return reduced(prediction * prediction, reduction)


@plant_plugin("loss", "a float64 result of float32 predictions", by="shapes_and_dtypes")
def widened(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    errors = prediction.astype("float64") - target
    return reduced(errors * errors, reduction)


@plant_plugin("loss", "noise in the value", by="determinism")
def noisy(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    errors = (prediction - target) ** 2
    return reduced(errors * float(1 + np.random.default_rng().random()), reduction)


TWINS = ((squares, SQUARES), (log_cosh, None))
