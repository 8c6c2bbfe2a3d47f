"""Functions that read the project's own source: files, modules, docstrings, lines of code."""

from __future__ import annotations

import ast
import functools
import io
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"tinygrad_lab": ROOT / "tinygrad_lab", "tinygrad_lab_layers": ROOT / "layers" / "tinygrad_lab_layers"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function
NOT_CODE = {"COMMENT", "DEDENT", "ENCODING", "ENDMARKER", "INDENT", "NEWLINE", "NL"}


def python_files(folder: Path) -> list[Path]:
    """The Python files below a folder, in order."""
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def package_files() -> list[Path]:
    """The Python files of both packages."""
    return [path for folder in PACKAGES.values() for path in python_files(folder)]


def module_name(path: Path) -> str:
    """The dotted name under which a file of the packages is imported."""
    top = PACKAGES["tinygrad_lab_layers"].parent if path.is_relative_to(ROOT / "layers") else ROOT
    parts = path.relative_to(top).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def identify(path: Path) -> str:
    """Return a short name for a test's parameter."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def documented(tree: ast.Module) -> Iterator[tuple[str, Documented]]:
    """Yield everything in a module that may have a docstring, with its dotted name inside the module."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, Documented]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | Function):
                name = f"{prefix}{child.name}"
                yield name, child
                yield from walk(child, f"{name}.")
            else:
                yield from walk(child, prefix)

    yield "", tree
    yield from walk(tree, "")


def docstring_node(node: Documented) -> ast.Expr | None:
    """Return the statement that is the docstring, if there is one."""
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first
    return None


@functools.cache
def code_lines(path: Path) -> set[int]:
    """Return the numbers of the lines of code: neither blank, nor comment, nor docstring."""
    text = path.read_text(encoding="utf-8")
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if tokenize.tok_name[token.type] not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for _, node in documented(parse(path)):
        if text_node := docstring_node(node):
            lines.difference_update(range(text_node.lineno, (text_node.end_lineno or text_node.lineno) + 1))
    return lines


def imports(path: Path) -> Iterator[tuple[int, str, str | None]]:
    """Yield each import in a file, also inside functions: (line, module, imported name or None)."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, module, alias.name) for alias in node.names)


def tracked_files() -> list[str]:
    """Return the files that git tracks; outside of a checkout, skip the test."""
    try:
        answer = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [name for name in answer.stdout.split("\0") if name]
