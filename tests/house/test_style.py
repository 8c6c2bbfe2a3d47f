"""Rules of style that no linter checks."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import re
import tokenize
from collections.abc import Iterator

from tests.house.source import Function, code_lines, documented, identify, package_files, parse

LONGEST_FUNCTION = 60
# The names of their keyword arguments are the caller's own, or those of scikit-learn's interface.
KEYS_ARE_THE_CALLERS = {"ImageClassifier.set_params", "Layer.update", "Primitive.defvjp", "defjvp", "using"}
SUPPRESSION = re.compile(
    r"#\s*(noqa|type:\s*ignore)(?P<rules>(:\s*[A-Z]+[0-9]+(,\s*[A-Z]+[0-9]+)*|\[[a-z, -]+\])?)(?P<reason>.*)"
)
FILES = package_files()


def test_functions_are_short() -> None:
    long = {}
    for path in FILES:
        for name, node in documented(parse(path)):
            if not isinstance(node, Function):
                continue
            extent = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            if len(extent) > LONGEST_FUNCTION and (size := len(code_lines(path) & set(extent))) > LONGEST_FUNCTION:
                long[f"{identify(path)}: {name}"] = size
    assert not long


def test_suppressions_carry_their_reason() -> None:
    """The comment must be like `# type: ignore[attr-defined]  # the stubs lack it`."""
    bare = []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        if not SUPPRESSION.search(text):
            continue
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            for found in SUPPRESSION.finditer(token.string) if token.type == tokenize.COMMENT else ():
                if not found["rules"] or not re.search(r"[a-z]{3}", found["reason"]):
                    bare.append(f"{identify(path)}, line {token.start[0]}: {token.string}")
    assert not bare


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Return public functions and methods, without those that are defined inside a function."""
    for node in tree.body:
        owner, members = (f"{node.name}.", node.body) if isinstance(node, ast.ClassDef) else ("", [node])
        for member in members:
            if isinstance(member, Function) and not owner.startswith("_") and not member.name.startswith("_"):
                yield f"{owner}{member.name}", member


def test_no_catch_all_arguments_in_public_signatures() -> None:
    """Options are named in the signature or in a `TypedDict`, so that a wrong name is an error."""
    catching = {
        f"{identify(path)}: {name}"
        for path in FILES
        if path.name != "cases.py"
        for name, function in public_functions(parse(path))
        if (rest := function.args.kwarg) is not None and name not in KEYS_ARE_THE_CALLERS
        if rest.annotation is None or not ast.unparse(rest.annotation).startswith("Unpack[")
    }
    assert not catching


def public_names() -> list[str]:
    package = importlib.import_module("tinygrad_lab")
    return sorted(getattr(package, "__all__", []))


def test_public_names_exist_and_are_documented() -> None:
    things = {name: getattr(importlib.import_module("tinygrad_lab"), name) for name in public_names()}
    assert not [
        name
        for name, thing in things.items()
        if inspect.ismodule(thing) or callable(thing)
        if not (getattr(thing, "__doc__", None) or "").strip()
    ]


def test_the_suppression_pattern_requires_a_reason() -> None:
    def reasons(comment: str) -> list[str]:
        token = next(t for t in tokenize.generate_tokens(io.StringIO(comment).readline) if t.type == tokenize.COMMENT)
        return [found["reason"].strip(" #:") for found in SUPPRESSION.finditer(token.string)]

    assert reasons("x = 1  # noqa: E501") == [""]
    assert reasons("x = 1  # noqa: E501  a table reads better wide") == ["a table reads better wide"]
    assert reasons("x = 1  # type: ignore[arg-type]  # the stubs are wrong") == ["the stubs are wrong"]
