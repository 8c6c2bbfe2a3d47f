r"""Leaky rectified linear unit.

.. math:: y = \max(x, 0) + a \min(x, 0)
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


@tgl.primitive
def leaky_relu(xp: Any, x: Any, *, slope: float) -> Any:
    """Return x where it is positive and slope * x elsewhere."""
    return xp.where(x > 0, x, slope * x)


leaky_relu.defvjp(x=lambda g, x, slope: tgl.where(x > 0, g, slope * g))


class LeakyReLU(tgl.Layer):
    r"""ReLU with a small slope for negative numbers: :math:`y = \max(x, 0) + a \min(x, 0)`, element by element.

    The derivative is 1 where x > 0, and the slope :math:`a` elsewhere, including at x = 0. NaN stays NaN.

    Parameters
    ----------
    slope : float
        The factor :math:`a`, the same for all elements.

    Shapes
    ------
    x : any; y : same shape as x

    References
    ----------
    A. Maas, A. Hannun, A. Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> LeakyReLU(slope=0.1)(np.array([-2.0, 0.0, 3.0]))
    array([-0.2,  0. ,  3. ])
    """

    integers = False

    def __init__(self, *, slope: float = 0.01) -> None:
        self.slope = slope

    def forward(self, x: Any) -> Any:
        """Return x where it is positive and slope * x elsewhere."""
        return leaky_relu(x, slope=self.slope)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        return shape
