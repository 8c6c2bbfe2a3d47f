"""Planted bugs of metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tests.planted_bugs.planting import plant_plugin
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.conformance.cases.builtin import brier_score, hit
from tinygrad_lab.conformance.cases.plugins import MetricCases
from tinygrad_lab.train.metrics import scored

SECOND = MetricCases(reference=lambda logits, label: hit(logits, label, 2))
BRIER = MetricCases(reference=brier_score)


def rank(logits: Any, labels: Any) -> Any:
    """Return the number of logits that are larger than the label's."""
    given = unbox(logits)
    return (given > given[np.arange(len(labels)), labels][:, None]).sum(axis=1)


def top2(logits: Any, labels: Any) -> Any:
    """Return whether the label is among the first two; correct."""
    return rank(logits, labels) < 2


@plant_plugin("metric", "the mean of the batch", by="one_number", says="leave the mean to the trainer")
def mean_of_batch(logits: Any, labels: Any) -> Any:
    return np.asarray(top2(logits, labels).mean())


@plant_plugin("metric", "a column in place of a row", by="one_number", says="of shape")
def column(logits: Any, labels: Any) -> Any:
    return top2(logits, labels)[:, None]


@plant_plugin("metric", "a squeezed batch of one", by="one_number", says="squeeze() removes")
def squeezed(logits: Any, labels: Any) -> Any:
    return np.asarray(top2(logits, labels).squeeze())


@plant_plugin("metric", "a list", by="one_number", says="got list")
def listed(logits: Any, labels: Any) -> Any:
    return top2(logits, labels).tolist()


@plant_plugin("metric", "equal logits decided at random, as a small noise", by="determinism")
def noisy(logits: Any, labels: Any) -> Any:
    return rank(logits, labels) + np.random.default_rng().random(len(labels))


@plant_plugin("metric", "a tensor handed back", by="tensors", says="unbox")
def taped(logits: Any, labels: Any) -> Any:
    given = logits[np.arange(len(labels)), labels]
    return given * given


@plant_plugin("metric", "a difference from the mean of the batch", by="each_alone")
def relative(logits: Any, labels: Any) -> Any:
    found = unbox(logits)[np.arange(len(labels)), labels]
    return found - found.mean()


@plant_plugin("metric", "numbers in sorted order", by="permutation")
def in_order(logits: Any, labels: Any) -> Any:
    return np.sort(unbox(logits)[np.arange(len(labels)), labels])


def softmax(given: Any) -> Any:
    """Return probabilities; exp overflows."""
    with np.errstate(all="ignore"):
        powers = np.exp(given)
        return powers / powers.sum(axis=1, keepdims=True)


@plant_plugin("metric", "a softmax that overflows", by="limits", says="expected finite numbers", cases=BRIER)
def overflowing(logits: Any, labels: Any) -> Any:
    hot = np.eye(logits.shape[1])[labels]
    return ((softmax(unbox(logits)) - hot) ** 2).sum(axis=1)


@plant_plugin("metric", "percent in place of a share", by="limits", says="expected 0 to 1", cases=SECOND)
@scored(low=0.0, high=1.0)
def percent(logits: Any, labels: Any) -> Any:
    return 100.0 * top2(logits, labels)


@plant_plugin("metric", "one place too many", by="reference", says="logits [", cases=SECOND)
def one_more(logits: Any, labels: Any) -> Any:
    return rank(logits, labels) <= 2


@plant_plugin("metric", "labels counted from 1", by="reference", cases=SECOND)
def from_one(logits: Any, labels: Any) -> Any:
    return rank(logits, labels - 1) < 2


@plant_plugin("metric", "float32 logits rounded to float16", by="width")
def rounded(logits: Any, labels: Any) -> Any:
    given = unbox(logits)
    given = given.astype("float16") if given.dtype == np.float32 else given
    return given[np.arange(len(labels)), labels]


@plant_plugin("metric", "logits sorted in place", by="one_number", says="read-only")
def in_place(logits: Any, labels: Any) -> Any:
    given = unbox(logits)
    given.sort(axis=1)
    return given[:, -1]


def spread(logits: Any, labels: Any) -> Any:
    """Return the range of each example's logits; correct."""
    given = unbox(tgl.stop_gradient(logits)) if isinstance(logits, tgl.Tensor) else logits
    return given.max(axis=1) - given.min(axis=1)


def largest(logits: Any, labels: Any) -> Any:
    """Return the largest logit in float32; correct."""
    return unbox(logits).max(axis=1).astype(np.float32)


TWINS = ((top2, SECOND), (spread, None), (largest, MetricCases(reference=lambda logits, label: max(logits))))
