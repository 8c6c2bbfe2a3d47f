"""Classification losses: cross entropies, divergences and margins."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import carries_gradient
from tinygrad_lab.errors import OptionError
from tinygrad_lab.losses.reduction import (
    as_target,
    check_classes,
    check_labels,
    compares,
    nan_at,
    one_hot,
    reduce,
    spoil,
    waits,
)
from tinygrad_lab.ops import reductions
from tinygrad_lab.ops.activation import log_softmax, relu, softmax
from tinygrad_lab.ops.arithmetic import equal, where
from tinygrad_lab.ops.elementary import log, sigmoid
from tinygrad_lab.ops.indexing import take_along_axis
from tinygrad_lab.ops.operands import as_operand
from tinygrad_lab.ops.shaping import expand_dims, squeeze
from tinygrad_lab.ops.widths import in_floats


def shares_wanted(x: Any, target: Any, smoothing: float) -> Any:
    """Return t: the probabilities in `target`, or its labels one-hot; smoothed toward 1 / K."""
    shares = target if target.ndim == x.ndim else one_hot(unbox(target), x)
    return shares * (1.0 - smoothing) + smoothing / x.shape[-1] if smoothing else shares


@primitive
def cross_entropy(xp: Any, x: Any, target: Any, *, smoothing: float = 0.0) -> Any:
    """Return -sum_k t_k log softmax(x)_k along the last axis; a term with t_k = 0 is 0 for every logit."""
    log_p, t = log_softmax.forward(xp, x), shares_wanted(x, target, smoothing)
    return -xp.sum(t * xp.where(t == 0, xp.zeros_like(log_p), log_p), axis=-1)


@primitive
def cross_entropy_grad(xp: Any, g: Any, x: Any, target: Any, *, smoothing: float = 0.0) -> Any:
    """Return g (softmax(x) sum(t) - t), with one value of g per row."""
    t = shares_wanted(x, target, smoothing)
    return g[..., None] * (softmax.forward(xp, x) * xp.sum(t, axis=-1, keepdims=True) - t)


def _grad_rule(v: Any, g: Any, x: Any, target: Any, smoothing: float, wanted: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """Differentiate sum_k v_k g (p_k sum(t) - t_k), with p = softmax(x), with respect to g, x and the target."""
    p, t, g = softmax(x), shares_wanted(x, target, smoothing), expand_dims(g, -1)
    along, whole = (reductions.sum(each, -1, keepdims=True) for each in (v * p, t))
    by_g = squeeze(along * whole, -1) - reductions.sum(v * t, -1)
    by_x = g * whole * p * (v - along) if wanted[1] else None
    return by_g, by_x, g * (1.0 - smoothing) * (along - v) if wanted[2] else None


cross_entropy.defvjp(
    x=lambda g, x, target, smoothing: cross_entropy_grad(g, x, target, smoothing=smoothing),
    target=lambda g, x, smoothing: expand_dims(g, -1) * log_softmax(x) * (smoothing - 1.0),
)
cross_entropy_grad.defvjp("g", "x", "target", _grad_rule)


@compares("classes")
@in_floats
def softmax_cross_entropy(logits: Any, labels: Any, *, reduction: str = "mean", label_smoothing: float = 0.0) -> Any:
    r"""Cross entropy between target classes and the softmax of logits.

    .. math:: \ell = -\sum_k t_k \log \frac{e^{x_k}}{\sum_j e^{x_j}}, \qquad
              \frac{\partial \ell}{\partial x_k} = \mathrm{softmax}(x)_k \sum_j t_j - t_k

    For labels t is one-hot. With label smoothing :math:`\varepsilon`, t becomes
    :math:`(1 - \varepsilon)\, t + \varepsilon / K` over K classes.

    Parameters
    ----------
    logits : Tensor or array of floats
        x, before the softmax.
    labels : array of integers, or Tensor or array of floats
        The class numbers, or a probability for each class (their sum is not checked).
    reduction : {"mean", "sum", "none"}
        The reduction over all axes but the class axis.
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
        A label is not one of 0 ... K - 1, or an option is invalid.

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
    check_classes(who, logits)
    if not 0.0 <= label_smoothing <= 1.0:
        raise OptionError(f"{who}: expected label_smoothing from 0 to 1, got {label_smoothing}")
    labels, spoiled = as_operand(labels, logits, who=who), None
    if carries_gradient(unbox(labels)) and labels.ndim == logits.ndim:
        target = as_target(who, labels, logits)
    else:
        target, spoiled = check_labels(who, labels, logits)
    return reduce(spoil(cross_entropy(logits, target, smoothing=label_smoothing), spoiled), reduction, who)


