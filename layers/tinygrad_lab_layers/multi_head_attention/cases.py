"""The valid uses of `MultiHeadAttention`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, Law, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw more queries than keys, fewer, or as many; and a mask, which may hide all keys."""
    heads, width = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    options = {
        "causal": draw(st.booleans()),
        "bias": draw(st.booleans()),
        "init": draw(st.sampled_from(("glorot_uniform", 0.5))),
    }
    batch, queries, keys = draw(strategies.batch_sizes(2)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shapes = ((batch, length, heads * width) for length in (queries, keys, keys))
    mask = (Input((batch, keys), kind="constant", values=(0.0, 1.0)),) if draw(st.booleans()) else ()
    inputs = (*(Input(shape) for shape in shapes), *mask)
    return Case(args=(heads * width, heads), options=options, inputs=inputs)


def affine(layer: Any, name: str, x: Any) -> Any:
    """Return x W + b of one of the four products, for one row."""
    weight, bias = layer.state()[f"{name}.weight"], layer.state().get(f"{name}.bias")
    sums = [sum(x[i] * weight[i, j] for i in range(len(x))) for j in range(len(x))]
    return np.array(sums) + (0.0 if bias is None else bias)


def reference(layer: Any, query: Any, key: Any, value: Any, mask: Any = None) -> Any:
    """Return the weighted means, query by query and head by head."""
    config, out = layer.config(), np.zeros(query.shape)
    width = config["features"] // config["heads"]
    for n, t in np.ndindex(query.shape[:2]):
        q = affine(layer, "query", query[n, t])
        seen = [
            j for j in range(key.shape[1]) if (j <= t or not config["causal"]) and (mask is None or mask[n, j] != 0)
        ]
        ks, vs = ([affine(layer, name, x[n, j]) for j in seen] for name, x in (("key", key), ("value", value)))
        gathered = np.zeros(query.shape[2])
        for start in range(0, query.shape[2], width):
            part = slice(start, start + width)
            weights = [math.exp(sum(q[part] * k[part]) / math.sqrt(width)) for k in ks]
            if seen:
                gathered[part] = sum(w * v[part] for w, v in zip(weights, vs, strict=True)) / sum(weights)
        out[n, t] = affine(layer, "output", gathered)
    return out


def order_of_keys(layer: Any, query: Any, key: Any, value: Any, *mask: Any) -> float:
    """Return how much reversing the order of keys, values and mask changes the result of a layer that is not causal."""
    if layer.causal:
        return 0.0
    turned = layer(query, *(x[:, ::-1] for x in (key, value, *mask)))
    return float(np.abs((turned - layer(query, key, value, *mask)).numpy()).max(initial=0.0))


def padding(layer: Any, query: Any, key: Any, value: Any, *mask: Any) -> float:
    """Return how much another key and value at the end change the result if the mask hides them."""
    seen = mask[0] if mask else np.ones(key.shape[:2], key.dtype)
    other = np.full_like(key[:, :1], 3.0)
    pairs = ((key, other), (value, other), (seen, np.zeros_like(seen[:, :1])))
    longer = (np.concatenate(pair, axis=1) for pair in pairs)
    return float(np.abs((layer(query, *longer) - layer(query, key, value, *mask)).numpy()).max(initial=0.0))


def causal(layer: Any, query: Any, key: Any, value: Any, *mask: Any) -> float:
    """Return how much other keys and values at the last position change the results of earlier queries."""
    if not layer.causal:
        return 0.0
    last = np.arange(key.shape[1])[:, None] == key.shape[1] - 1
    other = layer(query, key + last, value - last, *mask)
    return float(np.abs((other - layer(query, key, value, *mask))[:, : key.shape[1] - 1].numpy()).max(initial=0.0))


def bad(shapes: Any, match: str) -> BadInput:
    """Return wrong inputs of a layer of 4 features and 2 heads."""
    return BadInput(args=(4, 2), inputs=shapes, error=tgl.errors.ShapeError, match=match)


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    laws=(
        "batch_independent",
        Law("order_of_keys", order_of_keys, formula="y(q, P k, P v) = y(q, k, v)"),
        Law("padding", padding, formula="y(q, [k, k'], [v, v'], [m, 0]) = y(q, k, v, m)"),
        Law("causal", causal, formula="y_t depends on k_1 ... k_t and v_1 ... v_t"),
    ),
    bad_inputs=(
        bad(((2, 3, 4), (2, 3, 5), (2, 3, 5)), r"expected a query \(N, Tq, 4\)"),
        bad(((2, 3, 4), (2, 3, 4), (2, 2, 4)), r"\(2, 3, 4\), \(2, 3, 4\) and \(2, 2, 4\)"),
        bad(((2, 3, 4), (1, 3, 4), (1, 3, 4)), r"got shapes \(2, 3, 4\), \(1, 3, 4\)"),
        bad(((2, 3, 4), (2, 0, 4), (2, 0, 4)), "Tk > 0"),
        bad(((2, 3, 4), (2, 3, 4), (2, 3, 4), (2, 2)), r"expected a mask \(N, Tk\) == \(2, 3\), got mask.shape"),
        bad(((3, 4), (3, 4), (3, 4)), r"got shapes \(3, 4\)"),
        BadInput(args=(4, 3), error=tgl.errors.OptionError, match="heads that divides 4 features, got 3"),
        BadInput(args=(4, 0), error=tgl.errors.OptionError, match="got 0"),
    ),
)
