"""Run of a recipe: training with checkpoints, Ctrl-C and resuming, and the folder with its results.

The folder holds ``recipe.json`` (the recipe as it was run), ``manifest.json`` (classes, preprocessing and versions),
``metrics.jsonl`` (a line for each epoch), ``checkpoints`` (the newest two and, if there is validation data, the best on
it), and in the end ``weights.safetensors`` of the last epoch, ``weights-best.safetensors`` of the epoch that is best on
validation data, and ``result.json``.
"""

from __future__ import annotations

import signal
import statistics
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_lab.data import Loader
from tinygrad_lab.distributed import Group, one_report, together
from tinygrad_lab.errors import NonFiniteError, OptionError, StateError, Stopped
from tinygrad_lab.files.writing import json_text
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.train.build import begin_together, build_trainer, open_test, with_blocks
from tinygrad_lab.train.callbacks import Callback, Metrics, TensorBoard
from tinygrad_lab.train.checkpoint import CheckpointFolder
from tinygrad_lab.train.describe import describe_run
from tinygrad_lab.train.evaluation import best_epoch, divergence, evaluate, headline_accuracies
from tinygrad_lab.train.folder import (
    digest,
    new_run_folder,
    recipe_text,
    test_looks,
    used_alone,
    write_into,
    writing_into,
)
from tinygrad_lab.train.manifest import MANIFEST, manifest_of, read_manifest
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.provenance import machine, revision
from tinygrad_lab.train.recipe import TEST, Recipe
from tinygrad_lab.train.trainer import Trainer
from tinygrad_lab.weights import save_weights


def run_recipe(
    recipe: Recipe,
    reporter: Reporter,
    *,
    runs: Path | None = None,
    name: str | None = None,
    resume: Path | None = None,
    root: str | None = None,
    tensorboard: bool = False,
    device: str = "cpu",
    group: Group | None = None,
) -> Metrics:
    """Train a recipe's network, write the run's folder, and return the summary of the run.

    Ctrl-C and SIGTERM end the run after the current step, with a checkpoint.

    Parameters
    ----------
    recipe : Recipe
        The settings.
    reporter : Reporter
        Shows the progress.
    runs : Path, optional
        The folder in which the folder of a new run is made. Nothing is written before data and model are loaded.
    name : str, optional
        The name of that folder, with a number if there is one of the name; by default the recipe's name and the time.
    resume : Path, optional
        The folder of a run to resume from its newest checkpoint.
    root : str, optional
        The data folder. A run that is resumed remembers its own.
    tensorboard : bool
        Whether to write curves for TensorBoard too.
    device : str
        Where to train. A run may be resumed on another device.
    group : Group, optional
        The ranks that share the training. Rank 0 alone reports, writes the folder and returns a result; the others
        return an empty one. A run may be resumed with another number of ranks.

    Raises
    ------
    DeviceError
        The device is unknown or missing.
    ConfigError
        The trainer cannot be built from the recipe, or the folder cannot be made.
    DataError
        The data are missing or damaged.
    NonFiniteError
        The loss became infinite or NaN. The checkpoint holds the state before that step.
    StateError
        A file of the run cannot be written (a full disk), or another process uses the run.
    """
    if tensorboard:
        TensorBoard.writer_class()  # before a folder is made
    ranks = group or Group()
    with ExitStack() as stack:
        saved = None
        with together(ranks):
            recipe = with_blocks(recipe, group)
            if resume is not None:
                if ranks.rank == 0:
                    stack.enter_context(used_alone(resume))
                if (resume / MANIFEST).exists():
                    cure = "delete the file, and add --data if the run read a folder of yours"
                    manifest = read_manifest(resume, "--resume", cure=cure)
                    manifest.check_plugins(f"run {resume}", training=True)
                    root = root or manifest.root
                saved = CheckpointFolder(resume / "checkpoints").latest()
            trainer = build_trainer(recipe, root=root, device=device, resumed=saved is not None, group=group)
            if resume is not None and saved is not None:
                with _naming_checkpoints(resume):
                    trainer.load_state(saved)
        begin_together(trainer, recipe, ranks)
        if ranks.rank:
            _follow(trainer, recipe["training"]["epochs"], ranks)
            return {}
        with one_report(ranks, NonFiniteError, KeyboardInterrupt):
            if resume is None:
                folder = new_run_folder(runs or Path("runs"), recipe, name)
                stack.enter_context(used_alone(folder))
            else:
                folder = resume
                write_into(folder, "recipe.json", recipe_text(recipe))
            result = _train(recipe, trainer, folder, reporter, root=root, tensorboard=tensorboard, device=device)
        ranks.wait_for_all()
        return result


