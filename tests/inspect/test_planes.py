"""Planes: contributions sum to the logits, class activation maps average to them, pruned planes contribute 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.inspect.test_cut import X as SMALL
from tests.inspect.test_cut import network, result
from tinygrad_lab import Sequential
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.inspect import (
    class_activation,
    contributions,
    grad_cam,
    plane_contributions,
    prune,
)
from tinygrad_lab.inspect.cut import cut
from tinygrad_lab.inspect.planes import has_class_activation
from tinygrad_lab.registry import models
from tinygrad_lab.train.evaluation import probabilities
from tinygrad_lab_layers import Conv2d, Dense, Dropout, Flatten, GlobalAvgPool2d, ReLU

X = np.random.default_rng(0).random((3, 32, 32, 3)).astype("float32")


def test_contributions_sum_to_the_logits() -> None:
    for name in ("gap7", "cnn7"):
        model = models[name](rng=0)
        model["output"].bias.assign(np.array([0.5, -0.25], "float32"))
        logits = model(tgl.tensor(X)).numpy()
        parts = contributions(model, X)
        np.testing.assert_allclose(parts.sum(axis=1) + np.array([0.5, -0.25]), logits, rtol=1e-4, atol=1e-5)


def test_class_activation_maps_average_to_the_logits() -> None:
    model = models["gap7"](rng=0)
    maps = class_activation(model, X)
    assert maps.shape == (3, 7, 7, 2)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), model(tgl.tensor(X)).numpy(), rtol=1e-4, atol=1e-5)


def test_silencing_a_plane_removes_its_contribution() -> None:
    model = models["gap7"](rng=0)
    before, parts = model(tgl.tensor(X)).numpy(), contributions(model, X)
    after = prune(model, [2, 7], layer="conv3")(tgl.tensor(X)).numpy()
    np.testing.assert_allclose(before - after, parts[:, [2, 7]].sum(axis=1), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(model(tgl.tensor(X)).numpy(), before)


def test_planes_are_computed_without_dropout_and_keep_the_modes() -> None:
    model = Sequential(Flatten(), Dense(4, 3, rng=0), Dropout(0.9), Dense(3, 2, rng=0))
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(contributions(model, x), contributions(model, x))
    assert all(layer.training for layer in model.layers().values())


def test_networks_without_planes_are_refused() -> None:
    with pytest.raises(OptionError, match="ends in dense"):
        contributions(Sequential(ReLU()), X)
    with pytest.raises(OptionError, match="ends in global_avg_pool2d and dense"):
        class_activation(models["cnn7"](rng=0), X)


def test_heads_whose_results_are_not_those_of_their_weights_are_refused() -> None:
    conv, pool = Conv2d(2, 3, kernel_size=3, rng=0), GlobalAvgPool2d()
    plain = Sequential(conv, pool, Dense(3, 2, rng=1))
    rectified = Sequential(conv, pool, Dense(3, 2, activation="relu", rng=1))
    assert has_class_activation(plain)
    for model in (rectified, prune(plain, 1, layer="2"), prune(plain, 1, layer="1")):
        assert not has_class_activation(model)
        with pytest.raises(OptionError, match=r"without pruned planes, got Sequential.*; use plane_contributions or"):
            class_activation(model, SMALL)
    for model in (rectified, prune(plain, 1, layer="2")):
        with pytest.raises(OptionError, match="ends in dense, without an activation"):
            contributions(model, SMALL)
    pooled = prune(plain, 1, layer="1")  # the pool's result is the head's input
    np.testing.assert_allclose(contributions(pooled, SMALL).sum(axis=1), result(pooled, SMALL), rtol=1e-5)


def in_plain_numpy(model: Any, x: Any) -> tuple[Any, Any, Any]:
    """Return maps, logits, and each logit's gradient (K, N, H, W, C) of `dense_ending`, by an explicit chain rule."""
    w1, b1, w2, b2 = (model.state()[f"{i}.{name}"].astype(float) for i in (2, 4) for name in ("weight", "bias"))
    maps = unbox(model[:1](x)).astype(float)
    hidden = maps.reshape(len(maps), -1) @ w1 + b1
    gradient = [((hidden > 0) * w2[:, k]) @ w1.T for k in range(w2.shape[1])]
    return maps, np.maximum(hidden, 0) @ w2 + b2, np.reshape(gradient, (-1, *maps.shape))


@pytest.fixture
def dense_ending() -> Sequential:
    """A convolution and two dense layers with biases, in training mode."""
    conv, first = Conv2d(2, 3, kernel_size=3, activation="relu", rng=0), Dense(3 * 36, 7, rng=1)
    model = Sequential(conv, Flatten(), first, ReLU(), Dense(7, 4, rng=2))
    first.bias.assign(np.linspace(-1, 1, 7, dtype="float32"))
    model[-1].bias.assign(np.array([0.5, -0.25, 0, 2], "float32"))
    return model


def test_grad_cam_agrees_with_the_formula_of_the_paper(dense_ending: Sequential) -> None:
    maps, logits, gradient = in_plain_numpy(dense_ending, SMALL)
    for classes in (2, [3, 0, 1], None):
        chosen = logits.argmax(axis=1) if classes is None else np.broadcast_to(classes, 3)
        expected = np.zeros((3, 6, 6))
        for n, k in enumerate(chosen):
            alpha = [gradient[k, n, :, :, c].sum() / 36 for c in range(3)]
            expected[n] = np.maximum(0, sum(alpha[c] * maps[n, :, :, c] for c in range(3)))
        assert expected.max() > 0
        np.testing.assert_allclose(grad_cam(dense_ending, SMALL, classes), expected, rtol=1e-4, atol=1e-6)
    assert all(layer.training for layer in dense_ending.layers().values())


