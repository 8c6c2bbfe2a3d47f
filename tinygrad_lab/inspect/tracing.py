"""Traces of computations: each operation with its values and its source line, and each step of the backward pass."""

from __future__ import annotations

import linecache
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from tinygrad_lab.autograd.anomaly import Watcher
from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.autograd.tape import OPTION, OUT, VALUE, Node
from tinygrad_lab.backend import Array, backend_of, is_array
from tinygrad_lab.nn.layer import Layer

_OURS = ("tinygrad_lab", "tinygrad_lab_layers")
_RUN = Layer._run.__code__  # its frames show which layer an operation belongs to


@dataclass(frozen=True)
class Place:
    """A line of source code.

    Parameters
    ----------
    file : str
        The file.
    line : int
        The line's number, from 1.
    text : str
        The line; empty if the source is not at hand.
    layer : str
        The path of the layer that was running, or an empty string.
    """

    file: str
    line: int
    text: str
    layer: str = ""

    @classmethod
    def of(cls, file: str, line: int, layer: str = "") -> Place:
        """Return a line of a file, with its text."""
        return cls(file, line, linecache.getline(file, line).strip(), layer)

    def __str__(self) -> str:
        within = f" (layer {self.layer})" if self.layer else ""
        return f"{_shortened(self.file)}:{self.line}: {self.text}".rstrip(": ") + within


def _shortened(file: str) -> str:
    """Return a path relative to the current folder if it is below it."""
    path = Path(file)
    return os.fspath(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _place(frame: FrameType | None) -> Place | None:
    """Return the innermost line outside of this project's packages, and the innermost layer."""
    found, layer = None, ""
    while frame is not None:
        if found is None and frame.f_globals.get("__name__", "").partition(".")[0] not in _OURS:
            found = frame.f_code.co_filename, frame.f_lineno
        elif frame.f_code is _RUN and not layer:
            running = frame.f_locals
            layer = running["call"].path(running["self"]) or type(running["self"]).__name__
        frame = frame.f_back
    return Place.of(*found, layer) if found else None


def place_of(function: Any) -> Place | None:
    """Return the line where a function is defined; None if it is not written in Python."""
    code = getattr(getattr(function, "func", function), "__code__", None)  # of a partial, or of the function itself
    if code is None:
        return None
    line = code.co_firstlineno
    while linecache.getline(code.co_filename, line).lstrip().startswith("@"):  # a decorator of one line
        line += 1
    return Place.of(code.co_filename, line)


@dataclass(eq=False)
class Operation:
    """One operation of the forward pass.

    Parameters
    ----------
    op : Primitive
        The operation.
    values, results : tuples
        Its arguments and results, as arrays.
    inputs : tuple of Node or None
        The nodes of its arguments; None for constants.
    place : Place or None
        The line that called it.
    recording : bool
        Whether the tape recorded; False under `no_grad`.
    node : Node or None
        Its node, if it has one.
    """

    op: Any
    values: tuple[Any, ...]
    inputs: tuple[Node | None, ...]
    results: tuple[Any, ...]
    place: Place | None
    recording: bool
    node: Node | None = None


@dataclass(frozen=True, eq=False)
class Departure:
    """A tracked value that was made a constant by a conversion such as ``numpy()``."""

    node: Node
    value: Any
    how: str
    place: Place | None


@dataclass(eq=False)
class Step:
    """One step of the backward pass: a node, its cotangent, and the gradient for each of its inputs."""

    node: Node
    cotangent: Any
    gradients: list[tuple[Node, Any]] = field(default_factory=list)


class Trace(Watcher):
    """A trace of a forward and a backward pass, filled while it is the setting `watcher`.

    Parameters
    ----------
    function : Place or None
        The line where the traced function is defined.
    """

    def __init__(self, function: Place | None = None) -> None:
        self.function = function
        self.operations: list[Operation] = []
        self.by_node: dict[Node, Operation] = {}
        self.departures: list[Departure] = []
        self.steps: dict[Node, Step] = {}

    def computed(self, op: Any, values: Any, options: Any, inputs: Any, results: tuple[Any, ...]) -> None:
        """Note an operation, its values and its source line."""
        place, recording = _place(sys._getframe(1)), SETTINGS.get().recording
        self.operations.append(Operation(op, tuple(values), tuple(inputs), tuple(results), place, recording))

    def recorded(self, node: Node) -> None:
        """Note the node of the last operation."""
        operation = self.operations[-1]
        operation.node, node.place = node, operation.place
        self.by_node[node] = operation

    def left(self, box: Any, how: str) -> None:
        """Note a tracked value that was made a constant, once for each line of source code."""
        place = _place(sys._getframe(1))
        if not any(d.node is box.node and d.place == place for d in self.departures):
            self.departures.append(Departure(box.node, box.value, how, place))

    def propagated(self, node: Node, g: Any, source: Node, gradient: Any) -> None:
        """Note one gradient."""
        self.steps.setdefault(node, Step(node, g)).gradients.append((source, gradient))


@dataclass(frozen=True, eq=False)
class Seen:
    """The values of one operation, as NumPy arrays by name, as far as they are known.

    Parameters
    ----------
    name : str
        The operation.
    arguments : dict
        Its arguments that are arrays or numbers.
    out : array or None
        Its first result.
    options : dict
        Its options.
    labels : dict
        Names of the arguments' values.
    """

    name: str
    arguments: dict[str, Any]
    out: Array | None
    options: dict[str, Any]
    labels: dict[str, str] = field(default_factory=dict)

    def label(self, argument: str) -> str:
        """Return what an argument is: a variable's name, another operation's result, or a constant."""
        return self.labels.get(argument, argument)


def seen(node: Node, operation: Operation | None) -> Seen:
    """Return the known values of a node's operation: from the trace, or else those that its rules kept."""
    names, options, found, out = node.op.arguments, {}, {}, None
    for rule in node.rules:
        for (kind, which), value in zip(rule.needs, (node.saved or ())[rule.span], strict=False):
            if kind == OPTION:
                options[which] = value
            elif kind == VALUE and type(which) is int:
                found[names[which]] = on_host(value)
            elif kind == OUT and not which:
                out = on_host(value)
    if operation is not None:
        return seen_in(operation, options)
    return Seen(str(node.op), found, out, options)


def seen_in(operation: Operation, options: dict[str, Any] | None = None) -> Seen:
    """Return the values of a traced operation."""
    names = operation.op.arguments
    last = len(names) - 1
    arguments: dict[str, Any] = {}
    for i, value in enumerate(operation.values):
        name = names[min(i, last)]
        arguments[name if name not in arguments else f"{name}[{i}]"] = on_host(value)
    return Seen(str(operation.op), arguments, on_host(operation.results[0]), options or {})


def is_output(node: Node | None) -> bool:
    """Return whether a node is one of several outputs of an operation."""
    parent = node.inputs[0] if node is not None and node.op is not None and len(node.inputs) == 1 else None
    return parent is not None and node is not None and parent.op is node.op and parent.likes is not None


def on_host(value: Any) -> Any:
    """Return an array as a NumPy array; anything else unchanged."""
    return np.asarray(backend_of(value).to_numpy(value)) if is_array(value) else value


def arrays_of(gradient: Any) -> list[Array]:
    """Return the arrays of a gradient, which may be a tuple with one for each result."""
    parts = gradient if isinstance(gradient, tuple) else (gradient,)
    return [on_host(getattr(part, "value", part)) for part in parts if part is not None]
