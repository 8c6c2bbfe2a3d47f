"""Evaluation of networks and runs: loss and headline score, three figures of a run, and their spread over seeds.

The headline score is accuracy for classes and R² for targets that are numbers; see `tinygrad_lab.train.metrics`. On
test images it varies from epoch to epoch. The best of many epochs is biased upward, because that epoch is chosen on the
test set. Three figures are therefore distinguished, all measured on the test images:

- ``best_on_test``: at the epoch with the best score on the test images, which many publications quote;
- ``last``: at the last epoch;
- ``chosen_on_validation``: at the epoch that is best on the validation images. This one is unbiased.

A run that does not use the test images has only ``last``, measured on the validation images.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygrad_lab.arguments import expect
from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, backend_of, device_name, transfer
from tinygrad_lab.data import Compose, Loader
from tinygrad_lab.distributed import Group
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.ops.activation import softmax
from tinygrad_lab.tensor import tensor
from tinygrad_lab.train.metrics import (
    HEADLINES,
    TASKS,
    Metric,
    Score,
    check_metric_names,
    class_logits,
    headline_in,
)
from tinygrad_lab.train.sums import Sums, of_batch, scalar

Loss = Callable[[Any, Any], Any]
Metrics = Mapping[str, Any]

_RISE = 0.1  # the last loss may exceed the first epoch's by this share of it without counting as diverged

FIGURES = {
    "best_on_test": "best epoch on the test set",
    "last": "last epoch",
    "chosen_on_validation": "epoch chosen on validation",
}


@dataclass(frozen=True)
class Evaluation:
    """Result of a model on a data set: mean loss, headline score, number of images, and other metrics.

    Parameters
    ----------
    loss : float
        The mean loss.
    score : float
        The value of the headline score.
    images : int
        The number of images.
    metrics : mapping
        The values of the other metrics, by name.
    headline : str
        The name of the headline score, such as ``"accuracy"`` or ``"r2"``.
    """

    loss: float
    score: float
    images: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    headline: str = "accuracy"

    @property
    def accuracy(self) -> float:
        """The share of right answers, if the data have classes."""
        if self.headline != "accuracy":
            raise AttributeError(f"Evaluation: expected targets that are classes for an accuracy; use {self.headline}")
        return self.score

    @property
    def scores(self) -> dict[str, float]:
        """Headline score, loss and the other metrics by name."""
        return {self.headline: self.score, "loss": self.loss, **self.metrics}


def divergence(history: Sequence[Metrics], *, classes: int | None = None) -> str | None:
    """Return why a finished training counts as diverged, or None.

    It diverged if its last training loss is more than 10 % above that of the first epoch, or, with cross-entropy over
    a number of classes, above the loss of equal probabilities, log(classes).

    Examples
    --------
    >>> divergence([{"loss": 1.2}, {"loss": 1.9}])
    'the training loss rose from 1.2 in epoch 1 to 1.9 in epoch 2'
    >>> divergence([{"loss": 2.31}], classes=10)
    'the training loss of epoch 1, 2.31, is above 2.303, the loss of equal probabilities for 10 classes'
    >>> divergence([{"loss": 1.2}, {"loss": 0.3}], classes=10) is None
    True
    >>> divergence([{"loss": 0.012}, {"loss": 0.01201}]) is None
    True
    """
    first, last, epoch = history[0]["loss"], history[-1]["loss"], len(history)
    if last - first > _RISE * abs(first):  # a loss may be negative
        return f"the training loss rose from {first:.4g} in epoch 1 to {last:.4g} in epoch {epoch}"
    if classes and last > math.log(classes):
        chance = f"{math.log(classes):.4g}, the loss of equal probabilities for {classes} classes"
        return f"the training loss of epoch {epoch}, {last:.4g}, is above {chance}"
    return None


def not_learned(why: str) -> str:
    """Return the warning about a training that diverged, for the reason that `divergence` gave."""
    return f"the network did not learn: {why}; train for more epochs, or lower the learning rate"


def device_of(model: Layer) -> str:
    """Return the device that a model's parameters and buffers are on, or ``"cpu"`` if it has none."""
    return next((device_name(v.value) for v in model.variables().values()), "cpu")


def evaluate(
    model: Layer,
    loss: Loss,
    batches: Iterable[Any],
    metrics: Mapping[str, Metric] = MappingProxyType({}),
    *,
    headline: Score | None = None,
    group: Group | None = None,
) -> Evaluation:
    """Return the loss, headline score and other metrics of a model in evaluation mode, and restore its mode.

    Batches are moved to the model's device. The function waits for the device at the end only. If the batches of a
    loader have standardized targets, the metrics are computed in the targets' own units. The loss is that of training.
    If a group of ranks is given, the ranks take turns at the batches, and all ranks return the same result.

    Parameters
    ----------
    model : Layer
        The model.
    loss : callable
        ``loss(outputs, labels)``, a scalar.
    batches : iterable of (images, labels)
        The data, such as a `Loader` in order.
    metrics : mapping of name to function
        Other metrics.
    headline : Score, optional
        The headline score; by default that of the task of a loader's data set, and accuracy for other iterables.
    group : Group, optional
        The ranks that share the evaluation.

    Raises
    ------
    OptionError
        A metric has the name of another entry of the result, such as ``loss``.
    ShapeError
        The loss is not a scalar, or a metric does not return a number for each example.
    """
    expect("evaluate", "batches", batches, Iterable, "pairs of images and labels, such as Loader(data, shuffle=False)")
    check_metric_names("evaluate", metrics)
    loader = batches if isinstance(batches, Loader) else None
    headline = headline or (HEADLINES["accuracy"] if loader is None else TASKS[loader.dataset.task])
    scores = [Score.of(name, metric) for name, metric in metrics.items()]
    units = loader.augment if loader is not None and loader.dataset.task == "regression" else None
    if group is None or group.size == 1:
        totals = _totals(model, loss, batches, headline, scores, units)
    else:
        own = [
            _totals(model, loss, [batch], headline, scores, units) if number % group.size == group.rank else {}
            for number, batch in enumerate(batches)
        ]
        every = group.gather_objects(own)
        rows = [every[number % group.size][number] for number in range(len(own))]
        rows = rows or [_totals(model, loss, [], headline, scores, units)]
        totals = {name: sum(row[name] for row in rows) for name in rows[0]}  # in the order of the batches
    images = float(totals["images"][0])
    values = {score.name: score.value(totals.get(f"metric {score.name}", 0.0), images) for score in scores}
    value = headline.value(totals["right"], images)
    return Evaluation(float(totals["loss"][0]) / max(1.0, images), value, int(images), values, headline.name)


