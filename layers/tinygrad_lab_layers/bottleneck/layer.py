r"""Bottleneck block of residual networks.

.. math:: y = \max(0,\; F(x) + S(x)), \qquad F = B_3\, W_3 \circ \phi\, B_2\, W_2 \circ \phi\, B_1\, W_1
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class Bottleneck(tgl.Layer):
    r"""Residual block of 1x1, 3x3 and 1x1 convolutions, the middle one with fewer channels.

    .. math:: y = \phi(F(x) + S(x)), \qquad F = B_3\, W_3 \circ \phi\, B_2\, W_2 \circ \phi\, B_1\, W_1

    with phi(x) = max(x, 0), convolutions W1 (1x1, to fewer channels), W2 (3x3) and W3 (1x1, to more) without bias, and
    batch normalizations B. S is a shortcut of `Residual`.

    Parameters
    ----------
    in_channels : int
        C.
    width : int
        M, the channels of the 3x3 convolution.
    expansion : int
        The ratio of the result's channels to M: O = expansion M.
    stride : int
        s, the stride of the 3x3 convolution and of the shortcut.
    shortcut : {"identity", "padded", "projected"} or None
        S; None is the identity if the shape is unchanged, else a projection (option B of the paper).
    rng : int or numpy.random.Generator
        Seed or generator for the filters.

    Shapes
    ------
    x : (N, H, W, C); y : (N, ceil(H / s), ceil(W / s), O)

    Raises
    ------
    ShapeError
        x is not (N, H, W, C).
    OptionError
        A number is below 1, or the shortcut does not fit.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, figure 5 on the right.
    Deviation: the stride is in the 3x3 convolution, where later networks have it, and not in the first 1x1, which would
    skip three of four pixels.

    Examples
    --------
    >>> block = Bottleneck(256, 128, stride=2, rng=0)
    >>> block.output_shape((1, 56, 56, 256)), block.multiply_adds((1, 56, 56, 256))
    ((1, 28, 28, 512), 372506624)
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        expansion: int = 4,
        stride: int = 1,
        shortcut: str | None = None,
        rng: Any = None,
    ) -> None:
        if min(in_channels, width, expansion, stride) < 1:
            raise tgl.errors.OptionError(
                f"Bottleneck: expected numbers of at least 1, got in_channels={in_channels}, width={width}, "
                f"expansion={expansion}, stride={stride}"
            )
        rng = tgl.initializers.as_rng(rng)
        out_channels = expansion * width
        stays = stride == 1 and in_channels == out_channels
        shortcut = shortcut or ("identity" if stays else "projected")
        change = {} if shortcut == "identity" and stays else {"channels": (in_channels, out_channels), "stride": stride}
        inner = self._convolutions(in_channels, width, out_channels, stride, rng)
        self.block = tgl.layers["residual"](inner, shortcut=shortcut, rng=rng, **change)

    def _convolutions(self, before: int, width: int, after: int, stride: int, rng: Any) -> tgl.Sequential:
        """Return F."""
        conv, norm = (tgl.layers[name] for name in ("conv2d", "batch_norm"))
        return tgl.Sequential(
            {
                "reduce": conv(before, width, kernel_size=1, bias=False, rng=rng),
                "reduce_norm": norm(width, activation="relu"),
                "window": conv(width, width, kernel_size=3, stride=stride, padding=1, bias=False, rng=rng),
                "window_norm": norm(width, activation="relu"),
                "expand": conv(width, after, kernel_size=1, bias=False, rng=rng),
                "expand_norm": norm(after),
            }
        )

    def forward(self, x: Any) -> Any:
        """Return phi(F(x) + S(x))."""
        return self.block(x)

    def output_shape(self, shape: tuple[int, ...]) -> Any:
        """Return (N, ceil(H / s), ceil(W / s), O)."""
        return self.block.output_shape(shape)

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Return the sum over the convolutions."""
        return int(self.block.multiply_adds(shape))
