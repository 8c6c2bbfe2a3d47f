"""Checks of models: shapes and counts, initial weights, gradients, one step of learning, and state."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Unpack

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case
from tinygrad_lab.conformance.cases.plugins import ModelCases
from tinygrad_lab.conformance.checks import conclude
from tinygrad_lab.conformance.kinds.kind import Kind, rng_of, without_options
from tinygrad_lab.conformance.runner import Run
from tinygrad_lab.conformance.trials.options import Keywords, Options
from tinygrad_lab.conformance.trials.results import LayerResult
from tinygrad_lab.conformance.trials.subject import read_only
from tinygrad_lab.conformance.trials.trial import BaseTrial
from tinygrad_lab.conformance.trials.verdict import Measure, Violation, agree, demand, demand_finite
from tinygrad_lab.errors import ConfigError, LabError
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.registry import models
from tinygrad_lab.train.metrics import class_logits

SIDES = (8, 16, 32, 48, 64, 96, 128)  # heights and widths of images that are tried
LENGTH, VOCABULARY = 6, 9  # of sequences
BATCH = 4
STEPS = (0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4)  # lengths of steps along the gradient
FEWER = 5  # a model has one case where other plugins have this many, because all of its cases are alike
WORK = 50_000  # largest number of parameters for each case of the profile; larger models get fewer cases
ROUNDING = 1e-4  # of float32, relative to the largest result


class ModelTrial(BaseTrial):
    """A model with the case's options, and a batch of examples with labels.

    Parameters
    ----------
    make : callable
        The function that returns the model.
    case : Case
        The options and the seed.
    cases : ModelCases
        What the author states.
    """

    def __init__(self, make: Callable[..., Any], case: Case, cases: ModelCases) -> None:
        self.make, self.cases, self.case = make, cases, case
        self.options = {**defaults_of(make), **case.options}
        rng = rng_of(case, 1)
        if "image" in self.options:
            shape = (BATCH, *self.options["image"])
            examples: Array = rng.random(shape, dtype=np.float32)
        else:
            shape = (BATCH, self.options["length"])
            examples = rng.integers(1, self.options.get("vocabulary", VOCABULARY), shape)
        super().__init__(case, [read_only(examples)])
        self.examples = self.inputs[0]
        self.labels = np.arange(BATCH) % self.classes
        self.model = self.build(0)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.options.get("classes", 2))

    @property
    def compared(self) -> int:
        """The number of parameters."""
        return sum(p.size for p in self.model.parameters().values())

    def exercise(self) -> None:
        """Use the model once."""
        self.build(0)
        self.outputs(self.model.eval(), self.examples)

    def build(self, seed: int) -> Any:
        """Return the model with initial weights of a seed.

        Raises
        ------
        Violation
            The function returns something other than a layer.
        """
        model = self.make(**self.case.options, rng=seed)
        demand(isinstance(model, Layer), f"expected a Layer, such as a Sequential, got {type(model).__name__}")
        return model

    def outputs(self, model: Any, examples: Array) -> list[Array]:
        """Return a model's results: the logits first, those of auxiliary classifiers after them."""
        with tgl.no_grad():
            found = model(examples)
        return [np.asarray(unbox(y)) for y in (found if isinstance(found, tuple) else (found,))]

    def loss(self, model: Any) -> Any:
        """Return the loss on the batch at the model's first step: the cross-entropy of every result."""
        model.steps = 0
        found = model(tgl.tensor(self.examples))
        parts = [
            softmax_cross_entropy(class_logits(y), self.labels)
            for y in (found if isinstance(found, tuple) else (found,))
        ]
        return sum(parts[1:], parts[0])

    @cached_property
    def gradients(self) -> dict[str, Array | None]:
        """The gradient of the loss in training by the parameters' paths; None where there is none."""
        self.model.train()
        self.loss(self.model).backward()
        parameters = self.model.parameters()
        found = {path: p.node.grad for path, p in parameters.items() if p.node is not None}  # frozen ones have no node
        for p in parameters.values():
            if p.node is not None:
                p.node.grad = None
        return found


