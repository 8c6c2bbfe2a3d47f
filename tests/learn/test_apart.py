"""An answer in a process of its own gets the same verdict as in this process, for every kind of call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import tinygrad_lab as tgl
from tinygrad_lab.learn.answer import Raised, Stopped, WrongAnswer
from tinygrad_lab.learn.apart.remote import RemoteAnswer
from tinygrad_lab.learn.apart.wire import DTYPES, MOST_BYTES, Closed, Malformed, Peer, decode, encode
from tinygrad_lab.learn.catalog import Exercise, exercises, find_exercise
from tinygrad_lab.learn.grading import grade
from tinygrad_lab.learn.process import AnswerProcess, grade_apart

PLAIN = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(
    PLAIN | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
ARRAYS = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


def refuse(value: Any) -> Any:
    raise Malformed(str(value)[:20])


def same(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value, refuse))), refuse)


@contextmanager
def running(name: str, files: dict[str, str] | None = None) -> Iterator[RemoteAnswer]:
    """Run an exercise's solution, or other files, in a process."""
    exercise = find_exercise(name)
    process = AnswerProcess(exercise, exercise.solution if files is None else files, seconds=30.0)
    try:
        yield RemoteAnswer(process.files, *process.streams).run()
    finally:
        process.close()


class TestMessages:
    @given(TREES)
    def test_trees(self, tree: Any) -> None:
        assert same(tree) == tree

    @given(ARRAYS, st.booleans())
    def test_arrays(self, array: np.ndarray[Any, Any], writable: bool) -> None:
        array.flags.writeable = writable
        found = same(array)
        assert (found.dtype, found.shape, found.flags.writeable) == (array.dtype, array.shape, writable)
        assert found.tobytes() == array.tobytes()

    @pytest.mark.parametrize("take", [np.s_[::-1], np.s_[:, ::2], np.s_[1:, ::-2], np.s_[:0, ::2]])
    def test_strides(self, take: Any) -> None:
        array = np.arange(24.0).reshape(4, 6)[take]
        for given_array in (array, array.T):
            found = same(given_array)
            assert found.strides == given_array.strides or not found.size
            np.testing.assert_array_equal(found, given_array)

    def test_broadcast_arrays(self) -> None:
        array = np.broadcast_to(np.arange(3.0), (2, 3))
        np.testing.assert_array_equal(same(array), array)

    @pytest.mark.parametrize(
        "plain",
        [
            {},
            {"array": None},
            {"array": ["<f8", [2], "AAAA"]},
            {"array": ["|O", [1], "AAAAAAAAAAA="]},
            {"array": ["<U1", [1], "AAAAAA=="]},
            {"array": ["<f8", [-1], ""]},
            {"array": ["<f8", [2.0], ""]},
            {"array": ["<f8", [0] * 60, ""]},
            {"array": ["<i1", [2], "AAA="], "strides": [10**12]},
            {"array": ["<f8", [0], ""], "strides": ["a"]},
            {"array": [["<f8"], [0], ""]},
            {"tuple": 3},
            {"dict": [[1]]},
            {"complex": ["a", 0]},
            {"unknown": 1},
        ],
    )
    def test_malformed_messages_are_refused(self, plain: Any) -> None:
        with pytest.raises(Malformed):
            decode(plain, refuse)

    @given(st.binary(max_size=60))
    def test_any_bytes(self, data: bytes) -> None:
        peer = Peer(BytesIO(data), BytesIO(), lambda what, given: {}, lambda error: {})
        with pytest.raises((Malformed, Closed)):
            list(iter(peer.receive, None))

    def test_a_message_that_is_too_long_is_refused(self) -> None:
        peer = Peer(BytesIO((MOST_BYTES + 1).to_bytes(4, "big")), BytesIO(), lambda what, given: {}, lambda error: {})
        with pytest.raises(Malformed, match="at most"):
            peer.receive()


