r"""Local response normalization.

.. math:: y_c = x_c \Big/ \Big(k + a \sum_{j=\max(0,\,c-l)}^{\min(c+r,\,C-1)} x_j^2\Big)^{\beta}
"""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl

FARTHEST = 1 << 30  # the largest `before` or `after`


@tgl.primitive
def channel_sum(xp: Any, x: Any, *, before: int, after: int) -> Any:
    """Return, for each channel, the sum over itself and its neighbors before and after it."""
    padded = xp.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, after)])
    return sum(padded[..., i : i + x.shape[-1]] for i in range(before + 1 + after))


@tgl.primitive
def local_response_norm(xp: Any, x: Any, *, before: int, after: int, factor: float, beta: float, k: float) -> Any:
    """Return x / (k + factor * sum of the squares over each channel's neighborhood)^beta."""
    squares = channel_sum.forward(xp, x * x, before=before, after=after)
    return x * (k + factor * squares) ** -beta


@tgl.primitive
def local_response_norm_grad(
    xp: Any, g: Any, x: Any, *, before: int, after: int, factor: float, beta: float, k: float
) -> Any:
    """Return g_c b_c^-beta - 2 a beta x_c * (sum of g_j x_j b_j^(-beta - 1) over the channels j whose sums contain c).

    Here a is `factor`, and b_c is k + a * the sum of squares over the neighborhood of channel c.
    """
    base = channel_sum.forward(xp, x * x, before=before, after=after) * factor + k
    shrink = base**-beta
    seen = channel_sum.forward(xp, g * x * shrink / base, before=after, after=before)
    return g * shrink - x * seen * (2.0 * factor * beta)


@channel_sum.check
@local_response_norm.check
@local_response_norm_grad.check
def _check(op: Any, *shapes: tuple[int, ...], before: int, after: int, **numbers: float) -> None:
    if not all(type(n) is int and 0 <= n <= FARTHEST for n in (before, after)):
        raise tgl.errors.OptionError(
            f"{op}: expected before and after to be ints from 0 to {FARTHEST}, got {before!r:.60} and {after!r:.60}"
        )


def _rule(g: Any, x: Any, before: int, after: int, factor: float, beta: float, k: float) -> Any:
    return local_response_norm_grad(g, x, before=before, after=after, factor=factor, beta=beta, k=k)


def _grad_rule(
    v: Any,
    g: Any,
    x: Any,
    before: int,
    after: int,
    factor: float,
    beta: float,
    k: float,
    wanted: tuple[bool, bool],
) -> tuple[Any, Any]:
    r"""Differentiate <v, gradient> = sum v g s - m (v x) S'(g x s / b) with respect to g and x.

    S is the sum over each channel's neighborhood, S' its adjoint, a = factor, b = k + a S(x^2), s = b^-beta and
    m = 2 a beta.
    """
    base = channel_sum(x * x, before=before, after=after) * factor + k
    shrink, m = tgl.power(base, -beta), 2.0 * factor * beta
    slope, pushed = shrink / base, channel_sum(v * x, before=before, after=after)
    by_g = v * shrink - x * slope * pushed * m
    if not wanted[1]:
        return by_g, None
    bent = v - x * pushed / base * (2.0 * factor * (beta + 1.0))
    seen, seen_bent = (channel_sum(g * slope * each, before=after, after=before) for each in (x, bent))
    return by_g, (g * slope * pushed + v * seen + x * seen_bent) * -m


channel_sum.defvjp(x=lambda g, before, after: channel_sum(g, before=after, after=before))
local_response_norm.defvjp(x=_rule)
local_response_norm_grad.defvjp("g", "x", _grad_rule)


