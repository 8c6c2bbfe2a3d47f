"""Jacobians, Hessians and Hessian-vector products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_lab.autograd.forward import jvp
from tinygrad_lab.autograd.tape import Box, unbox
from tinygrad_lab.autograd.transforms import grad, vjp
from tinygrad_lab.autograd.trees import flatten, replaced
from tinygrad_lab.backend import namespace, zeros_like
from tinygrad_lab.errors import ShapeError


def jacobian(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return the Jacobian of f as a function of the same arguments.

    Each row is one vector-Jacobian product with a one-hot cotangent.

    Returns
    -------
    callable
        For one array and one argument it returns an array of shape (output..., input...). For trees it returns a tree
        like the result, in which each array is replaced by a tree like the argument.

    Raises
    ------
    ShapeError
        f returns something other than arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_lab import sin
    >>> jacobian(sin)(np.zeros(2))
    array([[1., 0.],
           [0., 1.]])
    """

    def differentiated(*args: Any) -> Any:
        numbers = (argnums,) if isinstance(argnums, int) else argnums
        chosen = [args[i] for i in numbers]
        y, pull = vjp(lambda *xs: f(*replaced(args, numbers, xs)), *chosen)
        outputs, rebuild = flatten(y)
        if wrong := [out for out in outputs if not hasattr(out, "shape")]:
            raise ShapeError(f"jacobian: expected a function that returns arrays, got {type(wrong[0]).__name__}")
        argument = chosen[0] if isinstance(argnums, int) else tuple(chosen)
        return rebuild(
            [_rows(k, [unbox(out) for out in outputs], rebuild, pull, argument) for k in range(len(outputs))]
        )

    return differentiated


def _rows(k: int, outputs: list[Any], rebuild: Callable[..., Any], pull: Callable[..., Any], argument: Any) -> Any:
    """Return the Jacobian of the k-th output, a tree like the argument, from one pullback per element of the output."""
    out, rows = outputs[k], []
    for one_hot in namespace(out).eye(out.size, dtype=out.dtype):
        cotangents = [one_hot.reshape(out.shape) if i == k else zeros_like(o) for i, o in enumerate(outputs)]
        rows.append(flatten(pull(rebuild(cotangents)))[0])
    leaves, rebuild_argument = flatten(argument)
    jacobians = []
    for i, leaf in enumerate(leaves):
        shape = (*out.shape, *getattr(leaf, "shape", ()))
        some = _stacked([row[i] for row in rows]) if rows else namespace(out).zeros(shape, out.dtype)
        jacobians.append(some.reshape(shape))
    return rebuild_argument(jacobians)


def _stacked(rows: list[Any]) -> Any:
    """Stack arrays with their own library, and tensors with the operation to which NumPy's `stack` dispatches."""
    tracked = any(isinstance(row, Box) for row in rows)
    return (namespace() if tracked else namespace(*rows)).stack(rows)


def hessian(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return the Hessian of a scalar function as a function of the same arguments.

    For one array it is an array of shape (input..., input...). For a tree it is a tree like the argument, in which each
    array is replaced by a tree like the argument again.
    """
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Callable[..., Any], xs: Any, us: Any) -> Any:
    """Return the Hessian of a scalar function times u: the directional derivative of its gradient along u."""
    numbers = tuple(range(len(xs))) if isinstance(xs, (tuple, list)) else 0
    return jvp(grad(f, numbers), xs, us)[1]
