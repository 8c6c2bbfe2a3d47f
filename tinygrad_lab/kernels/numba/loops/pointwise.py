"""Compiled elementwise loops, limited by memory bandwidth. Arrays are flat; blocks are BLOCK elements."""

from __future__ import annotations

import numpy as np

from tinygrad_lab.kernels.numba.loops.jit import jit

BLOCK = 1 << 14

GOLDEN, MIX_1, MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
ZERO = np.float32(0)


@jit
def relu(x, out, first, last):
    """Store max(x, 0); NaN stays NaN."""
    begin, end = first * BLOCK, min(last * BLOCK, x.size)
    x, out = x[begin:end], out[begin:end]
    for i in range(x.size):
        out[i] = ZERO if x[i] <= ZERO else x[i]


@jit
def add_relu(x, y, out, first, last):
    """Store max(x + y, 0); NaN stays NaN."""
    begin, end = first * BLOCK, min(last * BLOCK, x.size)
    x, y, out = x[begin:end], y[begin:end], out[begin:end]
    for i in range(x.size):
        total = x[i] + y[i]
        out[i] = ZERO if total <= ZERO else total


@jit
def relu_gradient(g, y, out, first, last):
    """Store g where y is positive, and 0 elsewhere."""
    begin, end = first * BLOCK, min(last * BLOCK, g.size)
    g, y, out = g[begin:end], y[begin:end], out[begin:end]
    for i in range(g.size):
        out[i] = g[i] if y[i] > ZERO else ZERO


@jit
def dropout(x, key, threshold, factor, out, first, last):
    """Store x * factor where SplitMix64's number for the element is not below the threshold, and x * 0 elsewhere."""
    begin, end = first * BLOCK, min(last * BLOCK, x.size)
    x, out = x[begin:end], out[begin:end]
    start = key + np.uint64(begin + 1) * GOLDEN
    for i in range(x.size):
        z = start + np.uint64(i) * GOLDEN
        z = (z ^ (z >> np.uint64(30))) * MIX_1
        z = (z ^ (z >> np.uint64(27))) * MIX_2
        z = z ^ (z >> np.uint64(31))
        out[i] = x[i] * (factor if z >= threshold else ZERO)


@jit
def momentum(p, g, v, out, lr, mu, nesterov, decay, first, last):
    """Set v to mu v + g + decay p and store p - lr v; with `nesterov`, p - lr (g + decay p + mu v)."""
    begin, end = first * BLOCK, min(last * BLOCK, p.size)
    p, g, v, out = p[begin:end], g[begin:end], v[begin:end], out[begin:end]
    if nesterov:
        for i in range(p.size):
            slope = g[i] + decay * p[i]
            v[i] = mu * v[i] + slope
            out[i] = p[i] - lr * (slope + mu * v[i])
    else:
        for i in range(p.size):
            v[i] = mu * v[i] + (g[i] + decay * p[i])
            out[i] = p[i] - lr * v[i]


@jit
def momentum_in_place(p, g, v, lr, mu, nesterov, decay, first, last):
    """Compute `momentum` and store the result in p."""
    begin, end = first * BLOCK, min(last * BLOCK, p.size)
    p, g, v = p[begin:end], g[begin:end], v[begin:end]
    if nesterov:
        for i in range(p.size):
            slope = g[i] + decay * p[i]
            v[i] = mu * v[i] + slope
            p[i] -= lr * (slope + mu * v[i])
    else:
        for i in range(p.size):
            v[i] = mu * v[i] + (g[i] + decay * p[i])
            p[i] -= lr * v[i]
