r"""Embedding.

.. math:: y = E_{x}
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl


class Embedding(tgl.Layer):
    r"""Looks up a learned vector for each integer: :math:`y_{\ldots f} = E_{x_{\ldots}, f}`.

    The gradient of a row of E is the sum of the cotangents of all its look-ups.

    Parameters
    ----------
    count : int
        V, the number of vectors.
    features : int
        F, the length of a vector.
    init : str or float
        The initializer of E, or its standard deviation.
    rng : int or numpy.random.Generator
        Seed or generator for E.

    Shapes
    ------
    x : (...) integers from 0 to V - 1; y : (..., F); E : (V, F)

    Raises
    ------
    DTypeError
        x does not hold integers.
    OptionError
        A number in x is negative or not below V; V or F is negative.

    References
    ----------
    Y. Bengio, R. Ducharme, P. Vincent, C. Jauvin, "A neural probabilistic language model", JMLR 3, 2003, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> Embedding(1000, 16, rng=0)(np.array([[3, 1, 4], [1, 5, 9]])).shape
    (2, 3, 16)
    """

    def __init__(self, count: int, features: int, *, init: str | float = 1.0, rng: Any = None) -> None:
        if count < 0 or features < 0:
            raise tgl.errors.OptionError(f"Embedding: expected count and features >= 0, got {count} and {features}")
        self.count, self.features = count, features
        self.weight = tgl.Parameter(tgl.initializers.draw(init, (count, features), rng=rng))

    def forward(self, x: Any) -> Any:
        """Return the vectors of the numbers in x."""
        if x.dtype.kind not in "iu":
            raise tgl.errors.DTypeError(f"{self}: expected integers, got {x.dtype}; use .astype('int64')")
        if x.size and (tgl.min(x) < 0 or tgl.max(x) >= self.count):
            raise tgl.errors.OptionError(
                f"{self}: expected numbers from 0 to {self.count - 1}, got {int(tgl.min(x))} to {int(tgl.max(x))}"
            )
        return tgl.take(self.weight, x, axis=0)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (..., F)."""
        return (*shape, self.features)
