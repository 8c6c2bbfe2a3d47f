"""Explanations of failed layer calls: errors that name the wrong input."""

from __future__ import annotations

import inspect
from typing import Any

from tinygrad_lab.backend import FLOATS, carries_gradient
from tinygrad_lab.errors import CallError, DTypeError, LabError
from tinygrad_lab.nn.variables import Variable


def brief(layer: Any) -> str:
    """Return a layer's name in errors: its constructor call, or its class if the call takes several lines."""
    text = repr(layer)
    return type(layer).__name__ if "\n" in text else text


def demand_floats(layer: Any, inputs: tuple[Any, ...]) -> None:
    """Raise if an input is not an array of floats."""
    for x in inputs:
        if not hasattr(x, "dtype"):
            raise DTypeError(f"{brief(layer)}: expected arrays or tensors, got {type(x).__name__}; use numpy.asarray?")
        if x.dtype.type not in FLOATS:
            how = "x.astype('float32')" + (" / 255, as a Loader does" if x.dtype == "uint8" else "")
            raise DTypeError(
                f"{brief(layer)}: expected floats, got {x.dtype} (x.shape == {x.shape}); convert with {how}"
            )


def explained(layer: Any, error: Exception, inputs: tuple[Any, ...]) -> Exception:
    """Return an error that names the wrong input if a wrong type caused the failure, else the error itself."""
    ours = isinstance(error, LabError)
    named = ours and str(error).startswith(type(layer).__name__)
    if named or not isinstance(error, (AttributeError, TypeError)):
        return error
    for x in inputs:
        if not _has_arrays(x) and _may_be_due_to(error, x):
            return DTypeError(f"{brief(layer)}: expected arrays or tensors, got {type(x).__name__}; use numpy.asarray?")
    if not ours:
        signature = inspect.signature(layer.forward)
        try:
            signature.bind(*inputs)
        except TypeError as misfit:
            return CallError.misfit(type(layer).__name__, signature, inputs, {}, misfit)
        return error
    own = {v.dtype for v in vars(layer).values() if isinstance(v, Variable) and v.dtype.kind == "f"}
    for x in inputs:
        if hasattr(x, "dtype") and x.dtype.kind in "fiub" and own and own != {x.dtype}:
            width = min(own, key=str)
            return DTypeError(
                f"{brief(layer)}: expected {width} like its parameters, got {x.dtype} (x.shape == {x.shape}); "
                f"convert with x.astype('{width}')"
                + (f", or the layer with .astype('{x.dtype}')" if x.dtype.kind == "f" else "")
            )
    plain = [name for name, value in vars(layer).items() if carries_gradient(value)]
    if plain and isinstance(error, DTypeError):
        cure = f"{plain[0]} is a plain array; make it a tgl.Parameter, which is learned and saved, or a tgl.Buffer"
        return DTypeError(f"{brief(layer)}: {error}; {cure}")
    return error


def _has_arrays(tree: Any) -> bool:
    """Return whether a tree is an array or contains only arrays."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        return all(map(_has_arrays, tree))
    return hasattr(tree, "dtype") and hasattr(tree, "shape")


def _may_be_due_to(error: Exception, tree: Any) -> bool:
    """Return whether `error` could have been raised by accessing an attribute of `tree` or of an element."""
    if not isinstance(error, AttributeError) or error.obj is tree:
        return True
    entries = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    return any(_may_be_due_to(error, entry) for entry in entries)
