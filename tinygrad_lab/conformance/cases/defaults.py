"""Default cases of a layer without registered ones, derived from the annotations of its constructor.

The strategy draws small numbers for ``int``, both values of ``bool``, the members of a ``Literal``, the default of
every other argument, and input shapes that the layer's `output_shape` accepts. Such cases have no reference and no
laws.
"""

from __future__ import annotations

import inspect
import types
import typing
from typing import Any, Literal, Union

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from tinygrad_lab.conformance.cases.case import Case, Input, LayerCases
from tinygrad_lab.conformance.cases.nested import construct
from tinygrad_lab.errors import ConfigError

UNDRAWN = {"self", "rng", "init"}
# The input shapes to try. In place of 0, the kit tries each small number among the constructor's arguments, and 3.
SHAPES = ((2, 0), (3, 0), (2, 2, 0), (2, 5, 6, 0), (1, 4), (2, 3, 4), (2, 4, 4, 3))


def annotation_strategy(annotation: Any, default: Any) -> st.SearchStrategy[Any] | None:
    """Return a strategy for an annotation, or None for an unknown one."""
    known = inspect.Parameter.empty
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        small = st.integers(1, 4)
        return small if default is known or default is None else st.one_of(st.just(default), small)
    if origin is Literal:
        return st.sampled_from(members)
    if origin in (Union, types.UnionType) and type(None) in members:
        inner = [s for m in members if m is not type(None) and (s := annotation_strategy(m, known)) is not None]
        return st.one_of(st.none(), *inner)
    if origin in (Union, types.UnionType):
        inner = [s for m in members if (s := annotation_strategy(m, known)) is not None]
        return st.one_of(*inner) if inner else None
    if annotation is float and isinstance(default, float):
        return st.sampled_from((default, 0.5 * default + 0.1))
    return None


def arguments_strategy(cls: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for a constructor's keyword arguments.

    Raises
    ------
    ConfigError
        An argument has neither a default nor an annotation that the kit can draw from.
    """
    try:
        hints = typing.get_type_hints(cls.__init__)
    except Exception:
        hints = {}
    drawn = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if name in UNDRAWN or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        strategy = annotation_strategy(hints.get(name), parameter.default)
        if strategy is None and parameter.default is parameter.empty:
            raise ConfigError(
                f"{cls.__name__}: expected cases, or an annotation of {name!r} to draw from (int, bool, a Literal), "
                f"got {hints.get(name)!r}; register cases under tinygrad_lab.cases"
            )
        if strategy is not None:
            drawn[name] = strategy
    return st.fixed_dictionaries(drawn)


def accepted_shapes(cls: Any, options: dict[str, Any]) -> list[tuple[int, ...]]:
    """Return the input shapes that a layer with these options accepts, according to its `output_shape`."""
    try:
        layer = construct(cls, (), options, np.random.default_rng(0))
    except Exception:
        return []
    lengths = dict.fromkeys([*(v for v in options.values() if type(v) is int and 0 < v < 9), 3])
    found = []
    for pattern in SHAPES:
        for length in lengths:
            shape = tuple(n or length for n in pattern)
            try:
                layer.output_shape(shape)
            except Exception:
                continue
            found.append(shape)
    return list(dict.fromkeys(found))


def default_cases(cls: Any) -> LayerCases:
    """Return cases for a layer without registered ones."""
    arguments = arguments_strategy(cls)

    @st.composite
    def draw_case(draw: Any) -> Case:
        options = draw(arguments)
        shapes = accepted_shapes(cls, options)
        assume(shapes)
        return Case(options=options, inputs=(Input(draw(st.sampled_from(shapes))),))

    return LayerCases(draw_case())
