"""Learning-rate schedules: factors of the base rate over the course of training.

A schedule is a function of one number t, the position in training. t has the unit of the schedule's own lengths: epochs
(with fractions) or steps. The result is a factor of the optimizer's rate::

    optimizer.lr = base_lr * schedule(epoch + step_of_epoch / steps_of_epoch)

The factors are pure functions of t, except for `ReduceOnPlateau`, which observes a metric after each epoch (`observe`)
and has a state to save. Schedules multiply: ``WarmUp(length=5) * CosineDecay(length=90)``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygrad_lab.arguments import Checked, check_state, expect
from tinygrad_lab.errors import OptionError


class Schedule(metaclass=Checked):
    """Base class of all schedules.

    Attributes
    ----------
    metric : {"loss", "accuracy"} or None
        The validation metric that drives the schedule; None if the factor depends only on the position.
    """

    @property
    def metric(self) -> str | None:
        """The metric that a trainer passes to `observe`; None if the factor depends only on the position."""
        return None

    def __call__(self, t: float) -> float:
        """Return the factor at position t, 0 or more."""
        raise NotImplementedError(f"{type(self).__name__}: expected a subclass that defines __call__")

    def observe(self, metric: float) -> None:
        """Observe an epoch's metric; most schedules ignore it."""

    def state(self) -> dict[str, Any]:
        """Return the state that resuming needs in addition to t, a flat dict of numbers."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a `state`.

        Raises
        ------
        StateError
            The state is not that of a schedule of this class.
        """
        check_state(str(self), state, {name: type(value) for name, value in self.state().items()})

    def __mul__(self, other: Schedule) -> Schedule:
        return Product(self, other)


