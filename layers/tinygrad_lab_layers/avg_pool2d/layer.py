r"""Average pooling.

.. math:: y_{n,p,q,c} = \frac{1}{m_{pq}} \sum_{i,j} x_{n,\; p s + i - t,\; q s + j - l,\; c}
"""

from __future__ import annotations

import math
from typing import Any

import tinygrad_lab as tgl


class AvgPool2d(tgl.Layer):
    r"""Returns the mean of each window: :math:`y_{npqc} = \frac{1}{m_{pq}} \sum_{ij} x_{n,\,ps+i-t,\,qs+j-l,\,c}`.

    Here s is the stride, t and l the padding at the top and on the left, which holds zeros.

    Parameters
    ----------
    kernel_size : int or (height, width)
        (kh, kw).
    stride : int, (vertical, horizontal) or None
        The step from one window to the next; None means the size of the window.
    padding : int, (vertical, horizontal), ((top, bottom), (left, right)), "same" or "valid"
        Padding around the map, narrower than the window on each side. ``"valid"`` adds none; ``"same"`` gives
        ceil(H / stride) rows.
    count_include_pad : bool
        Whether m counts the padding: True divides by kh kw everywhere (PyTorch's default), so that results at the
        border are smaller; False divides by the number of pixels in the window (TensorFlow's rule).

    Shapes
    ------
    x : (N, H, W, C); y : (N, Ho, Wo, C). Ho = (H + top + bottom - kh) // stride + 1, and Wo likewise.

    Raises
    ------
    ShapeError
        x is not (N, H, W, C), is an empty map, or is smaller than the window when padded.
    OptionError
        An option is out of range, or the padding is so wide that it could contain a whole window.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE
    86(11), 1998, section II.B (there followed by a learned factor and bias).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> AvgPool2d(2)(x).reshape(2, 2)
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """

    integers = False

    def __init__(
        self, kernel_size: Any, *, stride: Any = None, padding: Any = 0, count_include_pad: bool = True
    ) -> None:
        self.window = tgl.Window(
            kernel_size,
            stride=kernel_size if stride is None else stride,
            padding=padding,
            who=f"AvgPool2d({kernel_size})",
        )
        self.window.expect_narrow_padding()
        self.count_include_pad = count_include_pad

    @tgl.in_floats
    def forward(self, x: Any) -> Any:
        """Return the mean of each window."""
        self.output_shape(x.shape)
        kernel_size, stride, padding = self.window.size, self.window.stride, self.window.padding_for(x.shape[1:3])
        total = tgl.sum_pool2d(x, kernel_size=kernel_size, stride=stride, padding=padding)
        if self.count_include_pad or padding == ((0, 0), (0, 0)):
            return total * (1.0 / math.prod(kernel_size))
        return total / tgl.count_pool2d(x, kernel_size=kernel_size, stride=stride, padding=padding)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, Ho, Wo, C)."""
        tgl.expect_images(shape, self.window.who, empty=False)
        return (shape[0], *self.window.places(shape[1:3]), shape[3])
