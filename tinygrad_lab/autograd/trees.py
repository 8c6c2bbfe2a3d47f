"""Trees (pytrees): nested tuples, lists and dicts, and their leaves in order. None is an empty tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lab.errors import ShapeError


def flatten(tree: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """Return a tree's leaves in order, and a function that rebuilds the tree from the same number of new leaves.

    Examples
    --------
    >>> leaves, rebuild = flatten({"a": 1, "b": (2, 3)})
    >>> rebuild([leaf * 10 for leaf in leaves])
    {'a': 10, 'b': (20, 30)}
    """
    if tree is None:
        return [], lambda new: None
    if isinstance(tree, dict):
        leaves, rebuild_values = flatten(list(tree.values()))
        return leaves, lambda new: dict(zip(tree, rebuild_values(new), strict=True))
    if not isinstance(tree, (tuple, list)):
        return [tree], lambda new: new[0]
    parts = [flatten(branch) for branch in tree]
    make = tree._make if hasattr(tree, "_make") else type(tree)  # a named tuple's constructor takes no iterable

    def rebuild(new: Sequence[Any]) -> Any:
        branches, at = [], 0
        for leaves, rebuild_branch in parts:
            branches.append(rebuild_branch(new[at : at + len(leaves)]))
            at += len(leaves)
        return make(branches)

    return [leaf for leaves, _ in parts for leaf in leaves], rebuild


def leaves_like(like: Any, tree: Any) -> list[Any]:
    """Return the leaves of a tree in the order of the tree `like`, which has the same keys and shapes.

    Raises
    ------
    ShapeError
        The structures or the shapes differ.
    """
    if isinstance(like, dict):
        if not isinstance(tree, dict) or tree.keys() != like.keys():
            raise ShapeError.unlike(like, tree)
        return [leaf for key in like for leaf in leaves_like(like[key], tree[key])]
    if isinstance(like, (tuple, list)):
        if not isinstance(tree, (tuple, list)) or len(tree) != len(like):
            raise ShapeError.unlike(like, tree)
        return [leaf for a, b in zip(like, tree, strict=True) for leaf in leaves_like(a, b)]
    if like is None and tree is None:
        return []
    if like is None or any(getattr(like, name) != getattr(tree, name, None) for name in ("shape", "dtype")):
        raise ShapeError.unlike(like, tree)
    return [tree]


def replaced(args: Sequence[Any], numbers: Sequence[int], new: Sequence[Any]) -> list[Any]:
    """Return the arguments, with those at the positions `numbers` replaced.

    Examples
    --------
    >>> replaced(("x", "y", "z"), (0, -1), ("new", "last"))
    ['new', 'y', 'last']
    """
    given = list(args)
    for i, value in zip(numbers, new, strict=True):
        given[i] = value
    return given


def map_tree(f: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to every leaf of a tree."""
    leaves, rebuild = flatten(tree)
    return rebuild([f(leaf) for leaf in leaves])
