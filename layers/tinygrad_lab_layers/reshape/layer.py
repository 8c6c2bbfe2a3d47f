r"""Reshaping.

.. math:: y_{n, j_1, j_2, \dots} = x_{n, i_1, i_2, \dots} \text{ where }
          (j_1 E_2 + j_2) E_3 + \dots = (i_1 D_2 + i_2) D_3 + \dots
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tinygrad_lab as tgl


class Reshape(tgl.Layer):
    r"""Reshapes each example in row-major order; the batch axis is unchanged.

    .. math:: y_{n, j_1, j_2, \dots} = x_{n, i_1, i_2, \dots} \text{ where }
              (j_1 E_2 + j_2) E_3 + \dots = (i_1 D_2 + i_2) D_3 + \dots

    Parameters
    ----------
    shape : sequence of int
        (E1, E2, ...), the axes after the batch axis; one of them may be -1 and is inferred.

    Shapes
    ------
    x : (N, D1, D2, ...); y : (N, E1, E2, ...) with D1 D2 ... = E1 E2 ...

    Raises
    ------
    ShapeError
        The number of elements of an example differs from that of the shape, or x has no batch axis.
    OptionError
        More than one length is -1, or a length is below -1.

    References
    ----------
    Row-major order and -1 as in NumPy's ``reshape``.

    Examples
    --------
    >>> import numpy as np
    >>> Reshape((4, 4, -1))(np.zeros((32, 256))).shape
    (32, 4, 4, 16)
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)
        if any(n < -1 for n in self.shape) or self.shape.count(-1) > 1:
            raise tgl.errors.OptionError(f"{self}: expected lengths of axes, at most one of them -1, got {self.shape}")

    def forward(self, x: Any) -> Any:
        """Return the elements of each example in the new shape."""
        return tgl.reshape(x, shape=self.output_shape(x.shape))  # (N, D1, D2, ...) -> (N, E1, E2, ...)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, E1, E2, ...)."""
        elements = math.prod(shape[1:])
        known = math.prod(n for n in self.shape if n != -1)
        missing = elements // known if known else 0
        out = tuple(missing if n == -1 else n for n in self.shape)
        if not shape or math.prod(out) != elements:
            raise tgl.errors.ShapeError(
                f"{self}: expected examples that fit into {self.shape}, got {elements} elements each "
                f"(x.shape == {shape}); the batch axis is not counted"
            )
        return (shape[0], *out)
