r"""Rectified linear unit.

.. math:: y = \max(x, 0)
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class ReLU(tgl.Layer):
    r"""Sets negative numbers to 0: :math:`y = \max(x, 0)`, element by element.

    The derivative is 1 where x > 0 and 0 elsewhere, including at x = 0. NaN stays NaN.

    Shapes
    ------
    x : any; y : same shape as x

    References
    ----------
    V. Nair, G. Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU()(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """

    integers = False

    def forward(self, x: Any) -> Any:
        """Return max(x, 0)."""
        return tgl.relu(x)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        return shape
