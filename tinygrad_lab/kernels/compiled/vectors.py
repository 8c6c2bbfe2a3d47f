"""Building blocks in vector instructions: the innermost loops of the compiled kernels, written as LLVM code.

A matrix product reaches a processor's peak only if a small tile of the result stays in registers while the sum runs:
here `nv` vectors wide and `TILE_ROWS[nv]` rows high (Goto and van de Geijn 2008, "Anatomy of high-performance matrix
multiplication"). Numba's own loops cannot be held to that, so these few functions emit the vector operations
themselves, for whatever vector width the machine has.

All of them take addresses (``array.ctypes.data``), count in floats, and check nothing: their callers lay out the
memory. A product's left operand is found through a table of row offsets, so that the pixels under a window are read
where they lie in the image, whatever stride, dilation or group (Dukhan 2019, "The indirect convolution algorithm",
arXiv:1907.02129).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic

from tinygrad_lab.kernels.toom_cook import matrices

_FEATURES = (config.CPU_FEATURES or binding.get_host_cpu_features().flatten()).split(",")
LANES = 16 if "+avx512f" in _FEATURES else 8 if "+avx" in _FEATURES else 4
MAX_VECTORS = 4
PANEL = MAX_VECTORS * LANES  # columns of a full panel of the right operand
# Rows of a tile, by the number of vectors in a row: enough sums to keep the multipliers busy (a dozen), no more than
# fit into the vector registers (AVX has 16, AVX-512 and NEON have 32), and a pointer to each row in the other
# registers.
TILE_ROWS = (0, 8, 6, 4, 3) if LANES == 8 else (0, 12, 8, 6, 6)
ROWS_UNIT = math.lcm(*TILE_ROWS[1:])  # a multiple of every tile's rows
UNROLL = 4

FLOAT, INT = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)


def _int(value: int) -> Any:
    return ir.Constant(INT, value)


def _splat(value: float) -> Any:
    return ir.Constant(VECTOR, [float(np.float32(value))] * LANES)


class _Code:
    """The LLVM builder of one function with the vector operations that the blocks below are made of."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def at(self, address: Any, offset: Any, kind: Any = FLOAT) -> Any:
        """Return a pointer to element `offset` of the numbers at an address."""
        b = self.builder
        pointer = b.inttoptr(address, kind.as_pointer()) if address.type == INT else address
        return b.gep(pointer, [offset if isinstance(offset, ir.Value) else _int(offset)])

    def number(self, address: Any, offset: Any) -> Any:
        return self.builder.load(self.at(address, offset, INT))

    def load(self, pointer: Any) -> Any:
        return self.builder.load(self.builder.bitcast(pointer, VECTOR.as_pointer()), align=4)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, VECTOR.as_pointer()), align=4)

    def broadcast(self, scalar: Any) -> Any:
        b, undefined = self.builder, ir.Constant(VECTOR, ir.Undefined)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return b.shuffle_vector(b.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0)), undefined, lanes)

    def multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        name = f"llvm.fmuladd.v{LANES}f32"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [x, y, z])

    def mask(self, columns: Any, first: int) -> Any:
        """Return a mask of the lanes first, first + 1, ... that are below `columns`."""
        b, kind = self.builder, ir.VectorType(INT, LANES)
        numbers = ir.Constant(kind, [first + lane for lane in range(LANES)])
        undefined = ir.Constant(kind, ir.Undefined)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        limit = b.shuffle_vector(b.insert_element(undefined, columns, ir.Constant(ir.IntType(32), 0)), undefined, lanes)
        return b.icmp_signed("<", numbers, limit)

    def load_masked(self, pointer: Any, mask: Any) -> Any:
        kind = ir.FunctionType(VECTOR, [VECTOR.as_pointer(), ir.IntType(32), mask.type, VECTOR])
        name = f"llvm.masked.load.v{LANES}f32.p0"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        place = self.builder.bitcast(pointer, VECTOR.as_pointer())
        return self.builder.call(function, [place, ir.Constant(ir.IntType(32), 4), mask, _splat(0)])

    def store_masked(self, value: Any, pointer: Any, mask: Any) -> None:
        kind = ir.FunctionType(ir.VoidType(), [VECTOR, VECTOR.as_pointer(), ir.IntType(32), mask.type])
        name = f"llvm.masked.store.v{LANES}f32.p0"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        place = self.builder.bitcast(pointer, VECTOR.as_pointer())
        self.builder.call(function, [value, place, ir.Constant(ir.IntType(32), 4), mask])

    def clipped(self, value: Any, clip: Any) -> Any:
        """Return the vector with 0 for what is not positive, if `clip` is not 0; NaN stays NaN."""
        b = self.builder
        positive = b.select(b.fcmp_ordered("<=", value, _splat(0)), _splat(0), value)
        return b.select(b.icmp_signed("!=", clip, _int(0)), positive, value)

    def variable(self, value: Any) -> Any:
        """Return a variable; LLVM keeps it in a register."""
        place = cgutils.alloca_once(self.builder, value.type)
        self.builder.store(value, place)
        return place

    def add_to(self, variable: Any, amount: Any) -> None:
        self.builder.store(self.builder.add(self.builder.load(variable), amount), variable)


