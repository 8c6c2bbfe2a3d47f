"""Search for the operation that stopped or spoiled the gradient of a variable."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_lab.autograd.tape import Node
from tinygrad_lab.backend import Array, carries_gradient
from tinygrad_lab.inspect.causes import Cause, why_gradient_not_finite, why_result_not_finite, why_zero
from tinygrad_lab.inspect.tracing import (
    Operation,
    Place,
    Seen,
    Step,
    Trace,
    arrays_of,
    is_output,
    on_host,
    place_of,
    seen,
    seen_in,
)
from tinygrad_lab.nn.variables import Parameter

_MOST = 3  # causes of one variable
_SMALL = 0.1  # if a sigmoid, tanh or softmax scales a vanishing gradient by less, its saturation is the cause
_CANCELED = 1e-5  # a sum that is less than this times its largest part consists of rounding errors
_LARGE = 1e3  # a gradient this many times as large as its variable explodes


class Search:
    """A finished backward pass, indexed to search for causes.

    Parameters
    ----------
    trace : Trace
        The operations and the steps.
    root : Any
        The result: a tensor, or a constant.
    found : mapping of Node to array
        The gradients of the leaves that were reached.
    labels : mapping of Node to str
        The names of leaves.
    """

    def __init__(self, trace: Trace, root: Any, found: Mapping[Node, Any], labels: Mapping[Node, str]) -> None:
        self.trace, self.root, self.found, self.labels = trace, root, found, labels
        self.root_node: Node | None = getattr(root, "node", None)
        self.steps = [s for s in trace.steps.values() if not is_output(s.node)]
        self.numbers = {s.node: number for number, s in enumerate(self.steps, start=1)}
        self.users: dict[Node, list[tuple[Step, Any]]] = {}  # the steps that gave a node a gradient
        for step in trace.steps.values():
            for source, gradient in step.gradients:
                self.users.setdefault(source, []).append((step, gradient))
        self.spoiled = self._first_not_finite()

    # ------------------------------------------------------------------------------------------------------- words

    def label(self, node: Node | None) -> str:
        """Return what a node is: the name of a variable, or the operation and its step."""
        if node is None:
            return "a constant"
        if node in self.labels:
            return self.labels[node]
        parent = node.inputs[0] if is_output(node) else node
        step = f" of step {self.numbers[parent]}" if parent in self.numbers else ""
        return f"the result of {node.op}{step}" if node.op else "a leaf"

    def argument(self, step: Step, position: int) -> tuple[str, Any]:
        """Return the name and the derivative rule of the argument that got a step's gradient number `position`."""
        node, source = step.node, step.gradients[position][0]
        earlier = sum(s is source for s, _ in step.gradients[:position])
        for rule in node.rules:
            for target in (rule.targets,) if isinstance(rule.targets, int) else rule.targets:
                if target < len(node.inputs) and node.inputs[target] is source:
                    if not earlier:
                        name = node.op.names(target) if node.op.arguments else f"value {target + 1}"
                        return name, rule.function
                    earlier -= 1
        return "?", None

    def seen(self, node: Node) -> Seen:
        """Return what is known of the values of a node's operation, with the names of its arguments."""
        operation = self.trace.by_node.get(node)
        labels = {}
        for i, (name, source) in enumerate(zip(node.op.arguments, node.inputs, strict=False)):
            value = on_host(operation.values[i]) if operation else None
            constant = f"the constant {value}" if value is not None and np.ndim(value) == 0 else ""
            labels[name] = f"{name} ({constant or self.label(source)})"
        return replace(seen(node, operation), labels=labels)

    def cause(self, kind: str, text: str, step: Step | None = None, place: Any = None) -> Cause:
        """Return a cause at a step, or at a place."""
        place = step.node.place if step is not None else place
        number = self.numbers.get(step.node) if step is not None else None
        return Cause(kind, text, place if isinstance(place, Place) else None, number)

    def note(self, step: Step, source: Node, argument: str, gradient: Any) -> str:
        """Return a remark on the gradient that a step gives to an input, or an empty string."""
        if _any(step.cotangent) and not _any(gradient):
            return why_zero(self.seen(step.node), argument, _first(step.cotangent))[1] if _filled(gradient) else ""
        if _finite(step.cotangent) and not _finite(gradient):
            return why_gradient_not_finite(self.seen(step.node), argument, _first(step.cotangent))[1]
        g, result = _first(step.cotangent), _first(gradient)
        stopped = int(np.sum((g != 0) & (result == 0))) if g.shape == result.shape else 0
        return f"stops {stopped} of {int(np.count_nonzero(g))} elements" if stopped else ""

    # ---------------------------------------------------------------------------------------------------- verdicts

    def judge(self, node: Node, gradient: Array, value: Array | None) -> tuple[str, list[Cause]]:
        """Return the state of a gradient that arrived, and its causes."""
        if not gradient.size:
            return "flows", []
        if not np.isfinite(gradient).all():
            causes = [self.spoiled] if self.spoiled else [*self._breakers(node)]
            return "not finite", causes[:_MOST]
        if not gradient.any():
            return "zero", [*dict.fromkeys(self._stops(node, set()))][:_MOST]
        size, scale = _size(gradient), 0.0 if value is None else _size(value)
        if canceled := self._canceled(node):
            return "vanishing", [canceled]
        eps = min(np.finfo(gradient.dtype).eps, np.finfo(np.float32).eps)  # float16's eps is too large a bound
        if size < eps * (scale or 1.0):
            return "vanishing", [self._shrinking(node)]
        if value is not None and size > _LARGE * max(scale, 1.0):
            return "exploding", [self._growing(node, size)]
        if (gradient == 0).any():
            return "partly zero", [*self._partial(node)][:_MOST]
        return "flows", []

    def _first_not_finite(self) -> Cause | None:
        """Return the cause of the first value of the forward pass that is not finite, if the result depends on it."""
        if self.root_node is None:
            return None
        influential = self._influential()
        for operation in self.trace.operations:
            arrays = [a for a in (*operation.values, *operation.results) if carries_gradient(a)]
            if any(id(r) in influential for r in operation.results) and not all(map(_finite, arrays)):
                return self._spoiled_by(operation)
        return None

    def _spoiled_by(self, operation: Operation) -> Cause:
        for name, value, node in zip(
            operation.op.arguments, operation.values, operation.inputs, strict=False
        ):
            if carries_gradient(value) and not _finite(value):
                array = on_host(value)
                what = f"{int(np.sum(~np.isfinite(array)))} of {array.size} elements of"
                if node is None:
                    text = f"{what} {name}, a constant of {operation.op}, are NaN or infinite"
                    return self.cause("bad_data", text, place=operation.place)
                text = f"{what} {self.label(node)} are NaN or infinite before the computation"
                return self.cause("bad_parameter", text, place=operation.place)
        view = replace(seen_in(operation), labels=self.seen(operation.node).labels if operation.node else {})
        kind, text = why_result_not_finite(view)
        if self._masked(operation):
            text = f"{text}; where() leaves these elements out, but the rule runs on them, and 0 times infinity is NaN"
            return self.cause("masked_infinity", text, place=operation.place)
        return self.cause(kind, text, place=operation.place)

    def _masked(self, operation: Operation) -> bool:
        """Return whether a `where` leaves out all elements of an operation's result that are not finite."""
        results = {id(r) for r in operation.results}
        users = [o for o in self.trace.operations if any(id(v) in results for v in o.values)]
        return any(str(o.op) == "where" and _finite(o.results[0]) for o in users)

    def _breakers(self, node: Node) -> Iterator[Cause]:
        """Yield the steps that made a finite cotangent into a gradient that is not finite."""
        queue, met = [node], {node}
        for current in queue:
            for step, gradient in self.users.get(current, ()):
                if _finite(gradient):
                    continue
                if _finite(step.cotangent):
                    position = [s for s, _ in step.gradients].index(current)
                    argument = self.argument(step, position)[0]
                    kind, text = why_gradient_not_finite(self.seen(step.node), argument, _first(step.cotangent))
                    yield self.cause(kind, text, step)
                elif step.node not in met:
                    met.add(step.node)
                    queue.append(step.node)
            yield from self._hooked(current, finite=True)

    def _hooked(self, node: Node, *, finite: bool = False) -> Iterator[Cause]:
        """Yield the last hook of a node if its hooks made the gradient 0 or, with `finite`, NaN or infinite."""
        if not node.hooks:
            return
        before = [g for _, g in self.users.get(node, ())]
        after = self.found.get(node, self.trace.steps[node].cotangent if node in self.trace.steps else None)
        if after is None or (node is not self.root_node and not before):
            return
        spoiled = not _finite(after) if finite else not _any(after)
        if spoiled and all(map(_finite, before)) and (finite or node is self.root_node or any(map(_any, before))):
            place = place_of(inspect.unwrap(node.hooks[-1]))
            what = "made it NaN or infinite" if finite else "made it 0"
            yield self.cause("hook", f"a hook of {self.label(node)} got a gradient and {what}", place=place)

    def _stops(self, node: Node, met: set[Node]) -> Iterator[Cause]:
        """Yield the causes of a gradient of 0, such as steps on the way to a node that get a cotangent but give 0."""
        queue = [node]
        for current in queue:
            if hooked := [*self._hooked(current)]:
                yield from hooked
                continue
            users = self.users.get(current, [])
            if any(_any(gradient) for _, gradient in users):
                text = f"the {len(users)} gradients that {self.label(current)} gets cancel each other"
                yield self.cause("cancels", text, users[0][0])
                continue
            if current is self.root_node and not users:
                yield self.cause("zero_cotangent", "the cotangent of the result is 0")
            for step, _ in users:
                if _any(step.cotangent):
                    yield self._stop(step, current)
                elif step.node not in met:
                    met.add(step.node)
                    queue.append(step.node)

    def _stop(self, step: Step, source: Node) -> Cause:
        if 0 in source.shape:
            return self.cause("empty", f"{step.node.op} got no elements: shape {source.shape}", step)
        argument = self.argument(step, [s for s, _ in step.gradients].index(source))[0]
        kind, text = why_zero(self.seen(step.node), argument, _first(step.cotangent))
        others = [n for n in step.node.inputs if n is not None and n is not source]
        zeros = {"zero_factor": others, "zero_power": [source]}.get(kind, [])
        if (origin := self._origin(zeros)) is not None:
            name = str(origin.op)
            text = f"{text}: {name} gave 0 everywhere"
            return self.cause("dead_relu" if name.endswith("relu") else kind, text, place=origin.place)
        return self.cause(kind, text, step)

    def _origin(self, queue: list[Node]) -> Operation | None:
        """Return the earliest operation with a result of 0 everywhere that made one of the nodes 0, or None."""
        zero: Operation | None = None
        for current in queue:
            operation = self.trace.by_node.get(current)
            if operation is not None and not _any(operation.results[0]):
                zero = operation
                queue += [n for n in operation.inputs if n is not None]
        return zero

    def _path(self, node: Node) -> Iterator[tuple[Step, Node, Any]]:
        """Yield the steps between a node and the result, the nearest first: step, input, and the input's gradient."""
        queue, met = [node], {node}
        for current in queue:
            for step, gradient in self.users.get(current, ()):
                yield step, current, gradient
                if step.node not in met:
                    met.add(step.node)
                    queue.append(step.node)

    def _canceled(self, node: Node) -> Cause | None:
        """Return the step whose sum over broadcast axes is far smaller than what it sums."""
        for step, gradient in self.users.get(node, ()):
            g, result = _first(step.cotangent), _first(gradient)
            summed = str(step.node.op) in ("add", "subtract", "conv2d") and result.size < g.size
            if summed and 0.0 < _size(result) < _CANCELED * _size(g):
                sizes = f"({_size(g):.3g} before, {_size(result):.3g} after)"
                text = f"the gradient cancels in the sum over the axes that {step.node.op} broadcasts {sizes}"
                return self.cause("cancels", text, step)
        return None

    def _shrinking(self, node: Node) -> Cause:
        """Return the line whose steps together make the gradient smaller by the largest factor."""
        factors, step, source = min(self._factors(node), key=lambda item: sum(map(math.log, item[0])))
        total = math.exp(sum(map(math.log, factors)))
        kind, text = "vanishing", f"{len(factors)} steps of this line multiply the gradient by {total:.2g} in all"
        if min(factors) < _SMALL and str(step.node.op) in ("sigmoid", "tanh", "softmax"):
            argument = self.argument(step, [s for s, _ in step.gradients].index(source))[0]
            kind, text = why_zero(self.seen(step.node), argument, _first(step.cotangent))
        return self.cause(kind, text, step)

    def _growing(self, node: Node, size: float) -> Cause:
        """Return the line whose steps together make the gradient larger by the largest factor."""
        factors, step, _ = max(self._factors(node), key=lambda item: sum(map(math.log, item[0])))
        total = math.exp(sum(map(math.log, factors)))
        text = f"{len(factors)} steps of this line multiply the gradient by {total:.3g} in all; it is {size:.3g}"
        return self.cause("exploding", text, step)

    def _factors(self, node: Node) -> list[tuple[list[float], Step, Node]]:
        """Return, for each line, the factors by which its steps scale the gradient, and the most extreme step."""
        lines: dict[Any, list[tuple[float, Step, Node]]] = {}
        for step, source, gradient in self._path(node):
            if _any(step.cotangent) and _any(gradient):
                factor = _size(_first(gradient)) / _size(_first(step.cotangent))
                lines.setdefault(step.node.place or step, []).append((factor, step, source))
        worst = [max(items, key=lambda item: abs(math.log(item[0]))) for items in lines.values()]
        return [([f for f, _, _ in items], *extreme[1:]) for items, extreme in zip(lines.values(), worst, strict=True)]

    def _partial(self, node: Node) -> Iterator[Cause]:
        """Yield the steps that stop whole units (entries of the last axis) for the whole batch, or unused rows."""
        for step, _, gradient in self._path(node):
            g, result = _first(step.cotangent), _first(gradient)
            if str(step.node.op).startswith("gather") and result.ndim:
                unused = ~(result != 0).reshape(len(result), -1).any(axis=1)
                text = f"{step.node.op} does not select {int(unused.sum())} of {unused.size} rows: {_few(unused)}"
                yield from [self.cause("not_selected", text, step)] if unused.any() else []
            if g.shape != result.shape or g.ndim < 2:
                continue
            axes = tuple(range(g.ndim - 1))
            dead = (g != 0).any(axis=axes) & ~(result != 0).any(axis=axes)
            name = str(step.node.op)
            if dead.any():
                text = f"{name} stops {int(dead.sum())} of {dead.size} units for the whole batch: {_few(dead)}"
                yield self.cause("dead_relu" if name.endswith("relu") else "zero_rule", text, step)

    # ----------------------------------------------------------------------------------------------------- missing

    def why_missing(self, node: Node | None, tensor: Any) -> Iterator[Cause]:
        """Yield the reasons why a variable got no gradient at all."""
        if node is None:
            frozen = isinstance(tensor, Parameter)
            used = (o.place for o in self.trace.operations if any(v is tensor.value for v in o.values))
            text = "is frozen, so it is a constant" if frozen else "is a constant, made without requires_grad=True"
            yield self.cause("frozen" if frozen else "constant", f"it {text}", place=next(used, None))
            return
        reached = self._reached(node)
        influential = self._influential()
        causes = [*self._cuts(reached, influential)]
        if not causes and self.trace.operations:
            causes = [*self._unused(node, reached)]
        if not causes and not self.trace.operations:
            text = "it is not on the tape of this result; pass a function that computes the result to see why"
            causes = [self.cause("never_used", text)]
        yield from causes[:_MOST]

    def _reached(self, node: Node) -> set[Node]:
        """Return the nodes that were computed from a node."""
        reached = {node}
        for operation in self.trace.operations:
            inputs = [n for n in operation.inputs if n is not None]
            if any(n in reached or (is_output(n) and n.inputs[0] in reached) for n in inputs):
                reached |= {n for n in inputs if is_output(n) and n.inputs[0] in reached}
                reached |= {operation.node} if operation.node is not None else set()
        return reached

    def _influential(self) -> set[int]:
        """Return the identities of the arrays from which the result was computed, constants included."""
        found = {id(getattr(self.root, "value", None))}
        for operation in reversed(self.trace.operations):
            if any(id(r) in found for r in operation.results):
                for value in operation.values:
                    found |= {id(value), id(getattr(value, "base", None))} - {id(None)}
        return found

    def _cuts(self, reached: set[Node], influential: set[int]) -> Iterator[Cause]:
        """Yield where values computed from the reached nodes left the tape; if any affect the result, only those."""
        cuts: list[tuple[bool, Cause]] = []
        for departure in self.trace.departures:
            if departure.node in reached:
                kind = "stop_gradient" if departure.how == "stop_gradient" else "detached"
                text = f"{self.label(departure.node)} became a constant by {departure.how}"
                cuts.append((id(departure.value) in influential, self.cause(kind, text, place=departure.place)))
        for operation in self.trace.operations:
            sources = [n for n in operation.inputs if n in reached]
            if operation.node is None and sources:
                matters = any(id(r) in influential for r in operation.results)
                cuts.append((matters, self._cut(operation, sources[0])))
        matter = [cause for matters, cause in cuts if matters]
        yield from matter or [cause for _, cause in cuts]

    def _cut(self, operation: Operation, source: Node | None) -> Cause:
        what, result = f"{operation.op} of {self.label(source)}", operation.results[0]
        if not operation.recording:
            kind, text = "no_grad", f"{what} ran under no_grad(), so its result is a constant"
        elif not carries_gradient(result):
            kind, text = "integer_result", f"{what} gives {result.dtype}, which has no derivative"
        else:
            kind, text = "zero_derivative", f"{what} is constant between its jumps"
        return self.cause(kind, text, place=operation.place)

    def _unused(self, node: Node, reached: set[Node]) -> Iterator[Cause]:
        used = {n for operation in self.trace.operations for n in operation.inputs}
        tips = [o for o in self.trace.operations if o.node in reached and o.node not in used]
        for operation in tips[-1:]:
            text = f"it was used, but the loss does not depend on the result of {operation.op}"
            yield self.cause("unused_result", text, place=operation.place)
        if not tips:
            text = "the computation did not use it, or used only its raw array or its values before assign()"
            yield self.cause("never_used", text, place=self.trace.function)


def _first(gradient: Any) -> Array:
    found = arrays_of(gradient)
    return found[0] if found else np.zeros(0)


def _size(array: Array) -> float:
    """Return the largest absolute value."""
    return float(np.max(np.abs(array))) if array.size else 0.0


def _any(gradient: Any) -> bool:
    return any(bool(np.any(a != 0)) for a in arrays_of(gradient))


def _filled(gradient: Any) -> bool:
    return any(a.size for a in arrays_of(gradient))


def _finite(gradient: Any) -> bool:
    return all(bool(np.isfinite(a).all()) for a in arrays_of(gradient))


def _few(mask: Array) -> str:
    places = np.flatnonzero(mask)
    return ", ".join(map(str, places[:8])) + (", ..." if places.size > 8 else "")
