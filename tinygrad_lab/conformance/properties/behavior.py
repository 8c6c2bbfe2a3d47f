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

DRAWS = 1000  # of a random layer
FEW_DRAWS = 100  # where the author has a check of the distribution; every draw must be finite all the same
SIGMAS = 7.0  # standard errors that a mean of draws may be off; beyond 7 lies one in 400 thousand million


def modes(trial: Trial) -> Measure | None:
    """Evaluation changes no buffer, counts no step and draws nothing; training changes buffers once a call.

    Buffers after a call must not depend on whether it was recorded and walked back; where the author gives
    ``updated_buffers``, they must be those.
    """
    layer = trial.twin()
    before = {path: np.array(cell.value) for path, cell in layer.buffers().items()}
    finite = finite_buffers(layer)
    if not trial.case.training:
        one, two = (run_raw(layer, trial.inputs) for _ in range(2))
        demand(one.tobytes() == two.tobytes(), "in evaluation, the result differs from call to call")
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
        demand(same, f"buffer {path}: a call that is walked back leaves another value than one that is not")
    return Measure.worst(check_updates(trial, once))


def attributes(trial: Trial) -> Measure:
    """A call changes no attribute of the layer, nor of a layer inside it.

    What changes from call to call is a Buffer, which checkpoints keep. Catches counters, histories that hold every
    tape in memory, and modes that a forward sets.
    """
    layer = trial.twin()
    before = attributes_of(layer)
    layer(*leaves_of(trial))
    after = attributes_of(layer)
    for path in [*before, *(after.keys() - before.keys())]:
        (old, was), (new, became) = (found.get(path, ("", "nothing")) for found in (before, after))
        advice = "a forward sets none; what changes from call to call is a Buffer, changed by self.update"
        demand(old == new, f"a call changes the attribute {path} from {was} to {became}: {advice}")
    return Measure()


def attributes_of(layer: Layer) -> dict[str, tuple[Any, str]]:
    """Return by path what the attributes of a layer and of those inside it hold, to compare and to show.

    The values of parameters and buffers, and the number of steps, are the business of other properties.
    """
    found = {}
    for path, inner in layer.layers().items():
        for name, value in vars(inner).items():
            if name != "_clock":
                found[f"{path}.{name}" if path else name] = held(value), reprlib.repr(value)
    return found


def held(value: Any) -> Any:
    """Return what an attribute holds, in a form that does not change with it; of layers and such their identity."""
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
    """Return the float results of a layer in one vector, with nothing recorded; all are finite."""
    with tgl.no_grad():
        found = join([unbox(y) for y in float_leaves(layer(*inputs))])
    demand_finite("the result in training" if layer.training else "the result in evaluation", found)
    return found


def leaves_of(trial: Trial) -> list[Tensor]:
    """Return a trial's inputs as tensors, those that it is differentiated by as leaves of the tape."""
    return [Tensor(a, Node(a) if i in trial.subject.floats else None) for i, a in enumerate(trial.inputs)]


def check_updates(trial: Trial, found: dict[str, Array]) -> list[Measure]:
    """Compare the buffers after one call with the author's."""
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
    """Under tgl.checkpoint, which computes the forward again in the walk, results, gradients and buffers are the same.

    Catches masks that are drawn anew, and running statistics that are updated twice.
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
    """Run a layer and walk back; return the result, all gradients, the buffers and the steps."""
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
    """Return whether another step gives another result though all variables are the same."""
    found = []
    for step in (0, 1):
        layer.steps = step
        with restoring(layer):
            found.append(run_raw(layer, trial.inputs))
    return bool((found[0] != found[1]).any())


def statistics(trial: Trial) -> Measure | None:
    r"""A layer that draws random numbers repeats them with the seed; every draw is finite, and their mean is right.

    |mean of n training outputs - evaluation output| <= 7 s / sqrt(n), s their standard deviation, unless the author
    gives another check. Numbers that are the same in every step of every case make the strategy inadequate.
    """
    if not trial.case.training:
        return None
    layer = trial.twin()
    if not trial.cases.random:
        trial.varied = draws_in_training(trial, layer)
        return None
    by_author = trial.cases.statistics
    draws = np.stack([run_raw(layer, trial.inputs) for _ in range(FEW_DRAWS if by_author else DRAWS)])
    trial.varied = bool((draws != draws[:1]).any())
    layer.steps = 0
    again = run_raw(layer, trial.inputs)
    demand(np.array_equal(again, draws[0]), "the same seed and step draw other random numbers")
    if by_author is not None:
        by_author(trial.twin())
        return Measure()
    layer.eval()
    expected = run_raw(layer, trial.inputs)
    deviation = draws.std(axis=0)
    # A rare event that never happened in n draws leaves no deviation to see: allow for one of probability 7 / n.
    rare = np.abs(draws - expected).max(axis=0, initial=0.0) if draws.size else deviation
    bound = SIGMAS * deviation / np.sqrt(DRAWS) + SIGMAS**2 / DRAWS * (rare + np.abs(expected))
    return agree("the mean of training outputs, against evaluation", draws.mean(axis=0), expected, bound + 1e-12)
