"""Explanations of the backward pass, step by step, and of gradients that are zero, missing or not finite."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from html import escape
from numbers import Number
from typing import Any

import numpy as np

from tinygrad_lab.autograd.settings import using
from tinygrad_lab.autograd.tape import Node, backward_pass, toposort
from tinygrad_lab.backend import Array, Shape, is_array
from tinygrad_lab.errors import DTypeError, GradientError
from tinygrad_lab.inspect.causes import Cause
from tinygrad_lab.inspect.formulas import formula_of
from tinygrad_lab.inspect.search import Search
from tinygrad_lab.inspect.tracing import Place, Step, Trace, arrays_of, on_host, place_of
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.variables import Parameter
from tinygrad_lab.tables import html_table
from tinygrad_lab.tensor import Tensor

_WHOLE = 8  # an array of at most this many elements is shown whole
_SHOWN = 40  # the text shows at most this many steps


@dataclass(frozen=True)
class Values:
    """The values of an array: whole if it is small, else as statistics.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    dtype : str
        Its dtype.
    elements : tuple of numbers or None
        The elements in order if the array is small, else None.
    mean, smallest, largest : float
        The mean, minimum and maximum of the finite elements; 0 if there are none.
    zeros, nans, infinities : int
        How many elements are 0, NaN and infinite.
    """

    shape: Shape
    dtype: str
    elements: tuple[float, ...] | None
    mean: float
    smallest: float
    largest: float
    zeros: int
    nans: int
    infinities: int

    @classmethod
    def of(cls, array: Array) -> Values:
        """Return the values of an array."""
        array = np.asarray(on_host(array))
        flat = array.reshape(-1)
        finite = flat[np.isfinite(flat)].astype("float64")
        mean, low, high = (finite.mean(), finite.min(), finite.max()) if finite.size else (0.0, 0.0, 0.0)
        return cls(
            shape=array.shape,
            dtype=str(flat.dtype),
            elements=tuple(flat.tolist()) if flat.size <= _WHOLE else None,
            mean=float(mean),
            smallest=float(low),
            largest=float(high),
            zeros=int(np.sum(flat == 0)),
            nans=int(np.sum(np.isnan(flat))),
            infinities=int(np.sum(np.isinf(flat))),
        )

    def __str__(self) -> str:
        if self.elements is not None:
            text = np.array2string(np.reshape(self.elements, self.shape), precision=4, separator=", ")
            return " ".join(text.split()).replace("[ ", "[")
        size = int(np.prod(self.shape))
        if size == self.zeros:
            return "all 0"
        parts = [f"mean {self.mean:.4g}, from {self.smallest:.4g} to {self.largest:.4g}"]
        parts += [f"{count:,} of {size:,} {what}" for count, what in self._marked() if count]
        return ", ".join(parts)

    def _marked(self) -> list[tuple[int, str]]:
        return [(self.zeros, "are 0"), (self.nans, "are NaN"), (self.infinities, "are infinite")]


@dataclass(frozen=True)
class Flow:
    """The gradient that one step passes to one of its inputs.

    Parameters
    ----------
    argument : str
        The argument of the operation.
    source : str
        Where the argument comes from: the name of a variable, or the operation that computed it.
    formula : str
        The formula of the derivative rule; g is the cotangent, out the result.
    gradient : Values
        The gradient.
    note : str
        A remark on what happens to the gradient here, or an empty string.
    """

    argument: str
    source: str
    formula: str
    gradient: Values
    note: str = ""


@dataclass(frozen=True)
class BackwardStep:
    """One step of the backward pass: an operation of the forward pass, and the gradients of its inputs.

    Parameters
    ----------
    number : int
        The number of the step: 1 for the last operation of the forward pass, and so on toward the first.
    operation : str
        The operation.
    place : Place or None
        The line that called it; None if it was computed before the explanation began.
    shape : tuple of int
        The shape of its result.
    cotangent : tuple of Values
        The gradient of the result: one array, or one for each result that has one.
    flows : tuple of Flow
        The gradients of its inputs.
    """

    number: int
    operation: str
    place: Place | None
    shape: Shape
    cotangent: tuple[Values, ...]
    flows: tuple[Flow, ...]

    def __str__(self) -> str:
        where = f"   {self.place}" if self.place else ""
        lines = [f"{self.number:>3}  {self.operation} {self.shape}{where}"]
        lines += [f"       g = {values}" for values in self.cotangent]
        for flow in self.flows:
            lines.append(f"       {flow.argument} ({flow.source}): {flow.formula}")
            lines.append(f"         = {flow.gradient}{f'   <-- {flow.note}' if flow.note else ''}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Gradient:
    """The gradient of one variable, with its state and the causes of this state.

    Parameters
    ----------
    name : str
        The variable.
    shape : tuple of int
        Its shape.
    state : str
        ``"flows"``, ``"partly zero"``, ``"zero"``, ``"missing"``, ``"not finite"``, ``"vanishing"`` or
        ``"exploding"``.
    values : Values or None
        The gradient; None if it is missing.
    causes : tuple of Cause
        The causes of the state, the most important one first; empty if the gradient flows.
    """

    name: str
    shape: Shape
    state: str
    values: Values | None
    causes: tuple[Cause, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.shape}: {self.state}" + (f", {self.values}" if self.values else "")


@dataclass(frozen=True)
class Explanation:
    """A backward pass, step by step. `explain_backward` makes it; it prints itself, and a notebook shows it.

    Parameters
    ----------
    title : str
        The result at which the backward pass begins.
    steps : tuple of BackwardStep
        The steps, from the result to the variables.
    variables : tuple of Gradient
        The gradient of each variable.
    spoiled : Cause or None
        The cause of a value that is not finite, if the result or a value from which it was computed is such a value.
    """

    title: str
    steps: tuple[BackwardStep, ...]
    variables: tuple[Gradient, ...]
    spoiled: Cause | None = None

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The causes of all variables without repetitions, the most frequent one first."""
        found = [cause for variable in self.variables for cause in variable.causes]
        found += [self.spoiled] if self.spoiled else []
        return tuple(sorted(dict.fromkeys(found), key=lambda cause: -found.count(cause)))

    def __getitem__(self, name: str) -> Gradient:
        """Return the gradient of the variable of that name."""
        for variable in self.variables:
            if variable.name == name:
                return variable
        raise KeyError(f"explain_backward: expected one of {[v.name for v in self.variables]}, got {name!r}")

    def __str__(self) -> str:
        lines = [self.title, "", *self._found(), "", "Variables", *(f"  {v}" for v in self.variables)]
        if self.steps:
            lines += ["", "Steps, from the result to the variables (g is the cotangent, the gradient of the result)"]
            lines += map(str, self.steps[:_SHOWN])
        if left := len(self.steps) - _SHOWN:
            lines += [f"... {left} more in .steps"] if left > 0 else []
        return "\n".join(lines)

    __repr__ = __str__

    def _found(self) -> list[str]:
        lines = []
        for cause in self.causes:
            names = [f"{v.name} ({v.state})" for v in self.variables if cause in v.causes]
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            lines.append(', '.join(names[:6] or ['the result']) + more)
            lines += [f"  {line}" for line in str(cause).splitlines()]
        return lines or ["All gradients flow." if self.variables else "There is no variable to differentiate."]

    def _repr_html_(self) -> str:
        found = "".join(f"<div>{escape(line)}</div>" for line in self._found())
        variables = [(v.name, str(v.shape), v.state, str(v.values or "")) for v in self.variables]
        steps = [
            (str(s.number), s.operation, str(s.shape), str(s.place or ""), *flow)
            for s in self.steps
            for flow in ((f.argument, f.source, f.formula, str(f.gradient), f.note) for f in s.flows)
        ]
        head = ("step", "operation", "result", "line", "argument", "which is", "rule", "gradient", "note")
        return (
            f"<p><b>{escape(self.title)}</b></p>{found}"
            + html_table(("variable", "shape", "gradient", "values"), variables)
            + f"<details><summary>{len(self.steps)} steps</summary>{html_table(head, steps, numbers=(0,))}</details>"
        )


