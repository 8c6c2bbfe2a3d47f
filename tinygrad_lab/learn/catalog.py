"""Catalog of the exercises in order; one marked source gives the file with holes and the solution."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tinygrad_lab.errors import ConfigError, hint

FOLDER = Path(__file__).parent / "exercises"

# From the tape to arrays, from layers of images to training, and from checking to a plugin.
ORDER = (
    "scalar_tape",
    "broadcasting",
    "matmul",
    "log_sum_exp",
    "cross_entropy",
    "im2col",
    "col2im",
    "conv2d",
    "max_pool",
    "dropout",
    "batch_norm",
    "layer_norm",
    "response_norm",
    "residual",
    "robust_loss",
    "momentum",
    "step_decay",
    "complex_step",
    "two_vjps",
    "operation",
    "plugin",
    # Later exercises, which begin anew at the tape and end at the processor.
    "array_tape",
    "training_loop",
    "adam",
    "initial_values",
    "class_map",
    "two_steps",
    "checkpointing",
    "attention",
    "augmentation",
    "kernel",
)
NOT_WITH_NUMPY = ("tinygrad_lab", "tinygrad_lab_layers", "autograd", "jax", "scipy", "sklearn", "tensorflow", "torch")
DISTRIBUTIONS = {"plugin": "my.snake"}  # exercises that fill a folder written by new-layer, and the layer's name

HOLE = re.compile(r"^(?P<indent> *)#<(?P<task>.*)\n(?P<more>(?: *#<.*\n)*)(?P<body>(?:.*\n)*?) *#>\n", re.MULTILINE)


@dataclass(frozen=True)
class Mistake:
    """A typical mistake, as a change of the reference solution.

    Parameters
    ----------
    name : str
        The name in tests and in the progress.
    old, new : str
        A text that occurs once in the solution, and the mistake that replaces it.
    says : str
        The explanation for the learner.
    """

    name: str
    old: str
    new: str
    says: str


@dataclass(frozen=True)
class Exercise:
    """An exercise.

    Parameters
    ----------
    number : int
        Its position, from 1.
    name : str
        The name of its folder, and of the learner's file.
    """

    number: int
    name: str
    folder: Path = field(repr=False)

    @property
    def distribution(self) -> str | None:
        """The name of the layer whose distribution the learner fills in; None for exercises of one file."""
        return DISTRIBUTIONS.get(self.name)

    @cached_property
    def story(self) -> str:
        """The task, in Markdown."""
        return (self.folder / "story.md").read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        """The first line of the story."""
        return self.story.splitlines()[0].removeprefix("# ")

    @property
    def library(self) -> bool:
        """Whether its answers may use `tinygrad_lab`; otherwise they may use only NumPy."""
        return bool(self._table.get("library")) or any("import tinygrad_lab" in text for text in self._marked.values())

    @property
    def preload(self) -> list[str]:
        """The modules that are imported before the limits of an answer's process apply."""
        return [*(["tinygrad_lab"] if self.library else []), *self._table.get("preload", [])]

    @property
    def refused_modules(self) -> dict[str, str]:
        """The modules that answers may not import, each with the reason."""
        if not self.library:
            return dict.fromkeys(NOT_WITH_NUMPY, "write this exercise with NumPy alone")
        modules = self._table.get("refused", {}).get("modules", [])
        return {name: f"{name} is what this exercise asks for: write it yourself" for name in modules}

    @property
    def refused_names(self) -> list[str]:
        """The functions of the library that answers may not call, by their dotted names."""
        return list(self._table.get("refused", {}).get("names", []))

    @property
    def bench(self) -> str:
        """The source of code that runs in an answer's process; empty for most exercises."""
        path = self.folder / "bench.py"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @cached_property
    def _table(self) -> dict[str, Any]:
        return tomllib.loads((self.folder / "exercise.toml").read_text(encoding="utf-8"))

    @property
    def hints(self) -> list[str]:
        """Three hints, each stronger than the last."""
        return [hint["text"].strip() for hint in self._table["hints"]]

    @property
    def mistakes(self) -> list[Mistake]:
        """The typical mistakes."""
        return [Mistake(m["name"], m["old"], m["new"], m["says"].strip()) for m in self._table["mistakes"]]

    @cached_property
    def _marked(self) -> dict[str, str]:
        """The marked sources by the names of the learner's files."""
        return {
            path.name.removesuffix(".in"): path.read_text(encoding="utf-8")
            for path in sorted(self.folder.glob("*.py.in"))
        }

    @property
    def with_holes(self) -> dict[str, str]:
        """The learner's files with their holes."""
        return {name: open_holes(text) for name, text in self._marked.items()}

    @property
    def solution(self) -> dict[str, str]:
        """The learner's files with the reference solution."""
        return {name: close_holes(text) for name, text in self._marked.items()}

    def wrong(self, mistake: Mistake) -> dict[str, str]:
        """Return the learner's files with a mistake in them.

        Raises
        ------
        ConfigError
            The text that the mistake replaces does not occur exactly once in the solution.
        """
        files = self.solution
        places = [name for name, text in files.items() for _ in range(text.count(mistake.old))]
        if len(places) != 1:
            raise ConfigError(
                f"{self.name}: expected the text that the mistake {mistake.name!r} replaces once in the solution, "
                f"found it {len(places)} times; correct its entry `old`"
            )
        return files | {places[0]: files[places[0]].replace(mistake.old, mistake.new)}


def open_holes(text: str) -> str:
    r"""Return a marked source with a task and an error in place of the solution.

    Examples
    --------
    >>> print(open_holes("def double(x):\n    #< Return 2 x.\n    return 2 * x\n    #>\n"))
    def double(x):
        # Your turn: Return 2 x.
        raise NotImplementedError("hole 1")
    <BLANKLINE>
    """
    count = 0

    def opened(found: re.Match[str]) -> str:
        nonlocal count
        count += 1
        indent = found["indent"]
        more = found["more"].replace("#<", "#")
        return f'{indent}# Your turn:{found["task"]}\n{more}{indent}raise NotImplementedError("hole {count}")\n'

    return HOLE.sub(opened, text)


def close_holes(text: str) -> str:
    r"""Return a marked source without its marks.

    Examples
    --------
    >>> print(close_holes("def double(x):\n    #< Return 2 x.\n    return 2 * x\n    #>\n"))
    def double(x):
        return 2 * x
    <BLANKLINE>
    """
    return HOLE.sub(lambda found: found["body"], text)


def exercises() -> list[Exercise]:
    """Return all exercises in their order."""
    return [Exercise(number, name, FOLDER / name) for number, name in enumerate(ORDER, 1)]


def find_exercise(which: str) -> Exercise:
    """Return an exercise by its number or name.

    Raises
    ------
    ConfigError
        The exercise is unknown.

    Examples
    --------
    >>> find_exercise("3").name
    'matmul'
    """
    for exercise in exercises():
        if which.strip() in (str(exercise.number), f"{exercise.number:02}", exercise.name):
            return exercise
    advice = hint(which.strip(), [exercise.name for exercise in exercises()])
    raise ConfigError(f"expected a number from 1 to {len(ORDER)} or a name, got {which!r}; {advice}")
