"""Layers, optimizers and cases whose methods run in an answer's process."""

from __future__ import annotations

import builtins
import inspect
import types
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab import errors
from tinygrad_lab.autograd.tape import Box, unbox
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import BadInput, Case, Input, LayerCases
from tinygrad_lab.conformance.properties.laws import LAWS
from tinygrad_lab.learn.answer import WrongAnswer
from tinygrad_lab.learn.apart.programs import Program, Remote
from tinygrad_lab.learn.apart.wire import Malformed

MOST_ELEMENTS = 10_000  # elements of an input of a learner's cases
MOST_PARAMETERS = 100


class ForeignLayer(tgl.Layer):
    """Layer of an answer, whose parameters are in the grader and whose methods run in the answer's process."""

    answer: Any
    number: int
    paths: tuple[str, ...]  # the parameters' paths in the order of the learner's layer

    def forward(self, *inputs: Any) -> Any:
        """Return the result for the current values of the parameters."""
        call = self._current_call("forward")
        spec = {
            "layer": self.number,
            "training": self.training,
            "seed": call.root.seed,
            "step": call.step,
            "boxed": [isinstance(x, Box) for x in inputs],
        }
        parameters = (reduce(getattr, path.split("."), self) for path in self.paths)
        return Program(self.answer, spec)(*inputs, *parameters)

    def output_shape(self, *shapes: Any) -> Any:
        """Return the result of the learner's method."""
        return self.answer.ask("shape", {"layer": self.number, "shapes": shapes})


def layer_class(answer: Remote, name: str, parameters: Any) -> type[ForeignLayer]:
    """Return a class whose instances represent those of a learner's layer.

    Parameters
    ----------
    answer : Remote
        The answer that defines the layer.
    name : str
        Its name.
    parameters : list
        The constructor's parameters: name, kind, whether there is a default, the default.
    """
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    signature = inspect.Signature([own, *constructor_parameters(parameters)])

    def __init__(self: ForeignLayer, *arguments: Any, **options: Any) -> None:
        made = answer.ask("layer", {"name": name, "arguments": arguments, "options": options})
        if not isinstance(made, dict) or type(made.get("layer")) is not int:
            raise Malformed("expected a layer")
        self.number = made["layer"]
        self.paths = place_parameters(self, made.get("parameters"))

    __init__.__signature__ = signature  # type: ignore[attr-defined]  # the learner's
    made: type[ForeignLayer] = types.new_class(name, (ForeignLayer,))
    made.__init__ = __init__  # type: ignore[assignment]  # with the learner's signature
    made.__module__, made.answer = __name__, answer
    return made


def constructor_parameters(plain: Any) -> list[inspect.Parameter]:
    """Return a constructor's parameters from plain values.

    Raises
    ------
    Malformed
        The values are not valid.
    """
    found = []
    try:
        for name, kind, has_default, default in plain[:MOST_PARAMETERS]:
            value = default if has_default else inspect.Parameter.empty
            found.append(inspect.Parameter(name, list(inspect._ParameterKind)[kind], default=value))
        inspect.Signature(found)
    except (TypeError, ValueError, IndexError) as error:
        raise Malformed("expected a constructor's parameters") from error
    return found


def place_parameters(layer: tgl.Layer, plain: Any) -> tuple[str, ...]:
    """Set a layer's parameters as attributes of the layer or of empty layers inside it; return the parameters' paths.

    Raises
    ------
    Malformed
        The values are not paths and arrays.
    """
    if not isinstance(plain, list) or len(plain) > MOST_PARAMETERS:
        raise Malformed("expected a layer's parameters")
    for entry in plain:
        path, value = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        if not isinstance(path, str) or not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            raise Malformed("expected a parameter's path and values")
        *outer, last = path.split(".")
        if any(hasattr(tgl.Layer, name) or not name or name.startswith("_") for name in (*outer, last)):
            raise Malformed("expected parameters that hide no method")
        place = layer
        for name in outer:
            if name not in vars(place):
                setattr(place, name, tgl.Layer())
            place = vars(place)[name]
        setattr(place, last, tgl.Parameter(value))
    return tuple(path for path, _ in plain)


def optimizer_class(answer: Remote, name: str) -> type:
    """Return a class whose instances represent those of a learner's optimizer."""
    return type(name, (ForeignOptimizer,), {"answer": answer, "__module__": __name__})


