"""Statistics of comparisons: whether one of two sets of runs, or of two classifiers, is better than the other.

Two recipes are compared by their accuracies over several seeds, two classifiers by their predictions of the same
images. Either way the result is a `Verdict`: an interval of the difference, and "undecided" where it holds 0.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_lab.errors import OptionError

LEVEL = 0.95
MOST = 10_000  # a number of seeds beyond which "more seeds" is no advice


@dataclass(frozen=True)
class Verdict:
    """Comparison of two means: their difference, its confidence interval, and what would decide an open one.

    Printed, accuracies are in per cent, and differences of them in points.

    Parameters
    ----------
    difference : float
        The mean of the first minus the mean of the second.
    low, high : float
        The confidence interval of the difference; infinite for a single pair.
    level : float
        The interval's confidence.
    pairs : int
        The number of seeds, or of images, that both sides have.
    unit : {"seeds", "images"}
        What the pairs are.
    test_error : float or None
        The standard error of one accuracy that comes from the choice of the test images, if their number is known.
    more : int or None
        How many more pairs would decide, if difference and deviation stayed as they are; None if it is decided, if
        nothing can be said (a single pair, no difference), or if it takes more than 10,000 in all.
    """

    difference: float
    low: float
    high: float
    level: float
    pairs: int
    unit: str
    test_error: float | None = None
    more: int | None = None

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    @property
    def better(self) -> str | None:
        """``"first"``, ``"second"``, or None where it is undecided."""
        return ("first" if self.low > 0 else "second") if self.decided else None

    def __str__(self) -> str:
        points = f"{100 * abs(self.difference):.2f} points {'lower' if self.difference < 0 else 'higher'}"
        return f"{'different' if self.decided else 'undecided'}: {points} ({', '.join(self._details())})"

    def _details(self) -> list[str]:
        count = f"{self.pairs:,} {self.unit if self.pairs > 1 else self.unit[:-1]}"
        if math.isinf(self.high):
            return [f"{count}: no interval"]
        details = [f"{100 * self.level:.4g} % interval {100 * self.low:+.2f} to {100 * self.high:+.2f}", count]
        if self.test_error is not None and self.unit == "seeds":
            details.append(f"test set's own error {100 * self.test_error:.2f}")
        if self.more is not None:
            details.append(f"about {self.more:,} more would decide")
        return details


def verdict(a: Any, b: Any, *, images: int | None = None, level: float = LEVEL) -> Verdict:
    r"""Compare two sets of runs seed by seed, or two classifiers image by image.

    For accuracies :math:`a_s, b_s` of the same :math:`n` seeds, with :math:`d_s = a_s - b_s`, the interval is
    :math:`\bar d \pm t_{n-1} \, s_d / \sqrt n`: the paired t-test. For ``bool`` arrays (which images were classed
    rightly) it is the exact test of McNemar: among the images that only one side classed rightly, the share of the
    first is 1/2 if both are equally good. The interval is that of this share (Clopper and Pearson), as a difference of
    accuracies.

    Parameters
    ----------
    a, b : sequence of float, mapping from seed to float, or array of bool
        Accuracies from 0 to 1, paired by position; or by seed, where those that one side lacks are left out; or the
        right predictions of the same images.
    images : int, optional
        The number of test images that the accuracies were measured on.
    level : float
        The confidence of the interval. Of comparisons of equals, a share of 1 - level is called different.

    Returns
    -------
    Verdict

    Raises
    ------
    OptionError
        The sides cannot be paired, an accuracy is not from 0 to 1, or the level is not between 0 and 1.

    References
    ----------
    Student, "The probable error of a mean", Biometrika 1908; Q. McNemar, "Note on the sampling error of the difference
    between correlated proportions or percentages", Psychometrika 1947; T. G. Dietterich, "Approximate statistical tests
    for comparing supervised classification learning algorithms", Neural Computation 1998.

    Examples
    --------
    >>> print(verdict([0.91, 0.93, 0.92], [0.90, 0.91, 0.91], images=2000))
    undecided: 1.33 points higher (95 % interval -0.10 to +2.77, 3 seeds, test set's own error 0.63, about 1 more would decide)
    >>> verdict({0: 0.91, 1: 0.93, 2: 0.92, 3: 0.93}, {0: 0.90, 1: 0.91, 2: 0.91, 3: 0.92}).better
    'first'
    >>> right = np.arange(1000) % 10 != 0
    >>> print(verdict(right, right & (np.arange(1000) >= 100)))
    different: 9.00 points higher (95 % interval +8.28 to +9.00, 1,000 images)
    """  # noqa: E501  # a line of output
    if not 0 < level < 1:
        raise OptionError(f"verdict: expected a level between 0 and 1, such as 0.95, got {level}")
    first, second = _paired(a, b)
    if first.dtype == bool:
        return _of_images(first, second, level)
    for side in (first, second):
        if not ((side >= 0) & (side <= 1)).all():
            raise OptionError(f"verdict: expected accuracies from 0 to 1, got {side.tolist()}")
    return _of_seeds(first, second, level, images)


def _paired(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides as arrays of one length, paired by seed where they name seeds."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        common = [seed for seed in a if seed in b]
        if not common:
            raise OptionError(f"verdict: expected seeds that both sides have, got {sorted(a)} and {sorted(b)}")
        a, b = [a[seed] for seed in common], [b[seed] for seed in common]
    sides = [np.asarray(side) for side in (a, b)]
    kinds = {"bool" if side.dtype == bool else "float" if side.dtype.kind in "fiu" else "other" for side in sides}
    shapes = [side.shape for side in sides]
    if len(kinds) > 1 or "other" in kinds or shapes[0] != shapes[1] or len(shapes[0]) != 1 or not shapes[0][0]:
        raise OptionError(
            "verdict: expected two sequences of accuracies, one for each seed, two mappings from seeds to them, or two "
            f"arrays of bool, one for each image, of one length; got {sides[0].dtype} {shapes[0]} and "
            f"{sides[1].dtype} {shapes[1]}"
        )
    first, second = (side if side.dtype == bool else side.astype(float) for side in sides)
    return first, second


def _of_seeds(first: np.ndarray, second: np.ndarray, level: float, images: int | None) -> Verdict:
    from scipy.special import stdtrit

    differences = first - second
    n, mean = len(differences), float(differences.mean())
    error = None if images is None else _binomial_error(float(np.mean([first, second])), images)
    if n == 1:
        return Verdict(mean, -math.inf, math.inf, level, n, "seeds", error)
    deviation = float(differences.std(ddof=1))

    def width(count: int) -> float:
        return float(stdtrit(count - 1, 0.5 + level / 2)) * deviation / math.sqrt(count)

    more = None
    if width(n) >= abs(mean) > width(MOST):  # it falls as the number of seeds rises
        more = bisect_left(range(n, MOST), True, key=lambda count: width(count) < abs(mean))
    return Verdict(mean, mean - width(n), mean + width(n), level, n, "seeds", error, more)


def _of_images(first: np.ndarray, second: np.ndarray, level: float) -> Verdict:
    from scipy.special import ndtri
    from scipy.stats import binomtest

    n, ahead, behind = len(first), int((first & ~second).sum()), int((second & ~first).sum())
    discordant, difference = ahead + behind, (ahead - behind) / len(first)
    error = _binomial_error(float(np.mean([first, second])), n)
    if not discordant:
        return Verdict(0.0, 0.0, 0.0, level, n, "images", error)
    share = binomtest(ahead, discordant).proportion_ci(level, method="exact")
    low, high = (discordant / n * (2 * float(bound) - 1) for bound in share)
    found = Verdict(difference, low, high, level, n, "images", error)
    if found.decided or not difference:
        return found
    z, excess = float(ndtri(0.5 + level / 2)), abs(ahead - behind) / discordant
    wanted = ((z + math.sqrt(z**2 + 4 * excess)) / (2 * excess)) ** 2  # discordant images; continuity corrected
    more = max(1, math.ceil(wanted * n / discordant) - n)
    return Verdict(difference, low, high, level, n, "images", error, more)


def _binomial_error(accuracy: float, images: int) -> float:
    """Return the standard error of an accuracy measured on so many images."""
    if images < 1:
        raise OptionError(f"verdict: expected a number of test images, got {images}")
    return math.sqrt(accuracy * (1 - accuracy) / images)


def repeated(looks: int, level: float = LEVEL) -> float:
    """Return the level for each of several looks that keeps a sequence of them at a level (Bonferroni).

    Whoever adds seeds until a verdict decides, looks many times: at 95 % each, equals would be called different in more
    than 5 % of such sequences.

    Examples
    --------
    >>> repeated(10)
    0.995
    """
    if looks < 1:
        raise OptionError(f"repeated: expected at least one look, got {looks}")
    return 1 - (1 - level) / looks


def by_seed(seeds: Sequence[int], values: Sequence[float]) -> dict[int, float]:
    """Return a mapping from seeds to accuracies, as `verdict` takes it."""
    return dict(zip(seeds, values, strict=True))
