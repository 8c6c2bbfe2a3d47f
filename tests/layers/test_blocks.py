"""Composed layers: residual blocks, bottlenecks, inception modules, their paths and descriptions."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab import registry
from tinygrad_lab.errors import ShapeError
from tinygrad_lab_layers import (
    BatchNorm,
    Bottleneck,
    Conv2d,
    Dense,
    Inception,
    Pad2d,
    ParallelConcat,
    ReLU,
    Reshape,
    Residual,
    Tanh,
)

GOOGLENET_3A = {"conv1x1": 64, "reduce3x3": 96, "conv3x3": 128, "reduce5x5": 16, "conv5x5": 32, "pool_proj": 32}


def count(layer: tgl.Layer) -> int:
    """Return the number of a layer's parameters."""
    return sum(math.prod(p.shape) for p in layer.parameters().values())


def images(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def without_weights(layer: tgl.Layer) -> tgl.Layer:
    for parameter in layer.parameters().values():
        parameter.assign(np.zeros(parameter.shape, "float32"))
    return layer


def test_a_residual_block_without_weights_is_the_identity() -> None:
    convolution = Conv2d(3, 3, kernel_size=3, padding="same")
    x = images(2, 5, 4, 3)
    assert np.array_equal(without_weights(Residual(convolution, activation=None))(x).numpy(), x)


def test_a_bottleneck_without_weights_is_relu() -> None:
    x = images(2, 4, 4, 8)
    assert np.array_equal(without_weights(Bottleneck(8, 2))(x).numpy(), np.maximum(x, 0))


def test_the_gradient_reaches_the_input_past_a_block_without_weights() -> None:
    x = tgl.tensor(images(2, 3), requires_grad=True)
    deep = tgl.Sequential(*(without_weights(Residual(Dense(3, 3), activation=None)) for _ in range(50)))
    deep(x).backward(np.ones((2, 3), "float32"))
    assert np.array_equal(x.grad.numpy(), np.ones((2, 3)))


def test_padded_shortcut_takes_every_second_pixel() -> None:
    block = without_weights(
        Residual(
            Conv2d(1, 3, kernel_size=3, stride=2, padding=1),
            shortcut="padded",
            channels=(1, 3),
            stride=2,
            activation=None,
        )
    )
    x = np.arange(25, dtype="float32").reshape(1, 5, 5, 1)
    y = block(x).numpy()
    assert y[0, :, :, 0].tolist() == [[0, 2, 4], [10, 12, 14], [20, 22, 24]]
    assert not y[..., 1:].any()


def test_padded_shortcut_has_no_parameters() -> None:
    options: dict[str, Any] = {"channels": (4, 8), "stride": 2}
    plain = Conv2d(4, 8, kernel_size=3, stride=2, padding=1)
    assert count(Residual(plain, shortcut="padded", **options)) == count(plain)
    assert count(Residual(plain, shortcut="projected", **options)) == count(plain) + 4 * 8 + 2 * 8


def test_shapes_that_cannot_be_added_are_refused_by_output_shape() -> None:
    block = Residual(Conv2d(4, 8, kernel_size=3), shortcut="projected", channels=(4, 8))
    message = r"got \(1, 4, 4, 8\) and \(1, 6, 6, 8\); use .*pad the windows of the inner layer"
    with pytest.raises(ShapeError, match=message):
        block.output_shape((1, 6, 6, 4))


def test_resnet50_bottlenecks() -> None:
    """The first blocks of stages 2 and 3 have as many parameters as in PyTorch."""
    assert count(Bottleneck(64, 64)) == 75_008
    assert count(Bottleneck(256, 128, stride=2)) == 379_392
    assert Bottleneck(256, 128, stride=2).output_shape((1, 56, 56, 256)) == (1, 28, 28, 512)


def test_inception_3a() -> None:
    """To get 32 maps from 28x28x192, 5x5 filters need a tenth of the multiply-adds after a reduction to 16 channels."""
    module = Inception(192, **GOOGLENET_3A)
    shape = (1, 28, 28, 192)
    assert count(module) == 163_696
    assert module.output_shape(shape) == (1, 28, 28, 256)
    branch = module.branches.children()["5x5"]
    assert branch.multiply_adds(shape) == 12_443_648
    assert Conv2d(192, 32, kernel_size=5, padding="same").multiply_adds(shape) == 120_422_400


def test_variables_of_branches_have_paths() -> None:
    module = Inception(4, **dict.fromkeys(GOOGLENET_3A, 2))
    assert "branches.5x5.reduce.weight" in module.parameters()
    assert "0.weight" in ParallelConcat([Dense(2, 2), Tanh()]).parameters()
    assert {"block.inner.window.weight", "block.norm.scale"} <= Bottleneck(4, 2).parameters().keys()


def test_a_branch_may_take_several_inputs() -> None:
    class Sum(tgl.Layer):
        def forward(self, x: Any, y: Any) -> Any:
            return x + y

        def output_shape(self, x: Any, y: Any) -> Any:
            return x

    both = ParallelConcat([Sum(), Sum()])
    assert both(np.ones((2, 1)), np.ones((2, 1))).tolist() == [[2, 2], [2, 2]]
    assert both.output_shape((2, 1), (2, 1)) == (2, 2)


@pytest.mark.parametrize(
    "layer",
    [
        Reshape((2, -1)),
        Pad2d(((0, 1), (2, 0)), mode="edge"),
        ParallelConcat({"a": Dense(3, 2), "b": Tanh()}, axis=1),
        Residual(Conv2d(2, 4, kernel_size=3, padding=1), shortcut="padded", channels=(2, 4)),
        Bottleneck(4, 2, stride=2),
        Inception(2, **dict.fromkeys(GOOGLENET_3A, 1)),
        tgl.Sequential({"first": Dense(3, 2), "second": tgl.Sequential(ReLU())}),
    ],
    ids=str,
)
def test_descriptions_survive_json(layer: tgl.Layer) -> None:
    text = json.dumps(registry.describe(layer))
    twin = registry.build(json.loads(text))
    twin.load_state(layer.state())
    assert json.dumps(registry.describe(twin)) == text


def test_an_error_inside_names_the_layer_and_its_path() -> None:
    model = tgl.Sequential({"stem": Dense(3, 4), "head": Residual(Dense(5, 5))})
    with pytest.raises(ShapeError, match="expected last axis 5, got 4") as caught:
        model(images(2, 3))
    assert caught.value.__notes__ == ["in layer 'head.inner': Dense(5 -> 5)"]


@pytest.mark.peers
def test_bottleneck_as_pytorch() -> None:
    """The filters are the same, and batch normalization is in training."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    ours = Bottleneck(4, 2, expansion=3, stride=2, rng=0).astype("float64")

    def conv(layer: Any, **options: Any) -> Any:
        kh, _, before, after = layer.weight.shape
        theirs = nn.Conv2d(before, after, kh, bias=False, dtype=torch.float64, **options)
        theirs.weight.data = torch.tensor(layer.weight.numpy().transpose(3, 2, 0, 1).copy())
        return theirs

    def norm(channels: int) -> Any:
        return nn.BatchNorm2d(channels, dtype=torch.float64)

    inner = ours.block.inner
    main = nn.Sequential(
        conv(inner["reduce"]), norm(2), nn.ReLU(), conv(inner["window"], stride=2, padding=1), norm(2), nn.ReLU(),
        conv(inner["expand"]), norm(6),
    )  # fmt: skip
    short = nn.Sequential(conv(ours.block.projection, stride=2), norm(6))
    x = images(3, 5, 6, 4).astype("float64")
    theirs = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    expected = nn.functional.relu(main(theirs) + short(theirs))
    expected.square().sum().backward()
    mine = tgl.tensor(x, requires_grad=True)
    y = ours(mine)
    tgl.sum(y * y).backward()
    assert y.numpy() == pytest.approx(expected.detach().numpy().transpose(0, 2, 3, 1), abs=1e-9)
    assert mine.grad.numpy() == pytest.approx(theirs.grad.numpy().transpose(0, 2, 3, 1), abs=1e-8)


@pytest.mark.peers
@pytest.mark.parametrize("mode", ["zero", "edge"])
def test_padding_as_pytorch(mode: str) -> None:
    torch = pytest.importorskip("torch")
    x = images(2, 3, 4, 2)
    padded = torch.nn.functional.pad(
        torch.tensor(x.transpose(0, 3, 1, 2).copy()), (0, 3, 2, 1), mode={"zero": "constant", "edge": "replicate"}[mode]
    )
    assert np.array_equal(Pad2d(((2, 1), (0, 3)), mode=mode)(x), padded.numpy().transpose(0, 2, 3, 1))


def test_batch_norm_inside_a_block_follows_the_mode() -> None:
    block = Residual(tgl.Sequential(Dense(3, 3), BatchNorm(3)))
    before = block.state()["inner.1.running_mean"]
    block.eval()(images(4, 3))
    assert np.array_equal(block.state()["inner.1.running_mean"], before)
    block.train()(images(4, 3))
    assert not np.array_equal(block.state()["inner.1.running_mean"], before)
