"""Clear messages for wrong answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygrad_lab.learn.answer import Answer, WrongAnswer, holes
from tinygrad_lab.learn.catalog import find_exercise
from tinygrad_lab.learn.grading import grade
from tinygrad_lab.learn.process import MOST_PRINTED, grade_apart
from tinygrad_lab.learn.verdict import Verdict

MATMUL = find_exercise("matmul")
RIGHT = MATMUL.solution["matmul.py"]


def graded(body: str) -> Verdict:
    """Return the verdict on a dense_backward with another body."""
    return grade(MATMUL, {"matmul.py": f"def dense_backward(g, x, w):\n    {body}\n"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def dense_backward(g, x, w:\n    pass\n", r"matmul.py, line 1: the syntax is wrong: .*never closed"),
        ("def f():\nreturn 1\n", r"matmul.py, line 2: the indentation is wrong: expected an indented block"),
        ("x = 1\x00", "matmul.py.*null byte"),
        ("import no_such_module_at_all\n", "could not be run: ModuleNotFoundError.*\n  matmul.py, line 1: import"),
        ("raise SystemExit(3)\n", "could not be run: SystemExit: 3"),
        ("def dense_backwards(g, x, w):\n    return 1\n", "expected a definition of dense_backward, got none"),
        ("", "expected a definition of dense_backward, got none"),
    ],
)
def test_files_that_cannot_be_run(text: str, said: str) -> None:
    verdict = grade(MATMUL, {"matmul.py": text})
    assert not verdict.passed
    with pytest.raises(AssertionError, match=f"(?s){said}"):
        raise AssertionError(verdict.what)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("pass", "dense_backward returned None: is a return missing?"),
        ("return g @ w.T, None, g.sum(axis=0)", "is a return missing?"),
        ("return 1 / 0", "ZeroDivisionError: division by zero\n  matmul.py, line 2: return 1 / 0"),
        ("return nothing", "NameError: name 'nothing' is not defined\n  matmul.py, line 2"),
        ("return dense_backward(g, x, w)", "RecursionError"),
        ("import sys; sys.exit()", "SystemExit\n  matmul.py, line 2"),
        ("return g @ w.T, x.T @ g", "expected 3 gradients (x, w, b), got 2"),
        ("return 'a', 'b', 'c'", "gradient of x: expected an array of numbers, got str"),
        ("x += 1; return g @ w.T, x.T @ g, g.sum(axis=0)", "read-only"),
    ],
)
def test_functions_that_fail(body: str, said: str) -> None:
    verdict = graded(body)
    assert not verdict.passed
    assert said in verdict.what, verdict.what


def test_a_remaining_hole_is_named() -> None:
    exercise = find_exercise("cross_entropy")
    (text,) = exercise.with_holes.values()
    half = text.replace('    raise NotImplementedError("hole 1")', "    return 0.0")
    verdict = grade(exercise, {"mine.py": half})
    assert verdict.what == "a hole is not filled yet: mine.py, line 21 (in cross_entropy_backward)"


def test_a_syntax_error_is_reported_before_open_holes() -> None:
    verdict = grade(MATMUL, {"a.py": "def f(:\n", "b.py": "raise NotImplementedError\n"})
    assert verdict.what.startswith("a.py, line 1: the syntax is wrong")


def test_holes_name_their_function() -> None:
    text = "class A:\n    def f(self):\n        raise NotImplementedError\n"
    assert holes({"a.py": text}) == ["a.py, line 3 (in A.f)"]


def test_names_that_an_answer_does_not_define() -> None:
    answer = Answer({"a.py": "from math import pi\ndef f():\n    return pi\n"}).run()
    assert answer.f() == answer.pi
    with pytest.raises(WrongAnswer, match="was it renamed"):
        answer.g  # noqa: B018  the look-up is what is tested


class TestApart:
    """Answers that are graded in a process of their own."""

    def test_a_right_answer_that_prints(self, tmp_path: Path) -> None:
        text = RIGHT.replace("    dx = g", "    print('shape', g.shape)\n    dx = g")
        verdict = grade_apart(MATMUL, {"matmul.py": text}, tmp_path)
        assert verdict.passed
        assert verdict.printed.startswith("shape (")
        assert len(verdict.printed) <= MOST_PRINTED

    def test_an_endless_loop(self, tmp_path: Path) -> None:
        text = "def dense_backward(g, x, w):\n    while True:\n        x = x + 1  # on and on\n"
        verdict = grade_apart(MATMUL, {"matmul.py": text}, tmp_path, seconds=1.5)
        assert not verdict.passed
        assert "your code was still running after 1.5 s: is there an endless loop?\n  matmul.py, line " in verdict.what

    def test_a_process_that_is_ended(self) -> None:
        text = "import os\nos._exit(7)\n"
        verdict = grade_apart(MATMUL, {"matmul.py": text})
        assert "your code ended the process in which it was graded (exit status 7)" in verdict.what

    def test_input_does_not_wait(self) -> None:
        verdict = grade_apart(MATMUL, {"matmul.py": "name = input('who? ')\n"})
        assert "EOFError" in verdict.what
        assert verdict.printed == "who? "

    def test_a_file_with_the_name_of_a_standard_module(self, tmp_path: Path) -> None:
        (tmp_path / "random.py").write_text("raise RuntimeError('not Python's own')")
        assert grade_apart(MATMUL, {"matmul.py": RIGHT}, tmp_path).passed
