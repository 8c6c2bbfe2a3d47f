"""A run: what a recipe does, and the folder that it leaves.

The folder holds ``recipe.json`` (the recipe as it was run), ``metrics.jsonl`` (a line an epoch), ``checkpoints`` (the
newest two and the best), and in the end ``weights.safetensors`` and ``curves.png``.
"""

from __future__ import annotations

import functools
import inspect
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinygrad_lab import registry
from tinygrad_lab.data import Compose, Loader, load
from tinygrad_lab.errors import ConfigError
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.layer import Layer
from tinygrad_lab.optim.optimizer import Optimizer
from tinygrad_lab.optim.schedules import Schedule, build_schedule
from tinygrad_lab.train.checkpoint import CheckpointFolder
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.recipe import Recipe, checked
from tinygrad_lab.train.trainer import Metrics, Trainer
from tinygrad_lab.weights import save_weights, write_atomically


def _made(kind: registry.Registry, table: dict[str, Any], *args: Any, **more: Any) -> Any:
    """Call what a table names with its options."""
    options = {key: value for key, value in table.items() if key != "name"}
    try:
        return kind[table["name"]](*args, **options, **more)
    except TypeError as error:
        raise ConfigError(f"{kind.kind}: expected options of {table['name']!r}, got {options}: {error}") from error


def new_run_folder(root: Path, recipe: str) -> Path:
    """Make and return a folder of its own for a run: the recipe's name and the time, and a number if that is taken."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        folder = root / f"{recipe}-{stamp}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(f"runs: expected a folder that can be written, got {root}: {error.strerror}") from error
        return folder
    raise ConfigError(f"runs: expected a free name in {root}, got none")


def prepare(recipe: Recipe, *, root: str | None = None, workers: int = 1) -> Trainer:
    """Return the trainer of a recipe: data loaded, weights drawn."""
    training, data = recipe["training"], recipe.options("data")
    seed, batch_size = training.get("seed", 0), data.pop("batch_size", 128)
    name = recipe["data"]["name"]
    train_set = load(name, split="train", root=root, **data)
    test_set = load(name, split="test", root=root, **{k: v for k, v in data.items() if k in ("classes", "size")})
    augment = Compose.from_config(recipe.augment).fit(train_set)
    batches = Loader(train_set, batch_size=batch_size, seed=seed, augment=augment, workers=workers)
    held_out = Loader(test_set, batch_size=256, shuffle=False, augment=augment.for_evaluation(), workers=0)
    model: Layer = _made(registry.models, recipe["model"], rng=seed)
    model.seed = seed
    loss_options = recipe.options("loss")
    loss = functools.partial(registry.losses[recipe["loss"]["name"]], **loss_options)
    try:
        inspect.signature(loss).bind(None, None)
    except (TypeError, ValueError) as error:
        name = recipe["loss"]["name"]
        raise ConfigError(f"losses: expected options of {name!r}, got {loss_options}: {error}") from error
    optimizer: Optimizer = _made(registry.optimizers, recipe["optimizer"], model.parameters())
    schedule = _schedule(recipe["schedule"], training["epochs"]) if recipe["schedule"] else None
    return Trainer(model, loss, optimizer, batches, held_out=held_out, schedule=schedule)


def _schedule(table: dict[str, Any], epochs: int) -> Schedule:
    """Return a schedule; one that has a length lasts as long as the training, if the recipe does not say otherwise."""
    lasting = "length" in inspect.signature(registry.schedules[table["name"]]).parameters
    return build_schedule({"length": epochs, **table} if lasting else table)


def run_recipe(recipe: Recipe, folder: Path, reporter: Reporter, *, root: str | None = None) -> Metrics:
    """Train as a recipe says, write the run's folder, and return the summary of the run.

    A folder that holds checkpoints is gone on with, from the newest one. Ctrl-C ends the run after the step at hand,
    with a checkpoint.
    """
    write_atomically(folder / "recipe.json", json.dumps({"name": recipe.name, **recipe.tables}, indent=2).encode())
    trainer, epochs = prepare(recipe, root=root), recipe["training"]["epochs"]
    checkpoints = CheckpointFolder(folder / "checkpoints")
    saved = checkpoints.latest()
    if saved is not None:
        trainer.load_state(saved)
    history = _history(folder, trainer.epoch)
    with reporter.training(recipe, epochs), one_blas_thread(), _Interruption() as interruption:
        trainer.on_step = interruption.checked_after(reporter.step)
        try:
            while trainer.epoch < epochs:
                history.append(trainer.train_epoch())
                _write_history(folder, history)
                checkpoints.save(trainer.steps, trainer.state(), best=_is_best(history))
                reporter.epoch(history[-1])
        except KeyboardInterrupt:
            if interruption.between_steps:
                checkpoints.save(trainer.steps, trainer.state())
            raise
    save_weights(trainer.model, folder / "weights.safetensors")
    draw_curves(history, folder / "curves.png", recipe["recipe"].get("title", recipe.name))
    seconds = sum(m["seconds"] for m in history)
    return {
        "recipe": recipe.name,
        "run": str(folder),
        "epochs": epochs,
        "seed": recipe["training"].get("seed", 0),
        "seconds": round(seconds, 3),
        "images_per_second": round(len(trainer.batches.dataset) * epochs / max(seconds, 1e-9), 1),
        "held_out": {"accuracy": history[-1]["held_out"]["accuracy"], "loss": history[-1]["held_out"]["loss"]},
    }


def read_run(folder: Path) -> Recipe:
    """Return the recipe that a run folder was made by.

    Raises
    ------
    ConfigError
        It is no run folder.
    """
    try:
        tables = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        name = tables.pop("name")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"resume: expected the folder of a run, got {folder}: {error}") from error
    return Recipe(name, checked(tables, name))


class _Interruption:
    """Turns Ctrl-C into an exception between two steps, so that no step is left half done; a second one is at once."""

    def __enter__(self) -> _Interruption:
        self.asked = self.between_steps = False
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def checked_after(self, report: Callable[[Metrics], None]) -> Callable[[Metrics], None]:
        """Return a report on a step after which the run ends, if that was asked for."""

        def report_and_check(metrics: Metrics) -> None:
            report(metrics)
            if self.asked:
                self.between_steps = True
                raise KeyboardInterrupt

        return report_and_check

    def __exit__(self, *exception: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self.before)


def _history(folder: Path, epochs: int) -> list[Metrics]:
    """Return the metrics of the epochs so far."""
    path = folder / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines[:epochs]]


def _write_history(folder: Path, history: list[Metrics]) -> None:
    write_atomically(folder / "metrics.jsonl", "".join(json.dumps(m) + "\n" for m in history).encode())


def _is_best(history: list[Metrics]) -> bool:
    return all(history[-1]["held_out"]["accuracy"] > m["held_out"]["accuracy"] for m in history[:-1])


def draw_curves(history: list[Metrics], path: Path, title: str) -> None:
    """Draw loss and accuracy against the epoch, for training and held-out data."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    epochs = [m["epoch"] for m in history]
    for axes, key in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [m[key] for m in history], label="training (augmented)")
        axes.plot(epochs, [m["held_out"][key] for m in history], label="held out")
        axes.set_xlabel("epoch")
        axes.set_ylabel(key)
        axes.legend()
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
