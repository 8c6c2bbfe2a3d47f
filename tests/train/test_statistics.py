"""The verdict on two sets of runs or two classifiers, compared with SciPy, and simulations of its error rates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygrad_lab.errors import OptionError
from tinygrad_lab.train import verdict
from tinygrad_lab.train.statistics import Verdict, bonferroni_level

paired_runs = st.integers(2, 12).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 2000), min_size=n, max_size=n) for _ in range(2)))
)
predictions = st.integers(1, 60).flatmap(
    lambda n: st.tuples(*(st.lists(st.booleans(), min_size=n, max_size=n) for _ in range(2)))
)


@given(paired_runs, st.sampled_from([0.8, 0.95, 0.99]))
def test_the_verdict_over_seeds_is_the_paired_t_test(sides: Any, level: float) -> None:
    a, b = (np.array(side) / 2000 for side in sides)
    assume(np.std(a - b) > 1e-9)
    found, expected = verdict(a, b, level=level), scipy.stats.ttest_rel(a, b)
    interval = expected.confidence_interval(level)
    np.testing.assert_allclose((found.low, found.high), (interval.low, interval.high), atol=1e-12)
    assume(abs(expected.pvalue - (1 - level)) > 1e-9)
    assert found.decided == (expected.pvalue < 1 - level)
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))


@given(predictions)
def test_the_verdict_over_images_is_the_exact_test_of_mcnemar(sides: Any) -> None:
    a, b = map(np.array, sides)
    found, ahead, behind = verdict(a, b), int((a & ~b).sum()), int((b & ~a).sum())
    p = scipy.stats.binomtest(ahead, ahead + behind).pvalue if ahead + behind else 1.0
    assert found.decided == (p < 0.05), "the score interval excludes 0 wherever the exact test rejects at 95 %"
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.low <= found.difference + 1e-12
    assert found.difference <= found.high + 1e-12
    assert (found.unit, found.pairs) == ("images", len(a))


@given(paired_runs)
def test_exchanged_sides_give_the_opposite_verdict(sides: Any) -> None:
    a, b = (np.array(side) / 2000 for side in sides)
    there, back = verdict(a, b), verdict(b, a)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert (there.better, back.better) in {("first", "second"), ("second", "first"), (None, None)}


def decided(rng: np.random.Generator, seeds: int, difference: float, trials: int) -> float:
    """Return the share of decided trials if runs have a deviation of 0.9 points and sides share half the variance."""
    shared = rng.normal(0.9, 0.009 * 0.5**0.5, (trials, seeds))
    a, b = (shared + shift + rng.normal(0, 0.009 * 0.5**0.5, (trials, seeds)) for shift in (difference, 0))
    return float(np.mean([verdict(*pair).decided for pair in zip(a, b, strict=True)]))


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_equal_recipes_are_called_different_in_5_percent(seeds: int) -> None:
    share = decided(np.random.default_rng(seeds), seeds, 0.0, 1500)
    assert abs(share - 0.05) < 4 * (0.05 * 0.95 / 1500) ** 0.5


def test_power_grows_with_seeds() -> None:
    shares = [decided(np.random.default_rng(0), seeds, 0.004, 400) for seeds in (3, 10, 30, 100)]
    assert shares == sorted(shares)
    assert shares[0] < 0.2
    assert shares[-1] > 0.95, "enough seeds decide a small difference"


def counted(rng: np.random.Generator, seeds: int, images: int, discordant: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw accuracies of equal recipes; a fair coin decides each image that only one of both classifies correctly."""
    either = rng.binomial(images, discordant, seeds)
    ahead, both = rng.binomial(either, 0.5), rng.binomial(images - either, 0.95)
    return (both + ahead) / images, (both + either - ahead) / images


COUNTS = [(144, 0.02), (359, 0.01), (359, 0.02), (2000, 0.005)]


