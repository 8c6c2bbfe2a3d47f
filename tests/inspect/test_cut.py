"""Cut networks: the rest of any kind of network runs on given maps, and the network does not change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.inspect.cut import cut, last_maps, watch
from tinygrad_lab_layers import BatchNorm, Conv2d, Dense, Dropout, Flatten, GlobalAvgPool2d, ParallelConcat, Residual

X = np.random.default_rng(0).random((3, 8, 8, 2)).astype("float32")


class Twice(tgl.Layer):
    """A third-party composite layer, which keeps an intermediate result and calls one of its layers twice."""

    def __init__(self) -> None:
        self.conv = Conv2d(4, 4, kernel_size=3, padding=1, rng=0)

    def forward(self, *inputs: Any) -> Any:
        once = tgl.relu(self.conv(inputs[0]))
        return tgl.tanh(self.conv(once)) + 2 * once

    def output_shape(self, *shapes: Any) -> Any:
        return shapes[0]


def network() -> tgl.Sequential:
    """Return a network with branches, a shortcut, a composite layer, statistics and dropout."""
    branches = ParallelConcat([Conv2d(2, 2, kernel_size=3, padding=1, rng=1), Conv2d(2, 2, kernel_size=1, rng=2)])
    block = Residual(tgl.Sequential(Conv2d(4, 4, kernel_size=3, padding=1, rng=3), BatchNorm(4)))
    model = tgl.Sequential(
        {
            "branches": branches,
            "block": block,
            "own": Twice(),
            "drop": Dropout(0.5),
            "mean": GlobalAvgPool2d(),
            "head": Dense(4, 3, rng=4),
        }
    )
    model(tgl.tensor(X))  # a step, so that the statistics differ from the initial ones
    return model


def result(model: tgl.Layer, x: Any = X) -> Any:
    with no_grad():
        return unbox(watch(model, x, lambda path, out: None))


@pytest.mark.parametrize("path", ["branches", "branches.1", "block.inner.0", "block", "own", "own.conv", "drop", ""])
def test_the_rest_gives_the_result_of_the_network_for_its_own_maps(path: str) -> None:
    model = network()
    if path == "":
        with pytest.raises(ShapeError, match=r"expected maps \(N, H, W, C\) from layer '', got shape \(3, 3\)"):
            cut(model, X, path)
        return
    found = cut(model, X, path)
    np.testing.assert_array_equal(unbox(found.rest(found.maps)), result(model))
    assert not np.array_equal(unbox(found.rest(found.maps + 1)), result(model))


def test_layers_before_the_cut_are_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, runs = network(), []
    found = cut(model, X, "own")
    monkeypatch.setattr(Conv2d, "forward", lambda *inputs: runs.append(inputs))
    found.rest(found.maps)
    assert not runs


def test_last_maps_have_the_path_of_the_layer_that_computed_them() -> None:
    assert last_maps(network(), X) == "own"  # not that of the dropout that passes them on
    assert last_maps(tgl.Sequential(network()), X) == "0.own"  # nor that of a container
    assert last_maps(tgl.Sequential(Flatten(), Dense(128, 2, rng=0)), X) is None
    to_a_point = tgl.Sequential(Conv2d(2, 3, kernel_size=3, rng=0), Conv2d(3, 5, kernel_size=6, rng=0))
    assert last_maps(to_a_point, X) == "0"  # 1x1 maps have no positions


def test_cutting_does_not_change_the_network() -> None:
    model = network()
    before, steps = model.state(), model.steps
    modes = [layer.training for layer in model.layers().values()]
    found = cut(model, X)
    found.rest(found.maps)
    assert [layer.training for layer in model.layers().values()] == modes
    assert model.steps == steps
    assert all("forward" not in vars(layer) for layer in model.layers().values())
    assert all(model.state()[path] is array for path, array in before.items())


def test_wrong_cuts_are_refused() -> None:
    with pytest.raises(OptionError, match=r"expected the path of a layer, got 'blok'; did you mean 'block'\?"):
        cut(network(), X, "blok")
    with pytest.raises(OptionError, match=r"expected a layer with maps .* got none"):
        cut(tgl.Sequential(Flatten(), Dense(128, 2, rng=0)), X)
