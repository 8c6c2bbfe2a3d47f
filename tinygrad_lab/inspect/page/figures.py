"""Figures of a network's parts: filters, feature maps, histograms of values and gradients, and dead units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tinygrad_lab import registry
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, backend_of, is_array, transfer
from tinygrad_lab.errors import LabError
from tinygrad_lab.inspect.cut import is_map, watch
from tinygrad_lab.inspect.page.sprites import LONGEST, levels, sprite
from tinygrad_lab.inspect.run import Run
from tinygrad_lab.inspect.signals import signals
from tinygrad_lab.inspect.trace import kind_of
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.train.build import build_network
from tinygrad_lab.train.checkpoint import CheckpointFolder, load
from tinygrad_lab.train.evaluation import best_epoch, device_of
from tinygrad_lab.weights import read_arrays

_FILTERS = 128  # filters that are shown
_LAYERS, _PLANES = 16, 16  # layers and planes of feature maps that are shown
_BINS = 31
_TAIL = 0.001  # the share of values that the first and the last bin of a histogram collect
_DEAD = 40  # dead units of a layer that are listed


def to_numpy(value: Any) -> Array:
    """Return an array or a Tensor as an array of NumPy."""
    array = unbox(value)
    return backend_of(array).to_numpy(array)


def short(value: float) -> float | None:
    """Return a number with four digits, or None if it is not finite, which JSON cannot hold."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def evenly(count: int, wanted: int) -> Array:
    """Return at most `wanted` positions out of `count`, at equal distances."""
    if not count:
        return np.empty(0, np.int64)
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))


def filters(model: Layer, x: Array) -> dict[str, Any]:
    """Return the weights of the first layer as pictures, or the reason why there are none.

    They are the filters of a convolution (h, w, in, out), or the weights of a dense layer (H W C, out), laid out as the
    image is.
    """
    paths: list[str] = []
    watch(model, x[:1], lambda path, out: paths.append(path))
    known = model.layers()
    path = next((p for p in paths if known[p].variables() and not known[p].children()), None)
    if path is None:
        return {"why": "No layer has weights."}
    weight = known[path].variables().get("weight")
    array = None if weight is None else to_numpy(weight.value)
    name = f"{path} ({kind_of(known[path])})"
    if x.ndim == 4 and array is not None and array.ndim == 2 and len(array) == math.prod(x.shape[1:]):
        array = array.reshape(*x.shape[1:], -1)  # (H*W*C, out) -> (H, W, C, out)
    if array is None or array.ndim != 4:
        return {"why": f"The first layer with weights, {name}, has neither filters nor a weight for each pixel."}
    tiles = np.moveaxis(array[..., :_FILTERS], 3, 0)  # (h, w, in, out) -> (out, h, w, in)
    largest = abs(tiles).max(axis=(1, 2, 3), keepdims=True)
    if tiles.shape[3] != 3:
        tiles = tiles.mean(axis=3)  # (out, h, w, in) -> (out, h, w)
        largest = abs(tiles).max(axis=(1, 2), keepdims=True)
    height, width, inputs, count = array.shape
    size = f"{count} filters of {height}x{width}x{inputs}"
    return {"layer": name, "size": size, "sprite": sprite(levels(tiles, -largest, largest)), "count": count}


