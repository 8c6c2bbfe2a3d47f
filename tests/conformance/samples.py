"""Small correct and wrong layers for tests of the kit."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import Case, Input

rows = st.tuples(st.integers(1, 4), st.integers(1, 4))
row_cases = rows.map(lambda shape: Case(inputs=(Input(shape),)))
matrix_cases = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)).map(
    lambda t: Case(args=t[:2], inputs=(Input((t[2], t[0])),))
)


@tgl.primitive
def square(xp: Any, x: Any) -> Any:
    return x * x


square.defvjp(x=lambda g, x: 2 * g * x)


@tgl.primitive
def square_halved(xp: Any, x: Any) -> Any:
    return x * x


square_halved.defvjp(x=lambda g, x: g * x)


@tgl.primitive
def square_constant(xp: Any, x: Any) -> Any:
    return x * x


square_constant.defvjp(x=lambda g, x: 2 * g * tgl.stop_gradient(x))


@tgl.primitive
def product(xp: Any, x: Any, w: Any) -> Any:
    return x @ w


product.defvjp(x=lambda g, w: tgl.matmul(g, tgl.transpose(w)), w=lambda g, x: tgl.matmul(tgl.transpose(x), g))


class Elementwise(tgl.Layer):
    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape


class Square(Elementwise):
    def forward(self, x: Any) -> Any:
        return square(x)


class Halved(Elementwise):
    def forward(self, x: Any) -> Any:
        return square_halved(x)


class Constant(Elementwise):
    def forward(self, x: Any) -> Any:
        return square_constant(x)


class Matrix(tgl.Layer):
    def __init__(self, inputs: int, outputs: int, *, rng: Any = None) -> None:
        self.weight = tgl.Parameter(tgl.initializers.draw(1.0, (inputs, outputs), rng=rng))

    def forward(self, x: Any) -> Any:
        return product(x, self.weight)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], self.weight.shape[1])
