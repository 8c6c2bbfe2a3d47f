r"""Layer normalization.

.. math:: y = \gamma\,\frac{x - \mu}{\sqrt{v + \varepsilon}} + \beta
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tinygrad_lab as tgl


class LayerNorm(tgl.Layer):
    r"""Normalizes each row by its own mean and variance, then applies a learned scale and shift.

    .. math:: y = \gamma\,\frac{x - \mu}{\sqrt{v + \varepsilon}} + \beta, \qquad \mu = \frac1m \sum x, \quad
              v = \frac1m \sum (x - \mu)^2

    with the sums over the m features of the last axis, or of several last axes. Examples are independent of one
    another, so training and evaluation are the same.

    Parameters
    ----------
    features : int or tuple of int
        The lengths of the last axes, which are normalized together.
    eps : float
        epsilon, above 0.

    Shapes
    ------
    x : (..., features); y : same shape as x; gamma (scale) and beta (shift) : (features,)

    Raises
    ------
    ShapeError
        The lengths of the last axes of x differ from `features`.
    OptionError
        eps or a number of features is not above 0.

    References
    ----------
    J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016, equations 3 and 4.

    Examples
    --------
    >>> import numpy as np
    >>> LayerNorm(3)(np.array([[1.0, 2.0, 3.0]]).astype("float32")).numpy().round(3)
    array([[-1.225,  0.   ,  1.225]], dtype=float32)
    """

    integers = False

    def __init__(self, features: int | Sequence[int], *, eps: float = 1e-5) -> None:
        self.features = tuple(features) if isinstance(features, Sequence) else (features,)
        if eps <= 0 or not self.features or any(n < 1 for n in self.features):
            raise tgl.errors.OptionError(
                f"LayerNorm: expected positive numbers of features and eps > 0, got {features} and eps={eps}"
            )
        self.eps = eps
        self.scale = tgl.Parameter(tgl.initializers.ones(self.features))
        self.shift = tgl.Parameter(tgl.initializers.zeros(self.features))

    def forward(self, x: Any) -> Any:
        """Return the normalized rows."""
        self.output_shape(x.shape)
        axes = tuple(range(x.ndim - len(self.features), x.ndim))
        y, _ = tgl.standardize(x, axes=axes, eps=self.eps)
        return y * self.scale + self.shift

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        if shape[-len(self.features) :] != self.features:
            raise tgl.errors.ShapeError(f"{self}: expected last axes {self.features}, got x.shape == {shape}")
        return shape
