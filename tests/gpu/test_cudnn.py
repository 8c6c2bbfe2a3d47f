"""Convolution by cuDNN: the description of arrays, the plans that are refused, and the fallback without cuDNN.

cuDNN itself needs a GPU. Here a substitute reads its operands by the axes and strides that describe them.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gpu.simulated import needs_a_compiler, simulated_gpu
from tests.strict_device import to_device, to_host
from tinygrad_lab.errors import OptionError
from tinygrad_lab.kernels.cupy import cudnn, using_gpu_options
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.windows import places

pytestmark = needs_a_compiler  # for bias and ReLU


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    kernel_size = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(2))
    groups = draw(st.integers(1, 2))
    size = [draw(st.integers(5, 7)) for _ in range(2)]
    x = rng.uniform(-1, 1, (draw(st.integers(1, 2)), *size, 2 * groups)).astype("float32")
    w = rng.uniform(-1, 1, (*kernel_size, 2, 3 * groups)).astype("float32")
    how = {"stride": draw(st.tuples(st.integers(1, 2), st.integers(1, 2))), "padding": padding}
    return x, w, rng.uniform(-1, 1, 3 * groups).astype("float32"), {**how, "dilation": dilation, "groups": groups}


@given(convolutions(), st.booleans())
def test_operands_match_their_description(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]], with_bias: bool
) -> None:
    x, w, b, how = case
    size = places(x.shape[1:3], w.shape[:2], how["stride"], how["padding"], how["dilation"])
    g = np.random.default_rng(0).uniform(-1, 1, (len(x), *size, w.shape[3])).astype("float32")
    bias = b if with_bias else None
    calls = [
        (conv2d, (x, w, bias), {}),
        (conv2d_relu, (x, w, bias), {}),
        (conv2d_grad_x, (g, w), {"size": x.shape[1:3]}),
        (conv2d_grad_w, (x, g), {"kernel_size": w.shape[:2]}),
    ]
    with simulated_gpu():
        for primitive, arrays, more in calls:
            there = [None if a is None else to_device(a) for a in arrays]
            got = to_host(primitive(*there, **more, **how))
            np.testing.assert_allclose(got, primitive.forward(np, *arrays, **more, **how), atol=2e-5)
        assert len(cudnn._PLANS) == 3, "ReLU and bias share the convolution's plan"


def test_operands_at_unaligned_addresses_are_copied() -> None:
    """cuDNN reads 16 bytes at once, but a part of an array may begin anywhere."""
    x, w = np.random.default_rng(0).uniform(-1, 1, (3, 3, 3, 1)).astype("float32"), np.ones((2, 2, 1, 1), "float32")
    with simulated_gpu():
        whole = to_device(x)
        for first in range(3):  # 36 bytes apart
            got = to_host(conv2d(whole[first:], to_device(w), None))
            np.testing.assert_allclose(got, conv2d.forward(np, x[first:], w, None), rtol=1e-6)


def test_without_cudnn_the_reference_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, w, b = (rng.uniform(-1, 1, shape).astype("float32") for shape in ((1, 5, 5, 2), (3, 3, 2, 4), (4,)))
    expected = conv2d.forward(np, x, w, b)
    with simulated_gpu(with_cudnn=False):
        np.testing.assert_array_equal(to_host(conv2d(to_device(x), to_device(w), to_device(b))), expected)
        assert not cudnn._PLANS
    with simulated_gpu():  # cuDNN is installed but has no plan
        monkeypatch.setattr(cudnn, "_made", lambda problem: None)
        there = [to_device(a) for a in (x, w, b)]
        np.testing.assert_array_equal(to_host(conv2d(*there)), expected)
        g = there[0][:, :3, :3, :1] * there[2]
        for got, reference in (
            (conv2d_grad_x(g, there[1], size=(5, 5)), conv2d_grad_x.forward(np, to_host(g), w, size=(5, 5))),
            (
                conv2d_grad_w(there[0], g, kernel_size=(3, 3)),
                conv2d_grad_w.forward(np, x, to_host(g), kernel_size=(3, 3)),
            ),
        ):
            np.testing.assert_array_equal(to_host(got), reference)


def test_each_combination_of_options_has_a_plan() -> None:
    x, w = to_device(np.ones((1, 4, 4, 2), "float32")), to_device(np.ones((3, 3, 2, 2), "float32"))
    with simulated_gpu():
        for products in ("float32", "tf32", "bf16"):
            with using_gpu_options(products=products):
                conv2d(x, w, None)
        with using_gpu_options(plans="fastest"):
            conv2d(x, w, None)
        found = [(p.dtype, p.products, p.plans) for p in cudnn._PLANS]
    assert found == [
        ("float32", "float32", "deterministic"),
        ("float32", "tf32", "deterministic"),
        ("bfloat16", "bf16", "deterministic"),
        ("float32", "float32", "fastest"),
    ]


def test_factors_are_rounded_to_bfloat16_and_the_result_is_float32() -> None:
    x = np.full((1, 1, 1, 1), 1.0 + 2.0**-9, "float32")  # rounds to 1
    w = np.full((1, 1, 1, 1), 1.5, "float32")
    with simulated_gpu(), using_gpu_options(products="bf16"):
        out = conv2d(to_device(x), to_device(w), None)
    assert out.dtype == np.float32
    assert to_host(out).item() == 1.5


def test_unknown_options_are_refused() -> None:
    with pytest.raises(OptionError, match="the option `products` to be one of"), using_gpu_options(products="fp8"):
        pass
    with pytest.raises(OptionError, match="the option `plans` to be one of"), using_gpu_options(plans="random"):
        pass


class Notes:
    """The names of cuDNN's numerical notes."""

    DOWN_CONVERT_INPUTS, REDUCED_PRECISION_REDUCTION, TENSOR_CORE, NONDETERMINISTIC = "drtn"


PROBLEM = cudnn.Problem(
    "forward", "float32", (2, 8, 8, 4), (6, 3, 3, 4), (2, 8, 8, 6), (1, 1), (1, 1), (1, 1), "float32", "deterministic"
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "dnrt"),
        ({"products": "tf32"}, "dnr"),
        ({"dtype": "float16"}, "dnr"),
        ({"plans": "fastest"}, "drt"),
    ],
)
def test_plans_that_round_or_vary_are_refused(
    changes: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cudnn", type("module", (), {"numerical_note": Notes}))
    assert "".join(sorted(cudnn._unwanted(PROBLEM._replace(**changes)))) == expected


@pytest.mark.parametrize("kind", ["forward", "grad_x", "grad_w"])
def test_the_frontend_takes_the_graph_and_infers_the_same_axes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cudnn", reason="needs nvidia-cudnn-frontend")
    monkeypatch.setattr(cudnn, "handle", lambda: None)
    _, operands = cudnn._graph(PROBLEM._replace(kind=kind))
    arrays, _ = cudnn.describe(PROBLEM)
    names = {"forward": "xwy", "grad_x": "ywx", "grad_w": "xyw"}[kind]
    assert [(o.get_dim(), o.get_stride()) for o in operands] == [arrays[name] for name in names]
