"""Arguments held against a signature: what does not fit is told at once, and by name.

Annotations mean what Python's programmers mean by them: an ``int`` does for a ``float``, NumPy's numbers are numbers, a
list does for a tuple, and a ``bool`` is no number. Of an annotation that says something else, everything fits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from tinygrad_lab.errors import CallError, OptionError

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
    """Tell whether a value is what an annotation says.

    Examples
    --------
    >>> fits(3, float), fits(True, int), fits([2, 2], tuple[int, int] | int), fits("zero", Literal["edge"])
    (True, False, True, False)
    """
    kind, members = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, UnionType):
        return any(fits(value, member) for member in members)
    if kind is Literal:
        return value in members
    if kind in (tuple, list, Sequence):
        return isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and _fit(value, kind, members)
    if not isinstance(kind, type) or kind not in _CLASSES:
        return True
    return isinstance(value, _CLASSES[kind]) and (kind is bool or not isinstance(value, _BOOLEANS))


def _fit(values: Sequence[Any], kind: Any, members: tuple[Any, ...]) -> bool:
    """Tell whether the entries of a sequence are what its annotation says of them."""
    if kind is tuple and members and members[-1] is not Ellipsis:
        return len(values) == len(members) and all(map(fits, values, members))
    return all(fits(value, member) for member in members[:1] for value in values)


def check_types(who: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Refuse arguments, by name, that are not what the annotations of a function or class say.

    Raises
    ------
    OptionError
        One is of another type.
    """
    while isinstance(function, partial):
        function = function.func
    kinds = _kinds(function.__init__ if isinstance(function, type) else function)  # type: ignore[misc]  # of a class
    for name, value in arguments.items():
        if name in kinds and not fits(value, kinds[name]):
            got = f"{value!r:.60} ({type(value).__name__})"
            raise OptionError(f"{who}: expected {name} {_in_words(kinds[name])}, got {got}")


def _in_words(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return f"out of {list(get_args(annotation))}"
    return f"of type {inspect.formatannotation(annotation).replace('collections.abc.', '')}"


class Checked(type):
    """The class of classes whose constructors, called as they cannot be, say who they are, what they take and got."""

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's signature; `inspect` would show that of `__call__` below."""
        return constructor(cls.__init__)  # type: ignore[misc]  # of the class, not of an instance

    def __call__(cls, *args: Any, **options: Any) -> Any:
        """Make an instance.

        Raises
        ------
        CallError
            The arguments are too many, too few, or of other names.
        OptionError
            One is of another type.
        """
        try:
            bound = cls.__signature__.bind(*args, **options)
        except TypeError as error:
            raise CallError.misfit(cls.__name__, cls.__signature__, args, options, error) from None
        check_types(cls.__name__, cls, bound.arguments)
        return super().__call__(*args, **options)


@lru_cache(maxsize=1024)
def constructor(init: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a constructor, without ``self``."""
    signature = inspect.signature(init)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


@lru_cache(maxsize=1024)
def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function's arguments, evaluated; none where one cannot be."""
    try:
        hints, parameters = get_type_hints(function), inspect.signature(function).parameters.values()
    except Exception:  # whatever a stranger's annotation raises
        return {}
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {p.name: hints[p.name] for p in parameters if p.name in hints and p.kind not in several}
