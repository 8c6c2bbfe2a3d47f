"""Cost model of convolution algorithms, which chooses one for a shape.

The unit of cost is one multiply-add at the rate of a matrix product in the cache.

- Direct convolution takes kh * kw * C / groups multiply-adds for each output pixel and output channel. It loads
  kh * kw * C numbers for each output pixel. If m neighboring pixels are computed at once (see `neighbors`) with stride
  s, it takes kh * (kw + (m - 1) s) * C multiply-adds for each output pixel and output channel, but loads only
  kh * (kw + (m - 1) s) * C numbers for all m pixels together.
- A Winograd tile F(m, r) computes m * m outputs of r x r filters from n * n inputs, where n = m + r - 1. It takes
  n * n * C multiply-adds for each output channel, where direct convolution takes m * m * r * r * C. In addition, n * n
  numbers are transformed for each input channel and each output channel of a tile, and n * n for each pair of input and
  output channel of the filters. Work on tiles beyond the border of the map is wasted, so small maps need small tiles.

The rates were fitted to times on a processor with AVX-512. `using_tiles` overrides the choice.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from tinygrad_lab.errors import OptionError
from tinygrad_lab.kernels.winograd import LARGEST_TILE

MOST_OUTPUTS = 4  # along a side of a tile; larger tiles save too little time to be worth their loss of accuracy
MOST_NEIGHBORS = 8  # outputs that are computed at once


class Rates(NamedTuple):
    """Costs of the steps of a provider's kernels.

    Parameters
    ----------
    direct : float
        Cost of one multiply-add of a window.
    column : float
        Cost of loading or copying one number of a window.
    transform, filter, filter_sum : float
        Cost of transforming one number of a tile, of a filter, and of a filter gradient, which is summed in memory.
    vector : int
        Number of output channels that are computed together.
    """

    direct: float
    column: float
    transform: float
    filter: float
    filter_sum: float
    vector: int


COMPILED = Rates(direct=1.25, column=0.0, transform=24.0, filter=16.0, filter_sum=60.0, vector=16)
ARRAYS = Rates(direct=1.0, column=24.0, transform=40.0, filter=20.0, filter_sum=60.0, vector=1)

_forced: ContextVar[int | None] = ContextVar("tinygrad_lab.tiles", default=None)


class ConvolutionShape(NamedTuple):
    """The sizes of a convolution on which its cost depends."""

    images: int
    out_height: int
    out_width: int
    kernel_size: tuple[int, int]
    inputs: int
    outputs: int


def _whole(number: int, unit: int) -> int:
    """Return the number of units that cover `number`."""
    return -(-number // unit)


def direct_cost(shape: ConvolutionShape, rates: Rates, *, m: int = 1, stride: int = 1) -> float:
    """Return the cost of a direct convolution, or of its filter gradient, with m neighboring pixels at once."""
    outputs = _whole(m * shape.outputs, rates.vector) * rates.vector
    columns = shape.kernel_size[1] + (m - 1) * stride
    seen = shape.images * shape.out_height * shape.out_width // m * shape.kernel_size[0] * columns * shape.inputs
    return seen * (rates.direct * outputs + rates.column)


@functools.lru_cache(maxsize=1024)
def choose_neighbors(shape: ConvolutionShape, rates: Rates = COMPILED, *, stride: int = 1) -> int:
    """Return the cheapest number of neighboring outputs to compute at once; it divides the width of the map.

    Parameters
    ----------
    shape : ConvolutionShape
        The sizes of the convolution, without groups or dilation.
    rates : Rates
        The costs of the provider's kernels.
    stride : int
        The stride along the width.

    Examples
    --------
    >>> shape = ConvolutionShape(images=128, out_height=28, out_width=28, kernel_size=(5, 5), inputs=1, outputs=6)
    >>> choose_neighbors(shape)
    2
    """
    sizes = [m for m in range(1, MOST_NEIGHBORS + 1) if shape.out_width % m == 0]
    return min(sizes, key=lambda m: direct_cost(shape, rates, m=m, stride=stride))


def tile_cost(shape: ConvolutionShape, m: int, rates: Rates, *, gradient: bool = False) -> float:
    """Return the cost of a convolution by tiles of m x m outputs."""
    squares = (m + shape.kernel_size[0] - 1) ** 2
    tiles = shape.images * _whole(shape.out_height, m) * _whole(shape.out_width, m)
    inputs, outputs = (_whole(c, rates.vector) * rates.vector for c in (shape.inputs, shape.outputs))
    filters = shape.inputs * outputs * (rates.filter_sum if gradient else rates.filter)
    return squares * (tiles * shape.inputs * outputs + tiles * rates.transform * (inputs + outputs) + filters)


@functools.lru_cache(maxsize=1024)
def _cheapest(shape: ConvolutionShape, rates: Rates, gradient: bool) -> int:
    r = shape.kernel_size[0]
    if r != shape.kernel_size[1] or r == 1 or r >= LARGEST_TILE:
        return 0
    sizes = range(2, min(MOST_OUTPUTS, LARGEST_TILE - r + 1) + 1)
    costs = {m: tile_cost(shape, m, rates, gradient=gradient) for m in sizes}
    best = min(costs, key=costs.__getitem__)
    return best if costs[best] < direct_cost(shape, rates, m=choose_neighbors(shape, rates)) else 0


def choose_tile(shape: ConvolutionShape, rates: Rates = COMPILED, *, gradient: bool = False) -> int:
    """Return m for the cheapest tile of m x m outputs, or 0 if direct convolution is cheaper.

    Parameters
    ----------
    shape : ConvolutionShape
        The sizes of the convolution.
    rates : Rates
        The costs of the provider's kernels.
    gradient : bool
        Whether to choose for the filter gradient.

    Examples
    --------
    >>> choose_tile(ConvolutionShape(images=64, out_height=32, out_width=32, kernel_size=(3, 3), inputs=64, outputs=64))
    4
    >>> choose_tile(ConvolutionShape(images=64, out_height=32, out_width=32, kernel_size=(3, 3), inputs=3, outputs=64))
    0
    """
    forced = _forced.get()
    if forced is None:
        return _cheapest(shape, rates, gradient)
    fits = shape.kernel_size[0] == shape.kernel_size[1] > 1 and forced + shape.kernel_size[0] - 1 <= LARGEST_TILE
    return forced if fits else 0


@contextmanager
def using_tiles(m: int | None) -> Iterator[None]:
    """Use tiles of m x m outputs wherever possible, direct convolution for m = 0, or the cheapest algorithm for None.

    Raises
    ------
    OptionError
        Tiles of that size do not exist.
    """
    if m is not None and not 0 <= m < LARGEST_TILE:
        raise OptionError(
            f"using_tiles: expected 0 to {LARGEST_TILE - 1} outputs along a side of a tile, or None, got {m}"
        )
    token = _forced.set(m)
    try:
        yield
    finally:
        _forced.reset(token)
