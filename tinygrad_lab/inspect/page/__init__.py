"""Page of a run: one HTML file that shows what its network learned and how it decides.

The file needs no network and no library. `page.html` is its frame, `page.css` its style and `page.js` its program; the
numbers and pictures that this package computes are carried in it as JSON.
"""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.backend import Array, namespace
from tinygrad_lab.data import Dataset
from tinygrad_lab.errors import DataError, OptionError
from tinygrad_lab.inspect.curves import read_history
from tinygrad_lab.inspect.cut import cut, last_maps
from tinygrad_lab.inspect.estimates import SCORES, RegressionReport
from tinygrad_lab.inspect.page.figures import dead_units, evenly, feature_maps, filters, histograms, short
from tinygrad_lab.inspect.page.planes import batches, decisions, exciting, prune_each, rounded
from tinygrad_lab.inspect.page.sprites import pictures, sprite
from tinygrad_lab.inspect.prediction import Report
from tinygrad_lab.inspect.run import Run
from tinygrad_lab.inspect.trace import kind_of
from tinygrad_lab.train.build import evaluation_loader
from tinygrad_lab.train.evaluation import device_of
from tinygrad_lab.train.folder import count_test_look
from tinygrad_lab.train.metrics import TASKS

_UNITS = 1000  # images by which units are judged dead
_FEATURES = 6  # images whose feature maps are shown
_AT_LEAST = 4  # images to look into, if there are fewer mistakes
_HISTOGRAM_PIXELS = 1 << 16  # pixels of all images whose values and gradients are counted: 64 images of 32x32
_NUMBERS = 16  # numbers of a sequence or row that are shown
_CURVES = {"training, augmented": None, "validation": "validation", "test": "test"}


def run_page(
    run: Run,
    *,
    split: str = "validation",
    root: str | os.PathLike[str] | None = None,
    layer: str | None = None,
    picked: Sequence[int] = (),
    mistakes: int = 24,
    images: int = 600,
    planes: int = 128,
) -> str:
    """Return a page that shows what the network of a run learned and how it decides, as one HTML file.

    Parameters
    ----------
    run : Run
        The run; see `load_run`.
    split : str
        The images: ``"validation"``, or ``"test"``. Each page of test images counts as a look at them (``test_looks``
        in the run's ``result.json``).
    root : path, optional
        The data folder; by default the one that the run was trained with.
    layer : str, optional
        The path of the layer whose planes are shown; by default the last one with maps of more than one pixel.
    picked : sequence of int
        The positions in the split of the images to look into before the mistakes.
    mistakes : int
        The number of mistakes to look into: the most confident ones, or, of predicted numbers, the largest errors.
    images : int
        The number of images to carry in the page, shown for the cells of the confusion matrix.
    planes : int
        The number of planes to show and to prune; if there are more, the most active ones are taken.

    Raises
    ------
    OptionError
        There is no such split, layer or image, or `mistakes`, `images` or `planes` is below 1.
    DataError
        The data are missing or damaged, or the split is empty.
    ShapeError
        The network does not return outputs (N, K), or the layer has no maps.
    """
    counts = {"mistakes": mistakes, "images": images, "planes": planes}
    if wrong := {name: count for name, count in counts.items() if count < 1}:
        raise OptionError(f"run_page: expected counts of 1 or more, got {wrong}")
    if split not in ("validation", "test"):
        raise OptionError(f"run_page: expected split 'validation' or 'test', got {split!r}")
    data = run.data(split, root=root)
    if not len(data):
        raise DataError(f"run {run.folder}: expected {split} images, got none")
    if outside := [n for n in picked if not 0 <= n < len(data)]:
        raise OptionError(f"run_page: expected images from 0 to {len(data) - 1}, got {outside}")
    report = run.evaluate(data)
    if isinstance(report, RegressionReport):
        chosen = np.array(list(dict.fromkeys([*picked, *report.largest_errors()[:mistakes].tolist()])))
        names, found = (), {"images": _estimated(data, report, chosen), "planes": None}
    else:
        chosen, names = _to_look_into(report, picked, mistakes), report.prediction.names
        found = {
            "images": _images(data, report, chosen, images),
            **_planes(run, data, report, chosen, layer, planes, root),
        }
    content = {"run": _facts(run, data, names, split), "chosen": chosen.tolist(), **_inside(run, data, chosen), **found}
    content["looks"] = count_test_look(run.folder) if split == "test" else None
    return _filled(f"{run.recipe['recipe'].get('title', run.recipe.name)}", content)


