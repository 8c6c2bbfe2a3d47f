"""Blocks of a network, in sequence and side by side, which `draw` draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeAlias

from tinygrad_lab.backend import Shape
from tinygrad_lab.inspect.trace import Call, kind_of

_TITLES = {"conv2d": "conv", "max_pool2d": "max-pool", "avg_pool2d": "average pool", "relu": "ReLU"} | {
    "global_avg_pool2d": "global average pool",
    "local_response_norm": "response norm",
    "conv2d_transpose": "transposed conv",
    "depthwise_conv2d": "depthwise conv",
}
_FAMILIES = {"conv": "convolution", "pool": "pooling", "norm": "normalization", "drop": "other", "dense": "dense"}
_JOINS = {"parallel_concat": "concatenate", "residual": "add"}


@dataclass(frozen=True)
class Block:
    """One box of a drawing.

    Parameters
    ----------
    title : str
        The layer's operation: ``conv 5×5, ReLU``.
    shape : str
        The shape of its result, such as ``28×28×6``; empty if the layer has no variables and the
        result has the shape of its only input.
    family : str
        The kind of layer, which decides the color.
    name : str
        The last part of the layer's path.
    tip : str
        The text of its tooltip.
    rows : tuple of str
        Further lines in the box, such as values.
    """

    title: str
    shape: str
    family: str
    name: str = ""
    tip: str = ""
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chain:
    """Parts in sequence."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Ways:
    """Parallel parts, and the box that joins them.

    Parameters
    ----------
    ways : tuple of parts
        The parts from left to right.
    join : Block
        The box that joins them.
    straight : bool
        Whether the first part continues the line of the network straight, as a residual block's main branch does.
    parted : bool
        Whether the parts have a common input; otherwise each has its own.
    """

    ways: tuple[Part, ...]
    join: Block
    straight: bool = False
    parted: bool = True


@dataclass(frozen=True)
class Frame:
    """A part in a frame with a name, perhaps repeated."""

    label: str
    kind: str
    inner: Part
    times: int = 1


Part: TypeAlias = Block | Chain | Ways | Frame


def blocks_of(call: Call, *, fold: bool = True) -> Chain:
    """Return the parts of a network, beginning with its inputs.

    Parameters
    ----------
    call : Call
        The trace of the network.
    fold : bool
        Whether to show repeated blocks once, with their number.
    """
    start: Part = _input("input", call.taken[0])
    inner = _inside(call, fold) if call.inner else _block(call)
    if len(call.taken) > 1:
        given = tuple(_input(f"input {i}", taken) for i, taken in enumerate(call.taken, start=1))
        if isinstance(inner, Block):
            return Chain((Ways(given, inner, parted=False),))
        start = Ways(given, Block("inputs", "", "join", tip="inputs"), parted=False)
    return Chain((start, *(inner.parts if isinstance(inner, Chain) else (inner,))))


def _input(name: str, shape: Shape) -> Block:
    return Block(name, shape_text(shape), "other", tip=f"{name}: {shape_text(shape)}")


def shape_text(shape: Shape) -> str:
    """Return the shape of one example: (1, 28, 28, 6) is ``28×28×6``."""
    return "×".join(map(str, shape[1:])) or "1"


def _part(call: Call, fold: bool) -> Part:
    """Return a layer's box, or the parts inside it in a frame."""
    if not call.inner:
        return _block(call)
    kind = kind_of(call.layer)
    return Frame(call.path, "" if kind == "sequential" else kind.replace("_", " "), _inside(call, fold))


def _inside(call: Call, fold: bool) -> Part:
    """Return the parts of a layer that contains layers."""
    kind, ways = kind_of(call.layer), _ways(call)
    if kind == "residual":
        ways = _main_way_first(call, ways)
    if len(ways) == 1:
        (way,) = ways
        return _inside(way[0], fold) if len(way) == 1 and way[0].inner else _chain(way, fold)
    branches = tuple(_branch(way, call, fold) for way in ways)
    activation = getattr(call.layer, "activation", None)
    title = _JOINS.get(kind, "join") + (f", {_title_of(activation)}" if isinstance(activation, str) else "")
    shape = shape_text(call.returned)
    return Ways(branches, Block(title, shape, "join", tip=f"{call.path}: {title}, {shape}"), kind == "residual")


