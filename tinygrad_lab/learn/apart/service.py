"""Service of an answer's process: it loads the answer, and runs its functions on the grader's inputs."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import inspect
import os
import signal
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from tinygrad_lab.learn.answer import Answer, WrongAnswer, explained
from tinygrad_lab.learn.apart import confinement
from tinygrad_lab.learn.apart.wire import LOST, Malformed, Peer, decode, encode

TRACE = "trace.txt"
BENCH = "tinygrad_lab_bench"
CALLBACK_ERRORS = {kind.__name__: kind for kind in (IndexError, TypeError, ValueError)}


class Service:
    """An answer whose functions the grader calls.

    Parameters
    ----------
    task : dict
        The task of the process.
    source, sink : binary streams
        The connection.
    """

    def __init__(self, task: dict[str, Any], source: BinaryIO, sink: BinaryIO) -> None:
        folder = Path(task["folder"]) if task["folder"] else None
        self.answer = Answer(task["files"], folder)
        self.bench = load_bench(task["bench"])
        self.peer = Peer(source, sink, self.serve, self.explain)
        self.objects: Any = None  # needs the library, which most exercises do not use
        if task["library"]:
            from tinygrad_lab.learn.apart.objects import Objects

            self.objects = Objects(self.answer)

    def serve(self, what: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return the response to a request."""
        actions: dict[str, Callable[..., Any]] = {"run": self.run, "describe": self.describe, "call": self.call}
        action = actions.get(what) or self.objects.actions[what]
        result = action(**{name: self.decode(value) for name, value in given.items()})
        with contextlib.suppress(Exception):  # the answer may have replaced the stream
            sys.stdout.flush()
        return {"result": self.encode(result)}

    def explain(self, error: BaseException) -> dict[str, Any]:
        """Return an exception as plain values."""
        try:
            return explained(error, self.answer.line_of(error))
        except BaseException:  # an exception without a readable text
            return explained(RuntimeError("an exception was raised that cannot be shown"), None)

    def run(self) -> None:
        """Run the learner's files."""
        self.answer.run()

    def describe(self, name: str) -> dict[str, Any]:
        """Return the kind of the value of a name in the answer."""
        value = self.answer.named(name)
        if inspect.isfunction(value) or (callable(value) and not isinstance(value, type)):
            return {"kind": "function"}
        if self.objects is not None:
            return self.objects.describe(value)  # type: ignore[no-any-return]  # it is a dict
        return {"kind": "class" if isinstance(value, type) else "value"}

    def call(self, name: str, bench: bool, arguments: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
        """Return a function's result, and the arguments that it has written into."""
        function = getattr(self.bench, name) if bench else self.answer.named(name)
        before = [a.tobytes() if isinstance(a, np.ndarray) and a.flags.writeable else None for a in arguments]
        result = function(*((self.answer,) if bench else ()), *arguments, **options)
        after = [(k, a) for k, (a, old) in enumerate(zip(arguments, before, strict=True)) if old is not None]
        return {"value": result, "written": [[k, a] for k, a in after if a.tobytes() != before[k]]}

    def encode(self, value: Any) -> Any:
        """Return a result as plain values."""
        return encode(value, self.unusual)

    def unusual(self, value: Any) -> Any:
        """Return the plain values of other objects: tensors as arrays, the rest as the name of their type."""
        if self.objects is not None and self.objects.is_boxed(value):
            return self.encode(self.objects.unbox(value))
        return {"other": type(value).__name__}

    def decode(self, plain: Any) -> Any:
        """Return a value that the grader has sent."""
        return decode(plain, self.special)

    def special(self, plain: dict[str, Any]) -> Any:
        """Return a function that runs in the grader, or a random generator."""
        if "seed" in plain:
            return np.random.default_rng(plain["seed"])
        if "callback" not in plain:
            raise Malformed("expected a value")
        number = plain["callback"]

        def called(*arguments: Any) -> Any:
            given = {"callback": number, "arguments": [self.encode(a) for a in arguments]}
            message = self.peer.ask("callback", given)
            if "error" in message:
                raise CALLBACK_ERRORS.get(message["error"]["kind"], RuntimeError)(message["error"]["text"])
            return self.decode(message["result"])

        return called


def load_bench(text: str) -> types.ModuleType:
    """Return the module of an exercise's bench."""
    module = types.ModuleType(BENCH)
    exec(compile(text, f"<{BENCH}>", "exec"), module.__dict__)
    return module


def refuse_names(names: list[str]) -> None:
    """Replace the library's functions that the learner must write with functions that raise an error."""
    for name in names:
        module, _, attribute = name.rpartition(".")
        found = getattr(importlib.import_module(module), attribute)
        for other in [m for key, m in sys.modules.items() if key.partition(".")[0] == "tinygrad_lab"]:
            for key in [key for key, value in vars(other).items() if value is found]:
                setattr(other, key, refusing(name))


def refusing(name: str) -> Callable[..., NoReturn]:
    """Return a function that raises a WrongAnswer."""

    def refused(*arguments: Any, **options: Any) -> NoReturn:
        raise WrongAnswer(f"{name} is what this exercise asks for: write it yourself")

    return refused


def streams() -> tuple[BinaryIO, BinaryIO]:
    """Return the connection, which uses the standard streams; printed text goes to standard error."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]  # text streams
    return source, sink


def serve(task: dict[str, Any]) -> NoReturn:
    """Answer the grader's requests until it has no more."""
    source, sink = streams()
    trace = Path(TRACE).open("w", encoding="utf-8")  # noqa: SIM115  open until the process ends
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, file=trace, all_threads=True)
    if task["library"]:
        for name in task["packages"]:
            del sys.modules[name]
    for name in task["preload"]:
        importlib.import_module(name)
    service = Service(task, source, sink)
    if task["folder"]:
        sys.path.append(task["folder"])  # last: a learner's random.py must not replace Python's
    refuse_names(task["names"])
    confinement.confine(task["readable"], task["denied"], str(Path.cwd()), task["modules"])
    np.seterr(all="ignore")
    warnings.simplefilter("ignore")  # about infinities, which the grader checks itself
    try:
        while True:
            service.peer.respond(service.peer.receive())
    except BaseException:  # the grader is gone, or another process has written to it
        os._exit(LOST)
