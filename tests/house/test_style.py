"""Rules of style that no linter checks."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import Function, code_lines, documented, identify, package_files, parse

LONGEST_FUNCTION = 60
# The names of their keyword arguments are the caller's own, or those of scikit-learn's interface.
KEYS_ARE_THE_CALLERS = {"ImageClassifier.set_params", "Layer.update", "Primitive.defvjp", "using"}
SUPPRESSION = re.compile(
    r"#\s*(noqa|type:\s*ignore)(?P<rules>(:\s*[A-Z]+[0-9]+(,\s*[A-Z]+[0-9]+)*|\[[a-z, -]+\])?)(?P<reason>.*)"
)
FILES = package_files()


@pytest.mark.parametrize("path", FILES, ids=identify)
def test_functions_are_short(path: Path) -> None:
    lines = code_lines(path)
    long = {
        name: size
        for name, node in documented(parse(path))
        if isinstance(node, Function)
        if (size := len(lines & set(range(node.lineno, (node.end_lineno or node.lineno) + 1)))) > LONGEST_FUNCTION
    }
    assert not long


@pytest.mark.parametrize("path", FILES, ids=identify)
def test_suppressions_carry_their_reason(path: Path) -> None:
    """The comment must be like `# type: ignore[attr-defined]  # the stubs lack it`."""
    with path.open(encoding="utf-8") as file:
        comments = [token for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.COMMENT]
    bare = []
    for token in comments:
        for found in SUPPRESSION.finditer(token.string):
            if not found["rules"] or not re.search(r"[a-z]{3}", found["reason"]):
                bare.append(f"line {token.start[0]}: {token.string}")
    assert not bare


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Return public functions and methods, without those that are defined inside a function."""
    for node in tree.body:
        owner, members = (f"{node.name}.", node.body) if isinstance(node, ast.ClassDef) else ("", [node])
        for member in members:
            if isinstance(member, Function) and not owner.startswith("_") and not member.name.startswith("_"):
                yield f"{owner}{member.name}", member


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "cases.py"], ids=identify)
def test_no_catch_all_arguments_in_public_signatures(path: Path) -> None:
    """Options are named in the signature or in a `TypedDict`, so that a wrong name is an error."""
    catching = {
        name
        for name, function in public_functions(parse(path))
        if (rest := function.args.kwarg) is not None
        if rest.annotation is None or not ast.unparse(rest.annotation).startswith("Unpack[")
    }
    assert not catching - KEYS_ARE_THE_CALLERS


def public_names() -> list[str]:
    package = importlib.import_module("tinygrad_lab")
    return sorted(getattr(package, "__all__", []))


@pytest.mark.parametrize("name", public_names())
def test_public_names_exist_and_are_documented(name: str) -> None:
    thing = getattr(importlib.import_module("tinygrad_lab"), name)
    if inspect.ismodule(thing) or callable(thing):
        assert (getattr(thing, "__doc__", None) or "").strip(), f"tinygrad_lab.{name} has no docstring"


def test_the_suppression_pattern_requires_a_reason() -> None:
    def reasons(comment: str) -> list[str]:
        token = next(t for t in tokenize.generate_tokens(io.StringIO(comment).readline) if t.type == tokenize.COMMENT)
        return [found["reason"].strip(" #:") for found in SUPPRESSION.finditer(token.string)]

    assert reasons("x = 1  # noqa: E501") == [""]
    assert reasons("x = 1  # noqa: E501  a table reads better wide") == ["a table reads better wide"]
    assert reasons("x = 1  # type: ignore[arg-type]  # the stubs are wrong") == ["the stubs are wrong"]
