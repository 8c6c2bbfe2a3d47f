"""Vectorized sums along a row, in a fixed order that the compiler may not change.

Element k of a row belongs to lane k % WIDTH, for every vector width of the machine. Each lane is summed in the order
of the row, and then the lanes are folded in halves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from tinygrad_lab.kernels.numba.loops.vectors import INT, LANES, NUMBERS, VECTOR, Code, integer, splat

WIDTH = 32  # two vectors of AVX-512, so that their additions overlap
SMALLEST = -87.0  # e to a smaller power is taken as 0

Body = Callable[[Code, list[Any], list[Any]], Any]


def _emit_sum(code: Code, choice: tuple[int, int, Body], args: Sequence[Any]) -> Any:
    """Return the sum over a row of the terms that `body` computes from the elements and from constant values.

    The first addresses are those of the rows to read. If there is one more address, the terms are stored there.
    """
    (reads, writes, body), b = choice, code.builder
    count, rows, targets = args[0], args[1 : 1 + reads], args[1 + reads : 1 + reads + writes]
    values = [code.spread(value) for value in args[1 + reads + writes :]]
    totals = [code.variable(splat(0)) for _ in range(0, WIDTH, LANES)]

    def add(v: int, first: Any, mask: Any = None) -> None:
        """Add a vector of terms to vector v of the lanes."""
        term = body(code, [code.load(code.at(row, first), mask) for row in rows], values)
        for target in targets:
            code.store(term, code.at(target, first), mask)
        total = b.load(totals[v])
        b.store(b.fadd(total, b.select(mask, term, splat(0)) if mask else term), totals[v])

    whole = b.and_(count, integer(-WIDTH))
    with cgutils.for_range_slice(b, integer(0), whole, integer(WIDTH), INT) as (first, _):
        for v in range(len(totals)):
            add(v, b.add(first, integer(v * LANES)))
    for v in range(len(totals)):
        first = b.add(whole, integer(v * LANES))
        with b.if_then(b.icmp_signed("<", first, count)):
            add(v, first, code.mask(b.sub(count, first), 0))
    return _folded(code, [b.load(total) for total in totals])


def _folded(code: Code, vectors: list[Any]) -> Any:
    """Return the sum of all lanes: add the second half to the first until one number is left."""
    b, half = code.builder, LANES // 2
    while len(vectors) > 1:
        middle = len(vectors) // 2
        vectors = [b.fadd(p, q) for p, q in zip(vectors[:middle], vectors[middle:], strict=True)]
    (vector,) = vectors
    while half:
        moved = ir.Constant(NUMBERS, [(lane + half) % LANES for lane in range(LANES)])
        vector = b.fadd(vector, b.shuffle_vector(vector, ir.Constant(VECTOR, ir.Undefined), moved))
        half //= 2
    return b.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _power(code: Code, elements: list[Any], values: list[Any]) -> Any:
    """Return e^(x - peak) for x <= peak, NaN for NaN: 2^n e^r with |r| <= log(2) / 2, and e^r by its series."""
    b, x = code.builder, code.builder.fsub(elements[0], values[0])
    held = b.select(b.fcmp_ordered(">", x, splat(SMALLEST)), x, splat(SMALLEST))
    n = code.floor(code.multiply_add(held, splat(1 / math.log(2)), splat(0.5)))
    r = code.multiply_add(n, splat(-math.log(2)), x)
    series = splat(1 / 720)
    for factorial in (120, 24, 6, 2, 1, 1):
        series = code.multiply_add(r, series, splat(1 / factorial))
    whole = b.add(b.fptosi(n, NUMBERS), ir.Constant(NUMBERS, [127] * LANES))
    scale = b.bitcast(b.shl(whole, ir.Constant(NUMBERS, [23] * LANES)), VECTOR)  # 2^n has these bits
    return b.select(b.fcmp_ordered("<", x, splat(SMALLEST)), splat(0), b.fmul(series, scale))


def _centered(code: Code, elements: list[Any], values: list[Any]) -> Any:
    return code.builder.fsub(elements[0], values[0])


def _blended(code: Code, elements: list[Any], values: list[Any]) -> Any:
    return code.multiply_add(elements[0], values[0], values[1])


def _surprise(code: Code, elements: list[Any], values: list[Any]) -> Any:
    b, (x, share), (peak, level, kept, even) = code.builder, elements, values
    t = code.multiply_add(share, kept, even)
    return b.select(b.fcmp_ordered("==", t, splat(0)), splat(0), b.fmul(t, b.fsub(level, b.fsub(x, peak))))


def _summing(reads: int, writes: int, values: int, body: Body) -> Any:
    """Return the signature (integers, then floats) and the code, as `intrinsic` needs them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _emit_sum(Code(builder), (reads, writes, body), args)

    return types.float32(*[types.int64] * (1 + reads + writes), *[types.float32] * values), generate


@intrinsic
def sum_powers(context, count, x, peak):
    """Return the sum of e^(x - peak) over a row with no element above the peak. Arrays are passed as addresses."""
    return _summing(1, 0, 1, _power)


@intrinsic
def store_powers(context, count, x, out, peak):
    """Store e^(x - peak), and return the sum."""
    return _summing(1, 1, 1, _power)


@intrinsic
def sum_centered(context, count, x, peak):
    """Return the sum of x - peak."""
    return _summing(1, 0, 1, _centered)


@intrinsic
def sum_blended(context, count, shares, kept, even):
    """Return the sum of t = kept * share + even."""
    return _summing(1, 0, 2, _blended)


@intrinsic
def sum_surprises(context, count, x, shares, peak, level, kept, even):
    """Return the sum of t (level - (x - peak)) with t = kept * share + even; where t is 0, the term is 0 for all x."""
    return _summing(2, 0, 4, _surprise)


@intrinsic
def multiply_add(context, x, y, z):
    """Return x * y + z of three numbers of one type, rounded once if the machine has fused multiply-add."""

    def generate(context, builder, signature, args):
        return Code(builder).multiply_add(*args)

    return (x(x, x, x), generate) if x == y == z else None
