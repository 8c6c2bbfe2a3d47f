r"""Convolution and its two gradients, a family closed under differentiation.

.. math:: y_{n,p,q,o} = b_o + \sum_{i,j,c} x_{n,\; p s + i d - t,\; q s + j d - l,\; c}\; w_{i,j,c,o}

The formula is for one group; with more, it holds within each. Images are (N, H, W, C) and filters
(kh, kw, C / groups, O). s is the stride, d the dilation, and t and l are the padding at the top and on the left. As
usual in deep learning, the filter is not flipped: the operation is a cross-correlation.

`conv2d` is linear in x and in w. Its adjoints are `conv2d_grad_x` and `conv2d_grad_w`, whose derivatives are members of
the family again. The forwards here are the specification, written with im2col and matrix products. Faster kernels are
in tinygrad_lab/kernels.

References
----------
K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for document processing", 2006.
"""

from __future__ import annotations

from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.backend import Shape, real
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.ops.activation import relu_grad
from tinygrad_lab.ops.reductions import sum_axes
from tinygrad_lab.ops.windows import (
    Padding,
    Pair,
    expect_images,
    expect_maps,
    expect_pair,
    fold,
    map_shape,
    places,
    unfold,
)

NO_PADDING: Padding = ((0, 0), (0, 0))


