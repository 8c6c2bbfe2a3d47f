"""Metrics: functions of outputs and labels that score each example.

They are plugins of the group ``tinygrad_lab.metrics``; ``training.metrics`` in a recipe names them. A metric returns
one number for each example; the mean over the examples of a split is reported. `scored` says more about a metric: which
values are better, whether it is a percentage, and how its value follows from several means.

One metric is the headline score of a training: `HEADLINES` names it for each task. It decides which epoch is best, and
is printed after every epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, namespace
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.ops.shaping import concatenate

Metric = Callable[[Any, Array], Array]
M = TypeVar("M", bound=Callable[..., Any])

RESERVED = ("epoch", "images", "loss")  # entries of every result, beside the metrics


@dataclass(frozen=True)
class Score:
    """A metric under its name, with everything needed to compute, compare and print its values.

    Parameters
    ----------
    name : str
        The name under which results hold its values.
    measure : callable
        The metric: a function of outputs and labels.
    title : str
        How a page writes the name; by default the name itself.
    larger_is_better : bool
        Whether a larger value is better.
    percent : bool
        Whether values are shares, printed in percent.
    low, high : float
        The smallest and the largest possible value.
    finish : callable, optional
        Turns means over the examples into the value. The metric then returns several numbers for each example,
        (N, S), and `finish` takes their S means. Without it, the mean of one number is the value.
    task : str, optional
        The task that the metric is for, ``"classification"`` or ``"regression"``; by default it is for both.

    Examples
    --------
    >>> found = Score.of("accuracy", accuracy)
    >>> found.text(0.9125), found.best([0.5, 0.9, 0.9])
    ('91.25%', 1)
    >>> Score.of("rmse", rmse).text(0.5), Score.of("rmse", rmse).best([0.5, 0.3, 0.4])
    ('0.5000', 1)
    """

    name: str
    measure: Metric
    title: str = ""
    larger_is_better: bool = True
    percent: bool = False
    low: float = -math.inf
    high: float = math.inf
    finish: Callable[[Array], float] | None = None
    task: str | None = None

    @staticmethod
    def of(name: str, metric: Metric) -> Score:
        """Return the score of a registered metric: as `scored` describes it, or with the defaults."""
        known = getattr(metric, "score", None)
        return replace(known, name=name) if isinstance(known, Score) else Score(name, metric)

    def __str__(self) -> str:
        return self.title or self.name

    @property
    def scale(self) -> int:
        """The factor of printed values: 100 for a percentage."""
        return 100 if self.percent else 1

    @property
    def unit(self) -> str:
        """The end of a title over printed values: ``" in %"`` for a percentage."""
        return " in %" if self.percent else ""

    def sums(self, outputs: Any, labels: Array) -> Array:
        """Return the sums of the metric's numbers over a batch, (S,) of float64, on the batch's device.

        Raises
        ------
        ShapeError
            The metric does not return a number for each example, or, with `finish`, a row of numbers.
        """
        found = self.measure(outputs, labels)
        shape = getattr(found, "shape", None)
        if self.finish is not None and shape and len(shape) == 2 and shape[0] == len(labels):
            return found.astype("float64").sum(axis=0)
        if shape != (len(labels),):
            got = shape if shape is not None else type(found).__name__
            raise ShapeError(f"metric {self.name!r}: expected a number for each of {len(labels)} examples, got {got}")
        return found.astype("float64").sum()[None]  # () -> (1,)

    def value(self, sums: Any, count: float) -> float:
        """Return the value of a number of examples, from the sums over them; 0 if there are no examples."""
        if not count:
            return 0.0
        means = np.atleast_1d(np.asarray(sums, np.float64)) / count
        return float(means[0]) if self.finish is None else float(self.finish(means))

    def rank(self, value: float) -> float:
        """Return a number that is smaller for a better value, and largest for NaN."""
        if math.isnan(value):
            return math.inf
        return -value if self.larger_is_better else value

    def best(self, values: Iterable[float]) -> int:
        """Return the position of the best value, the first of equal ones."""
        ranks = [self.rank(value) for value in values]
        return ranks.index(min(ranks))

    def is_possible(self, value: float) -> bool:
        """Return whether a value lies between the smallest and the largest possible one."""
        return self.low <= value <= self.high

    def text(self, value: float, *, digits: int = 2) -> str:
        """Return a value as text: in percent with this many digits, or as a number with two more."""
        return f"{value:.{digits}%}" if self.percent else f"{value:.{digits + 2}f}"

    def number(self, value: float, *, sign: str = "") -> str:
        """Return a value as text in its unit, which the text leaves out."""
        return f"{self.scale * value:{sign}.{2 if self.percent else 4}f}"

    def spread(self, figure: Mapping[str, Any] | None) -> str:
        """Return a mean and its deviation as text in the score's unit, and a dash for None.

        A single value has no deviation.
        """
        if figure is None:
            return "-"
        return self.number(figure["mean"]) + (f" ± {self.number(figure['std'])}" if len(figure["values"]) > 1 else "")


def scored(
    *,
    title: str = "",
    larger_is_better: bool = True,
    percent: bool = False,
    low: float = -math.inf,
    high: float = math.inf,
    finish: Callable[[Array], float] | None = None,
    task: str | None = None,
) -> Callable[[M], M]:
    """Return a decorator that describes the values of a metric; the options are those of `Score`.

    Examples
    --------
    >>> @scored(larger_is_better=False)
    ... def error(outputs, labels):
    ...     return abs(outputs[:, 0] - labels[:, 0])
    >>> Score.of("acme.error", error).best([0.3, 0.1])
    1
    """

    def describe(metric: M) -> M:
        vars(metric)["score"] = Score(
            metric.__name__, metric, title, larger_is_better, percent, low, high, finish, task
        )
        return metric

    return describe


def headline_in(table: Mapping[str, Any]) -> Score:
    """Return the headline score whose value a table of results holds: accuracy, unless it holds another one."""
    return next((score for name, score in HEADLINES.items() if name in table), HEADLINES["accuracy"])


def check_metric_names(who: str, names: Iterable[str]) -> None:
    """Check that no metric has the name of another entry of a result or of a headline score, which it would replace.

    Raises
    ------
    OptionError
        A name is reserved.
    """
    if taken := sorted({*RESERVED, *HEADLINES}.intersection(names)):
        raise OptionError(
            f"{who}: expected names that are not those of other entries of a result, got {taken[0]!r}; remove it, or "
            "rename the metric"
        )


def check_metrics(who: str, metrics: Mapping[str, Metric], task: str) -> None:
    """Check the names of metrics, and that they are for a task.

    Raises
    ------
    OptionError
        A name is reserved, or a metric is for another task.
    """
    for name, metric in metrics.items():
        other = Score.of(name, metric).task
        if other not in (None, task):
            raise OptionError(f"{who}: expected metrics for {task}, got {name!r}, which is for {other}; leave it out")
    check_metric_names(who, metrics)


@scored(percent=True, low=0.0, high=1.0, task="classification")
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


@scored(title="top-5 accuracy", percent=True, low=0.0, high=1.0, task="classification")
def top5(logits: Any, labels: Array) -> Array:
    """Return for each example whether its label's logit is among the five largest; never if a logit is NaN.

    Of equal logits, the one of the lower class number counts as larger.

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


