"""Vector instructions as LLVM code, for the innermost loops of the compiled kernels.

A matrix product reaches a processor's peak only if a small tile of the result stays in registers while the sum runs.
A tile here is `nv` vectors wide and `TILE_ROWS[nv]` rows high (Goto and van de Geijn 2008, "Anatomy of
high-performance matrix multiplication"). Numba's own loops do not guarantee that, so these functions emit the vector
operations themselves, for the vector width of the machine.

All functions take addresses (``array.ctypes.data``), count in floats, and check nothing: their callers lay out the
memory. The left operand of a product is addressed through a table of row offsets. The pixels of a window are therefore
read directly from the image, for every stride, dilation and group (Dukhan 2019, "The indirect convolution algorithm",
arXiv:1907.02129).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, codegen, config, types

_FEATURES = (codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES).split(",")
FUSES = "+fma" in _FEATURES or binding.get_process_triple().startswith(("aarch64", "arm64"))  # one rounding
LANES = 16 if "+avx512f" in _FEATURES else 8 if "+avx" in _FEATURES else 4
MAX_VECTORS = 4
PANEL = MAX_VECTORS * LANES  # columns of a full panel of the right operand
# Rows of a tile, by the number of vectors in a row. There are enough sums (a dozen) to keep the multipliers busy, but
# no more than fit into the vector registers (AVX has 16, AVX-512 and NEON have 32), and the pointers to the rows fit
# into the other registers.
TILE_ROWS = (0, 8, 6, 4, 3) if LANES == 8 else (0, 12, 8, 6, 6)
ROWS_UNIT = math.lcm(*TILE_ROWS[1:])  # a multiple of every tile's rows
UNROLL = 4

FLOAT, INT = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
NUMBERS = ir.VectorType(ir.IntType(32), LANES)


def integer(value: int) -> Any:
    """Return a 64-bit integer constant."""
    return ir.Constant(INT, value)


def splat(value: float) -> Any:
    """Return a vector with a constant in each lane."""
    return ir.Constant(VECTOR, [float(np.float32(value))] * LANES)


class Code:
    """The LLVM builder of one function, with vector operations."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def at(self, address: Any, offset: Any, kind: Any = FLOAT) -> Any:
        """Return a pointer to element `offset` of the numbers at an address."""
        b = self.builder
        pointer = b.inttoptr(address, kind.as_pointer()) if address.type == INT else address
        return b.gep(pointer, [offset if isinstance(offset, ir.Value) else integer(offset)])

    def number(self, address: Any, offset: Any) -> Any:
        """Return element `offset` of a table of integers."""
        return self.builder.load(self.at(address, offset, INT))

    def load(self, pointer: Any, mask: Any = None) -> Any:
        """Return a vector of floats, with 0 in the lanes that a mask excludes."""
        place = self.builder.bitcast(pointer, VECTOR.as_pointer())
        if mask is None:
            return self.builder.load(place, align=4)
        load = self.function("llvm.masked.load", VECTOR, VECTOR, [place.type, ir.IntType(32), mask.type, VECTOR], ".p0")
        return self.builder.call(load, [place, ir.Constant(ir.IntType(32), 4), mask, splat(0)])

    def store(self, value: Any, pointer: Any, mask: Any = None) -> None:
        """Store a vector, or only the lanes that a mask includes."""
        place, size = self.builder.bitcast(pointer, value.type.as_pointer()), 4 if value.type == VECTOR else 1
        if mask is None:
            self.builder.store(value, place, align=size)
            return
        kinds = [value.type, place.type, ir.IntType(32), mask.type]
        store = self.function("llvm.masked.store", value.type, ir.VoidType(), kinds, ".p0")
        self.builder.call(store, [value, place, ir.Constant(ir.IntType(32), size), mask])

    def function(self, name: str, vector: Any, result: Any, kinds: list[Any], suffix: str = "") -> Any:
        """Return LLVM's function of that name for a kind of vector."""
        element = "f32" if vector.element == FLOAT else f"i{vector.element.width}"
        full_name = f"{name}.v{LANES}{element}{suffix}"
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, kinds), full_name)

    def spread(self, scalar: Any, kind: Any = VECTOR) -> Any:
        """Return a vector with a scalar in each lane."""
        undefined, lanes = ir.Constant(kind, ir.Undefined), ir.Constant(NUMBERS, [0] * LANES)
        one = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(one, undefined, lanes)

    def multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        """Return x * y + z of numbers or vectors, rounded once if the machine has fused multiply-add."""
        if not FUSES:
            return self.builder.fadd(self.builder.fmul(x, y), z)
        if x.type != VECTOR:
            return self.builder.fma(x, y, z)
        return self.builder.call(self.function("llvm.fma", VECTOR, VECTOR, [VECTOR] * 3), [x, y, z])

    def floor(self, value: Any) -> Any:
        """Return the vector rounded down to integers."""
        return self.builder.call(self.function("llvm.floor", VECTOR, VECTOR, [VECTOR]), [value])

    def mask(self, columns: Any, first: int) -> Any:
        """Return a mask of the lanes first, first + 1, ... that are below `columns`."""
        kind = ir.VectorType(INT, LANES)
        lanes = ir.Constant(kind, [first + lane for lane in range(LANES)])
        return self.builder.icmp_signed("<", lanes, self.spread(columns, kind))

    def clipped(self, value: Any, clip: Any) -> Any:
        """Return the vector with ReLU applied if `clip` is not 0; NaN stays NaN."""
        b = self.builder
        positive = b.select(b.fcmp_ordered("<=", value, splat(0)), splat(0), value)
        return b.select(b.icmp_signed("!=", clip, integer(0)), positive, value)

    def variable(self, value: Any) -> Any:
        """Return a variable; LLVM keeps it in a register."""
        place = cgutils.alloca_once(self.builder, value.type)
        self.builder.store(value, place)
        return place


def emitting(
    emit: Callable[[Code, Any, Sequence[Any]], None], choice: Any, literals: Sequence[Any], integers: int
) -> Any:
    """Return the signature of a function (literals, then integers) and its code, as `intrinsic` needs them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit(Code(builder), choice, args[len(literals) :])
        return context.get_dummy_value()

    return types.void(*literals, *[types.int64] * integers), generate
