"""Dense, embedding, flatten and softmax beyond their cases, and the lookup of layers by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
import tinygrad_lab_layers
from tests.layers.against_torch import compare
from tinygrad_lab.errors import DTypeError, OptionError, ShapeError
from tinygrad_lab_layers import Dense, Embedding, Flatten, Softmax


def test_the_error_of_dense_for_images_suggests_flatten() -> None:
    text = r"Dense\(784 -> 10\): expected last axis 784, got 28 \(x.shape == \(32, 28\)\); flatten first\?"
    with pytest.raises(ShapeError, match=text):
        Dense(784, 10)(np.zeros((32, 28), "float32"))


def test_dense_with_zero_features() -> None:
    assert Dense(0, 2)(np.zeros((3, 0), "float32")).numpy().tolist() == [[0, 0]] * 3
    assert Dense(2, 0)(np.zeros((3, 2), "float32")).shape == (3, 0)
    assert Dense(3, 2)(np.zeros((0, 3), "float32")).shape == (0, 2)


def test_gradients_of_a_vector_looked_up_twice_add_up() -> None:
    layer = Embedding(3, 2, rng=0)
    layer(np.array([2, 0, 2])).backward(np.array([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]], "float32"))
    assert layer.weight.grad.numpy().tolist() == [[3, 4], [0, 0], [11, 22]]


@pytest.mark.parametrize("number", [-1, 3])
def test_embedding_refuses_numbers_out_of_range(number: int) -> None:
    """NumPy would count -1 from the end."""
    with pytest.raises(OptionError, match=r"Embedding\(3, 2\): expected numbers from 0 to 2"):
        Embedding(3, 2)(np.array([0, number]))


def test_embedding_accepts_integers_of_any_kind_and_no_floats() -> None:
    layer = Embedding(3, 2, rng=0)
    expected = layer(np.array([1, 2])).numpy()
    np.testing.assert_array_equal(layer(tgl.tensor(np.array([1, 2], "uint8"))).numpy(), expected)
    assert layer(np.zeros((0, 4), "int64")).shape == (0, 4, 2)
    with pytest.raises(DTypeError, match=r"expected integers, got float32; use .astype\('int64'\)"):
        layer(np.zeros(2, "float32"))


def test_flatten_keeps_channels_innermost() -> None:
    x = np.arange(12).reshape(1, 2, 2, 3)
    assert Flatten()(x).tolist() == [list(range(12))]
    assert Flatten()(np.zeros((0, 2, 3))).shape == (0, 6)
    assert Flatten()(np.zeros(5)).shape == (5, 1)


def test_softmax_of_scores_far_apart_saturates_and_stays_finite() -> None:
    y = Softmax()(np.array([[1e30, 0.0], [20.0, 80.0]], "float32"))
    assert y.tolist()[0] == [1.0, 0.0]
    assert y.sum(axis=1) == pytest.approx([1, 1])
    slope = tgl.jacobian(Softmax())(np.array([20.0, 80.0]))
    assert np.abs(slope).max() < 1e-25  # so a network with too large initial weights does not learn


def test_layers_are_exposed_lazily_by_name() -> None:
    assert tinygrad_lab_layers.Dense is Dense
    assert {"BatchNorm", "Conv2d", "Dense"} <= set(dir(tinygrad_lab_layers))
    with pytest.raises(AttributeError, match="has no attribute 'Conv3d'"):
        _ = tinygrad_lab_layers.Conv3d


def test_the_lazy_table_holds_every_registered_layer() -> None:
    classes = {tgl.layers[name] for name in tgl.layers if "." not in name}
    inside = {getattr(tinygrad_lab_layers, name) for name in dir(tinygrad_lab_layers)}
    assert {c for c in classes if c.__module__.startswith("tinygrad_lab_layers.")} <= inside


@pytest.mark.peers
def test_dense_as_pytorch() -> None:
    torch = pytest.importorskip("torch")

    def theirs(x: Any, weight: Any, bias: Any) -> Any:
        return torch.relu(torch.nn.functional.linear(x, weight.T, bias))

    compare(Dense(5, 4, activation="relu"), theirs, (3, 2, 5), "float32")
