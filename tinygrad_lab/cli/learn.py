"""Learn by writing the engine and the layers yourself: exercises that the conformance kit grades."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tinygrad_lab.backend import installed
from tinygrad_lab.errors import ConfigError, StateError
from tinygrad_lab.files.writing import writing

if TYPE_CHECKING:
    from tinygrad_lab.learn.catalog import Exercise
    from tinygrad_lab.learn.progress import Entry, Progress
    from tinygrad_lab.learn.verdict import Verdict

DAY = 86_400  # seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="without one: list the exercises")
    actions.add_parser("list", help="show the exercises and your progress")
    start = actions.add_parser("start", help="copy an exercise: its story, and a file with holes for your code")
    check = actions.add_parser("check", help="grade your answer; the exit status is 1 if it does not pass")
    hint = actions.add_parser("hint", help="show a hint; each of the three is stronger than the one before")
    solution = actions.add_parser("solution", help="show the reference solution, once you have passed")
    train = actions.add_parser("run", help="train LeNet-5 made of your answers; the exit status is 1 if one is wrong")
    reset = actions.add_parser("reset", help="forget your progress in an exercise, or in all; your files stay")
    for action in (start, check, hint, solution):
        action.add_argument("which", metavar="N", help="the exercise's number, or its name")
    reset.add_argument("which", metavar="N", nargs="?", help="the exercise's number, or its name (default: all)")
    start.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="the new folder; ./NN-name by default")
    start.add_argument("--again", action="store_true", help="begin again; your present work is kept under a new name")
    check.add_argument("path", nargs="?", type=Path, metavar="FILE", help="your file, or its folder")
    check.add_argument("--seconds", type=float, default=60.0, metavar="S", help="the time limit in seconds (60)")
    train.add_argument("--epochs", type=int, default=10, metavar="N", help="the number of epochs (10)")
    train.add_argument("--per-class", type=int, metavar="N", help="the number of images of each digit (default: all)")
    train.add_argument("--seconds", type=float, default=60.0, metavar="S", help="the time limit of each check (60)")
    solution.add_argument("--show", action="store_true", help="show it even if you have not passed")


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand; the exit status is 1 if an answer does not pass."""
    actions = {"start": _start, "check": _check, "hint": _hint, "solution": _solution, "run": _run, "reset": _reset}
    return actions.get(arguments.action, _list)(arguments)


