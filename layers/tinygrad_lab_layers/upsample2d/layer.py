r"""Upsampling.

.. math:: y_{n,\, h s + r,\, \ldots} = (1 - |o_r|)\, x_{n,h,\ldots} +
          |o_r|\, x_{n,\, h + \operatorname{sign} o_r,\,\ldots} \qquad o_r = \frac{r + \frac12}{s} - \frac12
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class Upsample2d(tgl.Layer):
    r"""Enlarges images: each pixel becomes s_h x s_w pixels, copies of it or blends with its neighbors.

    .. math:: y_{n,\, h s + r,\, \ldots} = (1 - |o_r|)\, x_{n,h,\ldots} +
              |o_r|\, x_{n,\, h + \operatorname{sign} o_r,\,\ldots} \qquad o_r = \frac{r + \frac12}{s} - \frac12

    This formula is applied along the rows and then along the columns. In mode "bilinear", the value of a pixel is that
    at its center (PyTorch's ``align_corners=False``), and the border is repeated. In mode "nearest", o = 0.

    Parameters
    ----------
    scale : int or (vertical, horizontal)
        (s_h, s_w).
    mode : {"nearest", "bilinear"}
        Whether to copy pixels or to blend them.

    Shapes
    ------
    x : (N, H, W, C); y : (N, H s_h, W s_w, C)

    Raises
    ------
    ShapeError
        x is not (N, H, W, C), or is an empty map.
    OptionError
        The scale is neither a positive whole number nor a pair of them, or the mode is unknown.

    References
    ----------
    A. Odena, V. Dumoulin, C. Olah, "Deconvolution and checkerboard artifacts", Distill, 2016, where upsampling and a
    convolution replace a transposed convolution.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.0, 4.0]).reshape(1, 1, 2, 1)
    >>> Upsample2d((1, 2))(x).reshape(-1), Upsample2d((1, 2), mode="bilinear")(x).reshape(-1)
    (array([0., 0., 4., 4.]), array([0., 1., 3., 4.]))
    """

    integers = False

    def __init__(self, scale: Any = 2, *, mode: str = "nearest") -> None:
        if mode not in ("nearest", "bilinear"):
            raise tgl.errors.OptionError(f"Upsample2d: expected mode 'nearest' or 'bilinear', got {mode!r}")
        self.scale, self.mode = tgl.pair(scale, minimum=1, what="Upsample2d: scale"), mode

    def forward(self, x: Any) -> Any:
        """Return the enlarged images."""
        self.output_shape(x.shape)
        enlarge = tgl.repeat if self.mode == "nearest" else self._blend
        for axis, scale in ((1, self.scale[0]), (2, self.scale[1])):
            x = enlarge(x, scale, axis)
        return x

    @staticmethod
    def _blend(x: Any, scale: int, axis: int) -> Any:
        """Return x enlarged along an axis by linear interpolation."""
        length = x.shape[axis]
        widths = [(1, 1) if a == axis else (0, 0) for a in range(4)]
        padded = tgl.pad(x, widths, mode="edge")
        before, _, after = (tgl.split(padded, [i, i + length], axis)[1] for i in range(3))
        phases = []
        for r in range(scale):
            offset = (r + 0.5) / scale - 0.5
            neighbor = before if offset < 0 else after
            phases.append(x * (1.0 - abs(offset)) + neighbor * abs(offset))
        y = tgl.stack(phases, axis + 1)  # (..., H, s, ...)
        return tgl.reshape(y, shape=(*x.shape[:axis], length * scale, *x.shape[axis + 1 :]))  # (H, s) -> H*s

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, H s_h, W s_w, C)."""
        tgl.expect_images(shape, f"{self}", empty=False)
        return (shape[0], shape[1] * self.scale[0], shape[2] * self.scale[1], shape[3])
