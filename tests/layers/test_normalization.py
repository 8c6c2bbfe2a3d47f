"""Normalization: statistics of batches, running statistics, freezing, groups, and neighboring channels."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.layers.against_torch import compare, planes_first, planes_last
from tinygrad_lab.errors import ShapeError
from tinygrad_lab_layers import BatchNorm, Conv2d, Dense, GroupNorm, LayerNorm, LocalResponseNorm

RNG = np.random.default_rng(0)


def rows(*shape: int, mean: float = 0.0, std: float = 1.0) -> Any:
    return RNG.normal(mean, std, shape).astype("float32")


# -------------------------------------------------------------------------------------------- batch normalization


def test_results_for_a_batch_are_standardized() -> None:
    y = BatchNorm(3)(rows(8, 5, 5, 3, mean=7.0, std=4.0)).numpy()
    assert y.mean(axis=(0, 1, 2)) == pytest.approx([0, 0, 0], abs=1e-5)
    assert y.std(axis=(0, 1, 2)) == pytest.approx([1, 1, 1], abs=1e-4)


def test_running_statistics_move_by_1_minus_momentum_once_a_step() -> None:
    layer = BatchNorm(1, momentum=0.75)
    x = np.array([[1.0], [5.0]], "float32")  # mean 3, unbiased variance 8
    layer(x)
    assert layer.running_mean.numpy() == 0.25 * 3
    assert layer.running_var.numpy() == 0.75 + 0.25 * 8
    layer(x)
    assert layer.running_mean.numpy() == 0.75 * 0.75 + 0.25 * 3


def test_running_statistics_approach_those_of_the_data() -> None:
    layer = BatchNorm(2, momentum=0.9)
    for _ in range(200):
        layer(rows(64, 2, mean=3.0, std=2.0))
    assert layer.running_mean.numpy() == pytest.approx([3, 3], abs=0.3)
    assert layer.running_var.numpy() == pytest.approx([4, 4], rel=0.2)


def test_evaluation_uses_and_keeps_running_statistics() -> None:
    layer = BatchNorm(1).eval()
    before = layer.state()
    assert layer(np.array([[5.0]], "float32")).numpy() == pytest.approx(5, rel=1e-4)
    assert {path: v.tolist() for path, v in layer.state().items()} == {p: v.tolist() for p, v in before.items()}


def test_a_frozen_layer_keeps_its_statistics_and_uses_them() -> None:
    net = tgl.Sequential(Dense(2, 3, rng=0), BatchNorm(3)).freeze()
    x = rows(6, 2, mean=4.0)
    y = net(x)
    assert not y.requires_grad
    assert not net[1].running_mean.numpy().any()
    np.testing.assert_array_equal(y.numpy(), net.eval()(x).numpy())
    net.unfreeze().train()(x)
    assert net[1].running_mean.numpy().all()
    assert all(p.requires_grad for p in net.parameters().values())


def test_recomputation_updates_running_statistics_once() -> None:
    x = rows(6, 3, mean=2.0)
    plain, checked = BatchNorm(3), BatchNorm(3)
    plain(x)
    tgl.sum(tgl.checkpoint(checked, tgl.tensor(x, requires_grad=True)) * rows(6, 3)).backward()
    np.testing.assert_array_equal(plain.running_mean.numpy(), checked.running_mean.numpy())
    assert checked.steps == 1


def test_functional_call_uses_the_given_state_and_does_not_change_it() -> None:
    layer = BatchNorm(3)
    x, g = rows(6, 3, mean=2.0), rows(6, 3)
    gradients = tgl.grad(lambda state: tgl.sum(tgl.functional_call(layer, state, x) * g))(layer.state())
    layer(x).backward(g)
    np.testing.assert_allclose(gradients["scale"], layer.scale.grad.numpy(), rtol=1e-6)
    fresh = BatchNorm(3)
    tgl.functional_call(fresh, fresh.state(), x)
    assert not fresh.running_mean.numpy().any()


def test_gradients_with_respect_to_running_statistics_in_evaluation() -> None:
    layer = BatchNorm(2).eval()
    x = rows(4, 2)
    gradients = tgl.grad(lambda state: tgl.sum(tgl.functional_call(layer, state, x)))(layer.state())
    assert gradients["running_mean"] == pytest.approx([-4, -4], rel=1e-4)


def test_channels_of_one_element_or_none() -> None:
    layer = BatchNorm(2)
    layer.shift.assign(np.array([1.0, 2.0], "float32"))
    assert layer(rows(1, 2)).numpy().tolist() == [[1.0, 2.0]]
    assert np.isfinite(layer.running_var.numpy()).all()
    with pytest.raises(ShapeError, match=r"expected at least one element of each channel .* \(0, 2\)"):
        layer(rows(0, 2))
    assert layer.eval()(rows(0, 2)).shape == (0, 2)
    assert BatchNorm(0)(rows(3, 0)).shape == (3, 0)


def test_a_mean_far_from_zero_does_not_cancel_the_variance() -> None:
    x = rows(64, 4, mean=1000.0)
    y, exact = BatchNorm(4)(x).numpy(), x.astype("float64")
    assert y == pytest.approx((exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5), abs=1e-3)


def test_statistics_are_differentiable_outputs() -> None:
    """The gradient of a penalty on the batch's variance reaches x."""
    x, ones, zeros = RNG.normal(size=(5, 2)), np.ones(2), np.zeros(2)
    by_rule = tgl.grad(lambda z: tgl.sum(tgl.batch_norm(z, ones, zeros, eps=0.1)[2]))(x)
    assert by_rule == pytest.approx(2 * (x - x.mean(0)) / 5)