@compares("classes")
@in_floats
def nll(log_probabilities: Any, labels: Any, *, reduction: str = "mean") -> Any:
    r"""Negative log-likelihood of the target classes.

    .. math:: \ell = -\log p_y

    Parameters
    ----------
    log_probabilities : Tensor or array of floats
        log p, as `tinygrad_lab.log_softmax` gives it.
    labels : array of integers
        y, the class numbers.
    reduction : {"mean", "sum", "none"}
        The reduction over all axes but the class axis.

    Returns
    -------
    Tensor or array
        The loss: a scalar, or one for each example.

    Shapes
    ------
    log_probabilities : (..., K); labels : (...); loss : () or (...)

    Units
    -----
    Nats.

    Raises
    ------
    DTypeError, ShapeError, OptionError
        The labels are not integers, do not fit, or are not in 0 ... K - 1, or the reduction is unknown.

    References
    ----------
    R. A. Fisher, "On an absolute criterion for fitting frequency curves", 1912.

    Examples
    --------
    >>> print(nll(np.log([[0.5, 0.5], [0.25, 0.75]]), [0, 1], reduction="none").round(4))
    [0.6931 0.2877]
    """
    labels, spoiled = check_labels("nll", labels, log_probabilities)
    return reduce(spoil(-_chosen(log_probabilities, labels), spoiled), reduction, "nll")


def _chosen(x: Any, labels: Any) -> Any:
    """Return each row's element at its label."""
    return squeeze(take_along_axis(x, labels[..., None], -1), -1)  # (..., K) -> (..., 1) -> (...)


@in_floats
def kl_divergence(log_probabilities: Any, target: Any, *, reduction: str = "mean") -> Any:
    r"""Kullback-Leibler divergence of predicted probabilities q from target probabilities p.

    .. math:: \ell = \sum_k p_k (\log p_k - \log q_k), \qquad 0 \log 0 = 0

    Parameters
    ----------
    log_probabilities : Tensor or array of floats
        log q, as `tinygrad_lab.log_softmax` gives it.
    target : Tensor or array of floats
        p; its sum is not checked.
    reduction : {"mean", "sum", "none"}
        The reduction over all axes but the class axis.

    Returns
    -------
    Tensor or array
        The loss: a scalar, or one for each example.

    Shapes
    ------
    log_probabilities, target : (..., K); loss : () or (...)

    Units
    -----
    Nats.

    Raises
    ------
    ShapeError
        The shapes differ, or there is no axis of classes.
    OptionError
        The reduction is unknown.

    References
    ----------
    S. Kullback, R. Leibler, "On information and sufficiency", Annals of Mathematical Statistics 22, 1951, section 2.
    The mean is over examples, which PyTorch calls "batchmean".

    Examples
    --------
    >>> print(kl_divergence(np.log([[0.5, 0.5]]), np.array([[1.0, 0.0]])).round(4))
    0.6931
    """
    who = "kl_divergence"
    check_classes(who, log_probabilities)
    target = as_target(who, target, log_probabilities)
    zero = equal(target, 0.0)
    terms = target * (log(where(zero, 1.0, target)) - where(zero, 0.0, log_probabilities))
    return reduce(reductions.sum(terms, -1), reduction, who)


@primitive
def logistic_loss(xp: Any, x: Any, target: Any) -> Any:
    """Return -t log s(x) - (1 - t) log(1 - s(x)) for the logistic function s, in a form that does not overflow."""
    return xp.maximum(x, 0) - x * target + xp.log1p(xp.exp(-xp.abs(x)))


logistic_loss.defvjp(x=lambda g, x, target: g * (sigmoid(x) - target), target=lambda g, x: -g * x)


