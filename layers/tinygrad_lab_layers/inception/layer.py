r"""Inception module.

.. math:: y = [\phi W_1 x,\; \phi W_3\, \phi R_3 x,\; \phi W_5\, \phi R_5 x,\; \phi W_p\, P x]
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class Inception(tgl.Layer):
    r"""Joins convolutions of several window sizes, the larger ones behind a 1x1 convolution with few channels.

    .. math:: y = [\phi W_1 x,\; \phi W_3\, \phi R_3 x,\; \phi W_5\, \phi R_5 x,\; \phi W_p\, P x]

    with phi(x) = max(x, 0). W1 (1x1), W3 (3x3), W5 (5x5), Wp (1x1) and R (1x1, to few channels) are convolutions with
    bias, padded so that H and W do not change. P is max-pooling of 3x3 windows at stride 1.

    Parameters
    ----------
    in_channels : int
        C.
    conv1x1 : int
        Channels of W1.
    reduce3x3, conv3x3 : int
        Channels of R3 and W3.
    reduce5x5, conv5x5 : int
        Channels of R5 and W5.
    pool_proj : int
        Channels of Wp.
    rng : int or numpy.random.Generator
        Seed or generator for the filters.

    Shapes
    ------
    x : (N, H, W, C); y : (N, H, W, conv1x1 + conv3x3 + conv5x5 + pool_proj)

    Raises
    ------
    ShapeError
        x is not (N, H, W, C), or is an empty map.
    OptionError
        A number of channels is negative.

    References
    ----------
    C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, figure 2b; the parameters are columns of table 1.

    Examples
    --------
    >>> module = Inception(192, conv1x1=64, reduce3x3=96, conv3x3=128, reduce5x5=16, conv5x5=32, pool_proj=32, rng=0)
    >>> module.output_shape((1, 28, 28, 192)), module.multiply_adds((1, 28, 28, 192))
    ((1, 28, 28, 256), 128049152)
    """

    def __init__(
        self,
        in_channels: int,
        *,
        conv1x1: int,
        reduce3x3: int,
        conv3x3: int,
        reduce5x5: int,
        conv5x5: int,
        pool_proj: int,
        rng: Any = None,
    ) -> None:
        rng = tgl.initializers.as_rng(rng)
        self.in_channels = in_channels

        def conv(before: int, after: int, kernel_size: int) -> Any:
            return tgl.layers["conv2d"](
                before, after, kernel_size=kernel_size, padding="same", activation="relu", rng=rng
            )

        pool = tgl.layers["max_pool2d"](3, stride=1, padding="same")
        self.branches = tgl.layers["parallel_concat"](
            {
                "1x1": conv(in_channels, conv1x1, 1),
                "3x3": tgl.Sequential({"reduce": conv(in_channels, reduce3x3, 1), "conv": conv(reduce3x3, conv3x3, 3)}),
                "5x5": tgl.Sequential({"reduce": conv(in_channels, reduce5x5, 1), "conv": conv(reduce5x5, conv5x5, 5)}),
                "pool": tgl.Sequential({"pool": pool, "proj": conv(in_channels, pool_proj, 1)}),
            }
        )

    def forward(self, x: Any) -> Any:
        """Return the four branches' maps, joined along the channels."""
        self._check(x.shape)
        return self.branches(x)

    def output_shape(self, shape: tuple[int, ...]) -> Any:
        """Return (N, H, W, conv1x1 + conv3x3 + conv5x5 + pool_proj)."""
        self._check(shape)
        return self.branches.output_shape(shape)

    def _check(self, shape: tuple[int, ...]) -> None:
        tgl.expect_images(shape, f"Inception({self.in_channels} -> ...)", channels=self.in_channels, empty=False)

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Return the sum over the convolutions."""
        return int(self.branches.multiply_adds(shape))
