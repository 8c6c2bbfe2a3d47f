"""The tape: nodes that record how values were computed, and the backward pass over them.

Every tracked value points to a `Node`. A node knows its operation, the nodes of the operation's inputs, and the few
values that the derivative rules asked for. Nodes are numbered at creation, so the numbers are a topological order: a
walk from the newest to the oldest meets every result before its inputs, without recursion.
A node never points to a boxed value, so a graph has no reference cycle and is freed as soon as its last value is.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, ClassVar

from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.backend import Array, namespace
from tinygrad_lab.errors import GradientError, raise_rule_failed

clock = itertools.count(1).__next__  # the creation order of nodes

# What a rule may ask for (see Primitive.defvjp): an argument's value; its shape and dtype; those of each of *args; a
# result; an option; which gradients are wanted.
VALUE, LIKE, LIKES, OUT, OPTION, WANTED = range(6)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A derivative rule: ``function(g, *asked)`` returns the gradients of the target inputs."""

    targets: int | tuple[int, ...]  # the position of an input, for one gradient; several, for a tuple of gradients
    function: Any  # None: the derivative is zero
    needs: tuple[tuple[int, Any], ...] = ()  # what it asks for: (kind, which argument, result or option)
    span: slice = field(default_factory=lambda: slice(0))  # where in a node's saved values these are


class ShapeDtype:
    """The shape and dtype of an array, without its values."""

    __slots__ = ("dtype", "shape")

    def __init__(self, array: Array) -> None:
        self.shape, self.dtype = array.shape, array.dtype


class Node:
    """One step of a computation: an operation that was applied to tracked inputs, or a leaf (``Node(array)``)."""

    __slots__ = ("__dict__", "dtype", "hooks", "inputs", "op", "order", "rules", "saved", "shape")
    grad: Array | None = None  # a leaf's gradient so far
    place: Any = None  # the line that created it, if a watcher notes it
    output: int | None = None  # which result it is, for the node of one of several outputs
    likes: Any = None  # for an operation with several results: a ShapeDtype for each, None for an integer one

    def __init__(self, value: Any, op: Any = None, rules: Any = (), inputs: Any = (), saved: Any = ()) -> None:
        self.order = clock()
        self.shape, self.dtype = value.shape, value.dtype  # so a node can serve as the ShapeDtype of its value
        self.op = op  # the primitive; None for a leaf
        self.rules = rules  # the rules of its tracked inputs
        self.inputs = inputs  # a node for each input, None for a constant
        self.saved = saved  # the values that the rules asked for, in the spans of the rules; None once dropped
        self.hooks: Any = ()  # functions from gradient to gradient, applied in turn


class Box:
    """An array and the node that computed it; `tinygrad_lab.tensor.Tensor` adds the operators."""

    __slots__ = ("node", "value")
    boxes: ClassVar[type[Box]]  # the class of boxed results

    def __init__(self, value: Array, node: Node | None = None) -> None:
        self.value, self.node = value, node


def unbox(value: Any) -> Any:
    """Take an array out of its box."""
    return value.value if isinstance(value, Box) else value


class TupleCotangent(tuple[Any, ...]):
    """The cotangents of an operation's outputs, None for an output without one; ``+`` adds them one by one."""

    def __add__(self, other: Any) -> TupleCotangent:
        return TupleCotangent(b if a is None else a if b is None else a + b for a, b in zip(self, other, strict=True))

    def filled(self, likes: Any) -> tuple[Any, ...]:
        """Return the cotangents with zeros for float outputs that have none; integer outputs keep None."""
        xp = namespace(*map(unbox, self))
        return tuple(xp.zeros(s.shape, s.dtype) if g is None and s else g for g, s in zip(self, likes, strict=True))


def output_node(node: Node, index: int) -> Node:
    """Return the node of one of several outputs of an operation."""
    rule = Rule(0, lambda g: TupleCotangent(g if i == index else None for i in range(len(node.likes))))
    made = Node(node.likes[index], node.op, (rule,), (node,), ())
    made.output = index
    return made


def toposort(roots: Collection[Node], oldest: int = 0, stop: Collection[Node] = frozenset()) -> list[Node]:
    """Return the nodes that the roots depend on, oldest first.

    Nodes created before `oldest` are left out, and the inputs of the nodes in `stop` are not followed.
    """
    found, seen = list(roots), set(roots)
    for node in found:
        for n in node.inputs if not stop or node not in stop else ():
            if n is not None and n not in seen and n.order >= oldest:
                seen.add(n)
                found.append(n)
    return sorted(found, key=attrgetter("order"))


