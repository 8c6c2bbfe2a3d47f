r"""Spatial dropout.

.. math:: y_{n,h,w,c} = \frac{x_{n,h,w,c}\; m_{n,c}}{1 - p}, \qquad m_{n,c} \sim \operatorname{Bernoulli}(1 - p)
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class SpatialDropout2d(tgl.Layer):
    r"""Drops whole planes with probability p in training: :math:`y_{nhwc} = x_{nhwc}\, m_{nc} / (1 - p)`.

    Neighboring pixels of a map are similar, so dropping single pixels hides little. m is 0 or 1. The kept planes are
    scaled by 1 / (1 - p), and evaluation is the identity. The random numbers are keyed by seed, step and path.

    Parameters
    ----------
    rate : float
        p, from 0 to below 1.

    Shapes
    ------
    x : (N, H, W, C); y : same shape as x

    Raises
    ------
    ShapeError
        x is not (N, H, W, C).
    OptionError
        The rate is not in [0, 1).

    References
    ----------
    J. Tompson, R. Goroshin, A. Jain, Y. LeCun, C. Bregler, "Efficient object localization using convolutional
    networks", CVPR 2015, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> y = SpatialDropout2d(0.5)(np.ones((1, 4, 4, 100)))
    >>> bool((y == y[:, :1, :1]).all()), sorted({float(v) for v in y[0, 0, 0]})
    (True, [0.0, 2.0])
    """

    integers = False

    def __init__(self, rate: float = 0.5) -> None:
        if not 0 <= rate < 1:
            raise tgl.errors.OptionError(f"SpatialDropout2d: expected a rate from 0 to below 1, got {rate}")
        self.rate = rate

    def forward(self, x: Any) -> Any:
        """Return x with planes dropped in training; x itself in evaluation."""
        self.output_shape(x.shape)
        if not self.training or not self.rate:
            return x
        key = self.random(x).key_for((x.shape[0], x.shape[3]))  # one number for each plane
        return tgl.dropout(x, key=key, rate=self.rate, shared=(1, 2))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        tgl.expect_images(shape, f"{self}")
        return shape
