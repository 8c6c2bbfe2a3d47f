"""Base class of data sets' sources.

Third parties derive from `Source` and register the class in the group ``tinygrad_lab.datasets``.
"""

from __future__ import annotations

import abc
import os
from pathlib import Path
from typing import Any, ClassVar

from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.data.files import DataFile, Download, data_roots
from tinygrad_lab.errors import DataError, OptionError


def bundled(name: str) -> Any:
    """Return the module ``sklearn.datasets``, which brings the data set of this name.

    Raises
    ------
    DataError
        scikit-learn is not installed.
    """
    try:
        from sklearn import datasets  # optional, and slow to import
    except ImportError as error:
        raise DataError(
            f"{name}: expected scikit-learn, which brings this data set, got no such package; pip install scikit-learn"
        ) from error
    return datasets


class Source(abc.ABC):
    """Source of a data set: its addresses, its files, and how to read them.

    A subclass sets these attributes and implements `read`.

    Attributes
    ----------
    name : str
        The registered name.
    title, homepage : str
        A title and the publisher's page, for people.
    sizes : dict
        The published number of images of each split, ``"train"`` and ``"test"``.
    image : tuple of int, or None
        Height, width and channels of an image that is not resized, or the length of a sequence of integers or of a row
        of features; None if the files determine them.
    examples : str or None
        What the examples are: ``"images"``, ``"sequences"`` of integers or ``"rows"`` of features. By default they are
        sequences if `image` is a length, and otherwise images.
    targets : tuple of str
        The names of the numbers to predict, with their units, if the labels are numbers and not classes.
    files : tuple of DataFile
        The files that must be in the data folder.
    downloads : tuple of Download
        The downloads that contain these files.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    homepage: ClassVar[str] = ""
    sizes: ClassVar[dict[str, int]]
    image: ClassVar[tuple[int, ...] | None] = None
    examples: ClassVar[str | None] = None
    targets: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[DataFile, ...]] = ()
    downloads: ClassVar[tuple[Download, ...]] = ()

    @abc.abstractmethod
    def read(
        self, split: str, *, root: str | os.PathLike[str] | None = None, size: tuple[int, int] | None = None
    ) -> Dataset:
        """Return one of `splits`.

        Parameters
        ----------
        split : str
            One of `splits`.
        root : path, optional
            The data folder that the user named.
        size : (int, int), optional
            Height and width to resize the images to.
        """

    def locate(self, root: str | os.PathLike[str] | None = None) -> Path:
        """Return the first data folder that holds all files.

        Raises
        ------
        DataError
            No folder has them. The message names the folders, and the command that fetches the data.
        """
        roots = data_roots(root)
        missing = {}
        for origin, folder in roots.items():
            missing[origin] = [file.path for file in self.files if file.find(folder) is None]
            if not missing[origin]:
                return folder
        looked = "; ".join(f"{folder} ({origin}): {self._absence(missing[origin])}" for origin, folder in roots.items())
        raise DataError(
            f"{self.name}: expected {len(self.files)} files such as {self.files[0].path}, looked in {looked}. "
            f"Run `tinygrad-lab data fetch {self.name}`, or name the folder that holds them with --data"
        )

    def _absence(self, missing: list[str]) -> str:
        return "nothing there" if len(missing) == len(self.files) else f"lacks {', '.join(missing)}"

    def splits(self, root: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
        """Return the splits that can be read: ``"train"``, ``"test"``, and ``"validation"`` if the data set has one."""
        return tuple(self.sizes)

    def count(self, split: str, root: str | os.PathLike[str] | None = None) -> int | None:
        """Return the number of images of a split without reading them, or None if that is unknown."""
        return self.sizes.get(split)

    def check_split(self, split: str, root: str | os.PathLike[str] | None = None) -> None:
        """Check the name of a split.

        Raises
        ------
        OptionError
            The split is unknown.
        """
        if split not in self.splits(root):
            raise OptionError(f"{self.name}: expected one of the splits {list(self.splits(root))}, got {split!r}")