def defaults_of(make: Callable[..., Any]) -> dict[str, Any]:
    """Return the defaults of a function's options."""
    return {name: p.default for name, p in inspect.signature(make).parameters.items() if p.default is not p.empty}


def shapes(trial: ModelTrial) -> Measure:
    """The result has the announced shape: a row of logits for each example, with a column for each class."""
    announced = trial.model.output_shape(trial.examples.shape)
    found = trial.outputs(trial.model.eval(), trial.examples)
    logits = found[0]
    several = announced and isinstance(announced[0], tuple)
    expected = [tuple(shape) for shape in announced] if several else [tuple(announced)]
    got = [y.shape for y in found]
    demand(got == expected, f"output_shape({trial.examples.shape}) announces {expected}, and forward gives {got}")
    rows = (BATCH, trial.classes)
    demand(
        logits.shape == rows or (trial.classes == 2 and logits.shape == (BATCH, 1)),
        f"expected logits of shape {rows} for {BATCH} examples and {trial.classes} classes, got {logits.shape}",
    )
    demand(logits.dtype == np.float32, f"expected float32 logits, got {logits.dtype}")
    demand_finite("the logits", logits)
    return Measure()


def logits(trial: ModelTrial) -> Measure:
    """The results are logits, not probabilities: losses apply the softmax themselves."""
    (first, *_) = trial.outputs(trial.model.eval(), trial.examples)
    sums = first.sum(axis=1)
    demand(
        first.shape[1] == 1 or np.abs(sums - 1).max() > ROUNDING or first.min() < 0,
        "the results are probabilities; leave out the last softmax, because losses expect logits",
    )
    return Measure()


def counts(trial: ModelTrial) -> Measure:
    """The model has parameters, its state has them under the same paths, and two batches cost twice as much as one."""
    parameters, state = trial.model.parameters(), trial.model.state()
    demand(len(parameters) > 0, "expected parameters, got none; keep layers in attributes or a Sequential")
    demand(
        {path: p.shape for path, p in parameters.items()}.items()
        <= {path: a.shape for path, a in state.items()}.items(),
        "the state lacks parameters of the model",
    )
    count, *rest = trial.examples.shape
    once, twice = (trial.model.multiply_adds((n * count, *rest)) for n in (1, 2))
    demand(once > 0, "multiply_adds: expected a positive number, got 0; add up those of the inner layers")
    demand(
        twice == 2 * once, f"multiply_adds: {once} for {count} examples, and {twice} for {2 * count}: expected double"
    )
    return Measure()


def values(model: Any) -> dict[str, Array]:
    """Return the values of a model's parameters."""
    return {path: p.value for path, p in model.parameters().items()}


def initial_weights(trial: ModelTrial) -> Measure:
    """The same seed draws the same weights, another seed other ones, and no two layers draw the same numbers."""
    first, again, other = (values(trial.build(seed)) for seed in (0, 0, 1))
    drawn = [path for path, p in trial.model.parameters().items() if p.size > 1 and np.ptp(p.value)]
    for path, value in first.items():
        demand(
            again[path].tobytes() == value.tobytes(),
            f"the same rng gives another {path}; pass rng on to every layer: rng = tgl.initializers.as_rng(rng)",
        )
    same = [path for path in drawn if other[path].tobytes() == first[path].tobytes()]
    demand(not same, f"another rng gives the same {', '.join(same[:3])}; pass rng on to every layer")
    seen: dict[bytes, str] = {}
    for path in drawn:
        flat = np.ravel(first[path])[:8]
        twin = (
            seen.setdefault((flat / np.abs(flat).max()).astype(np.float16).tobytes(), path) if flat.size == 8 else path
        )
        demand(
            twin == path,
            f"{twin} and {path} begin with the same numbers; make one generator for all layers: "
            "rng = tgl.initializers.as_rng(rng)",
        )
    return Measure()


