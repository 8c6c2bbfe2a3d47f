"""Adequacy of cases: the options that they draw and the lines of the layer that they reach.

A report notes options that are never drawn, lines of the layer's class that never run, and draws that could not be
used. A strategy that tests nothing fails.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

from tinygrad_lab.autograd.dispatch import Kernel, provider_serves
from tinygrad_lab.autograd.primitive import Primitive
from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.backend import find_backend
from tinygrad_lab.conformance.cases.case import Case
from tinygrad_lab.conformance.trials.search import Drawn
from tinygrad_lab.conformance.trials.verdict import Violation

MOST_REJECTED = 0.5  # largest share of unusable draws
FEW = 4  # a strategy that draws more structures than this must draw different ones
UNASKED = {"__repr__", "multiply_adds", "upgrade", "config", "from_config"}  # methods that cases need not reach


class Coverage:
    """The lines of one file that have run.

    Parameters
    ----------
    path : str
        The source file of the layer.
    """

    def __init__(self, path: str) -> None:
        self.path, self.lines = path, set[int]()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note the lines that run inside the ``with`` block, unless a debugger or a coverage tool is active."""
        if sys.gettrace() is not None:
            yield
            return
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._note if frame.f_code.co_filename == self.path else None

    def _note(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.lines.add(frame.f_lineno)
        return self._note


def source_file(thing: Any) -> str | None:
    """Return the source file of a class or function, if there is one."""
    try:
        path = inspect.getsourcefile(thing)
    except TypeError:
        return None
    return path if path and Path(path).is_file() else None


def methods_of(thing: Any, path: str) -> set[str]:
    """Return the qualified names of the methods of a class that cases should reach."""
    name = getattr(thing, "__name__", "")
    classes = [n for n in ast.parse(Path(path).read_text(encoding="utf-8")).body if isinstance(n, ast.ClassDef)]
    methods = [f.name for c in classes if c.name == name for f in c.body if isinstance(f, ast.FunctionDef)]
    return {f"{name}.{method}" for method in methods if method not in UNASKED}


def code_objects(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all code objects nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from code_objects(constant)


def expected_lines(thing: Any, path: str) -> tuple[set[int], set[int]]:
    """Return the lines of a layer's methods that can run, and those of them that raise an error."""
    text = Path(path).read_text(encoding="utf-8")
    wanted, lines = methods_of(thing, path), set()
    for code in code_objects(compile(text, path, "exec")):
        if any(code.co_qualname == name or code.co_qualname.startswith(name + ".") for name in wanted):
            lines |= {line for _, _, line in code.co_lines() if line and line > code.co_firstlineno}
    raising: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Raise):
            raising |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines, raising & lines


def ranges(lines: set[int]) -> str:
    """Return line numbers in a short form.

    Examples
    --------
    >>> ranges({1, 2, 3, 7})
    '1-3, 7'
    """
    parts: list[list[int]] = []
    for line in sorted(lines):
        if parts and line == parts[-1][1] + 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def lines_never_run(thing: Any, coverage: Coverage) -> list[str]:
    """Return notes on the lines of a layer that no case runs."""
    if not coverage.lines:
        return []
    lines, raising = expected_lines(thing, coverage.path)
    name = Path(coverage.path).name
    notes = []
    if missed := lines - raising - coverage.lines:
        notes.append(f"no case runs {name}, lines {ranges(missed)}")
    if silent := raising - coverage.lines:
        notes.append(f"no BadInput reaches the errors in {name}, lines {ranges(silent)}")
    return notes


def options_never_drawn(make: Any, structures: list[Case]) -> list[str]:
    """Return notes on constructor arguments that no case sets, and on flags that have only one value."""
    try:
        parameters = list(inspect.signature(make).parameters.values())
    except (TypeError, ValueError):
        return []
    drawn: dict[str, set[str]] = defaultdict(set)
    for case in structures:
        bound = {p.name: repr(v) for p, v in zip(parameters, case.args, strict=False)}
        for name, value in (bound | {k: repr(v) for k, v in case.options.items()}).items():
            drawn[name].add(value)
    options = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    never = [p.name for p in options if p.name not in drawn and p.name not in ("rng", "init", "self")]
    flags = [p.name for p in options if isinstance(p.default, bool) and len(drawn.get(p.name, ())) == 1]
    notes = [f"no case sets {', '.join(never)}"] if never and structures else []
    if flags and len(structures) > FEW:
        notes.append(f"every case gives the same value to {', '.join(flags)}")
    return notes


def structure(case: Case) -> str:
    """Return a case without its seed, as text for comparison."""
    return repr((case.args, case.options, case.inputs, case.training))


def demand_adequate(drawn: Drawn, compared: int, fixed: int) -> None:
    """Raise a Violation for a strategy that tests nothing.

    Parameters
    ----------
    drawn : Drawn
        The drawn cases.
    compared : int
        The number of elements of gradients that were compared.
    fixed : int
        The number of cases that the author fixed.
    """
    if not drawn.structures and not fixed:
        raise Violation(f"vacuous strategy: no case could be used ({drawn.rejected} were drawn)")
    if drawn.rejection_rate > MOST_REJECTED:
        raise Violation(f"{drawn.rejection_rate:.0%} of the draws could not be used: they are too close to kinks")
    if compared == 0:
        raise Violation("vacuous strategy: no case has both a float argument and a result")
    if len(drawn.structures) > FEW and len({structure(case) for case in drawn.structures}) == 1:
        raise Violation("vacuous strategy: every draw is the same case; draw shapes and options")


def own_kernels(thing: Any, devices: Collection[str] = ()) -> dict[int, tuple[Primitive, Kernel]]:
    """Return the kernels, for the CPU and the given devices, of the primitives defined in a layer's own package."""
    package = getattr(thing, "__module__", "").rpartition(".")[0]
    return kernels_in(package + ".", devices) if package and not (package + ".").startswith("tinygrad_lab.") else {}


def kernels_in(
    prefix: str, devices: Collection[str] = (), *, differentiable: bool = True
) -> dict[int, tuple[Primitive, Kernel]]:
    """Return the enabled kernels of primitives that are defined in some modules, by the kernels' ids.

    Parameters
    ----------
    prefix : str
        The beginning of the modules' names.
    devices : collection of str
        The devices whose kernels are returned in addition to those of the CPU.
    differentiable : bool
        True for the kernels of primitives with derivative rules; False for those of primitives without rules, such as
        an optimizer's update.
    """
    found = {}
    namespaces, allowed = [np, *(find_backend(d).namespace for d in devices)], SETTINGS.get().providers
    for name, module in list(sys.modules.items()):
        if not (name + ".").startswith(prefix):
            continue
        for value in list(vars(module).values()):
            if not issubclass(type(value), Primitive) or not (str(value.__module__) + ".").startswith(prefix):
                continue
            if bool(value.rules) is differentiable:
                on = [k for k in value.kernels if allowed is None or k.provider in allowed]
                served = [k for k in on if any(provider_serves(k.provider, xp) for xp in namespaces)]
                found.update({id(k): (value, k) for k in served})
    return found


def demand_reached(kernels: dict[int, tuple[Primitive, Kernel]], reached: set[int]) -> None:
    """Raise a Violation for kernels that no case has run, because nothing would show their errors."""
    missed = sorted(f"{p} ({k.provider})" for key, (p, k) in kernels.items() if key not in reached)
    if missed:
        raise Violation(f"no case reaches the kernel of {', '.join(missed)}: add a case that its `when` accepts")
