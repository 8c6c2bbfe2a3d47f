"""Cases of schedules, augmentations, data sets, metrics and models: what their authors state about them.

An author registers them under ``tinygrad_lab.cases``, with the plugin's name. Without them the kit draws options by the
annotations of the constructor, and checks the properties that need no statement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygrad_lab.conformance.cases.case import BadInput, Case


@dataclass(frozen=True, kw_only=True)
class PluginCases:
    """The part that cases of all these kinds share.

    Parameters
    ----------
    options : Hypothesis strategy of dict, optional
        The constructor's keyword arguments; by default drawn by its annotations.
    examples : sequence of Case
        Cases that are always tried, such as one that failed before.
    bad_inputs : sequence of BadInput
        Forbidden options with their documented errors; the inputs are not used.
    exemptions : mapping of property name to reason
        Properties that the plugin does not have.
    """

    options: Any = None
    examples: Sequence[Case] = ()
    bad_inputs: Sequence[BadInput] = ()
    exemptions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OptimizerCases(PluginCases):
    """Cases of an optimizer. Without options, the kit draws them by annotation, and learning rates of 0.1 and 0.01."""


@dataclass(frozen=True, kw_only=True)
class ScheduleCases(PluginCases):
    """Cases of a schedule.

    Parameters
    ----------
    reference : callable
        ``reference(schedule, t)`` computes the factor at position t independently, from the schedule's options.
    """

    reference: Callable[[Any, float], float] | None = None


@dataclass(frozen=True, kw_only=True)
class AugmentationCases(PluginCases):
    """Cases of an augmentation.

    Parameters
    ----------
    identity : mapping of option to value, optional
        The options with which it changes nothing, such as ``{"amount": 0.0}``.
    low, high : float or None
        The range of its results, for images of brightness from 0 to 1; None if there is no such bound.
    mixes : bool
        Whether it blends each image with another one of the batch.
    targets : bool
        Whether it changes target numbers, which `in_units` restores. Otherwise, labels are classes.
    reference : callable
        ``reference(augmentation, image, rng)`` computes the result of one image (H, W, C) as a batch of its own.
    """

    identity: Mapping[str, Any] | None = None
    low: float | None = 0.0
    high: float | None = 1.0
    mixes: bool = False
    targets: bool = False
    reference: Callable[..., Any] | None = None


@dataclass(frozen=True, kw_only=True)
class MetricCases(PluginCases):
    """Cases of a metric. Its range and task are stated by `tinygrad_lab.train.metrics.scored`.

    Parameters
    ----------
    reference : callable
        ``reference(logits, label)`` computes the number of one example in plain Python, from a list of floats and the
        number of the class.
    """

    reference: Callable[[list[float], int], float] | None = None


@dataclass(frozen=True, kw_only=True)
class DataCases(PluginCases):
    """Cases of a data set.

    Parameters
    ----------
    write : callable
        ``write(folder)`` writes a small example of the files that the data set reads, for a data set whose files are
        the user's own. By default, the kit reads the published files, if they are on this machine.
    """

    write: Callable[[Path], Any] | None = None


@dataclass(frozen=True, kw_only=True)
class ModelCases(PluginCases):
    """Cases of a model.

    Parameters
    ----------
    images : sequence of (height, width, channels)
        The sizes of images to build it for; by default the smallest of a few sizes that it accepts.
    parameters : sequence of pairs
        Published numbers of parameters: each pair is a dict of options and the number with these options.
    """

    images: Sequence[tuple[int, int, int]] = ()
    parameters: Sequence[tuple[Mapping[str, Any], int]] = ()
