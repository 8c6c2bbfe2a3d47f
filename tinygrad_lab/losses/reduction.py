"""Reductions over examples and argument checks of all losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import as_array, carries_gradient, device_name, namespace
from tinygrad_lab.errors import DTypeError, OptionError, ShapeError
from tinygrad_lab.ops import reductions
from tinygrad_lab.ops.operands import as_operand
from tinygrad_lab.ops.widths import expect_real

F = TypeVar("F", bound=Callable[..., Any])


def compares(what: Literal["numbers", "classes"]) -> Callable[[F], F]:
    """Return a decorator that says what a loss compares with its predictions: target numbers, or class numbers.

    Training refuses a loss for the other kind of targets. A loss without this mark is accepted for both.
    """

    def mark(loss: F) -> F:
        vars(loss)["compares"] = what
        return loss

    return mark


def reduce(losses: Any, reduction: str, who: str = "reduce") -> Any:
    """Return the mean or the sum of all losses, or (``"none"``) the losses themselves.

    Raises
    ------
    OptionError
        The reduction is unknown.
    ShapeError
        There are no losses to average. (The sum of none is 0.)
    """
    if reduction == "mean":
        if losses.size == 0:
            raise ShapeError(
                f"{who}: expected at least one example to take the mean over, got losses of shape {losses.shape}; "
                "leave empty batches out, or use reduction='sum'"
            )
        return reductions.mean(losses)
    if reduction == "sum":
        return reductions.sum(losses)
    if reduction == "none":
        return losses
    raise OptionError(f"{who}: expected reduction 'mean', 'sum' or 'none', got {reduction!r}")


def as_target(who: str, target: Any, prediction: Any) -> Any:
    """Return a target of the prediction's shape; lists, integers and booleans become floats of the prediction's dtype.

    Raises
    ------
    DTypeError
        The prediction is complex, or the target is not numeric.
    ShapeError
        The shapes differ. Nothing is broadcast: predictions (N, 1) and targets (N,) would compare each with all.
    """
    expect_real(prediction, who)
    target = as_operand(target, prediction, who=who)
    if not carries_gradient(unbox(target)):
        target = as_array(unbox(target), who=f"{who}: ").astype(prediction.dtype)
    if target.shape != prediction.shape:
        raise ShapeError(
            f"{who}: expected a target of the prediction's shape {prediction.shape}, got {target.shape}; "
            "reshape one of them (nothing is broadcast)"
        )
    return target


def check_classes(who: str, x: Any) -> None:
    """Raise for predictions that are complex or have no last axis of classes."""
    expect_real(x, who)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ShapeError(f"{who}: expected predictions with a last axis of classes, got shape {x.shape}")


def check_labels(who: str, labels: Any, like: Any) -> tuple[Any, Any]:
    """Return labels as a raw integer array, one class number for each row of `like`, and the marks for `spoil`.

    On a GPU the loss does not wait for the labels, so their range is not checked. The second result is then NaN for
    each label out of range and 0 for the others, to be added to the losses (`spoil`). Under `detect_anomaly` the range
    is checked on a GPU too. For NumPy arrays the second result is None.

    Raises
    ------
    DTypeError, ShapeError, OptionError
        The labels are not integers, not one per row, or out of range.
    """
    check_classes(who, like)
    labels, classes = unbox(as_operand(labels, like, who=who)), like.shape[-1]
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"{who}: expected labels of integers, got {labels.dtype}; use .astype('int64')")
    if labels.shape != like.shape[:-1]:
        raise ShapeError(
            f"{who}: expected one label for each row, shape {like.shape[:-1]}, got {labels.shape} "
            f"(predictions {like.shape})"
        )
    if waits(labels):
        outside = (labels < 0) | (labels >= classes)
        return namespace(labels).clip(labels, 0, classes - 1), nan_at(outside, like.dtype)
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise OptionError(
            f"{who}: expected labels from 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}; "
            "does the network have as many outputs as the data has classes?"
        )
    return labels, None


def waits(array: Any) -> bool:
    """Return whether an array must not be read, since that waits for a GPU; `detect_anomaly` allows waiting."""
    return device_name(array) != "cpu" and not SETTINGS.get().watcher


def nan_at(places: Any, dtype: Any) -> Any:
    """Return NaN where `places` is true and 0 elsewhere."""
    xp = namespace(places)
    return xp.where(places, xp.nan, 0.0).astype(dtype)


def spoil(losses: Any, spoiled: Any) -> Any:
    """Add the marks of invalid labels, NaN, to losses; None adds nothing."""
    return losses if spoiled is None else losses + spoiled


def one_hot(labels: Any, like: Any) -> Any:
    """Return 1 at each row's class and 0 elsewhere, of the shape and dtype of `like`."""
    xp = namespace(labels)
    return (labels[..., None] == xp.arange(like.shape[-1])).astype(like.dtype)  # (...) -> (..., K)
