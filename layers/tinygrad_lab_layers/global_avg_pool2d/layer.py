r"""Global average pooling.

.. math:: y_{n,c} = \frac{1}{H W} \sum_{h,w} x_{n,h,w,c}
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class GlobalAvgPool2d(tgl.Layer):
    r"""Returns the mean of each plane: :math:`y_{nc} = \frac{1}{HW} \sum_{hw} x_{nhwc}`.

    Its gradient is the cotangent divided by H W, at every pixel. Before the last dense layer it replaces the flattening
    and the large dense layers of older networks. It has no parameters and takes images of any size.

    Parameters
    ----------
    keepdims : bool
        Whether the result is (N, 1, 1, C) instead of (N, C).

    Shapes
    ------
    x : (N, H, W, C); y : (N, C), or (N, 1, 1, C)

    Raises
    ------
    ShapeError
        x is not (N, H, W, C), or is an empty map.

    References
    ----------
    M. Lin, Q. Chen, S. Yan, "Network in network", ICLR 2014, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> GlobalAvgPool2d()(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[3., 4.]])
    """

    integers = False

    def __init__(self, *, keepdims: bool = False) -> None:
        self.keepdims = keepdims

    def forward(self, x: Any) -> Any:
        """Return the mean of each plane."""
        self.output_shape(x.shape)
        return tgl.mean(x, (1, 2), keepdims=self.keepdims)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, C), or (N, 1, 1, C)."""
        tgl.expect_images(shape, "GlobalAvgPool2d", empty=False)
        return (shape[0], 1, 1, shape[3]) if self.keepdims else (shape[0], shape[3])
