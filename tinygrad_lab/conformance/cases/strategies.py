"""Strategies for sizes and options that many layers share.

All of them draw small numbers, because small arrays suffice to show a wrong rule, and people can read them.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tinygrad_lab.conformance.cases.case import HIGH, Case, Input

Pair = tuple[int, int]
FAR_OUT = (30.0, 200.0)  # e^30 + 1 rounds to e^30 in float32, and e^200 overflows


def batch_sizes(high: int = 3) -> st.SearchStrategy[int]:
    """Draw a number of images or rows."""
    return st.integers(1, high)


def features(low: int = 1, high: int = 5) -> st.SearchStrategy[int]:
    """Draw the length of a feature axis."""
    return st.integers(low, high)


def channels(low: int = 1, high: int = 4) -> st.SearchStrategy[int]:
    """Draw a number of channels."""
    return st.integers(low, high)


def image_sizes(low: int = 1, high: int = 7) -> st.SearchStrategy[Pair]:
    """Draw (height, width)."""
    return st.tuples(st.integers(low, high), st.integers(low, high))


def pairs(low: int, high: int) -> st.SearchStrategy[Any]:
    """Draw one number for both axes, or a pair."""
    one = st.integers(low, high)
    return st.one_of(one, st.tuples(one, one))


def windows(high: int = 3) -> st.SearchStrategy[Any]:
    """Draw a window: one number for both axes, or a pair."""
    return pairs(1, high)


def strides(high: int = 3) -> st.SearchStrategy[Any]:
    """Draw a stride, sometimes larger than the window."""
    return pairs(1, high)


def dilations(high: int = 2) -> st.SearchStrategy[Any]:
    """Draw a dilation."""
    return pairs(1, high)


def explicit_paddings(high: int = 2) -> st.SearchStrategy[Any]:
    """Draw a number, a pair for the axes, or ((top, bottom), (left, right)), sometimes asymmetric."""
    edge = st.integers(0, high)
    sides = st.tuples(edge, edge)
    return st.one_of(edge, sides, st.tuples(sides, sides))


def paddings(high: int = 2) -> st.SearchStrategy[Any]:
    """Draw ``"valid"``, ``"same"`` or an explicit padding."""
    return st.one_of(st.sampled_from(("valid", "same")), explicit_paddings(high))


def as_pair(value: Any) -> Pair:
    """Return a pair: a number twice, or the given pair; for strategies that compute with a drawn option."""
    return (value, value) if isinstance(value, int) else tuple(value)


def shapes(low_rank: int = 1, high_rank: int = 4, high: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """Draw a shape of any rank in the range."""
    return st.lists(st.integers(1, high), min_size=low_rank, max_size=high_rank).map(tuple)


def image_shapes(high: int = 6) -> st.SearchStrategy[tuple[int, ...]]:
    """Draw (N, H, W, C)."""
    sizes = st.tuples(batch_sizes(), image_sizes(1, high), channels())
    return sizes.map(lambda drawn: (drawn[0], *drawn[1], drawn[2]))


def reaches() -> st.SearchStrategy[float]:
    """Draw the largest absolute value of an input: usually the default, sometimes one where functions saturate."""
    return st.sampled_from((HIGH, HIGH, HIGH, *FAR_OUT))


def elementwise(
    options: st.SearchStrategy[dict[str, Any]] | None = None, *, low: float | None = None, high: float | None = None
) -> st.SearchStrategy[Case]:
    """Draw cases of a layer that works on each element of one array of any shape.

    Parameters
    ----------
    options : strategy of dict
        The constructor's keyword arguments; none by default.
    low, high : float
        The range of the values; by default it is drawn from `reaches`.
    """

    def make(drawn: tuple[tuple[int, ...], dict[str, Any], float]) -> Case:
        shape, given, reach = drawn
        bottom, top = -reach if low is None else low, reach if high is None else high
        return Case(options=given, inputs=(Input(shape, low=bottom, high=top),))

    return st.tuples(shapes(), options if options is not None else st.just({}), reaches()).map(make)