def _branch(way: list[Call], call: Call, fold: bool) -> Part:
    if not way:
        shortcut = str(getattr(call.layer, "shortcut", "identity"))
        return Block(shortcut, "", "other", tip=f"{call.path}: {shortcut}")
    return _inside(way[0], fold) if len(way) == 1 and way[0].inner else _chain(way, fold)


def _ways(call: Call) -> list[list[Call]]:
    """Sort the calls inside a call into branches: a call that takes the outer input begins a new branch."""
    ways: list[list[Call]] = []
    for inner in call.inner:
        before = [way for way in ways if any(taken is way[-1].returned for taken in inner.taken)]
        if before:
            before[0].append(inner)
        elif not ways or any(taken is given for taken in inner.taken for given in call.taken):
            ways.append([inner])
        else:
            ways[-1].append(inner)  # its input comes from an operation between two layers, say
    return ways


def _main_way_first(call: Call, ways: list[list[Call]]) -> list[list[Call]]:
    """Put the branch of a residual block before its shortcut, which may be empty."""
    inner = getattr(call.layer, "inner", None)
    main = [way for way in ways if any(c.layer is inner for c in way)]
    return main + ([way for way in ways if way not in main] or [[]])


def _chain(calls: Sequence[Call], fold: bool) -> Chain:
    parts = [_part(call, fold) for call in calls]
    return Chain(tuple(_folded(parts) if fold else parts))


def _folded(parts: Sequence[Part]) -> list[Part]:
    """Fold repeated equal frames into one."""
    folded: list[Part] = []
    for _, equal in groupby(enumerate(parts), key=lambda numbered: _looks(numbered[1]) or numbered[0]):
        same = [part for _, part in equal]
        first, last = same[0], same[-1]
        if isinstance(first, Frame) and isinstance(last, Frame) and len(same) > 1:
            folded.append(replace(first, label=f"{first.label} … {last.label.rpartition('.')[2]}", times=len(same)))
        else:
            folded.extend(same)
    return folded


def _looks(part: Part) -> Any:
    """Return all that equal frames have in common (everything but names), or None for a part that is never folded."""
    return _nameless(part) if isinstance(part, Frame) else None


def _nameless(part: Part) -> Any:
    if isinstance(part, Block):
        return part.title, part.shape, part.family
    if isinstance(part, Chain):
        return tuple(map(_nameless, part.parts))
    if isinstance(part, Ways):
        return tuple(map(_nameless, part.ways)), _nameless(part.join)
    return part.kind, part.times, _nameless(part.inner)


def _block(call: Call) -> Block:
    layer, kind = call.layer, kind_of(call.layer)
    size = sum(v.size for v in layer.variables().values())
    shape, changed = shape_text(call.returned), bool(size) or call.taken != (call.returned,)
    facts = [f"{' and '.join(map(shape_text, call.taken))} → {shape}"]
    if size:
        facts += [f"{size:,} parameters", f"{call.multiply_adds:,} multiply-adds"]
    family = next((family for part, family in _FAMILIES.items() if part in kind), None)
    return Block(
        title=_title(layer, kind),
        shape=shape if changed else "",
        family=family or ("dense" if size else "other" if changed else "activation"),
        name=call.path.rpartition(".")[2],
        tip=f"{call.path or kind} ({kind}): {', '.join(facts)}",
    )


def _title_of(kind: str) -> str:
    return _TITLES.get(kind, kind.replace("_", " "))


def _title(layer: Any, kind: str) -> str:
    """Return a layer's operation in a few words: ``conv 3×3, stride 2, ReLU``."""
    words = [_title_of(kind)]
    window: Any = getattr(layer, "window", None)
    if hasattr(window, "size") and hasattr(window, "stride"):
        words[0] += " {}×{}".format(*window.size)
        pooled = "pool" in kind and window.stride == window.size
        if window.stride != (1, 1) and not pooled:
            down, right = window.stride
            words.append(f"stride {down}" if down == right else f"stride {down}×{right}")
    if (groups := getattr(layer, "groups", 1)) != 1 and isinstance(groups, int):
        words.append(f"{groups} groups")
    if isinstance(rate := getattr(layer, "rate", None), float):
        words[0] += f" {rate:g}"
    if isinstance(activation := getattr(layer, "activation", None), str):
        words.append(_title_of(activation))
    return ", ".join(words)