@dataclass(frozen=True)
class Product(Schedule):
    """Product of the factors of two schedules.

    Examples
    --------
    >>> [round(Product(WarmUp(length=2, start=0.5), ExponentialDecay(factor=0.1))(t), 3) for t in range(4)]
    [0.5, 0.075, 0.01, 0.001]
    """

    first: Schedule
    second: Schedule

    @property
    def metric(self) -> str | None:
        """The metric that drives one of the factors, or both.

        Raises
        ------
        OptionError
            Different metrics drive them.
        """
        metrics = {self.first.metric, self.second.metric} - {None}
        if len(metrics) > 1:
            raise OptionError(f"{self}: expected one metric to drive both schedules, got {sorted(map(str, metrics))}")
        return metrics.pop() if metrics else None

    def __call__(self, t: float) -> float:
        """Return first(t) second(t)."""
        return self.first(t) * self.second(t)

    def observe(self, metric: float) -> None:
        """Pass the metric to both schedules."""
        self.first.observe(metric)
        self.second.observe(metric)

    def state(self) -> dict[str, Any]:
        """Return the states of both under ``first/`` and ``second/``."""
        both = (("first", self.first), ("second", self.second))
        return {f"{name}/{key}": value for name, part in both for key, value in part.state().items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state`."""
        super().load_state(state)
        for name, part in (("first", self.first), ("second", self.second)):
            part.load_state({k.removeprefix(f"{name}/"): v for k, v in state.items() if k.startswith(f"{name}/")})


@dataclass(frozen=True)
class Constant(Schedule):
    """Constant rate.

    Examples
    --------
    >>> Constant()(100)
    1.0
    """

    def __call__(self, t: float) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class StepDecay(Schedule):
    r"""Step decay: from a start on, the rate falls by a factor at regular intervals.

    .. math:: f(t) = a^{n(t)}, \qquad
              n(t) = 0 \text{ before } t_0, \quad \lfloor (t - t_0) / d \rfloor + 1 \text{ from } t_0 \text{ on}

    Parameters
    ----------
    start : float
        t_0, the position of the first fall.
    interval : float
        d.
    factor : float
        a.

    Raises
    ------
    OptionError
        The interval or the factor is not positive.

    References
    ----------
    A. Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012, section 5, divide by
    10 by hand; here the positions are given.

    Examples
    --------
    From epoch 75 on, multiply by 0.9 every 5 epochs:

    >>> schedule = StepDecay(start=75, interval=5, factor=0.9)
    >>> [round(schedule(epoch), 3) for epoch in (0, 74, 75, 79, 80, 85)]
    [1.0, 1.0, 0.9, 0.9, 0.81, 0.729]
    """

    start: float
    interval: float
    factor: float

    def __post_init__(self) -> None:
        _check_positive(self, "interval", "factor")

    def __call__(self, t: float) -> float:
        """Return a to the power of the number of falls so far."""
        falls = 0 if t < self.start else math.floor((t - self.start) / self.interval) + 1
        return float(self.factor**falls)


@dataclass(frozen=True, kw_only=True)
class MultiStepDecay(Schedule):
    r"""Decay by a factor at each milestone.

    .. math:: f(t) = a^{|\{m \in M : m \le t\}|}

    Parameters
    ----------
    milestones : sequence of float
        M, in increasing order.
    factor : float
        a.

    Raises
    ------
    OptionError
        The factor is not positive, or the milestones do not increase.

    References
    ----------
    K. He et al., "Deep residual learning for image recognition", 2016, section 4.2.

    Examples
    --------
    >>> schedule = MultiStepDecay(milestones=(80, 120), factor=0.1)
    >>> [round(schedule(epoch), 3) for epoch in (0, 79, 80, 119, 120)]
    [1.0, 1.0, 0.1, 0.1, 0.01]
    """

    milestones: Sequence[float]
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check_positive(self, "factor")
        if sorted(set(self.milestones)) != list(self.milestones):
            raise OptionError(f"MultiStepDecay: expected increasing milestones, got {self.milestones}")

    def __call__(self, t: float) -> float:
        """Return a to the power of the number of milestones passed."""
        return float(self.factor ** bisect_right(self.milestones, t))


@dataclass(frozen=True, kw_only=True)
class ExponentialDecay(Schedule):
    r"""Exponential decay.

    .. math:: f(t) = a^t

    Parameters
    ----------
    factor : float
        a, the factor per unit of t.

    Raises
    ------
    OptionError
        The factor is not positive.

    References
    ----------
    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016, section 8.

    Examples
    --------
    >>> [ExponentialDecay(factor=0.5)(t) for t in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """

    factor: float

    def __post_init__(self) -> None:
        _check_positive(self, "factor")

    def __call__(self, t: float) -> float:
        """Return a^t."""
        return float(self.factor**t)


@dataclass(frozen=True, kw_only=True)
class CosineDecay(Schedule):
    r"""Cosine decay: the rate falls along half a cosine wave.

    .. math:: f(t) = b + (1 - b) \frac{1 + \cos(\pi t / T)}{2}, \qquad b \text{ after } T

    Parameters
    ----------
    length : float
        T.
    final : float
        b.

    Raises
    ------
    OptionError
        The length is not positive, or the final factor is negative.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5, without
    restarts.

    Examples
    --------
    >>> [round(CosineDecay(length=4)(t), 3) for t in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    length: float
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_positive(self, "length")
        _check_not_negative(self, "final")

    def __call__(self, t: float) -> float:
        """Return the factor at t."""
        return _glide(1.0, self.final, t / self.length)


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """One cycle: the factor rises from `start` to 1 and falls to `final`, each along half a cosine wave.

    Formula: from `start` to 1 while t goes from 0 to rise * length, then to `final` at t = length. Between two values a
    and b the factor is b + (a - b) (1 + cos(pi u)) / 2, where u goes from 0 to 1.

    Parameters
    ----------
    length : float
        The length of training.
    rise : float
        The fraction of training in which the rate rises, between 0 and 1.
    start, final : float
        The factors at the beginning and at the end of training.

    Raises
    ------
    OptionError
        A number is out of range.

    References
    ----------
    L. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018,
    section 3. Deviations: cosines instead of straight lines and the defaults of `start` and `final`, as in PyTorch;
    constant momentum.

    Examples
    --------
    >>> schedule = OneCycle(length=10)
    >>> [round(schedule(t), 3) for t in (0, 1.5, 3, 6.5, 10)]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """

    length: float
    rise: float = 0.3
    start: float = 1 / 25
    final: float = 1 / 250_000

    def __post_init__(self) -> None:
        _check_positive(self, "length")
        _check_not_negative(self, "start", "final")
        if not 0 < self.rise < 1:
            raise OptionError(f"OneCycle: expected rise between 0 and 1, got {self.rise}")

    def __call__(self, t: float) -> float:
        """Return the factor at t."""
        peak = self.rise * self.length
        if t < peak:
            return _glide(self.start, 1.0, t / peak)
        return _glide(1.0, self.final, (t - peak) / (self.length - peak))


@dataclass(kw_only=True)
class WarmUp(Schedule):
    r"""Linear warm-up, followed by another schedule.

    .. math:: f(t) = s + (1 - s)\, t / T \text{ before } T, \qquad g(t - T) \text{ from } T \text{ on}

    Parameters
    ----------
    length : float
        T; 0 for no warm-up.
    start : float
        s.
    after : Schedule, optional
        g, whose own position is 0 at t = T; by default `Constant`. To give another schedule the position t itself,
        multiply the two schedules instead. A schedule that is driven by a metric observes it from T on, where T counts
        epochs.

    Raises
    ------
    OptionError
        The length or the start is negative.

    References
    ----------
    P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017, section 2.2.

    Examples
    --------
    >>> schedule = WarmUp(length=2, start=0.5, after=CosineDecay(length=2))
    >>> [round(schedule(t), 3) for t in range(5)]
    [0.5, 0.75, 1.0, 0.5, 0.0]
    """

    length: float
    start: float = 0.1
    after: Schedule = field(default_factory=Constant)
    observed: int = field(default=0, init=False, repr=False)  # epochs

    def __post_init__(self) -> None:
        _check_not_negative(self, "length", "start")
        expect("WarmUp", "after", self.after, Schedule, "a schedule, such as CosineDecay(length=10)")

    def __call__(self, t: float) -> float:
        """Return the factor of the warm-up or of the following schedule."""
        if t < self.length:
            return self.start + (1.0 - self.start) * t / self.length
        return self.after(t - self.length)

    @property
    def metric(self) -> str | None:
        """The metric that drives the following schedule."""
        return self.after.metric

    def observe(self, metric: float) -> None:
        """Pass the metric to the following schedule once it has started."""
        self.observed += 1
        if self.observed >= self.length:
            self.after.observe(metric)

    def state(self) -> dict[str, Any]:
        """Return the state of the following schedule and, if it has one, the number of observed epochs."""
        return {"observed": self.observed, **after} if (after := self.after.state()) else {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state`."""
        super().load_state(state)
        self.after.load_state({key: value for key, value in state.items() if key != "observed"})
        self.observed = int(state.get("observed", 0))


@dataclass(kw_only=True)
class ReduceOnPlateau(Schedule):
    """Reduction of the rate when a metric stops improving, independent of t.

    Formula: a metric m improves on b, the best so far, if m < b (1 - threshold); for mode "max", if
    m > b (1 + threshold). After more than `patience` epochs in a row without improvement, the rate is multiplied by
    the factor, and the next `cooldown` epochs are not counted.

    Parameters
    ----------
    factor : float
        The factor of each reduction, below 1.
    patience : int
        Epochs without improvement that are tolerated.
    threshold : float
        The relative improvement that counts.
    mode : {"min", "max"}
        Whether a small metric is good (a loss) or a large one (an accuracy).
    cooldown : int
        Epochs after a reduction that are not counted.
    lowest : float
        The smallest factor.

    Raises
    ------
    OptionError
        A number is out of range, or the mode is unknown.

    References
    ----------
    A. Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012, section 5: "when the
    validation error rate stopped improving", automated. The counting is that of PyTorch's ReduceLROnPlateau.

    Examples
    --------
    >>> schedule = ReduceOnPlateau(factor=0.5, patience=1)
    >>> for loss in (1.0, 0.8, 0.9, 0.85, 0.7):
    ...     schedule.observe(loss)
    ...     print(schedule(0), end=" ")
    1.0 1.0 1.0 0.5 0.5
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    mode: str = "min"
    cooldown: int = 0
    lowest: float = 0.0
    now: float = field(default=1.0, init=False)
    best: float = field(default=math.nan, init=False)  # NaN: no metric yet
    bad_epochs: int = field(default=0, init=False)
    resting: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        _check_positive(self, "factor")
        _check_not_negative(self, "patience", "threshold", "cooldown", "lowest")
        if self.factor >= 1 or self.mode not in ("min", "max"):
            raise OptionError(f"{self}: expected a factor below 1 and mode 'min' or 'max'")

    def __call__(self, t: float) -> float:
        """Return the factor that follows from the metrics so far."""
        return self.now

    @property
    def metric(self) -> str:
        """The metric to observe: the loss for mode "min", the accuracy for mode "max"."""
        return "loss" if self.mode == "min" else "accuracy"

    def observe(self, metric: float) -> None:
        """Observe an epoch's metric; NaN counts as no improvement."""
        metric = float(metric)
        if self._improves(metric):
            self.best, self.bad_epochs = metric, 0
        else:
            self.bad_epochs += 1
        if self.resting:
            self.resting, self.bad_epochs = self.resting - 1, 0
        if self.bad_epochs > self.patience:
            self.now = max(self.now * self.factor, self.lowest)
            self.resting, self.bad_epochs = self.cooldown, 0

    def _improves(self, metric: float) -> bool:
        if math.isnan(self.best):
            return not math.isnan(metric)
        if self.mode == "min":
            return metric < self.best * (1.0 - self.threshold)
        return metric > self.best * (1.0 + self.threshold)

    def state(self) -> dict[str, Any]:
        """Return the factor, the best metric and the counts."""
        return {"now": self.now, "best": self.best, "bad_epochs": self.bad_epochs, "resting": self.resting}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state`."""
        super().load_state(state)
        self.now, self.best = float(state["now"]), float(state["best"])
        self.bad_epochs, self.resting = int(state["bad_epochs"]), int(state["resting"])


def _glide(a: float, b: float, u: float) -> float:
    """Return the value at u on half a cosine wave from a (u = 0) to b (u = 1 and beyond)."""
    return b + (a - b) * 0.5 * (1.0 + math.cos(math.pi * min(u, 1.0)))


def _check_positive(schedule: Any, *names: str) -> None:
    for name in names:
        if not getattr(schedule, name) > 0:
            raise OptionError(f"{type(schedule).__name__}: expected {name} above 0, got {getattr(schedule, name)}")


def _check_not_negative(schedule: Any, *names: str) -> None:
    for name in names:
        if not getattr(schedule, name) >= 0:
            raise OptionError(f"{type(schedule).__name__}: expected {name} of 0 or more, got {getattr(schedule, name)}")
