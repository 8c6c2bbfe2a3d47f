"""Mutants: versions of a layer's own code, each damaged in one place, which the kit should notice.

A survivor is a mutant that no property notices. There are three causes: the strategy is weak, a reference is missing,
or the change makes no difference.
"""

from __future__ import annotations

import ast
import copy
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tinygrad_lab.conformance.cases.case import LayerCases
from tinygrad_lab.conformance.meta.adequacy import UNASKED, source_file
from tinygrad_lab.conformance.trials.options import Options
from tinygrad_lab.conformance.trials.search import PROFILES, Profile
from tinygrad_lab.registry import cases as registered_cases
from tinygrad_lab.registry import layers

MOST = 200  # mutants of one layer
UNTOUCHED = UNASKED | {"output_shape", "__init__"}  # other properties check shapes and options
SWAPPED_CALLS = {"mean": "sum", "sum": "mean", "max": "min", "min": "max", "exp": "expm1", "sqrt": "square"}
DROPPED_CALLS = {"sum_to", "transpose", "flip", "square", "moveaxis", "swapaxes"}


@dataclass(frozen=True)
class Mutant:
    """One damaged version of a module.

    Parameters
    ----------
    line : int
        The line of the damage.
    damage : str
        The kind of damage, with the expression before and after.
    tree : ast.Module
        The damaged module.
    """

    line: int
    damage: str
    tree: ast.Module = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"line {self.line}: {self.damage}"


@dataclass
class Mutants:
    """The damaged versions of a layer, killed and surviving.

    Parameters
    ----------
    name : str
        The layer.
    killed : dict
        The property that killed each mutant.
    survivors : list of Mutant
        The mutants that no property noticed.
    equivalent : dict
        The author's reasons why some survivors are correct layers, by the survivors' damage.
    """

    name: str
    killed: dict[Mutant, str] = field(default_factory=dict)
    survivors: list[Mutant] = field(default_factory=list)
    equivalent: Mapping[str, str] = field(default_factory=dict)

    @property
    def unexplained(self) -> list[Mutant]:
        """The survivors for which the author gives no reason."""
        return [m for m in self.survivors if m.damage not in self.equivalent]

    @property
    def rate(self) -> float:
        """The share of killed mutants."""
        total = len(self.killed) + len(self.survivors)
        return len(self.killed) / total if total else 1.0

    def summary(self) -> str:
        """Return the kill rate and the survivors."""
        total = len(self.killed) + len(self.survivors)
        if not total:
            return f"{self.name}: no mutants, because the layer has no arithmetic of its own"
        lines = [f"{self.name}: {len(self.killed)} of {total} mutants killed ({self.rate:.0%})"]
        for m in self.survivors:
            reason = self.equivalent.get(m.damage)
            lines.append(f"  survives: {m}" + (f"; no difference: {reason}" if reason else ""))
        for damage in sorted(self.equivalent.keys() - {m.damage for m in self.survivors}):
            lines.append(f"  `equivalent` names a mutant that does not survive: {damage}")
        return "\n".join(lines)


def changed(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield the damaged versions of one expression, with their names."""
    if isinstance(node, ast.BinOp):
        yield from changed_operation(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign lost", node.operand
    elif isinstance(node, ast.Call):
        yield from changed_call(node)
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield "transpose dropped", node.value


def changed_operation(node: ast.BinOp) -> Iterator[tuple[str, ast.expr]]:
    """Yield the damaged versions of an arithmetic operation."""
    if isinstance(node.op, (ast.Add, ast.Sub)):
        yield "term dropped", node.left
        yield "term dropped", node.right if isinstance(node.op, ast.Add) else ast.UnaryOp(ast.USub(), node.right)
        opposite = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield "sign changed", ast.BinOp(node.left, opposite, node.right)
    elif isinstance(node.op, (ast.Mult, ast.Div)):
        yield "factor dropped", node.left
        yield "times 1.01", ast.BinOp(ast.BinOp(node.left, node.op, node.right), ast.Mult(), ast.Constant(1.01))
    elif isinstance(node.op, ast.MatMult):
        yield "operands exchanged", ast.BinOp(node.right, ast.MatMult(), node.left)
    elif isinstance(node.op, ast.Pow):
        yield "power dropped", node.left


def changed_call(node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """Yield the damaged versions of a call of an array function."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name in SWAPPED_CALLS:
        other = copy.deepcopy(node)
        assert isinstance(other.func, ast.Attribute)
        other.func.attr = SWAPPED_CALLS[name]
        yield f"{SWAPPED_CALLS[name]} for {name}", other
    if name in DROPPED_CALLS:
        method = isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Name)
        if method and isinstance(node.func, ast.Attribute):
            yield f"{name} dropped", node.func.value
        elif node.args:
            yield f"{name} dropped", node.args[0]


def results(function: ast.FunctionDef | ast.Lambda) -> Iterator[ast.expr]:
    """Yield the expressions that a function returns."""
    if isinstance(function, ast.Lambda):
        yield function.body
        return
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
            yield node.value


