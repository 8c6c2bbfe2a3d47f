"""LeNet-5 made of the learner's own answers: initial weights, layers, loss, optimizer, schedule and augmentation.

Each answer is graded in a process of its own first. One that is missing or wrong is named, and the reference solution
takes its place, so there is always a network to train. The answers that pass then run in this process, without the
limits of grading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.backend import Array
from tinygrad_lab.data import Dataset, Loader, load
from tinygrad_lab.errors import ConfigError
from tinygrad_lab.learn.answer import holes
from tinygrad_lab.learn.catalog import Exercise, find_exercise
from tinygrad_lab.learn.grading import local_answer, run_here
from tinygrad_lab.learn.process import grade_apart
from tinygrad_lab.learn.progress import Progress
from tinygrad_lab.learn.workspace import find_answer, read_answers

PIECES = ("initial_values", "matmul", "conv2d", "max_pool", "cross_entropy", "momentum", "step_decay", "augmentation")
FILTERS = {"c1": (5, 5, 1, 6), "c3": (5, 5, 6, 16)}
WEIGHTS = {"f5": (400, 120), "f6": (120, 84), "output": (84, 10)}
RATE, MOMENTUM, BATCH = 0.02, 0.9, 32
DECAY = {"interval": 1.0, "factor": 0.6}  # from the middle of the training on


@dataclass(frozen=True)
class Piece:
    """One exercise's part of the network.

    Parameters
    ----------
    exercise : Exercise
        The exercise.
    answer : Answer
        The learner's answer if it passes, else the reference solution; it has run.
    state : str
        "yours", "missing" or "wrong"; for the last two, the reference stands in.
    said : str
        The grader's message about a wrong answer.
    """

    exercise: Exercise
    answer: Any
    state: str
    said: str = ""


def collect(progress: Progress, seconds: float) -> Iterator[Piece]:
    """Grade the learner's answers and yield the pieces of the network, in the order of `PIECES`.

    Parameters
    ----------
    progress : Progress
        The folders of the answers.
    seconds : float
        The time limit of each grading.
    """
    for name in PIECES:
        exercise = find_exercise(name)
        try:
            place = find_answer(exercise, None, progress.of(name).where)
            files = read_answers(exercise, place)
        except ConfigError:
            files = {}
        if not files or holes(files):
            yield Piece(exercise, run_here(exercise, exercise.solution), "missing")
            continue
        folder = (place.parent if place.is_file() else place).absolute()
        verdict = grade_apart(exercise, files, folder, seconds=seconds)
        if verdict.passed:
            yield Piece(exercise, local_answer(exercise, files, folder).run(), "yours")
        else:
            said = "\n".join(filter(None, (verdict.what, *(f"=> {text}" for text in verdict.because[:1]))))
            yield Piece(exercise, run_here(exercise, exercise.solution), "wrong", said)


def references() -> dict[str, Any]:
    """Return the reference solutions of all pieces, which have run."""
    return {name: run_here(find_exercise(name), find_exercise(name).solution) for name in PIECES}


class LeNet:
    """LeNet-5 with ReLU and max-pooling, computed forward and backward by answers to exercises.

    Parameters
    ----------
    pieces : mapping of exercise to answer
        The answers.
    seed : int
        The seed of the initial weights.
    """

    def __init__(self, pieces: Mapping[str, Any], seed: int = 0) -> None:
        self.pieces, self.parameters = pieces, dict[str, tgl.Parameter]()
        for number, (path, shape) in enumerate((FILTERS | WEIGHTS).items()):
            w = pieces["initial_values"].he_normal(shape, 10 * seed + number)
            self.parameters[f"{path}.weight"] = tgl.Parameter(np.asarray(w, "float32"))
            self.parameters[f"{path}.bias"] = tgl.Parameter(np.zeros(shape[-1], "float32"))
        self.optimizer = pieces["momentum"].SGD(self.parameters, lr=RATE, momentum=MOMENTUM)

    def forward(self, x: Array) -> tuple[Array, list[tuple[str, Array, Array]]]:
        """Return the logits, and for each layer its path, its input and its result before the ReLU."""
        conv, pool, kept = self.pieces["conv2d"], self.pieces["max_pool"], []
        for path in FILTERS:
            y = conv.conv2d(x, *self._cell(path), 1)
            kept.append((path, x, y))
            x = pool.max_pool(np.maximum(y, 0), 2, 2)
        x = x.reshape(len(x), -1)  # (N, 5, 5, 16) -> (N, 400)
        for path in WEIGHTS:
            y = self.pieces["matmul"].dense(x, *self._cell(path))
            kept.append((path, x, y))
            x = y if path == "output" else np.maximum(y, 0)
        return x, kept

    def step(self, x: Array, labels: Array) -> float:
        """Take a step of training and return the loss."""
        pieces, gradients = self.pieces, dict[str, Array]()
        logits, kept = self.forward(x)
        loss = float(pieces["cross_entropy"].cross_entropy(logits, labels))
        g = pieces["cross_entropy"].cross_entropy_backward(np.float32(1.0), logits, labels)
        for path, inputs, y in reversed(kept):
            if path in FILTERS:
                g = g.reshape(len(x), y.shape[1] // 2, y.shape[2] // 2, y.shape[3])
                g = pieces["max_pool"].max_pool_backward(g, np.maximum(y, 0), 2, 2) * (y > 0)
                g, dw, db = pieces["conv2d"].conv2d_backward(g, inputs, self._cell(path)[0], 1)
            else:
                g = g if path == "output" else g * (y > 0)
                g, dw, db = pieces["matmul"].dense_backward(g, inputs, self._cell(path)[0])
            gradients |= {f"{path}.weight": dw, f"{path}.bias": db}
        for path, p in self.parameters.items():
            p.node.grad = np.asarray(gradients[path], "float32")  # type: ignore[union-attr]  # parameters are not frozen
        self.optimizer.step()
        return loss

    def accuracy(self, data: Dataset) -> float:
        """Return the share of correctly classified images."""
        return float(np.mean(self.forward(prepared(data))[0].argmax(axis=1) == data.labels))

    def _cell(self, path: str) -> list[Array]:
        return [self.parameters[f"{path}.{name}"].numpy() for name in ("weight", "bias")]


def prepared(data: Dataset) -> Array:
    """Return images as float32 with brightness from 0 to 1."""
    return np.asarray(data.images, "float32") / 255


def digits(per_class: int | None = None) -> list[Dataset]:
    """Return scikit-learn's digits: training, validation and test images."""
    parts = [load("digits", split=split, validation=0.2) for split in ("train", "validation")]
    parts.append(load("digits", split="test"))
    return [part.limit(per_class) for part in parts] if per_class else parts


