"""Sphinx extension for the front page: the picture of a real forward and backward pass, and the speed table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from docutils import nodes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from sphinx.application import Sphinx

import tinygrad_lab as tgl
from tinygrad_lab.sphinx.restructured import ComposingDirective, escaped, table

DOCS = Path(__file__).resolve().parents[1]
PICTURE = Path("reference", "generated", "front.svg")
SPEED = DOCS / "results" / "performance"  # a file for each machine
STAGES = {"c1": "convolution", "s2": "pooling", "c3": "convolution", "s4": "pooling", "f6": "dense", "output": "scores"}
SHOWN = 4  # maps drawn for each layer, two by two
INK = "#808080"  # gray, which shows on white and on black


def trained() -> tuple[Any, Any]:
    """Return LeNet-5 after three epochs on the digits, and the test images with their labels."""
    from tinygrad_lab.data import Loader, load
    from tinygrad_lab.losses import softmax_cross_entropy
    from tinygrad_lab.optim import SGD
    from tinygrad_lab.registry import models

    model = models["lenet5"](rng=0)
    optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9)
    for epoch in range(3):
        loader = Loader(load("digits", split="train"), batch_size=64, seed=epoch)
        for images, labels in loader:
            softmax_cross_entropy(model(tgl.tensor(images)), labels).backward()
            optimizer.step()
    return model.eval().freeze(), load("digits", split="test")


def passes(model: Any, image: Any, label: int) -> list[tuple[str, Any, Any]]:
    """Return (name, value, gradient of the loss with respect to the value) for the image and for every stage."""
    from tinygrad_lab.losses import softmax_cross_entropy

    values, pulls = [image], []
    for layer in model.inner.values():
        value, pull = tgl.vjp(lambda x, layer=layer: layer(x), values[-1])
        values.append(value)
        pulls.append(pull)
    _, pull = tgl.vjp(lambda logits: softmax_cross_entropy(logits, np.array([label])), values[-1])
    gradients = list(pull(np.float32(1.0)))
    for back in reversed(pulls):
        gradients.insert(0, back(gradients[0])[0])
    named = dict(zip(("image", *model.inner), zip(values, gradients, strict=True), strict=True))
    return [(name, *map(np.asarray, named[name])) for name in ("image", *STAGES)]


def tiled(array: Any, chosen: Any) -> Any:
    """Return the chosen maps of one example as one picture, each in its own range, or a vector as a rectangle."""
    array = array[0]
    if array.ndim == 1:
        return array.reshape(-1, 1) if array.size <= 16 else array.reshape(-1, 12)
    maps = np.moveaxis(array, -1, 0)[chosen]
    maps = maps / np.abs(maps).max(axis=(1, 2), keepdims=True, initial=1e-12)
    if len(maps) == 1:
        return maps[0]
    side = maps.shape[1]
    canvas = np.full((2 * side + 1, 2 * side + 1), np.nan)
    for number, plane in enumerate(maps):
        down, right = divmod(number, 2)
        canvas[down * (side + 1) :, right * (side + 1) :][:side, :side] = plane
    return canvas


def liveliest(array: Any) -> Any:
    """Return the sorted numbers of the maps with the largest standard deviation, or None for a vector."""
    return np.sort(np.argsort(array[0].std(axis=(0, 1)))[-SHOWN:]) if array.ndim == 4 else None


def picture() -> Figure:
    """Return the picture: values in the upper row, the derivative of the loss with respect to them in the lower."""
    model, data = trained()
    batch = np.asarray(data.images[:1], "float32") / 255.0
    batch = batch if batch.shape[1] == 32 else np.pad(batch, ((0, 0), (2, 2), (2, 2), (0, 0)))
    stages = passes(model, batch, int(data.labels[0]))
    widths = [1.0, 1.0, 1.0, 1.0, 1.0, 0.62, 0.3]
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "front", "font.size": 11}):
        figure = Figure(figsize=(11.5, 4.1))
        grid = figure.add_gridspec(2, len(stages), width_ratios=widths, wspace=0.34, hspace=0.42)
        for column, (name, value, gradient) in enumerate(stages):
            chosen = liveliest(value)
            for row, (array, colors) in enumerate(((value, "viridis"), (gradient, "RdBu_r"))):
                axes = figure.add_subplot(grid[row, column])
                shown = tiled(array, chosen)
                most = float(np.nanmax(np.abs(shown))) or 1.0
                low = -most if row else float(np.nanmin(shown))
                axes.imshow(shown, cmap=colors, vmin=low, vmax=most if row else float(np.nanmax(shown)))
                axes.set_axis_off()
                if row == 0:
                    axes.set_title(STAGES.get(name, name), color=INK)
        for height, text, start, end in ((0.515, "forward", 0.16, 0.86), (0.03, "backward", 0.86, 0.16)):
            figure.add_artist(
                FancyArrowPatch((start, height), (end, height), arrowstyle="-|>", mutation_scale=13, color=INK, lw=1.2)
            )
            figure.text(0.11, height, text, color=INK, ha="center", va="center")
    return figure


def draw(app: Sphinx) -> None:
    """Write the picture if it is missing or older than this file or the network."""
    target = Path(app.srcdir) / PICTURE
    sources = (Path(__file__), DOCS.parent / "tinygrad_lab" / "zoo" / "lenet5.py")
    if not target.exists() or target.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        target.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None, "Creator": None}
        picture().savefig(target, transparent=True, bbox_inches="tight", metadata=metadata)


class SpeedTableDirective(ComposingDirective):
    """Times of whole training steps as ratios to PyTorch's, from the files of docs/results/performance."""

    def run(self) -> list[nodes.Node]:
        """Return a table with a row for each network and a column for each machine."""
        files = sorted(SPEED.glob("*.json"))
        for file in (*files, Path(__file__)):
            self.env.note_dependency(str(file))
        found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        rows: dict[str, list[str]] = {}
        for number, result in enumerate(found):
            for network in result["networks"]:
                cells = rows.setdefault(network["name"], [""] * len(found))
                cells[number] = f"{network['ratio_to_best_peer']:.2f}×"
        head = ("Network", *(result["machine"]["processor"] for result in found))
        versions = " and ".join(sorted({result["machine"]["torch"] for result in found}))
        threads = " or ".join(sorted({str(result["threads"]) for result in found}))
        says = (
            f"Speed of whole training steps as a ratio to PyTorch {versions} in its faster layout, "
            f"on {threads} threads; medians of interleaved rounds."
        )
        lines = [(name, *cells) for name, cells in rows.items()]
        made = table(head, lines, classes="speed", numbers=range(1, len(head)))
        return self.composed(f"{made}\n\n.. container:: measured\n\n   {escaped(says)}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the picture and the directive."""
    app.add_directive("speed-table", SpeedTableDirective)
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
