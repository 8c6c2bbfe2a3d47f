"""Kernels: the kit holds each to its reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.conformance.samples import Elementwise, row_cases
from tinygrad_lab.conformance import inspect_layer
from tinygrad_lab.conformance.adequacy import demand_reached
from tinygrad_lab.conformance.search import Profile
from tinygrad_lab.conformance.verdict import Violation


def headline(kernel: Callable[..., Any], *, error: float = 1e-6, when: Callable[..., bool] | None = None) -> str:
    """What the kit says of a kernel of 3 x, or "" if it passes."""

    @tgl.primitive
    def triple(xp: Any, x: Any) -> Any:
        return 3 * x

    triple.defvjp(x=lambda g: triple(g))
    triple.kernel("numpy", error=error, when=when)(kernel)

    class Triple(Elementwise):
        def forward(self, x: Any) -> Any:
            return triple(x)

    result = inspect_layer(Triple, row_cases, profile=Profile(shrink=False)).properties["kernels"]
    assert result.examples or result.failure or when
    return result.failure.headline if result.failure else ""


def through_memory(x: Any) -> Any:
    """Read the elements in the order in which they lie in memory."""
    return (3 * x.ravel(order="K")).reshape(x.shape)


def in_place(x: Any) -> Any:
    x.flags.writeable = True
    x *= 3
    return x


def off_when_large(x: Any) -> Any:
    return x * x.dtype.type(3.001 if x.size > 1000 else 3)


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "off": (lambda x: x * x.dtype.type(3.0001), "expected"),
    "off when large": (off_when_large, "expected"),
    "of another shape": (lambda x: 3 * x[None], "expected"),
    "in the order of memory": (through_memory, "arguments"),
    "without NaN": (lambda x: 3 * np.nan_to_num(x), "NaN in x is lost"),
    "declared too exact": (lambda x: (3 * x * (1 + 3e-6)).astype(x.dtype), "expected"),
}


@pytest.mark.parametrize("how", WRONG)
def test_wrong_kernels(how: str) -> None:
    kernel, text = WRONG[how]
    found = headline(kernel)
    assert "triple: kernel 'numpy'" in found
    assert text in found


def test_right_kernels() -> None:
    assert headline(lambda x: x + x + x) == ""
    rough = 3 * (1 + 1e-6)
    assert headline(lambda x: x * x.dtype.type(rough if x.dtype == "float32" else 3), error=1e-5) == ""


def test_a_kernel_for_large_arrays_is_reached() -> None:
    reached: list[int] = []

    def kernel(x: Any) -> Any:
        reached.append(x.size)
        return 3 * x

    assert headline(kernel, when=lambda x: x.size >= 4096) == ""
    assert max(reached) >= 1 << 14


def test_a_kernel_that_no_case_reaches() -> None:
    @tgl.primitive
    def triple(xp: Any, x: Any) -> Any:
        return 3 * x

    triple.kernel("numpy")(lambda x: 3 * x)
    known = {id(k): (triple, k) for k in triple.kernels}
    demand_reached(known, set(known))
    with pytest.raises(Violation, match=r"no case reaches the kernel of triple \(numpy\)"):
        demand_reached(known, set())


def test_writing_into_an_argument() -> None:
    assert "changes an argument" in headline(in_place)
