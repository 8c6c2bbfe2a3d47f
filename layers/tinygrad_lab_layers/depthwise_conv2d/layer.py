r"""Depthwise convolution.

.. math:: y_{n,p,q,\,c M + m} = \phi\Big(b_{cM+m} + \sum_{i,j} x_{n,\; p s + i d - t,\; q s + j d - l,\; c}\;
          w_{i,j,1,\,c M + m}\Big)
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl
from tinygrad_lab_layers.conv2d import Conv2d


class DepthwiseConv2d(Conv2d):
    r"""Convolves each channel with its own filters: a convolution with as many groups as channels.

    .. math:: y_{n,p,q,\,c M + m} = \phi\Big(b_{cM+m} + \sum_{i,j} x_{n,\; p s + i d - t,\; q s + j d - l,\; c}\;
              w_{i,j,1,\,c M + m}\Big)

    Followed by a 1x1 convolution, which mixes the channels, it replaces a full convolution at a fraction of the
    multiplications.

    Parameters
    ----------
    channels : int
        C, at least 1.
    kernel_size, stride, padding, padding_mode, dilation
        See `Conv2d`.
    multiplier : int
        M, the number of filters per channel.
    bias, activation, init, rng
        See `Conv2d`.

    Shapes
    ------
    x : (N, H, W, C); y : (N, Ho, Wo, C M); w : (kh, kw, 1, C M); b : (C M,). Ho and Wo are those of `Conv2d`.

    Raises
    ------
    ShapeError
        x is not (N, H, W, C); the padded map is smaller than the window; an empty map has no edge to repeat.
    OptionError
        An option is out of range.

    References
    ----------
    F. Chollet, "Xception: deep learning with depthwise separable convolutions", CVPR 2017; A. Howard et al.,
    "MobileNets", 2017, equation 3.

    Examples
    --------
    >>> import numpy as np
    >>> DepthwiseConv2d(3, kernel_size=3, padding="same", multiplier=2, rng=0)(np.zeros((1, 8, 8, 3), "float32")).shape
    (1, 8, 8, 6)
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        padding_mode: str = "zero",
        dilation: Any = 1,
        multiplier: int = 1,
        bias: bool = True,
        activation: str | None = None,
        init: str | float = "he_normal",
        rng: Any = None,
    ) -> None:
        if channels < 1 or multiplier < 1:
            raise tgl.errors.OptionError(
                f"DepthwiseConv2d: expected at least 1 channel and 1 filter for each, got {channels} and {multiplier}"
            )
        super().__init__(
            channels,
            channels * multiplier,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            padding_mode=padding_mode,
            dilation=dilation,
            groups=channels,
            bias=bias,
            activation=activation,
            init=init,
            rng=rng,
        )
