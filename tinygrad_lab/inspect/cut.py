"""Networks cut after a layer: the layer's result, and the rest of the network as a function of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError, ShapeError, hint
from tinygrad_lab.nn.functional import with_variables
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.tensor import tensor
from tinygrad_lab.train.metrics import class_logits

Forward = Callable[..., Any]


def rewired(model: Layer, wrap: Callable[[str, Forward], Forward]) -> Layer:
    """Return a copy of a network in evaluation mode that shares its variables, but whose layers call other functions.

    Parameters
    ----------
    model : Layer
        The network, which is not changed.
    wrap : callable
        ``wrap(path, forward)`` returns the function that replaces the `forward` of the layer at a path. It is called
        once for each layer, with the first path of a layer that has several.
    """
    twin: Layer = with_variables(model, {}, {})
    paths = {id(layer): (path, layer) for path, layer in reversed(twin.layers().items())}
    for path, layer in paths.values():
        layer.training = False
        vars(layer)["forward"] = wrap(path, layer.forward)
    return twin


def watch(model: Layer, x: Any, see: Callable[[str, Any], None]) -> Any:
    """Run a network in evaluation mode, and return its result.

    Parameters
    ----------
    model : Layer
        The network, which is not changed.
    x : array or Tensor
        A batch.
    see : callable
        ``see(path, result)`` is called for every layer when it finishes. It is not called if the layer returns the very
        array that the previous layer returned, as containers do, and dropout in evaluation mode.
    """
    newest: Any = None

    def wrap(path: str, forward: Forward) -> Forward:
        def seen(*inputs: Any) -> Any:
            nonlocal newest
            out = forward(*inputs)
            if out is not newest:
                see(path, out)
            newest = out
            return out

        return seen

    with no_grad():
        return rewired(model, wrap)(tensor(x))


def is_map(shape: Any) -> bool:
    """Return whether a shape is that of maps of more than one pixel: (N, H, W, C)."""
    return len(shape) == 4 and shape[1] * shape[2] > 1


def last_maps(model: Layer, x: Any) -> str | None:
    """Return the path of the layer with the last maps of more than one pixel, or None if there are no maps.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_lab.registry import models
    >>> last_maps(models["gap7"](rng=0), np.ones((1, 32, 32, 3), "float32"))
    'conv3'
    """
    paths: list[str] = []

    def see(path: str, out: Any) -> None:
        if is_map(getattr(out, "shape", ())):
            paths.append(path)

    watch(model, x, see)
    return paths[-1] if paths else None


@dataclass(frozen=True, eq=False)
class Cut:
    """A network cut after a layer, for one batch. `cut` makes it.

    Parameters
    ----------
    model : Layer
        The network.
    x : array
        The batch.
    path : str
        The layer's path.
    finished : tuple of (str, Tensor)
        The paths and results of the layers that have finished when the layer at `path` finishes; that layer is the
        last. Of nested layers, only the outermost is included.
    """

    model: Layer
    x: Any
    path: str
    finished: tuple[tuple[str, Any], ...]

    @property
    def maps(self) -> Array:
        """The layer's result."""
        return unbox(self.finished[-1][1])

    def rest(self, maps: Any) -> Any:
        """Return the network's result if the layer's result were `maps`. The layers before it are not run again.

        Parameters
        ----------
        maps : array or Tensor
            An array in the shape of `maps`.
        """
        results = deque([*self.finished[:-1], (self.path, maps)])

        def wrap(path: str, forward: Forward) -> Forward:
            def replayed(*inputs: Any) -> Any:
                return results.popleft()[1] if results and results[0][0] == path else forward(*inputs)

            return replayed

        return rewired(self.model, wrap)(tensor(self.x))

    def scores(self, maps: Any) -> Any:
        """Return the logits (N, K) for other maps; see `class_logits`."""
        return class_logits(self.rest(maps))


def cut(model: Layer, x: Any, path: str | None = None) -> Cut:
    """Return a network cut after a layer with maps.

    Parameters
    ----------
    model : Layer
        The network, which is not changed.
    x : array or Tensor
        A batch.
    path : str, optional
        The layer's path; by default that of the layer with the last maps of more than one pixel. If a layer is called
        several times, the network is cut after the last call.

    Raises
    ------
    OptionError
        There is no such layer, the layer is not called, or the network has no maps.
    ShapeError
        The layer's result is not (N, H, W, C).
    """
    x, who = unbox(x), type(model).__name__
    path = last_maps(model, x[:1]) if path is None else path
    if path is None:
        raise OptionError(f"{who}: expected a layer with maps (N, H, W, C) of more than one pixel, got none")
    check_path(model, path)
    finished: list[tuple[str, Any]] = []
    at_cut: tuple[tuple[str, Any], ...] = ()

    def wrap(path_of: str, forward: Forward) -> Forward:
        def recorded(*inputs: Any) -> Any:
            nonlocal at_cut
            before = len(finished)
            out = forward(*inputs)
            finished[before:] = [(path_of, out)]  # in place of the layers inside it
            if path_of == path:
                at_cut = tuple(finished)
            return out

        return recorded

    with no_grad():
        rewired(model, wrap)(tensor(x))
    if not at_cut:
        raise OptionError(f"{who}: expected a layer that is called in evaluation mode, got {path!r}, which is not")
    found = Cut(model, x, path, at_cut)
    if len(shape := getattr(at_cut[-1][1], "shape", ())) != 4:
        raise ShapeError(f"{who}: expected maps (N, H, W, C) from layer {path!r}, got shape {shape}")
    return found


def check_path(model: Layer, path: str) -> None:
    """Check that a network has a layer of this path.

    Raises
    ------
    OptionError
        It has none.
    """
    if path not in (known := model.layers()):
        raise OptionError(f"{type(model).__name__}: expected the path of a layer, got {path!r}; {hint(path, known)}")
