"""Compiled convolutions, by each of their algorithms, compared with the reference in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.autograd.settings import using
from tinygrad_lab.errors import OptionError
from tinygrad_lab.kernels import using_threads, using_tiles
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.windows import places

pytest.importorskip("numba")

OPS = (conv2d, conv2d_relu, conv2d_grad_x, conv2d_grad_w)
pads = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2)
channels = st.sampled_from([1, 2, 3, 5, 16, 17, 33, 70])


class Case:
    """Arrays for a convolution and its gradients."""

    def __init__(self, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        self.x, self.w, self.b = (rng.standard_normal(shape, np.float32) for shape in (x, w, w[-1]))
        self.size, self.kernel_size = x[1:3], w[:2]
        size = places(self.size, self.kernel_size, stride, padding, dilation)
        self.g = rng.standard_normal((x[0], *size, w[-1]), np.float32)

    def calls(self, change: Any = lambda array: array) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
        """Return each primitive with its arguments; `change` is applied to every array."""
        x, w, b, g = map(change, (self.x, self.w, self.b, self.g))
        arguments = [
            ((x, w, b), {}),
            ((x, w, b), {}),
            ((g, w), {"size": self.size}),
            ((x, g), {"kernel_size": self.kernel_size}),
        ]
        return [(op, a, {**more, **self.options}) for op, (a, more) in zip(OPS, arguments, strict=True)]

    def results(self, change: Any = lambda array: array) -> list[Any]:
        """Return the results of the compiled kernels."""
        with using(providers=frozenset({"numba"})):
            return [op(*arrays, **options) for op, arrays, options in self.calls(change)]

    def check(self) -> None:
        """Compare the compiled kernels with the reference."""
        for result, (op, arrays, options) in zip(self.results(), self.calls(np.float64), strict=True):
            reference = op.forward(np, *arrays, **options)
            assert result.dtype == np.float32
            assert result.shape == reference.shape
            spread = np.sqrt(op.forward(np, *(a**2 for a in arrays), **options).max())  # of sums of random terms
            assert np.abs(result - reference).max() <= op.kernels[0].error_bound * spread, op


@st.composite
def cases(draw: st.DrawFn, side: int = 0) -> Case:
    kernel_size = (side, side) if side else draw(st.tuples(st.integers(1, 7), st.integers(1, 4)))
    ones = st.just((1, 1)) if side else st.tuples(st.integers(1, 3), st.integers(1, 3))
    stride, dilation, padding = draw(ones), draw(ones), draw(pads)
    groups = 1 if side else draw(st.sampled_from([1, 1, 2, 3]))
    size = [(k - 1) * d + draw(st.integers(1, 13)) for k, d in zip(kernel_size, dilation, strict=True)]
    inputs, outputs = draw(channels), draw(channels)
    x, w = (draw(st.integers(1, 6)), *size, groups * inputs), (*kernel_size, inputs, groups * outputs)
    return Case(x, w, stride, padding, dilation, groups, draw(st.integers(0, 999)))


@given(case=cases())
def test_the_chosen_algorithm(case: Case) -> None:
    case.check()


@given(case=cases())
def test_the_direct_algorithm(case: Case) -> None:
    with using_tiles(0):
        case.check()


LONG = [(3, 2), (3, 5), (4, 5), (2, 7)]  # each size compiles its own transforms


@pytest.mark.parametrize(
    ("m", "r"), [(2, 3), (4, 3), *(pytest.param(*size, marks=pytest.mark.slow) for size in LONG)]
)
@given(data=st.data())
def test_the_winograd_algorithm(m: int, r: int, data: st.DataObject) -> None:
    case = data.draw(cases(side=r))
    with using_tiles(m):
        case.check()


LARGE = [
    ((2, 40, 37, 24), (3, 3, 24, 48), (1, 1), 1),  # several blocks an image, border tiles
    ((5, 12, 12, 160), (3, 3, 160, 136), (1, 1), 1),  # many channels: sums tile product by product
    ((1, 60, 61, 40), (5, 5, 40, 20), (2, 3), 1),  # bands of an image
    ((70, 4, 4, 8), (3, 3, 2, 80), (1, 1), 4),  # several images a block
    ((6, 5, 5, 30), (5, 5, 30, 70), (1, 1), 1),  # one window: a matrix product
]


@pytest.mark.parametrize(("x", "w", "stride", "groups"), LARGE)
def test_convolutions_of_several_blocks(x: Any, w: Any, stride: Any, groups: int) -> None:
    padding = ((0, 0), (0, 0)) if x[1:3] == w[:2] else ((1, 2), (0, 1))
    Case(x, w, stride, padding, (1, 1), groups, 0).check()


@pytest.mark.parametrize(("x", "w", "stride", "groups"), LARGE)
@pytest.mark.parametrize("m", [0, 3])
def test_results_do_not_depend_on_the_number_of_threads(x: Any, w: Any, stride: Any, groups: int, m: int) -> None:
    case = Case(x, w, stride, ((1, 1), (1, 1)), (1, 1), groups, 0)
    found = []
    for threads in (1, 2, 3):
        with using_tiles(m), using_threads(threads):
            found.append(case.results())
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def locked(array: Any) -> Any:
    array = array.copy()
    array.flags.writeable = False
    return array


def scattered(array: Any) -> Any:
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::-2] = array
    return wide[..., ::-2]


@pytest.mark.parametrize("change", [locked, scattered, np.asfortranarray])
@pytest.mark.parametrize("m", [0, 2])
def test_results_do_not_depend_on_the_layout_of_arrays(change: Any, m: int) -> None:
    case = Case((2, 9, 8, 5), (3, 3, 5, 20), (1, 1), ((1, 1), (0, 2)), (1, 1), 1, 0)
    with using_tiles(m):
        for plain, changed in zip(case.results(), case.results(change), strict=True):
            np.testing.assert_array_equal(plain, changed)


@pytest.mark.parametrize("m", [0, 4])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_reach_the_results(m: int, bad: float) -> None:
    case = Case((1, 12, 12, 3), (3, 3, 3, 4), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, 0)
    case.x[0, 5, 6, 1] = case.g[0, 3, 3, 2] = bad
    with using_tiles(m):
        forward, clipped, grad_x, grad_w = case.results()
    seen = forward[0, 4:7, 5:8]
    assert not np.isfinite(seen).any()
    if np.isnan(bad):
        assert np.isnan(clipped[0, 4:7, 5:8]).all()  # ReLU lets NaN through
    assert not np.isfinite(grad_x[0, 2:5, 2:5]).any()
    assert not np.isfinite(grad_w[:, :, 1]).any()
    assert not np.isfinite(grad_w[..., 2]).any()
    assert np.isfinite(forward[0, 9:]).all()  # in other tiles


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_other_dtypes_do_not_use_the_compiled_kernels(dtype: Any) -> None:
    case = Case((1, 5, 5, 2), (3, 3, 2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, 0)
    calls = [op.kernels[0].calls for op in OPS]
    for op, arrays, options in case.calls(lambda a: a.astype(dtype)):
        if op is not conv2d_relu or dtype != np.complex128:
            assert op(*arrays, **options).dtype == dtype
    assert [op.kernels[0].calls for op in OPS] == calls


def test_an_unknown_tile_size_is_refused() -> None:
    with pytest.raises(OptionError, match="using_tiles: expected 0 to 7"), using_tiles(8):
        pass
