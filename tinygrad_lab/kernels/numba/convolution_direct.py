"""Direct convolution by compiled kernels: geometry, memory, launch. See `loops.direct`."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import Options, contiguous, padded_bias, round_up
from tinygrad_lab.kernels.threads import aligned, parallel_for
from tinygrad_lab.ops.windows import Pair

COPIED = 1 << 15  # most floats that a block copies of an image and its border of zeros: an eighth of an L2 cache
FEWEST_PIXELS = 96  # output pixels in a block, so that loading the filters into the cache pays off
PARTS = 8  # parts of a sum over all images: a fixed number, so that the order of the sum is fixed
PART_BYTES = 1 << 20  # so that the sums of one part stay in the cache


class Windows(NamedTuple):
    """The windows of a map's pixels in an image, divided into blocks.

    Parameters
    ----------
    plan : tuple of int
        The shape of a block, and the rows and columns of an image that it copies; see `loops.direct.open_block`.
    blocks : int
        Number of blocks.
    pitch : int
        Pixels from one row to the next, in the image or in the copy.
    offsets : array of int64
        Offsets of a block's windows from its first window, in floats.
    """

    plan: tuple[int, ...]
    blocks: int
    pitch: int
    offsets: Array

    def pixels(self, shape: tuple[int, ...], step: Pair) -> Array:
        """Return the offsets (in floats) of a block's pixels from its first pixel, in maps of the given shape."""
        _, across, _, band, images = self.plan[:5]
        _, height, width, channels = shape
        return _grid(
            (images, band, across), (height * width * channels, step[0] * width * channels, step[1] * channels)
        )


@functools.lru_cache(maxsize=256)
def _grid(counts: tuple[int, ...], steps: tuple[int, ...]) -> Array:
    """Return i * steps[0] + j * steps[1] + k * steps[2] for all i, j, k in order."""
    i, j, k = (np.arange(count, dtype=np.int64) * step for count, step in zip(counts, steps, strict=True))
    return (i[:, None, None] + j[:, None] + k).ravel()