def _emit_rows_times_panel(code: _Code, nv: int, args: Sequence[Any]) -> None:
    a, rows, taps, count, run, panel, start, clip, c, places, columns = args
    b, height = code.builder, TILE_ROWS[nv]
    sums = [[code.variable(_splat(0)) for _ in range(nv)] for _ in range(height)]
    with b.if_else(b.icmp_signed("!=", start, _int(0))) as (fresh, continued):
        with fresh:
            starts = [code.load(code.at(start, v * LANES)) for v in range(nv)]
            for row in sums:
                for v in range(nv):
                    b.store(starts[v], row[v])
        with continued:
            for r, row in enumerate(sums):
                place = code.at(c, code.number(places, r))
                for v in range(nv):
                    b.store(code.load_masked(code.at(place, v * LANES), code.mask(columns, v * LANES)), row[v])
    right = code.variable(code.at(panel, 0))
    offsets = [code.number(rows, r) for r in range(height)]

    def step(left: Any, k: Any, ahead: int) -> None:
        """Add the products of one element of each row with one row of the panel."""
        p = b.load(right)
        vectors = [code.load(code.at(p, (ahead * nv + v) * LANES)) for v in range(nv)]
        for r in range(height):
            x = code.broadcast(b.load(code.at(code.at(code.at(left, k), offsets[r]), ahead)))
            for v in range(nv):
                b.store(code.multiply_add(x, vectors[v], b.load(sums[r][v])), sums[r][v])

    whole = b.and_(run, _int(-UNROLL))
    with cgutils.for_range(b, count, intp=INT) as tap:
        left = code.at(a, code.number(taps, tap.index))
        with cgutils.for_range_slice(b, _int(0), whole, _int(UNROLL), INT) as (k, _):
            for ahead in range(UNROLL):
                step(left, k, ahead)
            b.store(code.at(b.load(right), UNROLL * nv * LANES), right)
        with cgutils.for_range_slice(b, whole, run, _int(1), INT) as (k, _):
            step(left, k, 0)
            b.store(code.at(b.load(right), nv * LANES), right)
    _emit_store_rows(code, nv, [[b.load(s) for s in row] for row in sums], clip, c, places, columns)


def _emit_store_rows(code: _Code, nv: int, sums: list[list[Any]], clip: Any, c: Any, places: Any, columns: Any) -> None:
    """Store rows of sums, `columns` numbers of each, clipped at zero where asked; NaN stays NaN."""
    for r, row in enumerate(sums):
        place = code.at(c, code.number(places, r))
        for v, value in enumerate(row):
            value = code.clipped(value, clip)
            if v < nv - 1:
                code.store(value, code.at(place, v * LANES))
            else:
                code.store_masked(value, code.at(place, v * LANES), code.mask(columns, v * LANES))


def _emit_columns_times_rows(code: _Code, shape: tuple[int, int, bool], args: Sequence[Any]) -> None:
    (nv, height, scattered), b = shape, code.builder
    a, rows, pixels, count, right, width, columns, c, stride = args
    offsets = [code.number(rows, r) if scattered else _int(r) for r in range(height)]
    sums = [[code.variable(_splat(0)) for _ in range(nv)] for _ in range(height)]
    mask = code.mask(columns, (nv - 1) * LANES)
    with cgutils.for_range(b, count, intp=INT) as pixel:
        left = code.at(a, code.number(pixels, pixel.index))
        row = code.at(right, b.mul(pixel.index, width))
        vectors = [code.load(code.at(row, v * LANES)) for v in range(nv - 1)]
        vectors.append(code.load_masked(code.at(row, (nv - 1) * LANES), mask))
        for r in range(height):
            x = code.broadcast(b.load(code.at(left, offsets[r])))
            for v in range(nv):
                b.store(code.multiply_add(x, vectors[v], b.load(sums[r][v])), sums[r][v])
    for r in range(height):
        for v in range(nv):
            place = code.at(c, b.add(b.mul(stride, _int(r)), _int(v * LANES)))
            code.store(b.fadd(code.load(place), b.load(sums[r][v])), place)


def _combine(code: _Code, terms: list[tuple[float, Any]]) -> Any:
    """Return the sum of coefficients times vectors."""
    b, total = code.builder, None
    for coefficient, vector in sorted((t for t in terms if t[0]), key=lambda t: abs(t[0]) != 1):
        if total is None:
            total = vector if coefficient == 1 else b.fmul(_splat(coefficient), vector)
        elif abs(coefficient) == 1:
            total = (b.fadd if coefficient == 1 else b.fsub)(total, vector)
        else:
            total = code.multiply_add(_splat(coefficient), vector, total)
    return _splat(0) if total is None else total


def _mirrored(p: Any, q: Any) -> bool:
    return bool(np.array_equal(np.abs(p), np.abs(q)) and not np.array_equal(p, q))


