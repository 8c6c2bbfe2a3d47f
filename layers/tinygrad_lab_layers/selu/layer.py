r"""Scaled exponential linear unit.

.. math:: y = \lambda x \text{ for } x > 0, \qquad y = \lambda \alpha (e^x - 1) \text{ for } x \le 0
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl

ALPHA, LAMBDA = 1.6732632423543772848, 1.0507009873554804934  # the fixed point is mean 0, variance 1: equation 14


@tgl.primitive
def selu(xp: Any, x: Any) -> Any:
    """Return lambda x where x is positive and lambda alpha (e^x - 1) elsewhere."""
    return xp.where(x > 0, LAMBDA * x, LAMBDA * ALPHA * xp.expm1(xp.minimum(x, 0)))


selu.defvjp(x=lambda g, out: tgl.where(out > 0, LAMBDA * g, g * (out + LAMBDA * ALPHA)))  # f has x's sign


class SELU(tgl.Layer):
    r"""Exponential linear unit, scaled so that mean 0 and variance 1 are preserved from layer to layer.

    .. math:: y = \lambda x \text{ for } x > 0, \qquad y = \lambda \alpha (e^x - 1) \text{ for } x \le 0

    with alpha = 1.67326 and lambda = 1.05070. It is designed for weights of mean 0 and variance 1 / fan_in
    (``init="lecun_normal"``). The derivative at 0 is taken as lambda alpha. NaN stays NaN.

    Shapes
    ------
    x : any; y : same shape as x

    References
    ----------
    G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, "Self-normalizing neural networks", NIPS 2017, equations 2
    and 14.

    Examples
    --------
    >>> import numpy as np
    >>> SELU()(np.array([-1e9, 0.0, 1.0])).round(4)
    array([-1.7581,  0.    ,  1.0507])
    """

    integers = False

    def forward(self, x: Any) -> Any:
        """Return lambda x where x is positive and lambda alpha (e^x - 1) elsewhere."""
        return selu(x)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        return shape
