"""Statistics of comparisons: whether one of two sets of runs, or of two classifiers, is better than the other.

Two recipes are compared by their accuracies over several seeds, two classifiers by their predictions for the same
images. In both cases the result is a `Verdict`: an interval of the difference, and "undecided" if it contains 0.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygrad_lab.errors import OptionError
from tinygrad_lab.train.metrics import HEADLINES, Score

LEVEL = 0.95
MOST = {"seeds": 10_000, "images": 1_000_000}  # beyond these, "more" is no advice


@dataclass(frozen=True)
class Verdict:
    """Comparison of two means: their difference, its confidence interval, and how many more pairs would decide.

    It prints accuracies in percent, and their differences in percentage points. An interval over seeds applies to other
    seeds on the same images; it does not cover the choice of the images.

    Parameters
    ----------
    difference : float
        The mean of the first minus the mean of the second.
    low, high : float
        The confidence interval of the difference. It is infinite if nothing is known about the deviation: for a single
        seed, or if all seeds have equal differences and the number of images is unknown.
    level : float
        The interval's confidence.
    pairs : int
        The number of seeds, or of images, that both sides have.
    unit : {"seeds", "images"}
        What the pairs are.
    test_error : float or None
        The standard error of one accuracy (not of the difference) that comes from the choice of the images, if their
        number is known.
    more : int or None
        The number of further pairs that would decide if difference and deviation stayed the same. As these are
        estimates, that many pairs decide about half of the time. None if the verdict is decided, if nothing can be
        estimated (a single pair, no difference), or if it takes more than 10,000 seeds or 1,000,000 images in all.
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
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    @property
    def better(self) -> str | None:
        """The better side, ``"first"`` or ``"second"``; None if undecided."""
        return ("first" if self.low > 0 else "second") if self.decided else None

    def __str__(self) -> str:
        return self.text(HEADLINES["accuracy"])

    def text(self, score: Score) -> str:
        """Return the verdict on values of a score in words; ``str`` returns that on accuracies."""
        points = f"{score.number(abs(self.difference))}{' points' * score.percent}"
        lower = "lower" if self.difference < 0 else "higher"
        details = ", ".join(self._details(score))
        return f"{'different' if self.decided else 'undecided'}: {points} {lower} ({details})"

    def _details(self, score: Score) -> list[str]:
        count = f"{self.pairs:,} {self.unit if self.pairs > 1 else self.unit[:-1]}"
        if math.isinf(self.high):
            return [f"{count}: no interval"]
        interval = f"{score.number(self.low, sign='+')} to {score.number(self.high, sign='+')}"
        details = [f"{100 * self.level:.4g} % interval {interval}", count]
        if self.more is not None:
            further = f"{self.more:,} more {self.unit if self.more > 1 else self.unit[:-1]}"
            details.append(f"about {further} would decide with a chance of 50 %")
        return details


def verdict(
    a: Any, b: Any, *, images: int | None = None, level: float = LEVEL, score: Score = HEADLINES["accuracy"]
) -> Verdict:
    r"""Compare two sets of runs seed by seed, or two classifiers image by image.

    For accuracies :math:`a_s, b_s` of the same :math:`n` seeds, with :math:`d_s = a_s - b_s`, the interval is
    :math:`\bar d \pm t_{n-1} \, s_d / \sqrt n`: the paired t-test. Accuracies are counts of images, so a few seeds may
    have equal differences by chance, and :math:`s_d = 0` does not prove a difference. On :math:`N` images a difference
    :math:`d_s` requires at least :math:`N |d_s|` images that only one side classifies correctly. If both sides are
    equally good, each of these images favors either side with probability 1/2. The half-width is therefore at least
    :math:`z \sqrt{\max(1, N \sum_s |d_s|)} / (n N)`.

    For ``bool`` arrays (which images were classified correctly) the interval is Tango's score interval of a paired
    difference. It is extended to 0 unless McNemar's exact test rejects equality: if both sides are equally good, the
    first is expected to be right on half of the images that only one side classified correctly.

    Parameters
    ----------
    a, b : sequence of float, mapping from seed to float, or array of bool
        Accuracies from 0 to 1 in a sequence, paired by position, or in a mapping, paired by seed (seeds that only one
        side has are left out). For classifiers: for each image, whether the prediction was right.
    images : int, optional
        The number of images that the accuracies were measured on. Give it if it is known: see above. It has no effect
        on other scores, which do not count images.
    level : float
        The confidence of the interval. If both sides are equally good, a share of about 1 - level of all comparisons
        calls them different.
    score : Score
        What the numbers are: accuracies, or values of another score such as R².

    Returns
    -------
    Verdict

    Raises
    ------
    OptionError
        The sides cannot be paired, an accuracy is not from 0 to 1, the level is not between 0 and 1, or the sides are
        integers, which could mean predictions or accuracies.

    References
    ----------
    Student, "The probable error of a mean", Biometrika 1908; Q. McNemar, "Note on the sampling error of the difference
    between correlated proportions or percentages", Psychometrika 1947; T. Tango, "Equivalence test and confidence
    interval for the difference in proportions for the paired-sample design", Statistics in Medicine 1998;
    T. G. Dietterich, "Approximate statistical tests for comparing supervised classification learning algorithms",
    Neural Computation 1998.

    Examples
    --------
    >>> print(verdict([0.91, 0.93, 0.92], [0.90, 0.91, 0.91], images=2000))
    undecided: 1.33 points higher (95 % interval -0.10 to +2.77, 3 seeds,
    about 1 more seed would decide with a chance of 50 %)
    >>> verdict({0: 0.91, 1: 0.93, 2: 0.92, 3: 0.93}, {0: 0.90, 1: 0.91, 2: 0.91, 3: 0.92}).better
    'first'
    >>> right = np.arange(1000) % 10 != 0
    >>> print(verdict(right, right & (np.arange(1000) >= 100)))
    different: 9.00 points higher (95 % interval +7.38 to +10.93, 1,000 images)
    """
    if not 0 < level < 1:
        raise OptionError(f"verdict: expected a level between 0 and 1, such as 0.95, got {level}")
    first, second = _paired(a, b)
    if first.dtype == bool:
        return _of_images(first, second, level)
    for side in (first, second):
        if not all(map(score.is_possible, side.tolist())):
            what = "accuracies" if score.name == "accuracy" else f"values of {score}"
            raise OptionError(f"verdict: expected {what} from {score.low:g} to {score.high:g}, got {side.tolist()}")
    return _of_seeds(first, second, level, images if score.name == "accuracy" else None)


