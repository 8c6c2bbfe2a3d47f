"""Losses compared with loops in plain Python and with finite differences, and their laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab import losses, registry
from tinygrad_lab.errors import DTypeError, OptionError, ShapeError

Array = np.ndarray
shapes = st.lists(st.integers(1, 4), min_size=0, max_size=2).map(tuple)
classes = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


def log_probabilities(row: Array) -> list[float]:
    total = math.fsum(math.exp(v) for v in row)
    return [math.log(math.exp(v) / total) for v in row]


def drawn(seed: int, shape: tuple[int, ...], k: int) -> tuple[Array, Array, Array]:
    """Draw logits, labels and probabilities."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.1, 1.0, (*shape, k))
    return rng.normal(size=(*shape, k)), rng.integers(0, k, shape), weights / weights.sum(-1, keepdims=True)


def rows(x: Array, *others: Array) -> list[tuple[Any, ...]]:
    return list(zip(x.reshape(-1, x.shape[-1]), *(o.reshape(-1, *o.shape[x.ndim - 1 :]) for o in others), strict=True))


LOOPS = {  # name -> (the loss of one row, whether its target is a label, probabilities or numbers)
    "softmax_cross_entropy": (lambda x, y: -log_probabilities(x)[y], "labels"),
    "auxiliary_cross_entropy": (lambda x, y: -log_probabilities(x)[y], "labels"),  # without auxiliary heads
    "nll": (lambda x, y: -x[y], "labels"),
    "multiclass_hinge": (
        lambda x, y: math.fsum(max(0.0, 1.0 + v - x[y]) for k, v in enumerate(x) if k != y),
        "labels",
    ),
    "kl_divergence": (
        lambda x, p: math.fsum(q * (math.log(q) - v) for v, q in zip(x, p, strict=True)),
        "probabilities",
    ),
}
ELEMENTS = {
    "mse": lambda y, t: (y - t) ** 2,
    "mae": lambda y, t: abs(y - t),
    "huber": lambda y, t: 0.5 * (y - t) ** 2 if abs(y - t) <= 1 else abs(y - t) - 0.5,
    "binary_cross_entropy_with_logits": lambda x, t: (
        -t * math.log(1 / (1 + math.exp(-x))) - (1 - t) * math.log(1 - 1 / (1 + math.exp(-x)))
    ),
    "hinge": lambda s, t: max(0.0, 1.0 - t * s),
}