def neighborhood(size: int, convention: str) -> tuple[int, int, int]:
    """Return how many channels before and after a channel its sum includes, and the divisor of alpha.

    Raises
    ------
    OptionError
        The convention is unknown.
    """
    known = {
        "paper": (size // 2, size // 2, 1),
        "divided": (size // 2, size // 2, size),
        "pytorch": (size // 2, (size - 1) // 2, size),
        "tensorflow": (size, size, 1),
    }
    if convention not in known:
        raise tgl.errors.OptionError(
            f"LocalResponseNorm: expected convention to be one of {sorted(known)}, got {convention!r}"
        )
    return known[convention]


class LocalResponseNorm(tgl.Layer):
    r"""Divides each channel by a power of the sum of squares of its neighbors at the same pixel.

    .. math:: y_c = x_c \Big/ \Big(k + a \sum_{j=\max(0,\,c-l)}^{\min(c+r,\,C-1)} x_j^2\Big)^{\beta}

    Conventions differ in the numbers of channels, l before and r after c, and in whether a is alpha or alpha / `size`:

    ============  =======================  =======================  ============  =================================
    convention    l                        r                        a             even sizes
    ============  =======================  =======================  ============  =================================
    "paper"       size // 2                size // 2                alpha         sum size + 1 channels
    "divided"     size // 2                size // 2                alpha / size  sum size + 1, divide by size
    "pytorch"     size // 2                (size - 1) // 2          alpha / size  sum size channels, asymmetric
    "tensorflow"  size (the depth radius)  size (the depth radius)  alpha         sum 2 size + 1 channels, always
    ============  =======================  =======================  ============  =================================

    "divided" is the paper's window with PyTorch's factor, which some descriptions of the paper use.

    Parameters
    ----------
    size : int
        n of the paper, at least 1; for "tensorflow" the depth radius, at least 0.
    alpha, beta, k : float
        The constants of the formula, k at least 0. With k = 0, the result is NaN where all channels of a sum are 0.
    groups : int
        The number of groups of consecutive channels. Sums stay inside a group, as on GPUs that share the channels.
    convention : {"paper", "divided", "pytorch", "tensorflow"}
        See the table. The default values of (size, alpha, beta, k) are the paper's, (5, 1e-4, 0.75, 2). PyTorch's are
        (none, 1e-4, 0.75, 1), and TensorFlow's (5, 1, 0.5, 1).

    Shapes
    ------
    x : (..., C); y : same shape as x

    Raises
    ------
    ShapeError
        x has no axis, or its channels cannot be divided into the groups.
    OptionError
        The size or the number of groups is too small, k is negative, or the convention is unknown.

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks", 2012,
    section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([8.0, 8, 8, 8, 8, 9, 8, 8, 8, 8])
    >>> LocalResponseNorm(2, alpha=2, beta=2, k=0, convention="divided")(x).round(7) * 1e4
    array([4.883, 2.17 , 2.17 , 2.17 , 1.831, 2.06 , 1.831, 2.17 , 2.17 ,
           4.883])
    """

    integers = False

    def __init__(
        self,
        size: int = 5,
        *,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
        groups: int = 1,
        convention: str = "paper",
    ) -> None:
        self.before, self.after, divisor = neighborhood(size, convention)
        if size < (convention != "tensorflow") or k < 0:
            raise tgl.errors.OptionError(f"LocalResponseNorm: expected a positive size and k >= 0, got {size} and {k}")
        if groups < 1:
            raise tgl.errors.OptionError(f"LocalResponseNorm: expected at least one group, got {groups}")
        self.factor, self.beta, self.k, self.groups = alpha / divisor, beta, k, groups

    @tgl.in_floats
    def forward(self, x: Any) -> Any:
        """Return the normalized channels."""
        shape = self.output_shape(x.shape)
        if self.groups > 1:
            x = tgl.reshape(x, shape=(*shape[:-1], self.groups, shape[-1] // self.groups))  # (..., C) -> (..., G, C/G)
        y = local_response_norm(
            x, before=self.before, after=self.after, factor=self.factor, beta=self.beta, k=self.k
        )
        return tgl.reshape(y, shape=shape) if self.groups > 1 else y  # -> (..., C)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        if not shape:
            raise tgl.errors.ShapeError(f"{self}: expected a last axis of channels, got x.shape == ()")
        if shape[-1] % self.groups:
            raise tgl.errors.ShapeError(
                f"{self}: expected a number of channels that {self.groups} groups divide, got x.shape == {shape}"
            )
        return shape
