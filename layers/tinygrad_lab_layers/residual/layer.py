r"""Residual connection.

.. math:: y = \phi(F(x) + S(x))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tinygrad_lab as tgl

SHORTCUTS = ("identity", "padded", "padded_around", "projected")


class Residual(tgl.Layer):
    r"""Adds a shortcut of the input to a layer's result: :math:`y = \phi(F(x) + S(x))`.

    With F = 0 and no activation, the block is the identity. If F changes the shape of x, the shortcut S must change it
    in the same way. S is one of these:

    - ``"identity"``: S(x) = x.
    - ``"padded"`` (option A of the paper): every s-th row and column, with zeros for the new channels, which come last.
    - ``"padded_around"``: likewise, but half of the new channels, rounded down, come first; some published weights
      use this.
    - ``"projected"`` (option B): a 1x1 convolution of stride s without bias, and batch normalization.

    Parameters
    ----------
    inner : Layer
        F. For a stride s > 1 its result must have ceil(H / s) rows, as 3x3 windows with ``padding=1`` give.
    shortcut : {"identity", "padded", "padded_around", "projected"}
        S.
    channels : (int, int) or None
        (C, O), the channels before and after, for a shortcut other than the identity.
    stride : int
        s, for a shortcut other than the identity.
    activation : {"relu"} or None
        phi; None is the identity.
    rng : int or numpy.random.Generator
        Seed or generator for the projection.

    Shapes
    ------
    x : (N, H, W, C); F(x), S(x), y : (N, ceil(H / s), ceil(W / s), O). With
        ``shortcut="identity"``, x may have any shape.

    Raises
    ------
    ShapeError
        F(x) and S(x) differ in shape; x is not (N, H, W, C), for a shortcut that is not the identity.
    OptionError
        An option is unknown or does not fit the shortcut; a padded shortcut has fewer channels after than before.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, equations 1 and 2, the
    shortcuts in sections 3.3 and 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> Residual(tgl.layers["tanh"](), activation=None)(np.array([[0.0, 1000.0]]))
    array([[   0., 1001.]])
    >>> conv = tgl.layers["conv2d"](16, 32, kernel_size=3, stride=2, padding=1)
    >>> Residual(conv, shortcut="padded", channels=(16, 32), stride=2).output_shape((8, 32, 32, 16))
    (8, 16, 16, 32)
    """

    def __init__(
        self,
        inner: Any,
        *,
        shortcut: str = "identity",
        channels: Sequence[int] | None = None,
        stride: int = 1,
        activation: str | None = "relu",
        rng: Any = None,
    ) -> None:
        if not isinstance(inner, tgl.Layer):
            raise tgl.errors.OptionError(f"Residual: expected inner to be a layer, got {type(inner).__name__}")
        self._check(shortcut, channels, stride, activation)
        self.inner, self.shortcut, self.stride, self.activation = inner, shortcut, stride, activation
        self.channels = tuple(channels) if channels else None
        if self.channels and shortcut == "projected":
            self.projection = tgl.layers["conv2d"](*self.channels, kernel_size=1, stride=stride, bias=False, rng=rng)
            self.norm = tgl.layers["batch_norm"](self.channels[1])

    def _check(self, shortcut: str, channels: Any, stride: int, activation: str | None) -> None:
        if shortcut not in SHORTCUTS or activation not in (None, "relu"):
            raise tgl.errors.OptionError(
                f"Residual: expected shortcut to be one of {SHORTCUTS} and activation 'relu' or None, "
                f"got {shortcut!r} and {activation!r}"
            )
        if shortcut == "identity" and (channels is not None or stride != 1):
            raise tgl.errors.OptionError(
                f"Residual: expected neither channels nor a stride with shortcut='identity', got channels={channels}, "
                f"stride={stride}; use 'padded' or 'projected'"
            )
        if shortcut != "identity" and (channels is None or len(channels) != 2 or stride < 1):
            raise tgl.errors.OptionError(
                f"Residual: expected channels=(before, after) and a stride >= 1 with shortcut={shortcut!r}, "
                f"got channels={channels}, stride={stride}"
            )
        if shortcut.startswith("padded") and channels[1] < channels[0]:
            raise tgl.errors.OptionError(
                f"Residual: expected at least as many channels after as before with shortcut={shortcut!r}, "
                f"got {channels}; use 'projected'"
            )

    def forward(self, x: Any) -> Any:
        """Return phi(F(x) + S(x))."""
        short = self._shortcut(x)
        added = self.inner(x)
        self._agree(added.shape, short.shape)
        return tgl.add_relu(added, short) if self.activation == "relu" else added + short

    def _shortcut(self, x: Any) -> Any:
        """Return S(x)."""
        if self.channels is None:
            return x
        tgl.expect_images(x.shape, type(self).__name__, channels=self.channels[0])
        if self.shortcut == "projected":
            return self.norm(self.projection(x))
        x = x[:, :: self.stride, :: self.stride]  # (N, H, W, C) -> (N, ceil(H/s), ceil(W/s), C)
        new = self.channels[1] - self.channels[0]
        first = new // 2 if self.shortcut == "padded_around" else 0
        return tgl.pad(x, ((0, 0), (0, 0), (0, 0), (first, new - first)))  # (N, H, W, C) -> (N, H, W, O)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, ceil(H / s), ceil(W / s), O)."""
        short = shape
        if self.channels is not None:
            tgl.expect_images(shape, type(self).__name__, channels=self.channels[0])
            if self.shortcut == "projected":
                short = self.norm.output_shape(self.projection.output_shape(shape))
            else:
                short = (shape[0], -(-shape[1] // self.stride), -(-shape[2] // self.stride), self.channels[1])
        return self._agree(self.inner.output_shape(shape), short)

    def _agree(self, added: tuple[int, ...], short: tuple[int, ...]) -> tuple[int, ...]:
        if added != short:
            raise tgl.errors.ShapeError(
                f"{type(self).__name__}: expected the inner layer and the shortcut to return the same shape, "
                f"got {added} and {short}; use shortcut='projected' with the stride of the inner layer, and pad the "
                "windows of the inner layer?"
            )
        return added

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the inner layer as it is now."""
        return {**super().config(), "inner": self.inner}

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Return the sum for the inner layer and the projection."""
        projection = self.projection.multiply_adds(shape) if self.shortcut == "projected" else 0
        return int(self.inner.multiply_adds(shape)) + int(projection)
