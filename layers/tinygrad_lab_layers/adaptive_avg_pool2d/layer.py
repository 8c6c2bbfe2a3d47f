r"""Adaptive average pooling.

.. math:: y_{n,p,q,c} = \operatorname{mean}\; x_{n,\; \lfloor p H / P \rfloor \,:\, \lceil (p + 1) H / P \rceil,\;
          \lfloor q W / Q \rfloor \,:\, \lceil (q + 1) W / Q \rceil,\; c}
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class AdaptiveAvgPool2d(tgl.Layer):
    r"""Returns the means over a grid of P x Q windows that cover a map of any size.

    .. math:: y_{n,p,q,c} = \operatorname{mean}\; x_{n,\; \lfloor p H / P \rfloor \,:\, \lceil (p + 1) H / P \rceil,\;
              \lfloor q W / Q \rfloor \,:\, \lceil (q + 1) W / Q \rceil,\; c}

    If P does not divide H, neighboring windows can overlap by a pixel. If the map is smaller than the grid, pixels are
    repeated.

    Parameters
    ----------
    size : int or (height, width)
        (P, Q).

    Shapes
    ------
    x : (N, H, W, C); y : (N, P, Q, C)

    Raises
    ------
    ShapeError
        x is not (N, H, W, C), or is an empty map.
    OptionError
        The size is neither a positive whole number nor a pair of them.

    References
    ----------
    PyTorch, ``torch.nn.AdaptiveAvgPool2d``. K. He, X. Zhang, S. Ren, J. Sun, "Spatial pyramid pooling in deep
    convolutional networks for visual recognition", ECCV 2014, section 2.2, with the maximum instead of
    the mean.

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveAvgPool2d((1, 2))(np.arange(6.0).reshape(1, 2, 3, 1)).reshape(-1)
    array([2., 3.])
    """

    integers = False

    def __init__(self, size: Any) -> None:
        self.size = tgl.pair(size, minimum=1, what="AdaptiveAvgPool2d: size")

    def forward(self, x: Any) -> Any:
        """Return the means; the mean over a rectangle is a mean over columns of means over rows."""
        self.output_shape(x.shape)
        rows = [tgl.mean(x[:, a:b], 1) for a, b in self._spans(x.shape[1], self.size[0])]
        x = tgl.stack(rows, 1)  # P of (N, W, C) -> (N, P, W, C)
        columns = [tgl.mean(x[:, :, a:b], 2) for a, b in self._spans(x.shape[2], self.size[1])]
        return tgl.stack(columns, 2)  # Q of (N, P, C) -> (N, P, Q, C)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, P, Q, C)."""
        tgl.expect_images(shape, f"{self}", empty=False)
        return (shape[0], *self.size, shape[3])

    @staticmethod
    def _spans(length: int, count: int) -> list[tuple[int, int]]:
        """Return the range (first, end) of pixels of each window along an axis."""
        return [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
