r"""Softmax.

.. math:: y_k = \frac{e^{x_k}}{\sum_j e^{x_j}}
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class Softmax(tgl.Layer):
    r"""Turns scores into probabilities along an axis: :math:`y_k = e^{x_k} / \sum_j e^{x_j}`.

    The maximum is subtracted first, so nothing overflows. The losses take scores, not probabilities:
    `softmax_cross_entropy` contains this layer.

    Parameters
    ----------
    axis : int
        The axis along which the results sum to 1.

    Shapes
    ------
    x : any, of at least one axis; y : same shape as x

    Raises
    ------
    ShapeError
        x has no such axis, or this axis is empty.

    References
    ----------
    J. Bridle, "Probabilistic interpretation of feedforward classification network outputs, with relationships to
    statistical pattern recognition", in Neurocomputing, NATO ASI series F 68, 1990, equation 4.

    Examples
    --------
    >>> import numpy as np
    >>> Softmax()(np.log([[1.0, 3.0]])).round(6)
    array([[0.25, 0.75]])
    """

    integers = False

    def __init__(self, *, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """Return the probabilities."""
        self.output_shape(x.shape)
        return tgl.softmax(x, axis=self.axis)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        if not -len(shape) <= self.axis < len(shape) or shape[self.axis] == 0:
            raise tgl.errors.ShapeError(
                f"{self}: expected at least one score along axis {self.axis}, got x.shape == {shape}"
            )
        return shape
