r"""Dense layer.

.. math:: y = \phi(x W + b)
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class Dense(tgl.Layer):
    r"""Computes weighted sums of all inputs: :math:`y = \phi(x W + b)`.

    Parameters
    ----------
    in_features, out_features : int
        The lengths of the last axis before and after.
    bias : bool
        Whether to add b.
    activation : {"relu"} or None
        phi, fused with the product; None is the identity.
    init : str or float
        The initializer of W, or its standard deviation. b starts at 0.
    rng : int or numpy.random.Generator
        Seed or generator for W.

    Shapes
    ------
    x : (..., in_features); y : (..., out_features); W : (in_features, out_features); b : (out_features,)

    Raises
    ------
    ShapeError
        The last axis of x is not in_features long.
    OptionError
        A number of features is negative, or the activation is unknown.

    References
    ----------
    D. Rumelhart, G. Hinton, R. Williams, "Learning representations by back-propagating errors", Nature 323, 1986,
    equations 1 and 2 (with any activation in place of the logistic function).

    Examples
    --------
    >>> import numpy as np
    >>> Dense(784, 10, rng=0)(np.zeros((32, 784), "float32")).shape
    (32, 10)
    """

    integers = False

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        activation: str | None = None,
        init: str | float = "he_normal",
        rng: Any = None,
    ) -> None:
        if in_features < 0 or out_features < 0:
            raise tgl.errors.OptionError(
                f"Dense: expected in_features and out_features >= 0, got {in_features} and {out_features}"
            )
        if activation not in (None, "relu"):
            raise tgl.errors.OptionError(f"Dense: expected activation 'relu' or None, got {activation!r}")
        self.in_features, self.out_features, self.activation = in_features, out_features, activation
        self.weight = tgl.Parameter(tgl.initializers.draw(init, (in_features, out_features), rng=rng))
        self.bias = tgl.Parameter(tgl.initializers.zeros((out_features,))) if bias else None

    def forward(self, x: Any) -> Any:
        """Return phi(x W + b)."""
        self.output_shape(x.shape)
        y = tgl.matmul(x, self.weight)
        if self.bias is not None:
            y = y + self.bias
        return tgl.relu(y) if self.activation == "relu" else y

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (..., out_features)."""
        if not shape or shape[-1] != self.in_features:
            raise tgl.errors.ShapeError(
                f"{self}: expected last axis {self.in_features}, got {shape[-1] if shape else 'none'} "
                f"(x.shape == {shape}); flatten first?"
            )
        return (*shape[:-1], self.out_features)

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Return in_features * out_features for each row of x."""
        rows = 1
        for n in shape[:-1]:
            rows *= n
        return rows * self.in_features * self.out_features