def test_plane_contributions_by_the_chain_rule(dense_ending: Sequential) -> None:
    maps, logits, gradient = in_plain_numpy(dense_ending, SMALL)
    for k in range(4):
        found = plane_contributions(dense_ending, SMALL, k)
        np.testing.assert_allclose(found.planes, (maps * gradient[k]).sum(axis=(1, 2)), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found.planes.sum(axis=1) + found.rest, logits[:, k], rtol=1e-4, atol=1e-5)
        state = dense_ending.state()  # without the maps, only the biases of the active neurons remain
        fires = maps.reshape(3, -1) @ state["2.weight"] + state["2.bias"] > 0
        biases = (fires * state["2.bias"]) @ state["4.weight"][:, k] + state["4.bias"][k]
        np.testing.assert_allclose(found.rest, biases, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["gap7", "resnet20"])
@pytest.mark.slow
def test_after_an_average_both_maps_and_both_contributions_agree(name: str) -> None:
    model = models[name](rng=0)
    model["output"].bias.assign(np.linspace(1, 2, model["output"].bias.size, dtype="float32"))
    maps, parts = class_activation(model, X), contributions(model, X)
    for k in (0, 1):
        expected = maps[..., k].clip(0) / (maps.shape[1] * maps.shape[2])
        np.testing.assert_allclose(grad_cam(model, X, k), expected, rtol=1e-3, atol=1e-6)
        found = plane_contributions(model, X, k)
        np.testing.assert_allclose(found.planes, parts[..., k], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found.rest, model["output"].bias.value[k], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layer", [None, "branches", "block", "own.conv"])
def test_contributions_sum_to_the_logits_in_any_network(layer: str | None) -> None:
    model = network()
    for k in range(3):
        found = plane_contributions(model, SMALL, k, layer=layer)
        np.testing.assert_allclose(found.planes.sum(axis=1) + found.rest, result(model)[:, k], rtol=1e-5, atol=1e-6)
    assert grad_cam(model, SMALL, layer=layer).shape == (3, 8, 8)


def test_one_output_gives_a_logit_for_each_of_two_classes() -> None:
    model = Sequential(Conv2d(2, 3, kernel_size=3, rng=0), GlobalAvgPool2d(), Dense(3, 1, rng=1))
    z = result(model, SMALL)[:, 0]
    for k, sign in enumerate((-1, 1)):
        found = plane_contributions(model, SMALL, k)
        np.testing.assert_allclose(found.planes.sum(axis=1) + found.rest, sign * z / 2, rtol=1e-5)
    both = [grad_cam(model, SMALL, k) for k in (0, 1)]
    assert all(maps.any(axis=(1, 2)).all() for maps in both)  # neither class has a blank map
    found = probabilities(model.eval()(SMALL))
    np.testing.assert_allclose(found, np.stack([1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))], axis=1), rtol=1e-6)


@pytest.mark.parametrize("path", ["branches.1", "block", "block.inner.1", "own"])
def test_pruned_planes_are_zero(path: str) -> None:
    model = network()
    before = result(model)
    pruned = prune(prune(model, 0, layer=path), [-1], layer=path)
    at = cut(model, SMALL, path)
    maps = at.maps.copy()
    maps[..., [0, -1]] = 0
    np.testing.assert_array_equal(result(pruned), unbox(at.rest(maps)))
    np.testing.assert_array_equal(result(model), before)
    assert pruned.parameters().keys() == model.parameters().keys()
    state = {name: array + 1 for name, array in model.state().items()}  # it is pruned with other weights too
    called = unbox(tgl.functional_call(prune(model, [0, 1, 2, 3], layer="own").eval(), state, SMALL))
    np.testing.assert_allclose(called, np.tile(state["head.bias"], (3, 1)), rtol=1e-6)


def test_a_statistic_after_the_weights_tells_pruning_from_zero_weights() -> None:
    model = network()
    state = model.state()
    for name in ("weight", "bias"):
        state[f"block.inner.0.{name}"] = state[f"block.inner.0.{name}"] * (np.arange(4) != 1).astype("float32")
    zeros = unbox(tgl.functional_call(model.eval(), state, SMALL))
    assert not np.allclose(zeros, result(prune(model, 1, layer="block.inner.1")))
    np.testing.assert_allclose(zeros, result(prune(model, 1, layer="block.inner.0")), rtol=1e-5)


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        (3, OptionError, "expected classes from 0 to 2, got 3 to 3"),
        ([0, -1, 0], OptionError, "expected classes from 0 to 2, got -1 to 0"),
        ([0, 1], ShapeError, r"one for each of 3 images, as integers, got shape \(2,\) of int64"),
        (0.5, ShapeError, r"got shape \(\) of float64"),
    ],
)
def test_wrong_classes_are_refused(classes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        grad_cam(network(), SMALL, classes)
    with pytest.raises(error, match=message):
        plane_contributions(network(), SMALL, classes)


def test_wrong_prunings_are_refused() -> None:
    with pytest.raises(OptionError, match=r"expected the path of a layer, got 'stem'"):
        prune(network(), 0, layer="stem")
    for wrong in (1.5, [0.5], ["a"], None, True):
        with pytest.raises(OptionError, match="prune: expected the number of a plane, or several, as integers, got"):
            prune(network(), wrong, layer="block")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"prune: expected planes of 'residual', which has 4, got \[4\]"):
        result(prune(network(), 4, layer="block"))
