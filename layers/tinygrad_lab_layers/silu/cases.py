"""The valid uses of `SiLU`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lab.conformance import LayerCases, strategies


def reference(layer: Any, x: Any) -> Any:
    """Return x / (1 + e^-x)."""
    return np.array([v / (1 + math.exp(-v)) for v in x.flat]).reshape(x.shape)


cases = LayerCases(strategies.elementwise(), reference=reference, complex_safe=True, laws=("elementwise",))