@pytest.mark.parametrize(("images", "discordant"), COUNTS)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equal_recipes_on_few_images_keep_the_error_rate(seeds: int, images: int, discordant: float) -> None:
    rng, trials, wrong = np.random.default_rng(seeds), 1000, {"with images": 0, "t-test": 0}
    for _ in range(trials):
        a, b = counted(rng, seeds, images, discordant)
        wrong["with images"] += verdict(a, b, images=images).decided
        equal = np.ptp(a - b) < 1e-12
        wrong["t-test"] += abs(a[0] - b[0]) > 1e-12 if equal else verdict(a, b).decided
    assert wrong["with images"] < (0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5) * trials
    if seeds == 2:
        assert wrong["t-test"] > 0.07 * trials, "differences that are equal by chance have no deviation"


@pytest.mark.parametrize(("images", "discordant"), COUNTS)
def test_adding_seeds_keeps_the_error_rate_on_counts(images: int, discordant: float) -> None:
    rng, looks, level, trials = np.random.default_rng(images), 9, bonferroni_level(9), 300
    wrong = 0
    for _ in range(trials):
        a, b = counted(rng, looks + 1, images, discordant)
        wrong += any(verdict(a[:n], b[:n], images=images, level=level).decided for n in range(2, looks + 2))
    assert wrong <= 0.05 * trials


def test_equal_differences_do_not_decide_without_images() -> None:
    assert str(verdict([0.9, 0.9], [0.89, 0.89])) == "undecided: 1.00 points higher (2 seeds: no interval)"
    few, many = (verdict([0.9, 0.9], [0.89, 0.89], images=n) for n in (100, 10_000))
    assert (few.decided, many.decided) == (False, True), "1 image of 100 each, and 100 of 10,000"
    assert few.high - few.low == pytest.approx(2 * 1.959964 * 2**0.5 / (2 * 100))
    same = verdict([0.9, 0.8], [0.9, 0.8], images=100)
    assert same.low < 0 < same.high


@pytest.mark.parametrize(
    ("first", "second", "images"), [(0.09, 0.0, 1000), (0.01, 0.01, 359), (0.05, 0.02, 144), (0.02, 0.03, 2000)]
)
def test_the_interval_over_images_covers_the_true_difference(first: float, second: float, images: int) -> None:
    rng, trials, covered = np.random.default_rng(images), 400, 0
    for _ in range(trials):
        drawn = rng.random(images)
        found = verdict(drawn < 0.9, (drawn < 0.9 - first) | (drawn >= 1 - second))
        covered += found.low <= first - second <= found.high
    assert covered > (0.95 - 3 * (0.05 * 0.95 / trials) ** 0.5) * trials


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 30))
def test_the_interval_over_images_inverts_the_score_test(ahead: int, behind: int, rest: int) -> None:
    n = ahead + behind + rest
    assume(n)
    a, b = (np.repeat(side, [ahead, behind, rest]) for side in ([True, False, True], [False, True, True]))
    found = verdict(a, b)
    for bound in (found.low, found.high):
        if abs(bound) in (0, 1):
            continue  # extended to 0, or the largest possible difference
        least, most = max(0.0, -bound), (1 - bound) / 2
        shares = np.linspace(least, most, 20_001)[1:-1]  # of images that only the second classifies correctly
        likelihood = ahead * np.log(shares + bound) + behind * np.log(shares) + rest * np.log1p(-2 * shares - bound)
        share = shares[np.argmax(likelihood)]
        variance = (2 * share + bound - bound**2) / n
        assert abs(found.difference - bound) / variance**0.5 == pytest.approx(1.96, abs=0.02)


def test_adding_seeds_until_a_decision_keeps_the_error_rate() -> None:
    rng, looks, wrong = np.random.default_rng(0), 9, {"corrected": 0, "at 95 % each": 0}
    for _ in range(300):
        a, b = rng.normal(0.9, 0.01, (2, looks + 1))
        for name, level in (("corrected", bonferroni_level(looks)), ("at 95 % each", 0.95)):
            wrong[name] += any(verdict(a[:n], b[:n], level=level).decided for n in range(2, looks + 2))
    assert wrong["corrected"] <= 0.05 * 300
    assert wrong["at 95 % each"] > 0.1 * 300


