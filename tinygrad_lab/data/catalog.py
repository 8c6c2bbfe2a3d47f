"""Data sets by name: loading, listing, fetching and verifying them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.data.files import Download, FileStatus, Progress, cannot_write, check_file, data_roots, no_progress
from tinygrad_lab.data.resizing import as_size
from tinygrad_lab.data.sources import Source
from tinygrad_lab.errors import DataError, OptionError, PluginError
from tinygrad_lab.files.locking import locked
from tinygrad_lab.registry import datasets


def find_source(name: str) -> Source:
    """Return the source of a data set, from the plugins of the group ``tinygrad_lab.datasets``.

    Raises
    ------
    PluginError
        The data set is unknown, or its plugin is broken.
    """
    source = datasets[name]
    if not (isinstance(source, type) and issubclass(source, Source)):
        raise PluginError(
            f"datasets: {name!r} ({datasets.plugin(name)}): expected a subclass of Source, got {source!r}"
        )
    return source()


def load(
    name: str,
    *,
    split: str = "train",
    root: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    per_class: int | None = None,
    validation: float = 0.0,
    seed: int = 0,
    size: tuple[int, int] | None = None,
) -> Dataset:
    """Load a data set, or a part of it, into memory.

    First a fraction of the training images is set aside for validation, then the classes are chosen, then the number of
    their images is limited. Each choice is independent of the others.

    Parameters
    ----------
    name : str
        The registered name: ``"digits"``, ``"mnist"``, ``"fashion_mnist"``, ``"cifar10"``, ``"cifar100"``,
        ``"image_folder"``, or a third party's.
    split : str
        ``"train"``, ``"test"``, or ``"validation"``: the validation images of the data set, if it has any, or else the
        part of the training images that `validation` sets aside.
    root : path, optional
        The data folder, in the layout that torchvision uses. If it is not given or lacks the files, the folder in
        ``TINYGRAD_LAB_DATA`` and then the user's cache folder are searched.
    classes : sequence of str, optional
        Keep these classes, renumbered in this order.
    per_class : int, optional
        Keep that many images of every class; see `Dataset.limit`.
    validation : float
        The fraction of the training images that is not trained on; see `Dataset.split`.
    seed : int
        The seed that decides which images are set aside or kept.
    size : (int, int), optional
        Height and width to resize to.

    Returns
    -------
    Dataset

    Shapes
    ------
    images (N, H, W, C), labels (N,)

    Raises
    ------
    DataError
        The files are missing or damaged.
    PluginError
        The data set is unknown.
    OptionError
        A class, split, fraction, limit or size is not valid.

    Examples
    --------
    >>> load("digits", classes=["3", "8"])
    Dataset(digits: 285 images 32x32x1 uint8, 2 classes)
    >>> len(load("digits", validation=0.1)), len(load("digits", split="validation", validation=0.1))
    (1293, 145)
    """
    source = find_source(name)
    size = None if size is None else as_size(size)
    own = "validation" in source.splits(root)
    if own and validation:
        raise OptionError(
            f"load({name!r}): expected no share for validation, since the data set has validation images of its own, "
            f"got {validation}; set validation to 0.0"
        )
    data = source.read("train" if split == "validation" and not own else split, root=root, size=size)
    if split == "validation" and not own and not validation:
        raise OptionError(
            f"load({name!r}): expected validation above 0, the share of the training images that is set aside as the "
            f"split 'validation', got {validation}; set for example validation=0.1"
        )
    if (split == "validation" and not own) or (split == "train" and validation):
        rest, out = data.split(validation, seed=seed)
        if not len(out):
            of = f"{len(data)}" if data.task == "regression" else f"at most {max(data.counts().values())}"
            per = " of some class" * (data.task == "classification")
            raise OptionError(
                f"load({name!r}): expected a validation share of at least one image{per}, got {validation} "
                f"of {of} images{' per class' * bool(per)}"
            )
        data = out if split == "validation" else rest
    if classes is not None:
        data = data.keep_classes(classes)
    return data if per_class is None else data.limit(per_class, seed=seed)


@dataclass(frozen=True)
class Listing:
    """Facts about a data set that are known without reading its files.

    Parameters
    ----------
    name, title, homepage : str
        The registered name, a title, and the publisher's page.
    images : dict
        From each split to its number of images, as published; empty if that is unknown.
    download : int
        The number of bytes to fetch; 0 if nothing has to be fetched.
    root : Path, optional
        The data folder that holds it.
    problem : str
        The reason why the plugin cannot be used; empty if it can.
    """

    name: str
    title: str
    homepage: str
    images: dict[str, int]
    download: int
    root: Path | None
    problem: str = ""


def listing(*, root: str | os.PathLike[str] | None = None) -> tuple[Listing, ...]:
    """Return all data sets, with the folders of those that have been fetched."""
    return tuple(_list(name, root) for name in datasets)


def _list(name: str, root: str | os.PathLike[str] | None) -> Listing:
    try:
        source = find_source(name)
    except PluginError as error:
        return Listing(name, "", "", {}, 0, None, problem=str(error))
    folder = None
    if source.files:
        with contextlib.suppress(DataError):
            folder = source.locate(root)
    size = sum(item.file.size for item in source.downloads)
    return Listing(source.name, source.title, source.homepage, dict(source.sizes), size, folder)


def fetch(name: str, *, root: str | os.PathLike[str] | None = None, progress: Progress = no_progress) -> Path:
    """Download a data set. Complete files are kept, and broken ones are replaced.

    If several processes fetch the same files at once, one downloads and the others wait.

    Parameters
    ----------
    name : str
        The registered name.
    root : path, optional
        The data folder; without it the one named by ``TINYGRAD_LAB_DATA``, or the user's cache folder.
    progress : callable
        Called with a file's name, the number of bytes so far and the total.

    Returns
    -------
    Path
        The data folder.

    Raises
    ------
    DataError
        No address delivered a file, or a file cannot be written.
    PluginError
        The data set is unknown.
    """
    source = find_source(name)
    folder = next(iter(data_roots(root).values()))
    for item in source.downloads:
        if not _delivered(item, folder):
            _deliver(item, folder, progress)
    return folder


def _delivered(item: Download, folder: Path) -> bool:
    return all(check_file(file, folder).ok for file in item.delivers)


def _deliver(item: Download, folder: Path, progress: Progress) -> None:
    """Download and unpack, unless another process has done it meanwhile."""
    from tinygrad_lab.data.archives import extract_tar  # imported only here: reading needs no network
    from tinygrad_lab.data.download import download

    packed = folder / item.file.path
    try:
        packed.parent.mkdir(parents=True, exist_ok=True)
        with locked(packed.parent):
            if _delivered(item, folder):
                return
            if not check_file(item.file, folder).ok:
                download(item, folder, progress=progress)
            if item.file not in item.delivers:
                extract_tar(packed, folder, item.delivers)
                packed.unlink()
    except DataError:
        raise
    except OSError as error:
        raise cannot_write(packed, item.file.size, error) from error


@dataclass(frozen=True)
class Verification:
    """Result of `verify`.

    Parameters
    ----------
    name : str
        The data set.
    root : Path, optional
        The data folder with its files.
    files : tuple of FileStatus
        The size and checksum of each file.
    images : dict
        From each split to the number of images that were read.
    problem : str
        The reason why they could not be read; empty if they could.
    """

    name: str
    root: Path | None
    files: tuple[FileStatus, ...]
    images: dict[str, int]
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether every file is the published one and every split can be read."""
        return not self.problem and all(file.ok for file in self.files)


def verify(name: str, *, root: str | os.PathLike[str] | None = None) -> Verification:
    """Compare a data set's files with their published checksums, then read them and count.

    Parameters
    ----------
    name : str
        The registered name.
    root : path, optional
        See `load`.

    Raises
    ------
    PluginError
        The data set is unknown.
    """
    source = find_source(name)
    roots = data_roots(root).values()
    folder = next((folder for folder in roots if any(file.find(folder) for file in source.files)), None)
    files = tuple(check_file(file, folder) for file in source.files) if folder else ()
    images: dict[str, int] = {}
    try:
        for split in source.splits(root):
            images[split] = len(source.read(split, root=folder or root))
    except DataError as error:
        return Verification(name, folder, files, images, str(error))
    return Verification(name, folder, files, images)
