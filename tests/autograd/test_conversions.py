"""Conversions that would leave the tape silently are refused, and arrays on the tape cannot change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.errors import DTypeError

F = Callable[[Any], Any]


@pytest.mark.parametrize(
    ("f", "conversion"),
    [
        (lambda x: x * math.sin(x), "float"),
        (lambda x: x * float(x), "float"),
        (lambda x: x * float(x * x), "float"),
        (lambda x: x * int(x), "int"),
        (lambda x: x * complex(x).real, "complex"),
    ],
)
def test_converting_a_tracked_value_inside_a_transform_is_refused(f: F, conversion: str) -> None:
    transforms: list[F] = [
        tgl.grad(f), tgl.value_and_grad(f), lambda x: tgl.vjp(f, x), lambda x: tgl.jvp(f, x, x), tgl.jacobian(f),
        tgl.hessian(f), lambda x: tgl.hvp(f, x, x), tgl.grad(tgl.grad(f)),
        lambda x: tgl.grad(f)(tgl.tensor(x, requires_grad=True)),
    ]  # fmt: skip
    for transform in transforms:
        with pytest.raises(DTypeError, match=rf"{conversion}\(\): expected a constant inside a transform"):
            transform(np.array(1.5))


def test_writing_a_tracked_value_into_an_array_is_refused() -> None:
    def f(a: Any) -> Any:
        b = np.ones(3)
        b[0] = a[0] * 2
        return tgl.sum(a * b)

    with pytest.raises((DTypeError, ValueError)):
        tgl.grad(f)(np.ones(3))


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (lambda x: x * x if x > 0 else -x, 4.0),
        (lambda x: x * x if x else -x, 4.0),
        (lambda x: x * float(tgl.stop_gradient(x)), 2.0),
        (lambda x: x * x.item(), 2.0),
        (lambda x: x * float(tgl.tensor(3.0)), 3.0),
        (lambda x: x * int(x > 1), 1.0),
    ],
)
def test_control_flow_and_constants_may_use_python_numbers(f: F, slope: float) -> None:
    assert tgl.grad(f)(2.0) == slope


def test_values_under_no_grad_inside_a_transform_are_constants() -> None:
    def f(x: Any) -> Any:
        with tgl.no_grad():
            factor = float(x * 3)
        return x * factor

    assert tgl.grad(f)(2.0) == 6.0


def test_a_tracked_value_outside_of_transforms_converts_to_a_number() -> None:
    """A training loop reads its loss this way."""
    x = tgl.tensor(2.0, requires_grad=True)
    loss = x * x
    assert (float(loss), int(loss), complex(loss), loss.item(), f"{loss:.1f}") == (4.0, 4, 4 + 0j, 4.0, "4.0")
    loss.backward()
    tgl.grad(lambda y: y * y)(1.0)
    assert float(x * 3) == 6.0


def test_vjp_copies_its_arguments() -> None:
    a, tree = np.full(3, 3.0), {"a": np.full(2, 2.0)}
    _, pull = tgl.vjp(lambda a, tree: tgl.sum(a * a) + tgl.sum(tree["a"] ** 3), a, tree)
    a[:], tree["a"][:] = 0.0, 0.0
    by_a, by_tree = pull(np.array(1.0))
    assert by_a.tolist() == [6.0] * 3
    assert by_tree["a"].tolist() == [12.0] * 2


def test_vjp_does_not_copy_read_only_arrays() -> None:
    a = np.ones(3)
    a.flags.writeable = False
    seen: list[Any] = []
    tgl.vjp(lambda x: seen.append(x.value) or x, a)  # type: ignore[func-returns-value]
    assert seen[0] is a