def _totals(
    model: Layer,
    loss: Loss,
    batches: Iterable[Any],
    headline: Score,
    scores: Sequence[Score],
    units: Compose | None,
) -> dict[str, Array]:
    """Return the sums of loss, images, headline score (``right``) and each metric over some batches.

    With `units`, the metrics are computed on numbers in their own units.
    """
    modes = [(layer, layer.training) for layer in model.layers().values()]
    device, sums = device_of(model), Sums()
    more: dict[str, Array] = {}
    model.eval()
    try:
        with no_grad():
            for x, labels in batches:
                labels = transfer(labels, device)
                logits = model(tensor(transfer(x, device)))
                sums.add(of_batch(unbox(scalar(loss(logits, labels))), logits, labels, headline), len(labels))
                if units is not None:
                    logits, labels = numbers_of(logits, units), units.in_units(labels)
                for score in scores:
                    more[score.name] = more.get(score.name, 0) + score.sums(logits, labels)
    finally:
        for layer, training in modes:
            layer.training = training
    known = {f"metric {name}": backend_of(total).to_numpy(total) for name, total in more.items()}
    return known | {name: np.atleast_1d(total) for name, total in sums.read().items()}


def numbers_of(outputs: Any, preprocessing: Compose) -> Array:
    """Return a network's outputs as target numbers in their own units: of several results, the first."""
    return preprocessing.in_units(unbox(outputs[0] if isinstance(outputs, tuple) else outputs))


def probabilities(outputs: Any) -> Array:
    """Return the probabilities of the classes from a network's outputs, as a NumPy array.

    They are the softmax of `class_logits`, so a single output gives the probability of the second of two classes by
    its sigmoid.

    Shapes
    ------
    (N, K) -> (N, K), or (N, 1) -> (N, 2)

    Raises
    ------
    ShapeError
        The outputs do not have two axes.
    """
    array = unbox(softmax(class_logits(outputs)))
    found: Array = backend_of(array).to_numpy(array)
    return found


def best_epoch(history: Sequence[Metrics], split: str) -> int:
    """Return the index of the epoch with the best headline score on a split.

    Ties go to the lowest loss, then the first.

    Examples
    --------
    >>> history = [{"test": {"accuracy": a, "loss": b}} for a, b in ((0.5, 1.0), (0.9, 0.4), (0.9, 0.3))]
    >>> best_epoch(history, "test")
    2
    """
    found = [metrics[split] for metrics in history]
    score = headline_in(found[-1])
    return min(range(len(found)), key=lambda i: (score.rank(found[i][score.name]), found[i]["loss"], i))


def headline_accuracies(history: Sequence[Metrics]) -> dict[str, dict[str, Any]]:
    """Return a dict with an entry ``{"epoch", "accuracy", "loss"}`` for each name in `FIGURES`, on the test images.

    If the targets are numbers, ``r2`` takes the place of ``accuracy``.

    Without test images, the result has only ``last``, measured on the validation images. The best epoch is left out:
    its score is biased, because it was chosen on the same images.

    Examples
    --------
    >>> history = [{"test": {"accuracy": a, "loss": 1 - a}, "validation": {"accuracy": b, "loss": 1 - b}}
    ...            for a, b in ((0.90, 0.95), (0.94, 0.93), (0.92, 0.94))]
    >>> {name: (figure["epoch"], figure["accuracy"]) for name, figure in headline_accuracies(history).items()}
    {'best_on_test': (2, 0.94), 'last': (3, 0.92), 'chosen_on_validation': (1, 0.9)}
    """
    if "test" not in history[-1]:
        return {"last": {"epoch": len(history), **history[-1]["validation"]}}
    chosen = {"best_on_test": best_epoch(history, "test"), "last": len(history) - 1}
    if "validation" in history[-1]:
        chosen["chosen_on_validation"] = best_epoch(history, "validation")
    return {name: {"epoch": epoch + 1, **history[epoch]["test"]} for name, epoch in chosen.items()}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean and standard deviation (0 for a single value), and the values.

    Examples
    --------
    >>> spread([0.9, 0.92, 0.94])
    {'mean': 0.92, 'std': 0.02, 'values': [0.9, 0.92, 0.94]}
    """
    std = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), 6), "std": round(std, 6), "values": list(values)}
