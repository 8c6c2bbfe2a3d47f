"""Planes of a network's last maps: their part in single decisions, the network without them, and what excites them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.backend import Array
from tinygrad_lab.data import Dataset
from tinygrad_lab.inspect.cut import cut, last_maps
from tinygrad_lab.inspect.page.figures import evenly, short, to_numpy
from tinygrad_lab.inspect.page.sprites import LONGEST, levels, pictures, sprite
from tinygrad_lab.inspect.planes import class_activation, grad_cam, has_class_activation, plane_contributions
from tinygrad_lab.inspect.run import Run

_PIXELS = 1 << 18  # of the images of a batch
_TRAINING = 2000  # training images that are searched for those that excite a plane most
_EXCITING = 6  # exciting images that are shown for each plane


def batches(run: Run, data: Dataset, positions: Array) -> Iterator[Array]:
    """Yield the images at some positions, prepared for the network, in batches that suit the memory."""
    size = max(1, min(256, _PIXELS // math.prod(data.shape[:2])))
    for first in range(0, len(positions), size):
        yield run.prepare(data.batch(positions[first : first + size]))


@dataclass(frozen=True, eq=False)
class Pruned:
    """What becomes of the predictions if single planes are set to zero.

    Parameters
    ----------
    planes : list of int
        The planes that were pruned; if there are many, only the most active ones.
    activity : array (C,)
        The mean of every plane over the images.
    changed : list of list of int
        For each of `planes`, the images whose predicted class changes: position and new class in turn.
    """

    planes: list[int]
    activity: Array
    changed: list[list[int]]


def prune_each(run: Run, data: Dataset, path: str, limit: int) -> Pruned:
    """Return how the predictions of a network change without each of its planes.

    The layers up to the maps run once; only the rest of the network runs again for each plane.

    Parameters
    ----------
    run : Run
        The network.
    data : Dataset
        The images.
    path : str
        The path of the layer with the maps.
    limit : int
        The number of planes.
    """
    sample = evenly(len(data), 256)
    planes = np.sort(np.argsort(-_activity(run, data, sample, path).mean(axis=0), kind="stable")[:limit])
    changed: list[list[int]] = [[] for _ in planes]
    activity, first = [], 0
    for x in batches(run, data, np.arange(len(data))):
        at = cut(run.model, x, path)
        maps = at.maps.copy()
        activity.append(to_numpy(maps.mean(axis=(1, 2))))  # (n, H, W, C) -> (n, C)
        with no_grad():
            before = to_numpy(at.scores(maps)).argmax(axis=1)
            for plane, changes in zip(planes.tolist(), changed, strict=True):
                whole = maps[..., plane].copy()
                maps[..., plane] = 0
                after = to_numpy(at.scores(maps)).argmax(axis=1)
                maps[..., plane] = whole
                for n in np.flatnonzero(after != before).tolist():
                    changes += [first + n, int(after[n])]
        first += len(x)
    return Pruned(planes.tolist(), np.concatenate(activity).mean(axis=0), changed)


def _activity(run: Run, data: Dataset, positions: Array, path: str) -> Array:
    """Return the mean of each plane on each image, (n, C)."""
    means = [to_numpy(cut(run.model, x, path).maps.mean(axis=(1, 2))) for x in batches(run, data, positions)]
    return np.concatenate(means)


def exciting(run: Run, train: Dataset, path: str, planes: list[int]) -> dict[str, Any]:
    """Return for each plane the training images on which its mean is highest, in one sprite."""
    searched = evenly(len(train), _TRAINING)
    activity = _activity(run, train, searched, path)[:, planes]
    best = np.argsort(-activity, axis=0, kind="stable")[:_EXCITING].T  # (n, planes) -> (planes, 6)
    shown, tile = np.unique(best, return_inverse=True)
    return {
        "searched": len(searched),
        "images": len(train),
        "sprite": sprite(pictures(train.batch(searched[shown]))),
        "tiles": tile.reshape(best.shape).tolist(),
        "labels": train.labels[searched[shown]].tolist(),
        "means": [[short(float(activity[n, plane])) for n in row] for plane, row in enumerate(best)],
    }


def decisions(
    run: Run, data: Dataset, positions: Array, classes: Array, path: str, planes: list[int]
) -> dict[str, Any]:
    """Return for each image how the planes decide between two classes.

    Parameters
    ----------
    run : Run
        The network.
    data : Dataset
        The images.
    positions : array (n,)
        The positions of the images to explain.
    classes : array (n, 2)
        The two classes of each: the predicted one (or its strongest rival) and the true one.
    path : str
        The path of the layer with the maps.
    planes : list of int
        The planes that are shown. The others are summed up.
    """
    parts, first, is_cam = [], 0, _is_cam(run, run.prepare(data.batch(positions[:1])), path)
    for x in batches(run, data, positions):
        parts.append(_decided(run, x, classes[first : first + len(x)], path, is_cam))
        first += len(x)
    x, maps, amounts, heat = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    tiles = maps[..., planes].transpose(0, 3, 1, 2)  # (n, H, W, C) -> (n, C, H, W)
    step = -(-max(tiles.shape[2:]) // LONGEST)
    tiles = tiles[:, :, ::step, ::step]
    low, high = tiles.min(axis=(0, 2, 3), keepdims=True), tiles.max(axis=(0, 2, 3), keepdims=True)
    heat = heat[:, :, :: -(-heat.shape[2] // LONGEST), :: -(-heat.shape[3] // LONGEST)]
    others = np.delete(amounts[:, :-1], planes, axis=1).sum(axis=1)
    cropped = x.shape[1:3] != data.shape[:2]
    return {
        "method": "CAM" if is_cam else "Grad-CAM",
        "responses": rounded(maps[..., planes].mean(axis=(1, 2))),
        "amounts": rounded(amounts[:, planes]),
        "others": rounded(others),
        "rest": rounded(amounts[:, -1]),
        "empty": (heat.max(axis=(2, 3)) <= 0).tolist(),
        "logits": rounded(amounts.sum(axis=1)),
        "maps": sprite(levels(tiles, low, high).reshape(-1, *tiles.shape[2:]), "viridis"),
        "heat": sprite(_as_bytes(heat).reshape(-1, *heat.shape[2:]), "heat"),
        "crops": sprite(pictures(_stretched(x))) if cropped else None,  # the maps cover what the network is given
    }


def _decided(run: Run, x: Array, classes: Array, path: str, is_cam: bool) -> tuple[Array, ...]:
    """Return prepared images, their maps, contributions (n, C + 1, 2) with the rest as last, and heat (n, 2, h, w)."""
    maps = cut(run.model, x, path).maps
    found = [plane_contributions(run.model, x, classes[:, k], layer=path) for k in (0, 1)]
    amounts = [np.column_stack([to_numpy(one.planes), to_numpy(one.rest)]) for one in found]
    if is_cam:
        activation = to_numpy(class_activation(run.model, x)).clip(0)  # (n, h, w, K)
        chosen = np.take_along_axis(activation, classes[:, None, None, :], axis=3)  # (n, h, w, K) -> (n, h, w, 2)
        heat = chosen.transpose(0, 3, 1, 2)
    else:
        heat = np.stack([to_numpy(grad_cam(run.model, x, classes[:, k], layer=path)) for k in (0, 1)], axis=1)
    return to_numpy(x), to_numpy(maps), np.stack(amounts, axis=2), heat


def _is_cam(run: Run, x: Array, path: str) -> bool:
    """Return whether class activation maps apply: the maps are those before the mean, and each class has a logit."""
    if not has_class_activation(run.model) or path != last_maps(run.model, x):
        return False
    return bool(class_activation(run.model, x).shape[-1] > 1)


def _as_bytes(heat: Array) -> Array:
    """Return maps of two classes as bytes; both maps of an image have one scale."""
    return levels(heat, np.float32(0), heat.max(axis=(1, 2, 3), keepdims=True))


def _stretched(x: Array) -> Array:
    """Return prepared images with values from 0 to 1."""
    low, high = x.min(axis=(1, 2, 3), keepdims=True), x.max(axis=(1, 2, 3), keepdims=True)
    return ((x - low) / np.where(high > low, high - low, 1)).astype(np.float32)


def rounded(array: Array) -> Any:
    """Return an array as lists of numbers with four digits."""
    return [rounded(row) for row in array] if array.ndim else short(float(array))
