"""Objects of an answer in its process: layers, functions, optimizers and cases that the grader uses.

A function of tensors is a *program*: a name, or a layer with its mode and step. The derivative of a program is a
program, so that the grader's tape can ask for derivatives of any order.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.autograd.tape import Box, unbox
from tinygrad_lab.autograd.trees import flatten
from tinygrad_lab.backend import carries_gradient
from tinygrad_lab.learn.answer import Answer, WrongAnswer
from tinygrad_lab.tensor import Tensor

DRAWS = 40  # cases that are drawn from a learner's strategy

Program = Callable[..., list[Any]]


class Objects:
    """Objects that the grader has requested, by number.

    Parameters
    ----------
    answer : Answer
        The learner's answer.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.held: list[Any] = []
        self.states: list[tuple[dict[str, Any], dict[str, bytes]]] = []  # the states sent, and their last bytes
        self.actions = {
            "cases": self.cases,
            "evaluate": self.evaluate,
            "layer": self.layer,
            "load_state": self.load_state,
            "optimizer": self.optimizer,
            "reference": self.reference,
            "shape": self.shape,
            "state": self.state,
            "step": self.step,
        }

    def is_boxed(self, value: Any) -> bool:
        """Return whether a value is a tensor."""
        return isinstance(value, Box)

    def unbox(self, value: Any) -> Any:
        """Return a tensor's array."""
        return unbox(value)

    def hold(self, thing: Any) -> int:
        """Keep an object and return its number."""
        self.held.append(thing)
        return len(self.held) - 1

    def describe(self, value: Any) -> dict[str, Any]:
        """Return the facts that the grader needs about a class or another value."""
        if not isinstance(value, type):
            return {"kind": "cases" if hasattr(value, "strategy") else "value"}
        signature = inspect.signature(value)
        parameters = [(p.name, int(p.kind), p.default is not p.empty, p.default) for p in signature.parameters.values()]
        plain = [(*head, None if default is inspect.Parameter.empty else default) for *head, default in parameters]
        return {"kind": "layer" if issubclass(value, tgl.Layer) else "class", "parameters": plain}

    # ------------------------------------------------------------------------------------------- layers and functions

    def layer(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
        """Make a layer; return its number and its parameters."""
        layer = self.answer.named(name)(*arguments, **options)
        if layer.buffers():
            raise WrongAnswer(f"expected a layer without buffers, got {', '.join(layer.buffers())}")
        cells = layer.parameters()
        return {"layer": self.hold((layer, cells)), "parameters": [[path, p.value] for path, p in cells.items()]}

    def shape(self, layer: int, shapes: tuple[Any, ...]) -> Any:
        """Return the result of a layer's `output_shape`."""
        return self.held[layer][0].output_shape(*shapes)

    def evaluate(self, program: dict[str, Any], arrays: tuple[Any, ...]) -> list[Any]:
        """Return a program's results."""
        return [unbox(y) for y in self.program(program)(*arrays)]

    def program(self, spec: dict[str, Any]) -> Program:
        """Return a program as a function from arrays or tensors to a list of them."""
        if "derivative" in spec:
            return derivative(self.program(spec["derivative"]), spec["count"], spec["wanted"])
        if "layer" in spec:
            return lambda *arguments: self.run_layer(spec, arguments)
        function = self.answer.named(spec["function"])
        return lambda *xs: leaves(spec["function"], function(*boxed(spec, xs), **spec["options"]))

    def run_layer(self, spec: dict[str, Any], arguments: Sequence[Any]) -> list[Any]:
        """Return a layer's results for its inputs and then its parameters, in a mode, at a step."""
        layer, named = self.held[spec["layer"]]
        count, cells = len(spec["boxed"]), list(named.values())
        if layer.training is not spec["training"]:
            layer.train(spec["training"])
        layer.seed, layer.steps = spec["seed"], spec["step"] - spec["training"]  # a call in training adds one
        kept = [(cell.value, cell.node) for cell in cells]
        try:
            for cell, value in zip(cells, arguments[count:], strict=True):
                cell.value, cell.node = (value.value, value.node) if isinstance(value, Box) else (value, None)
            return leaves(type(layer).__name__, layer(*boxed(spec, arguments[:count])))
        finally:
            for cell, (value, node) in zip(cells, kept, strict=True):
                cell.value, cell.node = value, node

    # ---------------------------------------------------------------------------------------------------- optimizers

    def optimizer(self, name: str, parameters: dict[str, Any], options: dict[str, Any]) -> int:
        """Make an optimizer of parameters with these values."""
        cells = {path: tgl.Parameter(value) for path, value in parameters.items()}
        return self.hold((self.answer.named(name)(cells, **options), cells))

    def step(self, optimizer: int, values: dict[str, Any], gradients: dict[str, Any], frozen: list[str]) -> Any:
        """Take a step from these values; return the new parameters, and changes of states that were sent."""
        made, cells = self.held[optimizer]
        for path, cell in cells.items():
            if cell.value.tobytes() != values[path].tobytes():
                cell.assign(values[path])
            if path in frozen:
                cell.freeze()
            elif gradients[path] is not None:
                cell.node.grad = gradients[path]
        before = {path: cell.value for path, cell in cells.items()}
        made.step()
        found = []
        for path, cell in cells.items():
            shared = bool(np.shares_memory(cell.value, before[path]))
            found.append([path, cell.value, shared, cell.node is not None and cell.node.grad is not None])
        return {"parameters": found, "states": self.changed_states()}

    def changed_states(self) -> list[list[Any]]:
        """Return the changed arrays of states that were sent: the state, the entry and its value."""
        changed = []
        for number, (state, sent) in enumerate(self.states):
            for key, old in sent.items():
                if state[key].tobytes() != old:
                    sent[key] = state[key].tobytes()
                    changed.append([number, key, state[key]])
        return changed

    def state(self, optimizer: int) -> dict[str, Any]:
        """Return an optimizer's state and its number."""
        state = dict(self.held[optimizer][0].state())
        arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
        self.states.append((arrays, {key: value.tobytes() for key, value in arrays.items()}))
        return {"number": len(self.states) - 1, "state": state}

    def load_state(self, optimizer: int, state: dict[str, Any]) -> None:
        """Give an optimizer a state."""
        self.held[optimizer][0].load_state(state)

    # --------------------------------------------------------------------------------------------------------- cases

    def cases(self, name: str) -> dict[str, Any]:
        """Return a learner's cases as plain values: drawn cases, laws, and forbidden uses."""
        from tinygrad_lab.conformance.trials.search import Profile, explore

        cases = self.answer.named(name)
        drawn = explore(cases.strategy, Profile(examples=DRAWS), lambda case: None).structures
        bad = [as_table(b) | {"error": b.error.__name__, "inputs": list(b.inputs)} for b in cases.bad_inputs]
        return {
            "drawn": [as_table(case) | {"inputs": [as_table(i) for i in case.inputs]} for case in drawn],
            "laws": [law if isinstance(law, str) else law.name for law in cases.laws],
            "bad_inputs": bad,
            "complex_safe": bool(cases.complex_safe),
            "reference": cases.reference is not None,
        }

    def reference(self, name: str, layer: int, state: dict[str, Any], inputs: tuple[Any, ...], call: Any) -> Any:
        """Return the result of the reference in a learner's cases; a layer that it calls runs in the grader."""
        stand_in = copy.copy(self.held[layer][0])
        stand_in.__class__ = types.new_class(type(stand_in).__name__, (type(stand_in),))
        type(stand_in).forward = lambda self, *xs: tgl.tensor(call(*map(unbox, xs)))
        for path, cell in stand_in.parameters().items():
            cell.assign(state[path])
        return self.answer.named(name).reference(stand_in, *inputs)


def derivative(program: Program, count: int, wanted: Sequence[int]) -> Program:
    """Return a program's vector-Jacobian product, which maps its arguments and cotangents to the wanted gradients."""

    def pulled(*arguments: Any) -> list[Any]:
        xs, cotangents = arguments[:count], arguments[count:]

        def at(*chosen: Any) -> list[Any]:
            given = list(xs)
            for k, x in zip(wanted, chosen, strict=True):
                given[k] = x
            return [y for y in program(*given) if carries_gradient(unbox(y))]

        return list(tgl.vjp(at, *(xs[k] for k in wanted))[1](list(cotangents)))

    return pulled


def boxed(spec: dict[str, Any], xs: Sequence[Any]) -> list[Any]:
    """Return inputs as tensors if they are tensors in the grader."""
    pairs = zip(xs, spec["boxed"], strict=True)
    return [Tensor(x) if is_tensor and isinstance(x, np.ndarray) else x for x, is_tensor in pairs]


def leaves(name: str, result: Any) -> list[Any]:
    """Return the arrays or tensors of a result.

    Raises
    ------
    WrongAnswer
        The result contains something else.
    """
    found = flatten(result)[0]
    for part in found:
        if part is None:
            raise WrongAnswer(f"{name} returned None: is a return missing?")
        if not isinstance(unbox(part), (np.ndarray, np.generic)):
            raise WrongAnswer(f"{name}: expected arrays or tensors as results, got {type(part).__name__}")
    return list(found)


def as_table(thing: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, one level deep."""
    return {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing)}
