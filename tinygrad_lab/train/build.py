"""Trainer of a recipe: its network, data, loss, optimizer and schedule, built and checked."""

from __future__ import annotations

import inspect
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_lab import registry
from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.backend import find_backend, transfer
from tinygrad_lab.data import Compose, Dataset, Loader, Shard, find_source, load
from tinygrad_lab.data.resizing import as_size
from tinygrad_lab.data.shards import numbers_of_ranks
from tinygrad_lab.distributed import Group, expect_alike, together
from tinygrad_lab.errors import ConfigError, OptionError, warn_once
from tinygrad_lab.nn.initializers import shapes_only
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.variables import Parameter
from tinygrad_lab.optim.clipping import clip_by_norm, clip_by_value
from tinygrad_lab.optim.optimizer import Optimizer
from tinygrad_lab.optim.schedules import Schedule
from tinygrad_lab.train.blocks import Parallel
from tinygrad_lab.train.callbacks import EarlyStopping, GradientNorms
from tinygrad_lab.train.capture import check_graphs
from tinygrad_lab.train.metrics import TASKS, Metric
from tinygrad_lab.train.recipe import BATCH_SIZE, NO_SETTINGS, TEST, Recipe
from tinygrad_lab.train.shapes import check_images, check_weights, dummy_images
from tinygrad_lab.train.trainer import Trainer
from tinygrad_lab.weights import begin_with

BLOCKS = 8  # blocks of a batch that ranks share, by default


def build_trainer(
    recipe: Recipe,
    *,
    root: str | None = None,
    workers: int = 1,
    device: str = "cpu",
    resumed: bool = False,
    group: Group | None = None,
) -> Trainer:
    """Return the trainer of a recipe: data loaded, weights drawn, and both on the device.

    Parameters
    ----------
    recipe : Recipe
        The settings.
    root : str, optional
        The data folder.
    workers : int
        The number of threads that prepare batches.
    device : str
        Where to train.
    resumed : bool
        Whether a checkpoint is going to be loaded. The recipe's initial weights are not read then.
    group : Group, optional
        The ranks that share the training.

    Raises
    ------
    DeviceError
        The device is unknown or missing.
    ConfigError, OptionError, PluginError
        The recipe names an unknown plugin or option, or its settings do not fit together.
    DataError
        The data are missing or damaged.
    """
    find_backend(device)
    model = build_network(recipe)
    shard = shard_of(recipe, group)
    batches, test, validation = _loaders(recipe, model, root=root, workers=workers, device=device, shard=shard)
    begin_with(model, **{k: v for k, v in recipe["transfer"].items() if not resumed or k in ("freeze", "but")})
    return assemble_trainer(recipe, model, batches, test=test, validation=validation, group=group)


def assemble_trainer(
    recipe: Recipe,
    model: Layer,
    batches: Loader,
    *,
    test: Loader | None = None,
    validation: Loader | None = None,
    group: Group | None = None,
) -> Trainer:
    """Return the trainer of a recipe for a given network and given loaders; see `build_trainer`."""
    training, device = recipe["training"], batches.device
    model.to(device)
    loss = _loss(recipe["loss"], batches.dataset)
    optimizer: Optimizer = registry.optimizers.make(recipe["optimizer"], model.parameters())
    optimizer.in_place = True  # nothing else holds the network's arrays
    schedule = _schedule(recipe["schedule"], training["epochs"]) if recipe["schedule"] else None
    _check_compatible(recipe, schedule, validation)
    if training.get("capture"):
        check_graphs(device)
    norms = GradientNorms() if training.get("gradient_norms") else None
    trainer = Trainer(
        model,
        loss,
        optimizer,
        batches,
        test=test,
        validation=validation,
        schedule=schedule,
        accumulate=training.get("accumulate", 1),
        clip=_clipping(training, norms),
        read_every=training.get("read_every"),
        capture=training.get("capture", False),
        precision=training.get("precision", "float32"),
        metrics=_metrics(recipe, batches.dataset),
        parallel=None if batches.shard is None else _parallel(training, group),
    )
    if norms is not None:
        trainer.callbacks.append(norms)
    if "patience" in training:
        trainer.callbacks.append(EarlyStopping(training["patience"]))
    return trainer


def with_blocks(recipe: Recipe, group: Group | None) -> Recipe:
    """Return the recipe with a number of blocks for each batch, if ranks share the training.

    By default there are 8 blocks, so that 1, 2, 4 and 8 ranks give the same bits. If the ranks do not divide 8, there
    is one block for each.
    """
    if group is None or "blocks" in recipe["training"]:
        return recipe
    return recipe.override([f"training.blocks={group.size if BLOCKS % group.size else BLOCKS}"])