def explain_backward(
    target: Tensor | Callable[[], Any],
    *,
    of: Layer | Tensor | Mapping[str, Any] | Sequence[Any] | None = None,
    cotangent: Any = None,
) -> Explanation:
    """Explain the backward pass of a result: every step, and why a gradient is zero, missing or not finite.

    Pass a function without arguments that computes the loss. It is called once, as in training, so the explanation
    has every value, every source line, and the values that left the tape. For a tensor that was computed before, only
    the tape is known. The gradients of leaves do not change, and another backward pass is possible. Hooks of
    `Tensor.register_hook` run, as in any backward pass.

    Parameters
    ----------
    target : Tensor or callable
        The result, or a function that returns it.
    of : Layer, Tensor, or mapping or sequence of them
        The variables of interest. By default the leaves on the tape, and the parameters and tensors that the function
        refers to by name.
    cotangent : array
        The gradient of the result, with which the backward pass begins; by default 1 for a scalar.

    Raises
    ------
    GradientError
        An earlier backward pass released the tape, a cotangent is missing, or a derivative rule fails.
    DTypeError
        The target is neither a tensor nor a function, or `of` contains something that has no variables.

    Examples
    --------
    >>> w = tgl.tensor([-1.0, -2.0], requires_grad=True)
    >>> explanation = explain_backward(lambda: tgl.relu(w * 3.0).sum())
    >>> explanation["w"].state, explanation.causes[0].kind
    ('zero', 'dead_relu')
    >>> [step.operation for step in explanation.steps]
    ['sum_axes', 'relu', 'multiply']
    """
    trace, names = Trace(place_of(target)), _named(of, "of") if of is not None else {}
    with np.errstate(all="ignore"):
        if isinstance(target, Tensor):
            root: Any = target
        elif callable(target):
            with using(watcher=trace):
                root = target()
            if not isinstance(root, (Tensor, Number)) and not is_array(root):
                raise DTypeError(f"explain_backward: expected a function that returns one tensor, got {_said(root)}")
            names = names or referred(target)
        else:
            raise DTypeError(f"explain_backward: expected a Tensor or a function, got {type(target).__name__}")
        return _explained(root, trace, names, of is not None, cotangent)


