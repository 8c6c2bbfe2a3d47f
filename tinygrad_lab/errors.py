"""Exceptions and warnings of tinygrad_lab.

Each derives from `LabError` and from the built-in exception that a Python programmer would expect to catch.
A message names its subject, what was expected, what was given and what to do.
"""

from __future__ import annotations

import difflib
import functools
import logging
from collections.abc import Collection
from typing import Any, NoReturn

from numpy.linalg import LinAlgError

from tinygrad_lab.foreign_names import own_options


def hint(name: str, known: Collection[str]) -> str:
    """Return the end of a message about an unknown name: the closest known names, or all of them.

    Examples
    --------
    >>> hint("trian", ["train", "draw"]), hint("x", ["train", "draw"])
    ("did you mean 'train'?", 'there are draw, train')
    """
    near = difflib.get_close_matches(name, known, n=3)
    listed = ", ".join(sorted(filter(None, known)))
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {listed}"


@functools.cache
def warn_once(text: str) -> None:
    """Log a warning once. A program that does not configure logging writes it to standard error."""
    logging.getLogger("tinygrad_lab").warning("tinygrad_lab: %s", text)


class LabError(Exception):
    """Base class of all errors of tinygrad_lab."""


class ShapeError(LabError, ValueError):
    """An array has the wrong shape."""

    @classmethod
    def unlike(cls, expected: Any, got: Any) -> ShapeError:
        """Report cotangents that do not match the outputs, or directions that do not match the arguments."""

        def say(tree: Any) -> str:
            if hasattr(tree, "shape"):
                return f"{tree.dtype} {tree.shape}"
            return f"{type(tree).__name__} {list(tree) if isinstance(tree, dict) else tree}"

        like = "a cotangent like each output (for jvp: a direction like each argument)"
        return cls(f"pullback: expected {like}, {say(expected)}, got {say(got)}")


class OptionError(LabError, ValueError):
    """An option has an invalid value."""


class MatrixError(LabError, LinAlgError):
    """A matrix does not have the requested inverse or decomposition: it is singular or not positive definite."""


class DTypeError(LabError, TypeError):
    """An array has the wrong data type, or two arrays of different float widths meet."""

    @classmethod
    def call(cls, op: Any, error: TypeError, options: Collection[str] = ()) -> DTypeError:
        """Report arguments that do not fit a signature; `options` are those given by name."""
        names = ", ".join([*op.arguments, *(["*", *op.options] if op.options else [])])
        what = str(error).removeprefix("got ") + own_options(options)
        if not op.arguments:
            what += "; the first parameter of its function is the array library, xp, and arrays follow"
        return cls(f"{op}: expected {op}({names}), arrays by position and options by name; got {what}")

    @classmethod
    def foreign(cls, name: str, known: Collection[str] = ()) -> DTypeError:
        """Report a NumPy function without an operation here; suggest the nearest of the `known` ones."""
        return cls(
            f"np.{name}: expected arrays, got a Tensor, which it cannot keep on the tape; "
            f"use {_named(name.rpartition('.')[2], known)}, or t.numpy() for a constant"
        )

    @classmethod
    def mixed(cls, op: Any, arrays: Any) -> DTypeError:
        """Report float arrays of different widths."""
        given = " and ".join(f"{a.dtype} {a.shape}" for a in arrays)
        scalar = "write float(...) around a NumPy scalar, or " if any(a.shape == () for a in arrays) else ""
        return cls(f"{op}: expected one float width, got {given}; {scalar}convert one with .astype(...)")

    @classmethod
    def widened(cls, op: Any, expected: Any, got: Any) -> DTypeError:
        """Report a result whose dtype is not that of the tracked argument."""
        if expected.kind == "c":
            why = (
                "it is not analytic and has no complex derivative; differentiate with respect to the real and "
                "imaginary parts"
            )
        elif got.kind == "c":
            why = "a complex number among the arguments made it complex: compute with its real and imaginary parts"
        else:
            why = f"an array of integers or a wider option changed the dtype: convert it with .astype('{expected}')"
        return cls(f"{op}: expected a result of {expected} like its tracked argument, got {got}; {why}")

    @classmethod
    def cut_off(cls, conversion: str) -> DTypeError:
        """Report a conversion of a tracked value, inside a transform, to a type that the tape cannot follow."""
        return cls(
            f"{conversion}: expected a constant inside a transform such as grad, got a tracked value, which it would "
            "detach from the tape; use the functions of tinygrad_lab, or stop_gradient(x) where a constant is meant"
        )

    @classmethod
    def not_real(cls, who: str, got: Any) -> DTypeError:
        """Report complex numbers where NumPy's meaning and the analytic continuation differ."""
        return cls(
            f"{who}: expected real numbers, got {got}; compute with real and imaginary parts (for the complex step, "
            "the analytic continuation: with tinygrad_lab.autograd.settings.analytic())"
        )


