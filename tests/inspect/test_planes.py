"""Planes: their contributions sum to the logits, activations of classes average to them, silent ones say nothing."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab import Sequential
from tinygrad_lab.errors import OptionError
from tinygrad_lab.inspect import class_activation, contributions, without_planes
from tinygrad_lab.registry import models
from tinygrad_lab_layers import Dense, Dropout, Flatten, ReLU

X = np.random.default_rng(0).random((3, 32, 32, 3)).astype("float32")


def test_contributions_sum_to_the_logits() -> None:
    for name in ("gap7", "cnn7"):
        model = models[name](rng=0)
        model["output"].bias.assign(np.array([0.5, -0.25], "float32"))
        logits = model(tgl.tensor(X)).numpy()
        parts = contributions(model, X)
        np.testing.assert_allclose(parts.sum(axis=1) + np.array([0.5, -0.25]), logits, rtol=1e-4, atol=1e-5)


def test_activations_of_classes_average_to_the_logits() -> None:
    model = models["gap7"](rng=0)
    maps = class_activation(model, X)
    assert maps.shape == (3, 7, 7, 2)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), model(tgl.tensor(X)).numpy(), rtol=1e-4, atol=1e-5)


def test_a_silent_plane_takes_its_contribution_with_it() -> None:
    model = models["gap7"](rng=0)
    before, parts = model(tgl.tensor(X)).numpy(), contributions(model, X)
    state = without_planes(model, "conv3", [2, 7])
    after = tgl.functional_call(model, state, tgl.tensor(X)).numpy()
    np.testing.assert_allclose(before - after, parts[:, [2, 7]].sum(axis=1), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(model(tgl.tensor(X)).numpy(), before)


def test_modes_stay_and_dropout_is_off() -> None:
    model = Sequential(Flatten(), Dense(4, 3, rng=0), Dropout(0.9), Dense(3, 2, rng=0))
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(contributions(model, x), contributions(model, x))
    assert all(layer.training for layer in model.layers().values())


def test_what_has_no_planes_is_refused() -> None:
    with pytest.raises(OptionError, match="ends in dense"):
        contributions(Sequential(ReLU()), X)
    with pytest.raises(OptionError, match="ends in global_avg_pool2d and dense"):
        class_activation(models["cnn7"](rng=0), X)
    with pytest.raises(OptionError, match=r"'conv3', which has 20, got \[20\]"):
        without_planes(models["gap7"](rng=0), "conv3", [20])
    with pytest.raises(OptionError, match="'mean', which has 0"):
        without_planes(models["gap7"](rng=0), "mean", [0])
