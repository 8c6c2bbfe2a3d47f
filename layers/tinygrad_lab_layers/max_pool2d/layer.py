r"""Max-pooling.

.. math:: y_{n,p,q,c} = \max_{i,j} x_{n,\; p s + i - t,\; q s + j - l,\; c}
"""

from __future__ import annotations

import math
from typing import Any

import tinygrad_lab as tgl


class MaxPool2d(tgl.Layer):
    r"""Returns the largest element of each window: :math:`y_{npqc} = \max_{ij} x_{n,\,ps+i-t,\,qs+j-l,\,c}`.

    Here s is the stride, t and l the padding above and on the left. Padding counts as minus infinity and never wins.
    The gradient goes to the first of equal maxima, row by row. A NaN in a window is its maximum.

    Parameters
    ----------
    kernel_size : int or (height, width)
        (kh, kw), at most 256 elements.
    stride : int, (vertical, horizontal) or None
        The step from one window to the next; None means the size of the window. With a smaller step,
        windows overlap.
    padding : int, (vertical, horizontal), ((top, bottom), (left, right)), "same" or "valid"
        Padding around the map, narrower than the window on each side. ``"valid"`` adds none; ``"same"`` gives
        ceil(H / stride) rows.

    Shapes
    ------
    x : (N, H, W, C); y : (N, Ho, Wo, C). Ho = (H + top + bottom - kh) // stride + 1, and Wo likewise.

    Raises
    ------
    ShapeError
        x is not (N, H, W, C), is an empty map, or is smaller than the window when padded.
    OptionError
        An option is out of range: a window of more than 256 elements, or padding that is not narrower than the window.

    References
    ----------
    M. Ranzato, F. Huang, Y. Boureau, Y. LeCun, "Unsupervised learning of invariant feature hierarchies with
    applications to object recognition", CVPR 2007. Overlapping windows: A. Krizhevsky, I. Sutskever, G. Hinton,
    "ImageNet classification with deep convolutional neural networks", 2012, section 3.4.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> MaxPool2d(2)(x).reshape(2, 2)
    array([[ 5.,  7.],
           [13., 15.]])
    >>> MaxPool2d(3, stride=2).output_shape((1, 55, 55, 96))
    (1, 27, 27, 96)
    """

    def __init__(self, kernel_size: Any, *, stride: Any = None, padding: Any = 0) -> None:
        who = f"MaxPool2d({kernel_size})"
        self.window = tgl.Window(
            kernel_size, stride=kernel_size if stride is None else stride, padding=padding, who=who
        )
        if math.prod(self.window.size) > 256:
            height, width = self.window.size
            raise tgl.errors.OptionError(
                f"{who}: expected a window of at most 256 elements, got {height}x{width}; pool in two steps"
            )
        self.window.expect_narrow_padding()

    def forward(self, x: Any) -> Any:
        """Return the largest element of each window."""
        self.output_shape(x.shape)
        padding = self.window.padding_for(x.shape[1:3])
        return tgl.largest_in_windows(x, kernel_size=self.window.size, stride=self.window.stride, padding=padding)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, Ho, Wo, C)."""
        tgl.expect_images(shape, self.window.who, empty=False)
        return (shape[0], *self.window.places(shape[1:3]), shape[3])
