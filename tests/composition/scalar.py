"""Reverse-mode differentiation of single numbers, as simple as possible, for comparison with the engine."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

made = itertools.count()


class Scalar:
    """A number, the numbers that it was computed from, and its derivative with respect to each of them."""

    def __init__(self, value: float, *parents: tuple[Any, float]) -> None:
        self.value, self.parents, self.grad, self.order = float(value), parents, 0.0, next(made)

    def __add__(self, other: Any) -> Scalar:
        return Scalar(self.value + number(other), (self, 1.0), (other, 1.0))

    def __mul__(self, other: Any) -> Scalar:
        return Scalar(self.value * number(other), (self, number(other)), (other, self.value))

    def __pow__(self, n: float) -> Scalar:
        return Scalar(self.value**n, (self, n * self.value ** (n - 1)))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Scalar:
        return self * -1.0

    def __sub__(self, other: Any) -> Scalar:
        return self + other * -1.0

    def __truediv__(self, other: Any) -> Scalar:
        return self * other**-1.0

    def exp(self) -> Scalar:
        return Scalar(math.exp(self.value), (self, math.exp(self.value)))

    def log(self) -> Scalar:
        return Scalar(math.log(self.value), (self, 1 / self.value))

    def backward(self) -> None:
        self.grad, found, waiting = 1.0, {self}, [self]
        while waiting:
            new = {p for p, _ in waiting.pop().parents if isinstance(p, Scalar)} - found
            found |= new
            waiting.extend(new)
        for scalar in sorted(found, key=lambda s: -s.order):
            for parent, slope in scalar.parents:
                if isinstance(parent, Scalar):
                    parent.grad += slope * scalar.grad


def number(x: Any) -> float:
    return x.value if isinstance(x, Scalar) else x


scalars = np.frompyfunc(Scalar, 1, 1)  # an array of floats -> an array of Scalars
gradients = np.frompyfunc(lambda s: s.grad, 1, 1)
values = np.frompyfunc(number, 1, 1)
