"""Formulas of derivative rules, read from their source code."""

from __future__ import annotations

import ast
import functools
import inspect
from types import CodeType
from typing import Any


def formula_of(rule: Any) -> str:
    """Return the formula of a derivative rule: its one expression, or its name and the first line of its docstring.

    Parameters
    ----------
    rule : callable
        ``rule(g, ...)`` as `Primitive.defvjp` takes it.

    Examples
    --------
    >>> from tinygrad_lab.ops.elementary import log
    >>> formula_of(log.rules[0].function)
    'g / x'
    """
    code = getattr(rule, "__code__", None)
    if code is None:
        return getattr(rule, "__name__", type(rule).__name__)
    text = _expression(code) or f"{code.co_name}({', '.join(code.co_varnames[: code.co_argcount])})"
    first = (inspect.getdoc(rule) or "").partition("\n")[0]
    return f"{text}: {first}" if first and text.startswith(f"{code.co_name}(") else text


@functools.cache
def _expression(code: CodeType) -> str:
    """Return the expression that a lambda or a one-line function returns, or an empty string."""
    names = [*code.co_varnames[: code.co_argcount]]
    for node in _functions(code.co_filename, code):
        at = min((d.lineno for d in getattr(node, "decorator_list", [])), default=node.lineno)
        if at != code.co_firstlineno or [a.arg for a in node.args.args] != names:
            continue
        if isinstance(node, ast.Lambda):
            if _within(code, node):
                return ast.unparse(node.body)
        elif node.name == code.co_name:
            body = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            only = body[0] if len(body) == 1 else None
            return ast.unparse(only.value) if isinstance(only, ast.Return) and only.value else ""
    return ""


def _within(code: CodeType, node: ast.Lambda) -> bool:
    """Return whether the code is that of this lambda: another one may be on the same line."""
    found = [(line, column) for line, _, column, _ in code.co_positions() if line and column]
    body = node.body
    end = (body.end_lineno or body.lineno, body.end_col_offset or 0)
    return bool(found) and all((body.lineno, body.col_offset) <= place <= end for place in found)


def _functions(filename: str, code: CodeType) -> list[Any]:
    try:
        lines, _ = inspect.findsource(code)
        return _parsed(filename, "".join(lines))
    except (OSError, SyntaxError):  # no source, as for code from a prompt
        return []


@functools.lru_cache(maxsize=64)
def _parsed(filename: str, text: str) -> list[Any]:
    return [n for n in ast.walk(ast.parse(text, filename)) if isinstance(n, (ast.Lambda, ast.FunctionDef))]
