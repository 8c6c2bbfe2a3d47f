"""Callbacks, called after every step and every epoch of training; they may end it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tinygrad_lab.errors import ConfigError, OptionError
from tinygrad_lab.nn.variables import Parameter
from tinygrad_lab.optim.clipping import gradient_norm
from tinygrad_lab.train.metrics import headline_in

Metrics = dict[str, Any]


class Callback:
    """Base class of callbacks, which does nothing; override `step` or `epoch`."""

    def step(self, metrics: Metrics) -> None:
        """Handle an update.

        Parameters
        ----------
        metrics : dict
            The metrics of the epoch so far, its number as ``epoch``, the number of all epochs as ``epochs``, the
            batches so far as ``step``, and all batches of the epoch as ``steps``.
        """

    def epoch(self, history: Sequence[Metrics]) -> str | None:
        """Handle the end of an epoch.

        Parameters
        ----------
        history : sequence of dict
            The metrics of all epochs so far, including those before the run was resumed.

        Returns
        -------
        str or None
            A reason to end the training after this epoch, or None to continue.
        """
        return None


class EarlyStopping(Callback):
    """Ends training when the headline score (accuracy or R²) on the validation data has not improved for some epochs.

    Parameters
    ----------
    patience : int
        The number of epochs to wait for a better one.

    Raises
    ------
    OptionError
        The patience is less than one epoch.

    References
    ----------
    L. Prechelt, "Early stopping - but when?", 1998, compares criteria; this is Keras's ``EarlyStopping`` on accuracy.

    Examples
    --------
    >>> history = [{"validation": {"accuracy": a, "loss": 0.0}} for a in (0.5, 0.7, 0.6, 0.7)]
    >>> EarlyStopping(patience=2).epoch(history)
    'no better validation accuracy than 70.00% of epoch 2 for 2 epochs'
    """

    def __init__(self, patience: int) -> None:
        if patience < 1:
            raise OptionError(f"EarlyStopping: expected a patience of at least one epoch, got {patience}")
        self.patience = patience

    def epoch(self, history: Sequence[Metrics]) -> str | None:
        """Return a reason to end once the best epoch is `patience` epochs old."""
        score = headline_in(history[-1]["validation"])
        values = [metrics["validation"][score.name] for metrics in history]
        best = score.best(values)  # the first one, since an equal value is not better
        if len(history) - 1 - best < self.patience:
            return None
        reached = score.text(values[best])
        return f"no better validation {score} than {reached} of epoch {best + 1} for {self.patience} epochs"


class GradientNorms(Callback):
    """Adds the norm of every parameter's gradient at the epoch's last update to the metrics.

    Pass the method `look` to the trainer as `clip`. On a GPU each update then waits for the device.

    Examples
    --------
    >>> norms, p = GradientNorms(), tgl.Parameter(np.array([3.0, 4.0]))
    >>> (p * p).sum().backward()
    >>> norms.look({"p": p})
    >>> history = [{"epoch": 1}]
    >>> norms.epoch(history)
    >>> history
    [{'epoch': 1, 'gradient_norms': {'p': 10.0}}]
    """

    def __init__(self) -> None:
        self.norms: dict[str, float] = {}

    def look(self, parameters: Mapping[str, Parameter]) -> None:
        """Record the norms of an update's gradients."""
        self.norms = {path: gradient_norm({path: parameter}) for path, parameter in parameters.items()}

    def epoch(self, history: Sequence[Metrics]) -> str | None:
        """Add the newest norms to the newest metrics."""
        if self.norms:  # there are none if the run was resumed after the last update
            history[-1]["gradient_norms"], self.norms = self.norms, {}
        return None


class TensorBoard(Callback):
    """Writes curves for TensorBoard; used in a ``with`` block.

    Parameters
    ----------
    folder : Path
        The run's folder. ``tensorboard --logdir`` shows the run, given this folder or its parent.

    Raises
    ------
    ConfigError
        The package tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.writer = self.writer_class()(str(folder))

    @staticmethod
    def writer_class() -> Any:
        """Return the class that writes the files, or raise if the package is not installed."""
        try:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise ConfigError(
                f"TensorBoard: expected the package tensorboard, got {error}; pip install 'tinygrad-lab[tensorboard]'"
            ) from error
        return EventFileWriter

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.writer.close()

    def epoch(self, history: Sequence[Metrics]) -> str | None:
        """Write the newest epoch's loss, headline score, learning rate and speed."""
        import time

        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        newest = history[-1]
        parts = {"training": newest} | {split: newest[split] for split in ("validation", "test") if split in newest}
        keys = ("loss", headline_in(newest).name)
        scalars = {f"{key}/{part}": values[key] for part, values in parts.items() for key in keys}
        scalars |= {"learning_rate": newest["lr"], "images_per_second": newest["images_per_second"]}
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()])
        self.writer.add_event(Event(wall_time=time.time(), step=newest["epoch"], summary=summary))
        return None
