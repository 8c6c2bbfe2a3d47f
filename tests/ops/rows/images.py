"""Rows of the table: windows of images, convolution, pooling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import signal

import tinygrad_lab as tgl
from tests.ops.drawing import FAR, Draw, Shape, Trial, apart, operation, pytorch, values
from tinygrad_lab.ops.pooling import max_pool2d_values


@dataclass(frozen=True)
class Places:
    """A drawn window: all options that determine its positions."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    dilation: tuple[int, int]
    size: tuple[int, int]  # of the image

    def options(self) -> dict[str, Any]:
        """The keyword arguments of a convolution."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    def spans(self) -> tuple[int, ...]:
        """The lengths of a dilated window."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation, strict=True))

    def padded(self, x: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Return images with their padding."""
        return np.pad(x, ((0, 0), *self.padding, (0, 0)), constant_values=fill)

    def windows(self, x: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """(N, H, W, C) -> (N, Ho, Wo, kh, kw, C), by NumPy's sliding windows."""
        views = np.lib.stride_tricks.sliding_window_view(
            self.padded(x, fill), self.spans(), (1, 2)
        )  # (N, H', W', C, h, w)
        views = views[:, :: self.stride[0], :: self.stride[1], :, :: self.dilation[0], :: self.dilation[1]]
        return np.moveaxis(views, 3, -1)


@st.composite
def places(draw: Draw, *, dilated: bool = True) -> Places:
    """Windows that fit into small images."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    steps = st.tuples(st.integers(1, 2), st.integers(1, 2))
    edge = st.tuples(st.integers(0, 2), st.integers(0, 2))
    kernel_size, stride, padding = draw(pair), draw(steps), (draw(edge), draw(edge))
    dilation = draw(steps) if dilated else (1, 1)
    least = [max(1, (k - 1) * d + 1 - sum(p)) for k, d, p in zip(kernel_size, dilation, padding, strict=True)]
    size = tuple(n + draw(st.integers(0, 3)) for n in least)
    return Places(kernel_size, stride, padding, dilation, (size[0], size[1]))


def torch_padded(x: Any, padding: Any) -> Any:
    """Convert (N, H, W, C) to PyTorch's (N, C, H, W), with padding."""
    (top, bottom), (left, right) = padding
    return pytorch().nn.functional.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))


def torch_windows(at: Places, x: Any) -> Any:
    """(N, H, W, C) -> (N, Ho, Wo, kh, kw, C)."""
    (h, w), (sh, sw), (dh, dw) = at.spans(), at.stride, at.dilation
    views = torch_padded(x, at.padding).unfold(2, h, sh).unfold(3, w, sw)  # (N, C, Ho, Wo, h, w)
    return views[..., ::dh, ::dw].permute(0, 2, 3, 4, 5, 1)


def torch_adjoint(f: Callable[..., Any], shape: Shape, g: Any) -> Any:
    """Apply the adjoint of a linear function to g; `shape` is the shape of the function's argument."""
    x = g.new_zeros(shape, requires_grad=True)
    return pytorch().autograd.grad(f(x), x, g, create_graph=True)[0]


@operation("unfold")
def _unfold(draw: Draw) -> Trial:
    at = draw(places())
    n, c = draw(st.integers(0, 2)), draw(st.integers(1, 2))
    return Trial(
        lambda x: tgl.unfold(x, kernel_size=at.kernel_size, **at.options()),
        [values(draw, (n, *at.size, c))],
        at.windows,
        lambda x: torch_windows(at, x),
    )


@operation("fold")
def _fold(draw: Draw) -> Trial:
    at = draw(places())
    n, c = draw(st.integers(0, 2)), draw(st.integers(1, 2))
    columns = at.windows(np.zeros((n, *at.size, c))).shape

    def expected(columns: np.ndarray) -> np.ndarray:
        grid = np.arange(math.prod(at.size)).reshape(1, *at.size, 1).astype(float)
        origin = at.windows(grid, fill=-1)[0, ..., 0].astype(int)  # the pixel of each element of a window
        out = np.zeros((n, math.prod(at.size) + 1, c))
        np.add.at(out, (slice(None), origin), columns)
        return out[:, :-1].reshape(n, *at.size, c)

    return Trial(
        lambda g: tgl.fold(g, size=at.size, kernel_size=at.kernel_size, **at.options()),
        [values(draw, columns)],
        expected,
        lambda g: torch_adjoint(lambda x: torch_windows(at, x), (n, *at.size, c), g),
    )


