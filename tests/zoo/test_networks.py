"""The zoo's networks run and train, and wrong options are refused."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.data import Dataset, Loader
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.losses import auxiliary_cross_entropy, softmax_cross_entropy
from tinygrad_lab.nn.initializers import shapes_only
from tinygrad_lab.optim import SGD
from tinygrad_lab.registry import build, describe, models
from tinygrad_lab.train import Trainer
from tinygrad_lab.zoo.googlenet import WithAuxiliary
from tinygrad_lab_layers import Dense, Flatten, MaxPool2d

SMALL: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("alexnet_small", {}, (32, 32, 3)),
    ("alexnet_small", {"activation": "tanh", "pool_size": 3, "padding": "edge"}, (32, 32, 3)),
    ("alexnet_small", {"activation": "sigmoid", "init": 0.1}, (32, 32, 3)),
    ("cnn7", {"padding": "none"}, (32, 32, 3)),
    ("cuda_convnet", {}, (32, 32, 3)),
    ("cuda_convnet", {"normalization": False, "pool_size": 2, "activation": "tanh"}, (32, 32, 3)),
    ("gap7", {"padding": "edge"}, (32, 32, 3)),
    ("gap7", {"widths": (8, 8, 16, 16), "reduction": "dense"}, (32, 32, 3)),
    ("lenet5", {"image": (32, 32, 3), "padding": "zero", "classes": 2}, (32, 32, 3)),
    ("googlenet", {"image": (32, 32, 3), "classes": 10}, (32, 32, 3)),
    ("nin", {}, (32, 32, 3)),
    ("plain20", {}, (32, 32, 3)),
    ("resnet20", {}, (32, 32, 3)),
    ("resnet20", {"shortcut": "projected"}, (32, 32, 3)),
    ("resnet20", {"shortcut": "padded_around", "depth": 8}, (32, 32, 3)),
    ("ten_layer", {}, (32, 32, 3)),
    ("vgg11", {"image": [32, 32, 3], "hidden": 16, "classes": 10}, (32, 32, 3)),
]


@pytest.mark.parametrize(("name", "options", "image"), SMALL)
def test_networks_run_and_parameters_get_gradients(name: str, options: dict[str, Any], image: tuple[int, ...]) -> None:
    model = models[name](**options, rng=0)
    x = np.random.default_rng(0).standard_normal((2, *image)).astype("float32")
    logits = model(x)
    assert logits.shape == model.output_shape(x.shape)
    (logits * logits).sum().backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters().values())


@pytest.mark.parametrize("name", ["gap7", "lenet5", "resnet20"])
def test_a_seed_repeats_the_weights_and_a_configuration_the_network(name: str) -> None:
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
    "alexnet_small": {
        "conv1": (32, 32, 48),
        "pool1": (16, 16, 48),
        "conv2": (16, 16, 128),
        "pool2": (8, 8, 128),
        "conv3": (8, 8, 128),
        "conv4": (8, 8, 128),
        "conv5": (8, 8, 128),
        "pool5": (4, 4, 128),
        "dense6": (200,),
        "dense7": (30,),
    },
    "cnn7": {
        "conv1": (32, 32, 20),
        "pool1": (15, 15, 20),
        "conv2": (15, 15, 20),
        "pool2": (7, 7, 20),
        "conv3": (7, 7, 20),
        "dense1": (120,),
        "dense2": (84,),
    },
    "cuda_convnet": {
        "conv1": (32, 32, 64),
        "pool1": (16, 16, 64),
        "conv2": (16, 16, 64),
        "pool2": (8, 8, 64),
        "conv3": (8, 8, 32),
        "conv4": (8, 8, 32),
    },
    "gap7": {"pool1": (15, 15, 20), "pool2": (7, 7, 20), "conv3": (7, 7, 20), "mean": (20,)},
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
    "lenet5": {"c1": (28, 28, 6), "s2": (14, 14, 6), "c3": (10, 10, 16), "s4": (5, 5, 16), "c5": (120,), "f6": (84,)},
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
    "resnet34": {"pool": (56, 56, 64), "stage2": (28, 28, 128), "stage3": (14, 14, 256), "stage4": (7, 7, 512)},
    "resnet18": {
        "conv": (112, 112, 64),
        "pool": (56, 56, 64),
        "stage1": (56, 56, 64),
        "stage2": (28, 28, 128),
        "stage3": (14, 14, 256),
        "stage4": (7, 7, 512),
    },
    "plain34": {"pool": (56, 56, 64), "stage2": (28, 28, 128), "stage3": (14, 14, 256), "stage4": (7, 7, 512)},
    "plain20": {"stage1": (32, 32, 16), "stage2": (16, 16, 32), "stage3": (8, 8, 64), "mean": (64,)},
    "resnet101": {"stage2": (28, 28, 512), "stage3": (14, 14, 1024), "stage4": (7, 7, 2048), "mean": (2048,)},
    "resnet56": {"stage1": (32, 32, 16), "stage2": (16, 16, 32), "stage3": (8, 8, 64), "mean": (64,)},
    "resnet152": {"stage1": (56, 56, 256), "stage4": (7, 7, 2048), "mean": (2048,)},
    "vgg11": {"conv1_1": (224, 224, 64), "conv2_1": (112, 112, 128), "conv5_2": (14, 14, 512), "pool5": (7, 7, 512)},
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
    "vgg13": {"conv1_2": (224, 224, 64), "conv3_2": (56, 56, 256), "conv5_2": (14, 14, 512), "dense6": (4096,)},
    "vgg19": {"conv2_2": (112, 112, 128), "conv3_4": (56, 56, 256), "conv5_4": (14, 14, 512), "pool5": (7, 7, 512)},
    "zfnet": {
        "conv1": (110, 110, 96),
        "pool1": (55, 55, 96),
        "conv2": (26, 26, 256),
        "pool2": (13, 13, 256),
        "conv5": (13, 13, 256),
        "pool5": (6, 6, 256),
    },
}


def maps_of(name: str, **options: Any) -> dict[str, tuple[int, ...]]:
    with shapes_only():
        model = models[name](**options)
    shape = (1, *inspect.signature(models[name]).parameters["image"].default)
    maps = {}
    for layer_name, layer in model.children().items():
        shape = layer.output_shape(shape)
        maps[layer_name] = shape[1:]
    return maps


@pytest.mark.parametrize("name", MAPS)
def test_the_maps_equal_those_of_the_papers(name: str) -> None:
    maps = maps_of(name)
    assert {layer_name: maps[layer_name] for layer_name in MAPS[name]} == MAPS[name]


def test_maps_shrink_without_padding() -> None:
    for name in ("cnn7", "gap7"):
        maps = maps_of(name, padding="none")
        sides = [maps[layer][0] for layer in ("conv1", "pool1", "conv2", "pool2", "conv3")]
        assert sides == [30, 14, 12, 5, 3]


@pytest.mark.parametrize(
    ("normalization", "order"),
    [("before_pool", ["norm1", "pool1"]), ("after_pool", ["pool1", "norm1"]), ("none", ["pool1"])],
)
def test_alexnet_may_normalize_before_or_after_the_pool_or_not_at_all(normalization: str, order: list[str]) -> None:
    with shapes_only():
        names = list(models["alexnet"](normalization=normalization).children())
    assert names[1 : 1 + len(order)] == order
    assert names[1 + len(order)] == "conv2"


@pytest.mark.parametrize(
    ("normalization", "order"), [("before_pool", ["norm5", "pool5"]), ("after_pool", ["pool5", "norm5"])]
)
def test_alexnet_can_normalize_after_the_fifth_convolution_too(normalization: str, order: list[str]) -> None:
    with shapes_only():
        names = list(models["alexnet"](normalization=normalization, normalized=(1, 2, 5)).children())
    place = names.index("conv5")
    assert names[place + 1 : place + 3] == order
    assert [name for name in names if name.startswith("norm")] == ["norm1", "norm2", "norm5"]


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
    with pytest.raises(ShapeError, match=r"Conv2d\(128 -> 128, kernel_size=3\).* got 1x1") as caught:
        models["alexnet_small"](padding="none")
    assert "in layer 'conv5'" in caught.value.__notes__[0]
    assert "(1, 1, 1, 128)" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("alexnet", {"normalization": "sometimes"}),
        ("alexnet", {"normalized": (1, 3)}),
        ("alexnet_small", {"padding": "mirror"}),
        ("gap7", {"reduction": "median"}),
        ("gap7", {"widths": ()}),
        ("plain18", {"depth": 50}),
        ("ten_layer", {"kernel_sizes": ()}),
        ("resnet18", {"depth": 19}),
        ("resnet20", {"depth": 21}),
        ("vgg16", {"depth": 12}),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected"):
        models[name](**options)


def test_auxiliary_classifiers_run_only_in_training() -> None:
    options = {"image": (224, 224, 3), "classes": 5}
    with shapes_only():
        model = models["googlenet"](**options, auxiliary=True)
        plain = models["googlenet"](**options)
    x = np.zeros((1, 224, 224, 3), "float32")
    with tgl.no_grad():
        assert [y.shape for y in model(x)] == [(1, 5)] * 3
        assert model.eval()(x).shape == (1, 5)
    assert model.train().output_shape(x.shape) == (1, 5)
    extra = set(model.state()) - set(plain.state())
    assert {path.split(".")[0] for path in extra} == {"auxiliary_inception4a", "auxiliary_inception4d"}
    assert model.eval().multiply_adds(x.shape) == plain.multiply_adds(x.shape)


def test_auxiliary_maps_equal_those_of_the_paper() -> None:
    with shapes_only():
        heads = models["googlenet"](auxiliary=True).heads
    for head, channels in zip(heads.values(), (512, 528), strict=True):
        pooled = head["pool"].output_shape((1, 14, 14, channels))
        assert pooled == (1, 4, 4, channels)
        assert head["conv"].output_shape(pooled) == (1, 4, 4, 128)
        assert head.output_shape((1, 14, 14, channels)) == (1, 1000)


def test_auxiliary_classifiers_add_gradients_and_0_3_of_their_loss() -> None:
    def dense(seed: int) -> Dense:
        return Dense(3, 2, rng=seed)

    model = WithAuxiliary({"a": Dense(4, 3, rng=0), "b": dense(1)}, {"a": dense(2)})
    x, labels = np.random.default_rng(0).normal(size=(6, 4)).astype("float32"), np.arange(6) % 2
    own, auxiliary = model(x)
    loss = auxiliary_cross_entropy((own, auxiliary), labels)
    parts = [float(softmax_cross_entropy(y, labels).numpy()) for y in (own, auxiliary)]
    assert float(loss.numpy()) == pytest.approx(parts[0] + 0.3 * parts[1])
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters().values())
    again = float(auxiliary_cross_entropy(model.eval()(x), labels).numpy())
    assert again == pytest.approx(parts[0])


def test_auxiliary_classifiers_are_rebuilt_from_their_configuration() -> None:
    model = WithAuxiliary({"a": Dense(4, 3, rng=0), "b": Dense(3, 2, rng=1)}, {"a": Dense(3, 5, rng=2)})
    twin = WithAuxiliary.from_config(model.config())
    assert list(twin.layers()) == list(model.layers())
    assert [y.shape for y in twin(np.ones((1, 4), "float32"))] == [(1, 2), (1, 5)]


def test_a_trainer_measures_accuracy_by_the_first_logits() -> None:
    data = Dataset(np.random.default_rng(0).integers(0, 255, (12, 2, 2, 1)).astype("uint8"), np.arange(12) % 2)
    layers = {"flatten": Flatten(), "a": Dense(4, 3, rng=0), "b": Dense(3, 2, rng=1)}
    model = WithAuxiliary(layers, {"a": Dense(3, 2, rng=2)})
    loader = Loader(data, batch_size=4, workers=0)
    trainer = Trainer(model, auxiliary_cross_entropy, SGD(model.parameters(), lr=0.1), loader, test=loader)
    metrics = trainer.train_epoch()
    assert 0 <= metrics["accuracy"] <= 1
    assert metrics["test"]["loss"] > 0


def test_images_too_small_for_auxiliary_classifiers_are_refused() -> None:
    with shapes_only(), pytest.raises(ShapeError, match="AvgPool2d"):
        models["googlenet"](image=(32, 32, 3), auxiliary=True)
