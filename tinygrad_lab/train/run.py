"""A run: what a recipe does, and the folder that it leaves.

The folder holds ``recipe.json`` (the recipe as it was run), ``metrics.jsonl`` (a line an epoch), ``checkpoints`` (the
newest two and, where a part of the training data is set aside, the best by that), and in the end
``weights.safetensors`` of the last epoch, ``result.json``, and ``curves.png``.
"""

from __future__ import annotations

import functools
import inspect
import json
import signal
import statistics
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_lab import registry
from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.backend import find_backend
from tinygrad_lab.data import Compose, Loader, find_source, load
from tinygrad_lab.data.resizing import as_size
from tinygrad_lab.errors import ConfigError, NonFiniteError, OptionError, StateError
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.nn.initializers import shapes_only
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.variables import Parameter
from tinygrad_lab.optim.clipping import clip_by_norm, clip_by_value
from tinygrad_lab.optim.optimizer import Optimizer
from tinygrad_lab.optim.schedules import Schedule, build_schedule
from tinygrad_lab.train.callbacks import Callback, EarlyStopping, GradientNorms, Metrics, TensorBoard
from tinygrad_lab.train.capture import check_graphs
from tinygrad_lab.train.checkpoint import CheckpointFolder
from tinygrad_lab.train.curves import save_curves
from tinygrad_lab.train.evaluation import best_epoch, headline_accuracies
from tinygrad_lab.train.folder import new_run_folder, recipe_text, used_alone, write_into, writing_into
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.recipe import BATCH_SIZE, Recipe
from tinygrad_lab.train.shapes import check_images, dummy_images
from tinygrad_lab.train.sizes import check_weights
from tinygrad_lab.train.trainer import Trainer
from tinygrad_lab.weights import begin_with, save_weights


def _options(kind: registry.Registry, table: dict[str, Any]) -> dict[str, Any]:
    """Return the options in a table, if the plugin that it names takes such."""
    options = {key: value for key, value in table.items() if key != "name"}
    kind.check_options(table["name"], options)
    return options


def _made(kind: registry.Registry, table: dict[str, Any], *args: Any, **more: Any) -> Any:
    """Call what a table names with its options."""
    options = _options(kind, table)
    try:
        return kind[table["name"]](*args, **options, **more)
    except TypeError as error:
        raise ConfigError(f"{kind.kind}: expected options of {table['name']!r}, got {options}: {error}") from error


def prepare(
    recipe: Recipe, *, root: str | None = None, workers: int = 1, device: str = "cpu", resumed: bool = False
) -> Trainer:
    """Return the trainer of a recipe: data loaded, weights drawn, and both on the device.

    Of a resumed run the weights to begin with are not read: its checkpoint has them.
    """
    find_backend(device)
    training, data = recipe["training"], recipe.options("data")
    seed, batch_size = training.get("seed", 0), data.pop("batch_size", BATCH_SIZE)
    name = recipe["data"]["name"]
    model = _network(recipe, seed)
    if "size" in data:
        data["size"] = as_size(data["size"], f"recipe {recipe.name!r}: data.size")
    if (example := dummy_images(find_source(name), data.get("size"))) is not None:
        check_images(recipe, model, Compose.from_config(recipe.augment).fit(example), example)
    train_set = load(name, split="train", root=root, **data)
    test_set = None
    if "test" in find_source(name).splits(root):
        test_set = load(name, split="test", root=root, **{k: v for k, v in data.items() if k in ("classes", "size")})
    elif not data.get("validation"):
        raise ConfigError(
            f"recipe {recipe.name!r}: expected images to judge by, got neither a test split of {name!r} nor "
            "data.validation; --set data.validation=0.1"
        )
    augment = Compose.from_config(recipe.augment).fit(train_set)
    check_images(recipe, model, augment, train_set)
    batches = Loader(train_set, batch_size=batch_size, seed=seed, augment=augment, workers=workers, device=device)
    unchanged = augment.for_evaluation()
    evaluated = functools.partial(Loader, batch_size=256, shuffle=False, augment=unchanged, workers=0, device=device)
    validation = None
    if data.get("validation"):
        rest = {key: value for key, value in data.items() if key != "per_class"}
        validation = evaluated(load(name, split="validation", root=root, **rest))
    begin_with(model, **{k: v for k, v in recipe["transfer"].items() if not resumed or k in ("freeze", "but")})
    model.to(device)
    loss = _loss(recipe["loss"], len(train_set.classes))
    optimizer: Optimizer = _made(registry.optimizers, recipe["optimizer"], model.parameters())
    optimizer.in_place = True  # the network is this trainer's alone
    schedule = _schedule(recipe["schedule"], training["epochs"]) if recipe["schedule"] else None
    _check_compatible(recipe, schedule, judged=validation is not None)
    if training.get("capture"):
        check_graphs(device)
    norms = GradientNorms() if training.get("gradient_norms") else None
    trainer = Trainer(
        model,
        loss,
        optimizer,
        batches,
        test=None if test_set is None else evaluated(test_set),
        validation=validation,
        schedule=schedule,
        accumulate=training.get("accumulate", 1),
        clip=_clipping(training, norms),
        read_every=training.get("read_every"),
        capture=training.get("capture", False),
        precision=training.get("precision", "float32"),
    )
    if norms is not None:
        trainer.callbacks.append(norms)
    if "patience" in training:
        trainer.callbacks.append(EarlyStopping(training["patience"]))
    return trainer


