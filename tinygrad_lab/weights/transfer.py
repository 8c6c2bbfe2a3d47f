"""Transfer learning: freeze layers and replace the head of a trained model.

Patterns are those of the optimizers' groups: ``*`` matches any text, including dots, ``?`` one character. A pattern
that matches a layer also matches everything inside it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from tinygrad_lab.errors import OptionError
from tinygrad_lab.nn.initializers import Rng, as_rng
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.registry import layers as registered
from tinygrad_lab.weights.importing import import_weights

__all__ = ["begin_with", "freeze", "replace_head", "unfreeze"]

_HEADS = {"dense": "out_features", "conv2d": "out_channels"}  # kinds of layers -> the option that sets their width


def freeze(model: Layer, *patterns: str, but: str | Iterable[str] = ()) -> list[str]:
    """Freeze parts of a model, so that training does not change them.

    Frozen parameters get no gradient and optimizers skip them. A layer whose path matches, or whose own parameters all
    match, is frozen as a whole: batch normalization then uses its running statistics and keeps them. (If only its
    parameters were frozen, the statistics would drift toward the new data, away from what the following layers were
    trained on.)

    Parameters
    ----------
    model : Layer
        The network.
    *patterns : str
        Patterns of paths of layers or parameters, such as ``"stage1"``, ``"conv*"`` or ``"*.bias"``.
    but : str or iterable of str
        Patterns of exceptions: ``freeze(model, "*", but="output")`` freezes all but the last layer.

    Returns
    -------
    list of str
        The paths of the matching parameters, which are now frozen.

    Raises
    ------
    OptionError
        A pattern matches nothing.

    Examples
    --------
    >>> from tinygrad_lab.registry import models
    >>> model = models["gap7"](rng=0)
    >>> freeze(model, "conv*", but="conv3")
    ['conv1.weight', 'conv1.bias', 'conv2.weight', 'conv2.bias']
    >>> unfreeze(model, "conv2")
    ['conv2.weight', 'conv2.bias']
    """
    return _set_frozen(model, patterns, but, True)


def unfreeze(model: Layer, *patterns: str, but: str | Iterable[str] = ()) -> list[str]:
    """Undo `freeze`, for everything or for matching paths."""
    return _set_frozen(model, patterns or ("*",), but, False)


def replace_head(model: Layer, classes: int, *, rng: Rng = None) -> Layer:
    """Replace the last layer of a network with a newly drawn one for another number of classes.

    Create the optimizer afterwards. An earlier one has the old layer's parameters, and its `step` raises an error.

    Parameters
    ----------
    model : Layer
        A network whose last layer with parameters is a dense layer or a convolution in a `Sequential`. For any other
        network, assign the attribute yourself: ``model.output = Dense(64, 2)``. Auxiliary classifiers get new last
        layers too.
    classes : int
        The new number of classes.
    rng : int or numpy.random.Generator
        Seed or generator for the new weights.

    Returns
    -------
    Layer
        The new last layer, with the dtype and the device of the old one.

    Raises
    ------
    OptionError
        The network or an auxiliary classifier has no such last layer; nothing was replaced.

    Examples
    --------
    >>> from tinygrad_lab.registry import models
    >>> model = models["resnet20"](rng=0)
    >>> replace_head(model, 2, rng=0)
    Dense(64 -> 2, init='glorot_uniform')
    >>> model.output_shape((1, 32, 32, 3))
    (1, 2)
    """
    places = list(_heads(model, model))
    generator = as_rng(rng)
    new = [_renewed(parent.inner[name], classes, generator) for parent, name in places]
    for (parent, name), head in zip(places, new, strict=True):
        for parameter in parent.inner[name].parameters().values():
            parameter.replaced = True
        parent.inner[name] = head
    return new[0]


def _heads(model: Layer, part: Layer) -> Iterator[tuple[Sequential, str]]:
    """Yield the place of the network's last layer with parameters, then of each auxiliary classifier's."""
    children = part.children()
    inner = part.inner if isinstance(part, Sequential) else children
    name = next((name for name in reversed(inner) if inner[name].parameters()), "")
    last = inner.get(name, part)
    if isinstance(part, Sequential) and type(last) in _widths():
        yield part, name
    elif name and not _own(last):
        yield from _heads(model, last)
    else:
        path = next(path for path, layer in model.layers().items() if layer is last)
        raise OptionError(
            f"replace_head({type(model).__name__}): expected the last layer with parameters to be a dense layer or a "
            f"convolution in a Sequential, got {last} at {path!r}; assign it yourself: model.name = Dense(...)"
        )
    for name, beside in children.items():
        if name not in inner:
            yield from _heads(model, beside)


def _widths() -> dict[type[Layer], str]:
    """Return the classes of layers that can be heads, each with the option that sets its width."""
    return {registered[kind]: option for kind, option in _HEADS.items()}


def _renewed(head: Layer, classes: int, rng: Rng) -> Layer:
    """Return a newly drawn layer of the same kind, dtype, device and mode, with another width."""
    make: Any = type(head)
    new: Layer = make(**head.config() | {_widths()[type(head)]: classes}, rng=rng)
    old = next(iter(head.parameters().values()))
    return new.astype(old.dtype).to(old.device).train(head.training)


def begin_with(
    model: Layer,
    *,
    weights: str | None = None,
    convention: str = "own",
    rules: Mapping[str, str | None] | None = None,
    flattened: Mapping[str, Sequence[int]] | None = None,
    fresh: Iterable[str] = (),
    freeze: Iterable[str] = (),
    but: Iterable[str] = (),
) -> None:
    """Apply the table ``transfer`` of a recipe: load weights, then freeze.

    Parameters
    ----------
    model : Layer
        The network.
    weights : str, optional
        The file of weights. The next four parameters are options of `import_weights`.
    convention, rules, flattened, fresh
        How arrays are renamed and reordered, and which variables keep their initial values.
    freeze, but : iterable of str
        The patterns of `freeze`.

    Raises
    ------
    StateError
        The weights do not fit; nothing was loaded.
    OptionError
        A pattern matches nothing, or options of the weights are set without weights.

    Examples
    --------
    >>> from tinygrad_lab.registry import models
    >>> model = models["gap7"](rng=0)
    >>> begin_with(model, freeze=["*"], but=["output"])
    >>> [path for path, parameter in model.parameters().items() if parameter.node]
    ['output.weight', 'output.bias']
    """
    if weights is not None:
        import_weights(model, weights, convention=convention, rules=rules, flattened=flattened, fresh=fresh)
    elif rules or flattened or fresh or convention != "own":
        raise OptionError("transfer: expected the option weights, to whose file the others apply, got none; set it")
    _set_frozen(model, tuple(freeze), but, True)


def _set_frozen(model: Layer, patterns: tuple[str, ...], but: str | Iterable[str], frozen: bool) -> list[str]:
    """Freeze or unfreeze, and return the paths of the affected parameters."""
    excluded = (but,) if isinstance(but, str) else tuple(but)
    parameters, layers = model.parameters(), model.layers()
    _check_patterns((*patterns, *excluded), [*layers, *parameters])

    def chosen(path: str) -> bool:
        names = list(_path_and_owners(path))
        return _matches(names, patterns) and not _matches(names, excluded)

    found = [path for path in parameters if chosen(path)]
    for path in found:
        if frozen:
            parameters[path].freeze()
        else:
            parameters[path].unfreeze()
    for path, layer in layers.items():
        own = [f"{path}.{name}" if path else name for name in _own(layer)]
        if (path and chosen(path)) or (own and all(chosen(name) for name in own)):
            layer.frozen = frozen
    return found


def _check_patterns(patterns: Iterable[str], paths: list[str]) -> None:
    """Raise for a pattern that matches nothing; it is probably misspelled."""
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in paths):
            near = difflib.get_close_matches(pattern, paths, n=3, cutoff=0.3) or paths[1:4]
            raise OptionError(
                f"freeze: expected a pattern of paths such as {near}, got {pattern!r}, which matches none"
            )


def _path_and_owners(path: str) -> Iterator[str]:
    """Yield a path and the paths of the enclosing layers: a.b.c, a.b, a."""
    while path:
        yield path
        path = path.rpartition(".")[0]


def _matches(names: list[str], patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _own(layer: Layer) -> list[str]:
    """Return the names of a layer's own parameters, without those of inner layers."""
    inner: set[Any] = {id(p) for child in layer.children().values() for p in child.parameters().values()}
    return [name for name, parameter in layer.parameters().items() if id(parameter) not in inner]
