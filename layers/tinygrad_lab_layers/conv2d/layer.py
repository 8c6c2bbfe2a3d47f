r"""Two-dimensional convolution.

.. math:: y_{n,p,q,o} = \phi\Big(b_o + \sum_{i,j,c} x_{n,\; p s + i d - t,\; q s + j d - l,\; c}\; w_{i,j,c,o}\Big)
"""

from __future__ import annotations

import math
from typing import Any

import tinygrad_lab as tgl


class Conv2d(tgl.Layer):
    r"""Convolves images with filters.

    .. math:: y_{n,p,q,o} = \phi\Big(b_o + \sum_{i,j,c} x_{n,\; p s + i d - t,\; q s + j d - l,\; c}\; w_{i,j,c,o}\Big)

    Here s is the stride, d the dilation, t and l the padding at the top and on the left, and phi the activation. As
    usual in deep learning, the filter is not flipped: mathematically this is a cross-correlation. With G groups, output
    channels g O/G to (g + 1) O/G - 1 read only input channels g C/G to (g + 1) C/G - 1.

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size : int or (height, width)
        (kh, kw).
    stride : int or (vertical, horizontal)
        The step from one position of the filter to the next.
    padding : int, (vertical, horizontal), ((top, bottom), (left, right)), "same" or "valid"
        Padding around the image. ``"valid"`` adds none; ``"same"`` gives ceil(H / stride) rows, with the odd row
        of padding at the bottom and the odd column on the right (TensorFlow's convention).
    padding_mode : {"zero", "edge"}
        Whether the padding contains zeros or repeats the border.
    dilation : int or (vertical, horizontal)
        The distance between neighboring elements of a filter.
    groups : int
        G, a divisor of C and of O.
    bias : bool
        Whether to add b.
    activation : {"relu"} or None
        phi, fused with the convolution; None is the identity.
    init : str or float
        The initializer of w, or its standard deviation. b starts at 0.
    rng : int or numpy.random.Generator
        Seed or generator for w.

    Shapes
    ------
    x : (N, H, W, C); y : (N, Ho, Wo, O); w : (kh, kw, C / G, O); b : (O,).
    Ho = (H + top + bottom - (kh - 1) dilation - 1) // stride + 1, and Wo likewise.

    Raises
    ------
    ShapeError
        x is not (N, H, W, C); the padded map is smaller than the window; an empty map has no edge to repeat.
    OptionError
        An option is out of range, or the groups do not divide the channels.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE
    86(11), 1998, section II.A. Groups: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep
    convolutional neural networks", 2012, section 3.5. Dilation: F. Yu, V. Koltun, "Multi-scale context aggregation by
    dilated convolutions", 2016, equation 2.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((2, 227, 227, 3), "float32")
    >>> Conv2d(3, 96, kernel_size=11, stride=4, rng=0)(images).shape
    (2, 55, 55, 96)
    >>> Conv2d(3, 8, kernel_size=5, padding="same").output_shape((2, 32, 32, 3))
    (2, 32, 32, 8)
    """

    integers = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        padding_mode: str = "zero",
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        activation: str | None = None,
        init: str | float = "he_normal",
        rng: Any = None,
    ) -> None:
        who = f"{type(self).__name__}({in_channels} -> {out_channels}, kernel_size={kernel_size})"
        if in_channels < 0 or out_channels < 0 or groups < 1 or in_channels % groups or out_channels % groups:
            raise tgl.errors.OptionError(
                f"{who}: expected channels >= 0 and groups that divide the channels, got groups={groups}"
            )
        if padding_mode not in ("zero", "edge"):
            raise tgl.errors.OptionError(f"{who}: expected padding_mode 'zero' or 'edge', got {padding_mode!r}")
        if activation not in (None, "relu"):
            raise tgl.errors.OptionError(f"{who}: expected activation 'relu' or None, got {activation!r}")
        self.window = tgl.Window(kernel_size, stride=stride, padding=padding, dilation=dilation, who=who)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.padding_mode, self.activation = padding_mode, activation
        shape = (*self.window.size, in_channels // groups, out_channels)
        self.weight = tgl.Parameter(tgl.initializers.draw(init, shape, rng=rng))
        self.bias = tgl.Parameter(tgl.initializers.zeros((out_channels,))) if bias else None

    def forward(self, x: Any) -> Any:
        """Return the activated maps."""
        self.output_shape(x.shape)
        padding = self.window.padding_for(x.shape[1:3])
        if self.padding_mode == "edge":
            x = tgl.pad(x, ((0, 0), *padding, (0, 0)), mode="edge")
            padding = ((0, 0), (0, 0))
        convolve = tgl.conv2d_relu if self.activation == "relu" else tgl.conv2d
        return convolve(
            x,
            self.weight,
            self.bias,
            stride=self.window.stride,
            padding=padding,
            dilation=self.window.dilation,
            groups=self.groups,
        )

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, Ho, Wo, O)."""
        tgl.expect_images(shape, self.window.who, channels=self.in_channels, empty=self.padding_mode == "zero")
        return (shape[0], *self.window.places(shape[1:3]), self.out_channels)

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Return kh kw C / G for each element of the result."""
        return math.prod(self.output_shape(shape)) * math.prod(self.weight.shape[:3])
