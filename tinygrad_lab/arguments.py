"""Checks of call arguments against signatures; errors name the argument.

An ``int`` is accepted for a ``float``, NumPy's numbers for Python's, and a list or an array for a tuple; a ``bool`` is
not accepted for a number. A default is always accepted. An annotation of a kind that `fits` does not know accepts
everything.
"""

from __future__ import annotations

import inspect
import textwrap
from abc import ABCMeta
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial, wraps
from numbers import Integral, Real
from operator import is_
from types import MappingProxyType, NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from tinygrad_lab.errors import CallError, OptionError, StateError

Found = TypeVar("Found")

_BOOLEANS = (bool, np.bool_)
_CLASSES: dict[Any, Any] = {
    bool: _BOOLEANS,
    int: Integral,
    float: Real,
    str: str,
    NoneType: NoneType,
    dict: Mapping,
}


def fits(value: Any, annotation: Any) -> bool:
    """Return whether a value fits an annotation.

    Examples
    --------
    >>> fits(3, float), fits(True, int), fits([2, 2], tuple[int, int] | int), fits("zero", Literal["edge"])
    (True, False, True, False)
    """
    kind, members = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, UnionType):
        return any(fits(value, member) for member in members)
    if kind is Literal:
        return any(_is(to_python(value), member) for member in members)
    if kind in (tuple, list, Sequence):
        several = value.ndim > 0 if isinstance(value, np.ndarray) else isinstance(value, Sequence)
        return several and not isinstance(value, (str, bytes)) and _fit(value, annotation)
    if not isinstance(kind, type) or kind not in _CLASSES:
        return True
    return isinstance(value, _CLASSES[kind]) and (kind is bool or not isinstance(value, _BOOLEANS))


def _fit(values: Any, annotation: Any) -> bool:
    """Return whether the entries of a sequence or array fit its annotation."""
    members = get_args(annotation)
    if get_origin(annotation) is tuple and Ellipsis not in members:
        return len(values) == len(members) and all(map(fits, values, members))
    return all(fits(value, member) for member in members[:1] for value in values)


def _is(value: Any, member: Any) -> bool:
    """Return whether a value is the given member of a `Literal`, or equals it and has its type; ``True`` is not 1."""
    alike = isinstance(value, type(member)) and isinstance(value, bool) is isinstance(member, bool)
    return value is member or (alike and bool(value == member))


def to_python(value: Any) -> Any:
    """Convert NumPy's numbers to Python's, also in tuples and lists; NumPy's would widen float32 arrays to float64."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) not in (tuple, list):
        return value
    entries = list(map(to_python, value))
    return value if all(map(is_, entries, value)) else type(value)(entries)


def check_types(who: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Check arguments against the annotations of a function or class.

    Raises
    ------
    OptionError
        An argument does not fit its annotation.
    """
    while isinstance(function, partial):
        function = function.func
    kinds, defaults = _declared(function.__init__ if isinstance(function, type) else function)  # type: ignore[misc]  # of a class
    for name, value in arguments.items():
        if name in kinds and not fits(value, kinds[name]) and not _is_default(value, defaults[name]):
            got = f"{value!r:.60} ({type(value).__name__})"
            raise OptionError(f"{who}: expected {name} {_in_words(kinds[name])}, got {got}")


def expect(who: str, name: str, value: Any, kind: Any, what: str) -> None:
    """Check that an argument is an instance of a class, or of one of several.

    Raises
    ------
    OptionError
        The argument is no such instance.
    """
    if not isinstance(value, kind):
        text = f"shape {value.shape}" if isinstance(value, np.ndarray) else f"{value!r:.60}"
        got = f"the class {value.__name__}" if isinstance(value, type) else f"{text} ({type(value).__name__})"
        raise OptionError(f"{who}: expected {name} to be {what}, got {got}")


