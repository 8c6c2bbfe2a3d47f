r"""Padding of images.

.. math:: y_{n,h,w,c} = x_{n,\; h - t,\; w - l,\; c} \text{ inside}, \qquad
          0 \text{ or the nearest pixel of x elsewhere}
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class Pad2d(tgl.Layer):
    r"""Pads images with zeros or by repeating their edge.

    .. math:: y_{n,h,w,c} = x_{n,\; h - t,\; w - l,\; c} \text{ inside}, \qquad
              0 \text{ or the nearest pixel of x elsewhere}

    Here t is the padding at the top and l that on the left.

    Parameters
    ----------
    padding : int, (vertical, horizontal) or ((top, bottom), (left, right))
        The number of rows and columns added.
    mode : {"zero", "edge"}
        Whether to add zeros or repeat the border.

    Shapes
    ------
    x : (N, H, W, C); y : (N, H + top + bottom, W + left + right, C)

    Raises
    ------
    ShapeError
        x is not (N, H, W, C); an empty map has no edge to repeat.
    OptionError
        The padding is negative or not of these forms, or the mode is unknown.

    References
    ----------
    The modes ``constant`` and ``edge`` of NumPy's ``pad``.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0]).reshape(1, 1, 2, 1)
    >>> Pad2d(((0, 1), (1, 2)), mode="edge")(x).reshape(2, 5)
    array([[1., 1., 2., 2., 2.],
           [1., 1., 2., 2., 2.]])
    """

    def __init__(self, padding: Any, *, mode: str = "zero") -> None:
        if isinstance(padding, str):
            raise tgl.errors.OptionError(f"Pad2d: expected padding in numbers, got {padding!r}")
        if mode not in ("zero", "edge"):
            raise tgl.errors.OptionError(f"Pad2d: expected mode 'zero' or 'edge', got {mode!r}")
        self.padding, self.mode = tgl.Window(1, padding=padding, who="Pad2d").padding, mode

    def forward(self, x: Any) -> Any:
        """Return the padded images."""
        self.output_shape(x.shape)
        return tgl.pad(x, ((0, 0), *self.padding, (0, 0)), mode=self.mode)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, H + top + bottom, W + left + right, C)."""
        tgl.expect_images(shape, str(self), empty=self.mode == "zero")
        (top, bottom), (left, right) = self.padding
        return (shape[0], shape[1] + top + bottom, shape[2] + left + right, shape[3])
