"""Tensors: immutability, NumPy's operators and methods, and the repr."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.strict_device import LeakError, StrictArray, to_device, transfers
from tinygrad_lab.errors import DeviceError, DTypeError, GradientError, ShapeError

X = np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.5]])


def leaf(values: Any = X, dtype: str = "float64", device: str = "cpu") -> tgl.Tensor:
    """Return a variable."""
    return tgl.tensor(np.asarray(values, dtype), requires_grad=True, device=device)


# --------------------------------------------------------------------------------------------------------- construction


def test_tensor_copies_its_argument() -> None:
    source = np.array([1.0, 2.0])
    t = tgl.tensor(source)
    source[0] = 99.0
    assert t.numpy().tolist() == [1.0, 2.0]
    again = tgl.tensor(t, requires_grad=True)
    assert again.value is not t.value
    assert again.requires_grad
    assert not t.requires_grad


@pytest.mark.parametrize(
    ("given", "dtype", "shape"),
    [
        ([[1.0, 2.0]], "float64", (1, 2)),
        (3, "int64", ()),
        (2.5, "float64", ()),
        (np.float32(1), "float32", ()),
        ([True], "bool", (1,)),
        ([], "float64", (0,)),
    ],
)
def test_numbers_and_lists_have_the_dtype_of_numpy(given: Any, dtype: str, shape: tuple[int, ...]) -> None:
    t = tgl.tensor(given)
    assert (t.dtype, t.shape, t.ndim, t.device) == (dtype, shape, len(shape), "cpu")
    assert t.size == int(np.prod(shape))


def test_dtype_and_device_can_be_chosen() -> None:
    assert tgl.tensor([1, 2], requires_grad=True, dtype="float32").dtype == "float32"
    there = tgl.tensor([1.0], device="strict")
    assert there.device == "strict"
    assert isinstance(there.value, StrictArray)
    with pytest.raises(DeviceError, match=r"device 'tpu': expected one of \['cpu', 'cuda', 'strict'\]"):
        tgl.tensor([1.0], device="tpu")


def test_the_array_of_numpy_is_read_only() -> None:
    t = tgl.tensor(X)
    with pytest.raises(ValueError, match="read-only"):
        t.numpy()[0] = 0.0
    assert not np.shares_memory(tgl.tensor(X).numpy(), X)


def test_tensors_cannot_be_written() -> None:
    t = leaf()
    with pytest.raises(TypeError, match="tensors are immutable"):
        t[0] = 1.0  # type: ignore[index]  # what the test is about
    with pytest.raises(AttributeError):
        t.name = "x"  # type: ignore[attr-defined]  # slots
    before = t
    t += 1.0  # a new tensor
    assert before.numpy().tolist() == X.tolist()
    assert t is not before


def test_a_tensor_is_not_converted_to_an_array_implicitly() -> None:
    for way in (np.asarray, np.array, lambda t: np.ones(3) @ np.asarray([t])):
        with pytest.raises((DTypeError, TypeError)):
            way(leaf())


# ------------------------------------------------------------------------------------------------------------ operators


BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.floordiv, operator.mod]
COMPARE = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("device", ["cpu", "strict"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", BINARY + COMPARE)
def test_operators_agree_with_numpy(op: Callable[[Any, Any], Any], dtype: str, device: str) -> None:
    """The other side may be a tensor, an array, a number or a list; the width is kept."""
    a, b = np.abs(X).astype(dtype), np.array([2.0, 1.0, 3.0], dtype)
    x, y = leaf(a, dtype, device), leaf(b, dtype, device)
    array = b if device == "cpu" else to_device(b)
    pairs: list[tuple[Any, Any, Any]] = [
        (op(x, y), a, b),
        (op(x, array), a, b),
        (op(x, 2), a, 2),
        (op(2.0, x), 2.0, a),
        (op(x, [2.0, 1.0, 3.0]), a, b),
        (op(x, [2, 1, 3]), a, b),
        (op([2, 1, 3], x), b, a),
    ]
    if device == "cpu":
        pairs.append((op(array, x), b, a))
    for got, left, right in pairs:
        expected = op(left, right)
        assert isinstance(got, tgl.Tensor)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6)


def test_matrix_products_and_unary_operators() -> None:
    t, m = leaf(), leaf(X.T)
    np.testing.assert_allclose((t @ m).numpy(), X @ X.T)
    np.testing.assert_allclose((X @ m).numpy(), X @ X.T)
    np.testing.assert_allclose((t @ X.T).numpy(), X @ X.T)
    assert (-t).numpy().tolist() == (-X).tolist()
    assert (+t) is t
    assert abs(t).numpy().tolist() == np.abs(X).tolist()
    assert (10.0 - t).numpy().tolist() == (10 - X).tolist()
    assert t.T.numpy().tolist() == X.T.tolist()


def test_masks_combine() -> None:
    t = leaf()
    inside = (t > -1.0) & (t < 4.0)
    assert inside.numpy().tolist() == ((X > -1) & (X < 4)).tolist()
    assert ((t < -1.0) | ~inside).numpy().tolist() == ((X < -1) | ~((X > -1) & (X < 4))).tolist()
    assert (inside ^ True).numpy().tolist() == (~inside).numpy().tolist()
    assert (True & inside).numpy().tolist() == inside.numpy().tolist()
    assert t[inside].numpy().tolist() == [1.0, 3.0]
    assert bool(inside.any())
    assert not bool(inside.all())
    assert (tgl.tensor([6]) & 3).numpy().tolist() == [2]
    assert not inside.requires_grad


@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.mod])
def test_operators_have_gradients_on_both_sides(op: Callable[[Any, Any], Any]) -> None:
    a, b, h = 2.25, 1.5, 1e-6
    x, y = leaf(a), leaf(b)
    op(x, y).backward()
    op(x, b).backward()
    op(a, y).backward()
    slope_x, slope_y = (op(a + h, b) - op(a - h, b)) / (2 * h), (op(a, b + h) - op(a, b - h)) / (2 * h)
    assert x.grad is not None
    assert y.grad is not None
    assert float(x.grad) == pytest.approx(2 * slope_x)
    assert float(y.grad) == pytest.approx(2 * slope_y)


# -------------------------------------------------------------------------------------------------------------- methods


METHODS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sum": (lambda t: t.sum(0, keepdims=True), lambda a: a.sum(0, keepdims=True)),
    "mean": (lambda t: t.mean(-1), lambda a: a.mean(-1)),
    "var": (lambda t: t.var(ddof=1), lambda a: a.var(ddof=1)),
    "std": (lambda t: t.std((0, 1)), lambda a: a.std((0, 1))),
    "prod": (lambda t: t.prod(1), lambda a: a.prod(1)),
    "max": (lambda t: t.max(0), lambda a: a.max(0)),
    "min": (lambda t: t.min(), lambda a: a.min()),
    "argmax": (lambda t: t.argmax(1), lambda a: a.argmax(1)),
    "clip": (lambda t: t.clip(0.0, 3.0), lambda a: a.clip(0.0, 3.0)),
    "all": (lambda t: (t > 0.0).all(0), lambda a: (a > 0).all(0)),
    "any": (lambda t: (t > 0.0).any(keepdims=True), lambda a: (a > 0).any(keepdims=True)),
    "reshape": (lambda t: t.reshape(3, -1), lambda a: a.reshape(3, -1)),
    "reshape tuple": (lambda t: t.reshape((6,)), lambda a: a.reshape(6)),
    "transpose": (lambda t: t.transpose(), lambda a: a.T),
    "transpose axes": (lambda t: t.transpose(1, 0), lambda a: a.T),
    "transpose tuple": (lambda t: t.transpose((1, 0)), lambda a: a.T),
    "astype": (lambda t: t.astype("float32"), lambda a: a.astype("float32")),
    "item of an array": (lambda t: t[1, 2:], lambda a: a[1, 2:]),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_agree_with_numpy(name: str) -> None:
    of_tensor, of_array = METHODS[name]
    got, expected = of_tensor(leaf()), of_array(X)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got.numpy(), expected)


def test_tensors_of_one_element_convert_to_numbers() -> None:
    t = leaf([2.5])
    assert (float(t), int(t), t.item(), bool(t)) == (2.5, 2, 2.5, True)
    assert [10, 20, 30][tgl.tensor(1)] == 20
    with pytest.raises(ShapeError, match=r"item: expected one element, got 6 \(shape \(2, 3\)\)"):
        leaf().item()
    with pytest.raises(ValueError, match="ambiguous"):
        bool(leaf())


def test_iterating_over_rows_stays_on_the_tape() -> None:
    t = leaf()
    assert len(t) == 2
    first, second = t
    (first * 2.0 + second).sum().backward()
    assert t.grad is not None
    assert t.grad.numpy().tolist() == [[2.0] * 3, [1.0] * 3]
    with pytest.raises(ShapeError, match="len: expected an axis, got a 0-dimensional tensor"):
        len(leaf(1.0))


def test_tensors_are_dict_keys_by_identity() -> None:
    a, b = leaf([1.0]), leaf([1.0])
    assert {a: "a", b: "b"}[b] == "b"
    assert len({a, b, a}) == 2


# ------------------------------------------------------------------------------------------------------ widths, devices


def test_astype_converts_the_gradient_back() -> None:
    t = leaf(dtype="float32")
    t.astype("float64").sum().backward()
    assert t.grad is not None
    assert t.grad.dtype == "float32"


def test_to_moves_a_tensor_and_its_gradient_back() -> None:
    t, before = leaf(), transfers.copy()
    there = t.to("strict")
    assert there.device == "strict"
    assert there.to("strict") is there
    (there * there).sum().backward()
    assert t.grad is not None
    assert t.grad.device == "cpu"
    assert t.grad.numpy().tolist() == (2 * X).tolist()
    assert transfers - before == {"to the device": 1, "to the host": 1}
    twice = tgl.grad(lambda x: tgl.grad(lambda x: (tgl.tensor(x).to("strict") ** 3).to("cpu").sum())(x).sum())
    assert twice(X).shape == X.shape
    with pytest.raises(DeviceError):
        t.to("tpu")


def test_second_derivatives_across_devices() -> None:
    def f(x: Any) -> Any:
        boxed = x if isinstance(x, tgl.Tensor) else tgl.Tensor(x)
        return (boxed.to("strict") ** 3).to("cpu").sum()

    g = tgl.grad(lambda x: tgl.grad(f)(x).sum())(X)
    np.testing.assert_allclose(g, 6 * X)


def test_a_tensor_of_a_device_is_not_converted_to_numpy() -> None:
    t = leaf(device="strict")
    with pytest.raises((LeakError, DTypeError)):
        np.asarray(t)
    with pytest.raises((LeakError, DTypeError)):
        np.asarray(t.value)
    with pytest.raises(DeviceError, match="add: expected arrays of one device"):
        t + X


# ----------------------------------------------------------------------------------------------------------------- repr


@pytest.mark.parametrize(
    ("t", "text"),
    [
        (tgl.tensor([1.0, 2.0]), "tensor([1. 2.], shape=(2,), dtype=float64, device='cpu')"),
        (tgl.tensor([1, 2]), "tensor([1 2], shape=(2,), dtype=int64, device='cpu')"),
        (
            tgl.tensor(1.0, requires_grad=True),
            "tensor(1.0, shape=(), dtype=float64, device='cpu', requires_grad=True)",
        ),
        (
            tgl.exp(tgl.tensor([0.0], requires_grad=True, dtype="float32")),
            "tensor([1.], shape=(1,), dtype=float32, device='cpu', from exp)",
        ),
        (
            tgl.tensor(np.eye(2), requires_grad=True).reshape(2, 2),
            "tensor([[1. 0.]\n        [0. 1.]], shape=(2, 2), dtype=float64, device='cpu', from reshape)",
        ),
    ],
)
def test_repr_shows_dtype_shape_device_and_operation(t: tgl.Tensor, text: str) -> None:
    assert repr(t) == text


def test_repr_of_another_device() -> None:
    assert "device='strict', from multiply" in repr(leaf(device="strict") * 2.0)


@pytest.mark.parametrize("values", ["a", [None], [{}]])
def test_a_tensor_must_hold_numbers(values: Any) -> None:
    with pytest.raises(DTypeError, match="tensor: expected numbers"):
        tgl.tensor(values)


def test_a_numpy_function_of_a_tensor_runs_the_operation_of_its_name() -> None:
    t = tgl.tensor([0.5, 2.0], requires_grad=True)
    a = np.array([3.0, 4.0])
    for mine, numpys in ((tgl.sin(t), np.sin(t)), (tgl.add(a, t), np.add(a, t)), (tgl.power(a, t), np.power(a, t))):
        assert isinstance(numpys, tgl.Tensor)
        assert numpys.numpy().tolist() == mine.numpy().tolist()
    assert tgl.grad(lambda x: tgl.sum(np.exp(x)))(a).tolist() == np.exp(a).tolist()
    for call in (lambda: np.copysign(a, t), lambda: np.add.reduce(t), lambda: np.add(a, t, out=a)):
        with pytest.raises(DTypeError, match="which it cannot keep on the tape"):
            call()


def test_arrays_taken_out_of_a_tensor_have_no_gradient() -> None:
    with pytest.raises(GradientError, match=r"got outputs of shapes \['float64'\].*values taken with"):
        tgl.grad(lambda x: x.numpy().sum())(np.ones(3))


# -------------------------------------------------------------------------------------------------------------- methods


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, ()) for name in ("abs", "argmin", "argsort", "cos", "cumsum", "exp", "logsumexp", "norm", "prod")),
        *((name, ()) for name in ("relu", "sigmoid", "sin", "softmax", "log_softmax", "square", "squeeze", "tanh")),
        *(("clip", (-1.0, 2.0)), ("repeat", (2,)), ("swapaxes", (0, 1)), ("take", ([1, 0],)), ("var", (1,))),
    ],
)
def test_a_method_agrees_with_the_function_of_its_name(name: str, arguments: tuple[Any, ...]) -> None:
    method, function = getattr(leaf(), name)(*arguments), getattr(tgl, name)(leaf(), *arguments)
    np.testing.assert_array_equal(method.numpy(), function.numpy())
    assert method.requires_grad == function.requires_grad
    assert getattr(tgl.Tensor, name).__doc__ == getattr(tgl, name).__doc__


@pytest.mark.parametrize("name", ["log", "sqrt"])
def test_a_method_records_on_the_tape(name: str) -> None:
    x = leaf([1.0, 4.0])
    getattr(x, name)().sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), {"log": [1.0, 0.25], "sqrt": [0.5, 0.25]}[name])


def test_flatten_ravel_and_tolist() -> None:
    t = tgl.tensor(np.arange(12.0).reshape(2, 3, 2))
    assert [t.flatten(start).shape for start in (0, 1, 3)] == [(12,), (2, 6), (2, 3, 2, 1)]
    assert t.ravel().shape == (12,)
    assert tgl.zeros(0, 3, 2).flatten(1).shape == (0, 6)
    assert t[1].tolist() == [[6.0, 7.0], [8.0, 9.0], [10.0, 11.0]]
    assert tgl.tensor(2.0).tolist() == 2.0
    with pytest.raises(ValueError, match=r"flatten: expected start from 0 to 3, the number of axes, got 4"):
        t.flatten(4)


def test_only_constants_are_converted_to_arrays_implicitly() -> None:
    array = np.asarray(tgl.tensor(X, dtype="float32"))
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, X.astype("float32"))
    assert np.asarray(tgl.tensor(X), "float32").dtype == np.float32
    assert np.mean([tgl.tensor(1.0), tgl.tensor(3.0)]) == 2.0
    for refused in (leaf(), leaf() * 2, tgl.tensor(X, device="strict")):
        with pytest.raises(DTypeError, match=r"is not converted to a NumPy array implicitly; use t.numpy\(\)"):
            np.asarray(refused)
    with pytest.raises(DTypeError, match="is not converted to a NumPy array"):
        tgl.grad(lambda x: np.asarray(x).sum())(X)