# ------------------------------------------------------------------------------------------ layers and groups


def test_group_norm_includes_layer_and_instance_norm() -> None:
    x = RNG.normal(size=(3, 4, 5, 6))
    whole, single = GroupNorm(1, 6).astype("float64"), GroupNorm(6, 6).astype("float64")
    standardized = (x - x.mean((1, 2, 3), keepdims=True)) / np.sqrt(x.var((1, 2, 3), keepdims=True) + 1e-5)
    assert whole(x).numpy() == pytest.approx(standardized)
    standardized = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    assert single(x).numpy() == pytest.approx(standardized)


def test_an_empty_batch() -> None:
    assert LayerNorm(3)(rows(0, 3)).shape == (0, 3)
    assert GroupNorm(1, 3)(rows(0, 2, 2, 3)).shape == (0, 2, 2, 3)


def test_a_constant_row_becomes_the_shift() -> None:
    layer = LayerNorm(4)
    assert layer(np.full((2, 4), 3.0, "float32")).numpy().tolist() == [[0.0] * 4] * 2


# ----------------------------------------------------------------------------------- local response normalization


def test_local_response_norm_of_a_worked_example() -> None:
    """With r = 2, kappa = 0, alpha = 2, beta = 2 and the sum divided by r, it is x / (sum of squares)^2."""
    x = [8, 8, 8, 8, 8, 9, 8, 8, 8, 8]
    sums = [sum(v * v for v in x[max(0, i - 1) : i + 2]) for i in range(10)]
    exact = [float(Fraction(v, s * s)) for v, s in zip(x, sums, strict=True)]
    y = LocalResponseNorm(2, alpha=2, beta=2, k=0, convention="divided")(np.array(x, "float64"))
    assert y == pytest.approx(exact, rel=1e-14)
    assert y * 1e4 == pytest.approx([4.883, 2.170, 2.170, 2.170, 1.832, 2.060, 1.832, 2.170, 2.170, 4.883], abs=6e-4)
    plateau = y[2]
    assert y[4] / plateau == pytest.approx(0.844, abs=1e-3)
    assert y[5] / plateau == pytest.approx(0.949, abs=1e-3)
    assert y[5] / y[4] == pytest.approx(9 / 8)
    assert y[0] > plateau


