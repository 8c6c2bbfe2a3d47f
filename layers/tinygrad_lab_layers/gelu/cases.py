"""The valid uses of `GELU`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.special import ndtr

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, LayerCases, strategies


def tanh_form(x: float) -> float:
    """Return the approximation by the hyperbolic tangent, as the paper writes it."""
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def reference(layer: Any, x: Any) -> Any:
    """Return x times the normal distribution function."""
    if layer.config()["form"] == "exact":
        return x * ndtr(x)
    return np.array([tanh_form(v) for v in x.flat]).reshape(x.shape)


cases = LayerCases(
    strategies.elementwise(st.fixed_dictionaries({"form": st.sampled_from(("exact", "tanh"))})),
    reference=reference,
    complex_safe=True,
    laws=("elementwise",),
    bad_inputs=(BadInput(options={"form": "erf"}, error=tgl.errors.OptionError, match="'exact' or 'tanh', got 'erf'"),),
)
