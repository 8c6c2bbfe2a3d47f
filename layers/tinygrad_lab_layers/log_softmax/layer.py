r"""Logarithm of softmax.

.. math:: y_k = x_k - \log \sum_j e^{x_j}
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class LogSoftmax(tgl.Layer):
    r"""Turns scores into logarithms of probabilities along an axis: :math:`y_k = x_k - \log \sum_j e^{x_j}`.

    The maximum is subtracted first, so nothing overflows and no logarithm of 0 is taken. The loss for its result is
    `nll`; `softmax_cross_entropy` contains both the layer and `nll`.

    Parameters
    ----------
    axis : int
        The axis along which the probabilities sum to 1.

    Shapes
    ------
    x : any, of at least one axis; y : same shape as x

    Units
    -----
    Nats.

    Raises
    ------
    ShapeError
        x has no such axis, or this axis is empty.

    References
    ----------
    J. Bridle, "Probabilistic interpretation of feedforward classification network outputs, with relationships to
    statistical pattern recognition", in Neurocomputing, NATO ASI series F 68, 1990, logarithm of equation 4.

    Examples
    --------
    >>> import numpy as np
    >>> LogSoftmax()(np.array([[0.0, 0.0], [0.0, 1000.0]])).round(4)
    array([[-6.931e-01, -6.931e-01],
           [-1.000e+03,  0.000e+00]])
    """

    integers = False

    def __init__(self, *, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """Return the logarithms of the probabilities."""
        self.output_shape(x.shape)
        return tgl.log_softmax(x, axis=self.axis)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        if not -len(shape) <= self.axis < len(shape) or shape[self.axis] == 0:
            raise tgl.errors.ShapeError(
                f"{self}: expected at least one score along axis {self.axis}, got x.shape == {shape}"
            )
        return shape