def gradients(trial: ModelTrial) -> Measure:
    """In training, every parameter gets a finite gradient that is not 0 everywhere.

    Catches a branch that is not used, a result taken out of the tape, and a parameter without an effect.
    """
    for path, gradient in trial.gradients.items():
        demand(gradient is not None, f"{path} has no gradient: the result does not depend on it through the tape")
        demand_finite(f"the gradient of {path}", gradient)
    silent = [path for path, gradient in trial.gradients.items() if gradient is not None and not np.any(gradient)]
    if silent:  # a ReLU may be off for all examples of a batch
        again = ModelTrial(trial.make, replace(trial.case, seed=trial.case.seed + 1), trial.cases)
        silent = [path for path in silent if not np.any(again.gradients[path])]
    demand(not silent, f"the gradient of {', '.join(silent[:3])} is 0 everywhere, for two batches")
    return Measure()


def learns(trial: ModelTrial) -> Measure:
    """A step against the gradient lowers the loss on the batch, with the same random numbers."""
    trial.model.train()
    kept = {path: p.value for path, p in trial.model.parameters().items()}
    buffers = {path: b.value for path, b in trial.model.buffers().items()}
    slopes = {path: g for path, g in trial.gradients.items() if g is not None}
    size = np.sqrt(sum(float((g.astype(float) ** 2).sum()) for g in slopes.values()))
    demand(size > 0, "all gradients are 0")
    before, losses = float(unbox(trial.loss(trial.model))), []
    try:
        for step in STEPS:
            for path, g in slopes.items():
                trial.model.parameters()[path].assign(kept[path] - np.float32(step / size) * g)
            losses.append(float(unbox(trial.loss(trial.model))))
            if losses[-1] < before:
                return Measure()
    finally:
        for path, value in kept.items():
            trial.model.parameters()[path].assign(value)
        for path, value in buffers.items():
            trial.model.buffers()[path].assign(value)
    raise Violation(
        f"the loss on a batch is {before:.6g}, and {min(losses):.6g} at best after a step against the gradient; the "
        "gradient points elsewhere: look for a wrong sign or a result taken out of the tape"
    )


def state(trial: ModelTrial) -> Measure:
    """A model of another seed that loads the state gives the same results in evaluation."""
    twin = trial.build(1)
    twin.load_state(trial.model.state())
    expected = trial.outputs(trial.model.eval(), trial.examples)
    found = trial.outputs(twin.eval(), trial.examples)
    measures = [agree("the results after loading the state", a, b, 0.0) for a, b in zip(found, expected, strict=True)]
    return Measure.worst(measures)


def evaluation(trial: ModelTrial) -> Measure:
    """In evaluation, an example's logits do not depend on the other examples, nothing is random, no state changes."""
    model = trial.model.eval()
    before = {path: a.tobytes() for path, a in model.state().items()}
    together = trial.outputs(model, trial.examples)[0]
    agree("the logits of the same batch again", trial.outputs(model, trial.examples)[0], together, 0.0)
    after = {path: a.tobytes() for path, a in model.state().items()}
    changed = [path for path, value in before.items() if after[path] != value]
    demand(not changed, f"evaluation changes {', '.join(changed)}")
    alone = np.concatenate([trial.outputs(model, trial.examples[i : i + 1])[0] for i in range(BATCH)])
    tolerance = ROUNDING * (1 + float(np.abs(together).max()))
    return agree("the logits of each example alone, against those in its batch", alone, together, tolerance)


def wrong_images(trial: ModelTrial) -> Measure | None:
    """Images with another number of channels are refused, by a clear error of the framework."""
    if "image" not in trial.options:
        return None
    shape = (*trial.examples.shape[:-1], trial.examples.shape[-1] + 1)
    for name, call in (
        ("output_shape", lambda: trial.model.output_shape(shape)),
        ("forward", lambda: trial.outputs(trial.model.eval(), np.zeros(shape, np.float32))),
    ):
        try:
            call()
        except LabError:
            continue
        except Exception as error:
            raise Violation(
                f"{name} of images {shape}: expected ShapeError, got {type(error).__name__}: {error}"
            ) from error
        raise Violation(f"{name} of images {shape}: expected ShapeError, got no error, for one channel too many")
    return Measure()


PROPERTIES: dict[str, Callable[[ModelTrial], Measure | None]] = {
    p.__name__: p for p in (shapes, logits, counts, initial_weights, gradients, learns, state, evaluation, wrong_images)
}