def shard_of(recipe: Recipe, group: Group | None) -> Shard | None:
    """Return the blocks of each batch that this rank computes, or None for a training without blocks.

    Raises
    ------
    ConfigError
        The ranks cannot share the blocks.
    """
    group, blocks = group or Group(), with_blocks(recipe, group)["training"].get("blocks")
    if blocks is None:
        return None
    if recipe["training"].get("fast_sums"):
        blocks = group.size  # the shard as a whole
    if group.size not in (known := numbers_of_ranks(blocks)):
        raise ConfigError(
            f"recipe {recipe.name!r}: expected a number of ranks that can share training.blocks = {blocks} "
            f"({', '.join(map(str, known))}), got {group.size} ranks"
        )
    return Shard(rank=group.rank, ranks=group.size, blocks=blocks)


def _parallel(training: dict[str, Any], group: Group | None) -> Parallel:
    return Parallel(group or Group(), training.get("sync_batch_norm", False), training.get("fast_sums", False))


def begin_together(trainer: Trainer, recipe: Recipe, group: Group) -> None:
    """Check that all ranks have the same recipe, data and versions, and give them the weights of rank 0.

    Raises
    ------
    DistributedError
        The ranks differ.
    """
    if group.size == 1:
        return
    from tinygrad_lab import __version__

    data = trainer.batches.dataset
    some = data.batch(np.linspace(0, len(data) - 1, min(len(data), 64)).astype(int))
    content = zlib.crc32(some.tobytes(), zlib.crc32(data.labels.tobytes()))
    settings = {table: content for table, content in recipe.tables.items() if table not in NO_SETTINGS}
    facts = {
        "version of tinygrad_lab": __version__,
        "version of NumPy": np.__version__,
        "recipe": f"{recipe.name} ({zlib.crc32(json.dumps(settings, sort_keys=True).encode()):08x})",
        "data": f"{len(data):,} images ({content:08x})",
        "progress": f"{trainer.steps:,} updates",
    }
    with together(group):
        expect_alike(group, facts)
    for variable in trainer.model.variables().values():
        variable.assign(transfer(group.broadcast(variable.value), variable.device))


def _metrics(recipe: Recipe, data: Dataset) -> dict[str, Metric]:
    """Return the metrics that a recipe names, without the headline score of the data's task."""
    named = {name: registry.metrics[name] for name in recipe["training"].get("metrics", ())}
    named.pop(TASKS[data.task].name, None)
    return named


def build_network(recipe: Recipe) -> Layer:
    """Return the network of a recipe; check first, by shapes alone, that its weights fit into memory."""
    with shapes_only():
        check_weights(f"recipe {recipe.name!r}", network_of(recipe))
    model = network_of(recipe)
    model.seed = recipe["training"].get("seed", 0)
    return model


def network_of(recipe: Recipe) -> Layer:
    """Return the network of a recipe: a registered one, or a layer such as a ``sequential`` of others."""
    table = recipe["model"]
    made_of_layers = table["name"] in registry.layers and table["name"] not in registry.models
    kind, seed = registry.layers if made_of_layers else registry.models, recipe["training"].get("seed", 0)
    model: Layer = kind.make(table, rng=seed)
    return model


def _loaders(
    recipe: Recipe, model: Layer, *, root: str | None, workers: int, device: str, shard: Shard | None
) -> tuple[Loader, Loader | None, Loader | None]:
    """Return loaders of the training, test and validation images, after a check that they fit the network.

    The test images are read here only if the recipe evaluates them after each epoch.
    """
    who, data, name = f"recipe {recipe.name!r}", recipe.options("data"), recipe["data"]["name"]
    batch_size, source = data.pop("batch_size", BATCH_SIZE), find_source(name)
    if "size" in data:
        data["size"] = as_size(data["size"], f"{who}: data.size")
    if (example := dummy_images(source, data.get("size"))) is not None:
        check_images(recipe, model, fitted_pipeline(recipe, example), example)
    train_set = read_split(recipe, "train", root=root)
    if len(train_set.classes) == 1:
        warn_once(f"{who}: {name!r} has only the class {train_set.classes[0]!r}, so every answer is right; add a class")
    looks, splits = recipe["training"].get("test", TEST[0]), source.splits(root)
    validated = data.get("validation") or "validation" in splits
    if not validated and (looks == "never" or "test" not in splits):
        why = "training.test = 'never'" if looks == "never" else f"a data set {name!r} without a test split"
        raise ConfigError(
            f"{who}: expected images to evaluate on, got {why} and no data.validation; --set data.validation=0.1"
        )
    augment = fitted_pipeline(recipe, train_set)
    check_images(recipe, model, augment, train_set)
    batches = Loader(
        train_set,
        batch_size=batch_size,
        seed=recipe["training"].get("seed", 0),
        augment=augment,
        workers=workers,
        device=device,
        shard=shard,
    )
    validation = None
    if validated:
        images = read_split(recipe, "validation", root=root)
        validation = evaluation_loader(images, augment, device=device)
    return batches, open_test(recipe, batches, root=root) if looks == "epoch" else None, validation


