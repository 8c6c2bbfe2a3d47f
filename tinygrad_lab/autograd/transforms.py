"""Transforms: functions that take a function and return its derivative.

Arguments may be trees: tuples, lists and dicts of arrays. From raw arrays a transform returns raw arrays. From boxed
values it returns boxed values, which are on the tape if its arguments were, so transforms nest to any order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.autograd.settings import SETTINGS, using
from tinygrad_lab.autograd.tape import Box, Node, backward_pass, clock, toposort, unbox
from tinygrad_lab.autograd.trees import flatten, leaves_like, map_tree, replaced
from tinygrad_lab.backend import as_floats, fresh, kept, namespace, zeros_like
from tinygrad_lab.errors import GradientError


@primitive
def identity(xp: Any, x: Any) -> Any:
    """Return x. A nested transform uses it to tie its variables to the outer tape."""
    return x


identity.defvjp(x=lambda g: g)


def variable(x: Any) -> Box:
    """Return x as a new variable, tied to the tape that x is on if there is one."""
    array = as_floats(unbox(x))
    if isinstance(x, Box) and x.node and SETTINGS.get().recording:
        return identity(x)  # type: ignore[no-any-return]  # primitives return Any
    return Box.boxes(array, Node(array))


def boxed(x: Any) -> Any:
    """Return x as a constant tensor unless it is boxed already."""
    return x if isinstance(x, Box) else Box.boxes(x)


class Pullback:
    """The map v -> J^T v of a function that was recorded once."""

    def __init__(self, f: Callable[..., Any], xs: tuple[Any, ...]) -> None:
        leaves, self.rebuild_xs = flatten(xs)
        variables: list[Any] = [variable(x) for x in leaves]
        with using(recording=True, transforming=True):
            self.ys, self.rebuild_y = flatten(f(*self.rebuild_xs(variables)))
        self.variables, self.xs = variables, [v.node for v in variables]
        oldest = min((n.order for n in self.xs), default=clock())
        inside = toposort([y.node for y in self.ys if isinstance(y, Box) and y.node], oldest)
        # tied: the result depends on something tracked on an outer tape, so its derivative does too
        self.tied = SETTINGS.get().recording and any(n and n.order < oldest for m in inside for n in (m, *m.inputs))
        self.box = boxed if self.tied or any(isinstance(x, Box) for x in leaves) else fresh

    def value(self) -> Any:
        """Return f(x...), on the outer tape if it depends on anything tracked there."""
        return self.rebuild_y([y if self.tied else self.box(unbox(y)) for y in self.ys])

    def __call__(self, cotangents: Any, keep: bool = True) -> Any:
        """Return the vector-Jacobian product: a tree like the arguments."""
        given = leaves_like(self.rebuild_y(self.ys), cotangents)
        record = self.tied or any(isinstance(v, Box) and v.node for v in given)
        roots: dict[Any, Any] = {}
        for y, v in zip(self.ys, given, strict=True):
            if isinstance(y, Box) and y.node:
                g = boxed(v) if record else unbox(v)
                roots[y.node] = roots[y.node] + g if y.node in roots else g
        found = backward_pass(roots, wanted=self.xs, keep=keep or record, record=record)
        gradients = [found[v.node] if v.node in found else zeros_like(v.value) for v in self.variables]
        return self.rebuild_xs([boxed(g) if record else self.box(g) for g in gradients])


def vjp(f: Callable[..., Any], *xs: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return f(x...) and the function v -> J^T v, which returns a tuple with one gradient for each argument.

    Parameters
    ----------
    f : callable
        A function of trees of arrays, to a tree of arrays.
    *xs : trees of arrays
        Where to evaluate it.

    Returns
    -------
    (y, pullback)
        ``pullback(v)`` takes a tree like y. It may be called any number of times.

    Examples
    --------
    >>> import numpy as np, tinygrad_lab as tgl
    >>> y, pullback = tgl.vjp(tgl.sin, np.array(0.0))
    >>> float(pullback(np.array(2.0))[0])
    2.0
    """
    pullback = Pullback(f, map_tree(kept, xs))  # copies: the caller may write into x before the pullback reads it
    return pullback.value(), pullback


def value_and_grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return a function that returns (f(x...), gradient of f with respect to the arguments at `argnums`).

    Raises
    ------
    GradientError
        f does not return one scalar.
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(f, updated=())
    def differentiated(*args: Any, **options: Any) -> tuple[Any, Any]:
        pullback = Pullback(lambda *xs: f(*replaced(args, numbers, xs), **options), tuple(args[i] for i in numbers))
        shapes = [y.value.shape if isinstance(y, Box) else type(y).__name__ for y in pullback.ys]
        if shapes != [()]:
            raise GradientError.not_scalar(shapes)
        y = unbox(pullback.ys[0])
        gradients = pullback(namespace(y).ones((), y.dtype), keep=False)
        return pullback.value(), gradients[0] if isinstance(argnums, int) else gradients

    return differentiated


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return the gradient of a scalar function, itself a function of the same arguments.

    Examples
    --------
    >>> import numpy as np, tinygrad_lab as tgl
    >>> cube = lambda x: x**3
    >>> float(tgl.grad(tgl.grad(cube))(np.array(2.0)))
    12.0
    """
    with_value = value_and_grad(f, argnums)
    return functools.wraps(f, updated=())(lambda *args, **options: with_value(*args, **options)[1])


def stop_gradient(x: Any) -> Any:
    """Return x as a constant."""
    if isinstance(x, Box) and x.node and (watcher := SETTINGS.get().watcher):
        watcher.left(x, "stop_gradient")
    return Box.boxes(x.value) if isinstance(x, Box) else x