class Finder(ast.NodeVisitor):
    """Finds the expressions of a layer's own mathematics: in forwards, rules and the functions that they call.

    Parameters
    ----------
    class_name : str
        The layer's class; other classes are ignored.
    """

    def __init__(self, class_name: str) -> None:
        self.class_name, self.inside = class_name, 0
        self.found: list[ast.expr] = []
        self.returned: list[ast.expr] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Visit the layer's class only."""
        if node.name == self.class_name:
            for part in node.body:
                self.visit(part)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Visit the body of a function, unless it concerns shapes and options."""
        if node.name in UNTOUCHED:
            return
        self.returned += results(node)
        self._enter(node.body)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Visit a rule."""
        self.returned += results(node)
        self._enter([node.body])

    def _enter(self, body: list[Any]) -> None:
        self.inside += 1
        for part in body:
            self.visit(part)
        self.inside -= 1

    def visit_Raise(self, node: ast.Raise) -> None:
        """Ignore messages."""

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Ignore indices."""
        self.visit(node.value)

    def generic_visit(self, node: ast.AST) -> None:
        """Note an expression and visit its parts."""
        if self.inside and isinstance(node, ast.expr) and not isinstance(node, ast.Tuple):
            self.found.append(node)
        super().generic_visit(node)


class Replacer(ast.NodeTransformer):
    """Replaces one expression with another.

    Parameters
    ----------
    old, new : ast.expr
        The expressions.
    """

    def __init__(self, old: ast.expr, new: ast.expr) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        """Return the new expression in place of the old one."""
        return self.new if node is self.old else self.generic_visit(node)


def short(node: ast.expr) -> str:
    """Return an expression's source, cut to 50 characters."""
    text = ast.unparse(node)
    return text if len(text) <= 50 else text[:47] + "..."


def mutants_of(path: str, class_name: str) -> list[Mutant]:
    """Return the damaged versions of a module, each with one damage."""
    text = Path(path).read_text(encoding="utf-8")
    finder = Finder(class_name)
    finder.visit(ast.parse(text))
    count = len(finder.found)
    made = []
    for index in range(count):
        for number, (damage, _) in enumerate(list(changed(finder.found[index]))):
            made.append(damaged(text, class_name, index, partial(nth_change, number), damage))
    for index in range(len(finder.returned)):
        made.append(damaged(text, class_name, index, times, "result times 1.01", returned=True))
    return [mutant for mutant in made if mutant is not None][:MOST]


def nth_change(number: int, node: ast.expr) -> tuple[str, ast.expr]:
    """Return one of the damaged versions of an expression."""
    return list(changed(node))[number]


def times(node: ast.expr) -> tuple[str, ast.expr]:
    """Return an expression times 1.01."""
    return "", ast.BinOp(node, ast.Mult(), ast.Constant(1.01))


def damaged(
    text: str,
    class_name: str,
    index: int,
    change: Callable[[ast.expr], tuple[str, ast.expr]],
    damage: str,
    *,
    returned: bool = False,
) -> Mutant | None:
    """Return a fresh tree with one changed expression; None if the expression is a tuple."""
    tree = ast.parse(text)
    finder = Finder(class_name)
    finder.visit(tree)
    old = (finder.returned if returned else finder.found)[index]
    if isinstance(old, ast.Tuple):
        return None
    _, new = change(old)
    before, after = short(old), short(new)
    ast.copy_location(new, old)
    changed_tree = ast.fix_missing_locations(Replacer(old, new).visit(tree))
    return Mutant(old.lineno, f"{damage}: {before} -> {after}", changed_tree)


def compiled(mutant: Mutant, cls: Any, path: str) -> Any:
    """Return the class of a damaged module."""
    original = sys.modules[cls.__module__]
    module = types.ModuleType(cls.__module__)
    module.__dict__.update(__file__=path, __package__=original.__package__, __name__=cls.__module__)
    exec(compile(mutant.tree, path, "exec"), module.__dict__)
    return getattr(module, cls.__name__)


def first_failure(cls: Any, name: str, cases: LayerCases, profile: Profile) -> str | None:
    """Return the first property that fails for a class, or None."""
    from tinygrad_lab.conformance.runner import examine_layer

    result = examine_layer(name, cls, cases, Options(profile), once=("bad_inputs",))
    return result.failures[0].name if result.failures else None


def kill_mutants(layer: Any, cases: LayerCases | None = None, *, profile: Profile = PROFILES["ci"]) -> Mutants:
    """Damage a layer's own module in one place at a time and check each version.

    Parameters
    ----------
    layer : str or type
        Its registered name, or its class.
    cases : LayerCases
        Its valid uses; by default the registered ones.
    profile : Profile
        How many cases to draw for each mutant.
    """
    cls = layers[layer] if isinstance(layer, str) else layer
    name = layer if isinstance(layer, str) else cls.__name__
    cases = cases if cases is not None else registered_cases[name]
    found, path = Mutants(name, equivalent=cases.equivalent), source_file(cls)
    if path is None:
        return found
    quick = replace(profile, shrink=False, hasty=True)
    for mutant in mutants_of(path, cls.__name__):
        try:
            killer = first_failure(compiled(mutant, cls, path), name, cases, quick)
        except Exception as error:
            killer = f"does not run ({type(error).__name__})"
        if killer is None:
            found.survivors.append(mutant)
        else:
            found.killed[mutant] = killer
    return found
