"""Direct convolution by matrix products on the image itself, without copying columns (no im2col).

The pixels of a window are addressed through two tables: the start of each output pixel's window, and the offset of each
tap in it. One kernel therefore handles every stride, dilation, group and window. If any window extends beyond the
image, each block of output pixels reads from a copy of its rows with zeros around them.

References
----------
Dukhan 2019, "The indirect convolution algorithm", arXiv:1907.02129.
"""

from __future__ import annotations

import numpy as np

from tinygrad_lab.kernels.numba.loops.jit import jit
from tinygrad_lab.kernels.numba.loops.memory import address, clear_floats, copy_floats, round_up
from tinygrad_lab.kernels.numba.loops.products import multiply_rows, multiply_scattered, tile_rows
from tinygrad_lab.kernels.numba.loops.vectors import LANES, PANEL, ROWS_UNIT


@jit
def copy_rows(x, image, h0, w0, rows, columns, target):
    """Copy rows h0, ... and columns w0, ... of an image to an address, with zeros outside of the image."""
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    before = min(max(-w0, 0), columns) * channels
    inside = max(min(width - w0, columns) * channels, before) - before
    after = columns * channels - before - inside
    for h in range(h0, h0 + rows):
        if 0 <= h < height:
            clear_floats(target, before)
            source = address(x) + 4 * (((image * height + h) * width + w0) * channels + before)
            copy_floats(target + 4 * before, source, inside)
            clear_floats(target + 4 * (before + inside), after)
        else:
            clear_floats(target, columns * channels)
        target += 4 * columns * channels


@jit
def open_block(x, copied, block, plan):
    """Copy the rows that a block of output pixels reads, unless all windows of the map lie inside the image.

    Return the address of the block's first window, its first image and output row, and its number of pixels.
    """
    down, across, per_image, band, images, h_step, top, left, rows, columns, inside = plan
    image, h = block // per_image * images, block % per_image * band
    many, bands = min(images, x.shape[0] - image), min(band, down - h)
    h0 = h * h_step - top
    if inside:
        base = address(x) + 4 * ((image * x.shape[1] + h0) * x.shape[2] - left) * x.shape[3]
    else:
        base = address(copied)
        for i in range(many):
            used = rows - (band - bands) * h_step
            copy_rows(x, image + i, h0, -left, used, columns, base + 4 * i * rows * columns * x.shape[3])
    return base, image, h, many * bands * across


@jit
def room_to_copy(x, plan):
    """Return memory for the rows that a block copies."""
    _, _, _, _, images, _, _, _, rows, columns, inside = plan
    return np.empty(1 if inside else images * rows * columns * x.shape[3], np.float32)


@jit
def block_count(x, plan):
    """Return the number of blocks of the output pixels of all images."""
    images, per_image = plan[4], plan[2]
    return (x.shape[0] + images - 1) // images * per_image


