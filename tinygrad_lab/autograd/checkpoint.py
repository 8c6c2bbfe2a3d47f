"""Gradient checkpointing: recompute part of the forward during the backward pass to save memory."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from tinygrad_lab.autograd.effects import logging_effects, replaying_effects
from tinygrad_lab.autograd.primitive import Primitive
from tinygrad_lab.autograd.tape import Box, Node, Rule, backward_pass, clock, toposort
from tinygrad_lab.errors import GradientError


def checkpoint(f: Callable[..., Any], *xs: Any) -> Any:
    """Return f(x...), one array, and keep only the inputs; the backward pass recomputes the rest.

    f must repeat the same computation: between forward and backward, do not assign to values that it uses and do not
    change modes. Effects under `once` are not repeated. Tracked values that f closes over get gradients too.

    Raises
    ------
    GradientError
        In the backward pass, f uses other operations or other variables than before.

    References
    ----------
    T. Chen et al., "Training deep nets with sublinear memory cost", 2016.
    """
    results: list[Any] = []
    context, mark = copy_context(), clock()
    y = logging_effects(results, f, *xs)
    if not isinstance(y, Box) or y.node is None or y.node.order < mark:
        return y
    operations, outside = _made_of(y, mark)

    def again(g: Any) -> list[Any]:
        mark = clock()
        y, record = replaying_effects(results, f, *xs), isinstance(g, Box)
        if _made_of(y, mark) != (operations, outside):
            raise GradientError.not_repeated()
        found = backward_pass({y.node: g}, wanted=outside, keep=record, record=record, hooked=False)
        return [found.get(n) for n in outside]

    rule = Rule(tuple(range(len(outside))), lambda g: context.copy().run(again, g))
    return Box.boxes(y.value, Node(y.value, _recomputed, (rule,), outside, ()))


def _made_of(y: Any, mark: int) -> tuple[list[Any], list[Node]]:
    """Return the operations that made y since `mark`, and the older nodes that they used."""
    inside = toposort([y.node], mark) if isinstance(y, Box) and y.node else []
    outside = dict.fromkeys(n for node in inside for n in node.inputs if n and n.order < mark)
    return [node.op for node in inside], list(outside)


_recomputed = Primitive(lambda xp, *tracked: None)
_recomputed.__name__ = "checkpoint"
