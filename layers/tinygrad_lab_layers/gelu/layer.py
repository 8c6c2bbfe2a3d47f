r"""Gaussian error linear unit.

.. math:: y = x\, \Phi(x), \qquad \Phi(x) = \tfrac12 \operatorname{erfc}(-x / \sqrt 2)
"""

from __future__ import annotations

import math
from typing import Any

import tinygrad_lab as tgl

FAR = 40.0  # beyond it, Phi is exactly 0 or 1 in float64, and its density is 0
ROOT = math.sqrt(2.0 / math.pi)
CUBE = 0.044715


def _near(x: Any) -> Any:
    """Return x clipped to +-FAR, so that no power of it overflows."""
    return tgl.clip(x, -FAR, FAR)


def _share(x: Any) -> Any:
    """Return Phi(x), the normal distribution function; erfc is accurate for small results."""
    return 0.5 * tgl.erfc(_near(x) * -math.sqrt(0.5))


def _density(x: Any) -> Any:
    """Return Phi'(x)."""
    z = _near(x)
    return (0.5 * ROOT) * tgl.exp(-0.5 * z * z)


def _tanh_share(x: Any) -> Any:
    """Return (1 + tanh u) / 2 for u = sqrt(2 / pi) (x + 0.044715 x^3), which is the logistic function of 2 u."""
    z = _near(x)
    return tgl.sigmoid((2.0 * ROOT) * (z + CUBE * z * z * z))


def _tanh_density(x: Any) -> Any:
    """Return the derivative of `_tanh_share`."""
    z, share = _near(x), _tanh_share(x)
    return share * (1.0 - share) * (2.0 * ROOT) * (1.0 + 3.0 * CUBE * z * z)


@tgl.primitive
def gelu(xp: Any, x: Any) -> Any:
    """Return x Phi(x)."""
    return x * _share(x)


@tgl.primitive
def gelu_tanh(xp: Any, x: Any) -> Any:
    """Return x (1 + tanh u) / 2."""
    return x * _tanh_share(x)


gelu.defvjp(x=lambda g, x: g * (_share(x) + x * _density(x)))
gelu_tanh.defvjp(x=lambda g, x: g * (_tanh_share(x) + x * _tanh_density(x)))


class GELU(tgl.Layer):
    r"""Multiplies x by the normal distribution function of x, element by element.

    .. math:: y = x\, \Phi(x) = \tfrac12 x \operatorname{erfc}(-x / \sqrt 2) \qquad \text{or} \qquad
              y = \tfrac12 x \big(1 + \tanh\big(\sqrt{2/\pi}\,(x + 0.044715\, x^3)\big)\big)

    The second form differs from the first by less than 5e-4. Both stay accurate for large numbers of either sign. At
    minus infinity the result is NaN (0 times infinity). NaN stays NaN.

    Parameters
    ----------
    form : {"exact", "tanh"}
        The first form or the second.

    Shapes
    ------
    x : any; y : same shape as x

    Raises
    ------
    OptionError
        The form is unknown.

    References
    ----------
    D. Hendrycks, K. Gimpel, "Gaussian error linear units (GELUs)", 2016, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> GELU()(np.array([-10.0, 0.0, 1.0]))
    array([-7.61985302e-23,  0.00000000e+00,  8.41344746e-01])
    """

    integers = False

    def __init__(self, *, form: str = "exact") -> None:
        if form not in ("exact", "tanh"):
            raise tgl.errors.OptionError(f"GELU: expected form 'exact' or 'tanh', got {form!r}")
        self.form = form

    def forward(self, x: Any) -> Any:
        """Return x Phi(x), or its approximation."""
        return gelu(x) if self.form == "exact" else gelu_tanh(x)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        return shape