@jit
def convolve(x, panels, bias, clip, y, groups, taps, run, windows, pixels, plan, y_plan, first, last):
    """Convolve; a block of the loop is one panel of output channels (of one group) at one block of output pixels.

    `panels` holds the filters as (group, panel, tap * run, column). `taps` holds the offsets of the taps in a window,
    and `run` is the count of consecutive numbers read there. `windows` and `pixels` hold the offsets of a block's
    windows and output pixels from its first window and its first output pixel. `y_plan` selects the computed pixels of
    y: (row step, first row, first column).
    """
    h_step, h_first, w_first = y_plan
    outputs, inputs = y.shape[3] // groups, x.shape[3] // groups
    depth, panel_count = len(taps) * run, (outputs + PANEL - 1) // PANEL
    copied, blocks = room_to_copy(x, plan), block_count(x, plan)
    spare, spare_windows = np.empty((ROWS_UNIT, PANEL), np.float32), np.empty(ROWS_UNIT, np.int64)
    spare_pixels = PANEL * np.arange(ROWS_UNIT)
    for number in range(first, last):
        group_panel, block = divmod(number, blocks)
        group, panel = group_panel // panel_count, group_panel % panel_count * PANEL
        base, image, h, count = open_block(x, copied, block, plan)
        first_pixel = ((image * y.shape[1] + h * h_step + h_first) * y.shape[2] + w_first) * y.shape[3]
        column, width = group * outputs + panel, min(PANEL, outputs - panel)
        target, start = address(y) + 4 * (first_pixel + column), address(bias) + 4 * column
        right = address(panels) + 4 * (group * depth * round_up(outputs, LANES) + depth * panel)
        left, height = base + 4 * group * inputs, tile_rows(width)
        done = count // height * height
        for p in range(0, done, height):
            multiply_rows(
                left, address(windows) + 8 * p, address(taps), len(taps), run, right, start, clip,
                target, address(pixels) + 8 * p, width,
            )  # fmt: skip
        if done < count:
            for p in range(height):
                spare_windows[p] = windows[min(done + p, count - 1)]
            multiply_rows(
                left, address(spare_windows), address(taps), len(taps), run, right, start, clip,
                address(spare), address(spare_pixels), round_up(width, LANES),
            )  # fmt: skip
            for p in range(done, count):
                copy_floats(target + 4 * pixels[p], address(spare[p - done]), width)


@jit
def filter_gradient(x, g, sums, groups, in_window, depth, windows, plan, first, last):
    """Sum over output pixels; a block of the loop is one part of the sum for one panel of output channels of a group.

    `sums` is (part, group, row, column), with `depth` rows for taps and channels; `in_window` holds the rows' offsets
    in a window.
    """
    outputs, inputs = g.shape[3] // groups, x.shape[3] // groups
    panel_count, parts = (outputs + PANEL - 1) // PANEL, len(sums)
    copied, blocks = room_to_copy(x, plan), block_count(x, plan)
    for number in range(first, last):
        part, group_panel = divmod(number, groups * panel_count)
        group, panel = group_panel // panel_count, group_panel % panel_count * PANEL
        width = min(PANEL, outputs - panel)
        height = tile_rows(width)
        for block in range(blocks * part // parts, blocks * (part + 1) // parts):
            base, image, h, count = open_block(x, copied, block, plan)
            first_pixel = (image * g.shape[1] + h) * g.shape[2] * g.shape[3]
            right = address(g) + 4 * (first_pixel + group * outputs + panel)
            for r in range(0, depth, height):
                multiply_scattered(
                    base + 4 * group * inputs, address(in_window) + 8 * r, min(height, depth - r), address(windows),
                    count, right, g.shape[3], width, address(sums[part, group, r, panel:]), sums.shape[3],
                )  # fmt: skip


@jit
def pack(w, flipped, taps, groups, panels, first, last):
    """Store filters as (group, panel, tap * run, column); blocks are taps.

    Columns are output channels and rows input channels. `flipped` exchanges them, for the gradient of the image.
    """
    per_group, outputs = w.shape[2], w.shape[3] // groups
    rows, columns = (outputs, per_group) if flipped else (per_group, outputs)
    depth = len(taps) * rows
    for tap in range(first, last):
        i, j = taps[tap]
        for group in range(groups):
            for panel in range(0, columns, PANEL):
                used = min(PANEL, columns - panel)
                width = round_up(used, LANES)
                start = group * depth * round_up(columns, LANES) + depth * panel + tap * rows * width
                for row in range(rows):
                    line = address(panels) + 4 * (start + row * width)
                    clear_floats(line + 4 * used, width - used)
                    if not flipped:
                        source = ((i * w.shape[1] + j) * rows + row) * w.shape[3] + group * outputs + panel
                        copy_floats(line, address(w) + 4 * source, used)
                if flipped:
                    for q in range(used):
                        for row in range(rows):
                            panels[start + row * width + q] = w[i, j, panel + q, group * outputs + row]
