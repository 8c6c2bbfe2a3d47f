"""Checks of a trainer's saved state, which may come from an untrusted file."""

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
_EPOCH: dict[str, Any] = {"epoch": int, "lr": float, "seconds": float, "images_per_second": float}
_COUNTS = range(2**63)


def check_trainer_state(state: Any, splits: Collection[str], *, headline: str = "accuracy", sums: int = 1) -> None:
    """Check a trainer's state: no part may be missing, have the wrong type, or contradict the others.

    Parameters
    ----------
    state : dict
        A result of `Trainer.state`.
    splits : collection of str
        The splits that the trainer evaluates after each epoch, out of ``"test"`` and ``"validation"``.
    headline : str
        The name of the headline score.
    sums : int
        The number of sums from which the headline score follows.

    Raises
    ------
    StateError
        The state is not valid.
    """
    check_state("Trainer", state, _PARTS, _OPTIONAL)
    several = sums > 1 and state["sums"].get("images") != 0  # before the first step, there is a single 0
    check_state("Trainer: sums", state["sums"], {**_SUMS, "right": list[float]} if several else _SUMS)
    if several and len(state["sums"]["right"]) != sums:
        raise StateError(f"Trainer: sums: expected {sums} sums of {headline}, got {len(state['sums']['right'])}")
    for name in ("model_steps", "epoch", "steps"):
        if state[name] not in _COUNTS:
            raise StateError(f"Trainer: expected {name} to be a count, got {state[name]}")
    check_history(state["history"], splits, headline=headline)
    if len(state["history"]) != state["epoch"]:
        raise StateError(f"Trainer: expected metrics of {state['epoch']} epochs, got {len(state['history'])}")


def check_history(
    history: Collection[Mapping[str, Any]], splits: Collection[str], *, headline: str = "accuracy"
) -> None:
    """Check the metrics of all epochs for missing entries and wrong types; callbacks may have added others.

    Raises
    ------
    StateError
        An entry is missing, or of another type.
    """
    judged: dict[str, Any] = {"loss": float, headline: float}
    for number, metrics in enumerate(history, 1):
        who = f"metrics of epoch {number}"
        kinds = {**_EPOCH, **judged, **dict.fromkeys(splits, dict)}
        check_state(who, {name: metrics[name] for name in kinds.keys() & metrics.keys()}, kinds)
        if metrics["epoch"] != number:
            raise StateError(f"{who}: expected epoch to be {number}, got {metrics['epoch']}")
        for split in splits:
            check_state(f"{who}: {split}", metrics[split], {**dict.fromkeys(metrics[split], float), **judged})
