"""Checks of data sets: the announced sizes and classes, the same order in every process, and no damaged file read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.conformance.cases.case import Case
from tinygrad_lab.conformance.cases.plugins import DataCases
from tinygrad_lab.conformance.checks import conclude
from tinygrad_lab.conformance.kinds.kind import Kind, without_options
from tinygrad_lab.conformance.meta.fresh_process import FRESH, PART, digest
from tinygrad_lab.conformance.runner import Run
from tinygrad_lab.conformance.trials.options import Keywords
from tinygrad_lab.conformance.trials.results import LayerResult
from tinygrad_lab.conformance.trials.trial import BaseTrial
from tinygrad_lab.conformance.trials.verdict import Measure, Violation, demand, demand_finite
from tinygrad_lab.data import Dataset
from tinygrad_lab.errors import DataError, LabError, OptionError
from tinygrad_lab.registry import datasets

SMALL = (5, 4)  # height and width to resize to
SAMPLED = 64  # images of a resized data set that are compared
REPEATED = 0.5  # largest share of test images that may occur among the training images
MOST_DAMAGED = 3  # files


@dataclass(frozen=True, kw_only=True)
class Reads(DataCases):
    """Cases of a data set whose files are on this machine, with the parts that were read so far.

    Parameters
    ----------
    root : Path or None
        The folder of its files; None for the usual ones.
    known : dict
        The data sets by split and size.
    stable : set
        The splits that were read a second time.
    """

    root: Path | None = None
    known: dict[Any, Dataset] = field(default_factory=dict)
    stable: set[str] = field(default_factory=set)

    def read(self, source: Any, split: str, size: tuple[int, int] | None = None) -> Any:
        """Return a part, which is read once."""
        if (split, size) not in self.known:
            self.known[split, size] = source.read(split, root=self.root, size=size)
        return self.known[split, size]


class DataTrial(BaseTrial):
    """A data set's source, and one of its splits.

    Parameters
    ----------
    make : callable
        The source's class.
    case : Case
        The options ``split`` and ``size``.
    cases : Reads
        What the author states, and the parts that were read before.
    """

    def __init__(self, make: Callable[..., Any], case: Case, cases: Reads) -> None:
        super().__init__(case, [])
        self.make, self.cases, self.source = make, cases, make()
        self.split, self.size = case.options["split"], case.options.get("size")
        self.data = cases.read(self.source, self.split)

    @property
    def compared(self) -> int:
        """The number of examples."""
        return len(self.data)

    def exercise(self) -> None:
        """Read the split again."""
        self.source.read(self.split, root=self.cases.root)

    def splits(self) -> tuple[str, ...]:
        """Return the names of all splits."""
        return tuple(self.source.splits(self.cases.root))


def dataset(trial: DataTrial) -> Measure:
    """Reading a split gives a `Dataset` with examples that are finite and not all alike."""
    data = trial.data
    demand(
        isinstance(data, Dataset),
        f"read({trial.split!r}): expected a tinygrad_lab.data.Dataset, got {type(data).__name__}",
    )
    demand(len(data) > 0, f"read({trial.split!r}): expected examples, got none")
    part = data.batch(slice(0, PART))
    demand_finite(f"the examples of {trial.split}", part)
    if len(part) > 1:
        demand((part != part[:1]).any(), f"all examples of {trial.split} are alike; is the array filled?")
    if data.dtype == np.uint8:
        demand(part.max() > 1, f"all bytes of {trial.split} are 0 or 1: expected brightness from 0 to 255")
    return Measure()


def sizes(trial: DataTrial) -> Measure:
    """The number and the shape of the examples are those that the source announces."""
    source, data = trial.source, trial.data
    for what, expected in (
        ("sizes", source.sizes.get(trial.split)),
        ("count", source.count(trial.split, trial.cases.root)),
    ):
        demand(
            expected is None or len(data) == expected,
            f"{what} announces {expected} examples of {trial.split}, and reading gives {len(data)}",
        )
    demand(
        source.image is None or data.shape == tuple(source.image),
        f"image announces the shape {source.image}, and reading gives {data.shape}",
    )
    return Measure()


def classes(trial: DataTrial) -> Measure:
    """All splits have the same classes, each with training examples, or else the announced target numbers.

    Catches labels that begin at 1, and classes that are named by the labels that happen to occur in a split.
    """
    data, train = trial.data, trial.cases.read(trial.source, trial.splits()[0])
    demand(
        data.classes == train.classes,
        f"the classes of {trial.split} are {data.classes!r:.200}, those of {trial.splits()[0]} {train.classes!r:.200}; "
        "give Dataset(..., classes=...) the same names for each split",
    )
    demand(len(set(data.classes)) == len(data.classes), f"expected different names of classes, got {data.classes}")
    if data.task == "regression" or trial.source.targets:
        announced = tuple(trial.source.targets)
        demand(
            data.targets == announced,
            f"targets announces {announced!r:.200}, and reading {trial.split} gives {data.targets!r:.200}",
        )
        return Measure()
    empty = [name for name, count in train.counts().items() if not count]
    demand(not empty, f"no training example has the classes {empty}; do the labels begin at 1?")
    return Measure()


def stable(trial: DataTrial) -> Measure:
    """Reading again gives the same examples in the same order."""
    if trial.split in trial.cases.stable:
        return Measure()
    again = trial.source.read(trial.split, root=trial.cases.root)
    demand(
        digest(again) == digest(trial.data),
        f"read({trial.split!r}) gives other examples, or another order, the second time; sort files by name, and seed "
        "random numbers",
    )
    trial.cases.stable.add(trial.split)
    return Measure()


def resized(trial: DataTrial) -> Measure | None:
    """The option `size` gives examples of that height and width with the same labels, or is refused by OptionError."""
    if trial.size is None:
        return None
    try:
        small = trial.cases.read(trial.source, trial.split, trial.size)
    except OptionError:
        demand(len(trial.data.shape) != 3, "images must accept the option size; Dataset.resize changes their size")
        return Measure()
    expected = (*trial.size, *trial.data.shape[2:])
    demand(small.shape == expected, f"size={trial.size}: expected examples of shape {expected}, got {small.shape}")
    demand(small.labels.tolist() == trial.data.labels.tolist(), f"size={trial.size} changes the labels")
    got = small.batch(slice(0, SAMPLED)).shape
    demand(got[1:] == expected, f"size={trial.size}: expected a batch of shape {expected}, got {got[1:]}")
    return Measure()


def splits_apart(trial: DataTrial) -> Measure | None:
    """Most examples of a split other than the training one are not among the training examples.

    Catches a `read` that ignores its argument `split`.
    """
    first = trial.splits()[0]
    if trial.split == first:
        return None
    train = {row.tobytes() for row in rows(trial.cases.read(trial.source, first))}
    share = np.mean([row.tobytes() in train for row in rows(trial.data)])
    demand(
        share <= REPEATED,
        f"{share:.0%} of the examples of {trial.split} are also examples of {first}; does read use its argument split?",
    )
    return Measure()


def rows(data: Dataset) -> Iterator[Any]:
    """Yield the examples one by one."""
    for first in range(0, len(data), PART):
        yield from data.batch(slice(first, first + PART))


def unknown_split(trial: DataTrial) -> Measure:
    """An unknown split is refused by OptionError."""
    try:
        trial.source.read("nobody", root=trial.cases.root)
    except OptionError:
        return Measure()
    except Exception as error:
        raise Violation(f"read('nobody'): expected OptionError, got {type(error).__name__}: {error}") from error
    raise Violation("read('nobody'): expected OptionError, got no error; call self.check_split(split, root) first")


PROPERTIES: dict[str, Callable[[DataTrial], Measure | None]] = {
    p.__name__: p for p in (dataset, sizes, classes, stable, resized, splits_apart, unknown_split)
}


def fresh_process(run: Run[DataTrial]) -> int | None:
    """A fresh process, in which sets of names have another order, reads the same examples in the same order."""
    trial = run.kept[-1]
    for split in trial.splits():
        got = FRESH.digest(type(trial.source), split, trial.cases.root)
        if got is None:  # a class that another process cannot import
            return None
        demand(
            got == digest(trial.cases.read(trial.source, split)),
            f"a fresh process reads other examples of {split}, or another order; sort names from a set or a folder",
        )
    return len(trial.splits())


def bad_files(run: Run[DataTrial]) -> int | None:
    """A file that breaks off, is empty or holds other bytes is refused by DataError."""
    trial = run.kept[-1]
    damaged = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = copied(trial, folder)
        chosen = files[:: max(1, len(files) // MOST_DAMAGED)][:MOST_DAMAGED]
        for path in chosen:
            whole = path.read_bytes()
            for how, content in damages(whole):
                path.unlink()
                path.write_bytes(content)
                demand_refused(trial, folder, path, how)
                damaged += 1
            path.write_bytes(whole)
    return damaged or None


def copied(trial: DataTrial, folder: Path) -> list[Path]:
    """Write the files of a data set into a folder, those on this machine as links, and return their paths."""
    if trial.cases.write is not None:
        trial.cases.write(folder)
        return sorted(path for path in folder.rglob("*") if path.is_file())
    if not trial.source.files:
        return []
    root = trial.source.locate(trial.cases.root)
    found = [file.find(root) for file in trial.source.files]
    for path in found:
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path.resolve())
    return [folder / path.relative_to(root) for path in found]


def damages(content: bytes) -> list[tuple[str, bytes]]:
    """Return wrong contents to write in place of a file's content, each after its description."""
    half = len(content) // 2
    return [("breaks off", content[:half]), ("is empty", b""), ("holds text", b"moved\n")]