@pytest.mark.parametrize("name", LOOPS)
@given(shape=shapes, k=classes, seed=seeds)
def test_losses_of_classes_agree_with_a_plain_loop(name: str, shape: tuple[int, ...], k: int, seed: int) -> None:
    loop, kind = LOOPS[name]
    x, labels, probabilities = drawn(seed, shape, k)
    target = labels if kind == "labels" else probabilities
    expected = np.array([loop(row, t if kind != "labels" else int(t)) for row, t in rows(x, target)]).reshape(shape)
    loss = registry.losses[name]
    np.testing.assert_allclose(loss(x, target, reduction="none"), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(loss(x, target), expected.mean(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(loss(x, target, reduction="sum"), expected.sum(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ELEMENTS)
@given(shape=shapes, k=classes, seed=seeds)
def test_losses_of_elements_agree_with_a_plain_loop(name: str, shape: tuple[int, ...], k: int, seed: int) -> None:
    x, _, target = drawn(seed, shape, k)
    x = 2.0 * x
    if name == "hinge":
        target = np.sign(target - 0.3) + (target == 0.3)
    expected = np.vectorize(ELEMENTS[name])(x, target)
    loss = registry.losses[name]
    np.testing.assert_allclose(loss(x, target, reduction="none"), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(loss(x, target), expected.mean(), rtol=1e-9, atol=1e-12)


@given(shape=shapes, k=classes, seed=seeds, smoothing=st.floats(0, 1))
def test_cross_entropy_of_probabilities_and_smoothed_labels(
    shape: tuple[int, ...], k: int, seed: int, smoothing: float
) -> None:
    x, labels, probabilities = drawn(seed, shape, k)
    for target in (probabilities, np.eye(k)[labels]):
        smooth = target * (1 - smoothing) + smoothing / k
        expected = np.array(
            [-math.fsum(t * v for t, v in zip(ts, log_probabilities(r), strict=True)) for r, ts in rows(x, smooth)]
        ).reshape(shape)
        got = losses.softmax_cross_entropy(x, target, label_smoothing=smoothing, reduction="none")
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)
    by_label = losses.softmax_cross_entropy(x, labels, label_smoothing=smoothing, reduction="none")
    np.testing.assert_allclose(by_label, expected, rtol=1e-10, atol=1e-12)


def target_for(name: str, rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    if name in ("softmax_cross_entropy", "auxiliary_cross_entropy", "nll", "multiclass_hinge"):
        return rng.integers(0, shape[1], shape[:1])
    if name == "hinge":
        return rng.choice([-1.0, 1.0], shape)
    target = rng.uniform(0.1, 1.0, shape)
    return target / target.sum(-1, keepdims=True)


def difference(f: Any, x: Array, u: Array, h: float = 1e-3) -> Array:
    """Return the derivative along u by five-point differences."""
    return (8 * (f(x + h * u) - f(x - h * u)) - (f(x + 2 * h * u) - f(x - 2 * h * u))) / (12 * h)


@pytest.mark.parametrize("name", [*LOOPS, *ELEMENTS])
def test_first_and_second_derivatives_agree_with_differences(name: str) -> None:
    rng = np.random.default_rng(1)
    x, loss = rng.normal(size=(4, 3)) * 1.3, registry.losses[name]
    target, weights = target_for(name, rng, x.shape), rng.normal(size=())

    def f(x: Any) -> Any:
        return loss(x, target) * weights

    gradient = tgl.grad(f)
    for _ in range(12):
        u = rng.normal(size=x.shape)
        np.testing.assert_allclose(np.sum(gradient(x) * u), difference(f, x, u), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(tgl.hvp(f, (x,), (u,))[0], difference(gradient, x, u), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "kl_divergence", "binary_cross_entropy_with_logits", "mse"])
def test_derivatives_with_respect_to_the_target(name: str) -> None:
    """In distillation, targets come from another network."""
    rng = np.random.default_rng(2)
    x, loss = rng.normal(size=(4, 3)), registry.losses[name]
    target = target_for("kl_divergence", rng, x.shape)

    def f(x: Any, target: Any) -> Any:
        return loss(x, target)

    u, v = rng.normal(size=x.shape), rng.normal(size=x.shape)
    gx, gt = tgl.grad(f, (0, 1))(x, target)
    expected = difference(lambda t: f(x + t * u, target + t * v), np.array(0.0), np.array(1.0), h=1e-4)
    np.testing.assert_allclose(np.sum(gx * u) + np.sum(gt * v), expected, rtol=1e-7)
    mixed = tgl.hvp(f, (x, target), (u, v))
    along = [
        difference(lambda t, i=i: tgl.grad(f, (0, 1))(x + t * u, target + t * v)[i], np.array(0.0), np.array(1.0), 1e-4)
        for i in (0, 1)
    ]
    for got, expected in zip(mixed, along, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8)


def test_the_hessian_of_cross_entropy_is_that_of_the_softmax() -> None:
    x = np.random.default_rng(3).normal(size=(1, 4))
    p = np.exp(x[0]) / np.exp(x[0]).sum()
    hessian = tgl.hessian(lambda x: losses.softmax_cross_entropy(x, np.array([2])))(x).reshape(4, 4)
    np.testing.assert_allclose(hessian, np.diag(p) - np.outer(p, p), atol=1e-12)


@given(shape=shapes, k=classes, seed=seeds, shift=st.floats(-1e3, 1e3))
def test_laws_of_cross_entropy(shape: tuple[int, ...], k: int, seed: int, shift: float) -> None:
    x, labels, probabilities = drawn(seed, shape, k)
    loss = losses.softmax_cross_entropy(x, labels, reduction="none")
    assert np.all(loss >= 0)
    np.testing.assert_allclose(losses.softmax_cross_entropy(x + shift, labels, reduction="none"), loss, atol=1e-9)
    gradient = tgl.grad(lambda x: losses.softmax_cross_entropy(x, labels, label_smoothing=0.1))(x)
    np.testing.assert_allclose(gradient.sum(-1), np.zeros(shape), atol=1e-12)
    entropy = -np.sum(probabilities * np.log(probabilities), -1)
    crossed = losses.softmax_cross_entropy(x, probabilities, reduction="none")
    divergence = losses.kl_divergence(tgl.log_softmax(x), probabilities, reduction="none")
    np.testing.assert_allclose(crossed, entropy + divergence, atol=1e-9)
    np.testing.assert_allclose(losses.nll(tgl.log_softmax(x), labels), loss.mean(), atol=1e-12)


def test_extreme_logits_neither_overflow_nor_lose_the_gradient() -> None:
    x = np.array([[1e4, 0.0], [-1e4, 0.0]], "float32")
    with np.errstate(all="raise", under="ignore"):
        assert losses.softmax_cross_entropy(x, [1, 1], reduction="none").tolist() == [1e4, 0.0]
        binary = losses.binary_cross_entropy_with_logits(x, [[0, 1], [1, 0]], reduction="none")
    np.testing.assert_allclose(binary, [[1e4, np.log(2)], [1e4, np.log(2)]], rtol=1e-6)
    gradient = tgl.grad(lambda x: losses.softmax_cross_entropy(x, [1, 1], reduction="sum"))(x)
    assert gradient.tolist() == [[1.0, -1.0], [0.0, 0.0]]


def test_a_logit_of_minus_infinity_excludes_its_class() -> None:
    x = np.array([[0.0, -np.inf, 0.0]])
    assert losses.softmax_cross_entropy(x, [0]) == pytest.approx(math.log(2))
    gradient = tgl.grad(lambda x: losses.softmax_cross_entropy(x, np.array([0])))(x)
    assert gradient.tolist() == [[-0.5, 0.0, 0.5]]
    assert losses.softmax_cross_entropy(x, [1]) == np.inf


@pytest.mark.parametrize("name", [*LOOPS, *ELEMENTS])
def test_nan_reaches_the_loss(name: str) -> None:
    x = np.array([[0.5, np.nan, 0.25]])
    target = {"hinge": np.ones((1, 3))}.get(name, target_for(name, np.random.default_rng(0), (1, 3)))
    if name in ("nll",):
        target = np.array([1])
    assert np.isnan(registry.losses[name](x, target))


@pytest.mark.parametrize("name", [*LOOPS, *ELEMENTS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_kept_and_arguments_are_not_written(name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    target = target_for(name, rng, (2, 3))
    target = target if target.dtype.kind == "i" else target.astype(dtype)
    value = rng.normal(size=(2, 3)).astype(dtype)
    value.flags.writeable = target.flags.writeable = False
    x = tgl.tensor(value, requires_grad=True)
    loss = registry.losses[name](x, target)
    assert loss.dtype == dtype
    assert loss.shape == ()
    loss.backward()
    assert x.grad.dtype == dtype
    assert x.grad.shape == (2, 3)


def test_integers_and_lists_are_targets_too() -> None:
    x = np.array([[0.5, -1.0]], "float32")
    assert losses.mse(x, [[1, 0]]).dtype == np.float32
    assert losses.binary_cross_entropy_with_logits(x, np.array([[True, False]])).dtype == np.float32
    assert losses.softmax_cross_entropy(x, tgl.tensor(np.array([1], "uint8"))).shape == ()
    assert losses.hinge(x, tgl.tensor(np.array([[1, -1]]))) == pytest.approx(0.25)


def test_huber_is_smooth_at_delta() -> None:
    y = np.array([-3.0, -2.0, -1.0, 0.0, 2.0, 5.0])
    loss = losses.huber(y, np.zeros(6), delta=2.0, reduction="none")
    assert loss.tolist() == [4.0, 2.0, 0.5, 0.0, 2.0, 8.0]
    gradient = tgl.grad(lambda y: losses.huber(y, np.zeros(6), delta=2.0, reduction="sum"))(y)
    assert gradient.tolist() == [-2.0, -2.0, -1.0, 0.0, 2.0, 2.0]


def test_the_kl_divergence_from_certain_targets() -> None:
    target = np.array([[1.0, 0.0]])
    assert losses.kl_divergence(np.array([[0.0, -np.inf]]), target) == 0.0
    assert losses.kl_divergence(np.log([[0.25, 0.75]]), target) == pytest.approx(math.log(4))


X = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: losses.softmax_cross_entropy(X, [0, 3]), OptionError, "to 2, got 0 to 3; does the network have"),
        (lambda: losses.softmax_cross_entropy(X, [-1, 0]), OptionError, "labels from 0 to 2, got -1 to 0"),
        (lambda: losses.nll(X, [0, 3]), OptionError, "nll: expected labels"),
        (lambda: losses.nll(X, [0.0, 1.0]), DTypeError, "labels of integers, got float64"),
        (lambda: losses.softmax_cross_entropy(X, [True, False]), DTypeError, "labels of integers, got bool"),
        (lambda: losses.softmax_cross_entropy(X, [0]), ShapeError, r"one label for each row, shape \(2,\), got \(1,\)"),
        (lambda: losses.softmax_cross_entropy(X, np.zeros((2, 4))), ShapeError, r"shape \(2, 3\), got \(2, 4\)"),
        (lambda: losses.softmax_cross_entropy(np.float64(0), 0), ShapeError, "last axis of classes"),
        (lambda: losses.softmax_cross_entropy(np.zeros((2, 0)), [0, 0]), ShapeError, "last axis of classes"),
        (lambda: losses.softmax_cross_entropy(X, [0, 1], label_smoothing=2), OptionError, "smoothing from 0 to 1"),
        (lambda: losses.softmax_cross_entropy(X, [0, 1], reduction="avg"), OptionError, "'mean', 'sum' or 'none'"),
        (lambda: losses.mse(np.zeros((2, 1)), np.zeros(2)), ShapeError, r"shape \(2, 1\), got \(2,\); reshape"),
        (lambda: losses.mae(X, X[0]), ShapeError, "mae: "),
        (lambda: losses.huber(X, X, delta=0), OptionError, "delta above 0, got 0"),
        (lambda: losses.hinge(X, X), OptionError, "2 \\* labels - 1"),
        (lambda: losses.multiclass_hinge(X, [0, 5]), OptionError, "multiclass_hinge: expected labels"),
        (lambda: losses.kl_divergence(X, X[:1]), ShapeError, "kl_divergence: "),
        (lambda: losses.mse(tgl.tensor(X, dtype="float32"), X), DTypeError, "float32 .* and float64"),
    ],
)
def test_wrong_arguments_are_refused_with_a_clear_message(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_every_loss_is_registered_under_its_own_name() -> None:
    assert [*registry.losses] == sorted([*LOOPS, *ELEMENTS])
    for name, loss in registry.losses.items():
        assert loss is getattr(losses, name)
        assert registry.losses.name_of(loss) == name


@pytest.mark.parametrize("name", [*LOOPS, *ELEMENTS])
def test_without_examples_the_mean_is_refused_and_the_sum_is_0(name: str) -> None:
    loss, kind = registry.losses[name], LOOPS.get(name, (None, "numbers"))[1]
    x = tgl.tensor(np.zeros((0, 3)), requires_grad=True)
    target = np.zeros(0, int) if kind == "labels" else np.zeros((0, 3))
    with pytest.raises(ShapeError, match="expected at least one example to take the mean over, got losses of shape"):
        loss(x, target)
    total = loss(x, target, reduction="sum")
    total.backward()
    assert total.item() == 0
    assert x.grad.shape == (0, 3)
    assert loss(x, target, reduction="none").size == 0
