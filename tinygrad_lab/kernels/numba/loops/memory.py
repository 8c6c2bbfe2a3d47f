"""Addresses and sizes in compiled code.

Numba frees an array after the last statement that names it, even if its address is still in use. Take the address of a
temporary array inside the loop that uses it: the loop then names the array, which lives until the loop ends.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from tinygrad_lab.kernels.numba.loops.jit import jit


@jit
def address(a):
    """Return the address of an array's first element."""
    return np.int64(a.ctypes.data)  # signed: Numba adds signed and unsigned integers as floats


@jit
def on_line(a):
    """Return the first address in an array that starts a cache line of 64 bytes."""
    return (np.int64(a.ctypes.data) + 63) // 64 * 64


@jit
def round_up(number, unit):
    """Return the smallest multiple of `unit` that is at least `number`."""
    return (number + unit - 1) // unit * unit


@intrinsic
def copy_floats(context, target, source, count):
    """Copy `count` floats from one address to another at the speed of memory."""

    def generate(context, builder, signature, args):
        byte, float_size = ir.IntType(8).as_pointer(), ir.Constant(ir.IntType(64), 4)
        places = [builder.inttoptr(a, byte) for a in args[:2]]
        cgutils.raw_memcpy(builder, *places, args[2], float_size)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def clear_floats(context, target, count):
    """Set `count` floats to 0."""

    def generate(context, builder, signature, args):
        place = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        cgutils.memset(builder, place, builder.mul(args[1], ir.Constant(ir.IntType(64), 4)), 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate
