"""`tinygrad-lab learn`, as a learner uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_lab.cli import main
from tinygrad_lab.learn.catalog import exercises, find_exercise
from tinygrad_lab.learn.progress import load_progress

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and no progress yet."""
    monkeypatch.setenv("TINYGRAD_LAB_LEARN", str(tmp_path / "progress"))
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return tmp_path / "desk"


def learn(*arguments: str) -> int:
    return main(["learn", *arguments])


def write_solution(name: str, folder: Path) -> None:
    for file, text in find_exercise(name).solution.items():
        (folder / file).write_text(text)


def test_the_list_of_exercises(capsys: Capture) -> None:
    assert learn() == 0
    shown = capsys.readouterr().out
    assert all(exercise.name in shown for exercise in exercises())
    assert f"0 of {len(exercises())} passed. Next: tinygrad-lab learn start 1" in shown


def test_an_exercise_from_start_to_solution(desk: Path, capsys: Capture) -> None:
    """The learner tries the file with holes and a wrong answer, takes two hints, passes and reads the solution."""
    assert learn("start", "3") == 0
    assert "tinygrad-lab learn check 3" in capsys.readouterr().out
    assert {path.name for path in (desk / "03-matmul").iterdir()} == {"matmul.md", "matmul.py"}
    assert learn("check", "3") == 1
    assert "a hole is not filled yet: matmul.py, line 12" in capsys.readouterr().out
    exercise = find_exercise("matmul")
    (desk / "03-matmul" / "matmul.py").write_text(exercise.wrong(exercise.mistakes[2])["matmul.py"])
    assert learn("check", "3") == 1
    shown = capsys.readouterr().out
    assert "✗ gradients of x, w and b" in shown
    assert "Jacobian with respect to b" in shown
    assert f"=> {exercise.mistakes[2].says}" in shown
    for number in (1, 2):
        assert learn("hint", "3") == 0
        shown = capsys.readouterr().out
        assert f"hint {number} of 3" in shown
        assert exercise.hints[number - 1] in shown
    assert learn("solution", "3") == 1
    assert "expected an answer to exercise 3 that has passed, got none" in capsys.readouterr().err
    write_solution("matmul", desk / "03-matmul")
    assert learn("check", "3") == 0
    assert "Passed." in capsys.readouterr().out
    assert learn("solution", "3") == 0
    assert capsys.readouterr().out == exercise.solution["matmul.py"]
    assert learn("list") == 0
    assert "✓ passed, 3 attempts, 2 hints" in capsys.readouterr().out


def test_progress_is_forgotten_and_the_files_stay(desk: Path, capsys: Capture) -> None:
    assert learn("start", "im2col") == 0
    assert learn("hint", "im2col") == 0
    assert learn("hint", "matmul") == 0
    capsys.readouterr()
    assert learn("reset", "6") == 0
    assert capsys.readouterr().out == f"im2col: forgotten (started, 1 hint); your files stay in {desk / '06-im2col'}\n"
    assert list(load_progress().entries) == ["matmul"]
    assert (desk / "06-im2col" / "im2col.py").is_file()
    assert learn("reset", "7-nothing") == 1
    assert learn("reset") == 0
    assert "matmul: forgotten (1 hint)" in capsys.readouterr().out
    assert load_progress().entries == {}
    assert learn("reset") == 0
    assert capsys.readouterr().out == "there is no progress to forget\n"


def test_there_are_three_hints(capsys: Capture) -> None:
    for _ in range(5):
        assert learn("hint", "im2col") == 0
    assert capsys.readouterr().out.count("hint 3 of 3") == 3


def test_answers_are_never_overwritten(desk: Path, capsys: Capture) -> None:
    assert learn("start", "im2col", "mine") == 0
    assert learn("start", "im2col", "mine") == 0  # nothing was written yet
    (desk / "mine" / "im2col.py").write_text("work of hours")
    assert learn("start", "im2col", "mine") == 1
    assert "expected no answer yet, found one and left it as it is" in capsys.readouterr().err
    assert (desk / "mine" / "im2col.py").read_text() == "work of hours"
    assert learn("start", "im2col", "mine", "--again") == 0
    assert (desk / "mine" / "im2col.py.old-1").read_text() == "work of hours"
    assert (desk / "mine" / "im2col.py").read_text() == find_exercise("im2col").with_holes["im2col.py"]


