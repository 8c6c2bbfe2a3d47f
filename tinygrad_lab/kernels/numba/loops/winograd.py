"""Winograd (Toom-Cook) convolution: transform, multiply, transform back, on blocks of tiles that stay in the cache.

A block of tiles is transformed into n * n matrices (tile, channel). Matrix k is multiplied by the matrix (channel,
output) of the elements k of all transformed filters. The products are transformed back, with bias and ReLU. Tables of
addresses let tiles at the border be handled like all others: pixels outside of an image are read from a vector of zeros
and written to a vector that is never read.

See `tinygrad_lab.kernels.winograd` for the formula and the papers.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tinygrad_lab.kernels.numba.loops.jit import jit
from tinygrad_lab.kernels.numba.loops.memory import address, on_line, round_up
from tinygrad_lab.kernels.numba.loops.products import multiply_columns, multiply_rows, tile_rows
from tinygrad_lab.kernels.numba.loops.transforms import transform, transform_output
from tinygrad_lab.kernels.numba.loops.vectors import LANES, PANEL, ROWS_UNIT


@jit
def locate(x, tile, tiles_down, tiles_across, step, top, left, n, outside, table):
    """Set table[i * n + j] to the address of pixel (i, j) of a tile of n x n, or to `outside` beyond the image."""
    image, place = divmod(tile, tiles_down * tiles_across)
    h0, w0 = place // tiles_across * step - top, place % tiles_across * step - left
    height, width, pixel = x.shape[1], x.shape[2], 4 * x.shape[3]
    for i in range(n):
        h = h0 + i
        row = address(x) + ((image * height + h) * width + w0) * pixel
        for j in range(n):
            inside = 0 <= h < height and 0 <= w0 + j < width
            table[i * n + j] = row + j * pixel if inside else outside


@functools.cache
def filter_kernel(m: int, r: int) -> Any:
    """Return the kernel that transforms filters for F(m, r); its blocks are input channels."""
    n = m + r - 1

    @jit
    def transform_filters(w, flipped, u, first, last):
        """Store u[panel][k][channel][column] for filters (r, r, in, out), or for the gradient's rotated filters."""
        inputs, outputs = (w.shape[3], w.shape[2]) if flipped else (w.shape[2], w.shape[3])
        lanes = np.zeros((r * r, LANES), np.float32)
        sources = address(lanes) + 4 * LANES * np.arange(r * r)
        targets = np.empty(n * n, np.int64)
        for c in range(first, last):
            for q in range(0, outputs, LANES):
                panel = q // PANEL * PANEL
                width = min(PANEL, round_up(outputs - panel, LANES))
                for i in range(r):
                    for j in range(r):
                        for lane in range(min(LANES, outputs - q)):
                            if flipped:
                                lanes[i * r + j, lane] = w[r - 1 - i, r - 1 - j, q + lane, c]
                            else:
                                lanes[i * r + j, lane] = w[i, j, c, q + lane]
                for k in range(n * n):
                    targets[k] = address(u) + 4 * (n * n * inputs * panel + (k * inputs + c) * width + q - panel)
                transform(m, r, "filter", address(sources), 0, address(targets), 0)

    return transform_filters


@functools.cache
def forward_kernel(m: int, r: int) -> Any:
    """Return the kernel of a convolution with F(m, r); its blocks are `per_block` tiles each."""
    n = m + r - 1

    @jit
    def forward(x, u, bias, clip, y, top, left, down, across, per_block, first, last):
        channels, outputs = x.shape[3], y.shape[3]
        depth = round_up(channels, LANES)
        # An odd number of cache lines from one matrix to the next avoids conflicts in the sets of the cache.
        step, product_step = per_block * depth + LANES, per_block * PANEL + LANES
        tiles = np.empty(n * n * step + LANES, np.float32)
        products = np.empty(n * n * product_step + LANES, np.float32)
        pixels, nowhere = np.empty(n * n, np.int64), np.empty(outputs + LANES, np.float32)
        zeros, rest = np.zeros(depth + PANEL, np.float32), np.empty((m * m, LANES), np.float32)
        rest_at = address(rest) + 4 * LANES * np.arange(m * m)
        rows, tap = depth * np.arange(ROWS_UNIT), np.zeros(1, np.int64)
        for block in range(first, last):
            tile_at = on_line(tiles) + 4 * step * np.arange(n * n)
            product_at = on_line(products) + 4 * product_step * np.arange(n * n)
            begin, end = block * per_block, min(x.shape[0] * down * across, (block + 1) * per_block)
            for p in range(begin, end):
                locate(x, p, down, across, m, top, left, n, address(zeros), pixels)
                for q in range(0, depth, LANES):
                    transform(m, r, "input", address(pixels), q, address(tile_at), (p - begin) * depth + q)
            for panel in range(0, outputs, PANEL):
                width = min(PANEL, round_up(outputs - panel, LANES))
                places = width * np.arange(ROWS_UNIT)
                for k in range(n * n):
                    right = address(u) + 4 * (n * n * channels * panel + k * channels * width)
                    for p in range(0, end - begin, tile_rows(width)):
                        multiply_rows(
                            tile_at[k] + 4 * p * depth, address(rows), address(tap), 1, channels, right,
                            address(zeros), 0, product_at[k] + 4 * p * width, address(places), width,
                        )  # fmt: skip
                for p in range(begin, end):
                    locate(y, p, down, across, m, 0, 0, m, address(nowhere), pixels)
                    for q in range(0, min(PANEL, outputs - panel), LANES):
                        column, source = panel + q, (p - begin) * width + q
                        start = address(bias) + 4 * column
                        if column + LANES <= outputs:
                            transform_output(m, r, address(product_at), source, address(pixels), column, start, clip)
                        else:
                            transform_output(m, r, address(product_at), source, address(rest_at), 0, start, clip)
                            store_rest(rest, y, p, down, across, m, column)

    return forward


