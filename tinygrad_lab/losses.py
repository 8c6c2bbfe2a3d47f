"""Losses: how far predictions are from what was wanted.

Each is a function of predictions and targets: a sum over the classes, where there are classes, then a reduction over the
examples. They are registered in the entry-point group ``tinygrad_lab.losses``.
"""

from __future__ import annotations

from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.autograd.tape import raw
from tinygrad_lab.backend import carries_gradient, is_array, namespace
from tinygrad_lab.errors import DTypeError, OptionError, ShapeError
from tinygrad_lab.ops import reductions
from tinygrad_lab.ops.activation import log_softmax, softmax
from tinygrad_lab.ops.shaping import expand_dims


@primitive
def cross_entropy(xp: Any, x: Any, target: Any) -> Any:
    """Return -sum_k t_k log softmax(x)_k along the last axis; a class of probability 0 counts 0, whatever its logit."""
    terms = target * log_softmax.forward(xp, x)
    return -xp.sum(xp.where(target == 0, xp.zeros_like(terms), terms), axis=-1)


cross_entropy.defvjp(
    x=lambda g, x, target: expand_dims(g, -1) * (softmax(x) * reductions.sum(target, -1, keepdims=True) - target),
    target=lambda g, x: -expand_dims(g, -1) * log_softmax(x),
)


def softmax_cross_entropy(logits: Any, labels: Any, *, reduction: str = "mean", label_smoothing: float = 0.0) -> Any:
    r"""Cross entropy between the classes wanted and the softmax of logits.

    .. math:: \ell = -\sum_k t_k \log \frac{e^{x_k}}{\sum_j e^{x_j}}, \qquad
              \frac{\partial \ell}{\partial x_k} = \mathrm{softmax}(x)_k \sum_j t_j - t_k

    For labels t is one-hot. With label smoothing :math:`\varepsilon`, t becomes
    :math:`(1 - \varepsilon)\, t + \varepsilon / K` over K classes.

    Parameters
    ----------
    logits : Tensor or array of floats
        x, before the softmax.
    labels : array of integers, or Tensor or array of floats
        The classes by number, or a probability for each class (that they sum to 1 is not checked).
    reduction : {"mean", "sum", "none"}
        Over all axes but that of the classes.
    label_smoothing : float
        epsilon, from 0 to 1.

    Returns
    -------
    Tensor or array
        The loss: a scalar, or one for each example.

    Shapes
    ------
    logits : (..., K); labels : (...) integers or (..., K) floats; loss : () or (...)

    Units
    -----
    Nats.

    Raises
    ------
    ShapeError
        The labels do not fit the logits.
    OptionError
        A label is not one of 0 ... K - 1, or an option means nothing.

    References
    ----------
    J. Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990. Label smoothing:
    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016, section 7, with the uniform
    distribution for u.

    Examples
    --------
    >>> logits = np.array([[0.0, 0.0], [0.0, np.log(3.0)]])
    >>> print(softmax_cross_entropy(logits, [0, 1], reduction="none").round(4))
    [0.6931 0.2877]
    """
    who = "softmax_cross_entropy"
    _check_classes(who, logits)
    if not 0.0 <= label_smoothing <= 1.0:
        raise OptionError(f"{who}: expected label_smoothing from 0 to 1, got {label_smoothing}")
    labels = _as_array(labels, logits)
    target = labels if carries_gradient(raw(labels)) else _one_hot(who, labels, logits)
    _check_same_shape(who, logits, target)
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + label_smoothing / logits.shape[-1]
    return reduce(cross_entropy(logits, target), reduction, who)


def reduce(losses: Any, reduction: str, who: str = "reduce") -> Any:
    """Return the mean or the sum of all losses, or (``"none"``) the losses themselves.

    Raises
    ------
    OptionError
        The reduction is none of these.
    """
    if reduction == "mean":
        return reductions.mean(losses)
    if reduction == "sum":
        return reductions.sum(losses)
    if reduction == "none":
        return losses
    raise OptionError(f"{who}: expected reduction 'mean', 'sum' or 'none', got {reduction!r}")


def _as_array(values: Any, like: Any) -> Any:
    """Return a list as an array on the device of `like`; arrays and tensors as they are."""
    return values if is_array(raw(values)) else namespace(raw(like)).asarray(values)


def _check_classes(who: str, x: Any) -> None:
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ShapeError(f"{who}: expected predictions with a last axis of classes, got shape {x.shape}")


def _check_same_shape(who: str, prediction: Any, target: Any) -> None:
    if prediction.shape != target.shape:
        raise ShapeError(
            f"{who}: expected a target of the prediction's shape {prediction.shape}, got {target.shape}; "
            "reshape one (nothing is broadcast here: (N, 1) against (N,) would compare each with all)"
        )


def _check_labels(who: str, labels: Any, like: Any) -> Any:
    """Return raw labels that are known to number classes of `like`."""
    labels, classes = raw(labels), like.shape[-1]
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"{who}: expected labels of integers, got {labels.dtype}; use .astype('int64')")
    if labels.shape != like.shape[:-1]:
        raise ShapeError(
            f"{who}: expected one label for each row, shape {like.shape[:-1]}, got {labels.shape} "
            f"(predictions {like.shape})"
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise OptionError(
            f"{who}: expected labels from 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}; "
            "does the network have as many outputs as the data has classes?"
        )
    return labels


def _one_hot(who: str, labels: Any, like: Any) -> Any:
    """Return 1 at each row's class and 0 elsewhere, in the dtype of `like`."""
    labels = _check_labels(who, labels, like)
    xp = namespace(labels)
    return (labels[..., None] == xp.arange(like.shape[-1])).astype(like.dtype)  # (...) -> (..., K)
