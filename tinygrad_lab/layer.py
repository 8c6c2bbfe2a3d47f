"""Layers: functions with parameters. Everything that a network is made of derives from `Layer`.

A layer finds its parameters, buffers and inner layers in its attributes, in the order in which they were set; a
parameter's *path* is the chain of attribute names that leads to it, such as ``features.0.weight``.

In training, random numbers and updates of buffers belong to a *step*: one call of the outermost layer. Numbers are
keyed by (seed, step, path, how many were drawn before), so that recomputing a forward draws the same, and resuming
needs two integers. Updates are proposed during the call and committed once, at its end.
"""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from hashlib import blake2b
from types import MethodType
from typing import Any, ClassVar, Self

from tinygrad_lab.arguments import Checked, as_call, constructor, listing
from tinygrad_lab.autograd.tape import leaf, raw
from tinygrad_lab.backend import Array, namespace, random_number, random_uniform, transfer
from tinygrad_lab.effects import once
from tinygrad_lab.errors import CallError, ConfigError, DTypeError, LabError, OptionError, ShapeError, StateError, hint
from tinygrad_lab.tensor import Tensor
from tinygrad_lab.trees import map_tree

Shape = tuple[int, ...]


class Variable(Tensor):
    """A named cell of a layer: a tensor whose value can be exchanged, always for a fresh array."""

    __slots__ = ("frozen_leaf",)  # keeps the hooks while there is no leaf
    tracked: ClassVar[bool]

    def __init__(self, array: Any) -> None:
        super().__init__(None)
        self.frozen_leaf: Any = None
        self.assign(array)

    def assign(self, array: Any) -> None:
        """Take a new array for a value. Holders of the old one keep it; a new leaf has no gradient yet."""
        value = raw(array)
        if self.value is not None and value.shape != self.value.shape:
            raise ShapeError(f"assign: expected shape {self.value.shape}, got {value.shape}")
        hooks = self.node.hooks if self.node else ()
        self.value, self.node = value, leaf(value) if self.tracked else None
        if self.node and hooks:
            self.node.hooks = hooks

    def freeze(self) -> None:
        """Make it a constant: it gets no gradient and optimizers leave it alone."""
        if self.node is not None:
            hooks, self.node = self.node.hooks, None
            self.frozen_leaf = leaf(self.value)
            self.frozen_leaf.hooks = hooks

    def unfreeze(self) -> None:
        """Undo `freeze`; hooks are kept."""
        if self.tracked and self.node is None:
            self.node = leaf(self.value)
            self.node.hooks = self.frozen_leaf.hooks if self.frozen_leaf else ()
            self.frozen_leaf = None


class Parameter(Variable):
    """A variable that is learned."""

    __slots__ = ()
    tracked = True

    def assign(self, array: Any) -> None:
        """Take a new array for a value, with a new leaf; a frozen parameter stays frozen."""
        frozen = self.value is not None and self.node is None
        super().assign(array)
        if frozen:
            self.node = None


class Buffer(Variable):
    """A variable that is not learned but belongs to the layer's state, such as a running mean."""

    __slots__ = ()
    tracked = False


class Random:
    """Random numbers of one draw of a layer, on the device and in the dtype of a given array."""

    def __init__(self, key: Any, like: Any) -> None:
        self.key, self.like = key, raw(like)

    def uniform(self, shape: Shape | None = None) -> Array:
        """Return numbers uniform in [0, 1); by default as many as the given array has."""
        shape = self.like.shape if shape is None else shape
        return random_uniform(namespace(self.like), self.key, shape, self.like.dtype)


def draw_base(seed: int, path: str, number: int) -> int:
    """Return what the keys of a layer's draw are made from: seed, path, and how many it drew before in a step."""
    return int.from_bytes(blake2b(f"{seed}/{path}/{number}".encode(), digest_size=8).digest(), "little")


def draw_key(seed: int, step: int, path: str, number: int) -> int:
    """Return the 64-bit key of a layer's draw in a step: a random number itself, which a device can work out too."""
    return random_number(draw_base(seed, path, number), step)


KEY_PLACES: ContextVar[Callable[[str, int], Array] | None] = ContextVar("tinygrad_lab.key_places", default=None)