@jit
def store_rest(rest, y, tile, down, across, m, column):
    """Copy the last columns of a tile, fewer than a vector has, into the result."""
    image, place = divmod(tile, down * across)
    h0, w0 = place // across * m, place % across * m
    for i in range(min(m, y.shape[1] - h0)):
        for j in range(min(m, y.shape[2] - w0)):
            for q in range(column, y.shape[3]):
                y[image, h0 + i, w0 + j, q] = rest[i * m + j, q - column]


@functools.cache
def filter_gradient_kernel(m: int, r: int) -> Any:
    """Return the kernel that sums B' d B * A g A' over tiles; its blocks are parts of the sum."""
    n = m + r - 1

    @jit
    def filter_gradient(x, g, sums, top, left, down, across, per_block, first, last):
        channels, outputs = x.shape[3], g.shape[3]
        depth, width = round_up(channels, LANES), round_up(outputs, LANES)
        step, right_step = per_block * depth + LANES, per_block * width + LANES
        tiles = np.empty(n * n * step + LANES + ROWS_UNIT, np.float32)
        rights = np.empty(n * n * right_step + LANES, np.float32)
        pixels, zeros = np.empty(n * n, np.int64), np.zeros(max(depth, width), np.float32)
        rows, count = depth * np.arange(per_block), x.shape[0] * down * across
        blocks = (count + per_block - 1) // per_block
        for part in range(first, last):
            for block in range(blocks * part // len(sums), blocks * (part + 1) // len(sums)):
                tile_at = on_line(tiles) + 4 * step * np.arange(n * n)
                right_at = on_line(rights) + 4 * right_step * np.arange(n * n)
                begin, end = block * per_block, min(count, (block + 1) * per_block)
                for p in range(begin, end):
                    locate(x, p, down, across, m, top, left, n, address(zeros), pixels)
                    for q in range(0, depth, LANES):
                        transform(m, r, "input", address(pixels), q, address(tile_at), (p - begin) * depth + q)
                    locate(g, p, down, across, m, 0, 0, m, address(zeros), pixels)
                    for q in range(0, width, LANES):
                        transform(m, r, "spread", address(pixels), q, address(right_at), (p - begin) * width + q)
                for k in range(n * n):
                    for panel in range(0, width, PANEL):
                        columns = min(PANEL, width - panel)
                        for c in range(0, channels, tile_rows(columns)):
                            multiply_columns(
                                tile_at[k] + 4 * c, address(rows), end - begin, right_at[k] + 4 * panel, width, columns,
                                address(sums[part, k, c, panel:]), width,
                            )  # fmt: skip

    return filter_gradient


@functools.cache
def spread_kernel(m: int, r: int) -> Any:
    """Return the kernel that stores B' d B and A g A' of tiles, as (k, tile, channel); its blocks are tiles."""
    n = m + r - 1

    @jit
    def spread(x, g, lefts, rights, begin, top, left, down, across, first, last):
        depth, width = lefts.shape[2], rights.shape[2]
        left_at = address(lefts) + 4 * lefts.shape[1] * depth * np.arange(n * n)
        right_at = address(rights) + 4 * rights.shape[1] * width * np.arange(n * n)
        pixels, zeros = np.empty(n * n, np.int64), np.zeros(max(depth, width), np.float32)
        for p in range(first, last):
            locate(x, begin + p, down, across, m, top, left, n, address(zeros), pixels)
            for q in range(0, depth, LANES):
                transform(m, r, "input", address(pixels), q, address(left_at), p * depth + q)
            locate(g, begin + p, down, across, m, 0, 0, m, address(zeros), pixels)
            for q in range(0, width, LANES):
                transform(m, r, "spread", address(pixels), q, address(right_at), p * width + q)

    return spread


@jit
def multiply_transforms(lefts, rights, count, channels, sums, first, last):
    """Add the products of `count` transformed tiles, summed over the tiles, to each sums[0, k]; a block is one k."""
    depth, width = lefts.shape[2], rights.shape[2]
    rows = depth * np.arange(count)
    for k in range(first, last):
        for panel in range(0, width, PANEL):
            columns = min(PANEL, width - panel)
            for c in range(0, channels, tile_rows(columns)):
                multiply_columns(
                    address(lefts[k]) + 4 * c, address(rows), count, address(rights[k]) + 4 * panel, width, columns,
                    address(sums[0, k, c, panel:]), width,
                )  # fmt: skip


@functools.cache
def collect_kernel(m: int, r: int) -> Any:
    """Return the kernel that transforms sums over tiles into the filter gradient; its blocks are input channels."""
    n = m + r - 1

    @jit
    def collect(sums, gradient, first, last):
        total, out = np.empty((n * n, LANES), np.float32), np.empty((r * r, LANES), np.float32)
        total_at = address(total) + 4 * LANES * np.arange(n * n)
        out_at = address(out) + 4 * LANES * np.arange(r * r)
        for c in range(first, last):
            for q in range(0, gradient.shape[3], LANES):
                for k in range(n * n):
                    for lane in range(LANES):
                        total[k, lane] = sums[0, k, c, q + lane]
                    for part in range(1, len(sums)):
                        for lane in range(LANES):
                            total[k, lane] += sums[part, k, c, q + lane]
                transform(m, r, "collect", address(total_at), 0, address(out_at), 0)
                for i in range(r):
                    for j in range(r):
                        for lane in range(min(LANES, gradient.shape[3] - q)):
                            gradient[i, j, c, q + lane] = out[i * r + j, lane]

    return collect
