"""Table of the kinds of plugins that the kit can check."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Unpack

from tinygrad_lab.conformance.checks import inspect_layer
from tinygrad_lab.conformance.kinds.augmentations import AUGMENTATION
from tinygrad_lab.conformance.kinds.data import DATA
from tinygrad_lab.conformance.kinds.kind import Kind
from tinygrad_lab.conformance.kinds.losses import LOSS, inspect_loss
from tinygrad_lab.conformance.kinds.metrics import METRIC
from tinygrad_lab.conformance.kinds.models import MODEL
from tinygrad_lab.conformance.kinds.optimizers import OPTIMIZER
from tinygrad_lab.conformance.kinds.schedules import SCHEDULE
from tinygrad_lab.conformance.properties import LAYER, ONCE
from tinygrad_lab.conformance.properties.laws import LAWS
from tinygrad_lab.conformance.trials.options import Keywords
from tinygrad_lab.conformance.trials.results import Failure, LayerResult, PropertyResult

KINDS: tuple[Kind[Any, Any], ...] = (OPTIMIZER, SCHEDULE, AUGMENTATION, DATA, METRIC, MODEL)
"""The kinds other than layers and losses, which share their checks with functions."""
INSPECT: dict[str, Callable[..., LayerResult]] = {
    "layer": inspect_layer,
    "loss": inspect_loss,
    **{kind.name: kind.inspect for kind in KINDS},
}
"""The function that checks a plugin by its registered name, for each kind."""
PROPERTIES: dict[str, frozenset[str]] = {
    "layer": frozenset({*LAYER, *ONCE, *LAWS}),
    "loss": frozenset({*LOSS, "adequacy", "misfits"}),
    **{kind.name: kind.names for kind in KINDS},
}
"""The names of the properties of each kind."""


def inspect_plugin(kind: str, name: str, **options: Unpack[Keywords]) -> LayerResult:
    """Check a registered plugin and return the result.

    A plugin that cannot be loaded counts as a failure, so that the others are still checked.
    """
    start = time.perf_counter()
    try:
        result = INSPECT[kind](name, **options)
    except Exception as error:
        broken = PropertyResult("forward", failure=Failure(None, error, f"{name}: {type(error).__name__}: {error}"))
        result = LayerResult(name, {"forward": broken})
    result.kind, result.seconds = kind, time.perf_counter() - start
    return result