class Call:
    """One call of an outermost layer: its place in the random sequence, and the updates proposed during it."""

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
        """Return the 64-bit key of a layer's next draw: an integer, or under `KEY_PLACES` the place where it lies."""
        path = self.path(layer)
        number = once(lambda: self._count(path))
        place = KEY_PLACES.get()
        return place(path, number) if place else draw_key(self.root.seed, self.step, path, number)

    def _count(self, path: str) -> int:
        self.draws[path] += 1
        return self.draws[path]

    def commit(self) -> None:
        """Give the buffers their proposed values."""
        for buffer, value in self.updates.values():
            buffer.assign(value)


_CALL: ContextVar[Call | None] = ContextVar("tinygrad_lab.call", default=None)


class Layer(metaclass=Checked):
    """The base class of all layers.

    A subclass sets its parameters, buffers and inner layers in its constructor and defines `forward` and
    `output_shape`. Its constructor's arguments are its configuration: plain values, layers, and lists or dicts of
    layers.

    Attributes
    ----------
    api : int
        The plugin interface that the layer was written for.
    version : int
        The version of its configuration; raise it, and define ``upgrade(config, old)``, when arguments change.
    training : bool
        The mode, set by `train` and `eval`.
    seed : int
        The seed of the random numbers of training; of the outermost layer it counts.
    integers : bool
        Whether inputs may be integers or booleans. Activations take floats alone: of integers NumPy would make floats
        of a width that depends on theirs (of bytes, 16 bits). So do convolutions and dense layers: bytes of pictures
        are not the brightness from 0 to 1 that a network learns from.
    frozen : bool
        Whether statistics are kept as they are in training too, set by `freeze` and `unfreeze`.
    """

    api: ClassVar[int] = 1
    version: ClassVar[int] = 1
    integers: ClassVar[bool] = True
    training: bool
    seed: int
    frozen: bool

    def __new__(cls, /, *args: Any, **options: Any) -> Self:
        """Remember the constructor's arguments, which are the configuration."""
        layer = super().__new__(cls)
        layer._arguments = constructor(cls.__init__).bind_partial(*args).arguments | options
        layer._clock = [0]  # steps so far, in a list so that copies of the layer share it
        layer.training, layer.seed, layer.frozen = True, 0, False
        return layer

    _arguments: dict[str, Any]
    _clock: list[int]

    def __init__(self) -> None:
        """Take no configuration; subclasses that have one define a constructor of their own."""

    def forward(self, *inputs: Any) -> Any:
        """Compute the result. Call the layer itself rather than this."""
        raise NotImplementedError(f"{type(self).__name__}: expected a subclass that defines forward")

    def output_shape(self, *shapes: Any) -> Any:
        """Return the result's shape for inputs of the given shapes (batch axis included), without running."""
        raise NotImplementedError(f"{type(self).__name__}: expected a subclass that defines output_shape")

    def multiply_adds(self, *shapes: Any) -> int:
        """Return how many multiplications with an addition one call takes; a layer of products says how many."""
        return 0

    def __call__(self, *inputs: Any) -> Any:
        """Apply the layer. The outermost call is a step of training, if the layer is in that mode."""
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
                self._demand_floats(inputs)
            return self.forward(*inputs)
        except Exception as error:
            if getattr(error, "__notes__", None):  # the innermost layer alone
                raise
            told = self._explained(error, inputs)
            if isinstance(told, LabError):
                told.add_note(f"in layer {call.path(self) or 'itself'!r}: {_brief(self)}")
            if told is error:
                raise
            raise told from error

    def _demand_floats(self, inputs: tuple[Any, ...]) -> None:
        for x in inputs:
            if not hasattr(x, "dtype"):
                raise DTypeError(
                    f"{_brief(self)}: expected arrays or tensors, got {type(x).__name__}; use numpy.asarray?"
                )
            if x.dtype.kind in "iub":
                how = "x.astype('float32')" + (" / 255, as a Loader does" if x.dtype == "uint8" else "")
                raise DTypeError(
                    f"{_brief(self)}: expected floats, got {x.dtype} (x.shape == {x.shape}); convert with {how}"
                )

    def _explained(self, error: Exception, inputs: tuple[Any, ...]) -> Exception:
        """Return an error that says what is wrong with the inputs where a type was, else the error itself."""
        ours = isinstance(error, LabError)
        named = ours and str(error).startswith(type(self).__name__)
        if named or not isinstance(error, (AttributeError, TypeError)):
            return error
        for x in inputs:
            if not _has_arrays(x) and _may_be_due_to(error, x):
                return DTypeError(
                    f"{_brief(self)}: expected arrays or tensors, got {type(x).__name__}; use numpy.asarray?"
                )
        if not ours:
            signature = inspect.signature(self.forward)
            try:
                signature.bind(*inputs)
            except TypeError as misfit:
                return CallError.misfit(type(self).__name__, signature, inputs, {}, misfit)
            return error
        own = {v.dtype for v in vars(self).values() if isinstance(v, Variable) and v.dtype.kind == "f"}
        for x in inputs:
            if hasattr(x, "dtype") and x.dtype.kind in "fiub" and own and own != {x.dtype}:
                width = min(own, key=str)
                return DTypeError(
                    f"{_brief(self)}: expected {width} like its parameters, got {x.dtype} (x.shape == {x.shape}); "
                    f"convert with x.astype('{width}')"
                    + (f", or the layer with .astype('{x.dtype}')" if x.dtype.kind == "f" else "")
                )
        return error

    def _tick(self) -> int:
        self._clock[0] += 1
        return self._clock[0]

    @property
    def steps(self) -> int:
        """How many steps of training the layer has taken as the outermost one."""
        return self._clock[0]

    @steps.setter
    def steps(self, number: int) -> None:
        self._clock[0] = number

    def random(self, like: Any) -> Random:
        """Return this step's next random numbers for this layer, on the device and in the dtype of an array."""
        return Random(self._current_call("random").key(self), like)

    def update(self, **buffers: Any) -> None:
        """Propose new values of buffers, to be committed at the end of the step; the last proposal counts."""
        call = self._current_call("update")
        for name, value in buffers.items():
            buffer = getattr(self, name, None)
            if not isinstance(buffer, Buffer):
                raise OptionError(f"{_brief(self)}: update expected the name of a buffer, got {name!r}")
            call.updates[id(buffer)] = (buffer, raw(value))

    def _current_call(self, who: str) -> Call:
        call = _CALL.get()
        if call is None:
            raise OptionError(f"{_brief(self)}: {who} expected to run inside a call; call the layer, not its forward")
        return call

    def children(self) -> dict[str, Layer]:
        """Return the inner layers by attribute; those in lists, tuples and dicts by ``attribute.key``."""
        found: dict[str, Layer] = {}
        for name, value in vars(self).items():
            if name != "_arguments":
                found.update((path, v) for path, v in _members(name, value) if isinstance(v, Layer))
        return found

    def layers(self, prefix: str = "") -> dict[str, Layer]:
        """Return this layer and all inside it by path; its own path is empty."""
        found = {prefix: self}
        for name, child in self.children().items():
            found.update(child.layers(f"{prefix}.{name}" if prefix else name))
        return found

    def variables(self) -> dict[str, Variable]:
        """Return all parameters and buffers by path; one that is shared appears once."""
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
        """Return the arrays of all parameters and buffers by path; they do not change under their holder."""
        return {path: v.value for path, v in self.variables().items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take the values of all parameters and buffers from a `state`; all or none.

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
            shape = raw(state[path]).shape
            if shape != variable.shape:
                raise StateError(f"{type(self).__name__}: expected {path} of shape {variable.shape}, got {shape}")
        given = {path: namespace(raw(state[path])).array(raw(state[path]), dtype=v.dtype) for path, v in own.items()}
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
        """Convert all floating parameters and buffers to another width and return the layer.

        Raises
        ------
        DTypeError
            The dtype is none of floats.
        """
        if namespace().dtype(dtype).kind != "f":
            raise DTypeError(f"{type(self).__name__}.astype: expected a float dtype such as 'float64', got {dtype!r}")
        return self._map_variables(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a)

    def train(self, mode: bool = True) -> Self:
        """Set this layer and all inside it to training mode and return it."""
        for layer in self.layers().values():
            layer.training = mode
        return self

    def eval(self) -> Self:
        """Set this layer and all inside it to evaluation mode and return it."""
        return self.train(False)

    def freeze(self, frozen: bool = True) -> Self:
        """Keep this layer and all inside it as they are, in training too, and return it.

        Parameters become constants, and layers that gather statistics use those that they have.
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
        """Return the constructor's arguments, defaults included; the random generator is left out."""
        signature = inspect.signature(type(self).__init__)
        defaults = {n: p.default for n, p in signature.parameters.items() if p.default is not p.empty}
        return {name: v for name, v in (defaults | self._arguments).items() if name != "rng"}

    @classmethod
    def upgrade(cls, config: dict[str, Any], old: int) -> dict[str, Any]:
        """Return a configuration of an older version in today's form."""
        raise ConfigError(
            f"{cls.__name__}: expected a configuration of version {cls.version}, got {old}; no upgrade is known"
        )

    def __repr__(self) -> str:
        """Return the call that makes such a layer, but for the random generator and what is the default by name."""
        return as_call(type(self).__name__, type(self).__init__, self.config())

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name)
        if isinstance(old, Variable) and not isinstance(value, Variable):
            raise OptionError(
                f"{type(self).__name__}.{name}: expected a {type(old).__name__}, got {type(value).__name__}; "
                f"use {name}.assign(array) to change its value"
            )
        super().__setattr__(name, value)


