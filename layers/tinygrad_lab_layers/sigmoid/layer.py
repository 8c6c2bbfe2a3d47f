r"""Logistic function.

.. math:: y = \sigma(x) = \frac{1}{1 + e^{-x}}
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class Sigmoid(tgl.Layer):
    r"""Logistic function, from 0 to 1: :math:`y = 1 / (1 + e^{-x})`, element by element.

    Nothing overflows. The losses take logits, not probabilities: `binary_cross_entropy_with_logits` contains this
    layer. NaN stays NaN.

    Shapes
    ------
    x : any; y : same shape as x

    References
    ----------
    D. Rumelhart, G. Hinton, R. Williams, "Learning representations by back-propagating errors", Nature 323, 1986,
    equation 2.

    Examples
    --------
    >>> import numpy as np
    >>> Sigmoid()(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """

    integers = False

    def forward(self, x: Any) -> Any:
        """Return 1 / (1 + e^-x)."""
        return tgl.sigmoid(x)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        return shape
