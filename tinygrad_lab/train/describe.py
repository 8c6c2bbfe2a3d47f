"""Description of a run before its first step: data, network, transferred weights, and what learns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from tinygrad_lab.data import Dataset, find_source
from tinygrad_lab.nn.variables import Variable
from tinygrad_lab.train.recipe import TEST, Recipe
from tinygrad_lab.train.trainer import Trainer

_SHOWN = 6  # classes or paths in a line


def describe_run(recipe: Recipe, trainer: Trainer, *, root: str | None) -> list[str]:
    """Return lines about the data, the network, and the weights that were read, newly drawn or frozen.

    The test images are counted without reading them.
    """
    return [_data_line(recipe, trainer, root), *_network_lines(recipe, trainer)]


def _data_line(recipe: Recipe, trainer: Trainer, root: str | None) -> str:
    data = trainer.batches.dataset
    parts = [f"{len(data):,} training"]
    parts += [f"{len(trainer.validation.dataset):,} validation"] if trainer.validation is not None else []
    if recipe["training"].get("test", TEST[0]) != "never":
        tested = _test_images(recipe, trainer, root)
        parts += [f"{tested:,} test"] if tested else []
    shape = "x".join(map(str, data.shape))
    return f"{recipe['data']['name']}: {' + '.join(parts)} {data.noun} {shape}, {_labels(data)}"


def _labels(data: Dataset) -> str:
    """Return the sizes of the classes in words, or the means and deviations of the target numbers."""
    if data.task == "classification":
        counts = _some(f"{name}: {count:,}" for name, count in data.counts().items())
        return f"{len(data.classes)} classes ({counts})"
    mean, std = data.labels.mean(axis=0, dtype="float64"), data.labels.std(axis=0, dtype="float64")
    numbers = zip(data.targets, mean, std, strict=True)
    count = len(data.targets)
    return f"{count} target number{'s' * (count > 1)} ({_some(f'{name}: {m:.4g} ± {s:.3g}' for name, m, s in numbers)})"


def _test_images(recipe: Recipe, trainer: Trainer, root: str | None) -> int | None:
    """Return the number of test images, or None if it is unknown before they are read."""
    if trainer.test is not None:
        return len(trainer.test.dataset)
    return None if recipe["data"].get("classes") else find_source(recipe["data"]["name"]).count("test", root)


def _network_lines(recipe: Recipe, trainer: Trainer) -> Iterator[str]:
    variables, parameters = trainer.model.variables(), trainer.model.parameters()
    transfer, total = recipe["transfer"], size_of(parameters)
    count = math.ceil(len(trainer.batches) / trainer.accumulate)
    yield f"{recipe['model']['name']}: {total:,} parameters; {count:,} update{'s' * (count != 1)} an epoch"
    if "weights" in transfer and not trainer.steps:  # a resumed run has its own
        fresh = [path for path in variables if any(fnmatchcase(path, pattern) for pattern in transfer.get("fresh", []))]
        kept = f"; newly drawn: {_some(fresh)}" if fresh else ""
        yield f"weights of {Path(transfer['weights']).name}: {len(variables) - len(fresh)} arrays{kept}"
    frozen = {path: parameter for path, parameter in parameters.items() if parameter.node is None}
    if frozen:
        learns = f"{total - size_of(frozen):,} of {total:,} parameters learn"
        yield f"{learns}; frozen: {_some(dict.fromkeys(path.rpartition('.')[0] for path in frozen))}"


def size_of(variables: Mapping[str, Variable]) -> int:
    """Return the total number of elements of some variables."""
    return sum(math.prod(variable.shape) for variable in variables.values())


def _some(texts: Iterable[str]) -> str:
    """Return the first texts of many, separated by commas."""
    every = list(texts)
    return ", ".join([*every[:_SHOWN], *(["..."] if len(every) > _SHOWN else [])])