def check_state(
    who: str, state: Any, kinds: Mapping[str, Any], optional: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Check saved values: none may be missing or unknown, and each must fit its annotation.

    Parameters
    ----------
    who : str
        The subject of the message.
    state : mapping
        The saved values, perhaps from an untrusted file.
    kinds : mapping
        The annotation of each required name; see `fits`.
    optional : mapping
        The annotation of each optional name.

    Raises
    ------
    StateError
        A value is missing, unknown, or does not fit its annotation.

    Examples
    --------
    >>> check_state("Clock", {"hour": 3}, {"hour": int}, {"zone": str})
    >>> check_state("Clock", {"hour": "3"}, {"hour": int})
    Traceback (most recent call last):
    tinygrad_lab.errors.StateError: Clock: expected hour of type int, got '3' (str)
    """
    if not isinstance(state, Mapping):
        raise StateError(f"{who}: expected a state, a dict with the keys {sorted(kinds)}, got {type(state).__name__}")
    missing, unknown = sorted(kinds.keys() - state.keys()), state.keys() - kinds.keys() - optional.keys()
    if missing or unknown:
        raise StateError(
            f"{who}: expected a state with the keys {sorted(kinds)}; missing {missing}, unknown "
            f"{sorted(map(str, unknown))}"
        )
    for name, kind in {**kinds, **optional}.items():
        if name in state and not fits(state[name], kind):
            got = f"{state[name]!r:.60} ({type(state[name]).__name__})"
            raise StateError(f"{who}: expected {name} {_in_words(kind)}, got {got}")


def _is_default(value: Any, default: Any) -> bool:
    """Return whether a value is the default, or equals it and has its type."""
    if value is default or type(value) is not type(default):
        return value is default
    try:
        return bool(value == default)
    except ValueError:  # arrays, whose comparison has many results
        return False


def _in_words(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return f"to be one of {list(get_args(annotation))}"
    return f"of type {inspect.formatannotation(annotation).replace('collections.abc.', '')}"


class Checked(ABCMeta):
    """Metaclass that checks constructor calls against the signature and its annotations.

    It extends ABCMeta, so abstract classes can use it.
    """

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's signature; without this, `inspect` would show that of `__call__` below."""
        return constructor(cls.__init__)  # type: ignore[misc]  # of the class, not of an instance

    def __call__(cls, /, *args: Any, **options: Any) -> Any:
        """Make an instance, with NumPy's numbers converted to Python's (see `to_python`).

        Raises
        ------
        CallError
            An argument is missing or unknown, or there are too many.
        OptionError
            An argument does not fit its annotation.
        """
        args, options = tuple(map(to_python, args)), {name: to_python(value) for name, value in options.items()}
        try:
            bound = cls.__signature__.bind(*args, **options)
        except TypeError as error:
            raise CallError.misfit(cls.__name__, cls.__signature__, args, options, error) from None
        check_types(cls.__name__, cls, bound.arguments)
        return super().__call__(*args, **options)


def _remembered(work: Callable[[Any], Found]) -> Callable[[Any], Found]:
    """Cache a function's results, except for arguments that cannot be hashed."""
    cached = lru_cache(maxsize=1024)(work)

    @wraps(work)
    def find(function: Any) -> Found:
        try:
            return cached(function)
        except TypeError:
            return work(function)

    return find


def as_call(name: str, init: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """Return a constructor call as text: positional arguments first, then options that differ from their defaults.

    An ``in_*`` and ``out_*`` pair is shown with an arrow: ``Dense(784 -> 10)``.
    """
    parameters, rest = constructor(init).parameters, dict(given)
    shown: list[str] = []
    for parameter in parameters.values():
        if parameter.name not in rest or parameter.kind is parameter.KEYWORD_ONLY:
            break
        several = parameter.kind is parameter.VAR_POSITIONAL
        shown += [repr(value) for value in (rest[parameter.name] if several else [rest[parameter.name]])]
        del rest[parameter.name]
    first, second = [*parameters, "", ""][:2]
    if first.startswith("in_") and second == first.replace("in_", "out_", 1) and len(shown) > 1:
        shown[:2] = [f"{shown[0]} -> {shown[1]}"]
    usual = {key: repr(p.default) for key, p in parameters.items() if p.default is not p.empty}
    named = {key: repr(rest[key]) for key in [*parameters, *rest] if key in rest}  # in the signature's order
    shown += [f"{key}={text}" for key, text in named.items() if text != usual.get(key)]
    return listing(f"{name}(", shown, ")")


def listing(opening: str, items: Sequence[str], closing: str, *, width: int = 100) -> str:
    """Return items between brackets, each on its own line if several do not fit on one line."""
    line = f"{opening}{', '.join(items)}{closing}"
    if len(items) == 1 or (len(line) <= width and "\n" not in line):
        return line
    lines = textwrap.indent(",\n".join(items), "    ")
    return f"{opening}\n{lines},\n{closing}"


@_remembered
def constructor(init: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a constructor, without ``self``."""
    signature = inspect.signature(init)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


@_remembered
def _declared(function: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the annotations of a function's arguments, as far as they can be evaluated, and the defaults."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a function that is not written in Python
        return {}, {}
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = getattr(inspect.unwrap(function), "__globals__", {})
    kinds: dict[str, Any] = {}
    for p in parameters:
        if p.annotation is not p.empty and p.kind not in several:
            try:
                kinds |= get_type_hints(SimpleNamespace(__annotations__={p.name: p.annotation}), names)
            except Exception:  # a plugin's annotation may raise anything
                continue
    return kinds, {p.name: p.default for p in parameters}