def _check_compatible(recipe: Recipe, schedule: Any, *, judged: bool) -> None:
    """Refuse settings that need a part held out where there is none, and those that no captured step allows."""
    training = recipe["training"]
    driven = {"patience": "patience" in training, "schedule": schedule is not None and schedule.metric is not None}
    for name in (name for name, by_metric in driven.items() if by_metric and not judged):
        raise ConfigError(f"recipe {recipe.name!r}: expected data.validation, the data whose metric drives {name}")
    looks = [key for key in ("gradient_norms", "clip_norm", "clip_value") if training.get(key)]
    if training.get("capture") and looks:
        raise ConfigError(
            f"recipe {recipe.name!r}: expected no look at the gradients of captured steps, which may wait for the "
            f"device, got training.{looks[0]}; leave out that or training.capture"
        )


def _clipping(
    training: dict[str, Any], norms: GradientNorms | None
) -> Callable[[Mapping[str, Parameter]], object] | None:
    """Return what notes the gradients, and holds them within a recipe's bounds: of each element, then of the norm."""
    for key in ("clip_norm", "clip_value"):
        if not training.get(key, 1) > 0:
            raise ConfigError(f"training.{key}: expected a bound above 0, got {training[key]}")
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


def _network(recipe: Recipe, seed: int) -> Layer:
    """Return the network of a recipe; its shapes first say whether the memory holds it."""
    with shapes_only():
        check_weights(f"recipe {recipe.name!r}", _network_of(recipe["model"], seed))
    return _network_of(recipe["model"], seed)


def _network_of(table: dict[str, Any], seed: int) -> Layer:
    """Return the network that a table names: a registered one, or a layer, put together from layers in the table."""
    if table["name"] in registry.layers and table["name"] not in registry.models:
        model = registry.from_table(table, rng=seed)
    else:
        model = _made(registry.models, table, rng=seed)
    model.seed = seed
    return model


def _loss(table: dict[str, Any], classes: int) -> Callable[..., Any]:
    """Return the loss that a table names; its options are tried on two rows, for it looks at them when it is called."""
    options = _options(registry.losses, table)
    loss = functools.partial(registry.losses[table["name"]], **options)
    if not options:
        return loss
    try:
        with reference_only():  # two rows are not worth compiling for
            loss(np.zeros((2, classes), np.float32), np.zeros(2, np.int64))
    except OptionError:
        raise
    except Exception:  # it wants outputs of another shape, which a network may have
        pass
    return loss


def _schedule(table: dict[str, Any], epochs: int) -> Schedule:
    """Return a schedule; one that has a length lasts as long as the training, if the recipe does not say otherwise."""
    options = inspect.signature(registry.schedules[table["name"]]).parameters
    lasting = "length" in options and "after" not in options  # what comes first is told how long
    return build_schedule({"length": epochs, **table} if lasting else table)


def run_recipe(
    recipe: Recipe,
    reporter: Reporter,
    *,
    runs: Path | None = None,
    resume: Path | None = None,
    root: str | None = None,
    tensorboard: bool = False,
    device: str = "cpu",
) -> Metrics:
    """Train as a recipe says, write the run's folder, and return the summary of the run.

    Ctrl-C ends the run after the step at hand, with a checkpoint.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    reporter : Reporter
        Who tells of it.
    runs : Path, optional
        Where a new run gets its folder; nothing is written before data and model are there.
    resume : Path, optional
        The folder of a run to go on with, from its newest checkpoint.
    root : str, optional
        The data folder.
    tensorboard : bool
        Whether to write the curves for TensorBoard too.
    device : str
        Where to train; a run may go on on another one.

    Raises
    ------
    DeviceError
        The device is unknown, or not there.
    ConfigError
        The recipe cannot be built, or no folder can be made.
    DataError
        The data are missing or damaged.
    NonFiniteError
        The loss became infinite or NaN; the checkpoint is of before that step, which is the next one.
    StateError
        A file of the run cannot be written, for one when the disk is full; or another process goes on with the run.
    """
    if resume is None:
        trainer = prepare(recipe, root=root, device=device)
        folder = new_run_folder(runs or Path("runs"), recipe)
        with used_alone(folder):
            return _train(recipe, trainer, folder, reporter, tensorboard=tensorboard)
    with used_alone(resume):
        saved = CheckpointFolder(resume / "checkpoints").latest()
        trainer = prepare(recipe, root=root, device=device, resumed=saved is not None)
        write_into(resume, "recipe.json", recipe_text(recipe))
        if saved is not None:
            with _naming_checkpoints(resume):
                trainer.load_state(saved)
        return _train(recipe, trainer, resume, reporter, tensorboard=tensorboard)


