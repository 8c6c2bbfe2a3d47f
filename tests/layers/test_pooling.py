"""Pooling and upsampling: ties, padding, overlap, empty maps, and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.layers.against_torch import compare, planes_first, planes_last
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.ops.pooling import max_pool2d_values
from tinygrad_lab_layers import AdaptiveAvgPool2d, AvgPool2d, GlobalAvgPool2d, MaxPool2d, Upsample2d


def gradient(layer: tgl.Layer, x: Any) -> Any:
    """The gradient of the sum of the results."""
    return tgl.grad(lambda z: tgl.sum(layer(z)))(x)


def test_the_first_of_equal_maxima_gets_the_gradient() -> None:
    x = np.ones((1, 2, 4, 1))
    assert gradient(MaxPool2d(2), x).reshape(2, 4).tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]


def test_padding_is_never_the_maximum() -> None:
    x = np.full((1, 2, 2, 1), -5.0)
    assert (MaxPool2d(3, stride=1, padding=1)(x) == -5.0).all()
    assert (MaxPool2d(3, stride=2, padding="same")(x) == -5.0).all()


def test_overlapping_windows_add_their_gradients() -> None:
    x = np.array([0.0, 3.0, 1.0, 2.0, 0.0]).reshape(1, 1, 5, 1)
    layer = MaxPool2d((1, 3), stride=(1, 1))
    assert layer(x).reshape(-1).tolist() == [3, 3, 2]
    assert gradient(layer, x).reshape(-1).tolist() == [0, 2, 0, 1, 0]


def test_without_a_tape_max_pooling_computes_no_index() -> None:
    x = np.random.default_rng(0).integers(-2, 2, (2, 5, 6, 3)).astype(float)
    layer = MaxPool2d((3, 2), stride=(1, 2), padding=((1, 1), (0, 1)))
    with tgl.no_grad():
        np.testing.assert_array_equal(layer(x), layer(tgl.tensor(x, requires_grad=True)).numpy())
    options: Any = {"kernel_size": (3, 2), "stride": (1, 2), "padding": ((1, 1), (0, 1))}
    slopes = tgl.grad(lambda z: tgl.sum(tgl.square(max_pool2d_values(z, **options))))(x)
    np.testing.assert_array_equal(slopes, tgl.grad(lambda z: tgl.sum(tgl.square(layer(z))))(x))


def test_nan_is_the_maximum() -> None:
    x = np.array([[1.0, np.nan], [np.nan, 9.0]]).reshape(1, 2, 2, 1)
    assert np.isnan(MaxPool2d(2)(x)).all()
    assert gradient(MaxPool2d(2), x).reshape(-1).tolist() == [0, 1, 0, 0]


def test_windows_of_256_elements() -> None:
    """The index of the maximum still fits into one byte."""
    x = np.zeros((1, 16, 16, 1))
    x[0, 15, 15] = 1
    assert gradient(MaxPool2d(16), x)[0, 15, 15, 0] == 1


def test_the_average_may_count_the_padding() -> None:
    x = np.ones((1, 2, 2, 1))
    counted, left_out = (AvgPool2d(2, stride=1, padding=1, count_include_pad=c)(x).reshape(3, 3) for c in (True, False))
    assert counted[0].tolist() == [0.25, 0.5, 0.25]
    assert (left_out == 1).all()


def test_global_average_spreads_its_gradient_evenly() -> None:
    assert (gradient(GlobalAvgPool2d(), np.zeros((2, 3, 5, 4))) == 1 / 15).all()


def test_adaptive_windows_overlap_if_the_size_does_not_divide() -> None:
    x = np.arange(5.0).reshape(1, 5, 1, 1)
    assert AdaptiveAvgPool2d((2, 1))(x).reshape(-1).tolist() == [1.0, 3.0]  # 0 to 2, 2 to 4
    assert AdaptiveAvgPool2d((10, 1))(x).reshape(-1).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))
def test_nearest_upsampling_is_undone_by_pooling(height: int, width: int, scale: int) -> None:
    x = np.random.default_rng(height).normal(size=(2, height, width, 3))
    assert AvgPool2d(scale)(Upsample2d(scale)(x)) == pytest.approx(x)
    assert Upsample2d(scale, mode="bilinear")(np.ones_like(x)) == pytest.approx(1.0)


def test_no_images() -> None:
    x = np.zeros((0, 4, 4, 3), "float32")
    for layer in (MaxPool2d(2), AvgPool2d(2), GlobalAvgPool2d(), AdaptiveAvgPool2d(2), Upsample2d(mode="bilinear")):
        assert layer(x).shape == layer.output_shape(x.shape)
        assert gradient(layer, x).shape == x.shape


def test_no_channels() -> None:
    x = np.zeros((2, 4, 4, 0), "float32")
    for layer in (MaxPool2d(2), AvgPool2d(2), GlobalAvgPool2d(), AdaptiveAvgPool2d(2), Upsample2d()):
        assert layer(x).shape == layer.output_shape(x.shape)


POOLS: dict[str, tuple[tgl.Layer, Any]] = {
    "max": (MaxPool2d(2), lambda f, x: f.max_pool2d(x, 2)),
    "max overlapping": (MaxPool2d(3, stride=2), lambda f, x: f.max_pool2d(x, 3, 2)),
    "max padded": (MaxPool2d(3, stride=2, padding=1), lambda f, x: f.max_pool2d(x, 3, 2, 1)),
    "average": (AvgPool2d((2, 3), stride=2), lambda f, x: f.avg_pool2d(x, (2, 3), 2)),
    "average padded": (AvgPool2d(3, padding=1), lambda f, x: f.avg_pool2d(x, 3, padding=1)),
    "average of pixels": (
        AvgPool2d(3, padding=1, count_include_pad=False),
        lambda f, x: f.avg_pool2d(x, 3, padding=1, count_include_pad=False),
    ),
    "adaptive": (AdaptiveAvgPool2d((3, 5)), lambda f, x: f.adaptive_avg_pool2d(x, (3, 5))),
    "adaptive, larger": (AdaptiveAvgPool2d(11), lambda f, x: f.adaptive_avg_pool2d(x, 11)),
    "nearest": (Upsample2d((2, 3)), lambda f, x: f.interpolate(x, scale_factor=(2, 3), mode="nearest")),
    "bilinear": (
        Upsample2d((2, 3), mode="bilinear"),
        lambda f, x: f.interpolate(x, scale_factor=(2, 3), mode="bilinear", align_corners=False),
    ),
}


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", POOLS)
def test_as_pytorch(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    layer, theirs = POOLS[name]
    compare(layer, lambda x: planes_last(theirs(torch.nn.functional, planes_first(x))), (2, 7, 8, 3), dtype)


@pytest.mark.parametrize("providers", [(), ("numpy",), ("numpy", "numba")], ids=["reference", "numpy", "numba"])
def test_padding_is_never_the_maximum_over_minus_infinity(providers: tuple[str, ...]) -> None:
    """As in PyTorch, the gradient goes to the first pixel of each window."""
    x, pool = np.full((1, 2, 2, 1), -np.inf, "float32"), MaxPool2d(3, stride=1, padding=1)
    with using(providers=frozenset(providers)):
        y, pull = tgl.vjp(pool, x)
        assert pull(np.ones_like(y))[0].ravel().tolist() == [4.0, 0.0, 0.0, 0.0]
        with tgl.no_grad():
            assert (pool(x) == -np.inf).all()


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"])
def test_padding_is_never_the_maximum_over_integers(dtype: str) -> None:
    pool = MaxPool2d(3, stride=1, padding=1)
    least = False if dtype == "bool" else np.iinfo(dtype).min
    for value in (least, 1):
        x = np.full((1, 2, 3, 2), value, dtype)
        for y in (pool(x), tgl.no_grad()(pool)(x)):
            assert y.dtype == dtype
            assert (y == value).all()
    small = tgl.max_pool2d(
        np.full((1, 2, 2, 1), least, dtype), kernel_size=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1))
    )
    assert small[1].ravel().tolist() == [4, 3, 1, 0]  # the first places of the windows outside of the padding
