"""Predictions and evaluations: probabilities of classes, and their accuracy and calibration on labeled images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError

_SHOWN = 10  # images in a repr
_CLASSES = 3  # classes in a repr for each image


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """Probabilities of classes for one or more images.

    Parameters
    ----------
    names : tuple of K str
        The names of the network's outputs.
    probabilities : array of float32, (N, K)
        The softmax of the outputs. A network with one output gives the probability of the second class by its sigmoid.

    Examples
    --------
    >>> found = Prediction(("cat", "dog", "fox"), np.array([[0.7, 0.2, 0.1], [0.05, 0.35, 0.6]], np.float32))
    >>> found
    cat 70.0 %, dog 20.0 %, fox 10.0 %
    fox 60.0 %, dog 35.0 %, cat 5.0 %
    >>> found.classes, found.labels
    (('cat', 'fox'), array([0, 2]))
    >>> [(name, round(p, 2)) for name, p in found.top(2)[0]]
    [('cat', 0.7), ('dog', 0.2)]
    """

    names: tuple[str, ...]
    probabilities: Array

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def labels(self) -> Array:
        """The number of each image's most probable class, (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each image's most probable class."""
        return tuple(self.names[label] for label in self.labels)

    def most_probable(self, count: int) -> Array:
        """Return the numbers of each image's most probable classes, the highest probability first.

        Raises
        ------
        OptionError
            The count is below 1.
        """
        if count < 1:
            raise OptionError(f"top: expected a count of 1 or more, got {count}")
        return (-self.probabilities).argsort(axis=1, kind="stable")[:, :count]

    def top(self, count: int = 5) -> list[list[tuple[str, float]]]:
        """Return for each image the most probable classes with their probabilities, the highest first.

        Raises
        ------
        OptionError
            The count is below 1.
        """
        rows = zip(self.most_probable(count), self.probabilities, strict=True)
        return [[(self.names[label], float(row[label])) for label in labels] for labels, row in rows]

    def __repr__(self) -> str:
        shown = self.top(_CLASSES)[:_SHOWN]
        lines = [", ".join(f"{name} {p:.1%}".replace("%", " %") for name, p in row) for row in shown]
        return "\n".join([*lines, *([f"... {len(self)} images"] if len(self) > _SHOWN else [])])


@dataclass(frozen=True)
class ClassScore:
    """Score of one class: its number of images, its recall and its precision.

    The recall is the share of the class's images that are predicted as this class. The precision is the share of
    predictions of this class that are right. A share is NaN if there are no such images or predictions.
    """

    name: str
    images: int
    recall: float
    precision: float


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """Accuracy, confusion and calibration of a network on labeled images.

    Parameters
    ----------
    data : str
        The data set and split.
    prediction : Prediction
        What the network predicts for each image.
    labels : array of int, (N,)
        The number of each image's true class.

    Examples
    --------
    >>> found = Prediction(("cat", "dog"), np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], np.float32))
    >>> report = Report("pets test", found, np.array([0, 1, 1]))
    >>> report
    Report(pets test: accuracy 66.67 % of 3 images, calibration error 0.300)
    >>> report.confusion
    array([[1, 0],
           [1, 1]])
    >>> report.confused()
    [('dog', 'cat', 1)]
    >>> report.classes[1]
    ClassScore(name='dog', images=2, recall=0.5, precision=1.0)
    """

    data: str
    prediction: Prediction
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def accuracy(self) -> float:
        """The share of images whose most probable class is the true one."""
        return float((self.prediction.labels == self.labels).mean())

    def top(self, count: int = 5) -> float:
        """Return the share of images whose true class is among the `count` most probable.

        Raises
        ------
        OptionError
            The count is below 1.
        """
        return float((self.prediction.most_probable(count) == self.labels[:, None]).any(axis=1).mean())

    @property
    def confusion(self) -> Array:
        """Numbers of images by true class (row) and predicted class (column), (K, K)."""
        count = len(self.prediction.names)
        cells = np.bincount(self.labels * count + self.prediction.labels, minlength=count * count)
        return cells.reshape(count, count)  # (K*K,) -> (K, K)

    def confused(self, count: int = 10) -> list[tuple[str, str, int]]:
        """Return the pairs of classes that are confused most often: true class, predicted class, number of images."""
        found, names = self.confusion, self.prediction.names
        np.fill_diagonal(found, 0)
        pairs = ((names[i], names[j], int(found[i, j])) for i, j in np.argwhere(found))
        return sorted(pairs, key=lambda pair: -pair[2])[:count]

    @property
    def classes(self) -> tuple[ClassScore, ...]:
        """The scores of each class."""
        found = self.confusion
        right, true, predicted = found.diagonal(), found.sum(axis=1), found.sum(axis=0)
        rows = zip(self.prediction.names, true.tolist(), right.tolist(), predicted.tolist(), strict=True)
        return tuple(ClassScore(name, n, _share(hits, n), _share(hits, guesses)) for name, n, hits, guesses in rows)

    def calibration_error(self, bins: int = 15) -> float:
        """Return the expected calibration error: how far probabilities are from the shares of right predictions.

        ``ECE = sum over bins m of |B_m| / N * |acc(B_m) - conf(B_m)|``

        B_m holds the images whose highest probability lies in ((m - 1) / M, m / M]; acc is the share of them that are
        right and conf the mean of their highest probabilities.

        Parameters
        ----------
        bins : int
            M; the reference takes 15.

        Raises
        ------
        OptionError
            `bins` is below 1.

        References
        ----------
        Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", equation (3).
        """
        if bins < 1:
            raise OptionError(f"Report.calibration_error: expected 1 bin or more, got {bins}")
        confidence = self.prediction.probabilities.max(axis=1).astype(np.float64)
        right = self.prediction.labels == self.labels
        bin_of = np.ceil(confidence * bins).astype(int).clip(1, bins) - 1
        return float(abs(np.bincount(bin_of, weights=right - confidence, minlength=bins)).sum() / len(right))

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as plain values, with None in place of NaN."""
        return {
            "data": self.data,
            "images": len(self),
            "accuracy": self.accuracy,
            "top5": self.top(5),
            "calibration_error": self.calibration_error(),
            "classes": [
                {"name": c.name, "images": c.images, "recall": _or_none(c.recall), "precision": _or_none(c.precision)}
                for c in self.classes
            ],
            "confusion": self.confusion.tolist(),
        }

    def __repr__(self) -> str:
        figures = f"accuracy {100 * self.accuracy:.2f} % of {len(self)} images"
        return f"Report({self.data}: {figures}, calibration error {self.calibration_error():.3f})"


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _or_none(share: float) -> float | None:
    return None if math.isnan(share) else share


def joined(parts: Sequence[Prediction]) -> Prediction:
    """Return the predictions of several batches as one."""
    return Prediction(parts[0].names, np.concatenate([part.probabilities for part in parts]))