@contextmanager
def _naming_checkpoints(folder: Path) -> Iterator[None]:
    """Name the folder where the contents of a checkpoint do not fit the run."""
    try:
        yield
    except (StateError, OptionError) as error:
        who = f"checkpoints {folder / 'checkpoints'}"
        raise StateError(f"{who}: expected those of this run, got others: {error}") from error


def _train(recipe: Recipe, trainer: Trainer, folder: Path, reporter: Reporter, *, tensorboard: bool) -> Metrics:
    """Train to the end, write what comes of it, and draw it last, when nothing depends on it any more."""
    epochs, checkpoints = recipe["training"]["epochs"], CheckpointFolder(folder / "checkpoints")
    with reporter.training(recipe, epochs), _Interruption() as interruption, ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        stack.enter_context(np.errstate(all="ignore"))  # the trainer looks at each loss, and says more
        if tensorboard:
            trainer.callbacks.append(stack.enter_context(TensorBoard(folder)))
        trainer.callbacks += [_Recorder(trainer, folder, checkpoints), reporter, interruption]
        try:
            reason = trainer.train(epochs)
        except KeyboardInterrupt:
            if interruption.between_steps:
                checkpoints.save(trainer.steps, trainer.state())
            where = f"in epoch {min(trainer.epoch + 1, epochs)} of {epochs}"
            then = f"go on with --resume {folder}" if checkpoints.steps() else f"no checkpoint yet in {folder}"
            raise KeyboardInterrupt(f"{where}; {then}") from None
        except NonFiniteError as error:
            checkpoints.save(trainer.steps, trainer.state())
            error.add_note(f"the weights of before that step are in {checkpoints.folder}")
            raise
    with writing_into(folder, "weights.safetensors"):
        save_weights(trainer.model, folder / "weights.safetensors")
    result = _result(recipe, trainer, folder) | ({"ended_early": reason} if reason else {})
    write_into(folder, "result.json", json.dumps(result, indent=2).encode())
    save_curves(trainer.history, folder / "curves.png", recipe["recipe"].get("title", recipe.name))
    return result


def _result(recipe: Recipe, trainer: Trainer, folder: Path) -> Metrics:
    seconds = sum(m["seconds"] for m in trainer.history)
    told, judged = headline_accuracies(trainer.history), "validation" if trainer.test is None else "test"
    return {
        "recipe": recipe.name,
        "run": str(folder),
        "epochs": trainer.epoch,
        "seed": recipe["training"].get("seed", 0),
        "seconds": round(seconds, 3),
        "images_per_second": statistics.median(m["images_per_second"] for m in trainer.history),
        judged: {"accuracy": told["last"]["accuracy"], "loss": told["last"]["loss"]},
        "figures": told,
        "training_accuracy": trainer.history[-1]["accuracy"],
    }


class _Recorder(Callback):
    """Writes the metrics and a checkpoint after each epoch.

    It comes after those that may end the training, whose reason is saved, and before those that tell of it.
    """

    def __init__(self, trainer: Trainer, folder: Path, checkpoints: CheckpointFolder) -> None:
        self.trainer, self.folder, self.checkpoints = trainer, folder, checkpoints

    def epoch(self, history: Sequence[Metrics]) -> str | None:
        """Write what there is."""
        write_into(self.folder, "metrics.jsonl", "".join(json.dumps(m) + "\n" for m in history).encode())
        chosen = self.trainer.validation is not None  # never on the test set
        best = chosen and best_epoch(history, "validation") == len(history) - 1
        self.checkpoints.save(self.trainer.steps, self.trainer.state(), best=best)
        return None


class _Interruption(Callback):
    """Turns Ctrl-C into an exception between two steps, so that no step is left half done; a second one is at once.

    It is the last of the callbacks: after an epoch, the checkpoint is there.
    """

    def __enter__(self) -> _Interruption:
        self.asked = self.between_steps = False
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def step(self, metrics: Metrics) -> None:
        """End the run here, if that was asked for."""
        if self.asked:
            self.between_steps = True
            raise KeyboardInterrupt

    def epoch(self, history: Sequence[Metrics]) -> str | None:
        """End the run here, if that was asked for during the evaluation."""
        if self.asked:
            raise KeyboardInterrupt
        return None

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self.before)
        if self.asked and kind is None:
            raise KeyboardInterrupt
