r"""Transposed convolution.

.. math:: y_{n,\; p s + i d - t,\; q s + j d - l,\; o} \mathrel{+}= \sum_c x_{n,p,q,c}\; w_{i,j,o,c}
"""

from __future__ import annotations

import math
from typing import Any

import tinygrad_lab as tgl


class Conv2dTranspose(tgl.Layer):
    r"""Adds the filter, times each pixel's value, to a larger map at the pixel's position.

    .. math:: y_{n,h,w,o} = b_o + \sum_{c} \sum_{\substack{i,j,p,q:\\ p s + i d - t = h\\ q s + j d - l = w}}
              x_{n,p,q,c}\; w_{i,j,o,c}

    Here s is the stride, d the dilation, t and l the padding at the top and on the left, which is cut off. The layer
    is the adjoint of the convolution of stride s from y to x: that convolution's gradient, used as a forward.

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size : int or (height, width)
        (kh, kw).
    stride : int or (vertical, horizontal)
        The distance in y between neighboring pixels of x.
    padding : int, (vertical, horizontal), ((top, bottom), (left, right)), "same" or "valid"
        Rows and columns cropped from the result. ``"valid"`` crops none; ``"same"`` leaves H * stride rows.
    output_padding : int or (vertical, horizontal)
        Rows and columns added at the bottom and on the right, fewer than the stride. A convolution of stride s maps s
        different heights to H rows; this option selects one of them.
    dilation : int or (vertical, horizontal)
        The distance between neighboring elements of a filter.
    groups : int
        G, a divisor of C and of O.
    bias : bool
        Whether to add b.
    init : str or float
        The initializer of w, or its standard deviation. b starts at 0.
    rng : int or numpy.random.Generator
        Seed or generator for w.

    Shapes
    ------
    x : (N, H, W, C); y : (N, Ho, Wo, O); w : (kh, kw, O / G, C), the filters of the convolution from y to x; b : (O,).
    Ho = (H - 1) stride + (kh - 1) dilation + 1 - top - bottom + output_padding, and Wo likewise.

    Raises
    ------
    ShapeError
        x is not (N, H, W, C), is an empty map, or the padding crops all of the result.
    OptionError
        An option is out of range, the groups do not divide the channels, or output_padding is set with padding "same".

    References
    ----------
    M. Zeiler, D. Krishnan, G. Taylor, R. Fergus, "Deconvolutional networks", CVPR 2010, equation 1; V. Dumoulin,
    F. Visin, "A guide to convolution arithmetic for deep learning", 2016, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.zeros((2, 7, 7, 16), "float32")
    >>> Conv2dTranspose(16, 8, kernel_size=4, stride=2, padding=1, rng=0)(x).shape
    (2, 14, 14, 8)
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
        output_padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        init: str | float = "he_normal",
        rng: Any = None,
    ) -> None:
        who = f"Conv2dTranspose({in_channels} -> {out_channels}, kernel_size={kernel_size})"
        if in_channels < 0 or out_channels < 0 or groups < 1 or in_channels % groups or out_channels % groups:
            raise tgl.errors.OptionError(
                f"{who}: expected channels >= 0 and groups that divide the channels, got groups={groups}"
            )
        self.window = tgl.Window(kernel_size, stride=stride, padding=padding, dilation=dilation, who=who)
        self.extra = tgl.pair(output_padding, minimum=0, what=f"{who}: output_padding")
        most = (0, 0) if padding == "same" else tuple(s - 1 for s in self.window.stride)
        if any(e > m for e, m in zip(self.extra, most, strict=True)):
            raise tgl.errors.OptionError(f"{who}: expected output_padding of at most {most}, got {output_padding}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        # A result sums over in_channels / groups: w is drawn in that shape, so that the initializer uses this fan_in.
        drawn = tgl.initializers.draw(init, (*self.window.size, in_channels // groups, out_channels), rng=rng)
        self.weight = tgl.Parameter(drawn.reshape(*self.window.size, out_channels // groups, in_channels))
        self.bias = tgl.Parameter(tgl.initializers.zeros((out_channels,))) if bias else None

    def forward(self, x: Any) -> Any:
        """Return the maps."""
        size = self.output_shape(x.shape)[1:3]
        y = tgl.conv2d_grad_x(
            x,
            self.weight,
            size=size,
            stride=self.window.stride,
            padding=self.window.padding_for(size),
            dilation=self.window.dilation,
            groups=self.groups,
        )
        return y if self.bias is None else y + self.bias

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, Ho, Wo, O)."""
        tgl.expect_images(shape, self.window.who, channels=self.in_channels, empty=False)
        if self.window.same:
            height, width = (n * s for n, s in zip(shape[1:3], self.window.stride, strict=True))
        else:
            height, width = map(self._length, shape[1:3], (0, 1))
        if height < 1 or width < 1:
            raise tgl.errors.ShapeError(
                f"{self}: expected padding that leaves a pixel of the result, got {self.window.padding} "
                f"(x.shape == {shape}); use less padding"
            )
        return (shape[0], height, width, self.out_channels)

    def _length(self, length: int, axis: int) -> int:
        """Return the length of an axis of the result."""
        painted = (length - 1) * self.window.stride[axis] + self.window.span[axis]
        return painted - sum(self.window.padding[axis]) + self.extra[axis]

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Return kh kw O / G for each element of x."""
        return math.prod(shape) * math.prod(self.weight.shape[:3])
