"""The zoo's networks run, train, and refuse what cannot be built."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.initializers import shapes_only
from tinygrad_lab.registry import build, describe, models
from tinygrad_lab_layers import MaxPool2d

SMALL: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("alexnet_small", {}, (32, 32, 3)),
    ("alexnet_small", {"activation": "tanh", "pool_window": 3, "padding": "edge"}, (32, 32, 3)),
    ("alexnet_small", {"activation": "sigmoid", "init": 0.1}, (32, 32, 3)),
    ("cnn7", {"padding": "none"}, (32, 32, 3)),
    ("cuda_convnet", {}, (32, 32, 3)),
    ("cuda_convnet", {"normalisation": False, "pool_window": 2, "activation": "tanh"}, (32, 32, 3)),
    ("gap7", {"padding": "edge"}, (32, 32, 3)),
    ("gap7", {"widths": (8, 8, 16, 16), "reduction": "dense"}, (32, 32, 3)),
    ("lenet5", {"image": (32, 32, 3), "padding": "zero", "classes": 2}, (32, 32, 3)),
    ("googlenet", {"image": (32, 32, 3), "classes": 10}, (32, 32, 3)),
    ("nin", {}, (32, 32, 3)),
    ("plain20", {}, (32, 32, 3)),
    ("resnet20", {}, (32, 32, 3)),
    ("resnet20", {"shortcut": "projected"}, (32, 32, 3)),
    ("ten_layer", {}, (32, 32, 3)),
    ("vgg11", {"image": [32, 32, 3], "hidden": 16, "classes": 10}, (32, 32, 3)),
]


@pytest.mark.parametrize(("name", "options", "image"), SMALL)
def test_runs_and_gives_every_parameter_a_gradient(name: str, options: dict[str, Any], image: tuple[int, ...]) -> None:
    model = models[name](**options, rng=0)
    x = np.random.default_rng(0).standard_normal((2, *image)).astype("float32")
    logits = model(x)
    assert logits.shape == model.output_shape(x.shape)
    (logits * logits).sum().backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters().values())


@pytest.mark.parametrize("name", ["gap7", "lenet5", "resnet20"])
def test_the_seed_gives_the_weights_and_the_configuration_gives_the_network(name: str) -> None:
    first, second, other = (models[name](rng=seed) for seed in (3, 3, 4))
    states = [list(model.state().values()) for model in (first, second, other)]
    assert all(np.array_equal(a, b) for a, b in zip(*states[:2], strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(*states[1:], strict=True))
    again = build(describe(first))
    again.load_state(first.state())
    x = np.ones((1, 32, 32, 1 if name == "lenet5" else 3), "float32")
    assert np.array_equal(first.eval()(x).numpy(), again.eval()(x).numpy())


MAPS = {
    "alexnet": {
        "conv1": (55, 55, 96),
        "norm1": (55, 55, 96),
        "pool1": (27, 27, 96),
        "conv2": (27, 27, 256),
        "pool2": (13, 13, 256),
        "conv3": (13, 13, 384),
        "conv4": (13, 13, 384),
        "conv5": (13, 13, 256),
        "pool5": (6, 6, 256),
        "dense6": (4096,),
        "dense7": (4096,),
    },
    "googlenet": {
        "conv1": (112, 112, 64),
        "pool1": (56, 56, 64),
        "conv2": (56, 56, 192),
        "pool2": (28, 28, 192),
        "inception3a": (28, 28, 256),
        "inception3b": (28, 28, 480),
        "pool3": (14, 14, 480),
        "inception4a": (14, 14, 512),
        "inception4d": (14, 14, 528),
        "inception4e": (14, 14, 832),
        "pool4": (7, 7, 832),
        "inception5b": (7, 7, 1024),
        "mean": (1024,),
    },
    "nin": {"conv1_3": (32, 32, 96), "pool1": (16, 16, 96), "pool2": (8, 8, 192), "conv3_3": (8, 8, 10)},
    "resnet20": {"conv": (32, 32, 16), "stage1": (32, 32, 16), "stage2": (16, 16, 32), "stage3": (8, 8, 64)},
    "resnet50": {
        "conv": (112, 112, 64),
        "pool": (56, 56, 64),
        "stage1": (56, 56, 256),
        "stage2": (28, 28, 512),
        "stage3": (14, 14, 1024),
        "stage4": (7, 7, 2048),
    },
    "vgg16": {
        "conv1_2": (224, 224, 64),
        "pool1": (112, 112, 64),
        "pool2": (56, 56, 128),
        "pool3": (28, 28, 256),
        "conv4_3": (28, 28, 512),
        "pool4": (14, 14, 512),
        "pool5": (7, 7, 512),
        "flatten": (25_088,),
    },
    "zfnet": {
        "conv1": (110, 110, 96),
        "pool1": (55, 55, 96),
        "conv2": (26, 26, 256),
        "pool2": (13, 13, 256),
        "conv5": (13, 13, 256),
        "pool5": (6, 6, 256),
    },
}


@pytest.mark.parametrize("name", MAPS)
def test_the_maps_are_the_papers(name: str) -> None:
    with shapes_only():
        model = models[name]()
    shape = (1, *inspect.signature(models[name]).parameters["image"].default)
    maps = {}
    for layer_name, layer in model.children().items():
        shape = layer.output_shape(shape)
        maps[layer_name] = shape[1:]
    assert {layer_name: maps[layer_name] for layer_name in MAPS[name]} == MAPS[name]


@pytest.mark.parametrize(
    ("normalisation", "order"),
    [("before_pool", ["norm1", "pool1"]), ("after_pool", ["pool1", "norm1"]), ("none", ["pool1"])],
)
def test_alexnet_normalises_before_or_after_the_pool_or_not_at_all(normalisation: str, order: list[str]) -> None:
    with shapes_only():
        names = list(models["alexnet"](normalisation=normalisation).children())
    assert names[1 : 1 + len(order)] == order
    assert names[1 + len(order)] == "conv2"


def test_alexnet_pools_overlap_by_default() -> None:
    with shapes_only():
        pool = models["alexnet"]().children()["pool1"]
    assert isinstance(pool, MaxPool2d)
    assert (pool.window.size, pool.window.stride) == ((3, 3), (2, 2))


def test_zero_branches_make_residual_stages_the_identity() -> None:
    model = models["resnet20"](rng=0)
    stage = model.children()["stage1"]
    for path, parameter in stage.parameters().items():
        if path.endswith("norm2.scale"):
            parameter.assign(np.zeros(parameter.shape, "float32"))
    x = np.abs(np.random.default_rng(0).standard_normal((1, 8, 8, 16))).astype("float32")
    assert np.array_equal(stage(x).numpy(), x)


def test_a_network_that_cannot_be_built_names_the_layer_and_the_map() -> None:
    with pytest.raises(ShapeError, match=r"Conv2d\(128 -> 128, window=3\).* got 1x1") as caught:
        models["alexnet_small"](padding="none")
    assert "in layer 'conv5'" in caught.value.__notes__[0]
    assert "(1, 1, 1, 128)" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("alexnet", {"normalisation": "sometimes"}),
        ("alexnet_small", {"padding": "mirror"}),
        ("gap7", {"reduction": "median"}),
        ("plain18", {"depth": 50}),
        ("resnet18", {"depth": 19}),
        ("resnet20", {"depth": 21}),
        ("vgg16", {"depth": 12}),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected"):
        models[name](**options)
