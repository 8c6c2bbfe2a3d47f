"""Causes of gradients that are zero or not finite, found in the values of one operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_lab.inspect.tracing import Place, Seen

Found = tuple[str, str] | None  # the kind of a cause, and its text


@dataclass(frozen=True)
class Cause:
    """Why a gradient is zero, missing or not finite.

    Parameters
    ----------
    kind : str
        The cause in a word, such as ``"dead_relu"``: a key of `REMEDIES`.
    text : str
        What happened, with the values.
    place : Place or None
        The line of source code where it happened.
    step : int or None
        The number of the step of the backward pass.
    """

    kind: str
    text: str
    place: Place | None = None
    step: int | None = None

    @property
    def remedy(self) -> str:
        """Advice that usually helps."""
        return REMEDIES[self.kind]

    def __str__(self) -> str:
        step = f" (step {self.step})" if self.step else ""
        where = f"\n    at {self.place}{step}" if self.place else step
        return f"{self.kind}: {self.text}{where}\n    {self.remedy}"


REMEDIES = {
    "already_right": "There is nothing left to learn from these examples.",
    "at_kink": "The derivative at the kink is taken as 0; move the input off the kink, or use a smooth function.",
    "bad_data": "Look for the missing or damaged values in the data.",
    "bad_parameter": "An earlier update gave the parameter these values: lower the learning rate, or clip gradients.",
    "cancels": "The parts are equal and opposite: a normalization or a difference removes this variable.",
    "clipped": "Widen the bounds, or clip after the loss.",
    "constant": "Create the tensor with tgl.tensor(..., requires_grad=True), or as a tgl.Parameter.",
    "dead_relu": "Lower the learning rate, raise the biases of the layer before it, or use leaky_relu.",
    "detached": "Use the functions of tinygrad_lab on the tensor itself, which stay on the tape.",
    "division_by_zero": "Add a small number to the divisor, or select the cases by where() before dividing.",
    "dropped": "Lower the rate of dropout.",
    "edge_of_domain": "Keep the argument inside the domain by clip().",
    "empty": "Check the selection or the batch before the mean.",
    "exploding": "Lower the initial weights, add a normalization, or clip the gradients.",
    "frozen": "Call unfreeze() if the parameter is meant to be learned.",
    "hook": "Remove the hook, or correct what it returns.",
    "integer_result": "Use a result that changes smoothly: softmax instead of argmax, a loss instead of an accuracy.",
    "log_of_negative": "Take the logarithm of positive numbers only.",
    "log_of_zero": "Use log_softmax, a loss that takes logits, or add a small number before the logarithm.",
    "masked_infinity": "Replace the argument before the function, not its result: f(where(valid, x, 1.0)).",
    "masked": "Check the condition.",
    "never_used": "Use the variable in the function, or leave it out of the network.",
    "no_grad": "Move the line out of no_grad().",
    "not_selected": "A row that a batch does not select gets no gradient; if no batch selects it, add data.",
    "not_chosen": "Check the scales of both arguments.",
    "one_class": "Give the axis one entry for each class, or use the logistic function for a single output.",
    "outside_domain": "Keep the argument inside the domain by clip().",
    "overflow": "Subtract the maximum first (softmax, logsumexp), or scale the weights or the inputs down.",
    "power_at_zero": "Keep the base away from 0: add a small number to it.",
    "power_of_negative": "Take abs() of the base, or an integer exponent.",
    "root_at_zero": "Add a small number under the root, or use tgl.norm, whose gradient at 0 is 0.",
    "root_of_negative": "Keep the argument at or above 0: maximum(x, 0.0).",
    "saturated": "Scale the inputs down, lower the initial weights, or normalize.",
    "stop_gradient": "Remove stop_gradient() if this variable is meant to be learned.",
    "underflow": "Scale the loss up, or compute in a wider float.",
    "unused_result": "Add the result to the loss.",
    "vanishing": "Use ReLU, a normalization or shortcuts, or raise the initial weights.",
    "zero_cotangent": "Pass a cotangent that is not 0.",
    "zero_derivative": "Replace the operation, or give it a derivative rule of your own that passes the gradient on.",
    "zero_factor": "Check where this factor comes from: initial weights, data, mask or weight in the loss.",
    "zero_power": "The exponent makes the derivative 0 here.",
    "zero_rule": "Compare the rule's formula with the values.",
}

_RELUS = frozenset({"relu", "add_relu", "conv2d_relu", "batch_norm_relu", "channel_affine_relu"})
_PRODUCTS = frozenset({"multiply", "matmul_matrices", "divide", "conv2d", "conv2d_relu", "einsum_operands"})


def why_zero(seen: Seen, argument: str, g: Any) -> tuple[str, str]:
    """Return the kind and the text of the reason why a rule gave 0 for an argument although `g` is not 0.

    Parameters
    ----------
    seen : Seen
        The operation's values.
    argument : str
        The argument.
    g : array
        The cotangent of the result.
    """
    for test in _ZERO:
        if found := test(seen, argument, g):
            return found
    values = [v for v in seen.arguments.values() if isinstance(v, np.ndarray)]
    if len(values) == 1 and values[0].shape == np.shape(g):
        span = f"inputs from {np.min(values[0]):.4g} to {np.max(values[0]):.4g}"
        return "saturated", f"the derivative of {seen.name} is 0 for {span}"
    return "zero_rule", f"the rule of {seen.name} for {argument} gave 0 for a cotangent that is not 0"


def _relu(seen: Seen, argument: str, g: Any) -> Found:
    out = seen.out
    if seen.name not in _RELUS or out is None or np.any((out > 0) & (g != 0)):
        return None
    x = seen.arguments.get("x") if seen.name == "relu" else None
    largest = f" (its largest input is {np.max(x):.4g})" if isinstance(x, np.ndarray) and x.size else ""
    which = f"all {out.size} results are 0" if not np.any(out > 0) else "every result that the loss depends on is 0"
    return "dead_relu", f"{seen.name} is dead: {which}{largest}, so it passes no gradient"


def _squashed(seen: Seen, argument: str, g: Any) -> Found:
    out = seen.out
    if out is None or seen.name not in ("sigmoid", "tanh", "softmax", "log_softmax", "erf"):
        return None
    if "softmax" in seen.name:
        axis = seen.options.get("axis", -1)
        if out.shape[axis] == 1:
            return "one_class", f"{seen.name} over an axis of length 1 is constant"
        top = np.max(out if seen.name == "softmax" else np.exp(out), axis=axis)
        limit = f"its largest probability is {np.min(top):.6g} or more in all {top.size} rows"
    else:
        limit = f"all {out.size} results are at its limits (from {np.min(out):.6g} to {np.max(out):.6g})"
    x = seen.arguments.get("x")
    span = f"; inputs from {np.min(x):.4g} to {np.max(x):.4g}" if isinstance(x, np.ndarray) and x.size else ""
    return "saturated", f"{seen.name} is saturated: {limit}{span}"


def _loss(seen: Seen, argument: str, g: Any) -> Found:
    x = seen.arguments.get("x")
    if seen.name not in ("cross_entropy", "logistic_loss") or not isinstance(x, np.ndarray):
        return None
    if seen.name == "cross_entropy" and x.shape[-1] == 1:
        return "one_class", "cross entropy over a single class is constant"
    return "already_right", f"{seen.name} is 0: every target has probability 1 (logits up to {np.max(np.abs(x)):.4g})"


def _bounded(seen: Seen, argument: str, g: Any) -> Found:
    x, low, high = (seen.arguments.get(name) for name in ("x", "low", "high"))
    if seen.name != "clip_between" or not isinstance(x, np.ndarray):
        return None
    below = 0 if low is None else int(np.sum(x < low))
    above = 0 if high is None else int(np.sum(x > high))
    span = f"inputs from {np.min(x):.4g} to {np.max(x):.4g}"
    return "clipped", f"clip replaced {below + above} of {x.size} elements by its bounds {low} and {high}; {span}"


def _selected(seen: Seen, argument: str, g: Any) -> Found:
    if seen.name in ("maximum", "minimum"):
        other = "y" if argument == "x" else "x"
        larger = "larger" if seen.name == "maximum" else "smaller"
        return "not_chosen", f"{seen.name} takes {seen.label(other)} everywhere, which is {larger} than {argument}"
    if seen.name == "where":
        value = "true" if argument == "y" else "false"
        return "masked", f"the condition of where is {value} wherever the loss depends on it"
    return None


def _factor(seen: Seen, argument: str, g: Any) -> Found:
    if seen.name not in _PRODUCTS:
        return None
    for name, value in seen.arguments.items():
        if name == argument or value is None:
            continue
        nonzero = np.count_nonzero(value)
        if not nonzero and not (seen.name == "divide" and name == "y"):
            return "zero_factor", f"the other factor of {seen.name}, {seen.label(name)}, is all 0"
        if seen.name == "divide" and name == "y" and np.all(np.isinf(value)):
            return "zero_factor", f"the divisor, {seen.label(name)}, is infinite"
        if seen.name == "multiply" and not np.any((np.asarray(value) != 0) & (g != 0)):
            return "zero_factor", f"the other factor of multiply, {seen.label(name)}, is 0 where the loss depends on it"
    return None


def _power(seen: Seen, argument: str, g: Any) -> Found:
    x, y = seen.arguments.get("x"), seen.arguments.get("y")
    if seen.name != "power" or x is None or y is None:
        return None
    if argument == "x" and not np.any(y):
        return "zero_power", "the exponent of power is 0, so its result is 1 for every base"
    if not np.any(x):
        return "zero_power", f"the base of power is 0, where its derivative with exponent {np.max(y):g} is 0"
    return None


def _other(seen: Seen, argument: str, g: Any) -> Found:
    x = seen.arguments.get("x")
    if seen.name == "dropout":
        return "dropped", f"dropout with rate {seen.options.get('rate', 0.0):g} dropped everything"
    if seen.name == "absolute" and x is not None and not np.any(x):
        return "at_kink", "abs is at 0, where its derivative is taken as 0"
    if seen.name == "exp" and seen.out is not None and not np.any(seen.out):
        return "underflow", f"exp rounds to 0 in {seen.out.dtype}"
    return None


def _sums(seen: Seen, argument: str, g: Any) -> Found:
    """Recognize a sum over broadcast axes whose terms cancel, and products that round to 0."""
    if seen.name in ("add", "subtract"):
        return "cancels", f"the parts of the gradient cancel in the sum over the axes that {seen.name} broadcasts"
    largest = float(np.max(np.abs(g))) if np.size(g) else 0.0
    if seen.name in (*_PRODUCTS, "astype", "exp", "sqrt", "power", "log"):
        return "underflow", f"the gradient rounds to 0 in {g.dtype} (its cotangent is at most {largest:.3g})"
    return None


_ZERO: tuple[Callable[[Seen, str, Any], Found], ...] = (
    _relu,
    _squashed,
    _loss,
    _bounded,
    _selected,
    _factor,
    _power,
    _other,
    _sums,
)

_LOGS = {"log": 0.0, "log2": 0.0, "log10": 0.0, "log1p": -1.0}  # where they are infinite
_DOMAINS = {"arcsin": (-1.0, 1.0), "arccos": (-1.0, 1.0), "arctanh": (-1.0, 1.0), "arccosh": (1.0, np.inf)}


def why_result_not_finite(seen: Seen) -> tuple[str, str]:
    """Return the kind and the text of the reason why finite arguments gave a result that is not finite."""
    name = seen.name
    x: Any = seen.arguments.get("x")
    y: Any = seen.arguments.get("y")
    if name in _LOGS:
        edge = _LOGS[name]
        if np.any(x < edge):
            return "log_of_negative", f"{name} of {np.min(x):.4g} is not defined ({_some(x < edge)} below {edge:g})"
        return "log_of_zero", f"{name} of {edge:g} is infinite ({_some(x == edge)} are {edge:g})"
    if name == "sqrt":
        return "root_of_negative", f"sqrt of {np.min(x):.4g} is not defined ({_some(x < 0)} below 0)"
    if name == "divide":
        return _why_quotient(seen, x, y)
    if name == "power" and np.any(np.asarray(x) < 0) and np.any(np.asarray(y) % 1):
        return "power_of_negative", f"the power of a negative base ({np.min(x):.4g}) with a fractional exponent is NaN"
    if name == "power" and np.any((np.asarray(x) == 0) & (np.asarray(y) < 0)):
        return "division_by_zero", "0 to a negative power is infinite"
    if name in _DOMAINS:
        low, high = _DOMAINS[name]
        return "outside_domain", f"{name} needs {low:g} to {high:g}, got {np.min(x):.6g} to {np.max(x):.6g}"
    dtype = seen.out.dtype if seen.out is not None else "its dtype"
    largest = max((float(np.max(np.abs(v))) for v in seen.arguments.values() if np.size(v) and _real(v)), default=0.0)
    limit = f" (largest {np.finfo(dtype).max:.3g})" if seen.out is not None else ""
    return "overflow", f"{name} overflows {dtype}{limit}: its arguments go up to {largest:.4g}"


def _why_quotient(seen: Seen, x: Any, y: Any) -> tuple[str, str]:
    if np.any(np.isnan(y)) and not hasattr(y, "shape"):  # the divisor of a mean or variance without elements
        return "empty", "a mean over no elements, or a variance over too few, is NaN"
    zero = np.asarray(y) == 0
    if not np.any(zero):
        return "overflow", f"{seen.name} overflows: the divisor is as small as {np.min(np.abs(y)):.3g}"
    both = np.any(zero & (np.asarray(x) == 0))
    what = "0 / 0 is NaN" if both else "a division by 0 is infinite"
    return "division_by_zero", f"{what}: {_some(zero)} of the divisor, {seen.label('y')}, are 0"


def why_gradient_not_finite(seen: Seen, argument: str, g: Any) -> tuple[str, str]:
    """Return the kind and the text of the reason why a finite cotangent `g` gave a gradient that is not finite."""
    name, x, out = seen.name, seen.arguments.get("x"), seen.out
    y = seen.arguments.get("y")
    where: Any = None  # the derivative is infinite here
    if name in _LOGS and x is not None:
        where, kind, text = x == _LOGS[name], "log_of_zero", f"the derivative of {name} at {_LOGS[name]:g} is infinite"
    elif name == "sqrt" and out is not None:
        where, kind, text = out == 0, "root_at_zero", "the derivative of sqrt at 0 is infinite"
    elif name == "divide" and y is not None:
        where, kind, text = np.asarray(y) == 0, "division_by_zero", f"the divisor, {seen.label('y')}, is 0"
    elif name == "power" and x is not None:
        where, kind, text = np.asarray(x) == 0, "power_at_zero", "the derivative of the power at base 0 is infinite"
    elif name in _DOMAINS and x is not None:
        edges = np.isin(x, _DOMAINS[name])
        where, kind, text = edges, "edge_of_domain", f"the derivative of {name} at the edge of its domain is infinite"
    if where is None or not np.any(where):
        return "overflow", f"the gradient of {name} for {argument} overflows {getattr(g, 'dtype', '')}".rstrip()
    if np.shape(g) == np.shape(where) and not np.any(np.asarray(g)[where]):
        text += ", and 0 times infinity is NaN: the result is not used there, but its rule still runs"
        kind = "masked_infinity"
    return kind, f"{text} ({_some(where)})"


def _some(mask: Any) -> str:
    return f"{int(np.sum(mask))} of {np.size(mask)} elements"


def _real(value: Any) -> bool:
    return isinstance(value, (int, float)) or (hasattr(value, "dtype") and value.dtype.kind in "fiu")