class ForeignOptimizer:
    """Optimizer of an answer. Its parameters and states are in the grader, and follow those in the answer's process.

    Parameters
    ----------
    parameters : mapping of path to parameter
        The parameters.
    **options
        The constructor's options.
    """

    answer: Any

    def __init__(self, parameters: Mapping[str, tgl.Parameter], **options: Any) -> None:
        self.parameters = dict(parameters)
        self.states: dict[int, dict[str, Array]] = {}
        values = {path: p.value for path, p in self.parameters.items()}
        given = {"name": type(self).__name__, "parameters": values, "options": options}
        self.number = self.answer.ask("optimizer", given)

    def step(self) -> None:
        """Take a step in the answer's process, and apply its changes of parameters and states here."""
        cells = self.parameters.items()
        given = {
            "optimizer": self.number,
            "values": {path: p.value for path, p in cells},
            "gradients": {path: None if p.node is None else unbox(p.node.grad) for path, p in cells},
            "frozen": [path for path, p in cells if p.node is None],
        }
        found = self.answer.ask("step", given)
        try:
            for path, value, shared, gradient_left in found["parameters"]:
                self._update(self.parameters[path], value, shared, gradient_left)
            for number, key, value in found["states"]:
                self.states.get(number, {})[key][...] = value
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Malformed("expected the new values of the parameters") from error

    def _update(self, p: tgl.Parameter, value: Array, shared: bool, gradient_left: bool) -> None:
        if value.tobytes() == p.value.tobytes() and shared:
            return
        if shared:
            p.value[...] = value
        elif gradient_left:
            p.value = value
        else:
            p.assign(value)

    def state(self) -> Any:
        """Return the state."""
        found = self.answer.ask("state", {"optimizer": self.number})
        if not isinstance(found, dict) or not isinstance(found.get("state"), dict):
            raise Malformed("expected a state")
        arrays = {key: value for key, value in found["state"].items() if isinstance(value, np.ndarray)}
        for value in arrays.values():
            value.flags.writeable = True
        self.states[found.get("number", -1)] = arrays
        return found["state"]

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self.answer.ask("load_state", {"optimizer": self.number, "state": dict(state)})


def cases_from(answer: Remote, name: str) -> LayerCases:
    """Return a learner's cases: those that its strategy drew, and its reference, which runs in the answer's process.

    Raises
    ------
    Malformed
        The values are not those of cases.
    """
    found = answer.ask("cases", {"name": name})
    try:
        drawn = sorted((case_from(plain) for plain in found["drawn"]), key=size)
        unknown = [law for law in found["laws"] if law not in LAWS]
        bad = [bad_input_from(plain) for plain in found["bad_inputs"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed("expected cases of plain values") from error
    if unknown:
        raise WrongAnswer(f"{name}: expected laws of the kit by their names, got {', '.join(map(str, unknown))}")

    def reference(layer: ForeignLayer, *inputs: Any) -> Any:
        def call(*xs: Any) -> Any:
            return unbox(layer(*xs))

        given = {"name": name, "layer": layer.number, "state": layer.state(), "inputs": inputs, "call": call}
        return answer.ask("reference", given)

    return LayerCases(
        st.sampled_from(drawn) if drawn else st.nothing(),
        reference=reference if found.get("reference") is True else None,
        complex_safe=found.get("complex_safe") is True,
        laws=found["laws"],
        bad_inputs=bad,
    )


def case_from(plain: dict[str, Any]) -> Case:
    """Return a case from plain values."""
    inputs = tuple(input_from(given) for given in plain["inputs"])
    return Case(tuple(plain["args"]), dict(plain["options"]), inputs, training=plain["training"])


def input_from(plain: dict[str, Any]) -> Input:
    """Return an input from plain values.

    Raises
    ------
    WrongAnswer
        The input is larger than an exercise needs.
    """
    shape = tuple(int(n) for n in plain["shape"])
    if min(shape, default=0) < 0 or int(np.prod(shape, dtype=object)) > MOST_ELEMENTS:
        raise WrongAnswer(f"your cases draw an input of shape {shape}: expected at most {MOST_ELEMENTS} elements")
    return Input(**{**plain, "shape": shape, "values": tuple(plain["values"])})


def bad_input_from(plain: dict[str, Any]) -> BadInput:
    """Return a forbidden use from plain values."""
    name = str(plain["error"])
    error = getattr(errors, name, None) or getattr(builtins, name, None)
    if not (isinstance(error, type) and issubclass(error, Exception)):
        error = errors.LabError
    return BadInput(**{**plain, "error": error})


def size(case: Case) -> tuple[int, str]:
    """Return the sort key of cases by size."""
    return sum(int(np.prod(given.shape)) for given in case.inputs), repr(case)