def convolution(name: str, *, rectified: bool) -> None:
    """Add a convolution."""

    @operation(name)
    def trials(draw: Draw) -> Trial:
        at, groups, biased = draw(places()), draw(st.integers(1, 2)), draw(st.booleans())
        n, c, o = draw(st.integers(0, 2)), groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
        x = values(draw, (n, *at.size, c))
        w, b = values(draw, (*at.kernel_size, c // groups, o)), values(draw, (o,))

        def f(x: Any, w: Any, b: Any = None) -> Any:
            return getattr(tgl, name)(x, w, b, groups=groups, **at.options())

        def expected(x: np.ndarray, w: np.ndarray, b: Any = None) -> np.ndarray:
            y = correlate(at, groups, x, w) + (0 if b is None else b)
            return np.maximum(y, 0) if rectified else y

        def torch(x: Any, w: Any, b: Any = None) -> Any:
            y = torch_correlate(at, groups, x, w, b)
            return y.relu() if rectified else y

        arrays = [x, w, b] if biased else [x, w]
        if rectified:  # away from the kink, because a random sum may be close to it
            y = correlate(at, groups, x, w) + (b if biased else 0)
            arrays = arrays if np.abs(y).min(initial=1.0) > 0.01 else [np.abs(a) + FAR for a in arrays]
        return Trial(f, arrays, expected, torch if n else None)


def torch_correlate(at: Places, groups: int, x: Any, w: Any, b: Any = None) -> Any:
    """Convolve channels-last images by PyTorch."""
    channels_first = torch_padded(x, at.padding), w.permute(3, 2, 0, 1).contiguous()
    return pytorch().nn.functional.conv2d(*channels_first, b, at.stride, 0, at.dilation, groups).permute(0, 2, 3, 1)


def correlate(at: Places, groups: int, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Convolve by SciPy, image by image and channel by channel, with stride 1, and then select the strided results."""
    c, o = x.shape[3], w.shape[3]
    spread_out = np.zeros((*at.spans(), *w.shape[2:]))
    spread_out[:: at.dilation[0], :: at.dilation[1]] = w
    padded = at.padded(x)
    whole = [padded.shape[i + 1] - at.spans()[i] + 1 for i in (0, 1)]
    y = np.zeros((x.shape[0], *whole, o))
    for image in range(x.shape[0]):
        for j in range(o):
            for k in range(c // groups):
                channel = (j // (o // groups)) * (c // groups) + k
                y[image, :, :, j] += signal.correlate2d(padded[image, :, :, channel], spread_out[:, :, k, j], "valid")
    return y[:, :: at.stride[0], :: at.stride[1]]


convolution("conv2d", rectified=False)
convolution("conv2d_relu", rectified=True)


@st.composite
def pooling_places(draw: Draw) -> Places:
    """Windows without dilation, none of which lies only in the padding."""
    at = draw(places(dilated=False))
    (top, bottom), (left, right) = at.padding
    kh, kw = at.kernel_size
    padding = (min(top, kh - 1), min(bottom, kh - 1)), (min(left, kw - 1), min(right, kw - 1))
    return Places(at.kernel_size, at.stride, padding, (1, 1), (max(at.size[0], kh), max(at.size[1], kw)))


@operation("max_pool2d")
def _max_pool2d(draw: Draw) -> Trial:
    return largest(draw, lambda x, **options: tgl.max_pool2d(x, **options)[0])


@operation("largest_in_windows")
def _largest_in_windows(draw: Draw) -> Trial:
    return largest(draw, max_pool2d_values)  # on a tape it is `max_pool2d`, which has its own row


def largest(draw: Draw, pool: Any) -> Trial:
    """Return a trial of a function that computes the maximum of each window."""
    at = draw(pooling_places())
    (x,) = apart(draw, (draw(st.integers(1, 2)), *at.size, draw(st.integers(1, 2))))

    def f(x: Any) -> Any:
        return pool(x, kernel_size=at.kernel_size, stride=at.stride, padding=at.padding)

    def torch(x: Any) -> Any:
        columns = x.permute(0, 3, 1, 2)
        (top, bottom), (left, right) = at.padding
        padded = pytorch().nn.functional.pad(columns, (left, right, top, bottom), value=-math.inf)
        return pytorch().nn.functional.max_pool2d(padded, at.kernel_size, at.stride).permute(0, 2, 3, 1)

    return Trial(f, [x], lambda x: at.windows(x, -math.inf).max((3, 4)), torch)


@operation("sum_pool2d")
def _sum_pool2d(draw: Draw) -> Trial:
    at = draw(pooling_places())
    x = values(draw, (draw(st.integers(0, 2)), *at.size, draw(st.integers(1, 2))))

    def f(x: Any) -> Any:
        return tgl.sum_pool2d(x, kernel_size=at.kernel_size, stride=at.stride, padding=at.padding)

    def torch(x: Any) -> Any:
        pooled = pytorch().nn.functional.avg_pool2d(torch_padded(x, at.padding), at.kernel_size, at.stride)
        return pooled.permute(0, 2, 3, 1) * math.prod(at.kernel_size)

    return Trial(f, [x], lambda x: at.windows(x).sum((3, 4)), torch if x.size else None)


@operation("count_pool2d")
def _count_pool2d(draw: Draw) -> Trial:
    at = draw(pooling_places())
    x = values(draw, (draw(st.integers(1, 2)), *at.size, 1))

    def f(x: Any) -> Any:
        return tgl.count_pool2d(x, kernel_size=at.kernel_size, stride=at.stride, padding=at.padding)

    def expected(x: np.ndarray) -> np.ndarray:
        return at.windows(np.ones((1, *at.size, 1))).sum((3, 4))

    return Trial(f, [x], expected, lambda x: torch_windows(at, x[:1] * 0 + 1).sum((3, 4)))


@operation("conv2d_grad_x")
def _conv2d_grad_x(draw: Draw) -> Trial:
    at, groups = draw(places()), draw(st.integers(1, 2))
    n, c, o = draw(st.integers(0, 2)), groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    w = values(draw, (*at.kernel_size, c // groups, o))
    g = values(draw, correlate(at, groups, np.zeros((n, *at.size, c)), w).shape)

    def expected(g: np.ndarray, w: np.ndarray) -> np.ndarray:
        out = np.zeros((n, *at.size, c))
        for place in np.ndindex(out.shape[1:]):  # the adjoint, column by column: <g, conv2d(one hot)>
            hot = np.zeros((1, *at.size, c))
            hot[0][place] = 1.0
            out[(slice(None), *place)] = (g * correlate(at, groups, hot, w)).sum((1, 2, 3))
        return out

    def torch(g: Any, w: Any) -> Any:
        return torch_adjoint(lambda x: torch_correlate(at, groups, x, w), (n, *at.size, c), g)

    return Trial(
        lambda g, w: tgl.conv2d_grad_x(g, w, size=at.size, groups=groups, **at.options()),
        [g, w],
        expected,
        torch if n else None,
    )
