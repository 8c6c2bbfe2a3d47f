"""The property `kernels`: the kit compares each kernel with its reference."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.conformance.samples import Elementwise, row_cases
from tests.strict_device import STRICT, StrictArray
from tinygrad_lab.autograd import dispatch
from tinygrad_lab.backend import namespace
from tinygrad_lab.conformance import Case, Input, inspect_layer
from tinygrad_lab.conformance.kinds.optimizers import OPTIMIZER
from tinygrad_lab.conformance.meta.adequacy import demand_reached, kernels_in
from tinygrad_lab.conformance.session import shared_kernels
from tinygrad_lab.conformance.trials.search import Profile
from tinygrad_lab.conformance.trials.verdict import Violation
from tinygrad_lab.kernels.cupy.options import rounding_of_products
from tinygrad_lab.optim.updates import momentum_update


@pytest.fixture(autouse=True)
def _providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the set of providers after each test, so that no other test sees those of this one."""
    monkeypatch.setattr(dispatch, "PROVIDERS", set(dispatch.PROVIDERS))


def headline(
    kernel: Callable[..., Any],
    *,
    error: float | Callable[[], float] = 1e-6,
    when: Callable[..., bool] | None = None,
    least: int = 0,
    provider: str = "numpy",
) -> str:
    """Return the headline of the kit's failure for a kernel of 3 x, or "" if the kernel passes."""

    @tgl.primitive
    def triple(xp: Any, x: Any) -> Any:
        return 3 * x

    triple.defvjp(x=lambda g: triple(g))
    triple.kernel(provider, error_bound=error, when=when, min_size=least)(kernel)
    devices = () if provider == "numpy" else (provider,)

    class Triple(Elementwise):
        def forward(self, x: Any) -> Any:
            return triple(x)

    found = inspect_layer(Triple, row_cases, profile=Profile(shrink=False), devices=devices)
    result = found.properties["kernels"]
    assert result.examples or result.failure or when
    return result.failure.headline if result.failure else ""


def through_memory(x: Any) -> Any:
    """Read the elements in their order in memory."""
    return (3 * x.ravel(order="K")).reshape(x.shape)


def in_place(x: Any) -> Any:
    x.flags.writeable = True
    x *= 3
    return x


def off_beyond_the_first_block(x: Any) -> Any:
    out = 3 * x
    out.reshape(-1)[1 << 17 :] *= x.dtype.type(7)
    return out


def off_when_large(x: Any) -> Any:
    return x * x.dtype.type(3.001 if x.size > 1000 else 3)


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "off": (lambda x: x * x.dtype.type(3.0001), "expected"),
    "off when large": (off_when_large, "expected"),
    "off beyond the first block": (off_beyond_the_first_block, "327680 elements: expected"),
    "of another shape": (lambda x: 3 * x[None], "expected"),
    "in the order of memory": (through_memory, "arguments"),
    "without NaN": (lambda x: 3 * np.nan_to_num(x), "NaN in x is lost"),
    "declared too exact": (lambda x: (3 * x * (1 + 3e-6)).astype(x.dtype), "expected"),
}


@pytest.mark.parametrize("how", WRONG)
def test_wrong_kernels_fail(how: str) -> None:
    kernel, text = WRONG[how]
    found = headline(kernel)
    assert "triple: kernel 'numpy'" in found
    assert text in found


@pytest.mark.slow
def test_right_kernels_pass() -> None:
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


def test_each_kernel_runs_on_several_blocks_once() -> None:
    sizes: list[int] = []

    def kernel(x: Any) -> Any:
        sizes.append(x.size)
        return 3 * x

    assert headline(kernel, least=1 << 18) == ""
    assert 0 < sum(size > 2 << 18 for size in sizes) <= 8  # forwards and backward passes of one case


def test_the_large_batch_is_limited_if_work_grows_with_its_square() -> None:
    sizes: list[int] = []

    @tgl.primitive
    def triple(xp: Any, x: Any) -> Any:
        return 3 * x

    triple.defvjp(x=lambda g: triple(g))

    @triple.kernel("numpy")
    def noted(x: Any) -> Any:
        sizes.append(x.size)
        return 3 * x

    class Pairs(Elementwise):
        def forward(self, x: Any) -> Any:
            return triple(x @ tgl.transpose(x))

        def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
            return (shape[0], shape[0])

    case = Case(inputs=(Input((4, 16)),), seed=1)
    assert inspect_layer(Pairs, row_cases, properties=["kernels"], case=case).passed
    assert 1 << 10 < max(sizes) <= 1 << 20  # with 20,480 rows it would be more than 4 x 10^8


class Gate(Elementwise):
    """A gate of shape (N, C) times maps of shape (N, 1, 1, C). For several images, the result is (N, 1, N, C)."""

    def forward(self, x: Any) -> Any:
        return x * tgl.sigmoid(tgl.mean(x, axis=(1, 2)))