def fitted_pipeline(recipe: Recipe, data: Dataset) -> Compose:
    """Return the augmentation of a recipe with the values that are measured on the training images.

    Raises
    ------
    ConfigError
        The recipe has an augmentation that cannot change the examples, because they are not images.
    """
    pipeline, who = Compose.from_config(recipe.augment), f"recipe {recipe.name!r}"
    for step, table in zip(pipeline.steps, recipe.augment, strict=True):
        if data.noun not in step.examples:
            what = f"no augmentation of {data.noun}" if data.noun == "sequences" else f"augmentations of {data.noun}"
            raise ConfigError(f"{who}: expected {what}, got {table['name']!r}; leave it out")
    return pipeline.fit(data)


def open_test(recipe: Recipe, batches: Loader, *, root: str | None) -> Loader | None:
    """Return a loader of a recipe's test images, prepared like the training images; None if the data set has none.

    Nothing else in training reads the test split.
    """
    if "test" not in find_source(recipe["data"]["name"]).splits(root):
        return None
    return evaluation_loader(read_split(recipe, "test", root=root), batches.augment, device=batches.device)


def read_split(recipe: Recipe, split: str, *, root: str | None) -> Dataset:
    """Return the training, validation or test images of a recipe: only its classes, resized to its size.

    Only training images are limited in number (``data.per_class``).
    """
    ignored = {"train": (), "validation": ("per_class",), "test": ("per_class", "validation", "seed")}[split]
    options = {k: v for k, v in recipe.options("data").items() if k not in ("batch_size", *ignored)}
    return load(recipe["data"]["name"], split=split, root=root, **options)


def evaluation_loader(images: Dataset, augment: Compose, *, device: str) -> Loader:
    """Return a loader of images in their order, without the random steps of a pipeline."""
    return Loader(images, batch_size=256, shuffle=False, augment=augment.for_evaluation(), workers=0, device=device)


def _loss(table: dict[str, Any], data: Dataset) -> Callable[..., Any]:
    """Return the loss that a table names. A loss checks its options only in a call, so it is called on two rows."""
    loss = registry.losses.bind(table)
    if not loss.keywords:
        return loss
    try:
        with reference_only():  # two rows are not worth compiling for
            loss(np.zeros((2, data.outputs), np.float32), np.zeros_like(data.labels[:2]))
    except OptionError:
        raise
    except Exception:  # the loss may expect outputs of another shape, which the network may have
        pass
    return loss


def _schedule(table: dict[str, Any], epochs: int) -> Schedule:
    """Return the schedule of a table; by default it is as long as the training."""
    options = inspect.signature(registry.schedules[table["name"]]).parameters
    lasting = "length" in options and "after" not in options  # the length of a warm-up is not that of the training
    schedule: Schedule = registry.schedules.make({"length": epochs, **table} if lasting else table)
    return schedule


def _clipping(
    training: dict[str, Any], norms: GradientNorms | None
) -> Callable[[Mapping[str, Parameter]], object] | None:
    """Return a function that records gradient norms and clips gradients: each element first, then the norm."""
    for key in ("clip_norm", "clip_value"):
        if not training.get(key, 1) > 0:
            cure = f"leave training.{key} out to train without clipping"
            raise ConfigError(f"training.{key}: expected a bound above 0, got {training[key]}; {cure}")
    if norms is None and not {"clip_norm", "clip_value"} & training.keys():
        return None

    def clip(parameters: Mapping[str, Parameter]) -> None:
        if norms is not None:
            norms.look(parameters)
        if "clip_value" in training:
            clip_by_value(parameters, training["clip_value"])
        if "clip_norm" in training:
            clip_by_norm(parameters, training["clip_norm"])

    return clip


def needs_validation(recipe: Recipe) -> bool:
    """Return whether a metric on validation data drives the training."""
    schedule = _schedule(recipe["schedule"], recipe["training"]["epochs"]) if recipe["schedule"] else None
    return bool(_driven(recipe, schedule))


def _driven(recipe: Recipe, schedule: Schedule | None) -> list[str]:
    """Return the settings that a metric on validation data drives."""
    driven = {"patience": "patience" in recipe["training"]}
    driven["schedule"] = schedule is not None and schedule.metric is not None
    return [name for name, by_metric in driven.items() if by_metric]


def _check_compatible(recipe: Recipe, schedule: Schedule | None, validation: Loader | None) -> None:
    """Refuse settings that need missing validation data, or that graph capture does not support."""
    training = recipe["training"]
    for name in _driven(recipe, schedule) if validation is None else ():
        raise ConfigError(
            f"recipe {recipe.name!r}: expected data.validation, the data whose metric drives {name}, got none; "
            "--set data.validation=0.1"
        )
    looks = [key for key in ("gradient_norms", "clip_norm", "clip_value") if training.get(key)]
    if training.get("capture") and looks:
        raise ConfigError(
            f"recipe {recipe.name!r}: expected training.capture without a setting that reads gradients, because "
            f"captured steps cannot wait for the device, got training.{looks[0]}; leave out one of the two"
        )