def _emit_matrix(code: _Code, matrix: Any, vectors: list[Any]) -> list[Any]:
    """Return matrix times a column of vectors.

    The rows (or columns) that belong to the points p and -p differ in signs alone: their even and odd parts are worked
    out once, which halves the work.
    """
    b, out = code.builder, [None] * len(matrix)
    pair = next(
        (pair for pair in itertools.combinations(range(matrix.shape[1]), 2) if _mirrored(*matrix.T[[*pair]])), None
    )
    if pair:
        first, second = pair
        same, merged, vectors = matrix[:, first] == matrix[:, second], matrix.copy(), list(vectors)
        merged[:, first], merged[:, second] = np.where(same, matrix[:, first], 0), np.where(same, 0, matrix[:, first])
        p, q = vectors[first], vectors[second]
        vectors[first], vectors[second] = b.fadd(p, q), b.fsub(p, q)
        return _emit_matrix(code, merged, vectors)
    for i, row in enumerate(matrix):
        if out[i] is not None:
            continue
        twin = next((k for k in range(i + 1, len(matrix)) if _mirrored(row, matrix[k])), None)
        if twin is None:
            out[i] = _combine(code, list(zip(row, vectors, strict=True)))
            continue
        same = row == matrix[twin]
        even = _combine(code, list(zip(np.where(same, row, 0), vectors, strict=True)))
        odd = _combine(code, list(zip(np.where(same, 0, row), vectors, strict=True)))
        out[i], out[twin] = b.fadd(even, odd), b.fsub(even, odd)
    return out


def _emit_transform(code: _Code, choice: tuple[Any, bool], args: Sequence[Any]) -> None:
    matrix, finishing = choice
    sources, offset, targets, shift = args[:4]
    b, (rows, columns) = code.builder, matrix.shape
    half = []  # half[j][i]: matrix times column j of the source
    for j in range(columns):
        column = [code.load(code.at(code.number(sources, i * columns + j), offset)) for i in range(columns)]
        half.append(_emit_matrix(code, matrix, column))
    for i in range(rows):
        for j, value in enumerate(_emit_matrix(code, matrix, [half[k][i] for k in range(columns)])):
            if finishing:
                value = code.clipped(b.fadd(value, code.load(code.at(args[4], 0))), args[5])
            code.store(value, code.at(code.number(targets, i * rows + j), shift))


def _emitting(
    emit: Callable[[_Code, Any, Sequence[Any]], None], choice: Any, literals: Sequence[Any], integers: int
) -> Any:
    """Return what `intrinsic` wants: the signature of a block (some literals, then integers), and its code."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit(_Code(builder), choice, args[len(literals) :])
        return context.get_dummy_value()

    return types.void(*literals, *[types.int64] * integers), generate


@intrinsic(prefer_literal=True)
def rows_times_panel(context, nv, a, rows, taps, count, run, panel, start, clip, c, places, columns):
    """Store c[places[r] + q] = start[q] + sum over t, k of a[taps[t] + rows[r] + k] * panel[t * run + k, q].

    A `start` of 0 instead of an address means: add to what is in c. r goes over `TILE_ROWS[nv]` rows, t over `count`
    taps, k over `run` neighbours, and q over the first `columns` of nv * LANES columns; `clip` puts 0 for what is not
    positive. Tables are int64, offsets in floats.
    """
    return _emitting(_emit_rows_times_panel, nv.literal_value, [nv], 11)


@intrinsic(prefer_literal=True)
def columns_times_rows(context, nv, height, scattered, a, rows, pixels, count, right, width, columns, c, stride):
    """Add to c[r, q] the sum over p of a[pixels[p] + rows[r]] * right[p * width + q].

    r goes over `height` rows of c, `stride` floats apart, p over `count` pixels, and q over nv * LANES columns, of
    which those from `columns` on are taken for 0 in `right`. Unless `scattered`, rows[r] is r and the table is not
    read.
    """
    shape = nv.literal_value, height.literal_value, bool(scattered.literal_value)
    return _emitting(_emit_columns_times_rows, shape, [nv, height, scattered], 9)


@intrinsic(prefer_literal=True)
def transform(context, m, r, which, sources, offset, targets, shift):
    """Store M s M' for a square tile s of vectors, LANES channels at once.

    `which` names M: "input" (B'), "filter" (G), "spread" (A) or "collect" (G') of F(m, r). `sources` and `targets` are
    tables of addresses, one for each element of the tile, row by row; the vector lies `offset` (`shift`) floats
    further.
    """
    output, taps, tile = matrices(m.literal_value, r.literal_value)
    matrix = {"input": tile, "filter": taps, "spread": output.T, "collect": taps.T}[which.literal_value]
    return _emitting(_emit_transform, (np.float32(matrix), False), [m, r, which], 4)


@intrinsic(prefer_literal=True)
def transform_output(context, m, r, sources, offset, targets, shift, bias, clip):
    """Store A' s A + bias as `transform` does, with 0 for what is not positive if `clip`."""
    return _emitting(_emit_transform, (np.float32(matrices(m.literal_value, r.literal_value).output), True), [m, r], 6)
