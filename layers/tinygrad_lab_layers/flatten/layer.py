r"""Flattening.

.. math:: y_{n,\; (h W + w) C + c} = x_{n,h,w,c}
"""

from __future__ import annotations

import math
from typing import Any

import tinygrad_lab as tgl


class Flatten(tgl.Layer):
    r"""Joins the axes of each example into one, row-major: :math:`y_{n,\,(hW+w)C+c} = x_{nhwc}`.

    Parameters
    ----------
    start : int
        The first axis to join; earlier axes are kept, by default only the batch axis.

    Shapes
    ------
    x : (N, D1, D2, ...); y : (N, D1 D2 ...). With no axis left to join, one of length 1 is added.

    Raises
    ------
    ShapeError
        x has fewer than `start` axes.
    OptionError
        `start` is negative.

    References
    ----------
    Row-major order as in NumPy's ``ravel``. Between maps and dense layers: A. Krizhevsky, I. Sutskever, G. Hinton,
    "ImageNet classification with deep convolutional neural networks", 2012, section 3.5.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten()(np.zeros((32, 5, 5, 16))).shape
    (32, 400)
    """

    def __init__(self, *, start: int = 1) -> None:
        if start < 0:
            raise tgl.errors.OptionError(f"Flatten: expected an axis start >= 0, got {start}")
        self.start = start

    def forward(self, x: Any) -> Any:
        """Return the elements of each example in one row."""
        return tgl.reshape(x, shape=self.output_shape(x.shape))  # (N, D1, D2, ...) -> (N, D1*D2*...)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, D1 D2 ...)."""
        if len(shape) < self.start:
            raise tgl.errors.ShapeError(
                f"{self}: expected at least {self.start} axes, got x.shape == {shape}; add a batch axis?"
            )
        return (*shape[: self.start], math.prod(shape[self.start :]))