def _paired(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides as arrays of one length, paired by seed if they are mappings from seeds."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        common = [seed for seed in a if seed in b]
        if not common:
            raise OptionError(f"verdict: expected seeds that both sides have, got {sorted(a)} and {sorted(b)}")
        a, b = [a[seed] for seed in common], [b[seed] for seed in common]
    sides = [np.asarray(side) for side in (a, b)]
    if any(side.dtype.kind in "iu" for side in sides):
        raise OptionError(
            "verdict: expected accuracies as float or right predictions as bool, got whole numbers; pass bool, such as "
            "predicted == labels"
        )
    kinds = {"bool" if side.dtype == bool else "float" if side.dtype.kind == "f" else "other" for side in sides}
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
    from scipy.special import ndtri, stdtrit

    differences = first - second
    n, mean, deviation = len(differences), float(differences.mean()), 0.0
    error = None if images is None else _binomial_error(float(np.mean([first, second])), images)
    if np.ptp(differences) > 1e-12:  # smaller differences are rounding
        deviation = float(differences.std(ddof=1))
    if n == 1 or not (deviation or images):
        return Verdict(mean, -math.inf, math.inf, level, n, "seeds", error)
    of_images = 0.0  # standard deviation of a seed's difference if it comes from the fewest possible images
    if images:
        of_images = math.sqrt(max(1.0, images * float(np.abs(differences).sum())) / n) / images

    def width(count: int) -> float:
        t, z = float(stdtrit(count - 1, 0.5 + level / 2)), float(ndtri(0.5 + level / 2))
        return max(t * deviation, z * of_images) / math.sqrt(count)

    more = None
    if width(n) >= abs(mean) > width(MOST["seeds"]):  # the width falls as the number of seeds rises
        more = bisect_left(range(n, MOST["seeds"]), True, key=lambda count: width(count) < abs(mean))
    return Verdict(mean, mean - width(n), mean + width(n), level, n, "seeds", error, more)


def _of_images(first: np.ndarray, second: np.ndarray, level: float) -> Verdict:
    from scipy.special import ndtri
    from scipy.stats import binomtest

    n, ahead, behind = len(first), int((first & ~second).sum()), int((second & ~first).sum())
    discordant, difference, z = ahead + behind, (ahead - behind) / len(first), float(ndtri(0.5 + level / 2))
    error = _binomial_error(float(np.mean([first, second])), n)
    low, high = _score_interval(ahead, behind, n, z)
    if not discordant or binomtest(ahead, discordant).pvalue >= 1 - level:
        low, high = min(low, 0.0), max(high, 0.0)
    found = Verdict(difference, low, high, level, n, "images", error)
    if found.decided or not difference:
        return found
    excess = abs(ahead - behind) / discordant
    wanted = ((z + math.sqrt(z**2 + 4 * excess)) / (2 * excess)) ** 2  # discordant images; continuity corrected
    more = max(1, math.ceil(wanted * n / discordant) - n)
    return replace(found, more=more if n + more <= MOST["images"] else None)


def _score_interval(ahead: int, behind: int, n: int, z: float) -> tuple[float, float]:
    """Return Tango's interval: the differences that the score test with the critical value z does not reject."""
    from scipy.optimize import brentq

    def excess(difference: float) -> float:
        """Return how far the measured difference is from a hypothetical one, in standard errors under it."""
        b = (2 * n - ahead + behind) * difference - ahead - behind
        root = math.sqrt(max(0.0, b * b + 8 * n * behind * difference * (1 - difference)))
        share = max(0.0, (root - b) / (4 * n))  # maximum likelihood: images that only the second gets right
        variance = n * (2 * share + difference * (1 - difference))
        distance = ahead - behind - n * difference
        if abs(distance) < 1e-9:
            return 0.0
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    measured = (ahead - behind) / n
    low = brentq(lambda d: min(excess(d), 2 * z) - z, -1.0, measured) if measured > -1 else -1.0
    high = brentq(lambda d: max(excess(d), -2 * z) + z, measured, 1.0) if measured < 1 else 1.0
    return float(low), float(high)


def _binomial_error(accuracy: float, images: int) -> float:
    """Return the standard error of an accuracy measured on this many images."""
    if images < 1:
        raise OptionError(f"verdict: expected images >= 1, the number of images in the evaluation, got {images}")
    return math.sqrt(accuracy * (1 - accuracy) / images)


def bonferroni_level(looks: int, level: float = LEVEL) -> float:
    """Return the level for each of several tests (looks) that keeps all of them together at `level` (Bonferroni).

    If seeds are added until a verdict decides, there are many tests. At 95 % each, they would call equally good sides
    different in more than 5 % of such sequences.

    Examples
    --------
    >>> bonferroni_level(10)
    0.995
    """
    if looks < 1:
        raise OptionError(f"bonferroni_level: expected at least one look, got {looks}")
    return 1 - (1 - level) / looks
