"""Round trips through a fresh process, which builds a layer again from its configuration and state, or reads data.

The kit writes a layer as its description (JSON) and state (NumPy's own format, without objects). Another process,
started once for all plugins, builds it from these by its registered name and must compute the same result. It reads a
data set by the name of its class.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import pydoc
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.trials.oracles import join
from tinygrad_lab.conformance.trials.subject import Arrays, float_leaves
from tinygrad_lab.conformance.trials.verdict import Measure, Violation, agree
from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.registry import build, describe

PART = 1000  # images read at a time


def result_of(layer: Layer, inputs: Arrays) -> Array:
    """Return a layer's float results at its first step, in one vector."""
    layer.steps = 0
    with tgl.no_grad():
        return join([unbox(y) for y in float_leaves(layer(*inputs))])


def write(folder: Path, layer: Layer, inputs: Arrays) -> None:
    """Write a layer and its inputs into a folder."""
    description = {"layer": describe(layer), "training": layer.training, "seed": layer.seed}
    description["state"] = list(layer.state())
    (folder / "layer.json").write_text(json.dumps(description), encoding="utf-8")
    arrays = {f"state{i}": v for i, v in enumerate(layer.state().values())}
    np.savez(folder / "arrays.npz", **arrays, **{f"input{i}": x for i, x in enumerate(inputs)})


def read(folder: Path) -> Array:
    """Build the layer of a folder again and return its result."""
    description = json.loads((folder / "layer.json").read_text(encoding="utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        state = {path: arrays[f"state{i}"] for i, path in enumerate(description["state"])}
        inputs = [arrays[name] for name in sorted(arrays.files, key=lambda n: (len(n), n)) if name.startswith("input")]
    layer = build(description["layer"]).astype("float64")
    layer.load_state(state)
    layer.seed = description["seed"]
    return result_of(layer.train(description["training"]), inputs)


def digest(data: Dataset) -> str:
    """Return a checksum of a data set's examples, labels and classes, in their order."""
    found = hashlib.sha256(repr((data.classes, data.shape, str(data.dtype))).encode())
    found.update(data.labels.tobytes())
    for first in range(0, len(data), PART):
        found.update(np.ascontiguousarray(data.batch(slice(first, first + PART))).tobytes())
    return found.hexdigest()


def answer(request: dict[str, Any]) -> str:
    """Write the result of the layer in a folder, or return the digest of a split of a data set."""
    if "folder" in request:
        folder = Path(request["folder"])
        np.save(folder / "result.npy", read(folder), allow_pickle=False)
        return ""
    sys.path += [entry for entry in request["path"] if entry not in sys.path]
    source: Any = pydoc.locate(request["source"])
    return digest(source().read(request["split"], root=request["root"]))


def serve() -> None:
    """Read requests from standard input, and write an answer or a problem for each to standard output."""
    out, sys.stdout = sys.stdout, sys.stderr  # the output of plugins must not mix with the answers
    for line in sys.stdin:
        try:
            reply = {"answer": answer(json.loads(line)), "problem": ""}
        except Exception as error:
            reply = {"answer": "", "problem": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(reply) + "\n")
        out.flush()


class FreshProcess:
    """Another Python process, started on first use, which knows the layers only by their registered names."""

    def __init__(self) -> None:
        self.process: Any = None

    def start(self) -> None:
        """Start the process early, so that it is ready for the first request."""
        if self.process is None or self.process.poll() is not None:
            quiet = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # after Ctrl-C, the kit ends it
            code = f"{quiet}; from tinygrad_lab.conformance.meta.fresh_process import serve; serve()"
            pipe = subprocess.PIPE
            self.process = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True)
            atexit.register(self.stop)

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            process, self.process = self.process, None
            process.stdin.close()
            process.stdout.close()
            process.wait(timeout=30)

    def ask(self, request: dict[str, Any], what: str) -> str:
        """Return the process's answer to a request.

        Raises
        ------
        Violation
            The process cannot do what is asked; the message says what.
        """
        self.start()
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        reply: dict[str, str] = json.loads(line) if line else {"problem": "the process ended", "answer": ""}
        if reply["problem"]:
            raise Violation(f"a fresh process cannot {what}: {reply['problem']}")
        return reply["answer"]

    def digest(self, source: type, split: str, root: Path | None) -> str | None:
        """Return the `digest` of a split as the process reads it; None if it cannot import the source's class.

        Raises
        ------
        Violation
            The process cannot read the split.
        """
        name = f"{source.__module__}.{source.__qualname__}"
        if source.__module__ == "__main__" or pydoc.locate(name) is not source:
            return None
        request = {"source": name, "split": split, "root": root and str(root), "path": sys.path}
        return self.ask(request, f"read {split!r}")

    def round_trip(self, layer: Layer, inputs: Arrays) -> Measure:
        """Compare a layer's result with the one that the process computes.

        Raises
        ------
        Violation
            The process cannot build the layer, or computes another result.
        """
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), layer, inputs)
            self.ask({"folder": name}, "compute the layer from config() and state()")
            found = np.load(Path(name) / "result.npy", allow_pickle=False)
        expected = result_of(layer, inputs)
        tolerance = 1e-12 * (1 + float(np.abs(expected).max(initial=0.0)))
        return agree("the result in a fresh process, from config() and state()", found, expected, tolerance)


FRESH = FreshProcess()


def rebuilt_here(layer: Layer, inputs: Arrays) -> Measure:
    """Do the round trip in this process, for a class that is not registered: layer(**config()) with the same state."""
    twin = type(layer).from_config(layer.config()) if hasattr(layer, "from_config") else type(layer)(**layer.config())
    twin = twin.astype("float64")
    twin.load_state(layer.state())
    twin.seed = layer.seed
    expected = result_of(layer, inputs)
    found = result_of(twin.train(layer.training), inputs)
    tolerance = 1e-12 * (1 + float(np.abs(expected).max(initial=0.0)))
    return agree("the result of the layer built again from config() and state()", found, expected, tolerance)
