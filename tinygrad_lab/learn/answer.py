"""A learner's answer: its files, read, looked over and run, with a clear word for whatever keeps them from running."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PACKAGE = "tinygrad_lab_answer"  # under which the learner's modules are known while they are graded


class WrongAnswer(Exception):
    """Something is wrong with an answer, said in plain words.

    Parameters
    ----------
    message : str
        What.
    shown : str
        An example of it: what was computed, and what should have been.
    """

    def __init__(self, message: str, shown: str = "") -> None:
        super().__init__(message)
        self.shown = shown


class Answer:
    """The names that a learner's file defines, each as an attribute.

    Functions are wrapped so that one without a ``return`` is told so.

    Parameters
    ----------
    files : mapping of name to source
        The learner's files.
    folder : Path or None
        Where they lie; None for text that lies nowhere.
    """

    def __init__(self, files: Mapping[str, str], folder: Path | None = None) -> None:
        self._files = {name: str(folder / name) if folder else f"<{name}>" for name in files}
        self._sources = dict(files)
        self._names: dict[str, Any] = {}

    def run(self) -> Answer:
        """Run the files, as modules of a package of their own, and return this answer.

        Raises
        ------
        WrongAnswer
            A file is no Python, or raises an exception.
        """
        for name, path in self._files.items():
            text = self._sources[name]
            code = compiled(text, name, path)
            linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
            module = types.ModuleType(f"{PACKAGE}.{Path(name).stem}")
            module.__file__ = path
            sys.modules[module.__name__] = module
            try:
                exec(code, module.__dict__)
            except BaseException as error:
                raise WrongAnswer(f"{name} could not be run: {self.blame(error)}") from error
            self._names |= vars(module)
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._names:
            files = " and ".join(self._files)
            raise WrongAnswer(f"{files}: expected something of the name {name}, got nothing; was it renamed?")
        value = self._names[name]
        return returning(value) if inspect.isfunction(value) else value

    def line_of(self, error: BaseException) -> tuple[str, int, str] | None:
        """Return file, number and text of the learner's line in which an exception arose; None if it was not there."""
        paths = {path: name for name, path in self._files.items()}
        place = None
        link: BaseException | None = error
        while link is not None:
            trace = link.__traceback__
            while trace is not None:
                path = trace.tb_frame.f_code.co_filename
                if path in paths:
                    place = paths[path], trace.tb_lineno, linecache.getline(path, trace.tb_lineno).strip()
                trace = trace.tb_next
            link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        return place

    def blame(self, error: BaseException) -> str:
        """Say what an exception was, and in which of the learner's lines it arose."""
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        what = f"{type(root).__name__}: {root}" if str(root) else type(root).__name__
        place = self.line_of(error)
        return what if place is None else f"{what}\n  {place[0]}, line {place[1]}: {place[2]}"


def compiled(text: str, name: str, path: str) -> types.CodeType:
    """Return a source as code.

    Raises
    ------
    WrongAnswer
        It is no Python.
    """
    try:
        return compile(text, path, "exec")
    except SyntaxError as error:
        line = (error.text or "").rstrip("\n")
        caret = " " * ((error.offset or 1) - 1) + "^"
        kind = "the indentation" if isinstance(error, IndentationError) else "the syntax"
        raise WrongAnswer(f"{name}, line {error.lineno}: {kind} is wrong: {error.msg}", f"{line}\n{caret}") from error
    except ValueError as error:  # a null byte
        raise WrongAnswer(f"{name}: this is no Python source: {error}") from error


def returning(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that refuses to return None."""

    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        if result is None or (isinstance(result, tuple) and any(part is None for part in result)):
            raise WrongAnswer(f"{function.__name__} returned {result}: is a return missing?")
        return result

    return called


def holes(files: Mapping[str, str]) -> list[str]:
    r"""Return where holes are still open, as "FILE, line N (in FUNCTION)".

    Examples
    --------
    >>> holes({"a.py": "def f(x):\n    raise NotImplementedError('hole 1')"})
    ['a.py, line 2 (in f)']
    """
    found = []
    for name, text in files.items():
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue  # running it says what is wrong

        def walk(node: ast.AST, inside: str, name: str = name) -> None:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.Raise) and "NotImplementedError" in ast.dump(child):
                    found.append(f"{name}, line {child.lineno}" + (f" (in {inside})" if inside else ""))
                named = isinstance(child, ast.FunctionDef | ast.ClassDef)
                walk(child, f"{inside}.{child.name}".lstrip(".") if named else inside)  # type: ignore[attr-defined]  # named

        walk(tree, "")
    return found
