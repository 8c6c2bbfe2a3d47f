"""The tape: how each value was made, and the walk that pulls a cotangent back through it.

Every tracked value points to a `Node`. A node knows its operation, the nodes of the operation's inputs, and the few
values that the derivative rules asked for. Nodes are numbered as they are made, so the numbers are a topological order:
walking from the newest to the oldest meets every result before its inputs, without recursion.
A node never points to a boxed value, so a graph holds no reference cycle and vanishes as soon as its last value does.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from operator import attrgetter
from typing import Any, ClassVar

from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.backend import NAMESPACES, Array, is_finite, namespace
from tinygrad_lab.errors import GradientError, NonFiniteError

clock = itertools.count(1).__next__  # the creation order of nodes

VALUE, LIKE, OUT, OPTION, WANTED = range(5)  # what a rule may ask for; see Primitive.defvjp


class Like:
    """The shape and dtype of an array, without its values."""

    __slots__ = ("dtype", "shape")

    def __init__(self, array: Array) -> None:
        self.shape, self.dtype = array.shape, array.dtype


class Node:
    """One step of a computation: an operation that was applied to tracked inputs, or a leaf."""

    __slots__ = ("__dict__", "dtype", "inputs", "op", "order", "plan", "saved", "shape")
    grad: Array | None = None  # a leaf's gradient so far
    hooks: Any = ()  # functions from gradient to gradient, applied in turn
    place: str | None = None  # the line that made it, under detect_anomaly

    def __init__(self, value: Any, op: Any = None, plan: Any = (), inputs: Any = (), saved: Any = ()) -> None:
        self.order = clock()
        self.shape, self.dtype = value.shape, value.dtype  # so a node can stand for the shape of its value
        self.op = op  # the primitive; None for a leaf
        self.plan = plan  # the rules of its tracked inputs: (targets, rule, needs, span)
        self.inputs = inputs  # a node for each input, None for a constant
        self.saved = saved  # what the rules asked for, each in its span; None once dropped


class Box:
    """An array and the node that made it; `tinygrad_lab.tensor.Tensor` adds the operators."""

    __slots__ = ("node", "value")
    boxes: ClassVar[type[Box]]  # the class that results of operations are boxed in

    def __init__(self, value: Array, node: Node | None = None) -> None:
        self.value, self.node = value, node


def raw(value: Any) -> Any:
    """Take an array out of its box."""
    return value.value if isinstance(value, Box) else value


leaf = Node  # with an array alone: the node of a new variable


class Parts:
    """The cotangents of an operation with several outputs, gathered one by one."""

    def __init__(self, likes: tuple[Like | None, ...], cotangents: list[Any]) -> None:
        self.likes, self.cotangents = likes, cotangents

    def __add__(self, other: Parts) -> Parts:
        pairs = zip(self.cotangents, other.cotangents, strict=True)
        return Parts(self.likes, [b if a is None else a if b is None else a + b for a, b in pairs])

    def filled(self) -> tuple[Any, ...]:
        """Return one cotangent for each output: zeros for a float output that got none, None for an integer one."""
        xp = namespace(*(raw(c) for c in self.cotangents))
        both = zip(self.cotangents, self.likes, strict=True)
        return tuple(xp.zeros(like.shape, like.dtype) if c is None and like else c for c, like in both)


def pick(node: Node, index: int, likes: tuple[Like | None, ...]) -> Node:
    """Return the node of one output of an operation that has several."""

    def rule(g: Any) -> Parts:
        return Parts(likes, [g if i == index else None for i in range(len(likes))])

    return Node(likes[index], node.op, ((0, rule, (), slice(0)),), (node,), [])


def newest_first(roots: Collection[Node], oldest: int = 0, stop: frozenset[Node] = frozenset()) -> list[Node]:
    """Return the nodes that the roots were made from, newest first: none made before `oldest`, none behind `stop`."""
    found, seen = list(roots), set(roots)
    for node in found:
        for n in node.inputs if node not in stop else ():
            if n is not None and n not in seen and n.order >= oldest:
                seen.add(n)
                found.append(n)
    return sorted(found, key=attrgetter("order"), reverse=True)


def pull_back(
    roots: Mapping[Node, Any], *, wanted: Any = None, keep: bool = False, record: bool = False, hooked: bool = True
) -> Mapping[Node, Any]:
    """Walk the tape from the newest node to the oldest and apply the chain rule at each.

    Parameters
    ----------
    roots : mapping of Node to cotangent
        Where the walk starts: dL/d(root) for some scalar L.
    wanted : iterable of Node
        Nodes whose cotangents are returned; the walk ends there. None: leaves gather theirs in ``node.grad``.
    keep : bool
        Whether saved values stay for another walk. If not, each is dropped as the walk leaves its node.
    record : bool
        Whether the rules are given boxed values, so that the walk itself is put on the tape (for higher derivatives).
    hooked : bool
        Whether the hooks of wanted nodes run; a walk inside another leaves them to that one.

    Raises
    ------
    GradientError
        The tape was walked before and its values dropped; a rule failed; a gradient does not fit its leaf.
    NonFiniteError
        Under `detect_anomaly`, a gradient is infinite or NaN.
    """
    ends, anomaly = frozenset(wanted or ()), SETTINGS.get().anomaly
    oldest = min((n.order for n in ends), default=0)
    cotangents, own, found = dict(roots), set(), {}
    order: list[Any] = newest_first(roots, oldest, ends)
    for k, node in enumerate(order):
        order[k] = None  # memory goes as the walk passes
        g = cotangents.pop(node, None)
        if g is None:
            continue
        for hook in node.hooks if hooked or node not in ends else ():
            g = hook(g)
        if node.op is None or (ends and node in ends):
            if g.shape != node.shape or g.dtype != node.dtype:
                raise GradientError.misfit(node, g)
            if node in ends:
                found[node] = g
            elif wanted is None:  # never in place: others may hold either array
                node.grad = g if node.grad is None else node.grad + g
            continue
        saved, inputs = node.saved, node.inputs
        if saved is None:
            raise GradientError.walked(node.op)
        if type(g) is Parts:
            g = g.filled()
        if not keep:
            node.saved = None
        for targets, rule, needs, span in node.plan:
            args = saved[span]
            if oldest and type(targets) is int and inputs[targets].order < oldest:
                continue
            if record:
                args = [_rebox(node, need, a, saved[-1]) for need, a in zip(needs, args, strict=True)]
            try:
                result = rule(g, *args)
                if type(targets) is not int and hasattr(result, "shape"):
                    raise TypeError(f"expected {len(targets)} gradients in a tuple, got one array")
            except Exception as error:
                raise GradientError.rule_failed(node.op, targets, g, error, node.place) from error
            for i, r in ((targets, result),) if type(targets) is int else zip(targets, result, strict=True):
                n = inputs[i]
                if n is None or r is None or (oldest and n.order < oldest):
                    continue
                if anomaly and type(raw(r)) in NAMESPACES and not is_finite(raw(r)):
                    raise NonFiniteError.gradient(node.op, i, node.place)
                if n not in cotangents:
                    cotangents[n] = r
                elif n in own:
                    cotangents[n] += r  # in place: this walk allocated that sum itself
                else:
                    cotangents[n] = cotangents[n] + r
                    own.add(n)
    return found


def _rebox(node: Node, need: tuple[int, Any], value: Any, likes: Any) -> Any:
    """Give a saved value its place on the tape again, so that a recorded walk can be differentiated."""
    kind, i = need
    if kind == OUT and i is None:
        return Box.boxes(value, node)
    if kind == OUT:
        return Box.boxes(value, pick(node, i, likes)) if likes[i] else value
    if kind == VALUE and type(i) is slice:
        return [v if n is None else Box.boxes(v, n) for v, n in zip(value, node.inputs[i], strict=True)]
    return Box.boxes(value, node.inputs[i]) if kind == VALUE and node.inputs[i] else value