def _columns(x: Any, groups: int, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Any:
    """Return the windows of x as the rows of a matrix for each group: (groups, N*Ho*Wo, kh*kw*C/groups)."""
    columns = unfold(real(x), kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
    n, ho, wo, kh, kw, c = columns.shape
    columns = columns.reshape(n * ho * wo, kh * kw, groups, c // groups)  # C -> (groups, C/groups)
    return columns.transpose(2, 0, 1, 3).reshape(groups, n * ho * wo, kh * kw * (c // groups))


def _filters(w: Any, groups: int) -> Any:
    """Return the filters as a matrix for each group: (kh, kw, C/groups, O) -> (groups, kh*kw*C/groups, O/groups)."""
    kh, kw, c, o = w.shape
    return real(w).reshape(kh * kw * c, groups, o // groups).transpose(1, 0, 2)


def _maps(y: Any, groups: int) -> Any:
    """Return maps as the rows of a matrix for each group: (N, Ho, Wo, O) -> (groups, N*Ho*Wo, O/groups)."""
    n, ho, wo, o = y.shape
    return real(y).reshape(n * ho * wo, groups, o // groups).transpose(1, 0, 2)


@primitive
def conv2d(
    xp: Any,
    x: Any,
    w: Any,
    b: Any,
    *,
    stride: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Any:
    """Convolve images with filters and add a bias unless it is None: (N, H, W, C) -> (N, Ho, Wo, O)."""
    kh, kw, _, o = w.shape
    n, h, wd, _ = x.shape
    ho, wo = places((h, wd), (kh, kw), stride, padding, dilation, "conv2d")
    columns = _columns(x, groups, (kh, kw), stride, padding, dilation)
    y = xp.matmul(columns, _filters(w, groups))  # (groups, N*Ho*Wo, O/groups)
    y = y.transpose(1, 0, 2).reshape(n, ho, wo, o)
    return y if b is None else y + b


@primitive
def conv2d_relu(
    xp: Any,
    x: Any,
    w: Any,
    b: Any,
    *,
    stride: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Any:
    """Return relu(conv2d(x, w, b)) in one step."""
    return xp.maximum(conv2d.forward(xp, x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups), 0)


@primitive
def conv2d_grad_x(
    xp: Any,
    g: Any,
    w: Any,
    *,
    size: Pair,
    stride: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Any:
    """Apply the adjoint of conv2d in x: from feature maps (N, Ho, Wo, O) to images (N, H, W, C) of this `size`."""
    kh, kw, c, _ = w.shape
    n, ho, wo, _ = g.shape
    columns = xp.matmul(_maps(g, groups), _filters(w, groups).transpose(0, 2, 1))  # (groups, N*Ho*Wo, kh*kw*C/groups)
    columns = columns.reshape(groups, n, ho, wo, kh, kw, c).transpose(1, 2, 3, 4, 5, 0, 6)
    columns = columns.reshape(n, ho, wo, kh, kw, groups * c)  # (groups, C/groups) -> C
    return fold(columns, size=size, kernel_size=(kh, kw), stride=stride, padding=padding, dilation=dilation)


@primitive
def conv2d_grad_w(
    xp: Any,
    x: Any,
    g: Any,
    *,
    kernel_size: Pair,
    stride: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Any:
    """Apply the adjoint of conv2d in w: from images and feature maps to filters (kh, kw, C/groups, O)."""
    columns = _columns(x, groups, kernel_size, stride, padding, dilation)
    w = xp.matmul(columns.transpose(0, 2, 1), _maps(g, groups))  # (groups, kh*kw*C/groups, O/groups)
    return w.transpose(1, 0, 2).reshape(*kernel_size, x.shape[3] // groups, g.shape[3])


def _expect_filters(op: object, w: Shape | None, groups: Any) -> None:
    """Check that filters have four axes and that the groups divide the maps' channels."""
    if w is None or len(w) != 4:
        raise ShapeError(f"{op}: expected filters (kh, kw, C / groups, O), got w.shape == {w}")
    _expect_groups(op, groups, w[3])


def _expect_groups(op: object, groups: Any, *channels: int) -> None:
    if type(groups) is not int or groups < 1:
        raise OptionError(f"{op}: expected groups to be an int of at least 1, got {groups!r:.60}")
    for c in channels:
        if c % groups:
            raise ShapeError(f"{op}: expected groups that divide the channels, got groups={groups} and {c} channels")


@conv2d.check
@conv2d_relu.check
def _check_forward(op: object, x: Shape, w: Shape, b: Shape | None, *, groups: int = 1, **how: Any) -> None:
    expect_images(x, f"{op}")
    _expect_filters(op, w, groups)
    if x[3] != w[2] * groups:
        raise ShapeError(
            f"{op}: expected filters (kh, kw, C / groups, O) for images of {x[3]} channels in {groups} groups, "
            f"got w.shape == {w} (x.shape == {x})"
        )
    if b not in (None, w[3:]):
        raise ShapeError(f"{op}: expected a bias of shape {w[3:]}, one number per filter, got {b}")
    map_shape(op, x, kernel_size=w[:2], **how)


@conv2d_grad_x.check
def _check_grad_x(op: object, g: Shape, w: Shape, *, size: Pair, groups: int = 1, **how: Any) -> None:
    expect_images(g, f"{op}")
    _expect_filters(op, w, groups)
    expect_pair(op, "size", size)
    images = (g[0], *size, w[2] * groups)
    expect_maps(op, g, map_shape(op, images, kernel_size=w[:2], channels=w[3], **how), images)


@conv2d_grad_w.check
def _check_grad_w(op: object, x: Shape, g: Shape, *, kernel_size: Pair, groups: int = 1, **how: Any) -> None:
    expect_images(x, f"{op}")
    expect_images(g, f"{op}")
    _expect_groups(op, groups, x[3], g[3])
    expect_maps(op, g, map_shape(op, x, kernel_size=kernel_size, channels=g[3], **how), x)


def _rule_x(g: Any, x_like: Any, w: Any, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Any:
    size = x_like.shape[1:3]
    return conv2d_grad_x(g, w, size=size, stride=stride, padding=padding, dilation=dilation, groups=groups)


def _rule_w(g: Any, x: Any, w_like: Any, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Any:
    kernel_size = w_like.shape[:2]
    return conv2d_grad_w(
        x, g, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


def _relu_rule(
    g: Any,
    x: Any,
    w: Any,
    out: Any,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    wanted: tuple[bool, ...],
) -> tuple[Any, Any, Any]:
    """Return all three gradients of conv2d_relu by one rule, which applies the mask of ReLU only once."""
    g = relu_grad(g, out)
    return (
        _rule_x(g, x, w, stride, padding, dilation, groups) if wanted[0] else None,
        _rule_w(g, x, w, stride, padding, dilation, groups) if wanted[1] else None,
        sum_axes(g, axes=(0, 1, 2)) if wanted[2] else None,
    )


conv2d.defvjp(x=_rule_x, w=_rule_w, b=lambda g: sum_axes(g, axes=(0, 1, 2)))
conv2d_relu.defvjp("x", "w", "b", _relu_rule)
conv2d_grad_x.defvjp(
    g=lambda v, w, stride, padding, dilation, groups: conv2d(
        v, w, None, stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    w=lambda v, g, w_like, stride, padding, dilation, groups: conv2d_grad_w(
        v, g, kernel_size=w_like.shape[:2], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
)
conv2d_grad_w.defvjp(
    x=lambda v, x_like, g, stride, padding, dilation, groups: conv2d_grad_x(
        g, v, size=x_like.shape[1:3], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    g=lambda v, x, stride, padding, dilation, groups: conv2d(
        x, v, None, stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
)
