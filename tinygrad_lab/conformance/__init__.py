"""The conformance kit: properties that every plugin must have, and the search for a case that breaks one.

``tinygrad-lab check NAME``, ``pytest --conformance`` and `check_layer` run the same checks. Names are imported on first
use, because the pytest plugin loads in every session and must be light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_lab.conformance.cases import strategies as strategies
    from tinygrad_lab.conformance.cases.case import BadInput, Case, Inner, Input, Law, LayerCases
    from tinygrad_lab.conformance.cases.nested import kink_distance_of, reference_of
    from tinygrad_lab.conformance.cases.plugins import (
        AugmentationCases,
        DataCases,
        MetricCases,
        ModelCases,
        OptimizerCases,
        ScheduleCases,
    )
    from tinygrad_lab.conformance.checks import check_function, check_layer, check_vjp, inspect_layer
    from tinygrad_lab.conformance.kinds.augmentations import check_augmentation
    from tinygrad_lab.conformance.kinds.data import check_data
    from tinygrad_lab.conformance.kinds.losses import check_loss
    from tinygrad_lab.conformance.kinds.metrics import check_metric
    from tinygrad_lab.conformance.kinds.models import check_model
    from tinygrad_lab.conformance.kinds.optimizers import check_optimizer
    from tinygrad_lab.conformance.kinds.schedules import check_schedule
    from tinygrad_lab.conformance.properties.laws import in_evaluation, in_training

_HOMES = {
    "AugmentationCases": "cases.plugins",
    "BadInput": "cases.case",
    "Case": "cases.case",
    "DataCases": "cases.plugins",
    "Inner": "cases.case",
    "Input": "cases.case",
    "Law": "cases.case",
    "LayerCases": "cases.case",
    "MetricCases": "cases.plugins",
    "ModelCases": "cases.plugins",
    "OptimizerCases": "cases.plugins",
    "ScheduleCases": "cases.plugins",
    "check_augmentation": "kinds.augmentations",
    "check_data": "kinds.data",
    "check_function": "checks",
    "check_layer": "checks",
    "check_loss": "kinds.losses",
    "check_metric": "kinds.metrics",
    "check_model": "kinds.models",
    "check_optimizer": "kinds.optimizers",
    "check_schedule": "kinds.schedules",
    "check_vjp": "checks",
    "in_evaluation": "properties.laws",
    "in_training": "properties.laws",
    "inspect_layer": "checks",
    "kink_distance_of": "cases.nested",
    "reference_of": "cases.nested",
}

__all__ = [
    "AugmentationCases",
    "BadInput",
    "Case",
    "DataCases",
    "Inner",
    "Input",
    "Law",
    "LayerCases",
    "MetricCases",
    "ModelCases",
    "OptimizerCases",
    "ScheduleCases",
    "check_augmentation",
    "check_data",
    "check_function",
    "check_layer",
    "check_loss",
    "check_metric",
    "check_model",
    "check_optimizer",
    "check_schedule",
    "check_vjp",
    "in_evaluation",
    "in_training",
    "inspect_layer",
    "kink_distance_of",
    "reference_of",
    "strategies",
]


def __getattr__(name: str) -> Any:
    if name == "strategies":
        return importlib.import_module("tinygrad_lab.conformance.cases.strategies")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"tinygrad_lab.conformance.{_HOMES[name]}"), name)
