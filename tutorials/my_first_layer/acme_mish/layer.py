r"""Mish.

.. math:: y = x \tanh(\ln(1 + e^x))
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


def _share(x: Any) -> Any:
    """Return tanh(ln(1 + e^x)), computed from p = 1 / (1 + e^-x) and q = 1 - p so that nothing overflows or cancels."""
    p, q = tgl.sigmoid(x), tgl.sigmoid(-x)
    return p * (1 + q) / (1 + q * q)


@tgl.primitive
def mish(xp: Any, x: Any) -> Any:
    """Return x tanh(ln(1 + e^x)); xp is the array library of x, for functions that tgl lacks."""
    return x * _share(x)


def _by_x(g: Any, x: Any) -> Any:
    """Return the cotangent of x for a cotangent g of y, by the product rule and d tanh(s) = (1 - tanh^2(s)) ds."""
    share = _share(x)
    return g * (share + x * (1 - share * share) * tgl.sigmoid(x))


mish.defvjp(x=_by_x)  # the rule names the values that it needs, here x, and the tape keeps only those


class Mish(tgl.Layer):
    r"""A smooth relative of ReLU that dips below 0: :math:`y = x \tanh(\ln(1 + e^x))`, element by element.

    Large numbers stay nearly unchanged, large negative ones become nearly 0. The minimum is -0.3088, at x = -1.1924.
    NaN stays NaN.

    Shapes
    ------
    x : any; y : same shape as x

    References
    ----------
    D. Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020, equation 1.

    Examples
    --------
    >>> import numpy as np
    >>> Mish()(np.array([-100.0, 0.0, 1.0, 100.0])).round(4)
    array([ -0.    ,   0.    ,   0.8651, 100.    ])
    """

    def forward(self, x: Any) -> Any:
        """Return x tanh(ln(1 + e^x))."""
        return mish(x)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        return shape
