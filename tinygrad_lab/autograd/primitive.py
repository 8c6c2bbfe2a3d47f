"""Primitives: functions on raw arrays whose derivatives are tables of rules by argument name.

A primitive's forward gets the array namespace and raw arrays. Calling the primitive with boxed arguments takes the
arrays out of their boxes, runs the forward, boxes the result, and puts on the tape what the rules of the tracked
arguments ask for. Called with raw arrays it is just its forward.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lab.autograd.anomaly import calling_line, check_result
from tinygrad_lab.autograd.dispatch import KernelTable
from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.autograd.tape import LIKE, OPTION, OUT, VALUE, WANTED, Box, Like, Node, pick
from tinygrad_lab.backend import FLOATS, NAMESPACES, agree, carries_gradient
from tinygrad_lab.errors import DTypeError, GradientError, RuleError, ShapeError


class Primitive:
    """A differentiable function of arrays.

    Parameters
    ----------
    forward : callable
        ``forward(xp, *arrays, **options)``: the namespace, arrays by position, options by keyword.
    outputs : sequence of str
        Names of the results, for rules to ask for.
    """

    def __init__(self, forward: Callable[..., Any], outputs: Sequence[str] = ("out",)) -> None:
        parameters = list(inspect.signature(forward).parameters.values())[1:]
        self.forward = forward
        self.outputs = tuple(outputs)
        self.arguments = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        self.options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        if clash := {*self.outputs, "wanted"} & {*self.arguments, *self.options}:
            raise RuleError(f"{forward.__name__}: expected names that stand for one thing, got {clash} twice; rename")
        self.variadic = next((i for i, p in enumerate(parameters) if p.kind is p.VAR_POSITIONAL), None)
        self.rules: dict[int, Any] = {}  # argument -> (targets, rule, needs)
        self.plans: dict[int, Any] = {}  # which arguments are tracked -> their distinct rules
        self.kernels = KernelTable()
        self.kernel = self.kernels.register  # @op.kernel("numba", when=..., error=...)
        self.__name__, self.__module__, self.__doc__ = forward.__name__, forward.__module__, forward.__doc__
        self.__signature__ = inspect.Signature(parameters)

    def __repr__(self) -> str:
        return self.__name__

    def defvjp(self, *shared: Any, **by_name: Callable[..., Any] | None) -> None:
        """Define derivative rules: ``defvjp(x=rule)``, or ``defvjp("x", "w", rule)`` for one rule that returns both.

        A rule is ``rule(g, ...)``: the cotangent of the result (a tuple for several outputs), then, by name, whatever
        it needs: an argument's value (``x``), an argument's shape and dtype alone (``x_like``), a result (``out``), an
        option, or ``wanted``, which tells for each of its arguments whether its gradient is wanted (answer None where
        not). The tape keeps just these. None instead of a rule declares the derivative to be zero.

        Raises
        ------
        RuleError
            The rule asks for a name that the primitive does not have, or shares with ``*args``, which get one of their
            own.
        """
        if shared:
            targets = tuple(self._position(name, self.variadic) for name in shared[:-1])
            self.rules.update(dict.fromkeys(targets, (targets, shared[-1], self._needs(shared[-1]))))
        for name, rule in by_name.items():
            i = self._position(name)
            self.rules[i] = (i, rule, self._needs(rule) if rule else ())
        self.plans.clear()

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the primitive. Raw arrays in, raw array out; a box in, a box out."""
        if options and not options.keys() <= self.options.keys():
            args, options = self._bind(args, options)
        array_type = dtype = None
        values, inputs, mask, bit, boxed, odd = [], [], 0, 1, False, False
        for a in args:
            node = None
            if isinstance(a, Box):
                boxed, node, a = True, a.node, a.value
                if node is not None:
                    mask |= bit
            if type(a) is array_type:
                odd = odd or a.dtype is not dtype
            elif type(a) in NAMESPACES:
                odd = odd or array_type is not None
                array_type, dtype = array_type or type(a), dtype or a.dtype
            values.append(a)
            inputs.append(node)
            bit <<= 1
        xp = NAMESPACES.get(array_type)  # type: ignore[arg-type]  # None: no array yet
        if odd or xp is None:
            xp, dtype = agree(self, values)
        kernel = self.kernels.choose(xp, values, options) if self.kernels else None
        try:
            out = kernel(*values, **options) if kernel else self.forward(xp, *values, **options)
        except ValueError as error:
            raise ShapeError.forward(self, values, error) from error
        except TypeError as error:
            raise DTypeError.forward(self, values, options, error) from error
        if not boxed:
            return out
        settings, box, several = SETTINGS.get(), Box.boxes, type(out) is tuple
        if settings.anomaly:
            check_result(self, values, out if several else (out,))
        if not mask or not settings.recording:
            return tuple(map(box, out)) if several else box(out)
        if not several and out.dtype is not dtype and not self._continues(out, dtype):
            return box(out)
        (plan, needs), saved = self.plans.get(mask | bit) or self._plan(mask, bit), []
        for kind, i in needs:
            if kind == VALUE:
                saved.append(values[i])
            elif kind == LIKE:
                saved.append((inputs[i] or Like(values[i])) if type(i) is int else list(map(Like, values[i])))
            elif kind == OUT:
                saved.append(out if i is None else out[i])
            else:
                saved.append(i if kind == WANTED else options.get(i, self.options[i]))
        node = Node(out[0] if several else out, self, plan, inputs, saved) if plan else None
        if settings.anomaly and node:
            node.place = calling_line()
        return self._box_several(box, out, node) if several else box(out, node)

    def names(self, targets: int | tuple[int, ...]) -> str:
        """Return the names of arguments, given by position."""
        last = len(self.arguments) - 1
        return ", ".join(self.arguments[min(i, last)] for i in ((targets,) if isinstance(targets, int) else targets))

    def _position(self, name: str, end: int | None = None) -> int:
        if name not in self.arguments[:end]:
            raise RuleError(f"{self}: expected a rule for one of {self.arguments[:end]}, got one for {name!r}")
        return self.arguments.index(name)

    def _needs(self, rule: Callable[..., Any]) -> list[tuple[int, Any]]:
        return [self._need(name) for name in list(inspect.signature(rule).parameters)[1:]]

    def _need(self, name: str) -> tuple[int, Any]:
        """Translate a name in a rule's signature to what is saved for it."""
        base = name.removesuffix("_like")
        if name in self.outputs:
            return OUT, None if len(self.outputs) == 1 else self.outputs.index(name)
        if name in self.options:
            return OPTION, name
        if name == "wanted":
            return WANTED, None
        if base in self.arguments:
            i = self.arguments.index(base)
            return VALUE if name == base else LIKE, slice(i, None) if i == self.variadic else i
        known = [*self.arguments, "..._like", *self.outputs, *self.options, "wanted"]
        raise RuleError(f"{self}: expected a rule that asks for some of {known}, got {name!r}")

    def _plan(self, mask: int, bit: int) -> Any:
        """Return the distinct rules of the tracked arguments and all they need; worked out once for each set."""
        count = bit.bit_length() - 1
        tracked = [i if self.variadic is None else min(i, self.variadic) for i in range(count) if mask >> i & 1]
        if missing := [i for i in tracked if i not in self.rules]:
            raise GradientError.no_rule(self, self.names(missing[0]))
        plan: list[Any] = []
        needed: list[Any] = []
        for targets, rule, needs in {id(self.rules[i]): self.rules[i] for i in tracked}.values():
            if targets == self.variadic:
                targets = tuple(range(targets, count))
            wanted = tuple(bool(mask >> i & 1) for i in targets) if isinstance(targets, tuple) else (True,)
            if rule is not None:
                start = len(needed)
                needed += [(kind, wanted if kind == WANTED else i) for kind, i in needs]
                plan.append((targets, rule, needed[start:], slice(start, len(needed))))
        return self.plans.setdefault(mask | bit, (tuple(plan), needed))

    def _bind(self, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Put arrays given by name into their positions, lest they escape the tape."""
        try:
            bound = self.__signature__.bind(*args, **options)
        except TypeError as error:
            raise DTypeError.call(self, error) from error
        bound.apply_defaults()
        return bound.args, bound.kwargs

    def _continues(self, out: Any, dtype: Any) -> bool:
        """Tell whether a result whose dtype differs from the tracked one belongs on the tape."""
        if out.dtype.kind in FLOATS and out.dtype != dtype and "dtype" not in self.options:
            raise DTypeError.widened(self, dtype, out.dtype)
        return out.dtype.kind in FLOATS

    def _box_several(self, box: Any, out: tuple[Any, ...], node: Node | None) -> tuple[Any, ...]:
        likes = tuple(Like(o) if carries_gradient(o) else None for o in out)
        if node:
            node.saved.append(likes)
        return tuple(box(o, pick(node, k, likes) if node and likes[k] else None) for k, o in enumerate(out))


def primitive(forward: Any = None, *, outputs: Sequence[str] = ("out",)) -> Any:
    """Turn ``forward(xp, *arrays, **options)`` into a `Primitive`; ``@primitive(outputs=...)`` for several results."""
    return Primitive(forward, outputs) if forward else lambda f: Primitive(f, outputs)
