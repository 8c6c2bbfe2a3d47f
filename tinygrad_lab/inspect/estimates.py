"""Predicted numbers, and their errors on data with known targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.train.metrics import Score, mae, r2, rmse

_SHOWN = 10  # examples in a repr
SCORES = tuple(Score.of(metric.__name__, metric) for metric in (r2, mae, rmse))
"""The scores of a `RegressionReport`."""


@dataclass(frozen=True, eq=False, repr=False)
class Estimate:
    """Predicted numbers for one or more examples, in the targets' own units.

    Parameters
    ----------
    names : tuple of K str
        The names of the targets.
    values : array of float32, (N, K)
        The predicted numbers.

    Examples
    --------
    >>> Estimate(("price in $", "rooms"), np.array([[120.5, 3.0], [99.25, 2.0]]))
    price in $ 120.5, rooms 3
    price in $ 99.25, rooms 2
    """

    names: tuple[str, ...]
    values: Array

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        lines = [
            ", ".join(f"{name} {value:.4g}" for name, value in zip(self.names, row, strict=True))
            for row in self.values[:_SHOWN].tolist()
        ]
        return "\n".join([*lines, *([f"... {len(self)} examples"] if len(self) > _SHOWN else [])])


@dataclass(frozen=True, eq=False, repr=False)
class RegressionReport:
    """Errors of predicted numbers on data with known targets.

    Parameters
    ----------
    data : str
        The data set and split.
    estimate : Estimate
        What the network predicts for each example.
    targets : array of float32, (N, K)
        The true numbers.

    Examples
    --------
    >>> found = Estimate(("price in $",), np.array([[1.0], [2.0], [4.0]]))
    >>> report = RegressionReport("houses test", found, np.array([[1.0], [2.0], [3.0]]))
    >>> report
    RegressionReport(houses test: R² 0.5000, MAE 0.3333, RMSE 0.5774 of 3 examples)
    >>> report.residuals.tolist()
    [[0.0], [0.0], [1.0]]
    """

    data: str
    estimate: Estimate
    targets: Array

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def r2(self) -> float:
        """The coefficient of determination, the mean over the targets; see `tinygrad_lab.train.metrics.r2`."""
        return self.scores()["r2"]

    @property
    def mae(self) -> float:
        """The mean absolute error, in the targets' units."""
        return self.scores()["mae"]

    @property
    def rmse(self) -> float:
        """The root of the mean squared error, in the targets' units."""
        return self.scores()["rmse"]

    @property
    def residuals(self) -> Array:
        """Predicted minus true numbers, (N, K)."""
        residuals: Array = self.estimate.values - self.targets
        return residuals

    def scores(self, target: int | None = None) -> dict[str, float]:
        """Return R², mean absolute error and root mean squared error by name, over all targets or of one.

        Parameters
        ----------
        target : int, optional
            The number of a target.
        """
        which = slice(None) if target is None else slice(target, target + 1)
        values, true = self.estimate.values[:, which], self.targets[:, which]
        return {score.name: score.value(score.sums(values, true), len(self)) for score in SCORES}

    def largest_errors(self) -> Array:
        """Return the positions of the examples, the one with the largest error first.

        An example's error is the root mean square of its residuals, each divided by the standard deviation of the
        target's true numbers.
        """
        spread = self.targets.std(axis=0, dtype=np.float64)
        scaled = self.residuals / np.where(spread > 0, spread, 1.0)
        order: Array = np.argsort(-(scaled**2).mean(axis=1), kind="stable")
        return order

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        targets = [{"name": name, **self.scores(number)} for number, name in enumerate(self.estimate.names)]
        return {"data": self.data, "images": len(self), **self.scores(), "targets": targets}

    def __repr__(self) -> str:
        found = self.scores()
        figures = ", ".join(f"{score} {_brief(found[score.name])}" for score in SCORES)
        return f"RegressionReport({self.data}: {figures} of {len(self)} examples)"


def _brief(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"


def joined_estimates(parts: Sequence[Estimate]) -> Estimate:
    """Return the predictions of several batches as one."""
    return Estimate(parts[0].names, np.concatenate([part.values for part in parts]))