def _brief(layer: Layer) -> str:
    """Return what an error calls a layer: the call that makes it, or its class where that takes several lines."""
    text = repr(layer)
    return type(layer).__name__ if "\n" in text else text


def _has_arrays(tree: Any) -> bool:
    """Tell whether something is an array, or holds nothing but arrays."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        return all(map(_has_arrays, tree))
    return hasattr(tree, "dtype") and hasattr(tree, "shape")


def _may_be_due_to(error: Exception, tree: Any) -> bool:
    """Tell whether a value, or one in it, is the object without the attribute; other errors do not name theirs."""
    if not isinstance(error, AttributeError) or error.obj is tree:
        return True
    entries = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    return any(_may_be_due_to(error, entry) for entry in entries)


def _members(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield an attribute, or the entries of one that is a list, tuple or dict."""
    if isinstance(value, dict):
        entries: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, (list, tuple)):
        entries = enumerate(value)
    else:
        yield name, value
        return
    for key, entry in entries:
        yield from _members(f"{name}.{key}", entry)


def _expect_layer(who: str, layer: Any, key: Any) -> None:
    if isinstance(layer, type) and issubclass(layer, Layer):
        raise OptionError(
            f"{who}: expected layers, got the class {layer.__name__} at {key!r}; write {layer.__name__}(...)"
        )
    if not isinstance(layer, Layer):
        raise OptionError(f"{who}: expected layers, got {type(layer).__name__} at {key!r}")