@pytest.mark.slow
@pytest.mark.parametrize("exercise", exercises(), ids=lambda exercise: exercise.name)
def test_the_solution_passes(exercise: Exercise) -> None:
    verdict = grade_apart(exercise, exercise.solution)
    assert verdict.passed, (verdict.failed, verdict.what, verdict.shown, verdict.printed)


def compare(exercise: Exercise, files: dict[str, str]) -> None:
    apart, here = grade_apart(exercise, files), grade(exercise, files)
    assert (apart.passed, apart.steps, apart.failed) == (here.passed, here.steps, here.failed)
    assert (apart.because, apart.mistakes) == (here.because, here.mistakes)
    if exercise.name != "residual":  # its weights are drawn in the process
        assert (apart.what, apart.shown) == (here.what, here.shown)


@pytest.mark.slow
@pytest.mark.parametrize("exercise", exercises(), ids=lambda exercise: exercise.name)
def test_a_mistake_gets_the_same_verdict(exercise: Exercise) -> None:
    """The profile `thorough` tries every mistake, the others one of each exercise."""
    every = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
    for mistake in exercise.mistakes if every else exercise.mistakes[:1]:
        compare(exercise, exercise.wrong(mistake))


class TestCalls:
    def test_arguments_that_are_written_into(self) -> None:
        text = "def dense_backward(g, x, w):\n    g *= 2\n    return g, x, w\n"
        g, x, w = np.ones((2, 2)), np.zeros((2, 2)), np.zeros((2, 2))
        with running("matmul", {"matmul.py": text}) as answer:
            answer.dense_backward(g, x, w)
            assert (g == 2).all()
            g.flags.writeable = False
            with pytest.raises(Raised, match="read-only") as caught:
                answer.dense_backward(g, x, w)
            assert answer.blame(caught.value).endswith("matmul.py, line 2: g *= 2")

    def test_functions_are_called_back(self) -> None:
        calls = []

        def cube(x: Any) -> Any:
            calls.append(x)
            return x**3

        with running("complex_step") as answer:
            assert answer.slope(cube, np.array([2.0]), np.array([1.0])) == 12
            assert calls[0].dtype == "complex128"
            with pytest.raises(Raised, match="division by zero"):
                answer.slope(lambda x: 1 / 0, np.array([2.0]), np.array([1.0]))

    def test_derivatives_of_any_order(self) -> None:
        with running("operation") as answer:
            f, x, y = answer.log_add_exp, np.array([0.3, -1.0]), np.array([1.0])
            u = np.array([1.0, 2.0])

            def right(x: Any, y: Any) -> Any:
                return tgl.log(tgl.exp(x) + tgl.exp(y))

            def third(f: Any) -> Any:
                first = tgl.grad(lambda x: tgl.sum(f(x, y) * u))
                second = tgl.grad(lambda x: tgl.sum(first(x) * u))
                return tgl.grad(lambda x: tgl.sum(second(x) * u))(x)

            np.testing.assert_allclose(third(f), third(right), rtol=1e-10)
            np.testing.assert_allclose(tgl.jvp(f, (x, y), (u, y))[1], tgl.jvp(right, (x, y), (u, y))[1], rtol=1e-12)

    def test_a_layer_of_layers(self) -> None:
        with running("residual") as answer:
            layer = answer.ResidualBlock(3, 2, rng=0)
            assert list(layer.parameters()) == ["first.weight", "first.bias", "second.weight", "second.bias"]
            assert repr(layer) == "ResidualBlock(3, 2)"
            assert layer.output_shape((5, 3)) == (5, 3)
            x = np.ones((1, 3), "float32")
            for parameter in layer.parameters().values():
                parameter.assign(np.zeros(parameter.shape, "float32"))
            np.testing.assert_array_equal(layer(x).numpy(), x)

    def test_an_error_of_the_library_keeps_its_type(self) -> None:
        with running("plugin") as answer, pytest.raises(tgl.errors.OptionError, match="expected beta > 0, got -1"):
            answer.Snake(beta=-1.0)

    def test_a_missing_name_is_an_error(self) -> None:
        with running("matmul", {"matmul.py": "x = 1\n"}) as answer:
            with pytest.raises(WrongAnswer, match="was it renamed"):
                answer.dense_backward  # noqa: B018  the look-up is what is tested
            with pytest.raises(WrongAnswer, match="expected x to be a function or class"):
                answer.x  # noqa: B018  likewise

    def test_an_answer_may_import_modules_of_the_learner(self, tmp_path: Path) -> None:
        (tmp_path / "helper_of_mine.py").write_text("def product(a, b):\n    return a @ b\n")
        text = "from helper_of_mine import product\n" + find_exercise("matmul").solution["matmul.py"]
        text = text.replace("dx = g @ w.T", "dx = product(g, w.T)")
        verdict = grade_apart(find_exercise("matmul"), {"matmul.py": text}, tmp_path)
        assert verdict.passed, verdict.what

    def test_numpy_may_import_submodules_late(self) -> None:
        text = "import numpy.testing, numpy.polynomial\n" + find_exercise("matmul").solution["matmul.py"]
        assert grade_apart(find_exercise("matmul"), {"matmul.py": text}).passed


