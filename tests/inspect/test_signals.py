"""Signals equal outputs and gradients computed by hand, and the model does not change."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab import Sequential
from tinygrad_lab.errors import ShapeError
from tinygrad_lab.inspect import signals
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab_layers import BatchNorm, Dense, Dropout, ReLU, Residual

X = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")
LABELS = np.array([0, 1, 1, 0, 1])


def network() -> Sequential:
    return Sequential({"hidden": Dense(4, 3, rng=0), "relu": ReLU(), "output": Dense(3, 2, rng=1)})


def test_outputs_and_gradients_agree_with_the_chain_rule() -> None:
    model = network()
    hidden, relu, output = signals(model, X, LABELS, softmax_cross_entropy)
    assert [signal.path for signal in (hidden, relu, output)] == ["hidden", "relu", "output"]
    logits = model(tgl.tensor(X)).numpy()
    np.testing.assert_allclose(output.output, logits, rtol=1e-6)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = (softmax - np.eye(2)[LABELS]) / len(X)
    np.testing.assert_allclose(output.gradient, expected, atol=1e-6)
    np.testing.assert_allclose(output.weight_gradients["weight"], relu.output.T @ expected, atol=1e-6)
    back = expected @ model["output"].weight.numpy().T
    np.testing.assert_allclose(relu.gradient, back, atol=1e-6)
    np.testing.assert_allclose(hidden.gradient, back * (hidden.output > 0), atol=1e-6)
    assert hidden.gradient_rms == pytest.approx(np.sqrt(((back * (hidden.output > 0)) ** 2).mean()), rel=1e-4)
    assert output.output_rms == pytest.approx(np.sqrt((logits**2).mean()), rel=1e-5)


def test_the_model_does_not_change() -> None:
    model = Sequential(Dense(4, 4, rng=0), BatchNorm(4), Dropout(0.5), Residual(Dense(4, 4, rng=0)), Dense(4, 2, rng=0))
    before, steps = model.state(), model.steps
    attributes = [list(vars(layer)) for layer in model.layers().values()]
    found = signals(model, X, LABELS, softmax_cross_entropy)
    assert [signal.path for signal in found] == ["0", "1", "2", "3.inner", "4"]
    assert model.steps == steps
    assert all(p.grad is None for p in model.parameters().values())
    for path, value in model.state().items():
        np.testing.assert_array_equal(value, before[path])
    with pytest.raises(ShapeError):
        signals(model, X[:, :3], LABELS, softmax_cross_entropy)
    assert [list(vars(layer)) for layer in model.layers().values()] == attributes


def test_gradients_that_the_model_holds_are_not_added() -> None:
    model = network()
    expected = signals(model, X, LABELS, softmax_cross_entropy)
    softmax_cross_entropy(model(X), LABELS).backward()
    for first, second in zip(expected, signals(model, X, LABELS, softmax_cross_entropy), strict=True):
        for name, gradient in first.weight_gradients.items():
            np.testing.assert_array_equal(second.weight_gradients[name], gradient)


def test_outputs_that_the_loss_does_not_depend_on_have_no_gradient() -> None:
    model = Sequential({"dense": Dense(4, 2, rng=0)})
    model["dense"].freeze()
    (signal,) = signals(
        Sequential({"frozen": model["dense"], "last": Dense(2, 2, rng=0)}), X, LABELS, softmax_cross_entropy
    )[:1]
    assert signal.gradient is None
    assert signal.gradient_rms == 0.0
    assert signal.weight_gradients == {}