def published_counts(run: Run[ModelTrial]) -> int | None:
    """The numbers of parameters are those that the author states."""
    stated = run.kept[-1].cases.parameters
    for options, expected in stated:
        count = sum(p.size for p in run.thing(**options, rng=0).parameters().values())
        demand(count == expected, f"with the options {dict(options)}: expected {expected} parameters, got {count}")
    return len(stated) or None


def small_options(make: Callable[..., Any], cases: ModelCases) -> list[dict[str, Any]]:
    """Return options for small examples that the model accepts.

    Raises
    ------
    ConfigError
        The model has neither an option `image` nor an option `length`, or accepts no size.
    """
    defaults = defaults_of(make)
    if "length" in defaults and "image" not in defaults:
        return [{"length": LENGTH, **({"vocabulary": VOCABULARY} if "vocabulary" in defaults else {})}]
    if "image" not in defaults:
        raise ConfigError(
            f"{getattr(make, '__name__', make)}: expected an option image=(height, width, channels), or length of a "
            f"sequence, got {list(defaults)}"
        )
    if cases.images:
        return [{"image": image} for image in cases.images]
    default = tuple(defaults["image"])
    for image in [*((side, side, *default[2:]) for side in SIDES if len(default) == 3), default]:
        try:
            make(image=image, rng=0).output_shape((1, *image))
        except LabError:
            continue
        except Exception:  # a fault of the model, which the check reports
            return [{"image": image}]
        return [{"image": image}]
    raise ConfigError(f"{getattr(make, '__name__', make)}: expected a model that accepts images {default}, its default")


def strategy(make: Any, cases: ModelCases) -> Any:
    """Return a strategy of cases: a small size of the examples, and a number of classes."""
    if cases.options is not None:
        return cases.options.map(lambda options: Case(options=options))
    chosen = st.sampled_from(small_options(make, cases))
    classes = st.integers(2, 5) if "classes" in defaults_of(make) else st.none()

    def options(size: Mapping[str, Any], count: int | None) -> Case:
        return Case(options={**size, **({} if count is None else {"classes": count})})

    return st.builds(options, chosen, classes)


class ModelKind(Kind[ModelTrial, ModelCases]):
    """The kind of models: a large one gets fewer cases, and its failures are not shrunk."""

    def inspect(self, plugin: Any, cases: Any = None, **options: Unpack[Keywords]) -> LayerResult:
        """Check a model as `Kind.inspect` does."""
        _, make, stated = self.find(plugin, cases)
        profile = Options.pack(**options).profile
        try:
            size = sum(p.size for p in make(**small_options(make, stated)[0], rng=0).parameters().values())
        except Exception:  # the check reports it
            size = 0
        few = max(1, min(profile.examples // FEWER, WORK * profile.examples // max(1, size)))
        kept = replace(profile, examples=few, shrink=profile.shrink and size <= 20 * WORK)
        given: Keywords = {**options, "profile": kept, "examples": None, "seed": None}
        result = super().inspect(plugin, cases, **given)
        if few < profile.examples // FEWER:
            result.notes.append(
                f"{few} of {profile.examples // FEWER} cases, because the model has {size:,} parameters"
            )
        return result


MODEL = ModelKind(
    "model",
    models,
    ModelCases,
    strategy,
    without_options(ModelTrial),
    PROPERTIES,
    {"published_counts": published_counts},
)


def check_model(model: Any, cases: Any = None, **options: Unpack[Keywords]) -> LayerResult:
    """Check a model: shapes, counts, initial weights, gradients, one step of learning, state and evaluation.

    Parameters
    ----------
    model : str or callable
        Its registered name, or the function that returns it: ``model(*, image, classes, rng)``, or with an option
        ``length`` in place of ``image`` for sequences.
    cases : ModelCases or Hypothesis strategy of dict
        Its cases, or a strategy of its options alone. By default the cases that its author registered; if there are
        none, the smallest image of a few sizes that the model accepts.
    **options
        As in `check_layer`.

    Raises
    ------
    NonconformanceError
        A property does not hold.

    Examples
    --------
    >>> check_model("lenet5", examples=1).passed
    True
    """
    return conclude(MODEL.inspect(model, cases, **options))
