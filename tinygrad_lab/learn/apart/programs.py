"""Programs are functions of tensors that run in an answer's process; their derivatives are programs too."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.learn.apart.wire import Malformed


class Remote(Protocol):
    """An answer in another process, as programs, layers and optimizers use it."""

    def ask(self, what: str, given: dict[str, Any]) -> Any:
        """Send a request to the process and return the result."""


class Program:
    """A function of arrays and tensors in an answer's process.

    Parameters
    ----------
    answer : Remote
        The answer's process.
    spec : dict
        A function or layer of the answer, or the derivative of such a program.
    """

    def __init__(self, answer: Remote, spec: dict[str, Any]) -> None:
        self.answer, self.spec = answer, spec

    def __call__(self, *arrays: Any) -> Any:
        """Return the results: one, or a tuple of several."""
        return evaluate(*arrays, program=self)

    def run(self, arrays: tuple[Any, ...]) -> list[Any]:
        """Return the results for raw arrays.

        Raises
        ------
        Malformed
            The process returns a value that is not an array.
        """
        found = self.answer.ask("evaluate", {"program": self.spec, "arrays": arrays})
        if not isinstance(found, list) or any(not isinstance(part, np.ndarray) for part in found):
            raise Malformed("expected arrays")
        return found

    def derivative(self, count: int, wanted: list[int]) -> Program:
        """Return the vector-Jacobian product with respect to some of its arguments."""
        return Program(self.answer, {"derivative": self.spec, "count": count, "wanted": wanted})


@tgl.primitive
def evaluate(xp: Any, *arrays: Any, program: Any) -> Any:
    """Return a program's results."""
    found = program.run(arrays)
    return found[0] if len(found) == 1 else tuple(found)


def pull(g: Any, arrays: Any, program: Program, wanted: Any) -> list[Any]:
    """Return the wanted gradients, computed by the program's derivative."""
    cotangents = [v for v in (g if isinstance(g, tuple) else (g,)) if v is not None]
    places = [k for k, want in enumerate(wanted) if want]
    found = program.derivative(len(arrays), places)(*arrays, *cotangents)
    gradients = dict(zip(places, found if isinstance(found, tuple) else (found,), strict=True))
    return [gradients.get(k) for k in range(len(arrays))]


evaluate.defvjp(arrays=pull)