def backward_pass(
    roots: Mapping[Node, Any], *, wanted: Any = None, keep: bool = False, record: bool = False, hooked: bool = True
) -> Mapping[Node, Any]:
    """Walk the tape from the newest node to the oldest and apply the chain rule at each.

    Parameters
    ----------
    roots : mapping of Node to cotangent
        Where the walk starts: dL/d(root) for some scalar L.
    wanted : iterable of Node
        Nodes whose cotangents are returned; the walk ends there. If None, leaves add their gradients to ``node.grad``.
    keep : bool
        Whether to keep saved values for another walk. If False, they are dropped as the walk leaves their node.
    record : bool
        Whether the rules get boxed values, so that the walk itself is recorded (for higher derivatives).
    hooked : bool
        Whether to run the hooks of wanted nodes; a walk inside another one leaves them to the outer walk.

    Raises
    ------
    GradientError
        An earlier walk dropped the tape's values, a rule failed, or a gradient does not fit its leaf.
    NonFiniteError
        Under `detect_anomaly`, a gradient is infinite or NaN.
    """
    ends, watcher = frozenset(wanted or ()), SETTINGS.get().watcher
    oldest = min((n.order for n in ends), default=0)
    cotangents, owned, found = dict(roots), set[Node](), {}
    nodes = toposort(roots, oldest, ends)
    while nodes:
        node = nodes.pop()  # the newest; memory is freed as the walk passes
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
            elif wanted is None:  # a leaf; never in place: others may hold either array
                node.grad = g if node.grad is None else node.grad + g
            continue
        for n, gradient in gradients_of(node, g, oldest, keep, record):
            if watcher:
                watcher.propagated(node, g, n, gradient)
            if n not in cotangents:
                cotangents[n] = gradient
            elif n in owned:
                cotangents[n] += gradient  # in place: this walk allocated that sum itself
            else:
                cotangents[n] = cotangents[n] + gradient
                owned.add(n)
    return found


def gradients_of(node: Node, g: Any, oldest: int, keep: bool, record: bool) -> list[tuple[Any, Any]]:
    """Return the tracked inputs of a node, each with its gradient: the chain rule at one step."""
    inputs, saved = node.inputs, node.saved
    if saved is None:
        raise GradientError.walked(node.op)
    if not keep:
        node.saved = None
    if type(g) is TupleCotangent:
        g = g.filled(node.likes)
    gradients: list[tuple[Any, Any]] = []
    for rule in node.rules:
        targets, asked = rule.targets, saved[rule.span]
        if oldest and type(targets) is int and inputs[targets].order < oldest:
            continue
        if record:
            asked = [_rebox(node, need, value) for need, value in zip(rule.needs, asked, strict=True)]
        try:
            result = rule.function(g, *asked)
            if type(targets) is not int:
                gradients += _paired(inputs, targets, result, oldest)
            elif result is not None:
                gradients.append((inputs[targets], result))
        except Exception as error:
            raise_rule_failed(node, targets, g, error)
    return gradients


def _paired(inputs: Any, targets: tuple[int, ...], result: Any, oldest: int) -> list[tuple[Any, Any]]:
    """Pair the inputs that need gradients with the results of a rule for several inputs."""
    if hasattr(result, "shape"):
        raise TypeError(f"expected {len(targets)} gradients in a tuple, got one array")
    pairs = zip([inputs[i] for i in targets], result, strict=True)
    return [(n, r) for n, r in pairs if n is not None and r is not None and n.order >= oldest]


def _rebox(node: Node, need: tuple[int, Any], value: Any) -> Any:
    """Box a saved value with its node, so that a recorded walk can be differentiated."""
    kind, which = need
    if kind == OUT and which is None:
        return Box.boxes(value, node)
    if kind == OUT:
        return Box.boxes(value, output_node(node, which)) if node.likes[which] else value
    if kind == VALUE and type(which) is slice:
        return [v if n is None else Box.boxes(v, n) for v, n in zip(value, node.inputs[which], strict=True)]
    return Box.boxes(value, node.inputs[which]) if kind == VALUE and node.inputs[which] else value