def test_the_suggested_number_of_seeds_decides() -> None:
    a, b = np.array([0.91, 0.93, 0.92]), np.array([0.90, 0.91, 0.915])
    found = verdict(a, b)
    assert found.more is not None
    spread = (a - b).std(ddof=1)
    for n, enough in ((3 + found.more, True), (2 + found.more, False)):
        pattern = np.resize([1.0, -1.0], n) * spread * ((n - 1) / (n - n % 2)) ** 0.5  # of the same mean and deviation
        pattern[n - n % 2 :] = 0
        differences = found.difference + pattern
        assert differences.std(ddof=1) == pytest.approx(spread)
        assert verdict(0.5 + differences, np.full(n, 0.5)).decided == enough


def test_one_seed_or_no_difference_decides_nothing() -> None:
    one = verdict([0.95], [0.90])
    assert (one.decided, one.more, math.isinf(one.high)) == (False, None, True)
    assert str(one) == "undecided: 5.00 points higher (1 seed: no interval)"
    assert verdict([0.9, 0.8], [0.8, 0.9]).more is None
    same = verdict(np.array([True, False]), np.array([True, False]))
    assert (same.decided, same.more) == (False, None)
    assert same.low < 0 < same.high


def test_accuracies_are_paired_by_seed() -> None:
    a, b = {3: 0.93, 0: 0.91, 1: 0.92}, {0: 0.90, 1: 0.90, 3: 0.91, 7: 0.1}
    assert verdict(a, b) == verdict([0.93, 0.91, 0.92], [0.91, 0.90, 0.90])
    with pytest.raises(OptionError, match=r"seeds that both sides have, got \[0, 1, 3\] and \[5\]"):
        verdict(a, {5: 0.9})


def test_the_verdict_has_the_error_of_the_test_images() -> None:
    found = verdict([0.90, 0.90], [0.90, 0.90], images=10_000)
    assert found.test_error == pytest.approx(0.003)
    assert verdict([0.9], [0.8]).test_error is None
    assert "error" not in str(found), "it is the error of one accuracy, not of the difference"


def test_too_few_images_give_a_suggested_number() -> None:
    a = np.ones(400, bool)
    b = a.copy()
    b[:4] = False
    found = verdict(a, b)
    assert not found.decided
    assert found.more is not None
    assert 500 < 400 + found.more <= 600, "six of six decide, five do not: 1.5 times as many images"
    assert verdict(np.tile(a, 2), np.tile(b, 2)).better == "first"
    many = np.arange(20_000)
    assert verdict((many >= 5000) & (many < 10_000), many >= 14_999).more is None, "hundreds of millions are no advice"


@pytest.mark.parametrize(
    "sides",
    [([0.9, 0.8], [0.9]), ([], []), ([[0.9]], [[0.9]]), ([True, False], [0.9, 0.8]), (["a"], ["b"]), ({0: 0.9}, [0.9])],
)
def test_sides_that_do_not_pair_are_refused(sides: Any) -> None:
    with pytest.raises(OptionError, match="verdict: expected two sequences"):
        verdict(*sides)


def test_other_wrong_arguments_are_refused() -> None:
    with pytest.raises(OptionError, match=r"accuracies from 0 to 1, got \[90.0\]"):
        verdict([90.0], [0.9])
    for whole in ([1, 0], np.array([True, False]).astype(int)):
        with pytest.raises(OptionError, match="got whole numbers; pass bool"):
            verdict(whole, [0.9, 0.8])
    with pytest.raises(OptionError, match="level between 0 and 1"):
        verdict([0.9], [0.9], level=95)
    with pytest.raises(OptionError, match="number of images in the evaluation, got 0"):
        verdict([0.9], [0.9], images=0)
    with pytest.raises(OptionError, match="at least one look"):
        bonferroni_level(0)


def test_the_better_side_is_named() -> None:
    interval = {"level": 0.95, "pairs": 3, "unit": "seeds"}
    assert Verdict(0.1, 0.05, 0.15, **interval).better == "first"  # type: ignore[arg-type]
    assert Verdict(-0.1, -0.15, -0.05, **interval).better == "second"  # type: ignore[arg-type]
    assert Verdict(0.1, -0.05, 0.25, **interval).better is None  # type: ignore[arg-type]
