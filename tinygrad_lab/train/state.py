"""State of a training run, checked before anything of it is taken over: it may come from anybody's file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tinygrad_lab.arguments import check_state
from tinygrad_lab.errors import StateError

_PARTS: dict[str, Any] = {
    "model": dict,
    "model_steps": int,
    "optimizer": dict,
    "schedule": dict,
    "loader": dict,
    "base_lr": float,
    "epoch": int,
    "steps": int,
    "sums": dict,
    "history": list[dict[str, Any]],
}
_OPTIONAL: dict[str, Any] = {"ended": str | None, "arithmetic": dict}
_SUMS = dict.fromkeys(("loss", "right", "images", "seconds"), float)
_JUDGED = {"loss": float, "accuracy": float}
_EPOCH: dict[str, Any] = {"epoch": int, "lr": float, **_JUDGED, "seconds": float, "images_per_second": float}
_COUNTS = range(2**63)


def check_trainer_state(state: Any, splits: Collection[str]) -> None:
    """Refuse what no trainer returned: parts that are missing, of other types, or that contradict each other.

    Parameters
    ----------
    state : dict
        What `Trainer.state` is to have returned.
    splits : collection of str
        What the trainer evaluates after each epoch, out of ``"test"`` and ``"validation"``.

    Raises
    ------
    StateError
        It is none.
    """
    check_state("Trainer", state, _PARTS, _OPTIONAL)
    check_state("Trainer: sums", state["sums"], _SUMS)
    for name in ("model_steps", "epoch", "steps"):
        if state[name] not in _COUNTS:
            raise StateError(f"Trainer: expected {name} to be a count, got {state[name]}")
    check_history(state["history"], splits)
    if len(state["history"]) != state["epoch"]:
        raise StateError(f"Trainer: expected metrics of {state['epoch']} epochs, got {len(state['history'])}")


def check_history(history: Collection[Mapping[str, Any]], splits: Collection[str]) -> None:
    """Refuse metrics of epochs that lack something, or hold it in another type; a callback may have added others.

    Raises
    ------
    StateError
        They do.
    """
    for number, metrics in enumerate(history, 1):
        who = f"metrics of epoch {number}"
        kinds = {**_EPOCH, **dict.fromkeys(splits, dict)}
        check_state(who, {name: metrics[name] for name in kinds.keys() & metrics.keys()}, kinds)
        if metrics["epoch"] != number:
            raise StateError(f"{who}: expected epoch to be {number}, got {metrics['epoch']}")
        for split in splits:
            check_state(f"{who}: {split}", metrics[split], _JUDGED)