def _explained(root: Any, trace: Trace, names: dict[str, Tensor], only: bool, cotangent: Any) -> Explanation:
    node = root.node if isinstance(root, Tensor) else None
    found: Mapping[Node, Any] = {}
    leaves: list[Node] = []
    if node is not None:
        nodes = toposort([node])
        if any(n.saved is None for n in nodes):
            raise GradientError(
                "explain_backward: expected a tape that no backward pass has used yet, got one whose values were "
                "released; call it before backward(), or pass a function that computes the result"
            )
        leaves = [n for n in nodes if n.op is None]
        trace.steps.clear()  # of backward passes inside the function
        with using(watcher=trace):
            found = backward_pass({node: root._cotangent(cotangent, "explain_backward")}, wanted=leaves, keep=True)
    labels = labels_of(names)
    if not only:
        labels |= {n: f"leaf {i}" for i, n in enumerate((n for n in leaves if n not in labels), start=1)}
    search = Search(trace, root, found, labels)
    steps = tuple(_step(search, step) for step in search.steps)
    variables = [_gradient(search, name, v.shape, v.node, v) for name, v in names.items()]
    known = {v.node for v in names.values()}
    variables += [_gradient(search, labels[n], n.shape, n, None) for n in leaves if n not in known and n in labels]
    return Explanation(_title(root, trace), steps, tuple(variables), search.spoiled)