def _follow(trainer: Trainer, epochs: int, group: Group) -> None:
    """Train as one of the ranks other than 0, which write nothing."""
    with ExitStack() as stack:
        stack.enter_context(one_report(group, NonFiniteError, KeyboardInterrupt))
        stack.enter_context(one_blas_thread())
        stack.enter_context(np.errstate(all="ignore"))
        trainer.callbacks.append(stack.enter_context(_Interruption(group)))
        trainer.train(epochs)
    group.wait_for_all()


@contextmanager
def _naming_checkpoints(folder: Path) -> Iterator[None]:
    """Name the folder in the error if a checkpoint does not fit the run."""
    try:
        yield
    except (StateError, OptionError) as error:
        who = f"checkpoints {folder / 'checkpoints'}"
        raise StateError(f"{who}: expected one that fits this run, got another: {error}; begin a new run") from error


def _train(
    recipe: Recipe,
    trainer: Trainer,
    folder: Path,
    reporter: Reporter,
    *,
    root: str | None,
    tensorboard: bool,
    device: str,
) -> Metrics:
    """Train to the end and write the weights and the result."""
    epochs, checkpoints = recipe["training"]["epochs"], CheckpointFolder(folder / "checkpoints")
    settled = digest(recipe, root=root, device=device)
    ran_on = {"machine": machine(device), "revision": revision(), "digest": settled}  # the code may be edited later
    write_into(folder, MANIFEST, manifest_of(recipe, trainer, root).content())
    head = describe_run(recipe, trainer, root=root)
    with reporter.training(recipe, epochs, head), _Interruption(trainer.group) as interruption, ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        stack.enter_context(np.errstate(all="ignore"))  # the trainer checks each loss, and its error says more
        if tensorboard:
            trainer.callbacks.append(stack.enter_context(TensorBoard(folder)))
        trainer.callbacks += [_Recorder(trainer, folder, checkpoints), reporter, interruption]
        try:
            reason = trainer.train(epochs)
        except KeyboardInterrupt as stop:
            if interruption.between_steps:
                checkpoints.save(trainer.steps, trainer.state())
            where = f"in epoch {min(trainer.epoch + 1, epochs)} of {epochs}"
            then = f"continue with --resume {folder}" if checkpoints.steps() else f"no checkpoint yet in {folder}"
            stop.args = (f"{where}; {then}",)
            raise
        except NonFiniteError as error:
            checkpoints.save(trainer.steps, trainer.state())
            error.add_note(f"the weights from before that step are in {checkpoints.folder}")
            raise
    _save_weights(trainer, folder, checkpoints)
    test = trainer.test
    if recipe["training"].get("test", TEST[0]) == "end":
        test = open_test(recipe, trainer.batches, root=root)
    with one_blas_thread(), np.errstate(all="ignore"):
        result = _result(recipe, trainer, folder, test, checkpoints) | ran_on
    result |= {"ended_early": reason} if reason else {}
    cross_entropy = recipe["loss"]["name"] == "softmax_cross_entropy"
    why = divergence(trainer.history, classes=len(trainer.batches.dataset.classes) if cross_entropy else None)
    result |= {"diverged": why} if why else {}
    write_into(folder, "result.json", json_text(result, indent=2).encode())
    return result


def _save_weights(trainer: Trainer, folder: Path, checkpoints: CheckpointFolder) -> None:
    """Write the last weights and, if there is validation data, the weights that are best on it."""
    with writing_into(folder, "weights.safetensors"):
        save_weights(trainer.model, folder / "weights.safetensors")
    if trainer.validation is not None:
        with _best_weights(trainer, checkpoints), writing_into(folder, "weights-best.safetensors"):
            save_weights(trainer.model, folder / "weights-best.safetensors")