@scored(title="Brier score", larger_is_better=False, low=0.0, high=2.0, task="classification")
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


def _explained(means: Array) -> float:
    """Return the mean coefficient of determination from the means that `r2` sums."""
    error, target, square = means.reshape(3, -1)  # (3*K,) -> (3, K)
    variance = square - target**2
    constant = variance <= 1e-12 * square  # up to rounding
    explained = 1 - error / np.where(constant, 1.0, variance)
    flat = np.where(error > 0, 0.0, np.where(np.isnan(error), error, 1.0))
    return float(np.where(constant, flat, explained).mean())


@scored(title="R²", high=1.0, finish=_explained, task="regression")
def r2(outputs: Any, targets: Array) -> Array:
    r"""Return the numbers whose means give the coefficient of determination: d², t and t² of each target.

    .. math:: R^2 = 1 - \frac{\sum_i (y_i - t_i)^2}{\sum_i (t_i - \bar t)^2}

    y are the outputs and t the targets. 1 is a perfect prediction, and 0 that of the mean of the targets. With several
    targets, the mean of their coefficients is reported. It does not depend on the targets' units or their
    standardization. If a target never varies, its coefficient is 1 for a perfect prediction and otherwise 0. A target
    counts as one that never varies if its deviation is below a millionth of its size, because the sums are rounded:
    subtract a constant from it, or use `StandardizeTargets`.

    Shapes
    ------
    outputs, targets (N, K) -> (N, 3 K)

    References
    ----------
    S. Wright, "Correlation and causation", Journal of Agricultural Research 20, 1921; constant targets as in
    scikit-learn's ``r2_score``.

    Examples
    --------
    >>> numbers = r2(np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]]))
    >>> round(Score.of("r2", r2).value(numbers.sum(axis=0), 3), 6)
    0.5
    """
    difference, exact = _differences("r2", outputs, targets)
    return namespace(exact).concatenate([difference**2, exact, exact**2], axis=1)


