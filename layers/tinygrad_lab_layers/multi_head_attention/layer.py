r"""Multi-head attention.

.. math:: \operatorname{attend}(Q, K, V) = \operatorname{softmax}(Q K^T / \sqrt d)\, V
"""

from __future__ import annotations

import math
from typing import Any

import tinygrad_lab as tgl

_HIDDEN = -1e30  # the score of a masked key: finite, so that a query without any key has no NaN


@tgl.primitive
def past_only(xp: Any, scores: Any, *, fill: float) -> Any:
    """Return the scores (..., Tq, Tk), with `fill` for keys after their query."""
    query, key = xp.arange(scores.shape[-2]), xp.arange(scores.shape[-1])
    return xp.where(key <= query[:, None], scores, fill)


past_only.defvjp(scores=lambda g: past_only(g, fill=0.0))


@tgl.primitive
def visible_only(xp: Any, scores: Any, mask: Any, *, fill: float) -> Any:
    """Return the scores (N, h, Tq, Tk), with `fill` for keys at which the mask (N, Tk) is 0."""
    return xp.where(mask[:, None, None, :] != 0, scores, fill)


visible_only.defvjp(scores=lambda g, mask: visible_only(g, mask, fill=0.0))


class MultiHeadAttention(tgl.Layer):
    r"""Computes for each query a mean of the values, weighted by the match of their keys, in several heads.

    .. math:: y = [A_1, \dots, A_h]\, W_o + b_o, \qquad
              A_i = \operatorname{softmax}\!\big(Q_i K_i^T / \sqrt d\big)\, V_i

    where Q = x_q W_q + b_q, K = x_k W_k + b_k and V = x_v W_v + b_v, each cut into h heads of d = F / h features. Pass
    the same array three times for self-attention. A fourth input masks keys, such as the padding of short sequences:
    where the mask is 0, no query sees the key. A query that sees no key gets the weights 0.

    Parameters
    ----------
    features : int
        F.
    heads : int
        h, a divisor of F.
    causal : bool
        Whether query t sees only keys 1 ... t.
    bias : bool
        Whether to add the vectors b.
    init : str or float
        The initializer of the weights, or their standard deviation. Biases start at 0.
    rng : int or numpy.random.Generator
        Seed or generator for the weights.

    Shapes
    ------
    query : (N, Tq, F); key, value : (N, Tk, F); mask : (N, Tk); y : (N, Tq, F); query.weight, key.weight, value.weight,
    output.weight : (F, F); their biases : (F,)

    Raises
    ------
    ShapeError
        The inputs are not of these shapes, or there is no key.
    OptionError
        The heads do not divide the features.

    References
    ----------
    A. Vaswani et al., "Attention is all you need", NIPS 2017, equation 1 and section 3.2.2; the mask in section 3.2.3.
    The paper has no biases.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.zeros((2, 7, 8), "float32")
    >>> MultiHeadAttention(8, 2, causal=True, rng=0)(x, x, x).shape
    (2, 7, 8)
    """

    integers = False

    def __init__(
        self,
        features: int,
        heads: int,
        *,
        causal: bool = False,
        bias: bool = True,
        init: str | float = "glorot_uniform",
        rng: Any = None,
    ) -> None:
        if heads < 1 or features < 1 or features % heads:
            raise tgl.errors.OptionError(
                f"MultiHeadAttention: expected a number of heads that divides {features} features, got {heads}"
            )
        self.features, self.heads, self.causal = features, heads, causal
        rng, dense = tgl.initializers.as_rng(rng), tgl.layers["dense"]
        self.query = dense(features, features, bias=bias, init=init, rng=rng)
        self.key = dense(features, features, bias=bias, init=init, rng=rng)
        self.value = dense(features, features, bias=bias, init=init, rng=rng)
        self.output = dense(features, features, bias=bias, init=init, rng=rng)

    def forward(self, query: Any, key: Any, value: Any, mask: Any = None) -> Any:
        """Return the weighted mean of the values for each query."""
        shape = self.output_shape(query.shape, key.shape, value.shape, *(() if mask is None else (mask.shape,)))
        q, k, v = self._split(self.query(query)), self._split(self.key(key)), self._split(self.value(value))
        scores = tgl.matmul(q, tgl.swapaxes(k, 2, 3)) * (self.heads / self.features) ** 0.5  # (N, h, Tq, Tk)
        if self.causal:
            scores = past_only(scores, fill=-math.inf)
        if mask is not None:
            scores = visible_only(scores, mask, fill=_HIDDEN)
        weights = tgl.softmax(scores, axis=-1)
        if mask is not None:
            weights = visible_only(weights, mask, fill=0.0)
        mixed = tgl.matmul(weights, v)
        mixed = tgl.reshape(tgl.swapaxes(mixed, 1, 2), shape=shape)  # (N, h, Tq, d) -> (N, Tq, h*d)
        return self.output(mixed)

    def _split(self, x: Any) -> Any:
        """Return the heads one after another: (N, T, F) -> (N, h, T, d)."""
        n, length, _ = x.shape
        x = tgl.reshape(x, shape=(n, length, self.heads, self.features // self.heads))  # F -> (h, d)
        return tgl.swapaxes(x, 1, 2)

    def output_shape(
        self,
        query: tuple[int, ...],
        key: tuple[int, ...],
        value: tuple[int, ...],
        mask: tuple[int, ...] | None = None,
    ) -> tuple[int, ...]:
        """Return (N, Tq, F)."""
        f = self.features
        fit = len(query) == len(key) == 3 and query[0] == key[0] and query[2] == key[2] == f and key == value
        if not fit or key[1] == 0:
            raise tgl.errors.ShapeError(
                f"{self}: expected a query (N, Tq, {f}), a key and a value (N, Tk, {f}) with Tk > 0, "
                f"got shapes {query}, {key} and {value}"
            )
        if mask is not None and mask != key[:2]:
            raise tgl.errors.ShapeError(f"{self}: expected a mask (N, Tk) == {key[:2]}, got mask.shape == {mask}")
        for dense, shape in ((self.query, query), (self.key, key), (self.value, value), (self.output, query)):
            dense.output_shape(shape)  # so that a summary finds them
        return query

    def multiply_adds(
        self,
        query: tuple[int, ...],
        key: tuple[int, ...],
        value: tuple[int, ...],
        mask: tuple[int, ...] | None = None,
    ) -> int:
        """Return N (2 Tq F^2 + 2 Tk F^2 + 2 Tq Tk F)."""
        n, tq, f = self.output_shape(query, key, value, mask)
        return 2 * n * f * (tq * f + key[1] * f + tq * key[1])