def _list(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Column, Table

    from tinygrad_lab.learn.catalog import exercises

    progress = _progress()
    table = Table("N", "Name", "Exercise", Column("State", no_wrap=True), box=None)
    for exercise in exercises():
        entry = progress.of(exercise.name)
        table.add_row(str(exercise.number), exercise.name, exercise.title, _state(entry))
    Console(soft_wrap=True).print(table)
    done = [exercise for exercise in exercises() if progress.of(exercise.name).passed]
    left = [exercise for exercise in exercises() if not progress.of(exercise.name).passed]
    print(f"\n{len(done)} of {len(done) + len(left)} passed.", end=" ")
    if left:
        started = bool(progress.of(left[0].name).where)
        print(f"Next: tinygrad-lab learn {'check' if started else 'start'} {left[0].number}")
    else:
        print("You have written it all yourself.")
    return 0


def _state(entry: Entry) -> str:
    """Return the progress of an exercise in a few words."""
    words = ["✓ passed"] if entry.passed else ["started"] if entry.where or entry.attempts else []
    if entry.attempts:
        words.append(f"{entry.attempts} attempt{'s' * (entry.attempts > 1)}")
    if entry.hints:
        words.append(f"{entry.hints} hint{'s' * (entry.hints > 1)}")
    return ", ".join(words)


def _start(arguments: argparse.Namespace) -> int:
    from tinygrad_lab.cli.new_plugin import names_for, write_distribution
    from tinygrad_lab.learn.catalog import find_exercise
    from tinygrad_lab.learn.workspace import default_folder, hand_out

    exercise = find_exercise(arguments.which)
    folder = arguments.folder if arguments.folder is not None else default_folder(exercise)
    with writing(ConfigError, f"expected a folder to write into, {folder}"):
        written, kept = hand_out(
            exercise,
            folder,
            again=arguments.again,
            new_distribution=lambda path: write_distribution(path, names_for(exercise.distribution or "")),
        )
    for path in kept:
        print(f"your work is kept in {path}")
    print(f"{exercise.number}. {exercise.title}")
    for path in written:
        print(f"  {path}")
    elsewhere = "" if arguments.folder is None else f" {folder}"
    print(
        f"\nRead the story, fill in the hole{'s' * ('hole 2' in ''.join(exercise.with_holes.values()))}, and then:\n"
        f"  tinygrad-lab learn check {exercise.number}{elsewhere}\n  tinygrad-lab learn hint {exercise.number}"
    )
    progress = _progress()
    progress.of(exercise.name).where = str(folder.absolute())
    _keep(progress)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from tinygrad_lab.cli.check import NEEDS_HYPOTHESIS
    from tinygrad_lab.learn.catalog import find_exercise
    from tinygrad_lab.learn.process import grade_apart
    from tinygrad_lab.learn.workspace import find_answer, read_answers

    if not installed("hypothesis"):
        raise ConfigError(NEEDS_HYPOTHESIS)
    if not 0 < arguments.seconds <= DAY:
        raise ConfigError(f"expected --seconds above 0 and at most {DAY}, got {arguments.seconds:g}")
    exercise = find_exercise(arguments.which)
    progress = _progress()
    entry = progress.of(exercise.name)
    place = find_answer(exercise, arguments.path, entry.where)
    folder = place.parent if place.is_file() else place
    verdict = grade_apart(exercise, read_answers(exercise, place), folder.absolute(), seconds=arguments.seconds)
    entry.attempts += 1
    entry.passed = entry.passed or verdict.passed
    print(f"{exercise.number}. {exercise.title}  ({place})")
    _print_verdict(exercise, verdict)
    _keep(progress)
    return 0 if verdict.passed else 1


def _print_verdict(exercise: Exercise, verdict: Verdict) -> None:
    """Print the steps that passed, and the error of the first that did not."""
    for step in verdict.steps:
        print(f"  ✓ {step}")
    if verdict.failed:
        print(f"  ✗ {verdict.failed}")
    for text in filter(None, (verdict.what, verdict.shown)):
        print("\n" + _indent(text))
    for text in verdict.because[:3]:
        print("\n" + _indent(f"=> {text}"))
    if verdict.printed:
        print("\n  your code printed:\n" + _indent(verdict.printed.rstrip(), "  | "))
    if verdict.passed:
        print(f"\nPassed. How others wrote it: tinygrad-lab learn solution {exercise.number}")
    else:
        print(f"\nNot yet. A hint, if you want one: tinygrad-lab learn hint {exercise.number}")


def _indent(text: str, by: str = "  ") -> str:
    """Return a text, indented."""
    return "\n".join((by + line).rstrip() for line in text.splitlines())


def _hint(arguments: argparse.Namespace) -> int:
    from tinygrad_lab.learn.catalog import find_exercise

    exercise = find_exercise(arguments.which)
    progress = _progress()
    entry = progress.of(exercise.name)
    entry.hints = min(entry.hints + 1, len(exercise.hints))
    print(f"{exercise.number}. {exercise.title}: hint {entry.hints} of {len(exercise.hints)}\n")
    print(exercise.hints[entry.hints - 1])
    _keep(progress)
    return 0


def _solution(arguments: argparse.Namespace) -> int:
    from tinygrad_lab.learn.catalog import find_exercise

    exercise = find_exercise(arguments.which)
    if not (arguments.show or _progress().of(exercise.name).passed):
        raise ConfigError(
            f"expected an answer to exercise {exercise.number} that has passed, got none; "
            f"`tinygrad-lab learn hint {exercise.number}` gives a hint, and --show shows the solution anyway"
        )
    for name, text in exercise.solution.items():
        print(f"# {name}\n{text}" if len(exercise.solution) > 1 else text, end="")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from tinygrad_lab.cli.check import NEEDS_HYPOTHESIS

    if not installed("hypothesis"):
        raise ConfigError(NEEDS_HYPOTHESIS)
    for option, value in (("--epochs", arguments.epochs), ("--per-class", arguments.per_class)):
        if value is not None and value < 1:
            raise ConfigError(f"expected {option} of at least 1, got {value}")
    if not 0 < arguments.seconds <= DAY:
        raise ConfigError(f"expected --seconds above 0 and at most {DAY}, got {arguments.seconds:g}")
    from tinygrad_lab.learn.capstone import collect, digits, references, train

    pieces, wrong = {}, 0
    for piece in collect(_progress(), arguments.seconds):
        exercise = piece.exercise
        marks = {"yours": "✓ yours", "missing": "· reference", "wrong": "✗ wrong, so the reference stands in"}
        print(f"{exercise.number:>3}. {exercise.title}: {marks[piece.state]}", flush=True)
        if piece.said:
            print(_indent(f"{piece.said}\ntinygrad-lab learn check {exercise.number} shows more", "       "))
        pieces[exercise.name] = piece
        wrong += piece.state == "wrong"
    own = sum(piece.state == "yours" for piece in pieces.values())
    print(f"\n{own} of {len(pieces)} pieces are yours. LeNet-5 on scikit-learn's digits:\n")
    data = digits(arguments.per_class)
    curve: list[float] = []
    if own:
        print("training by the reference solutions, for comparison ...", flush=True)
        expected = train(references(), data, arguments.epochs, lambda epoch, loss, accuracy: curve.append(accuracy))
        print(f"  test accuracy {expected:.1%}\n")
    print("epoch  loss   validation" + "  reference" * bool(own))

    def report(epoch: int, loss: float, accuracy: float) -> None:
        beside = f"  {curve[epoch - 1]:9.1%}" if curve else ""
        print(f"{epoch:>5}  {loss:5.3f}  {accuracy:10.1%}{beside}", flush=True)

    found = train({name: piece.answer for name, piece in pieces.items()}, data, arguments.epochs, report)
    print(f"\ntest accuracy {found:.1%}, at the epoch with the highest validation accuracy")
    return 1 if wrong else 0


def _reset(arguments: argparse.Namespace) -> int:
    from tinygrad_lab.learn.catalog import find_exercise

    progress = _progress()
    names = list(progress.entries) if arguments.which is None else [find_exercise(arguments.which).name]
    forgotten = {name: progress.entries.pop(name) for name in names if name in progress.entries}
    for name, entry in forgotten.items():
        where = f"; your files stay in {entry.where}" if entry.where else ""
        print(f"{name}: forgotten ({_state(entry)}){where}")
    if not forgotten:
        print("there is no progress to forget")
    _keep(progress)
    return 0


def _progress() -> Progress:
    """Return the progress; print a warning if its file is damaged."""
    from tinygrad_lab.learn.progress import load_progress

    progress = load_progress()
    if progress.damage:
        print(f"tinygrad-lab learn: {progress.damage}", file=sys.stderr)
    return progress


def _keep(progress: Progress) -> None:
    """Save the progress; print a warning if that fails."""
    try:
        if kept := progress.save():
            print(f"tinygrad-lab learn: the damaged progress is kept in {kept}", file=sys.stderr)
    except StateError as error:
        print(f"tinygrad-lab learn: {error}", file=sys.stderr)
