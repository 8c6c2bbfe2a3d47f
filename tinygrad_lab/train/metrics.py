"""Metrics: functions of logits and labels that score each example.

They are plugins of the group ``tinygrad_lab.metrics``; ``training.metrics`` in a recipe names them. A metric returns
one number for each example; the mean over the examples of a split is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, namespace
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.ops.shaping import concatenate

Metric = Callable[[Any, Array], Array]

RESERVED = ("accuracy", "epoch", "images", "loss")  # entries of every result, beside the metrics


def check_metric_names(who: str, names: Iterable[str]) -> None:
    """Check that no metric has the name of another entry of a result, which it would replace.

    Raises
    ------
    OptionError
        A name is reserved.
    """
    if taken := sorted(set(RESERVED).intersection(names)):
        raise OptionError(
            f"{who}: expected names that are not those of other entries of a result, got {taken[0]!r}; remove it, or "
            "rename the metric"
        )


def accuracy(logits: Any, labels: Array) -> Array:
    """Return for each example whether its largest logit is that of the label's class; never if a logit is NaN.

    A label may be a row of probabilities; its class is that of the largest one. A single logit z is a binary
    classifier, whose classes have the logits -z/2 and z/2. If `logits` is a tuple, the first entry counts; the others
    belong to auxiliary classifiers.

    Shapes
    ------
    logits (N, K), labels (N,) or (N, K) -> (N,)

    Examples
    --------
    >>> accuracy(np.array([[1.0, 3.0], [2.0, 0.0]]), np.array([1, 1]))
    array([ True, False])
    """
    given, numbers = unbox(class_logits(logits)), _numbers(logits, labels)
    return (given.argmax(axis=1) == numbers) & _known(given)


def top5(logits: Any, labels: Array) -> Array:
    """Return for each example whether its label's logit is among the five largest; never if a logit is NaN.

    Of equal logits the first count.

    Shapes
    ------
    logits (N, K), labels (N,) or (N, K) -> (N,)

    References
    ----------
    O. Russakovsky et al., "ImageNet large scale visual recognition challenge", IJCV 115, 2015, section 4.1: one minus
    the top-5 error.

    Examples
    --------
    >>> top5(np.array([[1.0, 5, 4, 3, 2, 0], [6.0, 5, 4, 3, 2, 1]]), np.array([0, 5]))
    array([ True, False])
    """
    given, numbers = unbox(class_logits(logits)), _numbers(logits, labels)[:, None]
    xp = namespace(given)
    own = xp.take_along_axis(given, numbers, axis=1)  # (N, K), (N, 1) -> (N, 1)
    before = (given > own) | ((given == own) & (xp.arange(given.shape[1]) < numbers))
    return (before.sum(axis=1) < 5) & _known(given)


def brier(logits: Any, labels: Array) -> Array:
    r"""Return the Brier score of each example, from 0, which is best, to 2.

    .. math:: \ell = \sum_k (p_k - t_k)^2

    p is the softmax of the logits, and t is 1 for the label's class and 0 for the others.

    Shapes
    ------
    logits (N, K), labels (N,) or (N, K) -> (N,)

    References
    ----------
    G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.

    Examples
    --------
    >>> print(brier(np.array([[0.0, 0.0], [0.0, 9.0]]), np.array([1, 1])).round(4))
    [0.5 0. ]
    """
    given, numbers = unbox(class_logits(logits)), _numbers(logits, labels)
    xp = namespace(given)
    powers = xp.exp(given - given.max(axis=1, keepdims=True))
    hot = xp.arange(given.shape[1]) == numbers[:, None]
    return ((powers / powers.sum(axis=1, keepdims=True) - hot) ** 2).sum(axis=1)


def summed(name: str, metric: Metric, logits: Any, labels: Array) -> Array:
    """Return the sum of a metric over a batch, in float64 on the batch's device.

    Raises
    ------
    ShapeError
        The metric does not return a number for each example.
    """
    scores = metric(logits, labels)
    if getattr(scores, "shape", None) != (len(labels),):
        got = getattr(scores, "shape", type(scores).__name__)
        raise ShapeError(f"metric {name!r}: expected a number for each of {len(labels)} examples, got {got}")
    return scores.astype("float64").sum()


def class_logits(outputs: Any) -> Any:
    """Return the logit of each class in a network's outputs: of several results, those of the first.

    The other results belong to auxiliary classifiers. A single output z, whose sigmoid is the probability of the second
    of two classes, gives them the logits -z/2 and z/2: their softmax is the same probability, and both classes have
    gradients. The logits keep their place on the tape.

    Shapes
    ------
    (N, K) -> (N, K), or (N, 1) -> (N, 2)

    Raises
    ------
    ShapeError
        The outputs do not have two axes.

    Examples
    --------
    >>> class_logits(np.array([[3.0], [-1.0]]))
    array([[-1.5,  1.5],
           [ 0.5, -0.5]])
    """
    logits = outputs[0] if isinstance(outputs, tuple) else outputs
    if len(logits.shape) != 2:
        raise ShapeError(f"class_logits: expected outputs (N, classes), got shape {logits.shape}")
    return logits if logits.shape[1] != 1 else concatenate([logits * -0.5, logits * 0.5], axis=1)


def _known(logits: Array) -> Array:
    """Return for each example whether none of its logits is NaN: NaN is neither larger nor smaller than a number."""
    return ~namespace(logits).isnan(logits).any(axis=1)


def _numbers(logits: Any, labels: Array) -> Array:
    """Return the number of each example's class."""
    given = unbox(logits[0] if isinstance(logits, tuple) else logits)
    if given.shape[1] == 1:
        return (labels.reshape(len(labels)) > 0.5).astype("int64")
    return labels if labels.ndim == 1 else labels.argmax(axis=1)