@in_floats
def binary_cross_entropy_with_logits(logits: Any, target: Any, *, reduction: str = "mean") -> Any:
    r"""Binary cross entropy of independent yes-or-no targets and the logistic function of logits.

    .. math:: \ell = -t \log \sigma(x) - (1 - t) \log(1 - \sigma(x)) = \max(x, 0) - x t + \log(1 + e^{-|x|}), \qquad
              \frac{\partial \ell}{\partial x} = \sigma(x) - t

    Parameters
    ----------
    logits : Tensor or array of floats
        x, before the logistic function.
    target : Tensor or array
        t, from 0 to 1.
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.

    Returns
    -------
    Tensor or array
        The loss: a scalar, or one for each element.

    Shapes
    ------
    logits, target : (...); loss : () or (...)

    Units
    -----
    Nats.

    Raises
    ------
    ShapeError
        The shapes differ.
    OptionError
        The reduction is unknown.

    References
    ----------
    D. R. Cox, "The regression analysis of binary sequences", 1958.

    Examples
    --------
    >>> print(binary_cross_entropy_with_logits(np.array([0.0, 1000.0]), [1, 0], reduction="none").round(4))
    [6.931e-01 1.000e+03]
    """
    who = "binary_cross_entropy_with_logits"
    return reduce(logistic_loss(logits, as_target(who, target, logits)), reduction, who)


@in_floats
def hinge(scores: Any, target: Any, *, margin: float = 1.0, reduction: str = "mean") -> Any:
    r"""Hinge loss of two classes: the amount by which a score falls short of the margin on the target's side.

    .. math:: \ell = \max(0, m - t s), \qquad t \in \{-1, 1\}

    Parameters
    ----------
    scores : Tensor or array of floats
        s.
    target : array
        t: -1 or 1.
    margin : float
        m.
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.

    Returns
    -------
    Tensor or array
        The loss: a scalar, or one for each element.

    Shapes
    ------
    scores, target : (...); loss : () or (...)

    Units
    -----
    Those of the scores.

    Raises
    ------
    ShapeError
        The shapes differ.
    OptionError
        A target is neither -1 nor 1, or the reduction is unknown.

    References
    ----------
    C. Cortes, V. Vapnik, "Support-vector networks", Machine Learning 20, 1995, section 3: the loss is their slack.
    Exactly at the margin the derivative is taken as 0.

    Examples
    --------
    >>> print(hinge(np.array([0.5, 2.0, -1.0]), [1, 1, 1], reduction="none"))
    [0.5 0.  2. ]
    """
    target = as_target("hinge", target, scores)
    wrong, spoiled = abs(unbox(target)) != 1, None
    if waits(unbox(target)):
        spoiled = nan_at(wrong, scores.dtype)
    elif wrong.any():
        got = unbox(target)[wrong].flat[0]
        raise OptionError(f"hinge: expected targets -1 and 1, got {got:g}; for labels 0 and 1 pass 2 * labels - 1")
    return reduce(spoil(relu(margin - target * scores), spoiled), reduction, "hinge")


@compares("classes")
@in_floats
def multiclass_hinge(scores: Any, labels: Any, *, margin: float = 1.0, reduction: str = "mean") -> Any:
    r"""Hinge loss of several classes: how far the target's score falls short of each other score plus a margin.

    .. math:: \ell = \sum_{k \ne y} \max(0, m + s_k - s_y)

    Parameters
    ----------
    scores : Tensor or array of floats
        s.
    labels : array of integers
        y, the class numbers.
    margin : float
        m.
    reduction : {"mean", "sum", "none"}
        The reduction over all axes but the class axis.

    Returns
    -------
    Tensor or array
        The loss: a scalar, or one for each example.

    Shapes
    ------
    scores : (..., K); labels : (...); loss : () or (...)

    Units
    -----
    Those of the scores.

    Raises
    ------
    DTypeError, ShapeError, OptionError
        The labels are not integers, do not fit, or are not in 0 ... K - 1, or the reduction is unknown.

    References
    ----------
    J. Weston, C. Watkins, "Support vector machines for multi-class pattern recognition", 1999, section 3, where the
    margin is 2. Unlike PyTorch's, this loss is not divided by K. Exactly at the margin the derivative is taken as 0.

    Examples
    --------
    >>> print(multiclass_hinge(np.array([[3.0, 2.5, 0.0]]), [0]))
    0.5
    """
    who = "multiclass_hinge"
    labels, spoiled = check_labels(who, labels, scores)
    excess = relu(scores - expand_dims(_chosen(scores, labels), -1) + margin)
    losses = reductions.sum(excess * (1.0 - one_hot(labels, scores)), -1)
    return reduce(spoil(losses, spoiled), reduction, who)