class Sequential(Layer):
    r"""Layers one after another: :math:`y = f_n(\dots f_2(f_1(x)))`.

    Parameters
    ----------
    *layers : Layer, or one list or dict of layers
        In the order of application; a dict gives them names.

    Shapes
    ------
    x : as of the first layer; y : as of the last one

    References
    ----------
    None: a composition of functions.

    Examples
    --------
    >>> model = Sequential()
    >>> model.output_shape((2, 3))
    (2, 3)
    """

    def __init__(self, *layers: Any) -> None:
        given = layers[0] if len(layers) == 1 and isinstance(layers[0], (Mapping, list, tuple)) else layers
        named = given if isinstance(given, Mapping) else dict(enumerate(given))
        for key, layer in named.items():
            _expect_layer("Sequential", layer, key)
        self.inner = {str(key): layer for key, layer in named.items()}
        if len(self.inner) != len(named) or any("." in key for key in self.inner):
            raise OptionError(f"Sequential: expected different names without dots, got {list(named)}")

    def children(self) -> dict[str, Layer]:
        """Return the layers by name or number."""
        return dict(self.inner)

    def forward(self, *inputs: Any) -> Any:
        """Apply the layers in order; the first may take several inputs."""
        for layer in self.inner.values():
            inputs = (layer(*inputs),)
        return inputs[0]

    def output_shape(self, *shapes: Any) -> Any:
        """Return the shape after the last layer."""
        for name, layer in self.inner.items():
            try:
                shapes = (layer.output_shape(*shapes),)
            except LabError as error:
                error.add_note(f"in layer {name!r}: {_brief(layer)}, on a map of shape {shapes[0]}")
                raise
        return shapes[0]

    def multiply_adds(self, *shapes: Any) -> int:
        """Return the sum over the layers."""
        total = 0
        for layer in self.inner.values():
            total += layer.multiply_adds(*shapes)
            shapes = (layer.output_shape(*shapes),)
        return total

    def __getitem__(self, index: int | str | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(dict(list(self.inner.items())[index]))
        layers = self.children()  # a network of several heads has more than the sequence
        return layers[index if isinstance(index, str) else list(layers)[index]]

    def __setitem__(self, index: int | str, layer: Layer) -> None:
        """Replace a layer; what is new has a name that no layer has."""
        name = index if isinstance(index, str) else list(self.inner)[index]
        if name not in self.inner:
            raise OptionError(
                f"Sequential: expected the name of a layer to replace, got {name!r}; {hint(name, self.inner)}"
            )
        _expect_layer("Sequential", layer, name)
        self.inner[name] = layer

    def __getattr__(self, name: str) -> Layer:
        if name not in self.__dict__.get("inner", ()):
            raise AttributeError(f"{type(self).__name__} has no attribute and no layer {name!r}")
        layer: Layer = self.inner[name]
        return layer

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Layer) and (type(self) is Sequential or name in self.inner):  # not beside the layers
            self[name] = value
        else:
            super().__setattr__(name, value)

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.inner.values())

    def config(self) -> dict[str, Any]:
        """Return the layers by name."""
        return {"layers": dict(self.inner)}

    def __repr__(self) -> str:
        if list(self.inner) == list(map(str, range(len(self)))):
            return listing("Sequential(", list(map(repr, self)), ")")
        return listing("Sequential({", [f"{name!r}: {layer!r}" for name, layer in self.inner.items()], "})")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a Sequential of the layers in a configuration, by name or in a list."""
        layers = config.get("layers")
        if len(config) != 1 or not isinstance(layers, (Mapping, list)):
            raise ConfigError(f"Sequential: expected layers, a list or table of them, and nothing else, got {config}")
        return cls(layers) if isinstance(layers, Mapping) else cls(*layers)


def functional_call(layer: Layer, parameters: Mapping[str, Any], *inputs: Any) -> Any:
    """Return layer(inputs...) with other values for its parameters (and buffers), which stay as they are.

    Parameters
    ----------
    layer : Layer
        The function.
    parameters : mapping of path to Tensor or array
        As `Layer.parameters` returns them; those left out keep their values.
    *inputs : Tensors
        The layer's inputs.

    Raises
    ------
    StateError
        A path is unknown, or a shape differs.

    Notes
    -----
    The gradient of a loss by all parameters is one line:
    ``tgl.grad(lambda p: loss(tgl.functional_call(model, p, x), y))(model.state())``.
    """
    own = layer.variables()
    if unknown := sorted(parameters.keys() - own.keys()):
        raise StateError(f"functional_call: expected paths of {type(layer).__name__}, got {unknown}")
    for path, value in parameters.items():
        if raw(value).shape != own[path].shape:
            raise StateError(f"functional_call: expected {path} of shape {own[path].shape}, got {raw(value).shape}")
    replaced = {id(own[path]): _as_buffer(v) if isinstance(own[path], Buffer) else v for path, v in parameters.items()}
    return _with_variables(layer, replaced, {})(*inputs)


def _as_buffer(value: Any) -> Buffer:
    """Return a cell of its own for a buffer's other value, on the tape if that is, to take the updates of the call."""
    cell = Buffer(value)
    cell.node = value.node if isinstance(value, Tensor) else None
    return cell


def _with_variables(value: Any, replaced: dict[int, Any], copies: dict[int, Layer]) -> Any:
    """Return a value with the variables inside it exchanged; layers are copied, shared ones once."""
    if isinstance(value, Variable):
        return replaced.get(id(value), value)
    if isinstance(value, (dict, list, tuple)):
        return map_tree(lambda leaf: _with_variables(leaf, replaced, copies), value)
    if isinstance(value, MethodType):  # of a layer, perhaps
        return MethodType(value.__func__, _with_variables(value.__self__, replaced, copies))
    if not isinstance(value, Layer):
        return value
    if id(value) not in copies:
        copies[id(value)] = twin = copy.copy(value)
        for name, attribute in vars(value).items():
            if name not in ("_arguments", "_clock"):
                twin.__dict__[name] = _with_variables(attribute, replaced, copies)
    return copies[id(value)]
