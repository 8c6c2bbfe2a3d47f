"""Grades `training_loop`: weights and history of short runs whose best epoch is not the last."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax

from tinygrad_lab.backend import Array
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, expect

RUNS = {  # (examples, epochs, batch size, seed): a run of one epoch, full batches, and a smaller last batch
    "one epoch": (8, 1, 4, 0),
    "several epochs, full batches": (12, 6, 4, 50),
    "several epochs, a smaller last batch": (11, 8, 4, 56),
}


def data(count: int, seed: int) -> tuple[Any, Any, Array]:
    """Return noisy training examples, validation examples, and initial weights."""
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(count + 20, 3)), rng.integers(0, 3, count + 20)
    x[np.arange(len(t)), t] += 1.0
    return (x[:count], t[:count]), (x[count:], t[count:]), 0.1 * rng.normal(size=(3, 3))


def found(answer: Answer, name: str) -> tuple[Array, Array]:
    """Return what the learner's loop returns for a run."""
    count, epochs, batch_size, seed = RUNS[name]
    training, validation, w = data(count, seed)
    result = answer.train(w, training, validation, 2.0, epochs, batch_size, seed)
    expect(isinstance(result, tuple | list) and len(result) == 2, "train: expected two results, weights and history")
    return np.asarray(result[0], float), np.asarray(result[1], float)


def expected(name: str) -> tuple[Array, Array]:
    """Return what the loop must return for a run, with the gradient and the loss by SciPy."""
    count, epochs, batch_size, seed = RUNS[name]
    (x, t), (x_new, t_new), w = data(count, seed)
    weights, history = [], []
    for epoch in range(epochs):
        rest = list(np.random.default_rng([seed, epoch]).permutation(count))
        while rest:
            batch, rest = rest[:batch_size], rest[batch_size:]
            w = w - 2.0 * x[batch].T @ (softmax(x[batch] @ w, axis=1) - np.eye(3)[t[batch]]) / len(batch)
        weights.append(w)
        history.append(float(np.mean(np.argmax(x_new @ w, axis=1) == t_new)))
    return weights[int(np.argmax(history))], np.array(history)


def steps(answer: Answer) -> list[Step]:
    """Return checks of the history, of the weights, and of the arguments."""

    def check(name: str) -> None:
        (w, history), (right, accuracies) = found(answer, name), expected(name)
        shown = f"expected accuracies {accuracies}\ngiven accuracies {history}"
        same = history.shape == accuracies.shape and np.allclose(history, accuracies)
        expect(same, "the validation accuracies after the epochs are wrong", shown)
        close = w.shape == right.shape and np.allclose(w, right, rtol=1e-9)
        best = int(accuracies.argmax()) + 1
        expect(close, f"the weights are not those of the best epoch, number {best}", shown)

    def untouched() -> None:
        training, validation, w = data(8, 0)
        before = w.copy()
        answer.train(w, training, validation, 2.0, 2, 4, 0)
        expect(np.array_equal(w, before), "train writes into the weights that it was given; work on a copy")

    return [
        *(Step(name, lambda n=name: check(n)) for name in RUNS),  # type: ignore[misc]  # the default of the lambda
        Step("the given weights do not change", untouched),
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of the history and of the weights of each run."""
    return [
        *(lambda n=name: found(answer, n)[1] for name in RUNS),
        *(lambda n=name: found(answer, n)[0] for name in RUNS),
    ]
