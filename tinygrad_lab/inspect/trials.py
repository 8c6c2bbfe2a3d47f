"""Picture of trials: the validation score of each combination of settings, with its seeds and their confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinygrad_lab.errors import ConfigError
from tinygrad_lab.files.writing import write_atomically, writing
from tinygrad_lab.inspect.curves import new_figure, png
from tinygrad_lab.train.ledger import Trial
from tinygrad_lab.train.recipe import Recipe
from tinygrad_lab.train.tuning import ranking, score_of

LEVEL = 0.95


def mean_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """Return the confidence interval of the mean of some seeds' scores, by Student's t; infinite for one seed.

    Examples
    --------
    >>> low, high = mean_interval([0.90, 0.92, 0.94])
    >>> round(low, 3), round(high, 3)
    (0.87, 0.97)
    """
    from scipy.stats import t

    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return -math.inf, math.inf
    half = float(t.ppf((1 + level) / 2, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return mean - half, mean + half


def draw_trials(trials: Sequence[Trial], title: str) -> bytes:
    """Return a PNG with a row for each combination of settings, the best one first."""
    ranked, score = ranking(trials), score_of(trials)
    figure = new_figure(size=(7, 1.2 + 0.35 * len(ranked)))
    axes = figure.subplots()
    for row, (_, by_seed) in enumerate(ranked):
        values = list(by_seed.values())
        low, high = mean_interval(values)
        if math.isfinite(low):
            axes.plot([low, high], [row, row], color="tab:blue", alpha=0.4, linewidth=5, solid_capstyle="butt")
        axes.plot(values, [row] * len(values), "o", color="tab:blue", markersize=4)
        axes.plot([np.mean(values)], [row], "|", color="black", markersize=12)
    labels = [" ".join(settings) or "the recipe as it is" for settings, _ in ranked]
    axes.set_yticks(range(len(ranked)), labels, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel(f"validation {score}; points: seeds; bars: {LEVEL:.0%} confidence of the mean")
    axes.grid(alpha=0.3, axis="x")
    return png(figure, title)


def save_trials(trials: Sequence[Trial], folder: Path, recipe: Recipe) -> Path | None:
    """Draw trials into ``sweep.png`` in a folder and return its path; None if no combination is finished.

    Raises
    ------
    ConfigError
        The picture cannot be written.
    """
    if not ranking(trials):
        return None
    path = folder / "sweep.png"
    with writing(ConfigError, f"sweep: expected to write {path}"):
        write_atomically(path, draw_trials(trials, f"{recipe.name}: sweep"))
    return path
