"""Answer in another process: its names are proxies, whose functions run in the answer's process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinygrad_lab import errors
from tinygrad_lab.autograd.tape import Box, unbox
from tinygrad_lab.learn.answer import MOST_LINE, Answer, Raised, WrongAnswer, cut, returning
from tinygrad_lab.learn.apart.foreign import cases_from, layer_class, optimizer_class
from tinygrad_lab.learn.apart.programs import Program
from tinygrad_lab.learn.apart.wire import Malformed, Peer, decode, encode


class RemoteAnswer(Answer):
    """An answer that runs in a process of its own.

    Parameters
    ----------
    files : mapping of name to source
        The learner's files.
    source, sink : binary streams
        The connection to the process.
    folder : Path or None
        The folder of the files.
    """

    def __init__(self, files: Mapping[str, str], source: BinaryIO, sink: BinaryIO, folder: Path | None = None) -> None:
        super().__init__(files, folder)
        self._callbacks: list[Callable[..., Any]] = []
        self._peer = Peer(source, sink, self._serve, explain_callback)

    def run(self) -> RemoteAnswer:
        """Run the files in their process, and return this answer."""
        self.ask("run", {})
        return self

    def ask(self, what: str, given: dict[str, Any]) -> Any:
        """Send a request to the process and return the result.

        Raises
        ------
        WrongAnswer, Raised
            The process raised an exception.
        """
        kept = len(self._callbacks)
        plain = {name: encode(value, self._unusual) for name, value in given.items()}
        message = self._peer.ask(what, plain)
        del self._callbacks[kept:]
        if "error" in message:
            raise error_from(message["error"])
        return decode(message.get("result"), refuse)

    def named(self, name: str) -> Any:
        """Return a proxy of a name in the files."""
        if name not in self._names:
            found = self.ask("describe", {"name": name})
            self._names[name] = self._stand_in(name, with_entry(found, "kind", str)["kind"], found)
        return self._names[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = self.named(name)
        return returning(value, name) if isinstance(value, RemoteFunction) else value

    def bench(self, name: str) -> Callable[..., Any]:
        """Return a function of the exercise's bench, which runs in the answer's process."""
        return RemoteFunction(self, name, bench=True)

    def _stand_in(self, name: str, kind: str, found: dict[str, Any]) -> Any:
        if kind == "function":
            return RemoteFunction(self, name)
        if kind == "layer":
            return layer_class(self, name, found.get("parameters"))
        if kind == "class":
            return optimizer_class(self, name)
        if kind == "cases":
            return cases_from(self, name)
        raise WrongAnswer(f"{' and '.join(self._files)}: expected {name} to be a function or class")

    def _unusual(self, value: Any) -> Any:
        """Return the plain values of a tensor, a generator or a function."""
        if isinstance(value, Box):
            return encode(unbox(value), self._unusual)
        if isinstance(value, np.random.Generator):
            return {"seed": int(value.integers(2**63))}
        if not callable(value):
            raise TypeError(f"expected something that can be sent to another process, got {type(value).__name__}")
        self._callbacks.append(value)
        return {"callback": len(self._callbacks) - 1}

    def _serve(self, what: str, given: dict[str, Any]) -> dict[str, Any]:
        """Run a function that was passed to the answer."""
        number, arguments = given.get("callback"), given.get("arguments")
        if what != "callback" or type(number) is not int or not isinstance(arguments, list):
            raise Malformed("expected the number of a function, and its arguments")
        if not 0 <= number < len(self._callbacks):
            raise Malformed("expected the number of a function")
        result = self._callbacks[number](*(decode(a, refuse) for a in arguments))
        return {"result": encode(result, self._unusual)}


class RemoteFunction:
    """A function of an answer.

    Parameters
    ----------
    answer : RemoteAnswer
        The answer.
    name : str
        The function's name.
    bench : bool
        Whether it belongs to the exercise's bench.
    """

    def __init__(self, answer: RemoteAnswer, name: str, *, bench: bool = False) -> None:
        self.answer, self.bench, self.__name__ = answer, bench, name

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Return the function's result; if an argument is a tensor, it is a tensor on the tape."""
        if any(isinstance(a, Box) for a in arguments):
            spec = {"function": self.__name__, "options": options, "boxed": [isinstance(a, Box) for a in arguments]}
            return Program(self.answer, spec)(*arguments)
        given = {"name": self.__name__, "bench": self.bench, "arguments": arguments, "options": options}
        found = with_entry(self.answer.ask("call", given), "written", list)
        for pair in found["written"]:
            number, array = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
            if type(number) is not int or not 0 <= number < len(arguments):
                raise Malformed("expected the number of an argument")
            if isinstance(array, np.ndarray) and array.shape == np.shape(arguments[number]):
                arguments[number][...] = array
        return found.get("value")


def with_entry(found: Any, name: str, kind: type) -> dict[str, Any]:
    """Return a dict that has an entry of a type.

    Raises
    ------
    Malformed
        The value is not a dict, or the entry is missing or of another type.
    """
    if not isinstance(found, dict) or not isinstance(found.get(name), kind):
        raise Malformed(f"expected {name}")
    return found


def refuse(plain: dict[str, Any]) -> Any:
    """Refuse plain values without a meaning.

    Raises
    ------
    Malformed
        Always.
    """
    raise Malformed("expected numbers, texts and arrays")


def error_from(plain: Any) -> Exception:
    """Return an exception of the answer's process to raise here, with the first exception as its cause.

    An error of the library has its type here too, so that cases can expect it.

    Raises
    ------
    Malformed
        The plain values are not those of an exception.
    """
    try:
        kinds, (root, said) = list(map(str, plain["kinds"])), map(str, plain["root"])
        text, shown = cut(str(plain["text"])), cut(str(plain["shown"] or ""))
        where = None
        if plain["place"] is not None:
            file, number, line = plain["place"]
            where = cut(str(file), MOST_LINE), int(number), cut(str(line), MOST_LINE)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Malformed("expected an error") from error
    if root == "WrongAnswer":
        return WrongAnswer(cut(said), shown)
    cause = Raised(cut(root, MOST_LINE), cut(said), where)
    ours = next(filter(None, map(known_error, kinds)), None)
    if ours is None:
        return cause
    outer: Exception = type(ours.__name__, (Raised, ours), {})(ours.__name__, text, where)
    if text != said:
        outer.__cause__ = cause
    return outer


def known_error(name: Any) -> type[errors.LabError] | None:
    """Return the library's error with a name."""
    found = getattr(errors, name, None) if isinstance(name, str) else None
    return found if isinstance(found, type) and issubclass(found, errors.LabError) else None


def explain_callback(error: BaseException) -> dict[str, Any]:
    """Return an exception of a function that was passed to the answer, as plain values.

    Raises
    ------
    BaseException
        It is not an Exception, and ends the grading.
    """
    if not isinstance(error, Exception):
        raise error
    return {"kind": type(error).__name__, "text": cut(str(error))}