@given(st.integers(0, 4), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_conventions_agree_for_odd_sizes_up_to_a_factor(radius: int, channels: int, seed: int) -> None:
    """With odd sizes, all four conventions sum the same channels and differ only by a factor."""
    x = np.random.default_rng(seed).normal(size=(2, channels))
    size, options = 2 * radius + 1, {"beta": 0.75, "k": 1.0}
    paper = LocalResponseNorm(size, alpha=0.5, convention="paper", **options)(x)
    for other, given_size, alpha in (
        ("divided", size, 0.5 * size),
        ("pytorch", size, 0.5 * size),
        ("tensorflow", radius, 0.5),
    ):
        assert LocalResponseNorm(given_size, alpha=alpha, convention=other, **options)(x) == pytest.approx(paper)


def test_conventions_differ_for_even_sizes() -> None:
    """The one bright channel is in the windows of neighbors on both sides, or on one side."""
    x = np.array([1.0, 1.0, 9.0, 1.0, 1.0])
    inhibited = {
        convention: (LocalResponseNorm(2, alpha=1.0, beta=1.0, k=1.0, convention=convention)(x) < 0.1).tolist()
        for convention in ("paper", "divided", "pytorch")
    }
    assert inhibited["paper"] == [False, True, False, True, False]
    assert inhibited["divided"] == [False, True, False, True, False]
    assert inhibited["pytorch"] == [False, False, False, True, False]


# ----------------------------------------------------------------------------------------------------- PyTorch


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normalization_as_pytorch(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional

    def batch(x: Any, scale: Any, shift: Any) -> Any:
        return planes_last(f.batch_norm(planes_first(x), None, None, scale, shift, training=True))

    def groups(x: Any, scale: Any, shift: Any) -> Any:
        return planes_last(f.group_norm(planes_first(x), 2, scale, shift))

    compare(BatchNorm(4), batch, (3, 5, 4, 4), dtype)
    compare(GroupNorm(2, 4), groups, (3, 5, 4, 4), dtype)
    compare(LayerNorm((4, 3)), lambda x, scale, shift: f.layer_norm(x, (4, 3), scale, shift), (2, 5, 4, 3), dtype)


@pytest.mark.peers
def test_running_statistics_as_pytorch() -> None:
    """PyTorch's momentum is 1 minus ours."""
    torch = pytest.importorskip("torch")
    ours, theirs = BatchNorm(3, momentum=0.7), torch.nn.BatchNorm2d(3, momentum=0.3)
    for _ in range(3):
        x = rows(4, 2, 2, 3, mean=1.0)
        ours(x)
        theirs(planes_first(torch.tensor(x)))
    assert ours.running_mean.numpy() == pytest.approx(theirs.running_mean.numpy(), abs=1e-6)
    assert ours.running_var.numpy() == pytest.approx(theirs.running_var.numpy(), abs=1e-5)


@pytest.mark.peers
@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_local_response_norm_as_pytorch(size: int) -> None:
    torch = pytest.importorskip("torch")
    layer = LocalResponseNorm(size, alpha=0.3, beta=0.75, k=1.0, convention="pytorch")

    def theirs(x: Any) -> Any:
        return planes_last(torch.nn.functional.local_response_norm(planes_first(x), size, 0.3, 0.75, 1.0))

    compare(layer, theirs, (2, 3, 4, 7))


def test_a_convolution_before_batch_norm_gets_gradients() -> None:
    net = tgl.Sequential(Conv2d(1, 2, kernel_size=3, rng=0), BatchNorm(2))
    net(rows(2, 5, 5, 1)).backward(rows(2, 3, 3, 2))
    assert all(np.isfinite(p.grad.numpy()).all() for p in net.parameters().values())
