r"""Dropout.

.. math:: y = \frac{x\, m}{1 - p}, \qquad m \sim \operatorname{Bernoulli}(1 - p)
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class Dropout(tgl.Layer):
    r"""Drops each element with probability p in training: :math:`y = x\, m / (1 - p)`, where m is 0 or 1.

    The kept elements are scaled by 1 / (1 - p), so the mean is unchanged and evaluation is the identity ("inverted"
    dropout; the paper scales the weights in evaluation instead). The random numbers are keyed by seed, step and path.

    Parameters
    ----------
    rate : float
        p, from 0 to below 1.

    Shapes
    ------
    x : any; y : same shape as x

    Raises
    ------
    OptionError
        The rate is not in [0, 1).

    References
    ----------
    N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, "Dropout: a simple way to prevent neural
    networks from overfitting", JMLR 15, 2014, section 4, and section 10 for the factor.

    Examples
    --------
    >>> import numpy as np
    >>> y = Dropout(0.5)(np.ones(1000))
    >>> sorted({float(v) for v in y}), bool(abs(y.mean() - 1) < 0.1)
    ([0.0, 2.0], True)
    """

    integers = False

    def __init__(self, rate: float = 0.5) -> None:
        if not 0 <= rate < 1:
            raise tgl.errors.OptionError(f"Dropout: expected a rate from 0 to below 1, got {rate}")
        self.rate = rate

    def forward(self, x: Any) -> Any:
        """Return x with elements dropped in training; x itself in evaluation."""
        return tgl.dropout(x, key=self.random(x).key, rate=self.rate) if self.training and self.rate else x

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        return shape