class CallError(LabError, TypeError):
    """A call does not fit its signature."""

    @classmethod
    def misfit(cls, name: str, signature: Any, args: Any, options: Any, error: TypeError) -> CallError:
        """Report a call that does not fit a signature; `signature` is without ``self``."""
        names: list[str] = []
        for p in signature.parameters.values():
            if p.kind is p.KEYWORD_ONLY and not any(n.startswith("*") for n in names):
                names.append("*")
            names.append({p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "") + p.name)
        given = ", ".join([*map(_short, args), *(f"{n}={_short(v)}" for n, v in options.items())])
        hint = "; arguments after the * are given by name" if "*" in names else ""
        hint += own_options(name for name in options if name not in signature.parameters)
        return cls(f"{name}: expected {name}({', '.join(names)}), got {name}({given}): {error}{hint}")


def _named(name: str, known: Collection[str]) -> str:
    return f"tinygrad_lab.{name}" if name in known else "the operations of tinygrad_lab"


def _short(value: Any) -> str:
    """Return an argument's repr if it is short, else its type."""
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else f"<{type(value).__name__}>"


class DeviceError(LabError, RuntimeError):
    """Arrays of different devices meet, or a device is missing."""


class CaptureError(LabError, RuntimeError):
    """A training step cannot be captured as a graph."""


class DistributedError(LabError, RuntimeError):
    """The ranks of a job were started wrongly or do not fit together, or one of them was lost."""


class GradientError(LabError, RuntimeError):
    """A derivative cannot be computed: no rule, no tape, or a rule that failed."""

    @classmethod
    def walked(cls, op: Any) -> GradientError:
        """Report a tape whose values an earlier backward pass released."""
        return cls(
            f"{op}: expected a tape that no backward pass has used yet, got one whose values were released; "
            "pass keep_graph=True to the first backward()"
        )

    @classmethod
    def not_repeated(cls) -> GradientError:
        """Report a function that computes a different result when it is recomputed."""
        return cls(
            "checkpoint: expected a function that repeats its computation, got other operations or other variables in "
            "the backward pass; assign to parameters and change modes before the forward or after the backward pass"
        )

    @classmethod
    def no_rule(cls, op: Any, argument: str) -> GradientError:
        """Report a tracked argument without a derivative rule."""
        return cls(
            f"{op}: expected a constant for {argument}, which has no derivative rule, got a tracked value; "
            "use stop_gradient() on it, or define the rule with defvjp"
        )

    @classmethod
    def not_scalar(cls, shapes: Any) -> GradientError:
        """Report a function under `grad` that does not return one scalar."""
        return cls(
            f"grad: expected a function that returns one scalar, got outputs of shapes {shapes}; sum it, or use "
            "jacobian (values taken with .numpy() or .item() have no derivative)"
        )

    @classmethod
    def misfit(cls, expected: Any, got: Any) -> GradientError:
        """Report a gradient whose shape or dtype differs from its argument's."""
        return cls(
            f"gradient of a leaf: expected {expected.shape} {expected.dtype}, got {got.shape} {got.dtype}; "
            + (
                "a complex result has no gradient with respect to a real variable: differentiate the result's real and "
                "imaginary parts"
                if got.dtype.kind == "c" != expected.dtype.kind
                else "the derivative rule of an operation on this leaf is wrong (is sum_to or astype missing?)"
            )
        )


