"""Inspection of a network on the strict device, and its files of weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.gpu.test_training_on_a_device import network, same
from tests.inspect.test_page import GAP, HEAD, sequential
from tests.inspect.test_run import trained
from tests.strict_device import STRICT, to_device, to_host
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.inspect.draw import draw
from tinygrad_lab.inspect.page import run_page
from tinygrad_lab.inspect.planes import (
    class_activation,
    contributions,
    grad_cam,
    plane_contributions,
    prune,
)
from tinygrad_lab.inspect.signals import signals
from tinygrad_lab.inspect.summary import summarize
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.registry import models
from tinygrad_lab.weights import load_weights, save_weights


@pytest.fixture(autouse=True)
def _reference() -> object:
    with tgl.reference_only():
        yield


def batch() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).uniform(0, 1, (4, 32, 32, 3)).astype("float32"), np.arange(4) % 2


def test_signals_equal_those_of_the_cpu() -> None:
    x, labels = batch()
    here, there = models["gap7"](rng=0), models["gap7"](rng=0).to(STRICT.name)
    ours = signals(here, x, labels, softmax_cross_entropy)
    theirs = signals(there, to_device(x), to_device(labels), softmax_cross_entropy)
    for a, b in zip(ours, theirs, strict=True):
        assert a.path == b.path
        np.testing.assert_array_equal(to_host(b.output), a.output)
        np.testing.assert_array_equal(to_host(b.gradient), a.gradient)  # type: ignore[arg-type]
        assert b.output_rms == a.output_rms
        assert b.gradient_rms == a.gradient_rms


def test_planes_equal_those_of_the_cpu() -> None:
    x, _ = batch()
    here, there = models["gap7"](rng=0), models["gap7"](rng=0).to(STRICT.name)
    for look in (contributions, class_activation):
        np.testing.assert_array_equal(to_host(look(there, to_device(x))), look(here, x))


def test_explanations_of_classes_equal_those_of_the_cpu() -> None:
    x, labels = batch()
    here, there = models["cnn7"](rng=0), models["cnn7"](rng=0).to(STRICT.name)
    for classes in (labels, 1, None):
        np.testing.assert_array_equal(to_host(grad_cam(there, to_device(x), classes)), grad_cam(here, x, classes))
        found, expected = plane_contributions(there, to_device(x), classes), plane_contributions(here, x, classes)
        np.testing.assert_array_equal(to_host(found.planes), expected.planes)
        np.testing.assert_array_equal(to_host(found.rest), expected.rest)
    logits = unbox(prune(there, [1, 5], layer="conv2")(to_device(x)))
    np.testing.assert_array_equal(to_host(logits), unbox(prune(here, [1, 5], layer="conv2")(x)))


def test_the_page_of_a_run_equals_that_of_the_cpu(tmp_path: Path) -> None:
    folder = trained(tmp_path, model=sequential(*GAP, HEAD), training={"epochs": 1})
    pages = [run_page(tgl.load_run(folder, device=device), mistakes=3, images=5) for device in ("cpu", STRICT.name)]
    assert pages[0] == pages[1]


def test_summary_and_drawing_need_no_arrays() -> None:
    model = network().to(STRICT.name)
    assert str(summarize(model, (8, 8, 3)))
    assert draw(model, (8, 8, 3))


def test_weights_go_to_a_file_and_back(tmp_path: Path) -> None:
    model, other = network().to(STRICT.name), network().to(STRICT.name)
    weight = model.parameters()["dense.weight"]
    weight.assign(weight.value * 2.0)
    save_weights(model, tmp_path / "weights.safetensors")
    load_weights(other, tmp_path / "weights.safetensors")
    assert same(model.state(), other.state())
    assert other.parameters()["dense.weight"].device == STRICT.name
