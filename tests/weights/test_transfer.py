"""Freezing parts of a model, and new heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.strict_device import StrictArray
from tinygrad_lab.errors import OptionError
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD
from tinygrad_lab.registry import models
from tinygrad_lab.weights.transfer import freeze, replace_head, unfreeze
from tinygrad_lab.zoo.googlenet import WithAuxiliary
from tinygrad_lab_layers import BatchNorm, Conv2d, Dense, GlobalAvgPool2d, ReLU


def network() -> tgl.Sequential:
    return tgl.Sequential(
        {
            "conv1": Conv2d(3, 4, kernel_size=3, rng=0),
            "norm1": BatchNorm(4),
            "stage": tgl.Sequential({"conv": Conv2d(4, 4, kernel_size=3, rng=1), "norm": BatchNorm(4), "relu": ReLU()}),
            "mean": GlobalAvgPool2d(),
            "output": Dense(4, 2, rng=2),
        }
    )


def trained(model: tgl.Layer, steps: int = 3, **options: Any) -> set[str]:
    """Take some steps of training and return the paths whose values have changed."""
    rng = np.random.default_rng(0)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1, **options)
    before = model.state()
    for _ in range(steps):
        x = rng.normal(2.0, 3.0, size=(8, 7, 7, 3)).astype("float32")
        softmax_cross_entropy(model(tgl.tensor(x)), rng.integers(0, 2, 8)).backward()
        optimizer.step()
    return {path for path, array in model.state().items() if not np.array_equal(array, before[path])}


def paths(model: tgl.Layer, *beginnings: str) -> set[str]:
    return {path for path in model.state() if path.startswith(beginnings)}


@pytest.mark.parametrize(
    ("patterns", "but", "changed"),
    [
        (("*",), "output", ("output",)),
        (("*",), ("output", "stage.norm"), ("output", "stage.norm")),
        (("conv1", "norm1"), (), ("stage", "output")),
        (("stage",), (), ("conv1", "norm1", "output")),
        (("stage.*",), (), ("conv1", "norm1", "output")),
        (("*norm*",), (), ("conv1", "stage.conv", "output")),
        (("stage",), "stage.conv", ("conv1", "norm1", "stage.conv", "output")),
    ],
)
def test_frozen_variables_stay_and_the_others_learn(patterns: Any, but: Any, changed: Any) -> None:
    model = network()
    freeze(model, *patterns, but=but)
    assert trained(model) == paths(model, *changed)


@pytest.mark.parametrize("pattern", ["norm1", "norm1.*", "norm*", "*"])
def test_frozen_normalization_keeps_its_statistics_in_training(pattern: str) -> None:
    model = network()
    frozen = freeze(model, pattern, but="output")
    assert {"norm1.scale", "norm1.shift"} <= set(frozen)
    assert not {"norm1.running_mean", "norm1.running_var"} & trained(model.train())


def test_a_frozen_network_gives_the_same_in_training_and_evaluation() -> None:
    model = network()
    trained(model)
    freeze(model, "*")
    x = np.random.default_rng(1).normal(size=(4, 7, 7, 3)).astype("float32")
    assert np.array_equal(model.train()(x).numpy(), model.eval()(x).numpy())


def test_one_frozen_parameter_does_not_freeze_the_statistics() -> None:
    model = network()
    assert freeze(model, "norm1.scale") == ["norm1.scale"]
    assert {"norm1.running_mean", "norm1.shift"} <= trained(model)


def test_unfrozen_variables_learn_again() -> None:
    model = network()
    freeze(model, "*")
    unfreeze(model, "stage")
    assert trained(model) == paths(model, "stage")
    unfreeze(model)
    assert trained(model) == set(model.state())


def test_no_gradients_are_computed_for_frozen_layers() -> None:
    model = network()
    freeze(model, "*", but="output")
    x = np.ones((2, 7, 7, 3), "float32")
    model(x).sum().backward()
    assert {path for path, p in model.parameters().items() if p.grad is not None} == {"output.weight", "output.bias"}


def test_misspelled_patterns_are_refused_with_the_nearest_path() -> None:
    for call in (lambda m: freeze(m, "convv1"), lambda m: freeze(m, "*", but="outptu"), lambda m: unfreeze(m, "norm3")):
        with pytest.raises(OptionError, match="which matches none"):
            call(network())
    with pytest.raises(OptionError, match="'output'"):
        freeze(network(), "outptu")


def test_groups_of_the_optimizer_have_their_own_rates() -> None:
    model = network()
    assert trained(model, groups={"*": {"lr_factor": 0.0}, "output.*": {"lr_factor": 1.0}}) == (
        paths(model, "output") | set(model.buffers())
    )


def test_replacing_a_head_does_not_change_the_rest() -> None:
    model = models["resnet20"](depth=8, rng=0)
    before = model.state()
    head = replace_head(model.eval(), 3, rng=7)
    assert model.children()["output"] is head
    assert model.output_shape((2, 32, 32, 3)) == (2, 3)
    assert not head.training
    after = model.state()
    assert all(after[path] is array for path, array in before.items() if not path.startswith("output"))
    assert tgl.functional_call(model, {}, np.ones((1, 32, 32, 3), "float32")).shape == (1, 3)
    again = replace_head(model, 3, rng=7)
    assert np.array_equal(again.state()["weight"], head.state()["weight"])


@pytest.mark.parametrize("name", ["alexnet_small", "cnn7", "lenet5", "nin", "ten_layer", "vgg11"])
def test_heads_of_the_zoo_can_be_replaced(name: str) -> None:
    with tgl.initializers.shapes_only():
        model = models[name](**({"image": (32, 32, 3), "hidden": 8} if name == "vgg11" else {}))
        image = (32, 32, 1) if name == "lenet5" else (32, 32, 3)
        replace_head(model, 17)
        assert model.output_shape((1, *image)) == (1, 17)


def test_a_new_head_has_the_dtype_and_device_of_the_old_one() -> None:
    model = network().astype("float64")
    assert replace_head(model, 3, rng=0).weight.dtype == np.float64
    assert isinstance(replace_head(model.to("strict"), 3, rng=0).state()["bias"], StrictArray)


def with_auxiliary(beside: tgl.Layer) -> WithAuxiliary:
    layers = {"first": Dense(4, 3, rng=0), "relu": ReLU(), "output": Dense(3, 5, rng=1)}
    return WithAuxiliary(layers, {"first": beside})


def test_auxiliary_heads_are_replaced_too() -> None:
    model = with_auxiliary(tgl.Sequential({"hidden": Dense(3, 6, rng=2), "output": Dense(6, 5, rng=3)}))
    head = replace_head(model, 2, rng=0)
    assert model["output"] is head
    assert [y.shape for y in model(np.ones((1, 4), "float32"))] == [(1, 2), (1, 2)]
    assert model["auxiliary_first"]["hidden"].weight.shape == (3, 6)


def test_if_an_auxiliary_head_cannot_be_replaced_nothing_is() -> None:
    model = with_auxiliary(Dense(3, 5, rng=2))
    with pytest.raises(OptionError, match=r"got Dense\(3 -> 5\) at 'auxiliary_first'"):
        replace_head(model, 2, rng=0)
    assert model["output"].weight.shape == (3, 5)


def test_the_configuration_has_the_new_head() -> None:
    from tinygrad_lab.registry import build, describe

    model = network()
    replace_head(model, 9, rng=0)
    assert build(describe(model)).output_shape((1, 7, 7, 3)) == (1, 9)


def test_models_without_a_head_are_refused() -> None:
    class Net(tgl.Layer):
        def __init__(self) -> None:
            self.output = Dense(3, 2, rng=0)

    for model in (Net(), Dense(3, 2, rng=0), tgl.Sequential(BatchNorm(3)), tgl.Sequential(ReLU())):
        with pytest.raises(OptionError, match="expected the last layer with parameters"):
            replace_head(model, 4)
