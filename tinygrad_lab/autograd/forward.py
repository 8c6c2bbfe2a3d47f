"""Forward mode: J u, the derivative along a direction, is computed beside the function's own values.

Each operation maps the tangents of its arguments to the tangent of its result, as the chain rule says:
dy = df/dx1 dx1 + df/dx2 dx2 + ... Three kinds of rules are declared for operations:

- ``linear(op)``: the operation is linear in each argument, so df/dx dx = f(dx, the other arguments).
- ``symmetric(op)``: the Jacobian is its own transpose, so the reverse rule is the forward rule. It is diagonal for an
  operation that works element by element.
- ``defjvp(op, x=rule)``: a rule with names, like those of reverse mode.

An operation without a rule uses its reverse rule twice: v -> J^T v is linear, and its own pullback along u is J u.

References
----------
R. E. Wengert, "A simple automatic derivative evaluation program", 1964.
J. Townsend, "A new trick for calculating Jacobian vector products", 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tinygrad_lab.autograd.anomaly import Watcher
from tinygrad_lab.autograd.primitive import Primitive
from tinygrad_lab.autograd.settings import SETTINGS, using
from tinygrad_lab.autograd.tape import (
    OPTION,
    OUT,
    Box,
    Node,
    TupleCotangent,
    clock,
    gradients_of,
    toposort,
    unbox,
)
from tinygrad_lab.autograd.transforms import Pullback, boxed, variable
from tinygrad_lab.autograd.trees import flatten, leaves_like
from tinygrad_lab.backend import fresh, namespace, zeros_like


class Step(NamedTuple):
    """One application of an operation: its arguments, its options and its results."""

    op: Primitive
    values: list[Any]
    options: dict[str, Any]
    results: tuple[Any, ...]

    def asked(self, needs: Any, view: Callable[[Any], Any] = lambda value: value) -> list[Any]:
        """Return what a rule asks for, see `Primitive.defvjp`; `view` is applied to arguments."""
        found: list[Any] = []
        for kind, which in needs:
            if kind == OPTION:
                found.append(self.options.get(which, self.op.options[which]))
            else:
                found.append(self.results[which or 0] if kind == OUT else view(self.values[which]))
        return found


RULES: dict[Primitive, Callable[[Step, dict[int, Any]], Any]] = {}  # (step, tangents by position) -> tangent


def linear(*ops: Primitive) -> None:
    """Declare operations that are linear in each argument that is tracked: f(x + u, y) = f(x, y) + f(u, y)."""

    def rule(step: Step, tangents: dict[int, Any]) -> Any:
        values = step.values
        return _sum(step.op(*values[:i], u, *values[i + 1 :], **step.options) for i, u in tangents.items())

    RULES.update(dict.fromkeys(ops, rule))


def additive(*ops: Primitive) -> None:
    """Declare operations that are linear in all arguments together: f(x + u, y + v) = f(x, y) + f(u, v)."""

    def rule(step: Step, tangents: dict[int, Any]) -> Any:
        values = [tangents[i] if i in tangents else zeros_like(unbox(v)) for i, v in enumerate(step.values)]
        return step.op(*values, **step.options)

    RULES.update(dict.fromkeys(ops, rule))


def symmetric(*ops: Primitive) -> None:
    """Declare operations whose Jacobian with respect to each argument, broadcast to the result, is symmetric.

    Then J u = J^T u. The reverse rule gets u instead of a cotangent, and the arguments broadcast.
    """

    def rule(step: Step, tangents: dict[int, Any]) -> Any:
        shape = step.results[0].shape

        def spread(v: Any) -> Any:
            if getattr(v, "shape", shape) == shape:
                return v
            return (namespace() if isinstance(v, Box) else namespace(v)).broadcast_to(v, shape)

        rules = {i: step.op.rules[i] for i in tangents}
        return _sum(r.function(spread(tangents[i]), *step.asked(r.needs, spread)) for i, r in rules.items())

    RULES.update(dict.fromkeys(ops, rule))


def defjvp(op: Primitive, **by_name: Callable[..., Any]) -> None:
    """Declare rules by argument: ``defjvp(op, x=lambda u, y: ...)`` returns df/dx u, a tuple for several results.

    A rule asks for values, results and options by their names, as in `Primitive.defvjp`.
    """
    rules = {op.position(name): (rule, op.needs(rule)) for name, rule in by_name.items()}

    def rule(step: Step, tangents: dict[int, Any]) -> Any:
        return _sum(rules[i][0](u, *step.asked(rules[i][1])) for i, u in tangents.items())

    RULES[op] = rule


def _sum(parts: Any) -> Any:
    """Return the sum of tangents, None for no parts; tangents of several results are added one by one."""
    total: Any = None
    for part in parts:
        part = TupleCotangent(part) if type(part) is tuple else part
        total = part if total is None else total + part
    return total


class Tangents(Watcher):
    """The tangents of all nodes since the start of a `jvp`, computed while the function runs.

    A tangent is None where a value does not depend on the variables. Values that depend on an outer tape are *tied* to
    it: their tangents are computed with tensors, so that they can be differentiated too.
    """

    def __init__(self) -> None:
        settings = SETTINGS.get()
        self.start, self.around, self.outside = clock(), settings.watcher or Watcher(), settings.watcher
        self.nested = settings.recording
        self.known: dict[Any, Any] = {}
        self.tied: set[Node] = set()
        self.latest: Any = None

    def computed(self, op: Any, values: Any, options: Any, inputs: Any, results: Any) -> None:
        """Note the operation, for `recorded`."""
        self.around.computed(op, values, options, inputs, results)
        self.latest = op, values, options, inputs, results

    def recorded(self, node: Node) -> None:
        """Compute the tangent of an operation's result by its rule, if it has one."""
        self.around.recorded(node)
        op, values, options, inputs, results = self.latest
        smooth = [i for i, n in enumerate(inputs) if self.tangent(n) is not None and op.rule_of(i).function]
        tangents = {i: self.known[inputs[i]] for i in smooth}
        tied = self.ties(node) or any(isinstance(t, Box) for t in tangents.values())
        if not tangents:
            self.known[node] = None
        elif op in RULES and not (tied and len(results) > 1):
            if tied:
                values = [v if n is None else Box.boxes(v, n) for v, n in zip(values, inputs, strict=True)]
                results = (Box.boxes(results[0], node),)
            with using(watcher=self.outside):
                self.known[node] = RULES[op](Step(op, list(values), options, results), tangents)

    def left(self, box: Any, how: str) -> None:
        """Pass the note on to the watcher around."""
        self.around.left(box, how)

    def propagated(self, node: Any, g: Any, source: Any, gradient: Any) -> None:
        """Pass the note on to the watcher around."""
        self.around.propagated(node, g, source, gradient)

    def tangent(self, node: Node | None) -> Any:
        """Return the tangent of a node; None for a constant."""
        if node is None or node.order < self.start:
            return None
        if node not in self.known:
            for n in toposort([node], self.start, self.known.keys()):
                if n not in self.known:
                    self.ties(n)
                    self.known[n] = self._by_reverse_rules(n)
        return self.known[node]

    def is_tied(self, node: Node | None) -> bool:
        """Return whether a node depends on anything tracked before the start."""
        return node is not None and self.nested and (node.order < self.start or node in self.tied)

    def ties(self, node: Any) -> bool:
        """Note that a node is tied if one of its inputs is, and return whether it is."""
        if any(map(self.is_tied, node.inputs)):
            self.tied.add(node)
        return node in self.tied

    def _by_reverse_rules(self, node: Node) -> Any:
        """Return J u for a node without a forward rule: the pullback of v -> J^T v along u."""
        tangents = {n: self.known[n] for n in node.inputs if self.tangent(n) is not None}
        if not tangents or node.op is None:
            return None
        if node.output is not None:
            return tangents[node.inputs[0]][node.output]
        likes = node.likes or (node,)
        places = [i for i, like in enumerate(likes) if like]
        sources: list[Any] = []

        def pull(*cotangents: Any) -> list[Any]:
            given = dict(zip(places, cotangents, strict=True))
            g = TupleCotangent(given.get(i) for i in range(len(likes))) if node.likes else cotangents[0]
            found = gradients_of(node, g, 0, True, node in self.tied)
            sources[:] = [tangents[n] for n, _ in found if n in tangents]
            return [gradient for n, gradient in found if n in tangents]

        xp = namespace(*(unbox(p) for t in tangents.values() for p in (t if type(t) is TupleCotangent else (t,))))
        with using(watcher=self.outside, recording=node in self.tied):
            push = Pullback(pull, tuple(xp.zeros(likes[i].shape, likes[i].dtype) for i in places))
        with using(watcher=self.outside):
            pushed = dict(zip(places, push(sources), strict=True))
        return TupleCotangent(pushed.get(i) for i in range(len(likes))) if node.likes else pushed[0]


