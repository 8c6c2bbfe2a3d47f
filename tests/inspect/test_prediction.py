"""Predictions and their figures, compared with scikit-learn and with sums in plain Python."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tinygrad_lab.errors import OptionError
from tinygrad_lab.inspect import Prediction, Report

NAMES = tuple("abcdefg")


@st.composite
def reports(draw: Any) -> Report:
    images, classes, seed = draw(st.integers(1, 40)), draw(st.integers(2, 7)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, draw(st.sampled_from([0.05, 1.0]))), images).astype(np.float32)
    return Report("made", Prediction(NAMES[:classes], probabilities), rng.integers(0, classes, images))


@given(reports())
def test_figures_agree_with_scikit_learn(report: Report) -> None:
    found, true = report.prediction, report.labels
    labels = range(len(found.names))
    assert report.accuracy == pytest.approx(metrics.accuracy_score(true, found.labels))
    np.testing.assert_array_equal(report.confusion, metrics.confusion_matrix(true, found.labels, labels=labels))
    scores = metrics.precision_recall_fscore_support(true, found.labels, labels=labels, zero_division=np.nan)
    for ours, theirs in zip(("precision", "recall", "images"), (scores[0], scores[1], scores[3]), strict=True):
        np.testing.assert_allclose([getattr(score, ours) for score in report.classes], theirs)
    distinct = all(len(set(row)) == len(row) for row in found.probabilities.tolist())
    if len(labels) > 2 and distinct:  # scikit-learn ranks equal probabilities in another order
        expected = metrics.top_k_accuracy_score(true, found.probabilities, k=2, labels=labels)
        assert report.top(2) == pytest.approx(expected)
    assert report.top(99) == 1


@given(reports(), st.integers(1, 20))
def test_calibration_error_agrees_with_its_definition(report: Report, bins: int) -> None:
    total = 0.0
    for m in range(1, bins + 1):
        inside = []
        for row, true in zip(report.prediction.probabilities.astype(float), report.labels, strict=True):
            if (m - 1) / bins < max(row) <= m / bins:
                inside.append((max(row), row.argmax() == true))
        if inside:
            confidence, accuracy = (sum(values) / len(inside) for values in zip(*inside, strict=True))
            total += len(inside) / len(report) * abs(accuracy - confidence)
    assert report.calibration_error(bins) == pytest.approx(total, abs=1e-12)


def test_the_calibration_error_of_calibrated_predictions_is_small() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 100_000)
    labels = (rng.random((100_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    assert Report("made", Prediction(NAMES[:3], probabilities), labels).calibration_error() < 0.01
    sure = np.eye(3)[rng.integers(0, 3, 1000)]
    right = sure.argmax(axis=1)
    assert Report("made", Prediction(NAMES[:3], sure), right).calibration_error() == 0
    assert Report("made", Prediction(NAMES[:3], sure), (right + 1) % 3).calibration_error() == 1


def test_the_most_confused_pairs_of_classes() -> None:
    predicted, true = np.array([0, 1, 1, 2, 2, 2, 0]), np.array([0, 0, 0, 1, 0, 1, 2])
    report = Report("made", Prediction(NAMES[:3], np.eye(3)[predicted]), true)
    assert report.confused(2) == [("a", "b", 2), ("b", "c", 2)]
    assert len(report.confused()) == 4


def test_undefined_shares_are_null_in_json() -> None:
    report = Report("made", Prediction(NAMES[:3], np.eye(3)[[0, 1]]), np.array([0, 0]))
    assert math.isnan(report.classes[1].recall)
    told = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert told["classes"][1] == {"name": "b", "images": 0, "recall": None, "precision": 0.0}
    assert told["classes"][2]["precision"] is None


def test_predictions_of_many_images_are_shown_in_part() -> None:
    found = Prediction(NAMES[:2], np.tile(np.float32([0.25, 0.75]), (30, 1)))
    lines = repr(found).splitlines()
    assert lines[0] == "b 75.0 %, a 25.0 %"
    assert lines[-1] == "... 30 images"
    assert len(lines) == 11


def test_counts_below_1_are_refused() -> None:
    report = Report("made", Prediction(NAMES[:2], np.eye(2)), np.array([0, 1]))
    for call in (report.top, report.prediction.top, report.calibration_error):
        with pytest.raises(OptionError, match=r"expected .*, got 0"):
            call(0)
