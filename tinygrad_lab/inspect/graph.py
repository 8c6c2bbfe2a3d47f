"""Drawings of tapes as SVG: operations and variables with their values and gradients, and the lines between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_lab.autograd.settings import using
from tinygrad_lab.autograd.tape import Node, backward_pass, toposort
from tinygrad_lab.errors import DTypeError, GradientError, OptionError
from tinygrad_lab.inspect.blocks import Block
from tinygrad_lab.inspect.draw import Box, Drawing, box_height, box_width
from tinygrad_lab.inspect.explain import Values, labels_of, referred
from tinygrad_lab.inspect.tracing import Place, Trace, arrays_of, is_output, on_host, place_of
from tinygrad_lab.tensor import Tensor

_MOST = 400  # operations and variables that a drawing can show
# Pixels between boxes, between rows, between arrows into a box, and around the drawing.
_GAP, _ROW, _PORT, _MARGIN = 18.0, 34.0, 16.0, 10.0
_SWEEPS = 4  # sweeps down and up over the rows, to bring connected boxes together

Item = Node | tuple[Node, Node, int]  # a box; or (from, to, row), the place where the line from a box to another passes


def draw_graph(target: Tensor | Callable[[], Any], *, of: Any = None, cotangent: Any = None) -> Drawing:
    """Return a drawing of the tape behind a result: values and gradients of every operation and variable.

    Pass a function without arguments, which is called once, to see all values and to name variables. For a tensor that
    was computed before, only the values that the tape keeps are known. Gradients are left out if a backward pass of
    the result ran before, or if it is not a scalar and no cotangent is given.

    Parameters
    ----------
    target : Tensor or callable
        The result, or a function that returns it.
    of : Layer, Tensor, or mapping or sequence of them
        The variables to name; by default those that the function refers to by name.
    cotangent : array
        The gradient of the result, with which the backward pass begins; by default 1 for a scalar.

    Raises
    ------
    GradientError
        The result is a constant, so there is no tape.
    OptionError
        The tape has more operations and variables than a drawing can show.
    DTypeError
        The target is neither a tensor nor a function.

    Examples
    --------
    >>> w = tgl.tensor(3.0, requires_grad=True)
    >>> drawing = draw_graph(lambda: w * w)
    >>> drawing.title
    'multiply: 9.'
    >>> print(drawing.description)
    w () = 3., gradient 6.; multiply () of w and w = 9., gradient 1.
    """
    trace, names = Trace(place_of(target)), {}
    with np.errstate(all="ignore"):
        if isinstance(target, Tensor):
            root: Any = target
        elif callable(target):
            with using(watcher=trace):
                root = target()
            names = referred(target)
        else:
            raise DTypeError(f"draw_graph: expected a Tensor or a function, got {type(target).__name__}")
        if not isinstance(root, Tensor) or root.node is None:
            got = "a constant" if isinstance(root, Tensor) else type(root).__name__
            raise GradientError(f"draw_graph: expected one tensor on the tape, got {got}; see explain_backward")
        tape = _Tape(root, trace, labels_of(names, of))
        tape.walk(cotangent)
    return tape.drawing()


class _Tape:
    """The nodes behind a result, with their values and gradients."""

    def __init__(self, root: Tensor, trace: Trace, labels: Mapping[Node, str]) -> None:
        self.root, self.trace = root, trace
        assert root.node is not None  # noqa: S101  # the caller has checked it
        self.node = _whole(root.node)
        self.nodes = [n for n in toposort([root.node]) if not is_output(n)]
        if len(self.nodes) > _MOST:
            raise OptionError(
                f"draw_graph: expected at most {_MOST} operations and variables, got {len(self.nodes)}; draw a part, "
                "or the network with tinygrad_lab.inspect.draw"
            )
        self.inputs = {n: [_whole(i) for i in n.inputs if i is not None] for n in self.nodes}
        leaves = [n for n in self.nodes if n.op is None]
        self.labels = {n: labels.get(n, f"leaf {i}") for i, n in enumerate(leaves, start=1)}
        self.values: dict[Node, Any] = {self.node: root.value}
        self.gradients: dict[Node, Any] = {}

    def walk(self, cotangent: Any) -> None:
        """Find the values, and the gradients if the tape can be walked."""
        for node, operation in self.trace.by_node.items():
            self.values[node] = operation.results[0]
            for source, value in zip(operation.inputs, operation.values, strict=True):
                if source is not None and source.op is None:
                    self.values[source] = value
        whole = self.root.node
        if any(n.saved is None for n in self.nodes) or (cotangent is None and self.root.shape != ()) or whole is None:
            return
        leaves = [n for n in self.nodes if n.op is None]
        self.trace.steps.clear()  # of backward passes inside the function
        with using(watcher=self.trace):
            found = backward_pass({whole: self.root._cotangent(cotangent, "draw_graph")}, wanted=leaves, keep=True)
        self.gradients = {n: step.cotangent for n, step in self.trace.steps.items()} | dict(found)

    def drawing(self) -> Drawing:
        """Return the drawing."""
        value = Values.of(self.root.value)
        words = "; ".join(self._words(node) for node in self.nodes)
        drawing = Drawing(f"{self._title(self.node)}: {value}", words)
        blocks = {node: self._block(node) for node in self.nodes}
        _Rows(self.nodes, self.inputs, blocks).place(drawing)
        return drawing

    def _title(self, node: Node) -> str:
        return self.labels[node] if node.op is None else str(node.op)

    def _facts(self, node: Node) -> list[str]:
        """Return value and gradient in words, as far as they are known."""
        facts = [f"= {Values.of(self.values[node])}"] if node in self.values else []
        if node in self.gradients:
            facts += [f"gradient {Values.of(array)}" for array in arrays_of(self.gradients[node])]
        return facts

    def _words(self, node: Node) -> str:
        operands = " and ".join(map(self._title, self.inputs[node]))
        made = f" of {operands}" if operands else ""
        return f"{self._title(node)} {node.shape}{made} {', '.join(self._facts(node))}".rstrip()

    def _block(self, node: Node) -> Block:
        place = node.place if isinstance(node.place, Place) else None
        facts = [f"{self._title(node)} {node.shape}", *self._facts(node), *([str(place)] if place else [])]
        return Block(
            title=self._title(node) + self._constant(node),
            shape="×".join(map(str, node.shape)) or "scalar",
            family="dense" if node.op is None else _FAMILIES.get(str(node.op), "other"),
            name=place.layer if place else "",
            tip="\n".join(facts),
            rows=tuple(_shortened(fact) for fact in self._facts(node)),
        )

    def _constant(self, node: Node) -> str:
        """Return the number that an operation combines with its tracked argument, if there is one."""
        operation = self.trace.by_node.get(node)
        if operation is None:
            return ""
        given = zip(operation.inputs, map(on_host, operation.values), strict=True)
        numbers = [v for source, v in given if source is None and v is not None and np.ndim(v) == 0]
        return "".join(f" {float(number):.4g}" for number in numbers)


_FAMILIES = {
    **dict.fromkeys(("conv2d", "conv2d_relu", "matmul_matrices", "einsum_operands"), "convolution"),
    **dict.fromkeys(("relu", "sigmoid", "tanh", "softmax", "log_softmax", "add_relu"), "activation"),
    **dict.fromkeys(("batch_norm", "batch_norm_relu", "standardize"), "normalization"),
    **dict.fromkeys(("max_pool2d", "sum_pool2d", "sum_axes", "max_axes"), "pooling"),
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "concatenate_parts"), "join"),
}


def _whole(node: Node) -> Node:
    """Return the operation's node if a node is one of the operation's outputs, else the node itself."""
    return node.inputs[0] if is_output(node) else node


def _shortened(text: str) -> str:
    return text if len(text) <= 44 else f"{text[:42]} …"


class _Rows:
    """The boxes in rows, so that every line leads downwards, with places for the lines that pass a row."""

    def __init__(self, nodes: list[Node], inputs: Mapping[Node, list[Node]], blocks: Mapping[Node, Block]) -> None:
        self.inputs, self.blocks = inputs, blocks
        self.row: dict[Node, int] = {}
        for node in nodes:  # the oldest first
            self.row[node] = 1 + max((self.row[n] for n in inputs[node]), default=-1)
        for node in reversed(nodes):  # a variable is right above its first user
            users = [self.row[n] for n in nodes if node in inputs[n]]
            if not inputs[node] and users:
                self.row[node] = min(users) - 1
        self.rows: list[list[Item]] = [[] for _ in range(max(self.row.values()) + 1)]
        self.above: dict[Item, list[Item]] = {}
        for node in nodes:
            self._add(node)
        self.x: dict[Item, float] = {}
        self._arrange()

    def _add(self, node: Node) -> None:
        """Put a box into its row, and the places of its incoming lines into the rows that these pass."""
        self.rows[self.row[node]].append(node)
        self.above[node] = []
        for source in dict.fromkeys(self.inputs[node]):
            last: Item = source
            for row in range(self.row[source] + 1, self.row[node]):
                passing = (source, node, row)
                self.rows[row].append(passing)
                self.above[passing] = [last]
                last = passing
            self.above[node].append(last)

    def _width(self, item: Item) -> float:
        return box_width(self.blocks[item]) if isinstance(item, Node) else 4.0

    def _arrange(self) -> None:
        """Order the items of each row, and place every item near the items with which it is connected."""
        below: dict[Item, list[Item]] = {}
        for item, sources in self.above.items():
            for source in sources:
                below.setdefault(source, []).append(item)
        for row in self.rows:
            self._pack(row, dict.fromkeys(row, 0.0))
        for sweep in range(2 * _SWEEPS):
            near, rows = (self.above, self.rows) if sweep % 2 == 0 else (below, self.rows[::-1])
            for row in rows:
                wanted = {}
                for item in row:
                    others = [self.x[other] for other in near.get(item, [])]
                    wanted[item] = sum(others) / len(others) if others else self.x[item]
                row.sort(key=wanted.__getitem__)
                self._pack(row, wanted)
        left = min(self.x[item] - self._width(item) / 2 for row in self.rows for item in row)
        self.x = {item: x - left + _MARGIN for item, x in self.x.items()}

    def _pack(self, row: list[Item], wanted: Mapping[Item, float]) -> None:
        """Place the items of a row as near to the wanted x as their widths allow."""
        right = -np.inf
        for item in row:
            half = self._width(item) / 2
            self.x[item] = max(wanted[item], right + half)
            right = self.x[item] + half + _GAP
        shift = sum(wanted[item] - self.x[item] for item in row) / len(row) if row else 0.0
        for item in row:
            self.x[item] += shift

    def place(self, drawing: Drawing) -> None:
        """Add boxes and lines to a drawing."""
        tall = [[box_height(self.blocks[item]) for item in row if isinstance(item, Node)] for row in self.rows]
        heights = [max(row) for row in tall]
        tops = [_MARGIN + sum(heights[:k]) + _ROW * k for k in range(len(heights))]
        for node, row in self.row.items():
            block, width = self.blocks[node], self._width(node)
            drawing.boxes.append(Box(self.x[node] - width / 2, tops[row], width, box_height(block), block))
            sources = sorted(self.above[node], key=self.x.__getitem__)
            for port, source in enumerate(sources):
                at = self.x[node] + (port - (len(sources) - 1) / 2) * _PORT
                points = [(at, tops[row]), (at, tops[row] - 10)]
                while not isinstance(source, Node):
                    level = source[2]
                    points += [(self.x[source], tops[level] + heights[level]), (self.x[source], tops[level])]
                    (source,) = self.above[source]
                top = tops[self.row[source]]
                points.append((self.x[source], top + heights[self.row[source]]))
                if (foot := top + box_height(self.blocks[source])) < points[-1][1]:
                    points.append((self.x[source], foot))
                drawing.line(*reversed(points))
        drawing.width = _MARGIN + max(self.x[item] + self._width(item) / 2 for row in self.rows for item in row)
        drawing.height = tops[-1] + heights[-1] + _MARGIN
