"""Base class of layers: `Layer`, a function with parameters.

A layer finds its parameters, buffers and inner layers in its attributes, in the order in which they were set. A
parameter's *path* is the chain of attribute names that leads to it, such as ``features.0.weight``.

In training, random numbers and buffer updates belong to a *step*: one call of the outermost layer. Random numbers are
keyed by (seed, step, path, number of the draw), so recomputing a forward draws the same ones, and resuming needs
only the seed and the step. Updates are proposed during the call and committed once, at its end.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tinygrad_lab.arguments import Checked, as_call, constructor
from tinygrad_lab.autograd.effects import once
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import FLOATS, Array, is_array, namespace, transfer
from tinygrad_lab.errors import CallError, ConfigError, DTypeError, LabError, OptionError, ShapeError, StateError
from tinygrad_lab.foreign_names import LAYER, missing
from tinygrad_lab.nn.misuse import brief, demand_floats, explained
from tinygrad_lab.nn.parts import PART
from tinygrad_lab.nn.randomness import KEY_PLACES, Random, draw_key
from tinygrad_lab.nn.variables import Buffer, Parameter, Variable
from tinygrad_lab.tables import html_table


class Call:
    """One call of an outermost layer: its step, its counts of random draws, and its proposed updates."""

    def __init__(self, root: Layer, step: int) -> None:
        self.root, self.step = root, step
        self.paths: dict[int, str] | None = None
        self.draws: Counter[str] = Counter()
        self.updates: dict[int, tuple[Buffer, Array]] = {}

    def path(self, layer: Layer) -> str:
        """Return the path of a layer below the root."""
        if self.paths is None:
            self.paths = {id(inner): path for path, inner in reversed(list(self.root.layers().items()))}
        return self.paths.get(id(layer), type(layer).__name__)

    def key(self, layer: Layer) -> Any:
        """Return the 64-bit key of a layer's next draw: an integer or, if `KEY_PLACES` is set, an array of one key."""
        path = self.path(layer)
        number = once(lambda: self._count(path))
        place = KEY_PLACES.get()
        return place(path, number) if place else draw_key(self.root.seed, self.step, path, number)

    def _count(self, path: str) -> int:
        self.draws[path] += 1
        return self.draws[path]

    def commit(self) -> None:
        """Assign the proposed values to the buffers; for a part of a batch, only note them in its `updates`."""
        if (part := PART.get()) is not None:
            part.updates.update(self.updates)
            return
        for buffer, value in self.updates.values():
            buffer.assign(value)


_CALL: ContextVar[Call | None] = ContextVar("tinygrad_lab.call", default=None)


