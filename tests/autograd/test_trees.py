"""Trees: the order of leaves, rebuilding from leaves, and comparison of structures."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.autograd.trees import flatten, leaves_like, map_tree
from tinygrad_lab.errors import ShapeError

ONE, TWO = np.ones(1), np.ones(2)


class Point(NamedTuple):
    """A branch with named leaves."""

    x: Any
    y: Any


def test_none_is_an_empty_tree() -> None:
    """A layer without a bias has None in place of it."""
    leaves, rebuild = flatten({"w": 1, "b": None})
    assert leaves == [1]
    assert rebuild([2]) == {"w": 2, "b": None}
    assert leaves_like({"w": ONE, "b": None}, {"b": None, "w": TWO[:1]}) == [1.0]


def branches(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Strategy of the branches of a tree."""
    pairs = st.tuples(inner, inner).map(lambda p: Point(*p))
    return st.lists(inner, max_size=3) | st.tuples(inner, inner) | pairs | st.dictionaries(st.text(max_size=2), inner)


TREES = st.recursive(st.integers() | st.none(), branches, max_leaves=12)


@given(TREES)
def test_rebuilding_the_leaves_gives_the_tree(tree: Any) -> None:
    leaves, rebuild = flatten(tree)
    again = rebuild(leaves)
    assert again == tree
    assert repr(again) == repr(tree)  # of the same types, in the same order
    assert map_tree(lambda leaf: leaf, tree) == tree


@given(TREES)
def test_a_tree_has_the_structure_of_itself(tree: Any) -> None:
    arrays = map_tree(float, tree)
    arrays = map_tree(np.asarray, arrays)
    assert all(a is b for a, b in zip(leaves_like(arrays, arrays), flatten(arrays)[0], strict=True))


def test_map_tree_keeps_the_structure() -> None:
    assert map_tree(str, {"b": [1, (2,)], "a": Point(3, {})}) == {"b": ["1", ("2",)], "a": Point("3", {})}
    assert flatten({"b": [1, (2,)], "a": Point(3, {})})[0] == [1, 2, 3]


def test_dicts_are_matched_by_key_and_sequences_by_position() -> None:
    got = leaves_like({"a": ONE, "b": [TWO, ONE]}, {"b": (TWO * 2, ONE * 3), "a": ONE * 4})
    assert [g[0] for g in got] == [4.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("like", "tree"),
    [
        ({"a": ONE}, {"b": ONE}),
        ({"a": ONE}, {"a": ONE, "b": ONE}),
        ({"a": ONE}, [ONE]),
        ([ONE, ONE], [ONE]),
        ([ONE], ONE),
        (ONE, [ONE]),
        (ONE, TWO),
        (ONE, ONE.astype(np.float32)),
        (ONE, 1.0),
        ((), ONE),
        (None, ONE),
        (ONE, None),
    ],
)
def test_a_tree_of_another_structure_is_refused(like: Any, tree: Any) -> None:
    with pytest.raises(ShapeError, match="pullback: expected a cotangent like each output"):
        leaves_like(like, tree)