def demand_refused(trial: DataTrial, folder: Path, path: Path, how: str) -> None:
    """Demand that reading some split raises DataError.

    Raises
    ------
    Violation
        All splits are read, or another error is raised.
    """
    where = f"the file {path.relative_to(folder)} {how}"
    for split in trial.splits():
        try:
            trial.make().read(split, root=folder)
        except DataError:
            return
        except Exception as error:
            raise Violation(f"{where}: expected DataError, got {type(error).__name__}: {error}") from error
    raise Violation(f"{where}, and is read without an error; check its size, its checksum or its end")


def strategy(make: Any, cases: Reads) -> Any:
    """Return a strategy of cases: a split, and sometimes a size."""
    splits = tuple(make().splits(cases.root))
    options = {"split": st.sampled_from(splits), "size": st.sampled_from((None, SMALL))}
    return st.fixed_dictionaries(options).map(lambda options: Case(options=options))


class DataKind(Kind[DataTrial, Any]):
    """The kind of data sets: their files may be missing on this machine, and then nothing can be checked."""

    def inspect(self, plugin: Any, cases: Any = None, **options: Unpack[Keywords]) -> LayerResult:
        """Check a data set as `Kind.inspect` does; the result says so if its files are not on this machine."""
        name, make, stated = self.find(plugin, cases)
        with prepared(stated) as reads:
            try:
                source = make()
                source.splits(reads.root)
                if source.files:
                    source.locate(reads.root)
            except DataError as error:
                return LayerResult(name, kind=self.name, skipped=str(error))
            except LabError:
                pass  # the check reports it
            return super().inspect(plugin, reads, **options)