class NonFiniteError(LabError, FloatingPointError):
    """A value or a gradient became infinite or not a number."""

    @classmethod
    def value(cls, op: Any, shapes: list[Any], clean: bool, place: str) -> NonFiniteError:
        """Report the first result that is not finite."""
        blame = "its arguments are finite" if clean else "an argument was already not finite"
        return cls(f"{op}: its result is not finite ({blame}; shapes {shapes}); called at {place}")

    @classmethod
    def gradient(cls, op: Any, targets: Any, place: str | None) -> NonFiniteError:
        """Report the first gradient that is not finite."""
        where = f"; created at {place}" if place else ""
        return cls(f"{op}: the gradient of {op.names(targets)} is not finite, although its cotangent was{where}")


class RuleError(LabError, NameError):
    """A derivative rule asks for a value that its primitive does not have."""

    @classmethod
    def no_argument(cls, op: Any, name: str, known: Collection[str]) -> RuleError:
        """Report a rule for an argument that a primitive does not have."""
        cure = "" if known else "; the first parameter of its function is the array library, xp, and arrays follow"
        return cls(f"{op}: expected a rule for one of {known}, got one for {name!r}{cure}")


class PluginError(LabError, LookupError):
    """A plugin is unknown, broken, registered twice, or made for another API."""


class ConfigError(LabError, ValueError):
    """A configuration, a recipe or a command's option is wrong."""


class StateError(LabError, ValueError):
    """Saved weights, another saved state or a run are missing, damaged or unfinished, or do not fit."""


class CheckpointError(LabError, OSError):
    """A checkpoint cannot be read or written."""


class DataError(LabError, OSError):
    """A data set is missing, incomplete or damaged."""


class Stopped(KeyboardInterrupt):
    """A signal, SIGINT (Ctrl-C) or SIGTERM, stopped a run between two steps.

    Parameters
    ----------
    number : int
        The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def raise_forward_failed(op: Any, values: list[Any], options: dict[str, Any], error: Exception) -> NoReturn:
    """Raise an error that explains a forward's ValueError or TypeError to its caller; keep our own errors unchanged."""
    if isinstance(error, LabError) and (op.variadic is not None or len(values) <= len(op.arguments)):
        raise error
    if "read-only" in str(error):
        raise DTypeError(f"{op}: expected a forward that does not write into its arguments, got a write: {error}")
    shapes = " and ".join(str(v.shape) for v in values if hasattr(v, "shape"))
    if isinstance(error, LinAlgError):
        raise MatrixError(f"{op}: expected matrices with such a result, got shapes {shapes}: {error}") from error
    if isinstance(error, ValueError):
        raise ShapeError(f"{op}: expected arrays that fit together, got shapes {shapes}: {error}") from error
    try:
        op.__signature__.bind(*values, **options)
    except TypeError as misfit:
        raise DTypeError.call(op, misfit, options) from error
    kinds = ", ".join(str(v.dtype) if hasattr(v, "dtype") else f"{v!r:.40}" for v in values)
    raise DTypeError(f"{op}: expected arrays of numbers, got {kinds}: {error}") from error


def raise_rule_failed(node: Any, targets: Any, g: Any, error: Exception) -> NoReturn:
    """Raise a GradientError for an exception inside a derivative rule, with the shapes of its arguments."""
    if isinstance(error, NonFiniteError):
        raise error
    shapes = ", ".join(str(getattr(c, "shape", None)) for c in (g if isinstance(g, tuple) else (g,)))
    place = f"; created at {node.place}" if node.place else ""
    raise GradientError(
        f"{node.op}: its derivative rule for {node.op.names(targets)} failed on a cotangent of shape {shapes}: "
        f"{type(error).__name__}: {error}{place}"
    ) from error