def _filled(title: str, content: dict[str, Any]) -> str:
    """Return the page. In the JSON, no character can end the element or begin a comment."""
    folder = resources.files(__package__)
    frame, style, script = ((folder / f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    data = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    parts = {"style": style, "script": script, "data": data, "version": tgl.__version__}
    return Template(frame).substitute(parts, title=html.escape(title))


def _facts(run: Run, data: Dataset, names: Sequence[str], split: str) -> dict[str, Any]:
    """Return what the head of the page says, the classes or targets, the headline score and the curves."""
    score = TASKS[run.manifest.task]
    size = sum(v.size for v in run.model.parameters().values())
    return {
        "folder": str(run.folder),
        "recipe": run.recipe.name,
        "network": run.recipe["model"]["name"],
        "parameters": size,
        "data": run.recipe["data"]["name"],
        "split": split,
        "size": list(run.image),
        "noun": data.noun,
        "weights": run.weights,
        "classes": list(names),
        "targets": list(run.targets),
        "score": {"name": score.name, "title": str(score), "percent": score.percent},
        "curves": _curves(_history(run), score.name),
    }


def _history(run: Run) -> list[dict[str, Any]]:
    """Return the metrics of the run's epochs; none if their file is missing, as in a folder that was handed on."""
    path = run.folder / "metrics.jsonl"
    return read_history(path) if path.exists() else []


def _curves(history: list[dict[str, Any]], score: str) -> list[dict[str, Any]]:
    """Return loss and headline score of each epoch on each split."""
    found = []
    for name, key in _CURVES.items():
        rows = [m if key is None else m.get(key) for m in history]
        kept = [(m["epoch"], row) for m, row in zip(history, rows, strict=True) if row is not None]
        if kept:
            found.append(
                {
                    "name": name,
                    "epochs": [epoch for epoch, _ in kept],
                    "loss": [short(row["loss"]) for _, row in kept],
                    score: [short(row[score]) for _, row in kept],
                }
            )
    return found


def _to_look_into(report: Report, picked: Sequence[int], mistakes: int) -> Array:
    """Return the images to look into: picked ones, the most confident mistakes, and uncertain ones if these are few."""
    confidence = report.prediction.probabilities.max(axis=1)
    wrong = report.prediction.labels != report.labels
    order = np.lexsort((np.where(wrong, -confidence, confidence), ~wrong))  # mistakes first, then the uncertain
    count = min(mistakes, max(int(wrong.sum()), _AT_LEAST))
    return np.array(list(dict.fromkeys([*picked, *order[:count].tolist()])))


def _images(data: Dataset, report: Report, chosen: Array, limit: int) -> dict[str, Any]:
    """Return every image's true and predicted class, its confidence, and pictures of some from each cell."""
    predicted, labels = report.prediction.labels, report.labels
    confidence = report.prediction.probabilities.max(axis=1)
    kept = _from_each_cell(labels, predicted, confidence, limit)
    shown = np.union1d(chosen, kept)
    return {
        "labels": labels.tolist(),
        "predicted": predicted.tolist(),
        "confidence": [round(float(p), 3) for p in confidence],
        "shown": shown.tolist(),
        **_shown(data, shown),
    }


def _estimated(data: Dataset, report: RegressionReport, chosen: Array) -> dict[str, Any]:
    """Return every example's true and predicted numbers, the scores, and pictures of the chosen ones."""
    shown = np.unique(chosen)
    return {
        "labels": _rounded(report.targets),
        "predicted": _rounded(report.estimate.values),
        "scores": [
            {str(score): short(report.scores(number)[score.name]) for score in SCORES}
            for number in range(len(report.estimate.names))
        ],
        "shown": shown.tolist(),
        **_shown(data, shown),
    }


def _rounded(values: Array) -> list[list[float]]:
    return [[float(f"{value:.5g}") for value in row] for row in values.tolist()]


def _shown(data: Dataset, positions: Array) -> dict[str, Any]:
    """Return the pictures of images, or the first numbers of sequences and rows."""
    found = data.batch(positions)
    if data.noun == "images":
        return {"sprite": sprite(pictures(found)), "texts": None}
    rows = [row[row != 0] if data.noun == "sequences" else row for row in found]  # short sequences are padded with 0
    return {"sprite": None, "texts": [" ".join(f"{number:g}" for number in row[:_NUMBERS]) for row in rows]}


def _from_each_cell(labels: Array, predicted: Array, confidence: Array, limit: int) -> Array:
    """Return positions of images, in rounds: the most confident one of each cell of the confusion matrix, and so on.

    In each round, mistakes come first.
    """
    cell = labels * (predicted.max(initial=0) + 1) + predicted
    order = np.lexsort((-confidence, cell))
    sizes = np.bincount(cell)
    rank = np.empty(len(cell), np.int64)
    rank[order] = np.arange(len(cell)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first: Array = np.lexsort((labels == predicted, rank))[:limit]
    return first


def _inside(run: Run, data: Dataset, chosen: Array) -> dict[str, Any]:
    """Return filters, feature maps, dead units and histograms."""
    looked = run.prepare(data.batch(chosen[:_FEATURES]))
    units = evenly(len(data), _UNITS)
    counted = evenly(len(data), max(4, _HISTOGRAM_PIXELS // math.prod(data.shape[:2])))
    loader = evaluation_loader(data.take(counted), run.preprocessing, device=device_of(run.model))
    parts = list(loader)
    x, labels = (namespace(parts[0][0]).concatenate([part[i] for part in parts]) for i in (0, 1))
    return {
        "filters": filters(run.model, looked),
        "features": feature_maps(run.model, looked),
        "units": {"layers": dead_units(run.model, batches(run, data, units)), "images": len(units)},
        "histograms": histograms(run, _history(run), x, labels),
    }


def _planes(
    run: Run,
    data: Dataset,
    report: Report,
    chosen: Array,
    layer: str | None,
    limit: int,
    root: str | os.PathLike[str] | None,
) -> dict[str, Any]:
    """Return how the planes of the last maps decide, what excites them, and the predictions without each."""
    x = run.prepare(data.batch(chosen[:1]))
    path = layer or last_maps(run.model, x)
    if path is None or data.noun != "images":
        return {"planes": None}
    maps = cut(run.model, x, path).maps
    pruned = prune_each(run, data, path, limit)
    classes = np.stack([_rivals(report, chosen), report.labels[chosen]], axis=1)
    height, width, count = maps.shape[1:]
    found = {
        "layer": f"{path} ({kind_of(run.model.layers()[path])})",
        "path": path,
        "size": f"{height}x{width}",
        "count": count,
        "numbers": pruned.planes,
        "activity": rounded(pruned.activity[pruned.planes]),
        "changed": pruned.changed,
        "classes": classes.tolist(),
        "exciting": exciting(run, run.data("train", root=root), path, pruned.planes),
        "decisions": decisions(run, data, chosen, classes, path, pruned.planes),
    }
    return {"planes": found}


def _rivals(report: Report, chosen: Array) -> Array:
    """Return for each image the most probable class that is not the true one."""
    probabilities = report.prediction.probabilities[chosen].copy()
    probabilities[np.arange(len(chosen)), report.labels[chosen]] = -1
    rivals: Array = probabilities.argmax(axis=1)
    return rivals

