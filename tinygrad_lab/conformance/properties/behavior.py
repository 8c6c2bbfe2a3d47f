"""Properties of a layer's behavior: modes, buffers, randomness, recomputation."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.autograd.tape import Node, unbox
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.properties.derivatives import BACKWARD, backward
from tinygrad_lab.conformance.trials.oracles import join
from tinygrad_lab.conformance.trials.subject import Arrays, float_leaves, restoring
from tinygrad_lab.conformance.trials.trial import Trial, magnitude
from tinygrad_lab.conformance.trials.values import demand_finite_buffers, finite_buffers
from tinygrad_lab.conformance.trials.verdict import Measure, agree, demand, demand_finite
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.tensor import Tensor

DRAWS = 1000  # results of a random layer
FEW_DRAWS = 100  # results, if the author checks the distribution; the kit checks that they are finite
SIGMAS = 7.0  # tolerance of a mean, in standard errors; one mean in 400 billion is off by more than 7


def modes(trial: Trial) -> Measure | None:
    """Evaluation changes no buffer, counts no step and draws no random numbers; training updates buffers once per call.

    Buffers after a call must not depend on whether the call was recorded and a backward pass ran. They must equal the
    author's ``updated_buffers``, if there are any.
    """
    layer = trial.twin()
    before = {path: np.array(cell.value) for path, cell in layer.buffers().items()}
    finite = finite_buffers(layer)
    if not trial.case.training:
        one, two = (run_raw(layer, trial.inputs) for _ in range(2))
        demand(one.tobytes() == two.tobytes(), "in evaluation, two calls give different results")
        demand(layer.steps == 0, "in evaluation, a call counts as a step")
        for path, cell in layer.buffers().items():
            demand(cell.value.tobytes() == before[path].tobytes(), f"in evaluation, a call changes the buffer {path}")
        return Measure()
    run_raw(layer, trial.inputs)
    once = {path: np.array(cell.value) for path, cell in layer.buffers().items()}
    demand_finite_buffers(layer, finite)
    walked = trial.twin()
    ys = float_leaves(walked(*leaves_of(trial)))
    backward([y if isinstance(y, Tensor) else Tensor(y) for y in ys], trial.cotangent)
    for path, cell in walked.buffers().items():
        same = cell.value.tobytes() == once[path].tobytes()
        demand(same, f"buffer {path}: a call with a backward pass leaves another value than a call without")
    return Measure.worst(check_updates(trial, once))


def attributes(trial: Trial) -> Measure:
    """A call changes no attribute of the layer or of a layer inside it.

    State belongs in a Buffer, which checkpoints save. Catches counters, histories that keep every tape in memory, and
    modes that a forward sets.
    """
    layer = trial.twin()
    before = attributes_of(layer)
    layer(*leaves_of(trial))
    after = attributes_of(layer)
    for path in [*before, *(after.keys() - before.keys())]:
        (old, was), (new, became) = (found.get(path, ("", "nothing")) for found in (before, after))
        advice = "a forward must set none; keep state in a Buffer and change it with self.update"
        demand(old == new, f"a call changes the attribute {path} from {was} to {became}: {advice}")
    return Measure()


def attributes_of(layer: Layer) -> dict[str, tuple[Any, str]]:
    """Return the attributes of a layer and of the layers inside it by path: a value to compare, and a text to show.

    Other properties check the values of parameters and buffers, and the number of steps.
    """
    found = {}
    for path, inner in layer.layers().items():
        for name, value in vars(inner).items():
            if name != "_clock":
                found[f"{path}.{name}" if path else name] = held(value), reprlib.repr(value)
    return found


def held(value: Any) -> Any:
    """Return a snapshot of an attribute's value; for layers and other objects, their identity."""
    if isinstance(value, Mapping):
        return [(key, held(entry)) for key, entry in value.items()]
    if isinstance(value, (list, tuple)):
        return [held(entry) for entry in value]
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype, value.tobytes()
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, set, frozenset)):
        return repr(value)
    return id(value)


def run_raw(layer: Layer, inputs: Arrays) -> Array:
    """Return the float results of a layer in one vector, without recording; demand that all are finite."""
    with tgl.no_grad():
        found = join([unbox(y) for y in float_leaves(layer(*inputs))])
    demand_finite("the result in training" if layer.training else "the result in evaluation", found)
    return found


def leaves_of(trial: Trial) -> list[Tensor]:
    """Return a trial's inputs as tensors; those that get gradients are leaves of the tape."""
    return [Tensor(a, Node(a) if i in trial.subject.floats else None) for i, a in enumerate(trial.inputs)]