def jvp(f: Callable[..., Any], xs: Any, us: Any) -> tuple[Any, Any]:
    """Return f(x...) and J u, for a tuple `xs` of arguments and a tuple `us` of directions, or for one of each.

    J u is computed in forward mode, in one run of the function; see `tinygrad_lab.autograd.forward`.

    Examples
    --------
    >>> import numpy as np, tinygrad_lab as tgl
    >>> y, slope = tgl.jvp(tgl.sin, np.array(0.0), np.array(2.0))
    >>> float(slope)
    2.0
    """
    xs, us = (tuple(xs), tuple(us)) if isinstance(xs, (tuple, list)) else ((xs,), (us,))
    leaves, rebuild = flatten(xs)
    tangents = Tangents()
    variables = [variable(x) for x in leaves]
    directions = leaves_like(rebuild(variables), us)
    for v, u in zip(variables, directions, strict=True):
        tangents.known[v.node] = u if tangents.nested else unbox(u)
        tangents.ties(v.node)
    with using(recording=True, transforming=True, watcher=tangents):
        ys, rebuild_y = flatten(f(*rebuild(variables)))
        found = [tangents.tangent(y.node) if isinstance(y, Box) else None for y in ys]
    tied = any(isinstance(y, Box) and tangents.is_tied(y.node) for y in ys)
    box = boxed if tied or any(isinstance(x, Box) for x in leaves) else fresh
    pushed = [zeros_like(unbox(y)) if t is None else t for y, t in zip(ys, found, strict=True)]
    return (
        rebuild_y([y if tied else box(unbox(y)) for y in ys]),
        rebuild_y([t if isinstance(t, Box) else box(t) for t in pushed]),
    )
