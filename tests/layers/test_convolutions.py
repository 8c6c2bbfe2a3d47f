"""Convolutions: sizes, padding, adjoints, errors, and PyTorch."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.layers.against_torch import compare, filters_out_first, planes_first, planes_last
from tinygrad_lab.errors import DTypeError, ShapeError
from tinygrad_lab_layers import Conv2d, Conv2dTranspose, DepthwiseConv2d, MaxPool2d, ReLU

RNG = np.random.default_rng(0)


def images(*shape: int) -> Any:
    return RNG.normal(size=shape).astype("float32")


def test_same_padding_keeps_the_size_and_puts_the_odd_row_last() -> None:
    layer = Conv2d(1, 1, kernel_size=2, padding="same", bias=False)
    layer.weight.assign(np.ones((2, 2, 1, 1), "float32"))
    x = np.array([[1.0, 2.0], [3.0, 4.0]], "float32").reshape(1, 2, 2, 1)
    assert layer(x).numpy().reshape(2, 2).tolist() == [[10, 6], [7, 4]]


def test_strided_same_padding_is_that_of_tensorflow() -> None:
    """If one row is needed in total, it is added after the last pixel."""
    layer = Conv2d(1, 1, kernel_size=3, stride=2, padding="same", bias=False)
    layer.weight.assign(np.ones((3, 3, 1, 1), "float32"))
    x = np.ones((1, 4, 4, 1), "float32")
    assert layer(x).numpy().reshape(2, 2).tolist() == [[9, 6], [6, 4]]


def test_edge_padding_repeats_the_border() -> None:
    layer = Conv2d(1, 1, kernel_size=(1, 3), padding=((0, 0), (2, 0)), padding_mode="edge", bias=False)
    layer.weight.assign(np.array([1.0, 10.0, 100.0], "float32").reshape(1, 3, 1, 1))
    assert layer(np.array([1.0, 2.0], "float32").reshape(1, 1, 2, 1)).numpy().tolist() == [[[[111.0], [211.0]]]]


def test_a_gradient_counts_how_often_each_pixel_is_used() -> None:
    """The filter consists of ones. Without padding, corners are used once and the middle pixel 9 times."""
    layer = Conv2d(1, 1, kernel_size=3, bias=False)
    layer.weight.assign(np.ones((3, 3, 1, 1), "float32"))
    uses = tgl.grad(lambda x: tgl.sum(layer(x)))(np.zeros((1, 5, 5, 1), "float32"))
    uses = uses.numpy().reshape(5, 5)
    assert uses[0].tolist() == [1, 2, 3, 2, 1]
    assert uses[2].tolist() == [3, 6, 9, 6, 3]


def test_a_stack_without_padding_names_the_layer_and_its_map() -> None:
    sizes = [(3, 48, 3), (48, 128, 5), (128, 128, 3), (128, 128, 3)]
    layers: list[tgl.Layer] = []
    for before, after, kernel_size in sizes:
        layers += [Conv2d(before, after, kernel_size=kernel_size, activation="relu"), MaxPool2d(2)]
    net = tgl.Sequential(*layers[:5], layers[6], Conv2d(128, 128, kernel_size=3))
    with pytest.raises(
        ShapeError, match=r"Conv2d\(128 -> 128, kernel_size=3\): expected .* 3x3 for the window, got 1x1"
    ) as e:
        net.output_shape((1, 32, 32, 3))
    assert "in layer '6'" in e.value.__notes__[0]


def test_zero_channels_or_images() -> None:
    assert Conv2d(0, 2, kernel_size=3)(images(1, 4, 4, 0)).numpy().tolist() == np.zeros((1, 2, 2, 2)).tolist()
    assert Conv2d(2, 0, kernel_size=3)(images(1, 4, 4, 2)).shape == (1, 2, 2, 0)
    assert Conv2d(3, 2, kernel_size=3)(images(0, 4, 4, 3)).shape == (0, 2, 2, 2)
    assert Conv2d(3, 2, kernel_size=3, padding=1, padding_mode="edge")(images(0, 4, 4, 3)).shape == (0, 4, 4, 2)
    assert Conv2dTranspose(3, 2, kernel_size=3)(images(0, 4, 4, 3)).shape == (0, 6, 6, 2)


def test_another_float_width_is_refused() -> None:
    with pytest.raises(DTypeError, match=r"float64.*float32"):
        Conv2d(3, 2, kernel_size=3)(images(1, 4, 4, 3).astype("float64"))


def test_multiply_adds_of_the_alexnet_paper() -> None:
    """The paper's five convolutions; those that it divides between two GPUs have two groups."""
    layers = [
        (Conv2d(3, 96, kernel_size=11, stride=4), 227),
        (Conv2d(96, 256, kernel_size=5, padding=2, groups=2), 27),
        (Conv2d(256, 384, kernel_size=3, padding=1), 13),
        (Conv2d(384, 384, kernel_size=3, padding=1, groups=2), 13),
        (Conv2d(384, 256, kernel_size=3, padding=1, groups=2), 13),
    ]
    total = sum(layer.multiply_adds((1, size, size, layer.in_channels)) for layer, size in layers)
    dense = 9216 * 4096 + 4096 * 4096 + 4096 * 1000
    assert total + dense == 724_406_816


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
    st.sampled_from(["same", 0, 1, ((0, 1), (2, 0))]),
    st.integers(0, 2),
)
def test_transposed_convolution_is_the_adjoint(
    kernel_size: int, stride: int, dilation: int, padding: Any, more: int
) -> None:
    """<conv(x), y> = <x, transposed(y)> for every height with the same number of output rows."""
    options: dict[str, Any] = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}
    extra = 0 if padding == "same" else more % stride
    least = 3 * stride + (kernel_size - 1) * dilation + 1 + extra
    height, width = (
        4 * stride if padding == "same" else least - sum(sides)
        for sides in tgl.Window(kernel_size, padding=padding).padding
    )
    assume(min(height, width) > 0)
    forward = Conv2d(2, 3, bias=False, rng=0, **options)
    back = Conv2dTranspose(3, 2, bias=False, output_padding=extra, **options)
    back.weight.assign(forward.weight.value)
    x, y = images(2, height, width, 2), images(2, 4, 4, 3)
    assert forward.output_shape(x.shape) == y.shape
    assert back.output_shape(y.shape) == x.shape
    along = float((forward(x).numpy() * y).sum(dtype="float64"))
    assert along == pytest.approx(float((x * back(y).numpy()).sum(dtype="float64")), abs=1e-3)