class Layer(metaclass=Checked):
    """Base class of all layers.

    A subclass sets its parameters, buffers and inner layers in its constructor and defines `forward` and
    `output_shape`. The constructor's arguments are the layer's configuration: plain values, layers, and lists or dicts
    of layers.

    Attributes
    ----------
    api : int
        The plugin interface that the layer was written for.
    version : int
        The version of the layer's configuration. When the constructor's arguments change, increase it and define
        ``upgrade(config, old)``.
    training : bool
        The mode, set by `train` and `eval`.
    seed : int
        Seed for training-time randomness. Only the outermost layer's seed is used.
    integers : bool
        Whether inputs may be integers or booleans, as in layers that only move or choose elements. Layers that compute
        set it to False, for two reasons: NumPy would convert integers to floats whose width depends on the integers'
        width (bytes become float16), and networks learn from brightness from 0 to 1, not from the bytes of an image.
    frozen : bool
        Whether statistics stay fixed in training too; set by `freeze` and `unfreeze`.
    """

    api: ClassVar[int] = 1
    version: ClassVar[int] = 1
    integers: ClassVar[bool] = True
    training: bool
    seed: int
    frozen: bool

    def __new__(cls, /, *args: Any, **options: Any) -> Self:
        """Record the constructor's arguments as the configuration."""
        layer = super().__new__(cls)
        layer._arguments = constructor(cls.__init__).bind_partial(*args).arguments | options
        layer._clock = [0]  # steps so far; a list, so that copies of the layer share it
        layer.training, layer.seed, layer.frozen = True, 0, False
        return layer

    _arguments: dict[str, Any]
    _clock: list[int]

    def __init__(self) -> None:
        """Take no arguments. A subclass with a configuration defines its own constructor."""

    def forward(self, *inputs: Any) -> Any:
        """Compute the result. Call the layer itself instead of this method."""
        raise NotImplementedError(f"{type(self).__name__}: expected a subclass that defines forward")

    def output_shape(self, *shapes: Any) -> Any:
        """Return the result's shape for inputs of the given shapes (batch axis included), without running."""
        raise NotImplementedError(f"{type(self).__name__}: expected a subclass that defines output_shape")

    def multiply_adds(self, *shapes: Any) -> int:
        """Return the number of multiply-adds of one call; layers with matrix products or convolutions override it."""
        return 0

    def __call__(self, *inputs: Any) -> Any:
        """Apply the layer. In training mode, the outermost call is a training step."""
        call = _CALL.get()
        if call is not None:
            return self._run(call, inputs)
        call = Call(self, once(self._tick) if self.training else self.steps)
        token = _CALL.set(call)
        try:
            out = self._run(call, inputs)
        finally:
            _CALL.reset(token)
        once(call.commit)
        return out

    def _run(self, call: Call, inputs: tuple[Any, ...]) -> Any:
        try:
            if not self.integers:
                demand_floats(self, inputs)
            out = self.forward(*inputs)
            if out is None and all(x is not None for x in inputs):
                raise CallError(f"{brief(self)}: expected forward to return a result, got None; is its return missing?")
            return out
        except Exception as error:
            if getattr(error, "__notes__", None):  # only the innermost layer adds its note
                raise
            explanation = explained(self, error, inputs)
            if isinstance(explanation, LabError):
                explanation.add_note(f"in layer {call.path(self) or 'itself'!r}: {brief(self)}")
            if explanation is error:
                raise
            raise explanation from error

    def _tick(self) -> int:
        self._clock[0] += 1
        return self._clock[0]

    @property
    def steps(self) -> int:
        """Number of training steps that the layer has taken as the outermost one."""
        return self._clock[0]

    @steps.setter
    def steps(self, number: int) -> None:
        self._clock[0] = number

    def random(self, like: Any) -> Random:
        """Return this layer's next random draw of the step, on the device and in the dtype of `like`."""
        return Random(self._current_call("random").key(self), like)

    def update(self, **buffers: Any) -> None:
        """Propose new values of buffers. The last proposal is committed at the end of the step."""
        call = self._current_call("update")
        for name, value in buffers.items():
            buffer = getattr(self, name, None)
            if not isinstance(buffer, Buffer):
                kind = "" if buffer is None else f", which is of type {type(buffer).__name__}; make it a tgl.Buffer"
                raise OptionError(f"{brief(self)}: expected update to get names of buffers, got {name!r}{kind}")
            call.updates[id(buffer)] = (buffer, unbox(value))

    def _current_call(self, who: str) -> Call:
        call = _CALL.get()
        if call is None:
            raise OptionError(
                f"{brief(self)}: expected the method {who} to run during a call of the layer, got no such call; call "
                "the layer, not its forward"
            )
        return call

    def children(self) -> dict[str, Layer]:
        """Return the inner layers by attribute name; those in lists, tuples and dicts by ``attribute.key``."""
        found: dict[str, Layer] = {}
        for name, value in vars(self).items():
            if name != "_arguments":
                found.update((path, v) for path, v in _members(name, value) if isinstance(v, Layer))
        return found

    def layers(self, prefix: str = "") -> dict[str, Layer]:
        """Return this layer and all inner layers by path; its own path is empty."""
        found = {prefix: self}
        for name, child in self.children().items():
            found.update(child.layers(f"{prefix}.{name}" if prefix else name))
        return found

    def variables(self) -> dict[str, Variable]:
        """Return all parameters and buffers by path; a shared one appears once."""
        found: dict[str, Variable] = {}
        seen: set[int] = set()
        for path, layer in self.layers().items():
            for name, value in vars(layer).items():
                for key, v in _members(name, value) if name != "_arguments" else ():
                    if isinstance(v, Variable) and id(v) not in seen:
                        seen.add(id(v))
                        found[f"{path}.{key}" if path else key] = v
        return found

    def parameters(self) -> dict[str, Parameter]:
        """Return all parameters by path, in the order of declaration."""
        return {path: v for path, v in self.variables().items() if isinstance(v, Parameter)}

    def buffers(self) -> dict[str, Buffer]:
        """Return all buffers by path."""
        return {path: v for path, v in self.variables().items() if isinstance(v, Buffer)}

    def state(self) -> dict[str, Array]:
        """Return the arrays of all parameters and buffers by path. Later training does not change these arrays."""
        return {path: v.value for path, v in self.variables().items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Load the values of all parameters and buffers from a `state`; on an error none is changed.

        Raises
        ------
        StateError
            A path is missing or unknown, or a shape differs.
        """
        own = self.variables()
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise StateError(
                f"{type(self).__name__}: expected the paths of its variables, missing {missing}, unknown {unknown}"
            )
        for path, variable in own.items():
            if not is_array(unbox(state[path])):
                got = type(state[path]).__name__
                raise StateError(f"{type(self).__name__}: expected {path} to be an array, got {got}")
            shape = unbox(state[path]).shape
            if shape != variable.shape:
                raise StateError(f"{type(self).__name__}: expected {path} of shape {variable.shape}, got {shape}")
        given = {
            path: namespace(unbox(state[path])).array(unbox(state[path]), dtype=v.dtype) for path, v in own.items()
        }
        for path, variable in own.items():
            variable.assign(transfer(given[path], variable.device))

    def _map_variables(self, f: Callable[[Array], Array]) -> Self:
        for variable in self.variables().values():
            variable.assign(f(variable.value))
        return self

    def to(self, device: str) -> Self:
        """Move all parameters and buffers to a device and return the layer."""
        return self._map_variables(lambda array: transfer(array, device))

    def astype(self, dtype: Any) -> Self:
        """Convert all floating-point parameters and buffers to another width and return the layer.

        Raises
        ------
        DTypeError
            The dtype is not a float dtype.
        """
        wanted = namespace().dtype(dtype)
        if wanted.type not in FLOATS or wanted.kind == "c":
            raise DTypeError(f"{type(self).__name__}.astype: expected a float dtype such as 'float64', got {dtype!r}")
        return self._map_variables(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a)

    def train(self, mode: bool = True) -> Self:
        """Set this layer and all inner layers to training mode (or `mode`) and return this layer."""
        for layer in self.layers().values():
            layer.training = mode
        return self

    def eval(self) -> Self:
        """Set this layer and all inner layers to evaluation mode and return this layer."""
        return self.train(False)

    def freeze(self, frozen: bool = True) -> Self:
        """Freeze this layer and all inner layers, so that training leaves them unchanged, and return it.

        Parameters become constants, and layers with running statistics keep using the current ones.
        """
        for layer in self.layers().values():
            layer.frozen = frozen
        for parameter in self.parameters().values():
            if frozen:
                parameter.freeze()
            else:
                parameter.unfreeze()
        return self

    def unfreeze(self) -> Self:
        """Undo `freeze` and return the layer."""
        return self.freeze(False)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments with defaults, without the random generator."""
        signature = inspect.signature(type(self).__init__)
        defaults = {n: p.default for n, p in signature.parameters.items() if p.default is not p.empty}
        return {name: v for name, v in (defaults | self._arguments).items() if name != "rng"}

    @classmethod
    def upgrade(cls, config: dict[str, Any], old: int) -> dict[str, Any]:
        """Convert a configuration of an older version to the current one."""
        raise ConfigError(
            f"{cls.__name__}: expected a configuration of version {cls.version}, got {old}; no upgrade is known; "
            f"override {cls.__name__}.upgrade, or build the layer anew and load its weights"
        )

    def __repr__(self) -> str:
        """Return the constructor call, without the random generator and keyword arguments at their defaults."""
        return as_call(type(self).__name__, type(self).__init__, self.config())

    def _repr_html_(self) -> str:
        rows = []
        for path, layer in self.layers().items():
            inner = bool(layer.children())
            sizes = [v.size for v in layer.variables().values()]
            name = type(layer).__name__ if inner else repr(layer)
            rows.append((path or "itself", name, f"{sum(sizes):,}", "frozen" if layer.frozen else ""))
        head = ("path", "layer", "variables, inner ones included", "")
        return html_table(head, rows, numbers=(2,))

    if not TYPE_CHECKING:  # otherwise type checkers would accept any name

        def __getattr__(self, name):
            raise missing(f"'{type(self).__name__}' object", name, LAYER)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _METHODS:
            raise OptionError(
                f"{type(self).__name__}.{name}: expected a name that is no method of Layer; rename the attribute, such "
                "as self.blocks"
            )
        old = self.__dict__.get(name)
        if isinstance(old, Variable):
            if not isinstance(value, Variable):
                raise OptionError(
                    f"{type(self).__name__}.{name}: expected a {type(old).__name__}, got {type(value).__name__}; "
                    f"use {name}.assign(array) to change its value, or self.update({name}=...) in forward"
                )
            if value.shape != old.shape:
                raise ShapeError(
                    f"{brief(self)}: expected {name} of shape {old.shape}, got {value.shape}; "
                    "the layer's options determine its shapes, so make a new layer with other options"
                )
        super().__setattr__(name, value)


# Names that other methods of Layer call, so that an attribute of that name would break them.
_METHODS = {"buffers", "children", "config", "eval", "layers", "load_state", "parameters", "random", "state", "to"}
_METHODS |= {"train", "update", "variables"}


def _members(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield an attribute, or its entries if it is a list, tuple or dict."""
    if isinstance(value, dict):
        entries: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, (list, tuple)):
        entries = enumerate(value)
    else:
        yield name, value
        return
    for key, entry in entries:
        yield from _members(f"{name}.{key}", entry)
