"""Whole Jacobians and Hessians, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_lab.autograd.tape import raw
from tinygrad_lab.autograd.transforms import grad, vjp
from tinygrad_lab.backend import namespace
from tinygrad_lab.errors import ShapeError
from tinygrad_lab.ops.shaping import reshape, stack
from tinygrad_lab.trees import flatten


def jacobian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """Return the Jacobian of f as a function of the same arguments.

    Each row is one vector-Jacobian product with a one-hot cotangent.

    Returns
    -------
    callable
        To an array of shape (output..., input...) for each leaf of the argument.

    Raises
    ------
    ShapeError
        f does not return one array.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_lab import sin
    >>> jacobian(sin)(np.zeros(2))
    array([[1., 0.],
           [0., 1.]])
    """

    def differentiated(*args: Any) -> Any:
        y, pull = vjp(lambda x: f(*args[:argnums], x, *args[argnums + 1 :]), args[argnums])
        out = raw(y)
        if not hasattr(out, "shape"):
            raise ShapeError(f"jacobian: expected a function to one array, got {type(y).__name__}")
        xp = namespace(out)
        one_hot = xp.eye(out.size, dtype=out.dtype)
        rows = [flatten(pull(v.reshape(out.shape)))[0] for v in one_hot]
        leaves, rebuild = flatten(args[argnums])
        jacobians = []
        for k, leaf in enumerate(leaves):
            shape = tuple(out.shape) + tuple(getattr(raw(leaf), "shape", ()))
            columns = [row[k] for row in rows]
            jacobians.append(reshape(stack(columns), shape=shape) if rows else xp.zeros(shape, out.dtype))
        return rebuild(jacobians)

    return differentiated


def hessian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """Return the Hessian of a scalar function of one array, of shape (input..., input...)."""
    return jacobian(grad(f, argnums), argnums)