def test_show_prints_the_solution_before_passing(capsys: Capture) -> None:
    assert learn("solution", "step_decay", "--show") == 0
    assert capsys.readouterr().out == find_exercise("step_decay").solution["step_decay.py"]


@pytest.mark.parametrize("how", ["file", "folder", "here", "remembered"])
def test_where_an_answer_is_found(how: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert learn("start", "step_decay", "mine") == 0
    write_solution("step_decay", desk / "mine")
    given: list[str] = []
    if how == "file":
        (desk / "mine" / "step_decay.py").rename(desk / "mine" / "rate.py")
        given = ["mine/rate.py"]
    elif how == "folder":
        given = ["mine"]
    elif how == "here":
        monkeypatch.chdir(desk / "mine")
    assert learn("check", "step_decay", *given) == 0
    assert "Passed." in capsys.readouterr().out


def test_a_missing_answer_is_reported(capsys: Capture) -> None:
    assert learn("check", "5") == 1
    assert "expected cross_entropy.py in" in capsys.readouterr().err


def test_an_answer_that_is_not_utf_8_is_refused(desk: Path, capsys: Capture) -> None:
    (desk / "im2col.py").write_bytes(b"\xff\xfe\x00")
    assert learn("check", "im2col") == 1
    assert "expected Python in UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [("start", "77"), ("check", "5", "--seconds", "0"), ("check", "5", "--seconds", "inf"), ("hint", "nobody")],
)
def test_wrong_calls_are_refused(arguments: tuple[str, ...], capsys: Capture) -> None:
    assert learn(*arguments) == 1
    assert "tinygrad-lab learn: expected" in capsys.readouterr().err


def test_damaged_progress_is_reported_and_kept(capsys: Capture) -> None:
    path = load_progress().path
    path.parent.mkdir()
    path.write_text("{half of")
    assert learn("list") == 0
    assert "cannot be read" in capsys.readouterr().err
    assert path.read_text() == "{half of"
    assert learn("hint", "1") == 0
    assert "the damaged progress is kept in" in capsys.readouterr().err
    assert (path.parent / "learn.damaged-1").read_text() == "{half of"
    assert load_progress().of("scalar_tape").hints == 1


def test_without_a_folder_for_progress_the_commands_still_work(
    desk: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "file").write_text("in the way")
    monkeypatch.setenv("TINYGRAD_LAB_LEARN", str(desk / "file" / "below"))
    assert learn("hint", "1") == 0
    captured = capsys.readouterr()
    assert "hint 1 of 3" in captured.out
    assert "cannot" in captured.err


@pytest.mark.slow
def test_the_plugin_exercise_is_a_complete_distribution(desk: Path, capsys: Capture) -> None:
    assert learn("start", "plugin") == 0
    folder = desk / "21-plugin"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"pyproject.toml", "README.md", "my_snake/__init__.py", "my_snake/layer.py", "my_snake/cases.py"} <= names
    assert "swish" not in "".join(path.read_text().lower() for path in folder.rglob("*.py"))
    assert learn("check", "plugin") == 1
    write_solution("plugin", folder / "my_snake")
    assert learn("check", "plugin") == 0
    assert learn("start", "plugin") == 1
    assert learn("start", "plugin", "--again") == 0
    assert (desk / "21-plugin.old-1" / "my_snake" / "layer.py").read_text() == find_exercise("plugin").solution[
        "layer.py"
    ]


@pytest.mark.slow
def test_the_finished_plugin_passes_its_own_tests(desk: Path) -> None:
    """Outside of the grader, its package can be imported like any other, and its layer conforms."""
    assert learn("start", "plugin", "snake") == 0
    write_solution("plugin", desk / "snake" / "my_snake")
    code = (
        "from tinygrad_lab.conformance import check_layer\n"
        "from my_snake import Snake\nfrom my_snake.cases import cases\n"
        "print(check_layer(Snake, cases, examples=4).passed)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=desk / "snake", capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr
