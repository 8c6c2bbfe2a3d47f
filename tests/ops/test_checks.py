"""Checks before kernels: every forward refuses wrong shapes and options with the same message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.autograd.dispatch import ShapeCheck
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.errors import DTypeError, LabError, OptionError, ShapeError
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.pooling import (
    max_pool2d,
    max_pool2d_grad,
    max_pool2d_take,
    max_pool2d_values,
    sum_pool2d,
    sum_pool2d_grad,
)

HALVES: dict[str, Any] = {"kernel_size": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
HUGE = HALVES | {"kernel_size": (17, 17)}


def ones(*shape: int) -> Any:
    return np.ones(shape, "float32")


def places(*shape: int) -> Any:
    return np.zeros(shape, "uint8")


x, w = ones(1, 4, 4, 3), ones(1, 1, 3, 4)

MISFITS: list[tuple[Callable[[], Any], type[LabError], str]] = [
    (lambda: conv2d(x, ones(1, 1, 2, 4), None), ShapeError, r"conv2d: expected filters .* w.shape == \(1, 1, 2, 4\)"),
    (lambda: conv2d(ones(8, 32, 17, 16), ones(32, 16, 3, 3), None), ShapeError, r"filters \(kh, kw, C / groups, O\)"),
    (lambda: conv2d(x, w, None, groups=3), ShapeError, "expected groups that divide the channels, got groups=3 and 4"),
    (lambda: conv2d(ones(1, 1, 9, 5), ones(2, 2, 2, 4), None, groups=2), ShapeError, "5 channels in 2 groups"),
    (lambda: conv2d_relu(x, w, ones(1)), ShapeError, r"conv2d_relu: expected a bias of shape \(4,\).* got \(1,\)"),
    (lambda: conv2d(x, w, ones(1, 4)), ShapeError, "expected a bias"),
    (lambda: conv2d(x[0], w, None), ShapeError, r"conv2d: expected images \(N, H, W, C\)"),
    (lambda: conv2d(x, w[0], None), ShapeError, r"expected filters .* got w.shape == \(1, 3, 4\)"),
    (lambda: conv2d(x, ones(5, 1, 3, 4), None), ShapeError, "expected a map of at least 5x1 for the window"),
    (lambda: conv2d(x, w, None, groups=0), OptionError, "expected groups to be an int of at least 1, got 0"),
    (lambda: conv2d(x, w, None, groups=True), OptionError, "expected groups to be an int"),
    (lambda: conv2d(x, w, None, stride=[2, 2]), OptionError, r"expected stride to be a tuple of two ints .*\[2, 2\]"),  # type: ignore[arg-type]
    (lambda: conv2d(x, w, None, stride=(1, 0)), OptionError, "expected stride"),
    (lambda: conv2d(x, w, None, stride=(1, 1 << 70)), OptionError, "expected stride"),
    (lambda: conv2d(x, w, None, dilation=(1,)), OptionError, "expected dilation"),  # type: ignore[arg-type]
    (lambda: conv2d(x, w, None, padding=((0, 0), (-1, 0))), OptionError, r"padding to be \(\(top, bottom\), \(left"),
    (lambda: conv2d(1.0, w, None), DTypeError, "conv2d: expected an array for x, got float"),
    (lambda: conv2d(None, w, None), ShapeError, "expected images"),
    (lambda: conv2d(x, w), DTypeError, r"missing a required (keyword-only )?argument: 'b'"),  # type: ignore[call-arg]
    (lambda: conv2d_grad_x(ones(1, 4, 4, 4), ones(1, 1, 3, 5), size=(4, 4)), ShapeError, r"of shape \(1, 4, 4, 5\)"),
    (lambda: conv2d_grad_x(ones(1, 4, 4, 4), w, size=(4, 5)), ShapeError, r"images of shape \(1, 4, 5, 3\)"),
    (lambda: conv2d_grad_x(ones(1, 4, 4, 4), w, size=4), OptionError, "expected size to be a tuple of two ints"),
    (lambda: conv2d_grad_x(ones(1, 4, 4, 4), w), DTypeError, r"missing a required (keyword-only )?argument: 'size'"),
    (lambda: conv2d_grad_w(x, ones(2, 4, 4, 3), kernel_size=(1, 1)), ShapeError, r"maps of shape \(1, 4, 4, 3\)"),
    (lambda: conv2d_grad_w(x, ones(1, 4, 4, 3), kernel_size=(2, 1)), ShapeError, r"maps of shape \(1, 3, 4, 3\)"),
    (lambda: conv2d_grad_w(x, ones(1, 4, 4, 3), kernel_size=(1, 1), groups=2), ShapeError, "groups=2 and 3 channels"),
    (lambda: max_pool2d(x[0], **HALVES), ShapeError, "max_pool2d: expected images"),
    (lambda: max_pool2d(ones(1, 17, 17, 1), **HUGE), OptionError, "window of at most 256"),
    (lambda: max_pool2d_values(x, **HALVES | {"kernel_size": (5, 5)}), ShapeError, "at least 5x5"),
    (lambda: max_pool2d_grad(ones(1, 2, 2, 3), places(1, 2, 3, 3), size=(4, 4), **HALVES), ShapeError, "an index of"),
    (lambda: max_pool2d_grad(ones(1, 2, 2, 3), places(1, 2, 2, 3), size=(9, 4), **HALVES), ShapeError, "expected maps"),
    (lambda: max_pool2d_take(x, places(1, 3, 2, 3), **HALVES), ShapeError, r"an index of shape \(1, 2, 2, 3\)"),
    (lambda: sum_pool2d(x, **HALVES | {"kernel_size": (0, 1)}), OptionError, "expected kernel_size"),
    (lambda: sum_pool2d_grad(ones(1, 2, 2, 3), size=(4, 9), **HALVES), ShapeError, r"maps of shape \(1, 2, 4, 3\)"),
]  # fmt: skip


@pytest.mark.parametrize("providers", ["", "numpy", "numba"])
@pytest.mark.parametrize(("call", "error", "message"), MISFITS)
def test_wrong_calls_are_refused(call: Callable[[], Any], error: type[LabError], message: str, providers: str) -> None:
    with using(providers=frozenset({providers})), pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("providers", ["", "numpy", "numba"])
def test_an_index_beyond_the_window_gets_no_gradient(providers: str) -> None:
    index = np.full((1, 2, 2, 3), 200, "uint8")
    with using(providers=frozenset({providers})):
        assert not max_pool2d_grad(ones(1, 2, 2, 3), index, size=(4, 4), **HALVES).any()


def checked() -> tuple[Any, list[Any]]:
    """Return a primitive with a check, and the list of the check's arguments."""
    seen: list[Any] = []

    @tgl.primitive
    def scaled(xp: Any, x: Any, y: Any, *, by: Any = 1) -> Any:
        return x * by

    @scaled.check
    def rule(op: Any, x: Any, y: Any, *, by: Any = 1) -> None:
        seen.append((x, y, by))
        if type(by) is not int:
            raise OptionError(f"{op}: expected an int, got {by!r}")

    return scaled, seen


def test_a_check_gets_shapes_and_runs_once_for_equal_arguments() -> None:
    scaled, seen = checked()
    for _ in range(3):
        assert scaled(ones(2), None, by=1).tolist() == [1, 1]
    assert seen == [((2,), None, 1)]
    scaled(ones(3), None, by=1)
    scaled(tgl.tensor(ones(3)), ones(1), by=1)
    assert seen[1:] == [((3,), None, 1), ((3,), (1,), 1)]


@pytest.mark.parametrize("by", [1.0, True, np.int64(1), "1", np.ones(())])
def test_options_of_other_types_are_checked_even_if_they_are_equal(by: Any) -> None:
    scaled, _ = checked()
    scaled(ones(2), None, by=1)
    for _ in range(2):
        with pytest.raises(OptionError, match="scaled: expected an int"):
            scaled(ones(2), None, by=by)


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShapeCheck, "MOST", 4)
    scaled, seen = checked()
    for n in range(20):
        scaled(ones(n), None)
    assert len(seen) == 20
    assert len(scaled.shape_check.passed) <= 4
