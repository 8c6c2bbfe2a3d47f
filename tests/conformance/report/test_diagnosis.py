"""Diagnosis of wrong Jacobians: the mistake that explains each."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_lab.conformance import Case, Input, LayerCases
from tinygrad_lab.conformance.report.diagnosis import explanations, side_by_side, wrong_entries
from tinygrad_lab.conformance.report.failure import explain
from tinygrad_lab.conformance.trials.subject import Subject
from tinygrad_lab.conformance.trials.trial import Trial
from tinygrad_lab.conformance.trials.verdict import Violation

RNG = np.random.default_rng(0)
RIGHT = RNG.normal(size=(6, 6))
X = RNG.normal(size=(3, 2))


def first(analytic, numerical=RIGHT, x=X, shape=(2, 3)):
    return explanations(analytic, numerical, x, shape)[0]


def test_zero_everywhere():
    assert "zero everywhere" in first(np.zeros_like(RIGHT))


def test_not_finite():
    assert "NaN" in first(np.full_like(RIGHT, np.nan))


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (-1.0, "wrong sign"),
        (0.5, "0.5 times what it should be"),
        (1 / 3, "divided by the number of elements along axis 0 of the argument: a mean instead of a sum"),
        (6.0, "multiplied by the number of elements of the argument"),
        (5.0, "more than once"),
        (-0.5, "-0.5 times what it should be"),
    ],
)
def test_a_factor(factor, text):
    assert text in first(factor * RIGHT)


def test_a_transpose_of_the_argument():
    x = RNG.normal(size=(2, 2))
    right = RNG.normal(size=(3, 4))
    assert "axes 0 and 1 of the argument are exchanged" in first(right[:, [0, 2, 1, 3]], right, x, (3,))


def test_a_transposed_jacobian():
    assert "J v instead of J^T v" in first(RIGHT.T, shape=(6,))


def test_columns_without_gradient():
    wrong = RIGHT.copy()
    wrong[:, [1, 4]] = 0
    assert "2 of 6 elements of the argument get no gradient: columns 1, 4" in first(wrong)


def test_a_sum_over_some_rows_only():
    wrong = RIGHT.copy()
    wrong[3:] = 0
    assert "only the first row of the batch" in first(wrong)
    wrong = RIGHT.copy()
    wrong[2] = 0
    assert "1 of 6 results contribute nothing" in first(wrong)


def test_a_jacobian_with_only_its_diagonal():
    assert "all entries off the diagonal are 0" in first(np.diag(np.diag(RIGHT)))


def test_a_missing_mean():
    assert "same term is missing" in first(RIGHT - RNG.normal(size=(6, 1)))


def test_a_missing_variance_term():
    centered = (X - X.mean()).reshape(-1)
    assert "derivative of a variance" in first(RIGHT - np.outer(RNG.normal(size=6), centered))


def test_a_missing_product():
    assert "term of rank one" in first(RIGHT - np.outer(RNG.normal(size=6), RNG.normal(size=6)))


def test_errors_at_one_index():
    wrong = RIGHT.copy()
    wrong[[2, 5]] += RNG.normal(size=(2, 6))
    assert "index 2 along axis 1" in first(wrong)


def test_no_explanation_is_given_without_a_pattern():
    assert explanations(RNG.normal(size=(6, 6)), RIGHT, X, (2, 3)) == []


def test_wrong_entries_are_marked():
    wrong = RIGHT.copy()
    wrong[1, 2] += 1.0
    assert wrong_entries(wrong, RIGHT).sum() == 1
    text = side_by_side(wrong, RIGHT)
    assert text.count("*") == 1
    assert len(text.splitlines()) == 7


def test_large_jacobians_are_printed_in_part():
    text = side_by_side(np.zeros((50, 40)), np.zeros((50, 40)))
    assert "the first 8 x 8 of 50 x 40 entries" in text


@pytest.mark.parametrize(("x", "told"), [([0.5, -2.25], True), ([1.0] * 50, False)])
def test_a_report_prints_arguments_of_few_elements(x, told):
    case = Case(inputs=(Input((len(x),)),))
    trial = Trial(case, LayerCases(None), Subject(lambda x: x * x, [np.array(x)]))
    text = explain("square", "gradients", "check_layer(...)", case, Violation("wrong"), trial, None)
    assert (f"\n  x = {x}\n" in text) == told
