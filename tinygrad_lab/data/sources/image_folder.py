"""Folder of pictures with one subfolder for each class."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.data.files import with_home
from tinygrad_lab.data.sources.source import Source
from tinygrad_lab.errors import DataError, warn_once
from tinygrad_lab.limits import check_memory

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
_OTHERS = frozenset({".heic", ".heif", ".avif", ".jxl", ".jp2", ".tga", ".psd", ".svg", ".dng", ".cr2", ".nef", ".exr"})
_VALIDATION = ("val", "valid", "validation")  # names of a folder of validation pictures
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")  # one of the other formats of Pillow starts a program


class ImageFolder(Source):
    """Pictures in ``root/train/CLASS/*`` and ``root/test/CLASS/*``, or training pictures alone in ``root/CLASS/*``.

    A folder ``val``, ``valid`` or ``validation`` beside ``train`` holds the validation pictures. The classes are the
    names of the subfolders in sorted order. If there is a folder ``train``, its subfolders define the classes of all
    splits. Pictures of 8 bits per channel are read in sorted order, turned upright by their EXIF data, and converted to
    RGB. If `size` is given, they are resized with smoothing (each axis independently). Otherwise they must all have the
    same size.
    """

    name = "image_folder"
    title = "A folder of pictures, one subfolder for each class"
    sizes: ClassVar[dict[str, int]] = {}

    def splits(self, root: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
        """Return ``"train"`` and, if there are such folders, ``"test"`` and ``"validation"``."""
        top = self._root(root)
        return ("train", *(split for split in ("test", "validation") if _has_classes(_folder(top, split))))

    def count(self, split: str, root: str | os.PathLike[str] | None = None) -> int | None:
        """Return the number of pictures in the folder of a split."""
        return len(find_pictures(_folder(self._root(root), split)))

    def _root(self, root: str | os.PathLike[str] | None) -> Path:
        if root is None:
            raise DataError(f"{self.name}: expected the folder that holds the pictures, got none; name it with --data")
        return with_home(root)

    def read(
        self, split: str, *, root: str | os.PathLike[str] | None = None, size: tuple[int, int] | None = None
    ) -> Dataset:
        """Return a split. See `Source.read`.

        Before training pictures are read, the names in the folders of the other splits are checked too.

        Raises
        ------
        DataError
            The folder is missing, has no pictures, or holds one that cannot be read; a class has no training pictures;
            or the pictures differ in size and `size` is not given.
        """
        self.check_split(split, root)
        folder, classes, found = self._listed(split, root)
        if split == "train":
            for other in self.splits(root)[1:]:
                self._listed(other, root)
        paths = [(path, classes.index(name)) for name, pictures in found.items() for path in pictures]
        _name_left_out(folder)
        images = _read_all([path for path, _ in paths], size)
        return Dataset(images, np.array([label for _, label in paths]), classes=classes, name=folder.name)

    def _listed(
        self, split: str, root: str | os.PathLike[str] | None
    ) -> tuple[Path, tuple[str, ...], dict[str, list[Path]]]:
        """Return the folder of a split, the classes, and the pictures in each of its subfolders."""
        top = self._root(root)
        train = top / "train"
        if split == "train" and not train.is_dir() and (beside := self.splits(root)[1:]):
            raise DataError(f"{self.name}: expected {train} beside {_folder(top, beside[0])}, found none")
        folder = _folder(top, split) if _folder(top, split).is_dir() else top
        if not folder.is_dir():
            raise DataError(f"{self.name}: expected a folder of pictures at {folder}, found none")
        found = {name: find_pictures(folder / name) for name in _classes(folder)}
        if not any(found.values()):
            held = f"only the empty subfolders {list(found)}" if found else "no subfolders"
            raise DataError(
                f"{self.name}: expected pictures in subfolders of {folder}, one for each class, found {held}"
            )
        if split == "train" and (empty := [name for name, pictures in found.items() if not pictures]):
            raise DataError(
                f"{self.name}: expected pictures in every subfolder of {folder}, since each is a class, found none in "
                f"{empty}; put some there, or remove these folders"
            )
        classes = _classes(train) if train.is_dir() else tuple(found)
        if strangers := [name for name in found if name not in classes]:
            raise DataError(
                f"{self.name}: expected only the classes of {train}, {list(classes)}, in {folder}, also got "
                f"{strangers}; rename these folders, or add pictures of these classes to train"
            )
        return folder, classes, found


def _folder(top: Path, split: str) -> Path:
    """Return the folder of a split, whether or not it exists."""
    names = _VALIDATION if split == "validation" else (split,)
    return next((top / name for name in names if (top / name).is_dir()), top / names[0])


def _name_left_out(folder: Path) -> None:
    """Log a warning about pictures in formats that are not read."""
    left = Counter(path.suffix.lower() for path in folder.rglob("*") if path.suffix.lower() in _OTHERS)
    if left:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(left.items()))
        warn_once(f"{folder}: left out pictures of formats that are not read ({counts}); convert them to PNG or JPEG")


def _has_classes(folder: Path) -> bool:
    """Return whether a folder is a split and not a class of that name: whether it contains folders."""
    return folder.is_dir() and bool(_classes(folder))


def _classes(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))


def find_pictures(folder: Path) -> list[Path]:
    """Return the pictures in a folder and its subfolders, in sorted order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())


def _read_all(paths: list[Path], size: tuple[int, int] | None) -> Array:
    """Return pictures of one size: uint8, (N, H, W, 3)."""
    first = read_picture(paths[0], size)
    check_memory(
        DataError, f"{paths[0].parent}", len(paths) * first.nbytes, cure="give a smaller size, or take fewer pictures"
    )
    images = np.empty((len(paths), *first.shape), np.uint8)
    for number, path in enumerate(paths):
        image = read_picture(path, size) if number else first
        if image.shape != first.shape:
            raise DataError(
                f"{path}: expected {first.shape[0]}x{first.shape[1]} pixels (height x width) as in {paths[0]}, "
                f"got {image.shape[0]}x{image.shape[1]}; set a size to resize to: size = [32, 32] in a recipe's table "
                "data, or size=(32, 32) in load"
            )
        images[number] = image
    return images


def read_picture(path: Any, size: tuple[int, int] | None, *, mode: str = "RGB") -> Array:
    """Return one picture upright, and resized with smoothing if a size is given.

    Parameters
    ----------
    path : Path or PIL.Image.Image
        The picture: 8 bits a channel.
    size : (int, int) or None
        Height and width to resize to, both sides independently.
    mode : str
        ``"RGB"``, or ``"L"`` for one channel of brightness.

    Returns
    -------
    array of uint8, (H, W, 3) or (H, W, 1)

    Raises
    ------
    DataError
        It cannot be read as a picture, or has more than 8 bits a channel.
    """
    pillow, exif = _pillow()
    opened = isinstance(path, pillow.Image)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unusual metadata
            warnings.simplefilter("error", pillow.DecompressionBombWarning)  # a small file can claim any size
            with nullcontext(path) if opened else pillow.open(path, formats=_FORMATS) as picture:
                stored = picture.mode
                upright = exif.exif_transpose(picture).convert(mode)
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise DataError(f"{path}: cannot be read as a picture: {error}; expected {', '.join(_FORMATS)}") from error
    if stored.startswith(("I", "F")):  # integers or floats, which Pillow would clip at 255
        raise DataError(
            f"{path}: expected a picture of 8 bits a channel, got more (Pillow's mode {stored!r}); convert it to 8 bits"
        )
    if size is not None:
        upright = upright.resize((size[1], size[0]), pillow.Resampling.BILINEAR)
    return np.asarray(upright).reshape(upright.height, upright.width, -1)  # gray: (H, W) -> (H, W, 1)


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps  # optional
    except ImportError as error:
        raise DataError("image_folder: expected Pillow, got no such package; pip install pillow") from error
    return Image, ImageOps