def check_updates(trial: Trial, found: dict[str, Array]) -> list[Measure]:
    """Compare the buffers after one call with the author's values."""
    if trial.cases.updated_buffers is None:
        return []
    layer = trial.twin()
    with restoring(layer):
        expected = trial.cases.updated_buffers(layer, *trial.inputs)
    measures = []
    for path, value in expected.items():
        tolerance = 1e-9 * (1 + magnitude([np.asarray(value)]))
        measures.append(agree(f"buffer {path} after one call in training", found[path], value, tolerance))
    return measures


def checkpoint(trial: Trial) -> Measure | None:
    """Results, gradients and buffers are the same under tgl.checkpoint, which computes the forward twice.

    Catches masks that are drawn again, and running statistics that are updated twice.
    """
    if not trial.outputs:
        return None
    found = [walk(trial, trial.twin(), recompute) for recompute in (False, True)]
    (out, gradients, buffers, steps), (out2, gradients2, buffers2, steps2) = found
    measures = [agree("the result under checkpoint", out2, out, 0.0)]
    for name, a, b, s in zip(trial.names, gradients2, gradients, trial.scale.gradients, strict=True):
        measures.append(agree(f"the gradient of {name} under checkpoint", a, b, 10 * BACKWARD * s, argument=name))
    for path, value in buffers.items():
        demand(buffers2[path].tobytes() == value.tobytes(), f"buffer {path} differs under checkpoint: updated twice?")
    demand(steps == steps2, f"under checkpoint the layer counts {steps2} steps instead of {steps}")
    return Measure.worst(measures)


def walk(trial: Trial, layer: Layer, recompute: bool) -> tuple[Array, Arrays, dict[str, Array], int]:
    """Run a layer and its backward pass; return the result, all gradients, the buffers and the steps."""
    inputs = leaves_of(trial)

    def joined(*xs: Any) -> Any:
        return tgl.concatenate([tgl.reshape(y, shape=(-1,)) for y in float_leaves(layer(*xs))])

    y = tgl.checkpoint(joined, *inputs) if recompute else joined(*inputs)
    if isinstance(y, Tensor) and y.node is not None:
        y.backward(join(trial.cotangent))
    variables = [inputs[i] for i in trial.subject.floats]
    variables += [p for p in layer.parameters().values() if p.node is not None]
    gradients = [np.zeros(v.shape) if v.grad is None else v.grad.numpy() for v in variables]
    return np.asarray(unbox(y)), gradients, {path: b.value for path, b in layer.buffers().items()}, layer.steps


def draws_in_training(trial: Trial, layer: Layer) -> bool:
    """Return whether another step gives another result although all variables are the same."""
    first, second = (draw_of_step(trial, layer, step) for step in (0, 1))
    return bool((first != second).any())


def draw_of_step(trial: Trial, layer: Layer, step: int) -> Array:
    """Return a layer's result in a step, and leave its variables as they are."""
    layer.steps = step
    with restoring(layer):
        return run_raw(layer, trial.inputs)


def statistics(trial: Trial) -> Measure | None:
    r"""A random layer repeats its results for the same seed; all results are finite, and their mean is right.

    |mean of n training outputs - evaluation output| <= 7 s / sqrt(n), where s is their standard deviation, unless the
    author gives another check. A strategy is inadequate if no case gives results that differ from step to step.
    """
    if not trial.case.training:
        return None
    layer = trial.twin()
    if not trial.cases.random:
        trial.varied = draws_in_training(trial, layer)
        return None
    by_author = trial.cases.statistics
    draws = np.stack([draw_of_step(trial, layer, step) for step in range(FEW_DRAWS if by_author else DRAWS)])
    trial.varied = bool((draws != draws[:1]).any())
    demand(np.array_equal(draw_of_step(trial, layer, 0), draws[0]), "the same seed and step draw other random numbers")
    if by_author is not None:
        by_author(trial.twin())
        return Measure()
    layer.eval()
    expected = run_raw(layer, trial.inputs)
    deviation = draws.std(axis=0)
    # A rare event that never happened in n draws does not show in the deviation: allow for a probability of 7 / n.
    rare = np.abs(draws - expected).max(axis=0, initial=0.0) if draws.size else deviation
    bound = SIGMAS * deviation / np.sqrt(DRAWS) + SIGMAS**2 / DRAWS * (rare + np.abs(expected))
    return agree("the mean of training outputs, compared with evaluation", draws.mean(axis=0), expected, bound + 1e-12)
