"""Grades `broadcasting`: products of arrays whose shapes differ."""

from __future__ import annotations

import numpy as np
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from tinygrad_lab.backend import Array
from tinygrad_lab.learn.answer import Answer
from tinygrad_lab.learn.judge import Probe, Step, right_gradient

SHAPES = mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3).map(lambda drawn: drawn.input_shapes)


def multiply(x: Array, y: Array) -> Array:
    """Return x y."""
    return x * y


def steps(answer: Answer) -> list[Step]:
    """Return the check of the gradients of a product with broadcasting."""
    return [
        Step(
            "gradients of x * y, for shapes that broadcast",
            lambda: right_gradient(multiply, answer.multiply_backward, SHAPES, complex_safe=True),
        )
    ]


def probes(answer: Answer) -> list[Probe]:
    """Return probes of sums to shapes that were broadcast in one way or the other."""
    g = np.arange(24.0).reshape(2, 3, 4)
    return [
        lambda: answer.sum_to(g, (4,)),
        lambda: answer.sum_to(g, (2, 1, 4)),
        lambda: answer.sum_to(g, (3, 1)),
        lambda: answer.sum_to(g, ()),
    ]