def _title(root: Any, trace: Trace) -> str:
    if not isinstance(root, Tensor):
        return f"Result {root!r}: a constant, not a tensor, so nothing flows back"
    value = Values.of(root.value)
    if root.node is None:
        return f"Result {value}: a constant, so nothing flows back"
    place = f", from {root.node.place}" if root.node.place else ""
    hint = "" if trace.operations else "; pass a function that computes it to see source lines"
    return f"Backward pass of {root.node.op or 'a leaf'} {root.shape} = {value}{place}{hint}"


def _step(search: Search, step: Step) -> BackwardStep:
    """Return a step of the backward pass with its names, formulas and values."""
    node, number = step.node, search.numbers[step.node]
    flows = []
    for position, (source, gradient) in enumerate(step.gradients):
        argument, rule = search.argument(step, position)
        (array, *_) = arrays_of(gradient) or [np.zeros(0)]
        note = search.note(step, source, argument, gradient)
        flows.append(Flow(argument, search.label(source), formula_of(rule), Values.of(array), note))
    return BackwardStep(
        number=number,
        operation=str(node.op),
        place=node.place if isinstance(node.place, Place) else None,
        shape=node.shape,
        cotangent=tuple(map(Values.of, arrays_of(step.cotangent))),
        flows=tuple(flows),
    )


def _gradient(search: Search, name: str, shape: Shape, node: Node | None, tensor: Tensor | None) -> Gradient:
    """Return what arrived at a variable, and why."""
    if node is None or node not in search.found:
        return Gradient(name, shape, "missing", None, tuple(search.why_missing(node, tensor)))
    array = on_host(search.found[node])
    state, causes = search.judge(node, array, None if tensor is None else on_host(tensor.value))
    return Gradient(name, shape, state, Values.of(array), tuple(causes))


def _said(result: Any) -> str:
    parts = [type(part).__name__ for part in result] if isinstance(result, tuple) else []
    return f"a tuple of {', '.join(parts)}; return the loss alone" if parts else type(result).__name__


def labels_of(names: Mapping[str, Tensor], of: Any = None) -> dict[Node, str]:
    """Return the names of the leaves in `of` if it is given, else of those in `names`."""
    names = names if of is None else _named(of, "of")
    return {v.node: name for name, v in names.items() if v.node is not None}


def _named(of: Any, name: str) -> dict[str, Tensor]:
    """Return the variables of a layer, a tensor, or a mapping or sequence of them, by name."""
    if isinstance(of, Layer):
        return {**of.parameters()}
    if isinstance(of, Tensor):
        return {name: of}
    if isinstance(of, Mapping):
        parts = list(of.items())
    elif isinstance(of, Sequence) and not isinstance(of, str):
        parts = [(f"{name}[{i}]", part) for i, part in enumerate(of)]
    else:
        raise DTypeError(f"explain_backward: expected layers or tensors in `{name}`, got {type(of).__name__}")
    found: dict[str, Tensor] = {}
    for key, part in parts:
        inner = _named(part, str(key))
        found |= {f"{key}.{path}": v for path, v in inner.items()} if isinstance(part, Layer) else inner
    return found


def referred(function: Any) -> dict[str, Tensor]:
    """Return the variables to which a function refers by name, or whose layer it names; data are left out."""
    things: Mapping[str, Any] = {}
    if isinstance(function, partial):
        with suppress(ValueError):  # a function that is not written in Python may have no signature
            things = inspect.signature(function.func).bind_partial(*function.args, **function.keywords).arguments
        function = function.func
    function = inspect.unwrap(function)
    if inspect.isfunction(function) or inspect.ismethod(function):
        used = inspect.getclosurevars(function)
        things = {**used.globals, **used.nonlocals, **things}
    layers = {name: thing for name, thing in things.items() if isinstance(thing, Layer)}
    tensors = {name: thing for name, thing in things.items() if isinstance(thing, Parameter) or _is_leaf(thing)}
    return _named(layers | tensors, "of")


def _is_leaf(thing: Any) -> bool:
    return isinstance(thing, Tensor) and thing.node is not None and thing.node.op is None
