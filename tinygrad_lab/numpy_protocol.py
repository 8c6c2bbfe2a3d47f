"""NumPy functions applied to tensors: ``np.sum(t, axis=0)``, ``np.concatenate([t, u])``.

Each call runs the operation of the same name, which the tape records. A function without an operation raises an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lab.autograd.tape import Box, unbox
from tinygrad_lab.backend import NAMESPACES, beside, carries_gradient
from tinygrad_lab.errors import DTypeError, LabError
from tinygrad_lab.ops import arithmetic, diagonals, indexing, linalg, linear, reductions, shaping

Function = Callable[..., Any]

QUERIES: tuple[Function, ...] = (  # functions without a derivative, which get the raw arrays
    np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.common_type, np.iscomplexobj, np.isrealobj,
    np.zeros_like, np.ones_like, np.full_like, np.empty_like, np.isnan, np.isinf, np.isfinite, np.signbit,
    np.allclose, np.isclose, np.array_equal, np.count_nonzero, np.nonzero, np.argwhere,
)  # fmt: skip
NAMESAKES = {
    reductions: "sum mean var std prod max min all any argmax argmin cumsum cumprod diff sort argsort median",
    shaping: (
        "ravel expand_dims squeeze moveaxis swapaxes flip roll pad tile broadcast_to atleast_1d atleast_2d atleast_3d "
        "concatenate stack vstack hstack dstack column_stack split"
    ),
    diagonals: "diag diagonal trace tril triu",
    linear: "dot inner outer kron tensordot einsum",
    arithmetic: "clip where",
    indexing: "take take_along_axis repeat",
}
LINALG = "inv solve det slogdet cholesky eigh eigvalsh svd svdvals qr norm matrix_power"
OPERATIONS: dict[Function, Function] = {
    **{getattr(np, name): getattr(ours, name) for ours, names in NAMESAKES.items() for name in names.split()},
    **{getattr(np.linalg, name): getattr(linalg, name) for name in LINALG.split()},
    np.amax: reductions.max,
    np.amin: reductions.min,
    np.reshape: lambda a, shape: a.reshape(shape),
    np.transpose: lambda a, axes=None: a.transpose() if axes is None else a.transpose(tuple(axes)),
}
WRITTEN_IN_C: dict[Function, Function] = {  # functions whose signatures are not available in every NumPy
    np.concatenate: lambda arrays, axis=0, out=None, *, dtype=None, casting="same_kind": None,
    np.where: lambda condition, x, y: None,
    np.dot: lambda a, b, out=None: None,
    np.inner: lambda a, b, /: None,
}
ARRAYS = {
    *("a", "b", "x", "y", "m", "v", "A", "ary", "arr", "array", "arrays", "arys", "tup"),
    *("condition", "indices", "operands"),
}
ARRAYS_BY_NAME = {"a_min", "a_max", "min", "max", "prepend", "append"}  # the operations convert these themselves
RENAMED = {
    "indices_or_sections": "sections",
    "pad_width": "widths",
    "reps": "repeats",
    "a_min": "low",
    "min": "low",
    "a_max": "high",
    "max": "high",
}
INTEGERS = {"condition", "indices"}  # arguments whose integers are not converted to floats
CHANGES_NOTHING = {"optimize"}  # options that are ignored; this one changes only the order of products


def apply(function: Function, types: Sequence[type], inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Apply a NumPy function to tensors, or return NotImplemented if another array type should handle it.

    Raises
    ------
    DTypeError
        There is no such operation, or it does not take the given arguments.
    """
    if not all(issubclass(kind, Box) or kind in NAMESPACES for kind in types):
        return NotImplemented
    if function in QUERIES:
        return answer(function, inputs, options)
    path = f"{function.__module__}.{function.__name__}".removeprefix("numpy.")
    if function not in OPERATIONS:
        homes = (reductions, shaping, indexing, diagonals, linear)
        raise DTypeError.foreign(path, [name for module in homes for name in vars(module)])
    operation, who = OPERATIONS[function], f"np.{path}"
    try:
        arrays, named = _arguments(function, inputs, options)
        known = inspect.signature(operation).parameters
        if unknown := [name for name in named if name not in known]:
            raise DTypeError(f"{who}: expected no {unknown[0]} for a Tensor, got {named[unknown[0]]!r}; leave it out")
        return operation(*arrays, **named)
    except LabError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise DTypeError(f"{who}: expected arguments that the operation on tensors accepts, got: {error}") from error


def answer(function: Function, inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Return the result of one of `QUERIES` on the raw arrays."""
    return function(*map(unbox, inputs), **{name: unbox(value) for name, value in options.items()})


def _arguments(
    function: Function, inputs: Sequence[Any], options: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return a call's arrays and, under the operation's names, the options that differ from NumPy's defaults."""
    signature = inspect.signature(WRITTEN_IN_C.get(function, function))
    given = signature.bind(*inputs, **options).arguments
    given |= given.pop("kwargs", {})
    usual = {name: parameter.default for name, parameter in signature.parameters.items()}
    boxes = [unbox(entry) for value in given.values() for entry in _entries(value) if isinstance(entry, Box)]
    like = next(filter(carries_gradient, boxes), None)
    whole: list[Any] = []
    for name in [n for n in given if n in ARRAYS]:
        value = given.pop(name)
        beside_it = None if name in INTEGERS else like
        parts = [_array(part, beside_it) for part in value] if _holds_boxes(value) else None
        if parts is not None and signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            whole += parts
        else:
            whole.append(_array(value, beside_it) if parts is None else parts)
    named = {
        RENAMED.get(name, name): value if name in ARRAYS_BY_NAME else _plain(value)
        for name, value in given.items()
        if name not in CHANGES_NOTHING and not (value is usual.get(name) or _equal(value, usual.get(name)))
    }
    return whole, named


def _entries(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _holds_boxes(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(entry, Box) for entry in value)


def _array(value: Any, like: Any) -> Any:
    """Convert a list, a number or an array to an array that matches `like`; return a tensor or a string unchanged."""
    return value if isinstance(value, (Box, str)) else beside(value, like)


def _plain(value: Any) -> Any:
    """Convert NumPy numbers in options, such as an axis, to Python's."""
    return unbox(value).tolist() if isinstance(value, (Box, np.ndarray)) else value


def _equal(value: Any, usual: Any) -> bool:
    return isinstance(value, (str, bool, int)) and type(value) is type(usual) and value == usual
