r"""Sigmoid-weighted linear unit, also called swish.

.. math:: y = x\, \sigma(x) = \frac{x}{1 + e^{-x}}
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


@tgl.primitive
def silu(xp: Any, x: Any) -> Any:
    """Return x times its logistic function."""
    return x * tgl.sigmoid(x)


def _rule(g: Any, x: Any) -> Any:
    share = tgl.sigmoid(x)
    return g * share * (1.0 + x * (1.0 - share))


silu.defvjp(x=_rule)


class SiLU(tgl.Layer):
    r"""Multiplies x by its logistic function: :math:`y = x\, \sigma(x)`, element by element.

    Nothing overflows. At minus infinity the result is NaN (0 times infinity). NaN stays NaN.

    Shapes
    ------
    x : any; y : same shape as x

    References
    ----------
    S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning", Neural Networks 107, 2018, section 2. D. Hendrycks and K. Gimpel (2016) gave the name;
    P. Ramachandran, B. Zoph, Q. Le (2017) call it swish with beta = 1.

    Examples
    --------
    >>> import numpy as np
    >>> SiLU()(np.array([-1000.0, 0.0, 1.0])).round(4)
    array([-0.    ,  0.    ,  0.7311])
    """

    integers = False

    def forward(self, x: Any) -> Any:
        """Return x times its logistic function."""
        return silu(x)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        return shape
