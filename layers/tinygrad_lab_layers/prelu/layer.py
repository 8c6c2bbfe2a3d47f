r"""Parametric rectified linear unit.

.. math:: y_{\dots c} = \max(x_{\dots c}, 0) + a_c \min(x_{\dots c}, 0)
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


@tgl.primitive
def prelu(xp: Any, x: Any, slope: Any) -> Any:
    """Return x where it is positive and slope * x elsewhere; one slope for each channel."""
    return xp.where(x > 0, x, slope * x)


prelu.defvjp(
    x=lambda g, x, slope: tgl.where(x > 0, g, slope * g),
    slope=lambda g, x, slope_like: tgl.sum_to(g * tgl.where(x > 0, 0.0, x), slope_like),
)


class PReLU(tgl.Layer):
    r"""Leaky ReLU with learned slopes: :math:`y_{\dots c} = \max(x_{\dots c}, 0) + a_c \min(x_{\dots c}, 0)`.

    The derivative with respect to x is 1 where x > 0, and the slope :math:`a_c` elsewhere, including at x = 0. The
    derivative with respect to :math:`a_c` is min(x, 0), summed over the elements of the channel. NaN stays NaN.

    Parameters
    ----------
    channels : int
        C, the length of the last axis; or 1, for one slope shared by all channels.
    slope : float
        The initial value of each :math:`a_c`. Exclude the slopes from weight decay, which would pull them toward 0, and
        so the layer toward ReLU.

    Shapes
    ------
    x : (..., C); y : (..., C); slope a : (C,) or (1,)

    Raises
    ------
    ShapeError
        The last axis of x is not C long, or there is none.
    OptionError
        C is negative.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015, equations 1 to 3.

    Examples
    --------
    >>> import numpy as np
    >>> PReLU(2)(np.array([[-4.0, 8.0]], "float32"))
    tensor([[-1.  8.]], shape=(1, 2), dtype=float32, device='cpu', from prelu)
    """

    integers = False

    def __init__(self, channels: int, *, slope: float = 0.25) -> None:
        if channels < 0:
            raise tgl.errors.OptionError(f"PReLU: expected channels >= 0, got {channels}")
        self.channels = channels
        self.slope = tgl.Parameter(tgl.initializers.constant((channels,), slope))

    def forward(self, x: Any) -> Any:
        """Return x where it is positive and the channel's slope times x elsewhere."""
        self.output_shape(x.shape)
        return prelu(x, self.slope)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        if not shape or self.channels not in (1, shape[-1]):
            raise tgl.errors.ShapeError(
                f"{self}: expected last axis {self.channels}, got {shape[-1] if shape else 'none'} "
                f"(x.shape == {shape}); channels come last"
            )
        return shape
