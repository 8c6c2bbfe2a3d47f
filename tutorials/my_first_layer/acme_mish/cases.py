"""The valid uses of `Mish`, for the conformance kit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lab.conformance import LayerCases, strategies


def reference(layer: Any, x: Any) -> Any:
    """Return the result, computed independently: one number at a time, in plain Python."""
    return np.array([v * math.tanh(math.log(1 + math.exp(v))) for v in x.flat]).reshape(x.shape)


cases = LayerCases(
    strategies.elementwise(),  # arrays of any shape with values near 0 and far from it
    reference=reference,
    complex_safe=True,  # the forward is analytic, so a complex step can compute its derivatives
    laws=("elementwise",),
)
