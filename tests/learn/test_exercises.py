"""Every reference solution passes, every file with holes fails, and every typical mistake is recognized."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
from pathlib import Path

import pytest

from tinygrad_lab.errors import ConfigError
from tinygrad_lab.learn.answer import holes
from tinygrad_lab.learn.catalog import FOLDER, ORDER, Exercise, Mistake, exercises, find_exercise
from tinygrad_lab.learn.grading import alike, grade, results, run_here

EXERCISES = exercises()
MISTAKES = [(exercise, mistake) for exercise in EXERCISES for mistake in exercise.mistakes]


def identify(thing: object) -> str:
    return str(getattr(thing, "name", thing))


every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=identify)


@every_exercise
def test_the_solution_passes(exercise: Exercise) -> None:
    verdict = grade(exercise, exercise.solution)
    assert verdict.passed, (verdict.what, verdict.shown)
    assert verdict.steps
    assert (verdict.failed, verdict.what, verdict.because) == ("", "", [])


@every_exercise
def test_the_file_with_holes_fails(exercise: Exercise) -> None:
    verdict = grade(exercise, exercise.with_holes)
    assert not verdict.passed
    assert "not filled yet" in verdict.what
    assert len(holes(exercise.with_holes)) == "".join(exercise.with_holes.values()).count("# Your turn:")


@pytest.mark.slow
@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=identify)
def test_each_typical_mistake_is_named(exercise: Exercise, mistake: Mistake) -> None:
    verdict = grade(exercise, exercise.wrong(mistake))
    assert not verdict.passed
    assert verdict.what
    assert verdict.mistakes[:1] == [mistake.name], verdict
    assert verdict.because[0] == mistake.says


@pytest.mark.slow
@every_exercise
def test_mistakes_can_be_distinguished(exercise: Exercise) -> None:
    """No probe of the solution raises. Each mistake changes the results of the probes, and no two in the same way."""
    probes = importlib.import_module(f"tinygrad_lab.learn.exercises.{exercise.name}.grade").probes
    right = results(probes, run_here(exercise, exercise.solution))
    assert not [result for result in right if isinstance(result, str)]
    looks = {m.name: results(probes, run_here(exercise, exercise.wrong(m))) for m in exercise.mistakes}
    for (one, a), (other, b) in itertools.combinations([("the solution", right), *looks.items()], 2):
        assert not all(alike(x, y) for x, y in zip(a, b, strict=True)), f"{one} and {other} look the same"


@every_exercise
def test_every_exercise_has_all_its_parts(exercise: Exercise) -> None:
    assert len(exercise.hints) == 3
    assert len(exercise.mistakes) >= 3
    assert len({m.name for m in exercise.mistakes}) == len(exercise.mistakes)
    assert exercise.story.startswith("# ")
    for part in ("$", "**Write**", "Shapes", "*"):
        assert part in exercise.story
    assert re.search(r"^\*(Paper|Reference)\*: ", exercise.story, re.MULTILINE)


@every_exercise
def test_files_have_docstrings_and_short_lines(exercise: Exercise) -> None:
    for text in (*exercise.with_holes.values(), *exercise.solution.values()):
        tree = ast.parse(text)
        assert ast.get_docstring(tree)
        assert "#<" not in text
        assert "#>" not in text
        assert not [line for line in text.splitlines() if len(line) > 115 or line != line.rstrip()]


@every_exercise
def test_files_with_holes_do_not_contain_the_answer(exercise: Exercise) -> None:
    """The code that a mistake replaces is in the solution but not in the learner's file."""
    handed_out = "".join(exercise.with_holes.values())
    assert not [m.name for m in exercise.mistakes if m.old in handed_out]


def test_folders_and_order_agree() -> None:
    assert {path.parent.name for path in FOLDER.glob("*/story.md")} == set(ORDER)


@pytest.mark.parametrize("which", ["6", "06", "im2col"])
def test_an_exercise_is_found_by_number_and_name(which: str) -> None:
    assert find_exercise(which).name == "im2col"


@pytest.mark.parametrize("which", ["0", "99", "im3col", ""])
def test_an_unknown_exercise_is_refused(which: str) -> None:
    with pytest.raises(ConfigError, match="expected a number from 1 to"):
        find_exercise(which)


