"""Loops over rows of channels, with per-channel values in registers: sums, affine maps, maxima."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from tinygrad_lab.kernels.numba.loops.jit import jit
from tinygrad_lab.kernels.numba.loops.vectors import (
    INT,
    LANES,
    MAX_VECTORS,
    NUMBERS,
    PANEL,
    Code,
    emitting,
    integer,
    splat,
)


def _emit_largest_of_taps(code: Code, noted: bool, args: Sequence[Any]) -> None:
    source, taps, numbers, count, out, index, columns = args
    b, narrow = code.builder, ir.VectorType(ir.IntType(8), LANES)

    def compare(first: Any, masks: list[Any]) -> None:
        """Emit the maximum over the taps for the channels from `first` on, in pairs of vectors."""
        start = code.spread(b.trunc(code.number(numbers, integer(0)), ir.IntType(32)), NUMBERS)
        found = [(code.variable(splat(-math.inf)), code.variable(start)) for _ in masks]
        with cgutils.for_range(b, count, intp=INT) as tap:
            at = b.add(code.number(taps, tap.index), first)
            number = code.spread(b.trunc(code.number(numbers, tap.index), ir.IntType(32)), NUMBERS)
            for v, ((best, place), mask) in enumerate(zip(found, masks, strict=True)):
                new, old = code.load(code.at(source, b.add(at, integer(v * LANES))), mask), b.load(best)
                better = b.and_(b.fcmp_unordered(">", new, old), b.fcmp_ordered("ord", old, old))  # NaN beats all
                b.store(b.select(better, new, old), best)
                if noted:
                    b.store(b.select(better, number, b.load(place)), place)
        for v, ((best, place), mask) in enumerate(zip(found, masks, strict=True)):
            at = b.add(first, integer(v * LANES))
            code.store(b.load(best), code.at(out, at), mask)
            if noted:
                code.store(b.trunc(b.load(place), narrow), code.at(index, at, ir.IntType(8)), mask)

    whole = b.and_(columns, integer(-2 * LANES))
    with cgutils.for_range_slice(b, integer(0), whole, integer(2 * LANES), INT) as (first, _step):
        compare(first, [None, None])
    rest = b.sub(columns, whole)
    with b.if_else(b.icmp_signed(">", rest, integer(LANES))) as (two, one):
        with two:
            compare(whole, [None, code.mask(rest, LANES)])
        with one, b.if_then(b.icmp_signed(">", rest, integer(0))):
            compare(whole, [code.mask(rest, 0)])


@intrinsic(prefer_literal=True)
def largest_of_taps(context, noted, source, taps, numbers, count, out, index, columns):
    """Store out[q] = max over t of source[taps[t] + q], and in the byte index[q] the number of the first such t.

    Without `noted`, index is not written.

    q goes over `columns` channels, t over `count` taps; numbers[t] is the number of tap t. NaN counts as larger than
    all numbers. Without taps the maximum is minus infinity, at numbers[0].
    """
    return emitting(_emit_largest_of_taps, bool(noted.literal_value), [noted], 7)


Body = Callable[[Code, list[Any], list[Any], list[Any]], list[Any]]


def _emit_rows(code: Code, choice: tuple[int, tuple[int, int, int, int], Body], args: Sequence[Any]) -> None:
    """Run `body` on each row of the arrays, nv vectors wide.

    The body gets the row's elements, the per-channel values and the sums so far. It returns the new sums, or the
    elements of the rows to write.
    """
    (nv, (reads, writes, values, totals), body), b = choice, code.builder
    count, stride, columns = args[:3]
    places = list(args[3:])
    arrays, targets = places[:reads], places[reads : reads + writes]
    channels, results = places[reads + writes : reads + writes + values], places[reads + writes + values :]
    masks = [None] * (nv - 1) + [code.mask(columns, (nv - 1) * LANES)]
    own = [[code.load(code.at(c, v * LANES), masks[v]) for c in channels] for v in range(nv)]
    sums = [[code.variable(splat(0)) for _ in range(totals)] for _ in range(nv)]
    with cgutils.for_range(b, count, intp=INT) as row:
        offset = b.mul(row.index, stride)
        for v in range(nv):
            at = b.add(offset, integer(v * LANES))
            elements = [code.load(code.at(a, at), masks[v]) for a in arrays]
            new = body(code, elements, own[v], [b.load(s) for s in sums[v]])
            for value, total in zip(new, sums[v], strict=False):
                b.store(value, total)
            for value, target in zip(new, targets, strict=False):
                code.store(value, code.at(target, at), masks[v])
    for v in range(nv):
        for total, result in zip(sums[v], results, strict=True):
            code.store(b.load(total), code.at(result, v * LANES), masks[v])


def _sum(code: Code, elements: list[Any], values: list[Any], sums: list[Any]) -> list[Any]:
    return [code.builder.fadd(sums[0], elements[0])]


def _squares(code: Code, elements: list[Any], values: list[Any], sums: list[Any]) -> list[Any]:
    centered = code.builder.fsub(elements[0], values[0])
    return [code.multiply_add(centered, centered, sums[0])]


def _centered(code: Code, elements: list[Any], values: list[Any], sums: list[Any]) -> list[Any]:
    g, x = elements
    return [code.builder.fadd(sums[0], g), code.multiply_add(g, code.builder.fsub(x, values[0]), sums[1])]


def _affine(code: Code, elements: list[Any], values: list[Any], sums: list[Any]) -> list[Any]:
    mean, factor, shift = values
    return [code.multiply_add(code.builder.fsub(elements[0], mean), factor, shift)]


def _affine_relu(code: Code, elements: list[Any], values: list[Any], sums: list[Any]) -> list[Any]:
    return [code.clipped(_affine(code, elements, values, sums)[0], integer(1))]


def _blend(code: Code, elements: list[Any], values: list[Any], sums: list[Any]) -> list[Any]:
    (g, x), (mean, a, b, c) = elements, values
    return [code.multiply_add(a, g, code.multiply_add(b, code.builder.fsub(x, mean), c))]


@intrinsic(prefer_literal=True)
def _sum_rows(context, nv, count, stride, columns, x, total):
    return emitting(_emit_rows, (nv.literal_value, (1, 0, 0, 1), _sum), [nv], 5)


@intrinsic(prefer_literal=True)
def _sum_squares(context, nv, count, stride, columns, x, mean, total):
    return emitting(_emit_rows, (nv.literal_value, (1, 0, 1, 1), _squares), [nv], 6)


@intrinsic(prefer_literal=True)
def _sum_centered(context, nv, count, stride, columns, g, x, mean, total, moment):
    return emitting(_emit_rows, (nv.literal_value, (2, 0, 1, 2), _centered), [nv], 8)


@intrinsic(prefer_literal=True)
def _affine_rows(context, nv, count, stride, columns, x, out, mean, factor, shift):
    return emitting(_emit_rows, (nv.literal_value, (1, 1, 3, 0), _affine), [nv], 8)


@intrinsic(prefer_literal=True)
def _affine_relu_rows(context, nv, count, stride, columns, x, out, mean, factor, shift):
    return emitting(_emit_rows, (nv.literal_value, (1, 1, 3, 0), _affine_relu), [nv], 8)


@intrinsic(prefer_literal=True)
def _blend_rows(context, nv, count, stride, columns, g, x, out, mean, a, b, c):
    return emitting(_emit_rows, (nv.literal_value, (2, 1, 4, 0), _blend), [nv], 10)


@jit
def width_at(channels, first):
    """Return how many channels, from `first` on, are processed together: those of four vectors, or of one."""
    return PANEL if first + PANEL <= channels else min(LANES, channels - first)


@jit
def sum_rows(count, channels, x, total):
    """Store the sums over `count` rows. Arrays are passed as addresses."""
    q = 0
    while q < channels:
        width = width_at(channels, q)
        if width == PANEL:
            _sum_rows(MAX_VECTORS, count, channels, width, x + 4 * q, total + 4 * q)
        else:
            _sum_rows(1, count, channels, width, x + 4 * q, total + 4 * q)
        q += width


@jit
def sum_squares(count, channels, x, mean, total):
    """Store the sums of (x - mean)^2."""
    q = 0
    while q < channels:
        width, at = width_at(channels, q), 4 * q
        if width == PANEL:
            _sum_squares(MAX_VECTORS, count, channels, width, x + at, mean + at, total + at)
        else:
            _sum_squares(1, count, channels, width, x + at, mean + at, total + at)
        q += width


@jit
def sum_centered(count, channels, g, x, mean, total, moment):
    """Store the sums of g and of g * (x - mean)."""
    q = 0
    while q < channels:
        width, at = width_at(channels, q), 4 * q
        if width == PANEL:
            _sum_centered(MAX_VECTORS, count, channels, width, g + at, x + at, mean + at, total + at, moment + at)
        else:
            _sum_centered(1, count, channels, width, g + at, x + at, mean + at, total + at, moment + at)
        q += width


@jit
def affine_rows(count, channels, x, out, mean, factor, shift, clip):
    """Store (x - mean) * factor + shift, with ReLU if `clip`."""
    q = 0
    while q < channels:
        width, at = width_at(channels, q), 4 * q
        if width == PANEL and clip:
            _affine_relu_rows(MAX_VECTORS, count, channels, width, x + at, out + at, mean + at, factor + at, shift + at)
        elif clip:
            _affine_relu_rows(1, count, channels, width, x + at, out + at, mean + at, factor + at, shift + at)
        elif width == PANEL:
            _affine_rows(MAX_VECTORS, count, channels, width, x + at, out + at, mean + at, factor + at, shift + at)
        else:
            _affine_rows(1, count, channels, width, x + at, out + at, mean + at, factor + at, shift + at)
        q += width


@jit
def blend_rows(count, channels, g, x, out, mean, a, b, c):
    """Store a * g + b * (x - mean) + c."""
    q = 0
    while q < channels:
        width, at = width_at(channels, q), 4 * q
        if width == PANEL:
            _blend_rows(
                MAX_VECTORS, count, channels, width, g + at, x + at, out + at, mean + at, a + at, b + at, c + at
            )
        else:
            _blend_rows(1, count, channels, width, g + at, x + at, out + at, mean + at, a + at, b + at, c + at)
        q += width