def train(
    pieces: Mapping[str, Any],
    data: Sequence[Dataset],
    epochs: int,
    report: Callable[[int, float, float], None] = lambda epoch, loss, accuracy: None,
) -> float:
    """Train a network; return the test accuracy of the epoch with the highest validation accuracy.

    Parameters
    ----------
    pieces : mapping of exercise to answer
        The answers.
    data : three data sets
        Training, validation and test images.
    epochs : int
        The number of epochs.
    report : callable
        Called after each epoch with its number, the mean loss and the validation accuracy.
    """
    training, validation, test = data
    network, best, chosen = LeNet(pieces), -1.0, 0.0
    rng = np.random.default_rng(0)
    batches = Loader(training, batch_size=BATCH, seed=0, workers=0)
    for epoch in range(1, epochs + 1):
        losses = []
        decay = pieces["step_decay"].step_decay
        network.optimizer.lr = float(decay(epoch - 1.0, RATE, epochs // 2, DECAY["interval"], DECAY["factor"]))
        for x, labels in batches:
            down, right = rng.integers(-2, 3, (2, len(x)))
            losses.append(network.step(pieces["augmentation"].shift(x, down, right), labels))
        if (accuracy := network.accuracy(validation)) > best:
            best, chosen = accuracy, network.accuracy(test)
        report(epoch, float(np.mean(losses)), accuracy)
    return chosen