# The same mistakes in other code than the exercise's own; only the results of an answer count.
OTHER_WORDS = {
    ("matmul", "bias_mean"): """
def dense_backward(g, x, w):
    count = len(g)
    return (w @ g.T).T, (g.T @ x).T, sum(g) / count
""",
    ("col2im", "assigned"): """
import numpy as np
def col2im(g, shape, kernel_size, stride):
    n, height, width, channels = shape
    images = np.zeros(shape)
    rows, columns = ((size - kernel_size) // stride + 1 for size in (height, width))
    patches = g.reshape(n, rows, columns, kernel_size, kernel_size, channels)
    for k in range(kernel_size**2):
        i, j = k // kernel_size, k % kernel_size
        view = images[:, i:, j:][:, ::stride, ::stride][:, : patches.shape[1], : patches.shape[2]]
        view[...] = patches[:, :, :, i, j]
    return images
""",
    ("batch_norm", "variance_constant"): """
import numpy as np
def batch_norm_backward(g, x, scale, eps):
    centered = x - x.mean(axis=0)
    s = 1 / np.sqrt((centered**2).mean(axis=0) + eps)
    rows = len(x)
    return scale * s * (g - g.sum(axis=0) / rows), (g * centered * s).sum(axis=0), g.sum(axis=0)
""",
    ("scalar_tape", "assigned"): """
import math
class Value:
    def __init__(self, data, parents=(), slopes=()):
        self.data, self.parents, self.slopes, self.grad = data, parents, slopes, 0.0
    def __add__(self, other):
        return Value(self.data + other.data, (self, other), (1.0, 1.0))
    def __mul__(self, other):
        return Value(self.data * other.data, (self, other), (other.data, self.data))
    def tanh(self):
        t = math.tanh(self.data)
        return Value(t, (self,), (1 - t**2,))
    def backward(self):
        order, todo = [], [(self, False)]
        while todo:
            v, left = todo.pop()
            if left:
                order.append(v)
            elif v not in order:
                todo += [(v, True), *((p, False) for p in v.parents)]
        order = list(dict.fromkeys(order))
        self.grad = 1.0
        while order:
            v = order.pop()
            for k in range(len(v.parents)):
                v.parents[k].grad = v.slopes[k] * v.grad
""",
}


@pytest.mark.parametrize(("name", "mistake"), OTHER_WORDS)
def test_a_mistake_is_recognized_in_other_code(name: str, mistake: str) -> None:
    verdict = grade(find_exercise(name), {f"{name}.py": OTHER_WORDS[name, mistake]})
    assert not verdict.passed
    assert verdict.mistakes == [mistake]


def test_two_mistakes_are_both_named() -> None:
    exercise = find_exercise("matmul")
    (text,) = exercise.solution.values()
    text = text.replace("dw = x.T @ g", "dw = g.T @ x").replace("db = g.sum(axis=0)", "db = g.mean(axis=0)")
    verdict = grade(exercise, {"matmul.py": text})
    assert set(verdict.mistakes) == {"dw_transposed", "bias_mean"}


def test_the_smallest_counterexample_is_shown() -> None:
    """It has its arguments by name, and the answer's Jacobian beside the expected one."""
    exercise = find_exercise("matmul")
    mistake = next(m for m in exercise.mistakes if m.name == "bias_mean")
    verdict = grade(exercise, exercise.wrong(mistake))
    assert verdict.what == "the gradient of b is wrong"
    for name in ("x = ", "w = ", "b = ", "given", "expected", "*"):
        assert name in verdict.shown
    assert "Jacobian with respect to b, 2 results x 1 elements" in verdict.shown  # the mistake needs at least two rows


TUTORIAL = re.compile(r'^\*Tutorial\*: (?P<number>\d+[a-z]?), "(?P<title>.+)"\.$', re.MULTILINE)


def test_exercises_and_tutorials_name_each_other() -> None:
    """The tutorial that a story names exists, and its last line lists just the exercises whose stories name it."""
    named: dict[str, list[int]] = {}
    for exercise in EXERCISES:
        for match in TUTORIAL.finditer(exercise.story):
            named.setdefault(f"# {match['number']}. {match['title']}", []).append(exercise.number)
    listed = {}
    for page in (Path(__file__).parents[2] / "tutorials").glob("[0-9]*.md"):
        text = page.read_text(encoding="utf-8")
        if found := re.search(r"^\*\*Go on\*\*: exercises? ([\d, and]+) of ", text, re.MULTILINE):
            title = re.search(r"^# .*$", text, re.MULTILINE)
            assert title
            listed[title[0]] = [int(number) for number in re.findall(r"\d+", found[1])]
    assert listed == named
    assert len([number for numbers in named.values() for number in numbers]) >= len(EXERCISES) - 2


def test_the_documentation_lists_every_exercise() -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "learn.md").read_text(encoding="utf-8")
    for exercise in EXERCISES:
        assert f"| {exercise.number} | `{exercise.name}` | {exercise.title} |" in page
