r"""Exponential linear unit.

.. math:: y = x \text{ for } x > 0, \qquad y = \alpha (e^x - 1) \text{ for } x \le 0
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


@tgl.primitive
def elu(xp: Any, x: Any, *, alpha: float) -> Any:
    """Return x where it is positive and alpha (e^x - 1) elsewhere; alpha is positive."""
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


elu.defvjp(x=lambda g, out, alpha: tgl.where(out > 0, g, g * (out + alpha)))  # f' = f + alpha, and f has x's sign


class ELU(tgl.Layer):
    r"""Exponential linear unit: :math:`y = x` for x > 0 and :math:`\alpha (e^x - 1)` for x <= 0, element by element.

    The derivative is 1 where x > 0 and y + alpha elsewhere, including at x = 0; with alpha = 1 it is continuous.
    Nothing overflows, because the exponential is applied only to numbers up to 0. NaN stays NaN.

    Parameters
    ----------
    alpha : float
        alpha; the result at minus infinity is -alpha.

    Shapes
    ------
    x : any; y : same shape as x

    Raises
    ------
    OptionError
        alpha is not positive.

    References
    ----------
    D. Clevert, T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by exponential linear units",
    ICLR 2016, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> ELU()(np.array([-1e9, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """

    integers = False

    def __init__(self, *, alpha: float = 1.0) -> None:
        if not alpha > 0:
            raise tgl.errors.OptionError(f"ELU: expected alpha > 0, got {alpha}; use ReLU for alpha = 0")
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        """Return x where it is positive and alpha (e^x - 1) elsewhere."""
        return elu(x, alpha=self.alpha)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        return shape
