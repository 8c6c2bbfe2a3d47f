"""Drawings of networks as SVG: a block for each layer, with the shape of its result, and branches side by side.

The shapes come from the layers' ``output_shape``, so networks are not run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from tinygrad_lab.errors import ConfigError
from tinygrad_lab.files.writing import write_atomically, writing
from tinygrad_lab.inspect.blocks import Block, Chain, Frame, Part, Ways, blocks_of, shape_text
from tinygrad_lab.inspect.trace import outline, trace
from tinygrad_lab.nn.layer import Layer

# Light fill, border, dark fill. Text is on these fills, so it can be read on a page of any color.
_COLORS = {
    "convolution": ("#d9e8fb", "#3d78b8", "#1d3a5c"),
    "pooling": ("#d6efdb", "#3f8f54", "#1c4529"),
    "dense": ("#fde4c8", "#b9722a", "#573714"),
    "normalization": ("#e8ddf9", "#7d5bb5", "#3a2b5c"),
    "activation": ("#fadada", "#b85454", "#582727"),
    "join": ("#f7efb8", "#97861f", "#4a430f"),
    "other": ("#e4e7ea", "#7c838a", "#3a4046"),
}
_INK, _DARK_INK = "#1b1f24", "#f1f3f5"  # text on the light and on the dark fills
_LINE = "#808080"  # lines and names outside of blocks: a gray that can be seen on white and on black
_FONT = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_STYLE = "@media (prefers-color-scheme: dark) {{ {} }}".format(
    " ".join(f".tgl-{name} {{ fill: {dark} }}" for name, (_, _, dark) in _COLORS.items())
    + f" .tgl-ink {{ fill: {_DARK_INK} }}"
)
_GAP, _FAN = 18.0, 20.0  # pixels between blocks; pixels above and below branches, where they part and meet
_PAD, _LABEL = 10.0, 22.0  # pixels inside of a frame at the sides and the bottom; at the top, where its label is
_ROW = 15.0  # the height of a further line in a box
_TITLE_EM, _DETAIL_EM = 7.9, 6.6  # the width of a letter, at 13 and at 11 pixels
_TALL, _WIDE = 820.0, 860.0  # a drawing that is taller than _TALL is divided into columns if _WIDE has room for them


@dataclass(frozen=True)
class Box:
    """A rectangle of a drawing: `x` and `y` of its upper left corner, `width` and `height`, in pixels."""

    x: float
    y: float
    width: float
    height: float
    block: Block


@dataclass
class Drawing:
    """A drawn network, which shows itself in a notebook.

    Parameters
    ----------
    title : str
        The caption.
    description : str
        The layers in words, for screen readers.
    boxes : list of Box
        The position of each block.
    width, height : float
        In pixels.
    """

    title: str
    description: str = field(repr=False)
    boxes: list[Box] = field(default_factory=list, repr=False)
    width: float = 0.0
    height: float = 0.0
    _marks: list[ET.Element] = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        return "\n".join([self.title, *self.description.split("; ")])

    @property
    def svg(self) -> str:
        """The drawing as an SVG document."""
        size = {"width": f"{self.width:g}", "height": f"{self.height:g}"}
        root = ET.Element(
            "svg",
            {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {self.width:g} {self.height:g}", "role": "img"}
            | size
            | {"aria-label": self.title, "font-family": _FONT, "style": "max-width: 100%; height: auto"},
        )
        ET.SubElement(root, "title").text = self.title
        ET.SubElement(root, "desc").text = self.description
        ET.SubElement(root, "style").text = _STYLE
        root.extend(self._marks)
        for box in self.boxes:
            root.append(_drawn(box))
        return ET.tostring(root, encoding="unicode")

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> None:
        """Write the drawing to a file.

        Raises
        ------
        ConfigError
            The file's name does not end in ``.svg``, or the file cannot be written.
        """
        path = svg_path(path)
        with writing(ConfigError, f"draw: expected to write {path}"):
            write_atomically(path, f"{self.svg}\n".encode())

    def line(self, *points: tuple[float, float], arrow: bool = True) -> None:
        """Draw a line from point to point, with an arrow at its end."""
        corners = " ".join(f"{x:g},{y:g}" for x, y in points)
        style = {"fill": "none", "stroke": _LINE, "stroke-width": "1.5", "stroke-linejoin": "round"}
        self._marks.append(ET.Element("polyline", {"points": corners} | style))
        if arrow:
            x, y = points[-1]
            tip = f"{x:g},{y:g} {x - 4:g},{y - 7:g} {x + 4:g},{y - 7:g}"
            self._marks.append(ET.Element("polygon", {"points": tip, "fill": _LINE}))

    def frame(self, x: float, y: float, width: float, height: float, label: str, label_x: float) -> None:
        """Draw a frame with a label."""
        place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{width:g}", "height": f"{height:g}", "rx": "8"}
        style = {"fill": "none", "stroke": _LINE, "stroke-dasharray": "4 3"}
        self._marks.append(ET.Element("rect", place | style))
        text = ET.Element("text", {"x": f"{label_x:g}", "y": f"{y + 15:g}", "font-size": "11", "fill": _LINE})
        text.text = label
        self._marks.append(text)


def svg_path(path: str | Path) -> Path:
    """Return a path after a check that it ends in ``.svg``.

    Raises
    ------
    ConfigError
        The path does not end in ``.svg``.
    """
    path = Path(path)
    if path.suffix.lower() != ".svg":
        raise ConfigError(f"draw: expected a file whose name ends in .svg, got {path}; draw writes only SVG")
    return path


def draw(model: Layer, image: Sequence[Any], *, name: str | None = None, fold: bool = True) -> Drawing:
    """Return a drawing of a network, without running it.

    Parameters
    ----------
    model : Layer
        The network, or any layer.
    image : sequence of int
        The shape of one example, without the batch axis; for a layer with several inputs, a sequence of such shapes.
    name : str or None
        The network's name; by default that of its class.
    fold : bool
        Whether to draw a repeated group of layers once, with the number of repetitions.

    Raises
    ------
    ShapeError
        A layer does not accept the shape of its input.

    Examples
    --------
    >>> from tinygrad_lab.registry import layers
    >>> drawing = draw(layers["dense"](4, 3), (4,), name="small")
    >>> drawing.title, [box.block.title for box in drawing.boxes]
    ('small: 4 → 3', ['input', 'dense'])
    """
    several = bool(image) and isinstance(image[0], Sequence)
    call = trace(model, *((1, *shape) for shape in (image if several else (image,))))
    parts = blocks_of(call, fold=fold)
    shapes = f"{' and '.join(map(shape_text, call.taken))} → {shape_text(call.returned)}"
    return draw_blocks(parts, title=f"{name or type(model).__name__}: {shapes}")


def draw_blocks(chain: Chain, *, title: str) -> Drawing:
    """Return a drawing of blocks that were made by hand or by `blocks_of`.

    Parameters
    ----------
    chain : Chain
        The blocks from top to bottom.
    title : str
        The caption.

    Examples
    --------
    >>> chain = Chain((Block("image", "8×8×3", "other"), Block("my idea", "10", "dense")))
    >>> len(draw_blocks(chain, title="an idea").boxes)
    2
    """
    drawing = Drawing(title, _words(chain))
    _place([_Column(Chain(tuple(column))) for column in _columns(chain.parts)], drawing)
    return drawing


def draw_model(name: str, options: Mapping[str, Any] | None = None, *, fold: bool = True) -> Drawing:
    """Return a drawing of a registered network, without initializing weights.

    Parameters
    ----------
    name : str
        The network's registered name.
    options : mapping or None
        Its options; see `outline`.
    fold : bool
        See `draw`.

    Raises
    ------
    PluginError, ConfigError, ShapeError
        See `outline`.

    Examples
    --------
    >>> draw_model("lenet5").title
    'lenet5: 32×32×1 → 10'
    """
    model, image = outline(name, options)
    return draw(model, image, name=name, fold=fold)


class _Layout:
    """Layout of a part of a drawing, which the line from the part above it enters at the top.

    `left` and `right` are the pixels between this line and the part's edges, `height` is the part's height, and
    `pointed_at` is whether the line ends in an arrow: it does if it ends at a block.
    """

    left: float
    right: float
    height: float
    pointed_at: bool = False

    def place(self, drawing: Drawing, x: float, y: float) -> None:
        """Draw the part from y downwards; the line from above enters it at (x, y)."""
        raise NotImplementedError


class _Box(_Layout):
    pointed_at = True

    def __init__(self, block: Block, width: float | None = None) -> None:
        self.block = block
        self.left = self.right = (width or box_width(block)) / 2
        self.height = box_height(block)

    def place(self, drawing: Drawing, x: float, y: float) -> None:
        drawing.boxes.append(Box(x - self.left, y, 2 * self.left, self.height, self.block))


class _Column(_Layout):
    def __init__(self, chain: Chain) -> None:
        width = max((box_width(part) for part in chain.parts if isinstance(part, Block)), default=0.0)
        self.parts = [_layout(part, width) for part in chain.parts]
        self.left = max(part.left for part in self.parts)
        self.right = max(part.right for part in self.parts)
        self.height = sum(part.height for part in self.parts) + _GAP * (len(self.parts) - 1)
        self.pointed_at = self.parts[0].pointed_at

    def place(self, drawing: Drawing, x: float, y: float) -> None:
        for i, part in enumerate(self.parts):
            if i:
                drawing.line((x, y), (x, y + _GAP), arrow=part.pointed_at)
                y += _GAP
            part.place(drawing, x, y)
            y += part.height


class _SideBySide(_Layout):
    def __init__(self, ways: Ways) -> None:
        self.ways = [_layout(way) for way in ways.ways]
        self.join, self.parted = _Box(ways.join), ways.parted
        self.tall = max(way.height for way in self.ways)
        span = sum(way.left + way.right for way in self.ways) + _GAP * (len(self.ways) - 1)
        self.way_left = self.ways[0].left if ways.straight else span / 2
        self.left = max(self.way_left, self.join.left)
        self.right = max(span - self.way_left, self.join.right)
        self.height = self.tall + 2 * _FAN + self.join.height

    def place(self, drawing: Drawing, x: float, y: float) -> None:
        top, bottom = y + _FAN, y + _FAN + self.tall
        axis = x - self.way_left
        for way in self.ways:
            axis += way.left
            start = top + (self.tall - way.height) / 2
            if self.parted:
                drawing.line((x, y), (x, y + _FAN / 2), (axis, y + _FAN / 2), (axis, start), arrow=way.pointed_at)
            way.place(drawing, axis, start)
            end = bottom + _FAN / 2
            drawing.line((axis, start + way.height), (axis, end), (x, end), (x, bottom + _FAN))
            axis += way.right + _GAP
        self.join.place(drawing, x, bottom + _FAN)


class _Framed(_Layout):
    def __init__(self, frame: Frame) -> None:
        times = f" × {frame.times}" if frame.times > 1 else ""
        self.label = " · ".join(filter(None, (frame.label, frame.kind))) + times
        self.inner = _layout(frame.inner)
        self.left = self.inner.left + _PAD
        self.right = max(self.inner.right + _PAD, _DETAIL_EM * len(self.label) + 2 * _PAD)
        self.height = self.inner.height + _LABEL + _PAD

    def place(self, drawing: Drawing, x: float, y: float) -> None:
        drawing.frame(x - self.left, y, self.left + self.right, self.height, self.label, x + 8)
        drawing.line((x, y), (x, y + _LABEL), arrow=self.inner.pointed_at)
        self.inner.place(drawing, x, y + _LABEL)
        drawing.line((x, y + self.height - _PAD), (x, y + self.height), arrow=False)


def _place(columns: Sequence[_Column], drawing: Drawing) -> None:
    """Draw columns side by side, with a line from the foot of each to the head of the next."""
    margin = _PAD if len(columns) == 1 else _PAD + _GAP / 2
    x, foot = _PAD, (0.0, 0.0)
    for i, column in enumerate(columns):
        head = (x + column.left, margin)
        if i:
            between, low = x - _GAP, foot[1] + _PAD
            corners = [foot, (foot[0], low), (between, low), (between, _PAD / 2), (head[0], _PAD / 2), head]
            drawing.line(*corners, arrow=column.pointed_at)
        column.place(drawing, *head)
        foot = (head[0], margin + column.height)
        x += column.left + column.right + 2 * _GAP
    drawing.width = x - 2 * _GAP + _PAD
    drawing.height = 2 * margin + max(column.height for column in columns)


def _layout(part: Part, width: float | None = None) -> _Layout:
    if isinstance(part, Block):
        return _Box(part, width)
    if isinstance(part, Chain):
        return _Column(part)
    return _SideBySide(part) if isinstance(part, Ways) else _Framed(part)


def box_width(block: Block) -> float:
    """Return the width that a block needs for its text."""
    detail = max(len(block.name) + len(block.shape) + 3 if block.shape else 0, *map(len, block.rows), 0)
    return max(96.0, _TITLE_EM * len(block.title) + 20, _DETAIL_EM * detail + 16)


def box_height(block: Block) -> float:
    """Return the height that a block needs for its text."""
    return (42.0 if block.shape else 24.0) + _ROW * len(block.rows)


def _columns(parts: Sequence[Part]) -> list[list[Part]]:
    """Divide a chain into columns side by side, if it is long and narrow."""
    whole = _Column(Chain(tuple(parts)))
    fitting = int((_WIDE + 2 * _GAP) // (whole.left + whole.right + 2 * _GAP))
    number = max(1, min(math.ceil(whole.height / _TALL), fitting))
    columns: list[list[Part]] = [[]]
    reached = 0.0
    for part in parts:
        reached += _layout(part).height + _GAP
        if columns[-1] and reached > whole.height / number * len(columns) + _GAP and len(columns) < number:
            columns.append([])
        columns[-1].append(part)
    return columns


def _words(part: Part) -> str:
    """Return the description of a part in words."""
    if isinstance(part, Block):
        return part.tip
    if isinstance(part, Chain):
        return "; ".join(map(_words, part.parts))
    if isinstance(part, Ways):
        return f"side by side ({' | '.join(map(_words, part.ways))}); {_words(part.join)}"
    return f"{part.label}{f', {part.times} times' if part.times > 1 else ''} ({_words(part.inner)})"


def _drawn(box: Box) -> ET.Element:
    """Return the SVG group of a box: its rectangle, its lines of text and its tooltip."""
    block = box.block
    fill, border, _ = _COLORS[block.family]
    group = ET.Element("g")
    ET.SubElement(group, "title").text = block.tip
    place = {"x": f"{box.x:g}", "y": f"{box.y:g}", "width": f"{box.width:g}", "height": f"{box.height:g}", "rx": "5"}
    style = {"class": f"tgl-{block.family}", "fill": fill, "stroke": border}
    ET.SubElement(group, "rect", place | style)

    def write(text: str, x: float, y: float, size: int, **more: str) -> None:
        at = {"class": "tgl-ink", "x": f"{x:g}", "y": f"{y:g}", "font-size": f"{size}", "fill": _INK}
        ET.SubElement(group, "text", at | {k.replace("_", "-"): v for k, v in more.items()}).text = text

    middle = box.x + box.width / 2
    write(block.title, middle, box.y + (17 if block.shape else 16.5), 13, text_anchor="middle")
    if block.shape:
        write(block.name, box.x + 7, box.y + 34, 11, font_style="italic")
        write(block.shape, box.x + box.width - 7, box.y + 34, 11, text_anchor="end")
    for number, row in enumerate(block.rows, start=1):
        write(row, box.x + 7, box.y + (34 if block.shape else 16) + _ROW * number, 11)
    return group
