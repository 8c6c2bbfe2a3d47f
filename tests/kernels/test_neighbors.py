"""Convolutions that compute neighboring outputs at once agree with those that compute them one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.autograd.settings import using
from tinygrad_lab.kernels import cost_model, using_tiles
from tinygrad_lab.kernels.neighbors import beside, gather, widen
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x


@given(m=st.integers(1, 4), stride=st.integers(1, 3), columns=st.integers(1, 4), seed=st.integers(0, 99))
def test_wide_filters_compute_neighboring_outputs(m: int, stride: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w, across = rng.standard_normal((2, columns, 3, 5)), 2 * m
    x = rng.standard_normal((2, 4, (across - 1) * stride + columns, 3))
    y = conv2d.forward(np, x, w, None, stride=(1, stride), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1)
    wide = conv2d.forward(
        np, x, widen(w, m, stride), None, stride=(1, m * stride), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1
    )
    np.testing.assert_allclose(wide, beside(y, m), atol=1e-12)


@given(m=st.integers(1, 4), stride=st.integers(1, 3), columns=st.integers(1, 4), seed=st.integers(0, 99))
def test_gather_is_the_adjoint_of_widen(m: int, stride: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((2, columns, 3, 5))
    wide = widen(w, m, stride)
    v = rng.standard_normal(wide.shape)
    assert np.vdot(wide, v) == pytest.approx(np.vdot(w, gather(v, m, stride, columns)))


@pytest.mark.parametrize("provider", ["numpy", "numba"])
@pytest.mark.parametrize("stride", [1, 2])
def test_kernels_that_compute_four_outputs_at_once(provider: str, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if provider == "numba":
        pytest.importorskip("numba")
    monkeypatch.setattr(cost_model, "direct_cost", lambda shape, rates, *, m=1, stride=1: -m)
    cost_model.choose_neighbors.cache_clear()
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s, np.float32) for s in ((3, 7, 8 * stride, 3), (3, 3, 3, 2), (2,)))
    options: dict[str, Any] = {"stride": (1, stride), "padding": ((1, 0), (1, 1)), "dilation": (1, 1), "groups": 1}
    g = rng.standard_normal((3, 6, 8, 2), np.float32)
    with using(providers=frozenset({provider})), using_tiles(0):
        for op, arrays, more in (
            (conv2d, (x, w, b), {}),
            (conv2d_grad_x, (g, w), {"size": x.shape[1:3]}),
            (conv2d_grad_w, (x, g), {"kernel_size": (3, 3)}),
        ):
            result, reference = op(*arrays, **more, **options), op.forward(np, *arrays, **more, **options)
            np.testing.assert_allclose(result, reference, rtol=1e-4, atol=1e-4)
    cost_model.choose_neighbors.cache_clear()


def test_outputs_of_many_channels_are_computed_one_by_one() -> None:
    shape = cost_model.ConvolutionShape(
        images=64, out_height=12, out_width=12, kernel_size=(3, 3), inputs=64, outputs=64
    )
    assert cost_model.choose_neighbors(shape) == 1
    assert cost_model.choose_neighbors(shape, cost_model.ARRAYS) == 1
