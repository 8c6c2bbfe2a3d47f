"""Rows of the table: operations that move elements or repeat them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.ops.drawing import Draw, Trial, operation, part_of, pytorch, shapes, some_axes, torch_axes, values


@operation("reshape")
def _reshape(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    shape = draw(st.sampled_from([x.shape[::-1], (x.size,), (1, *x.shape), *([(-1,), (x.size, -1)] if x.size else [])]))
    return Trial(lambda x: tgl.reshape(x, shape=shape), [x], lambda x: x.reshape(shape), lambda x: x.reshape(shape))


@operation("ravel")
def _ravel(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    return Trial(tgl.ravel, [x], np.ravel, lambda x: x.reshape(-1))


@operation("transpose")
def _transpose(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    order = draw(st.permutations(range(x.ndim)))
    axes = draw(st.sampled_from([None, tuple(order), tuple(a - x.ndim for a in order)]))
    torch_order = list(range(x.ndim))[::-1] if axes is None else list(axes)
    return Trial(
        lambda x: tgl.transpose(x, axes=axes), [x], lambda x: np.transpose(x, axes), lambda x: x.permute(torch_order)
    )


@operation("moveaxis")
def _moveaxis(draw: Draw) -> Trial:
    x = values(draw, draw(shapes(dims=(1, 3))))
    count = draw(st.integers(0, x.ndim))
    source, destination = (draw(st.permutations(range(x.ndim)))[:count] for _ in range(2))
    pair: Any = (source, [d - x.ndim for d in destination])
    if count == 1:
        pair = (source[0], destination[0])
    return Trial(
        lambda x: tgl.moveaxis(x, *pair),
        [x],
        lambda x: np.moveaxis(x, *pair),
        lambda x: x.moveaxis(*map(torch_ints, pair)),
    )


def torch_ints(axes: Any) -> Any:
    """Return a list as a tuple."""
    return axes if isinstance(axes, int) else tuple(axes)


@operation("swapaxes")
def _swapaxes(draw: Draw) -> Trial:
    x = values(draw, draw(shapes(dims=(1, 3))))
    a, b = (draw(st.integers(-x.ndim, x.ndim - 1)) for _ in range(2))
    return Trial(lambda x: tgl.swapaxes(x, a, b), [x], lambda x: np.swapaxes(x, a, b), lambda x: x.swapaxes(a, b))


@operation("expand_dims")
def _expand_dims(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    axis = draw(st.one_of(st.integers(-x.ndim - 1, x.ndim), st.just((0, -1)), st.just((1, 0))))

    def torch(x: Any) -> Any:
        return x.reshape(np.expand_dims(np.empty(tuple(x.shape)), axis).shape)

    return Trial(lambda x: tgl.expand_dims(x, axis), [x], lambda x: np.expand_dims(x, axis), torch)


@operation("squeeze")
def _squeeze(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    ones = [i for i, n in enumerate(x.shape) if n == 1]
    axis = draw(st.sampled_from([None, tuple(ones), *ones]))

    def torch(x: Any) -> Any:
        return x.squeeze() if axis is None else x.squeeze(axis)

    return Trial(lambda x: tgl.squeeze(x, axis), [x], lambda x: np.squeeze(x, axis), torch)


@operation("flip")
def _flip(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    axis = some_axes(draw, x.ndim)
    return Trial(
        lambda x: tgl.flip(x, axis), [x], lambda x: np.flip(x, axis), lambda x: x.flip(list(torch_axes(x, axis)))
    )


@operation("roll")
def _roll(draw: Draw) -> Trial:
    x = values(draw, draw(shapes(dims=(1, 3))))
    axis = draw(st.sampled_from([None, -1, 0, tuple(range(x.ndim))]))
    shift: Any = draw(st.integers(-4, 4))
    if isinstance(axis, tuple) and draw(st.booleans()):
        shift = tuple(draw(st.integers(-4, 4)) for _ in axis)

    def torch(x: Any) -> Any:
        return x.roll((shift,) * len(axis) if isinstance(axis, tuple) and isinstance(shift, int) else shift, axis)

    return Trial(lambda x: tgl.roll(x, shift, axis), [x], lambda x: np.roll(x, shift, axis), torch)


@operation("pad")
def _pad(draw: Draw) -> Trial:
    mode = draw(st.sampled_from(["zero", "edge"]))
    x = values(draw, draw(shapes(least=mode == "edge", dims=(0, 3))))
    pairs = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in x.shape)
    widths, pairs = draw(
        st.sampled_from([(pairs, pairs), (list(pairs), pairs), (1, ((1, 1),) * x.ndim), ((2, 1), ((2, 1),) * x.ndim)])
    )
    numpy_mode: Any = "constant" if mode == "zero" else "edge"

    def expected(x: np.ndarray) -> np.ndarray:
        return np.pad(x, pairs, mode=numpy_mode) if x.ndim else x

    def torch(x: Any) -> Any:
        if mode == "zero":
            return pytorch().nn.functional.pad(x, [w for pair in pairs[::-1] for w in pair])
        for axis, (before, after) in enumerate(pairs):
            places = np.clip(np.arange(-before, x.shape[axis] + after), 0, x.shape[axis] - 1)
            x = x.index_select(axis, pytorch().as_tensor(places))
        return x

    return Trial(lambda x: tgl.pad(x, widths, mode=mode), [x], expected, torch)


@operation("crop")
def _crop(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    before = [draw(st.integers(0, n)) for n in x.shape]
    widths = tuple((a, draw(st.integers(0, n - a))) for a, n in zip(before, x.shape, strict=True))
    index = tuple(slice(a, n - b) for (a, b), n in zip(widths, x.shape, strict=True))
    return Trial(
        lambda x: tgl.crop(x, widths=widths), [x], lambda x: x[index], lambda x: x[index] if index else x.clone()
    )


@operation("concatenate")
def _concatenate(draw: Draw) -> Trial:
    shape = draw(shapes(dims=(1, 3)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    at = axis % len(shape)
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    parts = [values(draw, (*shape[:at], n, *shape[at + 1 :])) for n in lengths]
    return Trial(
        lambda *xs: tgl.concatenate(xs, axis),
        parts,
        lambda *xs: np.concatenate(xs, axis),
        lambda *xs: pytorch().cat(xs, axis),
    )


@operation("stack")
def _stack(draw: Draw) -> Trial:
    shape = draw(shapes())
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    parts = [values(draw, shape) for _ in range(draw(st.integers(1, 3)))]
    return Trial(
        lambda *xs: tgl.stack(xs, axis), parts, lambda *xs: np.stack(xs, axis), lambda *xs: pytorch().stack(xs, axis)
    )


for _count in (1, 2, 3):

    @operation(f"atleast_{_count}d")
    def _atleast(draw: Draw, name: str = f"atleast_{_count}d") -> Trial:
        xs = [values(draw, draw(shapes())) for _ in range(draw(st.integers(1, 2)))]
        return Trial(
            lambda *xs: getattr(tgl, name)(*xs),
            xs,
            lambda *xs: getattr(np, name)(*xs),
            lambda *xs: getattr(pytorch(), name)(*xs),
        )


def joining(name: str, alike: list[list[tuple[int, ...]]]) -> None:
    """Add a function that joins arrays, with lists of shapes that it accepts."""

    @operation(name)
    def trials(draw: Draw) -> Trial:
        parts = [values(draw, shape) for shape in draw(st.sampled_from(alike))]
        return Trial(
            lambda *xs: getattr(tgl, name)(xs),
            parts,
            lambda *xs: getattr(np, name)(xs),
            lambda *xs: getattr(pytorch(), name)(xs),
        )


joining("vstack", [[(), ()], [(2,), (2,)], [(2,), (3, 2), (0, 2)], [(1, 2, 3), (2, 2, 3)]])
joining("hstack", [[(), (2,)], [(2,), (3,), (0,)], [(2, 3), (2, 1)], [(2, 3, 1), (2, 0, 1)]])
joining("dstack", [[(), ()], [(2,), (2,)], [(2, 3), (2, 3, 2)], [(2, 1, 0), (2, 1, 2)]])
joining("column_stack", [[(), ()], [(2,), (2,)], [(3,), (3, 2)], [(2, 1, 3), (2, 2, 3)]])


@operation("diagonal")
def _diagonal(draw: Draw) -> Trial:
    x = values(draw, draw(shapes(dims=(2, 3))))
    axis1, axis2 = draw(st.permutations(range(x.ndim)))[:2]
    given = draw(st.integers(-3, 3)), axis1, axis2 - x.ndim
    return Trial(
        lambda x: tgl.diagonal(x, *given), [x], lambda x: np.diagonal(x, *given), lambda x: x.diagonal(*given).clone()
    )


@operation("diag")
def _diag(draw: Draw) -> Trial:
    x, k = values(draw, draw(shapes(dims=(1, 2)))), draw(st.integers(-3, 3))
    return Trial(lambda x: tgl.diag(x, k), [x], lambda x: np.diag(x, k), lambda x: x.diag(k))


@operation("trace")
def _trace(draw: Draw) -> Trial:
    x = values(draw, draw(shapes(dims=(2, 3))))
    axis1, axis2 = draw(st.permutations(range(x.ndim)))[:2]
    given = draw(st.integers(-3, 3)), axis1, axis2 - x.ndim
    return Trial(
        lambda x: tgl.trace(x, *given), [x], lambda x: np.trace(x, *given), lambda x: x.diagonal(*given).sum(-1)
    )


def triangle(name: str) -> None:
    """Add the lower or the upper triangle."""

    @operation(name)
    def trials(draw: Draw) -> Trial:
        x, k = values(draw, draw(shapes(dims=(1, 3)))), draw(st.integers(-3, 3))
        return Trial(
            lambda x: getattr(tgl, name)(x, k),
            [x],
            lambda x: getattr(np, name)(x, k),
            lambda x: getattr(x if x.ndim > 1 else x.expand(len(x), len(x)), name)(k),
        )


triangle("tril")
triangle("triu")


@operation("split")
def _split(draw: Draw) -> Trial:
    axis = draw(st.integers(-2, 1))
    shape = [draw(st.integers(0, 6)), draw(st.integers(0, 6))]
    equal = [n for n in range(1, 7) if shape[axis] % n == 0]
    sections: Any = draw(st.sampled_from(equal) | st.lists(st.integers(-7, 7), max_size=3))
    return Trial(
        lambda x: tgl.split(x, sections, axis),
        [values(draw, tuple(shape))],
        lambda x: np.split(x, sections, axis),
        None if min(np.atleast_1d(sections), default=0) < 0 else lambda x: list(x.tensor_split(sections, axis)),
    )


@operation("tile")
def _tile(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    repeats = draw(st.one_of(st.integers(0, 3), st.lists(st.integers(0, 3), max_size=4).map(tuple)))

    def torch(x: Any) -> Any:
        return x.tile((repeats,) if isinstance(repeats, int) else repeats)

    return Trial(lambda x: tgl.tile(x, repeats), [x], lambda x: np.tile(x, repeats), torch)


@operation("broadcast_to")
def _broadcast_to(draw: Draw) -> Trial:
    shape = draw(shapes())
    x = values(draw, draw(part_of(shape)))
    return Trial(
        lambda x: tgl.broadcast_to(x, shape=shape),
        [x],
        lambda x: np.broadcast_to(x, shape),
        lambda x: x.broadcast_to(shape),
    )


@operation("sum_to")
def _sum_to(draw: Draw) -> Trial:
    shape = draw(shapes())
    small = draw(part_of(shape))

    def expected(x: np.ndarray) -> np.ndarray:
        extra = x.ndim - len(small)
        x = x.sum(tuple(range(extra)))
        return x.sum(tuple(i for i, n in enumerate(small) if n == 1), keepdims=True)

    return Trial(
        lambda x: tgl.sum_to(x, np.empty(small)), [values(draw, shape)], expected, lambda x: x.sum_to_size(small)
    )


@operation("astype")
def _astype(draw: Draw) -> Trial:
    x = values(draw, draw(shapes()))
    return Trial(lambda x: tgl.astype(x, dtype=x.dtype), [x], np.array, lambda x: x.clone())
