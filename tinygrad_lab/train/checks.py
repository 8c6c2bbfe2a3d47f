"""Checks of a trainer's arguments, made when it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinygrad_lab.arguments import expect
from tinygrad_lab.data import Dataset, Loader
from tinygrad_lab.data.dataset import named_targets
from tinygrad_lab.errors import CaptureError, OptionError, warn_once
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.optim.optimizer import Optimizer
from tinygrad_lab.optim.schedules import Schedule
from tinygrad_lab.registry import layers, losses
from tinygrad_lab.train.callbacks import Callback, EarlyStopping


def check_parts(model: Any, loss: Any, optimizer: Any, batches: Any, judging: Mapping[str, Any]) -> None:
    """Check the types of the arguments, and that the optimizer updates parameters of the model."""
    expect("Trainer", "model", model, Layer, "a layer")
    expect("Trainer", "loss", loss, Callable, "a function of logits and labels")
    expect("Trainer", "optimizer", optimizer, Optimizer, "one, such as SGD(model.parameters(), lr=0.1)")
    expect("Trainer", "batches", batches, Loader, "a Loader, such as Loader(data)")
    for name, part in judging.items():
        expect("Trainer", name, part, (Loader, type(None)), "a Loader, such as Loader(data, shuffle=False)")
    learned = {id(parameter) for parameter in model.parameters().values() if parameter.node is not None}
    if not learned:
        raise OptionError("Trainer: expected a model with parameters that learn, got none; unfreeze some?")
    for path in optimizer.parameters:
        optimizer.expect_not_replaced(path)
    _warn_of_two_softmaxes(model, loss)
    _check_loss(loss, batches.dataset)
    if learned.isdisjoint(map(id, optimizer.parameters.values())):
        raise OptionError(
            "Trainer: expected an optimizer of the model's parameters, got one of other parameters; make it from "
            "model.parameters() after the last change of layers"
        )


def _warn_of_two_softmaxes(model: Layer, loss: Any) -> None:
    """Log a warning if a network ends in a softmax and its loss applies another one, which slows learning down."""
    last = model
    while isinstance(last, Sequential) and len(last):
        last = last[-1]
    if getattr(loss, "func", loss) is losses["softmax_cross_entropy"] and type(last) is layers["softmax"]:
        warn_once("Trainer: the network ends in Softmax, which softmax_cross_entropy applies too; leave out the layer")


def _check_loss(loss: Any, data: Dataset) -> None:
    """Refuse a loss of numbers for data with classes, and a loss of classes for data with target numbers."""
    function = getattr(loss, "func", loss)
    kind, name = getattr(function, "compares", None), getattr(function, "__name__", "loss")
    if kind == "numbers" and data.task == "classification":
        raise OptionError(
            f"Trainer: expected a loss of classes for {data.name!r}, whose labels are the numbers of "
            f"{len(data.classes)} classes, got {name}, which would treat them as quantities; use "
            "softmax_cross_entropy, or give the data set floats as labels"
        )
    if kind == "classes" and data.task == "regression":
        raise OptionError(
            f"Trainer: expected a loss of numbers for {data.name!r}, whose labels are floats "
            f"({named_targets(data.targets)}), got {name}, which compares classes; use mse, or give the data set "
            "integers as labels"
        )


def check_compatible(schedule: Any, callbacks: Any, clip: Any, validation: Loader | None) -> None:
    """Check schedule, clip and callbacks; refuse those driven by a metric if there is no validation data."""
    expect("Trainer", "schedule", schedule, (Schedule, type(None)), "one, such as OneCycle(length=10)")
    expect("Trainer", "clip", clip, (Callable, type(None)), "a function, such as partial(clip_by_norm, max_norm=1.0)")
    expect("Trainer", "callbacks", callbacks, Sequence, "a list")
    for callback in callbacks:
        expect("Trainer", "each of callbacks", callback, Callback, "a Callback")
    if validation is None and any(isinstance(callback, EarlyStopping) for callback in callbacks):
        raise OptionError("Trainer: expected validation, the data whose headline score drives EarlyStopping, got none")
    if validation is None and schedule is not None and schedule.metric is not None:
        metric = schedule.metric
        raise OptionError(f"Trainer: expected validation, the data whose {metric} drives {schedule}, got none")


def check_steps(accumulate: int, clip: Any, capture: bool, read_every: int | None) -> None:
    """Check how steps are taken; refuse options that graph capture does not support."""
    if accumulate < 1:
        raise OptionError(f"Trainer: expected accumulate >= 1, the number of batches in an update, got {accumulate}")
    if capture and accumulate > 1:
        raise CaptureError(
            f"Trainer: expected accumulate=1 with capture=True, got {accumulate}; train with capture=False"
        )
    if capture and clip is not None:
        raise CaptureError(
            "Trainer: expected no clip with capture=True, because it may wait for the device; train with capture=False"
        )
    if read_every is not None and read_every < 1:
        raise OptionError(f"Trainer: expected read_every >= 1, got {read_every}")


def check_parallel(parallel: Any, batches: Loader, capture: bool, precision: str) -> None:
    """Check that a training in blocks has a loader of blocks, and no option that blocks do not support."""
    shard, size = batches.shard, len(batches.dataset)
    if (parallel is None) != (shard is None):
        raise OptionError(
            "Trainer: expected parallel together with a loader that has a shard, got only one of them; give both, such "
            "as Loader(data, shard=Shard(blocks=8)) and Parallel(Group())"
        )
    if parallel is None or shard is None:
        return
    if capture or precision == "float16":
        got = "capture=True" if capture else "precision='float16'"
        raise OptionError(f"Trainer: expected steps in blocks without captured graphs and without float16, got {got}")
    if (shard.rank, shard.ranks) != (parallel.group.rank, parallel.group.size):
        raise OptionError(f"Trainer: expected a shard of {parallel.group}, got {shard}")
    least = min(batches.images_in(0), batches.images_in(len(batches) - 1))
    if least < shard.blocks:
        raise OptionError(
            f"Trainer: expected at least one image for each of {shard.blocks} blocks in every batch, got a batch of "
            f"{least} among {size} images in batches of {batches.batch_size}; use another batch size, or fewer blocks"
        )
    if batches.batch_size % shard.ranks:
        raise OptionError(
            f"Trainer: expected a batch that {shard.ranks} ranks divide, got {batches.batch_size} images; use "
            f"{batches.batch_size // shard.ranks * shard.ranks or shard.ranks}"
        )