def processes_of(marker: str) -> list[int]:
    """Return the processes whose environment contains a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
class TestTheGuard:
    def test_the_grader_is_killed(self, tmp_path: Path) -> None:
        """The answer's process ends when the grader is killed."""
        (tmp_path / "matmul.py").write_text("print('here', flush=True)\nwhile True: pass\n")
        code = (
            "import sys\nfrom pathlib import Path\nfrom tinygrad_lab.learn.catalog import find_exercise\n"
            "from tinygrad_lab.learn.process import grade_apart\n"
            "grade_apart(find_exercise('matmul'), {'matmul.py': Path(sys.argv[1]).read_text()})\n"
        )
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        grader = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "matmul.py")], env=environment)
        marker = f"HOME={tmp_path}"
        wait_until(lambda: len(processes_of(marker)) >= 2)
        grader.kill()
        grader.wait()
        wait_until(lambda: processes_of(marker) == [])

    def test_orphans_are_ended(self, tmp_path: Path) -> None:
        """The program may start processes, because no hook is installed here."""
        program = tmp_path / "program.py"
        start = Path(sys.modules[AnswerProcess.__module__].__file__ or "").parent / "apart" / "start.py"
        packages = {"tinygrad_lab": str(start.parents[2]), "tinygrad_lab.learn": str(start.parents[1])}
        program.write_text(
            "import importlib.util, os, sys, time\n"
            f"spec = importlib.util.spec_from_file_location('start', {str(start)!r})\n"
            "start = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(start)\n"
            f"start.sys.path.insert(0, {str(start.parents[3])!r})\n"
            "import types\n"
            f"for name, folder in {packages!r}.items():\n"
            "    sys.modules[name] = types.ModuleType(name); sys.modules[name].__path__ = [folder]\n"
            "from tinygrad_lab.learn.apart import confinement\n"
            "confinement.isolate()\n"
            "if child := os.fork():\n    start.guard(child)\n"
            "if not os.fork():\n    os.setsid()\n    if not os.fork():\n        time.sleep(300)\n    os._exit(0)\n"
            "os.wait()\nos._exit(5)\n"
        )
        environment = {**os.environ, "HOME": str(tmp_path)}
        with subprocess.Popen([sys.executable, str(program)], stdin=subprocess.PIPE, env=environment) as guard:
            assert guard.wait(30) == 5
        wait_until(lambda: processes_of(f"HOME={tmp_path}") == [])


def wait_until(holds: Any, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_stopped_answer_raises_no_ordinary_exception() -> None:
    assert not issubclass(Stopped, Exception)
    assert issubclass(Malformed, Stopped)
    assert issubclass(Closed, Stopped)
