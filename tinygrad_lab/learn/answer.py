"""Answer of a learner: its files, read, checked and run, with a clear message for every error."""

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

PACKAGE = "tinygrad_lab_answer"  # the package of the learner's modules during grading
MOST_TEXT, MOST_LINE = 2000, 200  # characters of a message, and of a line or name


def cut(text: str, most: int = MOST_TEXT) -> str:
    r"""Return a text cut to `most` characters, with the number of characters cut off; control characters are replaced.

    Examples
    --------
    >>> cut("abcdef", 3), cut("a\x1b[2J")
    ('abc ... (3 more characters)', 'a�[2J')
    """
    kept = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text[:most])
    return kept if len(text) <= most else f"{kept} ... ({len(text) - most} more characters)"


class WrongAnswer(Exception):
    """An answer is wrong; the message says why in plain words.

    Parameters
    ----------
    message : str
        The reason.
    shown : str
        An example: the computed value and the expected one.
    """

    def __init__(self, message: str, shown: str = "") -> None:
        super().__init__(message)
        self.shown = shown


class Stopped(BaseException):
    """An answer's process can no longer be used. Checks of the kit do not catch this exception.

    Parameters
    ----------
    message : str
        The reason.
    """


class Raised(Exception):
    """An exception of an answer's process, as the grader represents it.

    Parameters
    ----------
    kind : str
        The name of its type.
    text : str
        Its message.
    place : tuple of str, int and str, or None
        File name, line number and text of the learner's line that raised it.
    """

    def __init__(self, kind: str, text: str, place: tuple[str, int, str] | None) -> None:
        super().__init__(text)
        self.kind, self.place = kind, place


class Answer:
    """Files of a learner. The functions and classes that they define are attributes of this object.

    Functions are wrapped so that a missing ``return`` is an error that says so.

    Parameters
    ----------
    files : mapping of name to source
        The learner's files.
    folder : Path or None
        The folder of the files; None for text without a folder.
    """

    def __init__(self, files: Mapping[str, str], folder: Path | None = None) -> None:
        self._files = {name: str(folder / name) if folder else f"<{name}>" for name in files}
        self._sources = dict(files)
        self._names: dict[str, Any] = {}
        self._bench: Any = None

    def run(self) -> Answer:
        """Run the files, as modules of a package of their own, and return this answer.

        Raises
        ------
        WrongAnswer
            A file is not valid Python, has an open hole, or raises an exception.
        """
        no_holes(self._sources)
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
        value = self.named(name)
        return returning(value, name) if inspect.isfunction(value) else value

    def named(self, name: str) -> Any:
        """Return the value of a name in the files, without a wrapper.

        Raises
        ------
        WrongAnswer
            The name is not defined.
        """
        if name not in self._names:
            files = " and ".join(self._files)
            raise WrongAnswer(f"{files}: expected a definition of {name}, got none; was it renamed?")
        return self._names[name]

    def put_on(self, bench: Any) -> None:
        """Set the exercise's bench: a module of functions whose first argument is the answer."""
        self._bench = bench

    def bench(self, name: str) -> Callable[..., Any]:
        """Return a function of the exercise's bench, bound to this answer."""
        return functools.partial(getattr(self._bench, name), self)

    def line_of(self, error: BaseException) -> tuple[str, int, str] | None:
        """Return file name, line number and text of the learner's line that raised an exception, or None."""
        paths = {path: name for name, path in self._files.items()}
        place = None
        link: BaseException | None = error
        while link is not None:
            if isinstance(link, Raised):
                place = link.place or place
            trace = link.__traceback__
            while trace is not None:
                path = trace.tb_frame.f_code.co_filename
                if path in paths:
                    place = paths[path], trace.tb_lineno, linecache.getline(path, trace.tb_lineno).strip()
                trace = trace.tb_next
            link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        return place

    def blame(self, error: BaseException) -> str:
        """Return an exception in words, with the learner's line that raised it."""
        root = root_of(error)
        what = f"{kind_of(root)}: {root}" if str(root) else kind_of(root)
        place = self.line_of(error)
        return what if place is None else f"{what}\n  {place[0]}, line {place[1]}: {place[2]}"


def root_of(error: BaseException) -> BaseException:
    """Return the first exception in a chain of causes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def kind_of(error: BaseException) -> str:
    """Return the name of an exception's type in the process that raised it."""
    return error.kind if isinstance(error, Raised) else type(error).__name__


def explained(error: BaseException, place: tuple[str, int, str] | None) -> dict[str, Any]:
    """Return an exception and the first exception in its chain of causes as plain values, for another process."""
    root = error if isinstance(error, WrongAnswer) else root_of(error)
    shown = root.shown if isinstance(root, WrongAnswer) else None
    return {
        "kinds": [cut(kind.__name__, MOST_LINE) for kind in type(error).__mro__],
        "text": cut(str(error)),
        "root": [cut(type(root).__name__, MOST_LINE), cut(str(root))],
        "shown": None if shown is None else cut(shown),
        "place": None if place is None else [place[0], place[1], cut(place[2], MOST_LINE)],
    }


def compiled(text: str, name: str, path: str) -> types.CodeType:
    """Return a source, compiled to a code object.

    Raises
    ------
    WrongAnswer
        The source is not valid Python.
    """
    try:
        return compile(text, path, "exec")
    except SyntaxError as error:
        line = (error.text or "").rstrip("\n")
        caret = " " * ((error.offset or 1) - 1) + "^"
        kind = "the indentation" if isinstance(error, IndentationError) else "the syntax"
        raise WrongAnswer(f"{name}, line {error.lineno}: {kind} is wrong: {error.msg}", f"{line}\n{caret}") from error
    except (RecursionError, MemoryError) as error:
        raise WrongAnswer(f"{name}: this is nested too deeply for Python") from error
    except ValueError as error:  # a null byte
        raise WrongAnswer(f"{name}: this is not Python source: {error}") from error


def returning(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function that refuses to return None."""

    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        if result is None or (isinstance(result, tuple) and any(part is None for part in result)):
            raise WrongAnswer(f"{name} returned {result}: is a return missing?")
        return result

    return called


def no_holes(files: Mapping[str, str]) -> None:
    """Check that no hole is open.

    Raises
    ------
    WrongAnswer
        A file is not valid Python, or has an open hole.
    """
    for name, text in files.items():
        compiled(text, name, f"<{name}>")
    if found := holes(files):
        what = "a hole is" if len(found) == 1 else f"{len(found)} holes are"
        raise WrongAnswer(f"{what} not filled yet: {'; '.join(found)}")


def holes(files: Mapping[str, str]) -> list[str]:
    r"""Return the positions of open holes, as "FILE, line N (in FUNCTION)".

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
            continue  # running it reports the error

        def walk(node: ast.AST, inside: str, name: str = name) -> None:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.Raise) and "NotImplementedError" in ast.dump(child):
                    found.append(f"{name}, line {child.lineno}" + (f" (in {inside})" if inside else ""))
                named = isinstance(child, ast.FunctionDef | ast.ClassDef)
                walk(child, f"{inside}.{child.name}".lstrip(".") if named else inside)  # type: ignore[attr-defined]  # named

        walk(tree, "")
    return found
