"""The operations that docs/howto/write_an_operation.md defines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.autograd.conftest import Make, host
from tests.ops.test_operations import differences
from tinygrad_lab.errors import GradientError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "write_an_operation.md"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The names that the page's code defines."""
    names: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        if ">>>" not in code:
            exec(compile(code, str(PAGE), "exec"), names)
    return names


def test_log_cosh_does_not_overflow(page: dict[str, Any], make: Make) -> None:
    x = make([-800.0, 0.0, 800.0])
    np.testing.assert_allclose(host(page["log_cosh"](x)), [800 - np.log(2), 0.0, 800 - np.log(2)])
    assert host(tgl.grad(lambda x: tgl.sum(page["log_cosh"](x)))(x)).tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_log_cosh_and_its_derivatives(page: dict[str, Any], make: Make, scale: float) -> None:
    x, op = np.array([-1.5, 0.3, 2.0]), page["log_cosh"]
    np.testing.assert_allclose(host(op(make(x), scale=scale)), scale * np.log(np.cosh(x / scale)), rtol=1e-12)
    first = tgl.grad(lambda x: tgl.sum(op(x, scale=scale)))
    np.testing.assert_allclose(host(first(make(x))), np.tanh(x / scale), rtol=1e-12)
    second = tgl.grad(lambda x: tgl.sum(first(x)))
    np.testing.assert_allclose(host(second(make(x))), (1 - np.tanh(x / scale) ** 2) / scale, rtol=1e-11)


def test_one_rule_for_two_arguments_of_different_shapes(page: dict[str, Any], make: Make) -> None:
    x, y = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([0.5, -1.0])
    gx, gy = tgl.grad(lambda x, y: tgl.sum(page["squared_distance"](x, y)), (0, 1))(make(x), make(y))
    np.testing.assert_allclose(host(gx), 2 * (x - y))
    np.testing.assert_allclose(host(gy), -2 * (x - y).sum(0))
    (h,) = tgl.hvp(lambda y: tgl.sum(page["squared_distance"](make(x), y) ** 2), (make(y),), (make([1.0, 0.0]),))
    np.testing.assert_allclose(host(h), [12 * ((x - y)[:, 0] ** 2).sum(), 0.0])


def test_several_results_have_second_derivatives(page: dict[str, Any], make: Make) -> None:
    x = np.array([[0.5, -1.0, 2.0], [1.0, 1.0, 3.0]])
    weights = np.array([[1.0, 2.0, -1.0], [0.5, -2.0, 1.0]])

    def scalar(x: Any) -> Any:
        out, norm = page["normalize"](x)
        return tgl.sum(out**2 * weights) + tgl.sum(norm**3)

    def slope(x: Any) -> Any:
        return tgl.sum(tgl.grad(scalar)(x) * weights)

    np.testing.assert_allclose(tgl.grad(scalar)(x), differences(scalar, [x], 1e-3)[0], rtol=1e-8)
    np.testing.assert_allclose(tgl.grad(slope)(x), differences(slope, [x], 1e-3)[0], rtol=1e-7)
    assert host(tgl.grad(lambda x: tgl.sum(page["normalize"](x)[1]))(make([3.0, 4.0]))).tolist() == [0.6, 0.8]


def test_a_rule_that_does_not_sum_to_the_shape_is_an_error(make: Make) -> None:
    @tgl.primitive
    def product(xp: Any, x: Any, y: Any) -> Any:
        return x * y

    product.defvjp(x=lambda g, y: g * y, y=lambda g, x: g * x)
    expected = r"expected \(2,\) float64, got \(3, 2\) float64.*is sum_to or astype missing"
    with pytest.raises(GradientError, match=expected):
        tgl.grad(lambda x: tgl.sum(product(x, make(np.ones((3, 2))))))(make([1.0, 2.0]))
