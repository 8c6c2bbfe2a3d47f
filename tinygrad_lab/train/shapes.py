"""Checks by shapes alone, before data and weights are in memory: images fit the network, memory suffices."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from tinygrad_lab import registry
from tinygrad_lab.arguments import fits
from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.backend import Shape
from tinygrad_lab.data import Compose, Dataset, Source
from tinygrad_lab.errors import ConfigError, LabError, warn_once
from tinygrad_lab.limits import check_memory
from tinygrad_lab.nn.functional import watched_output_shapes
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.train.recipe import BATCH_SIZE, Recipe

_FLOAT32 = 4  # bytes


def dummy_images(source: Source, size: tuple[int, int] | None = None) -> Dataset | None:
    """Return two made-up examples of a source's shape, or None if only the source's files determine the shape."""
    if source.image is None:
        return None
    labels: Any = np.zeros((2, len(source.targets)), np.float32) if source.targets else np.zeros(2, int)
    if len(source.image) == 1:
        kind = np.float32 if source.examples == "rows" else np.int64
        return Dataset(np.ones((2, *source.image), kind), labels, targets=source.targets, name=source.name)
    shape = (2, *(size or source.image[:2]), source.image[2])
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return Dataset(images, labels, targets=source.targets, name=source.name)


def check_images(recipe: Recipe, model: Layer, augment: Compose, data: Dataset) -> None:
    """Check that the network accepts the augmented images, in training and in evaluation, and has enough outputs.

    A network without `output_shape` is not checked. If a network returns a tuple, its number of classes is not checked.

    Raises
    ------
    ConfigError
        The network expects images of another shape, or has fewer outputs than there are classes, or another number of
        outputs than there are target numbers. The message says what to set.
    """
    for pipeline in (augment, augment.for_evaluation()):
        shape = shape_after(pipeline, data)
        try:
            out = model.output_shape((1, *shape))
        except LabError as error:
            problem = "; ".join([str(error), *getattr(error, "__notes__", [])])
            raise _misfit(recipe, data, shape, problem) from error
        except NotImplementedError:  # a network may train without output_shape
            continue
        batch_size = recipe["data"].get("batch_size", BATCH_SIZE) if pipeline is augment else 1
        check_step(f"recipe {recipe.name!r}", model, shape, batch_size=min(batch_size, len(data)))
        _check_outputs(recipe, out, data)


def _check_outputs(recipe: Recipe, out: Any, data: Dataset) -> None:
    """Check that the shape of the outputs fits the classes or targets; log a warning if there are too many."""
    who, count, is_number = f"recipe {recipe.name!r}", data.outputs, data.task == "regression"
    if fits(out, tuple[int, int, int, int]):
        raise ConfigError(
            f"{who}: expected outputs (N, {'targets' if is_number else 'classes'}), got maps of shape {out[1:]}; end "
            "the network with global_avg_pool2d, or with flatten and dense"
        )
    option = _option(recipe, "classes")
    advice = "change the network's last layer" if option is None else f"--set model.classes={count}"
    if is_number and fits(out, tuple[int, ...]) and out[1:] != (count,):
        what = f"{count} output{'s' * (count > 1)}, one for each target number of {data.name!r}"
        raise ConfigError(f"{who}: expected {what}, got shape {out[1:]}; {advice}")
    if is_number or not fits(out, tuple[int, int]) or out[1] < 2 or count < 2:
        return
    if out[1] < count:
        raise ConfigError(
            f"{who}: expected an output for each of the {count} classes of {data.name!r}, got {out[1]}; {advice}"
        )
    if out[1] > count:
        warn_once(f"{who}: {out[1]} outputs for {count} classes; {advice}")


def shape_after(pipeline: Compose, data: Dataset) -> Shape:
    """Return the shape of an image of a data set after a pipeline."""
    images = data.batch(slice(2)).astype(np.float32)
    with reference_only():  # compiling would take longer than two images do
        images, _ = pipeline(images / 255, data.labels[:2], rng=np.random.default_rng(0))
    return tuple(images.shape[1:])


def _misfit(recipe: Recipe, data: Dataset, shape: Shape, problem: str) -> ConfigError:
    name, who = recipe["model"]["name"], f"recipe {recipe.name!r}"
    got = f"{_words(data.shape)} of {data.name!r}" + (f", {_words(shape)} augmented" if shape != data.shape else "")
    option = _option(recipe, "image")
    if option is None:
        return ConfigError(f"{who}: expected {data.noun} that the network takes, got {got}: {problem}")
    expected, setting = _words(recipe["model"].get("image", option.default)), f"model.image={[*shape]}".replace(" ", "")
    return ConfigError(f"{who}: expected images of {expected} for {name!r}, got {got}; --set '{setting}'")


def _option(recipe: Recipe, option: str) -> inspect.Parameter | None:
    """Return an option of the recipe's network, or None if the network has no such option."""
    name = recipe["model"]["name"]
    return inspect.signature(registry.models[name]).parameters.get(option) if name in registry.models else None


def _words(shape: Any) -> str:
    return "x".join(map(str, shape))


def check_weights(who: str, model: Layer) -> None:
    """Refuse a network whose weights and their gradients do not fit into the memory of this machine.

    Parameters
    ----------
    who : str
        The subject of the message.
    model : Layer
        The network; its shapes suffice (see `shapes_only`).

    Raises
    ------
    ConfigError
        The machine has too little memory.
    """
    numbers = sum(math.prod(parameter.shape) for parameter in model.parameters().values())
    what = f"{who}: {numbers:,} weights and their gradients"
    check_memory(ConfigError, what, _FLOAT32 * numbers * 2, cure="take a smaller network")


def check_step(who: str, model: Layer, image: Shape, *, batch_size: int) -> None:
    """Refuse a network and batches whose values do not fit into the memory of this machine during one step.

    The estimate is a lower bound: the inputs of layers with weights, which gradients need, and the largest result. A
    network without `output_shape` is not checked.

    Raises
    ------
    ConfigError
        The machine has too little memory.
    """
    kept: list[int] = [math.prod(image)]
    largest = 0

    def note(layer: Layer, shapes: tuple[Shape, ...], result: Any) -> None:
        nonlocal largest
        largest = max(largest, _numbers(result))
        if layer.parameters() and not layer.children():
            kept.append(_numbers(shapes))

    with watched_output_shapes(model, note):
        try:
            model.output_shape((1, *image))
        except NotImplementedError:
            return
    what = f"{who}: a step with batches of {batch_size:,} images"
    check_memory(ConfigError, what, _FLOAT32 * batch_size * (sum(kept) + largest), cure="take smaller batches")


def _numbers(shapes: Any) -> int:
    """Return the number of elements of an array of this shape, or of several arrays."""
    if any(isinstance(entry, (tuple, list)) for entry in shapes):
        return sum(map(_numbers, shapes))
    return math.prod(shapes)