def feature_maps(model: Layer, x: Array) -> list[dict[str, Any]]:
    """Return the maps of the layers for some images: a sprite for each layer, with the planes of each image in turn."""
    kept: list[tuple[str, Array]] = []

    def see(path: str, out: Any) -> None:
        if is_map(getattr(out, "shape", ())):
            kept.append((path, to_numpy(out)))

    watch(model, x, see)
    kept = [kept[i] for i in evenly(len(kept), _LAYERS)]
    known, found = model.layers(), []
    for path, maps in kept:
        step = -(-max(maps.shape[1:3]) // LONGEST)
        count, height, width, planes = maps.shape
        tiles = maps[:, ::step, ::step, :_PLANES].transpose(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, h, w)
        low, high = tiles.min(axis=(1, 2, 3)), tiles.max(axis=(1, 2, 3))
        shown = tiles.shape[1]
        tiles = levels(tiles, low[:, None, None, None], high[:, None, None, None])
        tiles = tiles.reshape(count * shown, *tiles.shape[2:])  # (N, C, h, w) -> (N*C, h, w)
        found.append(
            {
                "layer": f"{path} ({kind_of(known[path])})",
                "size": f"{height}x{width}, {planes} planes",
                "planes": shown,
                "range": [[short(a), short(b)] for a, b in zip(low, high, strict=True)],
                "sprite": sprite(tiles, "viridis"),
            }
        )
    return found


def dead_units(model: Layer, batches: Iterable[Array]) -> list[dict[str, Any]]:
    """Return for each layer the units (planes, neurons) with the same value at every position of every image."""
    bounds: dict[str, tuple[Array, Array]] = {}

    def see(path: str, out: Any) -> None:
        if len(getattr(out, "shape", ())) < 2 or 0 in out.shape:
            return
        values = to_numpy(out)
        axes = tuple(range(values.ndim - 1))
        low, high = values.min(axis=axes), values.max(axis=axes)
        before = bounds.get(path, (low, high))
        if low.shape == before[0].shape:  # the last axis of sequences may change from call to call
            bounds[path] = (np.minimum(low, before[0]), np.maximum(high, before[1]))

    for x in batches:
        watch(model, x, see)
    known, found = model.layers(), []
    for path, (low, high) in bounds.items():
        same = np.flatnonzero(low == high)
        zero = int((high[same] == 0).sum())
        kind, listed = kind_of(known[path]), same[:_DEAD].tolist()
        row = {"layer": f"{path} ({kind})", "units": len(low), "dead": len(same), "zero": zero, "list": listed}
        if kind not in ("flatten", "reshape"):  # which repeat the values before them, at other places
            found.append(row)
    return found


def histograms(run: Run, history: list[dict[str, Any]], x: Array, labels: Array) -> dict[str, Any]:
    """Return histograms of each layer's result and its gradient, for the weights of every epoch that the run kept.

    Only innermost layers are listed. The gradient is that of the loss, a mean over the images, in evaluation mode.
    """
    loss, labels = registry.losses.bind(run.recipe["loss"]), transfer(labels, device_of(run.model))
    entries: list[dict[str, Any]] = []
    problems: list[str] = []
    for epoch, label, state in _kept_weights(run, history, problems.append):
        model = run.model
        if state is not None:
            model = build_network(run.recipe).to(device_of(run.model)).eval()
            model.load_state(state)
        rows = [
            {
                "layer": f"{signal.path} ({signal.kind})",
                "output": _histogram(signal.output),
                "gradient": None if signal.gradient is None else _histogram(signal.gradient),
            }
            for signal in signals(model, x, labels, loss)
            if is_array(signal.output) and signal.output.dtype.kind == "f"
        ]
        entries.append({"epoch": epoch, "label": label, "used": state is None, "layers": rows})
    return {"epochs": entries, "images": len(x), "problems": problems, "trained": len(history)}


def _kept_weights(
    run: Run, history: list[dict[str, Any]], failed: Callable[[str], None]
) -> Iterator[tuple[int | None, str, Any]]:
    """Yield the weights of a run by epoch: the epoch, a label and the state, or None for the loaded weights."""
    used = _epoch_of(run.weights, history)
    found: dict[int, Any] = {}
    if not run.recipe["transfer"].get("weights"):
        found[0] = build_network(run.recipe).state()
    checkpoints = CheckpointFolder(run.folder / "checkpoints")
    for path in map(checkpoints.path, checkpoints.steps()):
        try:
            contents = load(path)
            found[contents["epoch"]] = contents["model"]
        except LabError as error:
            failed(str(error))
    for which, name in (("best", "weights-best"), ("last", "weights")):
        file, epoch = run.folder / f"{name}.safetensors", _epoch_of(which, history)
        if epoch is not None and file.exists():
            found[epoch] = read_arrays(file)
    if used is None:
        yield None, f"{run.weights} weights", None
    else:
        found[used] = None
    names = {_epoch_of("last", history): "last", _epoch_of("best", history): "best on validation", 0: "before training"}
    for epoch, state in sorted(found.items()):
        more = f", {names[epoch]}" if epoch in names else ""
        yield epoch, f"epoch {epoch}{more}", state


def _epoch_of(which: str, history: list[dict[str, Any]]) -> int | None:
    """Return the epoch of the best or the last weights, or None if the run has no metrics."""
    if not history:
        return None
    best = which == "best" and "validation" in history[-1]
    return best_epoch(history, "validation") + 1 if best else len(history)


def _histogram(values: Array) -> dict[str, Any]:
    """Return the histogram of the values that are not 0, the share of zeros and the root of the mean square."""
    array = to_numpy(values).ravel().astype(np.float64)
    finite = array[np.isfinite(array)]
    found = {"zeros": short(float((array == 0).mean())) if array.size else 0.0, "lost": int(array.size - finite.size)}
    rest = finite[finite != 0]
    if not rest.size:
        return {**found, "rms": 0.0, "low": 0.0, "high": 0.0, "counts": []}
    low, high = np.quantile(rest, [_TAIL, 1 - _TAIL])
    if high - low < 1e-9 * max(abs(low), abs(high)):  # all are equal, up to rounding
        low, high = low - abs(low) / 2, high + abs(high) / 2
    counts, _ = np.histogram(rest.clip(low, high), bins=_BINS, range=(low, high))
    scaled = (counts / counts.max() * 1000).round().astype(int).tolist()
    rms = short(math.sqrt(float((finite**2).mean())))
    return {**found, "rms": rms, "low": short(float(low)), "high": short(float(high)), "counts": scaled}
