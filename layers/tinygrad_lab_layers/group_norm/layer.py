r"""Group normalization.

.. math:: y = \gamma\,\frac{x - \mu}{\sqrt{v + \varepsilon}} + \beta
"""

from __future__ import annotations

import math
from typing import Any

import tinygrad_lab as tgl


class GroupNorm(tgl.Layer):
    r"""Normalizes each group of channels of each image, then applies a learned scale and shift per channel.

    .. math:: y = \gamma\,\frac{x - \mu}{\sqrt{v + \varepsilon}} + \beta, \qquad \mu = \frac1m \sum x, \quad
              v = \frac1m \sum (x - \mu)^2

    with the sums over the m = H W C / G elements of a group of an image. With one group this is layer normalization of
    the whole image; with as many groups as channels, instance normalization. Images are independent of one another, so
    batches of one image work.

    Parameters
    ----------
    groups : int
        G, a divisor of C.
    channels : int
        C.
    eps : float
        epsilon, above 0.

    Shapes
    ------
    x : (N, ..., C); y : same shape as x; gamma (scale) and beta (shift) : (C,)

    Raises
    ------
    ShapeError
        x is not (N, ..., C), or is an empty map.
    OptionError
        The groups do not divide the channels, or eps is not above 0.

    References
    ----------
    Y. Wu, K. He, "Group normalization", ECCV 2018, equations 1, 2, 6 and 7.

    Examples
    --------
    >>> import numpy as np
    >>> y = GroupNorm(2, 4)(np.arange(8.0).reshape(1, 2, 1, 4).astype("float32"))
    >>> y.numpy().reshape(2, 4).round(3)
    array([[-1.213, -0.728, -1.213, -0.728],
           [ 0.728,  1.213,  0.728,  1.213]], dtype=float32)
    """

    integers = False

    def __init__(self, groups: int, channels: int, *, eps: float = 1e-5) -> None:
        if groups < 1 or channels < groups or channels % groups:
            raise tgl.errors.OptionError(
                f"GroupNorm: expected groups that divide the channels, got groups={groups} and channels={channels}"
            )
        if eps <= 0:
            raise tgl.errors.OptionError(f"GroupNorm({groups}, {channels}): expected eps > 0, got {eps}")
        self.groups, self.channels, self.eps = groups, channels, eps
        self.scale = tgl.Parameter(tgl.initializers.ones((channels,)))
        self.shift = tgl.Parameter(tgl.initializers.zeros((channels,)))

    def forward(self, x: Any) -> Any:
        """Return the normalized maps."""
        shape = self.output_shape(x.shape)
        grouped = (shape[0], math.prod(shape[1:-1]), self.groups, self.channels // self.groups)
        y, _ = tgl.standardize(tgl.reshape(x, shape=grouped), axes=(1, 3), eps=self.eps)  # (N, H*W, G, C/G)
        return tgl.reshape(y, shape=shape) * self.scale + self.shift  # (N, H*W, G, C/G) -> (N, H, W, C)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        if len(shape) < 2 or shape[-1] != self.channels or 0 in shape[1:]:
            raise tgl.errors.ShapeError(
                f"{self}: expected shape (N, ..., {self.channels}) with at least one pixel, got x.shape == {shape}"
            )
        return shape