def _windows(x: Array, size: Pair, step: Pair, begin: Pair, span: Pair) -> Windows:
    """Divide the windows of a map into blocks; the window of map pixel (0, 0) covers `span` pixels from `begin` on."""
    images, height, width, channels = x.shape
    (down, across), columns = size, (size[1] - 1) * step[1] + span[1]
    band = max(1, min(down, (COPIED // (columns * channels) - span[0]) // step[0] + 1))
    per_block = max(1, min(images, FEWEST_PIXELS // (down * across))) if band == down else 1
    per_image, rows = -(-down // band), (band - 1) * step[0] + span[0]
    last = begin[0] + (down - 1) * step[0] + span[0], begin[1] + columns
    inside = begin[0] >= 0 and begin[1] >= 0 and last[0] <= height and last[1] <= width
    plan = (down, across, per_image, band, per_block, step[0], -begin[0], -begin[1], rows, columns, int(inside))
    pitch, image = (width, height * width) if inside else (columns, rows * columns)
    steps = image * channels, step[0] * pitch * channels, step[1] * channels
    return Windows(plan, -(-images // per_block) * per_image, pitch, _grid((per_block, band, across), steps))


class Taps(NamedTuple):
    """The taps of a window along both axes: their rows (columns) in the filter, and their positions in the image."""

    filter_rows: Sequence[int]
    filter_columns: Sequence[int]
    rows: Sequence[int]
    columns: Sequence[int]

    @property
    def begin(self) -> Pair:
        """First image pixel of the window, relative to the window's origin."""
        return min(self.rows), min(self.columns)

    @property
    def span(self) -> Pair:
        """Number of pixels that the window spans along each axis, gaps included."""
        return max(self.rows) - min(self.rows) + 1, max(self.columns) - min(self.columns) + 1

    def pairs(self) -> Array:
        """Return the filter's (row, column) of every tap, in the memory order of the taps' pixels."""
        return np.array([(i, j) for i in self.filter_rows for j in self.filter_columns], np.int64).reshape(-1, 2)

    def offsets(self, pitch: int, channels: int) -> Array:
        """Return the offsets of the taps from the first pixel of the window, in floats."""
        top, left = self.begin
        return np.array([((i - top) * pitch + j - left) * channels for i in self.rows for j in self.columns], np.int64)


def _joined(offsets: Array, run: int) -> tuple[Array, int]:
    """Merge taps of `run` numbers each that are consecutive in memory; return the offsets and the longer run."""
    breaks = np.flatnonzero(np.diff(offsets) != run) + 1
    lengths = np.diff([0, *breaks, len(offsets)])
    if (lengths == lengths[0]).all():
        return np.ascontiguousarray(offsets[:: lengths[0]]), run * int(lengths[0])
    return offsets, run


class Phase(NamedTuple):
    """The pixels of a map that one pass computes: rows and columns at regular steps."""

    row_step: int = 1
    first_row: int = 0
    column_step: int = 1
    first_column: int = 0

    def size(self, map_size: Pair) -> Pair:
        """Return the number of these pixels along each axis."""
        return -(-(map_size[0] - self.first_row) // self.row_step), -(
            -(map_size[1] - self.first_column) // self.column_step
        )


def _convolve(
    x: Array,
    w: Array,
    b: Array | None,
    clip: bool,
    y: Array,
    taps: Taps,
    step: Pair,
    groups: int,
    phase: Phase,
    flipped: bool,
) -> None:
    """Fill the pixels of y in `phase`."""
    from tinygrad_lab.kernels.numba.loops import direct
    from tinygrad_lab.kernels.numba.loops.vectors import LANES, PANEL

    windows = _windows(x, phase.size(y.shape[1:3]), step, taps.begin, taps.span)
    pairs, inputs, outputs = taps.pairs(), x.shape[3] // groups, y.shape[3] // groups
    panels = aligned((len(pairs) * inputs * groups * round_up(outputs, LANES),))
    parallel_for(direct.pack, (w, flipped, pairs, groups, panels), len(pairs))
    offsets, length = _joined(taps.offsets(windows.pitch, x.shape[3]), inputs)
    pixels = windows.pixels(y.shape, (phase.row_step, phase.column_step))
    where = (
        offsets,
        length,
        windows.offsets,
        pixels,
        windows.plan,
        (phase.row_step, phase.first_row, phase.first_column),
    )
    arguments = (x, panels, padded_bias(b, y.shape[3], PANEL), int(clip), y, groups, *where)
    parallel_for(direct.convolve, arguments, groups * -(-outputs // PANEL) * windows.blocks)


def _taps(kernel_size: Sequence[int], how: Options) -> Taps:
    """Return the taps of a convolution."""
    rows, columns = (
        [i * dilation - before for i in range(count)]
        for count, dilation, (before, _) in zip(kernel_size, how.dilation, how.padding, strict=True)
    )
    return Taps(range(kernel_size[0]), range(kernel_size[1]), rows, columns)


def forward(x: Array, w: Array, b: Array | None, clip: bool, size: Pair, how: Options) -> Array:
    """Convolve images with filters to maps of the given size, add a bias, and apply ReLU if `clip`."""
    x, w, y = contiguous(x), contiguous(w), aligned((x.shape[0], *size, w.shape[3]))
    _convolve(x, w, b, clip, y, _taps(w.shape[:2], how), how.stride, how.groups, Phase(), flipped=False)
    return y


def _taps_of_phase(count: int, stride: int, dilation: int, before: int, phase: int) -> tuple[list[int], list[int]]:
    """Return the taps that touch the image's pixels phase, phase + stride, ..., and the map pixel of each.

    Tap i of the window of map pixel (u + before - i * dilation) / stride touches pixel u. The last tap belongs to the
    first of these map pixels.
    """
    meetings = [(i, phase + before - i * dilation) for i in reversed(range(count))]
    touching = [(i, place // stride) for i, place in meetings if place % stride == 0]
    return [i for i, _ in touching], [place for _, place in touching]


def gradient_x(g: Array, w: Array, size: Pair, how: Options) -> Array:
    """Convolve the maps with the rotated filters, once for each phase of the stride."""
    g, w, x = contiguous(g), contiguous(w), aligned((g.shape[0], *size, w.shape[2] * how.groups))
    (top, _), (left, _) = how.padding
    for i in range(min(how.stride[0], size[0])):
        rows, row_places = _taps_of_phase(w.shape[0], how.stride[0], how.dilation[0], top, i)
        for j in range(min(how.stride[1], size[1])):
            columns, column_places = _taps_of_phase(w.shape[1], how.stride[1], how.dilation[1], left, j)
            if rows and columns:
                taps, phase = Taps(rows, columns, row_places, column_places), Phase(how.stride[0], i, how.stride[1], j)
                _convolve(g, w, None, False, x, taps, (1, 1), how.groups, phase, flipped=True)
            else:
                x[:, i :: how.stride[0], j :: how.stride[1]] = 0
    return x


def gradient_w(x: Array, g: Array, kernel_size: Pair, how: Options) -> Array:
    """Multiply the pixels under each tap by the maps; sum within parts of the images, then over the parts."""
    from tinygrad_lab.kernels.numba.loops import direct
    from tinygrad_lab.kernels.numba.loops.vectors import LANES, PANEL, ROWS_UNIT

    x, g = contiguous(x), contiguous(g)
    channels, outputs = x.shape[3] // how.groups, g.shape[3] // how.groups
    taps = _taps(kernel_size, how)
    windows = _windows(x, g.shape[1:3], how.stride, taps.begin, taps.span)
    depth = kernel_size[0] * kernel_size[1] * channels
    in_window = np.zeros(depth + ROWS_UNIT, np.int64)
    in_window[:depth] = np.add.outer(taps.offsets(windows.pitch, x.shape[3]), np.arange(channels)).ravel()
    shape = (how.groups, round_up(depth, ROWS_UNIT), round_up(outputs, LANES))
    parts = max(1, min(PARTS, windows.blocks, PARTS * PART_BYTES // (4 * math.prod(shape))))
    sums = np.zeros((parts, *shape), np.float32)
    arguments = (x, g, sums, how.groups, in_window, depth, windows.offsets, windows.plan)
    parallel_for(direct.filter_gradient, arguments, parts * how.groups * -(-outputs // PANEL))
    total = sums[0] if parts == 1 else sums.sum(axis=0)
    total = total[:, :depth, :outputs].transpose(1, 0, 2)  # (groups, depth, O/groups) -> (depth, groups, O/groups)
    return total.reshape(*kernel_size, channels, g.shape[3])