def test_initial_weights_of_a_transposed_convolution_use_its_fan_in() -> None:
    layer = Conv2dTranspose(200, 8, kernel_size=3, init="he_normal", rng=0)
    assert layer.weight.shape == (3, 3, 8, 200)
    assert float(layer.weight.numpy().std()) == pytest.approx((2 / (9 * 200)) ** 0.5, rel=0.02)


def test_depthwise_convolution_does_not_mix_channels() -> None:
    layer = DepthwiseConv2d(2, kernel_size=3, multiplier=2, rng=0)
    x = images(1, 5, 5, 2)
    x[..., 1] = 0
    assert not layer(x).numpy()[..., 2:].any()
    assert layer.multiply_adds(x.shape) == 3 * 3 * 4 * 9


def test_nan_passes_the_fused_relu() -> None:
    x = images(1, 3, 3, 1)
    x[0, 1, 1, 0] = np.nan
    assert np.isnan(Conv2d(1, 1, kernel_size=3, activation="relu")(x).numpy()).all()


def test_fused_relu_is_relu() -> None:
    x, options = images(2, 6, 6, 3), {"kernel_size": 3, "rng": 0}
    fused = Conv2d(3, 4, activation="relu", **options)(x).numpy()
    np.testing.assert_array_equal(fused, ReLU()(Conv2d(3, 4, **options)(x)).numpy())


def test_the_sobel_filter_of_a_ramp() -> None:
    """The result is compared with sums of fractions."""
    ramp = [[Fraction(2 * j) for j in range(4)] for _ in range(3)]
    sobel = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    expected = [sum(sobel[i][j] * ramp[i][q + j] for i in range(3) for j in range(3)) for q in range(2)]
    layer = Conv2d(1, 1, kernel_size=3, bias=False)
    layer.weight.assign(np.array(sobel, "float32").reshape(3, 3, 1, 1))
    assert layer(np.array(ramp, "float32").reshape(1, 3, 4, 1)).numpy().reshape(-1).tolist() == expected


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": (2, 3), "stride": (2, 1), "padding": (1, 2)},
        {"kernel_size": 3, "dilation": 2, "padding": 2, "groups": 2},
        {"kernel_size": 5, "padding": "same", "activation": "relu"},
        {"kernel_size": 1, "stride": 2, "bias": False},
    ],
)
def test_convolution_as_pytorch(options: dict[str, Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    names = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    theirs = {name: options.get(name, default) for name, default in names.items()}

    def convolve(x: Any, weight: Any, bias: Any = None) -> Any:
        y = torch.nn.functional.conv2d(planes_first(x), filters_out_first(weight), bias, **theirs)
        return planes_last(torch.relu(y) if options.get("activation") else y)

    compare(Conv2d(4, 6, **options), convolve, (2, 9, 8, 4), dtype)


@pytest.mark.peers
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": (3, 2), "stride": (3, 2), "padding": (0, 1), "output_padding": (2, 1), "dilation": (2, 1)},
        {"kernel_size": 3, "groups": 2, "bias": False},
    ],
)
def test_transposed_convolution_as_pytorch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    names = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}
    theirs = {name: options.get(name, default) for name, default in names.items()}

    def convolve(x: Any, weight: Any, bias: Any = None) -> Any:
        y = torch.nn.functional.conv_transpose2d(planes_first(x), filters_out_first(weight), bias, **theirs)
        return planes_last(y)

    compare(Conv2dTranspose(4, 6, **options), convolve, (2, 5, 4, 4))


@pytest.mark.peers
def test_edge_padding_as_pytorch() -> None:
    torch = pytest.importorskip("torch")

    def convolve(x: Any, weight: Any, bias: Any) -> Any:
        padded = torch.nn.functional.pad(planes_first(x), (2, 2, 1, 1), mode="replicate")
        return planes_last(torch.nn.functional.conv2d(padded, filters_out_first(weight), bias))

    compare(Conv2d(2, 3, kernel_size=3, padding=(1, 2), padding_mode="edge"), convolve, (2, 5, 4, 2))


@pytest.mark.peers
def test_depthwise_convolution_as_pytorch() -> None:
    torch = pytest.importorskip("torch")

    def convolve(x: Any, weight: Any, bias: Any) -> Any:
        return planes_last(
            torch.nn.functional.conv2d(planes_first(x), filters_out_first(weight), bias, padding=1, groups=3)
        )

    compare(DepthwiseConv2d(3, kernel_size=3, padding=1, multiplier=2), convolve, (2, 5, 4, 3))
