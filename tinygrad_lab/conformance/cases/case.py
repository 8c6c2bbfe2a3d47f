"""Cases: the author's description of a layer's valid uses and properties.

A strategy draws the *structure* of a case: constructor arguments and the shapes of the inputs. The kit adds a seed, and
NumPy draws the values from it. If Hypothesis drew them one by one, that would take about thirty times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from tinygrad_lab.errors import LabError

LOW, HIGH = -2.0, 2.0  # default range of values
MARGIN = 0.01  # smallest distance of drawn values from a kink or a tie


class _Pasteable:
    """A dataclass whose repr shows only values that differ from their defaults, as code to paste into a file."""

    def __repr__(self) -> str:
        given = []
        for f in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, f.name)
            default = f.default_factory() if f.default_factory is not MISSING else f.default
            if f.name in getattr(self, "_positional", ()):
                given.append(repr(value))
            elif f.repr and not (type(value) is type(default) and value == default):
                given.append(f"{f.name}={value.__name__ if isinstance(value, type) else repr(value)}")
        return f"{type(self).__name__}({', '.join(given)})"


@dataclass(frozen=True, repr=False)
class Input(_Pasteable):
    """One input array of a layer: uniform values in [low, high), or integers.

    Parameters
    ----------
    shape : tuple of int
        The shape, batch axis first.
    low, high : float
        The range of the values. In the default range, one value in eight is drawn from a range five times as wide.
    kind : {"float", "constant", "integer"}
        Constants are floats without a gradient (a target, a mask); integers are constants too.
    below : int
        The exclusive bound of integers; they start at 0.
    distinct : bool
        Whether all values differ clearly, so that a maximum has no ties.
    values : tuple of float
        The only values to draw.

    Examples
    --------
    >>> Input((2, 3), low=0.5)
    Input((2, 3), low=0.5)
    """

    _positional = ("shape",)

    shape: tuple[int, ...]
    low: float = LOW
    high: float = HIGH
    kind: str = "float"
    below: int | None = None
    distinct: bool = False
    values: tuple[float, ...] = ()


@dataclass(frozen=True, repr=False)
class Inner(_Pasteable):
    """A layer among the constructor arguments of a case; the kit builds it with the case's seed.

    Parameters
    ----------
    layer : str or type
        The registered name, or the class.
    args, options : tuple, dict
        Its own constructor arguments, which may contain another `Inner`.

    Examples
    --------
    >>> Inner("dense", args=(3, 4))
    Inner('dense', args=(3, 4))
    """

    _positional = ("layer",)

    layer: Any
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Case(_Pasteable):
    """One configuration of a layer, and its inputs.

    Parameters
    ----------
    args, options : tuple, dict
        The constructor's positional and keyword arguments; a layer among them is written as an `Inner`.
    inputs : tuple of Input
        The inputs of the call.
    training : bool or None
        The mode; None tries both.
    seed : int
        The seed of weights and values; the kit draws it.

    Examples
    --------
    >>> Case(args=(3, 2), options={"bias": False}, inputs=(Input((4, 3)),), seed=7)
    Case(args=(3, 2), options={'bias': False}, inputs=(Input((4, 3)),), seed=7)
    """

    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    training: bool | None = None
    seed: int = 0


@dataclass(frozen=True, repr=False)
class BadInput(_Pasteable):
    """A use that the documentation forbids, and the error that it must raise.

    Parameters
    ----------
    args, options : tuple, dict
        The constructor's arguments; the constructor itself may raise the error.
    inputs : tuple of shapes or Inputs
        The inputs of the call.
    error : type
        The documented exception.
    match : str
        A regular expression that must be found in the error's message.
    training : bool
        The mode of the call.
    """

    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Any, ...] = ()
    error: type[Exception] = LabError
    match: str = ""
    training: bool = True


@dataclass(frozen=True)
class Law:
    """A law that a layer satisfies, written by its author.

    Parameters
    ----------
    name : str
        The name on the card.
    check : callable
        ``check(layer, *inputs)`` gets a float64 layer and float64 NumPy arrays. It returns the largest error, which
        should be 0 up to rounding, or raises AssertionError.
    formula : str
        The formula of the law, for the report.
    tolerance : float
        The largest error that passes.
    training : bool or None
        The mode in which the law holds; None for both.

    Examples
    --------
    >>> Law("unit_sum", lambda layer, x: abs(layer(x).numpy().sum(-1) - 1).max()).name
    'unit_sum'
    """

    name: str
    check: Callable[..., Any]
    formula: str = ""
    tolerance: float = 1e-9
    training: bool | None = None


class LayerCases:
    """The valid uses and properties of a layer, registered under ``tinygrad_lab.cases``.

    Parameters
    ----------
    strategy : Hypothesis strategy of Case
        Draws the structure of valid uses.
    reference : callable
        ``reference(layer, *inputs)`` computes the forward independently (plain loops, SciPy) on float64 NumPy arrays,
        with parameters from ``layer.state()``. Gradient checks only prove that a layer fits its own forward.
    kink_distance : callable
        ``kink_distance(layer, *inputs)`` returns the distance to the nearest kink (where the derivative jumps) or tie.
        If the distance is below `margin`, the kit draws values again. Omit this function for a smooth layer.
    complex_safe : bool
        Whether the forward is analytic and its operations accept complex numbers, so that the complex step may replace
        finite differences. ``abs``, comparisons and maxima are not analytic: they silently lose imaginary parts.
    laws : sequence of str or Law
        Names of the kit's laws (`tinygrad_lab.conformance.properties.laws`): ``linear``, ``affine``,
        ``batch_independent``, ``channel_independent``, ``elementwise``, ``permutation_equivariant``,
        ``shift_equivariant``, ``translation_invariant``, ``scale_invariant``, ``positively_homogeneous``, ``monotone``,
        ``unit_sum``, ``identity_at_zero_weights``. The layer's own laws are given as `Law`.
    bad_inputs : sequence of BadInput
        Forbidden uses with their documented errors.
    exemptions : mapping of property name to reason
        Properties that the layer does not have. The kit checks them anyway, and notes those that hold.
    random : bool
        Whether the layer draws random numbers in training.
    statistics : callable
        ``statistics(layer)`` raises AssertionError if many draws have the wrong distribution. By default, the mean of
        the training outputs must equal the output in evaluation.
    updated_buffers : callable
        ``updated_buffers(layer, *inputs)`` independently computes the buffers after one training call, and returns them
        by path.
    examples : sequence of Case
        Cases that are always tried, such as one that failed before.
    margin : float
        The smallest accepted distance to a kink or tie.
    equivalent : mapping of damage to reason
        The mutants that are correct layers, named as ``--mutants`` prints them, and the reasons.
    """

    def __init__(
        self,
        strategy: Any,
        *,
        reference: Callable[..., Any] | None = None,
        kink_distance: Callable[..., float] | None = None,
        complex_safe: bool = False,
        laws: Sequence[str | Law] = (),
        bad_inputs: Sequence[BadInput] = (),
        exemptions: Mapping[str, str] | None = None,
        random: bool = False,
        statistics: Callable[..., Any] | None = None,
        updated_buffers: Callable[..., Mapping[str, Any]] | None = None,
        examples: Sequence[Case] = (),
        margin: float = MARGIN,
        equivalent: Mapping[str, str] | None = None,
    ) -> None:
        self.strategy, self.reference, self.kink_distance = strategy, reference, kink_distance
        self.complex_safe, self.laws, self.bad_inputs = complex_safe, tuple(laws), tuple(bad_inputs)
        self.exemptions, self.random, self.statistics = dict(exemptions or {}), random, statistics
        self.updated_buffers, self.examples, self.margin = updated_buffers, tuple(examples), margin
        self.equivalent = dict(equivalent or {})
