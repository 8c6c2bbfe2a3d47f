r"""Hard hyperbolic tangent.

.. math:: y = \min(\max(x, a), b)
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class Hardtanh(tgl.Layer):
    r"""Clips each element to the range from a to b: :math:`y = \min(\max(x, a), b)`.

    The derivative is 1 where a <= x <= b, including the bounds (PyTorch has 0 there), and 0 elsewhere. With ``low=0,
    high=6`` this is ReLU6. NaN stays NaN.

    Parameters
    ----------
    low, high : float
        a and b.

    Shapes
    ------
    x : any; y : same shape as x

    Raises
    ------
    OptionError
        a is not below b.

    References
    ----------
    R. Collobert, "Large scale machine learning", PhD thesis, Université Paris VI, 2004.

    Examples
    --------
    >>> import numpy as np
    >>> Hardtanh()(np.array([-3.0, 0.5, 3.0]))
    array([-1. ,  0.5,  1. ])
    """

    integers = False

    def __init__(self, *, low: float = -1.0, high: float = 1.0) -> None:
        if not low < high:
            raise tgl.errors.OptionError(f"Hardtanh: expected low < high, got {low} and {high}")
        self.low, self.high = low, high

    def forward(self, x: Any) -> Any:
        """Return x clipped to the range from a to b."""
        return tgl.clip(x, self.low, self.high)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        return shape
