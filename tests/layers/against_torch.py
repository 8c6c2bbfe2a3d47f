"""Comparison of a layer with PyTorch's function on the same numbers: results and all gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl

TOLERANCE = {"float32": 2e-5, "float64": 1e-11}


def planes_first(x: Any) -> Any:
    """Convert (N, H, W, C) to PyTorch's (N, C, H, W)."""
    return x.permute(0, 3, 1, 2)


def planes_last(y: Any) -> Any:
    """Convert PyTorch's (N, C, H, W) to (N, H, W, C)."""
    return y.permute(0, 2, 3, 1)


def filters_out_first(w: Any) -> Any:
    """Convert (kh, kw, in, out) to PyTorch's (out, in, kh, kw)."""
    return w.permute(3, 2, 0, 1)


def compare(layer: tgl.Layer, theirs: Callable[..., Any], shape: tuple[int, ...], dtype: str = "float64") -> None:
    """Compare a layer with ``theirs(x, **parameters)`` on tensors of this project's layout."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    layer.astype(dtype)
    for parameter in layer.parameters().values():
        parameter.assign(rng.normal(size=parameter.shape).astype(dtype))
    x = tgl.tensor(rng.normal(size=shape).astype(dtype), requires_grad=True)
    y = layer(x)
    g = rng.normal(size=y.shape).astype(dtype)
    y.backward(g)
    leaves = {path: torch.tensor(p.numpy().copy(), requires_grad=True) for path, p in layer.parameters().items()}
    leaf = torch.tensor(x.numpy().copy(), requires_grad=True)
    expected = theirs(leaf, **leaves)
    expected.backward(torch.tensor(g))
    near = TOLERANCE[dtype]
    pairs = [(y, expected.detach()), (x.grad, leaf.grad)]
    pairs += [(p.grad, leaves[path].grad) for path, p in layer.parameters().items()]
    for ours, peer in pairs:
        np.testing.assert_allclose(ours.numpy(), peer.numpy(), rtol=near, atol=near * max(1.0, float(peer.abs().max())))
