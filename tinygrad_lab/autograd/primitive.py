"""Primitives: functions on raw arrays whose derivatives are tables of rules by argument name.

A primitive's forward gets the array namespace and raw arrays. A call with boxed arguments takes the arrays out of their
boxes, runs the forward, boxes the result, and records what the rules of the tracked arguments ask for. A call with raw
arrays only runs the forward.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lab.autograd.dispatch import KernelTable, ShapeCheck
from tinygrad_lab.autograd.settings import OBSERVERS, SETTINGS
from tinygrad_lab.autograd.tape import LIKE, LIKES, OPTION, OUT, VALUE, WANTED, Box, Node, Rule, ShapeDtype, output_node
from tinygrad_lab.backend import FLOATS, NAMESPACES, SCALARS, agree, carries_gradient
from tinygrad_lab.errors import DTypeError, GradientError, RuleError, raise_forward_failed


class Primitive:
    """A differentiable function of arrays.

    Parameters
    ----------
    forward : callable
        ``forward(xp, *arrays, **options)``: the namespace, arrays by position, options by keyword.
    outputs : sequence of str
        Names of the results, by which rules ask for them.
    """

    def __init__(self, forward: Callable[..., Any], outputs: Sequence[str] = ("out",)) -> None:
        parameters = list(inspect.signature(forward).parameters.values())[1:]
        self.forward = forward
        self.outputs = tuple(outputs)
        self.arguments = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        self.options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        if clash := {*self.outputs, "wanted"} & {*self.arguments, *self.options}:
            raise RuleError(f"{forward.__name__}: expected distinct names, got {clash} twice; rename one")
        self.variadic = next((i for i, p in enumerate(parameters) if p.kind is p.VAR_POSITIONAL), None)
        self.rules: dict[int, Rule] = {}  # by the position of an argument
        self.plans: dict[Any, tuple[Any, Any]] = {}  # by the tracked arguments: their rules, and all that these need
        self.shape_check: ShapeCheck | None = None
        self.kernels = KernelTable(self)
        self.kernel = self.kernels.register  # @op.kernel("numba", when=..., error_bound=...)
        self.__name__, self.__module__, self.__doc__ = forward.__name__, forward.__module__, forward.__doc__
        self.__signature__ = inspect.Signature(parameters)

    def __repr__(self) -> str:
        return self.__name__

    def defvjp(self, *shared: Any, **by_name: Callable[..., Any] | None) -> None:
        """Define derivative rules: ``defvjp(x=rule)``, or ``defvjp("x", "w", rule)`` for one rule that returns both.

        A rule is ``rule(g, ...)``. Its first argument is the cotangent of the result, a tuple for several outputs. The
        others are whatever it needs, by name: an argument's value (``x``), only its shape and dtype (``x_like``), a
        result (``out``), an option, or ``wanted``: a boolean for each argument of a shared rule, which returns None
        where it is False. The tape keeps only these. None instead of a rule declares the derivative to be zero.

        Raises
        ------
        RuleError
            The rule asks for a name that the primitive does not have, or is shared with ``*args``, which need a rule
            of their own.
        """
        if shared:
            targets = tuple(self.position(name, self.variadic) for name in shared[:-1])
            self.rules.update(dict.fromkeys(targets, Rule(targets, shared[-1], self.needs(shared[-1]))))
        for name, rule in by_name.items():
            i = self.position(name)
            self.rules[i] = Rule(i, rule, self.needs(rule) if rule else ())
        self.plans.clear()

    def check(self, rule: Callable[..., None]) -> Callable[..., None]:
        """Register the decorated function as the check of the arguments' shapes; see `ShapeCheck`."""
        self.shape_check = ShapeCheck(self, rule)
        return rule

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the primitive. Raw arrays give a raw array; if an argument is boxed, so is the result."""
        if options and not options.keys() <= self.options.keys():  # an array given by name
            args, options = self._bind(args, options)
        # Open the boxes, note which arguments are tracked, and compare the arrays' types and dtypes.
        values, inputs, tracked, boxed, alike = [], [], 0, False, True
        array_type = dtype = None
        for i, a in enumerate(args):
            node = None
            if isinstance(a, Box):
                boxed, node, a = True, a.node, a.value
                if node is not None:
                    tracked |= 1 << i
            if type(a) is array_type:
                alike = alike and a.dtype is dtype
            elif type(a) in NAMESPACES:
                alike, array_type, dtype = alike and array_type is None, type(a), a.dtype
            elif type(a) not in SCALARS:
                alike = False  # a list, which becomes an array, or something that is not a number
            values.append(a)
            inputs.append(node)
        # Find the array library. Arrays of different types or dtypes must agree on the library and on one float width.
        xp = NAMESPACES.get(array_type) if alike else None  # type: ignore[arg-type]  # None: no array yet
        # Check the shapes and compute, by a kernel that supports the call or by the reference forward.
        try:
            if xp is None:
                xp, dtype = agree(self, values)
            if self.shape_check is not None:
                self.shape_check(values, options)
            kernel = self.kernels.choose(xp, values, options) if self.kernels or OBSERVERS else None
            out = kernel(*values, **options) if kernel else self.forward(xp, *values, **options)
        except (ValueError, TypeError) as error:
            raise_forward_failed(self, values, options, error)
        if not boxed:
            return out
        # Box the result; it is a constant if no argument is tracked.
        settings, box, several = SETTINGS.get(), Box.boxes, type(out) is tuple
        if settings.watcher:
            settings.watcher.computed(self, values, options, inputs, out if several else (out,))
        recorded = tracked and settings.recording
        if not (recorded and (several or out.dtype is dtype or self._carries_on(out, dtype))):
            return tuple(map(box, out)) if several else box(out)
        # Record the step: the rules of the tracked arguments, and the values that these rules ask for.
        key = tracked if self.variadic is None else (tracked, len(values))
        rules, needs = self.plans.get(key) or self._plan(key, tracked, len(values))
        saved: list[Any] = []
        for kind, which in needs:
            if kind == VALUE:
                saved.append(values[which])
            elif kind == LIKE:
                saved.append(inputs[which] or ShapeDtype(values[which]))  # a node knows its value's shape and dtype
            elif kind == LIKES:
                saved.append([ShapeDtype(v) for v in values[which]])
            elif kind == OUT:
                saved.append(out if which is None else out[which])
            else:
                saved.append(which if kind == WANTED else options.get(which, self.options[which]))
        node = Node(out[0] if several else out, self, rules, inputs, saved) if rules else None
        if settings.watcher and node:
            settings.watcher.recorded(node)
        return self._box_several(out, node) if several else box(out, node)

    def names(self, targets: int | tuple[int, ...]) -> str:
        """Return the names of the arguments at the given positions."""
        last = len(self.arguments) - 1
        return ", ".join(self.arguments[min(i, last)] for i in ((targets,) if isinstance(targets, int) else targets))

    def rule_of(self, i: int) -> Rule:
        """Return the derivative rule of the argument at position i."""
        rule = self.rules.get(i if self.variadic is None else min(i, self.variadic))
        if rule is None:
            raise GradientError.no_rule(self, self.names(i))
        return rule

    def position(self, name: str, end: int | None = None) -> int:
        """Return the position of the argument with a name."""
        if name not in self.arguments[:end]:
            raise RuleError.no_argument(self, name, self.arguments[:end])
        return self.arguments.index(name)

    def needs(self, rule: Callable[..., Any]) -> tuple[tuple[int, Any], ...]:
        """Return what a rule asks for after its first argument."""
        return tuple(self._need(name) for name in list(inspect.signature(rule).parameters)[1:])

    def _need(self, name: str) -> tuple[int, Any]:
        """Translate a name in a rule's signature to the pair (kind, which) of the value to save for it."""
        base = name.removesuffix("_like")
        if name in self.outputs:
            return OUT, None if len(self.outputs) == 1 else self.outputs.index(name)
        if name in self.options:
            return OPTION, name
        if name == "wanted":
            return WANTED, None
        if base in self.arguments:
            i = self.arguments.index(base)
            which, like = (slice(i, None), LIKES) if i == self.variadic else (i, LIKE)
            return VALUE if name == base else like, which
        known = [*self.arguments, "..._like", *self.outputs, *self.options, "wanted"]
        raise RuleError(f"{self}: expected a rule that asks for some of {known}, got {name!r}")

    def _plan(self, key: Any, tracked: int, count: int) -> tuple[Any, Any]:
        """Find and store the distinct rules of a set of tracked arguments out of `count`, and all that they need."""
        rules, every = list[Rule](), list[Any]()
        for rule in dict.fromkeys(self.rule_of(i) for i in range(count) if tracked >> i & 1):
            if rule.function is not None:
                targets = tuple(range(rule.targets, count)) if rule.targets == self.variadic else rule.targets
                wanted = tuple(bool(tracked >> i & 1) for i in targets) if isinstance(targets, tuple) else (True,)
                needs = tuple((kind, wanted if kind == WANTED else which) for kind, which in rule.needs)
                rules.append(Rule(targets, rule.function, needs, slice(len(every), len(every) + len(needs))))
                every += needs
        return self.plans.setdefault(key, (tuple(rules), tuple(every)))

    def _bind(self, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Move arrays passed by name to their positions, where the tape sees them."""
        try:
            bound = self.__signature__.bind(*args, **options)
        except TypeError as error:
            raise DTypeError.call(self, error, options) from error
        bound.apply_defaults()
        return bound.args, bound.kwargs

    def _carries_on(self, out: Any, dtype: Any) -> bool:
        """Return whether a result whose dtype differs from the tracked one belongs on the tape."""
        if out.dtype.type in FLOATS and out.dtype != dtype and "dtype" not in self.options:
            raise DTypeError.widened(self, dtype, out.dtype)
        return out.dtype.type in FLOATS

    def _box_several(self, out: tuple[Any, ...], node: Node | None) -> tuple[Any, ...]:
        """Box each result with a node of its own; integer results are constants."""
        if node is None:
            return tuple(map(Box.boxes, out))
        node.likes = tuple(ShapeDtype(o) if carries_gradient(o) else None for o in out)
        return tuple(Box.boxes(o, output_node(node, k) if node.likes[k] else None) for k, o in enumerate(out))


def primitive(forward: Any = None, *, outputs: Sequence[str] = ("out",)) -> Any:
    """Turn ``forward(xp, *arrays, **options)`` into a `Primitive`; ``@primitive(outputs=...)`` for several results."""
    return Primitive(forward, outputs) if forward else lambda f: Primitive(f, outputs)
