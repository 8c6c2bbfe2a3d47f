r"""Hyperbolic tangent.

.. math:: y = \tanh x = \frac{e^x - e^{-x}}{e^x + e^{-x}}
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class Tanh(tgl.Layer):
    r"""Hyperbolic tangent, from -1 to 1: :math:`y = \tanh x`, element by element. NaN stays NaN.

    Shapes
    ------
    x : any; y : same shape as x

    References
    ----------
    Y. LeCun, L. Bottou, G. Orr, K. Müller, "Efficient BackProp", in Neural Networks: Tricks of the Trade, 1998,
    section 4.4, which prefers 1.7159 tanh(2x/3); this layer is not scaled.

    Examples
    --------
    >>> import numpy as np
    >>> Tanh()(np.array([-1000.0, 0.0, 1.0])).round(4)
    array([-1.    ,  0.    ,  0.7616])
    """

    integers = False

    def forward(self, x: Any) -> Any:
        """Return tanh x."""
        return tgl.tanh(x)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        return shape