@contextmanager
def prepared(stated: DataCases) -> Iterator[Reads]:
    """Yield the cases with a folder of example files, if their author writes some."""
    folder = Path(tempfile.mkdtemp()) if stated.write is not None else None
    try:
        if stated.write is not None:
            stated.write(folder)  # type: ignore[arg-type]  # it is a folder then
        yield Reads(root=folder, **{f.name: getattr(stated, f.name) for f in fields(DataCases)})
    finally:
        if folder is not None:
            shutil.rmtree(folder)


DATA = DataKind(
    "data",
    datasets,
    DataCases,
    strategy,
    without_options(DataTrial),
    PROPERTIES,
    {"fresh_process": fresh_process, "bad_files": bad_files},
)


def check_data(source: Any, cases: Any = None, **options: Unpack[Keywords]) -> LayerResult:
    """Check a data set: sizes, classes, a stable order in every process, and damaged files, which must be refused.

    If its files are not on this machine, nothing is checked, and `LayerResult.skipped` says why.

    Parameters
    ----------
    source : str or type
        Its registered name, or a subclass of `tinygrad_lab.data.Source`.
    cases : DataCases
        Its cases; by default those that its author registered.
    **options
        As in `check_layer`.

    Raises
    ------
    NonconformanceError
        A property does not hold.

    Examples
    --------
    >>> check_data("image_folder", examples=3).passed
    True
    """
    return conclude(DATA.inspect(source, cases, **options))