@scored(title="RMSE", larger_is_better=False, low=0.0, finish=lambda means: math.sqrt(means[0]), task="regression")
def rmse(outputs: Any, targets: Array) -> Array:
    r"""Return the mean squared error of each example, over its targets; the root of the mean is reported.

    .. math:: \mathrm{RMSE} = \sqrt{\tfrac{1}{N K} \sum_{i, k} (y_{ik} - t_{ik})^2}

    Shapes
    ------
    outputs, targets (N, K) -> (N,)

    Units
    -----
    Those of the targets.

    Examples
    --------
    >>> Score.of("rmse", rmse).value(rmse(np.array([[1.0], [5.0]]), np.array([[1.0], [1.0]])).sum(), 2)
    2.8284271247461903
    """
    return (_differences("rmse", outputs, targets)[0] ** 2).mean(axis=1)


@scored(title="MAE", larger_is_better=False, low=0.0, task="regression")
def mae(outputs: Any, targets: Array) -> Array:
    r"""Return the mean absolute error of each example, over its targets.

    .. math:: \ell = \tfrac{1}{K} \sum_k |y_k - t_k|

    Shapes
    ------
    outputs, targets (N, K) -> (N,)

    Units
    -----
    Those of the targets.

    Examples
    --------
    >>> mae(np.array([[1.0], [5.0]]), np.array([[1.0], [1.0]]))
    array([0., 4.])
    """
    return abs(_differences("mae", outputs, targets)[0]).mean(axis=1)


def _differences(who: str, outputs: Any, targets: Array) -> tuple[Array, Array]:
    """Return outputs minus targets, and the targets, in float64."""
    given = unbox(outputs[0] if isinstance(outputs, tuple) else outputs)
    if given.shape != targets.shape or given.ndim != 2:
        raise ShapeError(
            f"{who}: expected outputs and targets of one shape (N, K), got {given.shape} and {targets.shape}; "
            "this metric is for targets that are numbers, not classes"
        )
    exact = targets.astype("float64")
    return given.astype("float64") - exact, exact


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


HEADLINES: Mapping[str, Score] = {score.name: score for score in (Score.of("accuracy", accuracy), Score.of("r2", r2))}
"""The scores that decide which epoch is best, by name."""

TASKS: Mapping[str, Score] = {str(score.task): score for score in HEADLINES.values()}
"""The headline score of each task; see `Dataset.task`."""