@contextmanager
def _best_weights(trainer: Trainer, checkpoints: CheckpointFolder) -> Iterator[int]:
    """Give the network the weights that are best on validation inside the ``with`` block; yield their epoch.

    Without validation data, the last weights are used.
    """
    best = trainer.epoch if trainer.validation is None else best_epoch(trainer.history, "validation") + 1
    last = trainer.model.state()
    if best != trainer.epoch:
        trainer.model.load_state(checkpoints.best()["model"])
    try:
        yield best
    finally:
        trainer.model.load_state(last)


def _result(
    recipe: Recipe, trainer: Trainer, folder: Path, test: Loader | None, checkpoints: CheckpointFolder
) -> Metrics:
    seconds = sum(m["seconds"] for m in trainer.history)
    split = "validation" if test is None else "test"
    images: Any = trainer.validation if test is None else test  # at least one of them is given
    if test is None or trainer.test is not None:
        figures, looks = headline_accuracies(trainer.history), trainer.epoch if trainer.test is not None else 0
    else:
        figures = _look_once(trainer, test, checkpoints)
        looks = len({figure["epoch"] for figure in figures.values()}) + test_looks(folder)
    last = figures["last"]
    return {
        "recipe": recipe.name,
        "run": str(folder),
        "epochs": trainer.epoch,
        "seed": recipe["training"].get("seed", 0),
        **({"ranks": trainer.group.size} if trainer.parallel else {}),
        "seconds": round(seconds, 3),
        "images_per_second": statistics.median(m["images_per_second"] for m in trainer.history),
        split: {**{name: value for name, value in last.items() if name != "epoch"}, "images": len(images.dataset)},
        "figures": figures,
        "test_looks": looks,
        f"training_{trainer.headline.name}": trainer.history[-1][trainer.headline.name],
    }


def _look_once(trainer: Trainer, test: Loader, checkpoints: CheckpointFolder) -> dict[str, Metrics]:
    """Return the figures of the last weights and of those chosen on validation, on the test images."""
    figures = {"last": _figure(trainer, test, trainer.epoch)}
    if trainer.validation is not None:
        with _best_weights(trainer, checkpoints) as best:
            is_last = best == trainer.epoch
            figures["chosen_on_validation"] = figures["last"] if is_last else _figure(trainer, test, best)
    return figures


def _figure(trainer: Trainer, test: Loader, epoch: int) -> Metrics:
    found = evaluate(trainer.model, trainer.loss, test, trainer.metrics, headline=trainer.headline)
    return {"epoch": epoch, **found.scores}


class _Recorder(Callback):
    """Writes the metrics and a checkpoint after each epoch.

    It runs before the reporter, and after the callbacks that may end the training, so that it can save their reason.
    """

    def __init__(self, trainer: Trainer, folder: Path, checkpoints: CheckpointFolder) -> None:
        self.trainer, self.folder, self.checkpoints = trainer, folder, checkpoints

    def epoch(self, history: Sequence[Metrics]) -> str | None:
        """Write the metrics and a checkpoint."""
        write_into(self.folder, "metrics.jsonl", "".join(json_text(m) + "\n" for m in history).encode())
        validated = self.trainer.validation is not None  # no epoch is chosen on the test set
        best = validated and best_epoch(history, "validation") == len(history) - 1
        self.checkpoints.save(self.trainer.steps, self.trainer.state(), best=best)
        return None


class _Interruption(Callback):
    """Turns Ctrl-C or SIGTERM into an exception after the current step, so that each step is whole.

    A second signal acts at once.

    It is the last of the callbacks: after an epoch, the checkpoint is already written.
    """

    def __init__(self, group: Group | None = None) -> None:
        self.group = group or Group()  # the ranks of a job end after the same step

    def __enter__(self) -> _Interruption:
        self.asked, self.between_steps = 0, False  # asked: the signal's number
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise Stopped(number)
        self.asked = number

    def step(self, metrics: Metrics) -> None:
        """End the run after this step if a signal came."""
        if self._stops():
            self.between_steps = True
            raise Stopped(self.asked)

    def epoch(self, history: Sequence[Metrics]) -> str | None:
        """End the run if a signal came during the evaluation."""
        if self._stops():
            raise Stopped(self.asked)
        return None

    def _stops(self) -> bool:
        """Return whether a signal came, to any rank."""
        self.asked = max(self.group.gather_objects(self.asked))
        return self.asked > 0

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self.before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: installed outside Python
        if self.asked and kind is None:
            raise Stopped(self.asked)