@pytest.mark.parametrize("rows", [1, 3])
def test_shapes_that_broadcast_by_mistake_do_not_fill_memory(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer's `output_shape` is wrong for three rows; for one row it happens to be right."""
    sizes: list[int] = []
    forward = tgl.Tensor.__mul__

    def noted(self: Any, other: Any) -> Any:
        out = forward(self, other)
        sizes.append(out.size)
        return out

    monkeypatch.setattr(tgl.Tensor, "__mul__", noted)
    case = Case(inputs=(Input((rows, 1, 1, 4)),), seed=3)  # with this seed, the case also runs with a large batch
    result = inspect_layer(Gate, properties=["output_shape", "kernels"], case=case, cases=row_cases)
    assert result.properties["output_shape"].passed == (rows == 1)
    assert result.properties["kernels"].passed
    assert max(sizes) <= (64 * rows) ** 2 * 4


def test_a_kernel_that_no_case_reaches_is_an_error() -> None:
    @tgl.primitive
    def triple(xp: Any, x: Any) -> Any:
        return 3 * x

    triple.kernel("numpy")(lambda x: 3 * x)
    known = {id(k): (triple, k) for k in triple.kernels}
    demand_reached(known, set(known))
    with pytest.raises(Violation, match=r"no case reaches the kernel of triple \(numpy\)"):
        demand_reached(known, set())


def in_place_on_a_device(x: Any) -> Any:
    """Write into the array's memory, as a raw kernel can."""
    in_place(x._behind_the_wall)
    return x


def rounded(x: Any) -> Any:
    """3 x with rounded products."""
    return x * x.dtype.type(3 * (1 + 0.5 * rounding_of_products()))


WRONG_ON_A_DEVICE: dict[str, tuple[Callable[..., Any], str]] = {
    **{how: WRONG[how] for how in ("off", "off when large", "of another shape", "in the order of memory")},
    "without NaN": (lambda x: 3 * namespace(x).nan_to_num(x), "NaN in x is lost"),
    "off in float16": (lambda x: x * x.dtype.type(3.1 if x.dtype == "float16" else 3), "expected"),
    "declared too exact": (lambda x: (x * x.dtype.type(3 * (1 + 3e-6))).astype(x.dtype), "expected"),
    "rounding undeclared": (rounded, "expected"),
    "in place": (in_place_on_a_device, "changes an argument"),
}


@pytest.mark.parametrize("how", WRONG_ON_A_DEVICE)
def test_wrong_kernels_of_a_device_fail(how: str) -> None:
    kernel, text = WRONG_ON_A_DEVICE[how]
    found = headline(kernel, provider=STRICT.name)
    assert "triple: kernel 'strict'" in found
    assert text in found


@pytest.mark.slow
def test_right_kernels_of_a_device_pass() -> None:
    widths: set[str] = set()

    def kernel(x: Any) -> Any:
        assert isinstance(x, StrictArray)
        widths.add(x.dtype.name)
        return x + x + x

    assert headline(kernel, provider=STRICT.name) == ""
    assert widths == {"float16", "float32", "float64"}
    assert headline(rounded, error=rounding_of_products, provider=STRICT.name) == ""


def test_the_kernels_of_a_device_must_be_reached() -> None:
    ours = {p.__name__ for p, _ in kernels_in("tinygrad_lab.ops.", [STRICT.name]).values()}
    assert "triple" not in ours
    relu = importlib.import_module("tinygrad_lab.ops.activation").relu
    relu.kernel(STRICT.name, error_bound=0.0)(lambda x: x)
    try:
        (result,) = shared_kernels((), [STRICT.name])
        assert "relu (strict)" in str(result.properties["kernels"].failure)
        assert "relu (strict)" not in str(shared_kernels(())[0].properties["kernels"].failure)
    finally:
        del relu.kernels[0]


def test_wrong_update_kernels_fail() -> None:
    """The kit requires a kernel to change the optimizer's own arrays in place."""
    kernels = momentum_update.kernels

    def kernel(p: Any, g: Any, v: Any, **options: Any) -> Any:
        out = momentum_update.forward(namespace(p), p, g, v, **options)
        v *= 1.001
        return out

    assert OPTIMIZER.inspect("sgd", examples=5).properties["kernels"].failure is None
    kernels.register("numpy", error_bound=1e-6)(kernel)
    try:
        failure = OPTIMIZER.inspect("sgd", examples=5).properties["kernels"].failure
    finally:
        del kernels[0]
    assert failure is not None
    assert "momentum_update: kernel 'numpy'" in failure.headline


def test_a_kernel_that_writes_into_an_argument_fails() -> None:
    assert "changes an argument" in headline(in_place)
