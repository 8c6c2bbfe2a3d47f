r"""Softplus.

.. math:: y = \tfrac1\beta \log(1 + e^{\beta x})
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


@tgl.primitive
def softplus(xp: Any, x: Any, *, beta: float) -> Any:
    """Return log(1 + e^(beta x)) / beta, computed from e^-|beta x| so that nothing overflows or cancels."""
    z = beta * x
    return (xp.maximum(z, 0) + xp.log1p(xp.exp(-xp.abs(z)))) / beta


softplus.defvjp(x=lambda g, x, beta: g * tgl.sigmoid(beta * x))


class Softplus(tgl.Layer):
    r"""Smooth ReLU: :math:`y = \log(1 + e^{\beta x}) / \beta`, element by element.

    Its derivative is the logistic function of beta x. The layer computes ``(max(z, 0) + log(1 + e^-|z|)) / beta`` with
    z = beta x, so nothing overflows and small results stay accurate. NaN stays NaN.

    Parameters
    ----------
    beta : float
        The sharpness of the bend; the limit for large beta is ReLU.

    Shapes
    ------
    x : any; y : same shape as x

    Raises
    ------
    OptionError
        beta is not positive.

    References
    ----------
    C. Dugas, Y. Bengio, F. Bélisle, C. Nadeau, R. Garcia, "Incorporating second-order functional knowledge for better
    option pricing", NIPS 2000, section 3, without beta.

    Examples
    --------
    >>> import numpy as np
    >>> Softplus()(np.array([-100.0, 0.0, 1000.0]))
    array([3.72007598e-44, 6.93147181e-01, 1.00000000e+03])
    """

    integers = False

    def __init__(self, *, beta: float = 1.0) -> None:
        if not beta > 0:
            raise tgl.errors.OptionError(f"Softplus: expected beta > 0, got {beta}")
        self.beta = beta

    def forward(self, x: Any) -> Any:
        """Return log(1 + e^(beta x)) / beta."""
        return softplus(x, beta=self.beta)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        return shape
