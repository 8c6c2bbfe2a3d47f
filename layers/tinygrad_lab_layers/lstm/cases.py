"""The valid uses of `LSTM`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, Law, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw sequences of one step or a few."""
    features = (draw(strategies.features(1, 3)), draw(strategies.features(1, 3)))
    options = {
        "forget_bias": draw(st.sampled_from((1.0, 0.0))),
        "init": draw(st.sampled_from(("glorot_uniform", 0.5))),
    }
    shape = (draw(strategies.batch_sizes()), draw(st.integers(1, 4)), features[0])
    return Case(args=features, options=options, inputs=(Input(shape),))


def logistic(x: float) -> float:
    """Return 1 / (1 + e^-x)."""
    return 1 / (1 + math.exp(-x))


def reference(layer: Any, x: Any) -> Any:
    """Return the states, unit by unit and step by step."""
    w, u, b = (layer.state()[name] for name in ("input_weight", "state_weight", "bias"))
    units = u.shape[0]
    out = np.zeros((*x.shape[:2], units))
    for n in range(x.shape[0]):
        h, c = [0.0] * units, [0.0] * units
        for t in range(x.shape[1]):
            z = [
                sum(x[n, t, d] * w[d, j] for d in range(w.shape[0])) + sum(h[k] * u[k, j] for k in range(units)) + b[j]
                for j in range(4 * units)
            ]
            for k in range(units):
                i, f, g, o = (z[gate * units + k] for gate in range(4))
                c[k] = logistic(f) * c[k] + logistic(i) * math.tanh(g)
                h[k] = logistic(o) * math.tanh(c[k])
            out[n, t] = h
    return out


def causal(layer: Any, x: Any) -> float:
    """Return how much other inputs at the last step change the states before it."""
    later = x.copy()
    later[:, -1] += 1.0
    return float(np.abs((layer(x) - layer(later))[:, :-1].numpy()).max(initial=0.0))


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    laws=("batch_independent", Law("causal", causal, formula="h_t depends on x_1 ... x_t")),
    bad_inputs=(
        BadInput(args=(3, 2), inputs=((4, 3),), error=tgl.errors.ShapeError, match=r"expected sequences \(N, T, 3\)"),
        BadInput(args=(3, 2), inputs=((4, 5, 2),), error=tgl.errors.ShapeError, match=r"x.shape == \(4, 5, 2\)"),
        BadInput(args=(3, 2), inputs=((4, 0, 3),), error=tgl.errors.ShapeError, match="at least one step"),
        BadInput(args=(3, 0), error=tgl.errors.OptionError, match="in_features and features >= 1, got 3 and 0"),
    ),
)
