"""Finished runs, loaded for use: the network with its preprocessing, its predictions and its evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, backend_of, namespace
from tinygrad_lab.data import Compose, Dataset, find_source, load, pad_sequences
from tinygrad_lab.data.dataset import named_targets
from tinygrad_lab.data.resizing import resize_bilinear
from tinygrad_lab.data.sources.image_folder import read_picture
from tinygrad_lab.errors import ConfigError, DTypeError, NonFiniteError, OptionError, ShapeError, StateError
from tinygrad_lab.inspect.cut import cut
from tinygrad_lab.inspect.estimates import Estimate, RegressionReport, joined_estimates
from tinygrad_lab.inspect.planes import check_planes, plane_numbers, prune
from tinygrad_lab.inspect.prediction import Prediction, Report, joined
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.tables import html_table
from tinygrad_lab.tensor import Tensor, tensor
from tinygrad_lab.train.build import build_network, evaluation_loader, read_split
from tinygrad_lab.train.evaluation import device_of, numbers_of, probabilities
from tinygrad_lab.train.folder import count_test_look
from tinygrad_lab.train.manifest import MANIFEST, Manifest, read_manifest
from tinygrad_lab.train.recipe import Recipe, find_recipe
from tinygrad_lab.train.shapes import shape_after
from tinygrad_lab.weights import load_weights

_AT_ONCE = 256  # images of a list that are prepared together
_MODES = {1: "L", 3: "RGB"}  # number of channels -> Pillow's name for such pictures
_ROUNDING = 1e-3  # tolerance for floats outside of the range from 0 to 1


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A trained network with everything that it needs to be used. `load_run` makes it.

    Parameters
    ----------
    folder : Path
        The run's folder.
    recipe : Recipe
        The settings of the run.
    manifest : Manifest
        Classes, image shape, versions and plugins.
    model : Layer
        The network, in evaluation mode.
    preprocessing : Compose
        The steps that prepare images for evaluation, such as normalization.
    weights : str
        ``"best"`` or ``"last"``.
    """

    folder: Path
    recipe: Recipe
    manifest: Manifest
    model: Layer
    preprocessing: Compose
    weights: str

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image))
        labels = named_targets(self.targets) if self.targets else f"{len(self.classes)} classes"
        what = f"{self.recipe['model']['name']}, {self.noun} of shape {shape}, {labels}"
        return f"Run({self.folder}: {what}, {self.weights} weights)"

    def _repr_html_(self) -> str:
        rows = [
            ("folder", str(self.folder)),
            ("network", str(self.recipe["model"]["name"])),
            ("images", "×".join(map(str, self.image))),
            ("targets", ", ".join(self.targets)) if self.targets else ("classes", ", ".join(self.classes)),
            ("weights", self.weights),
            ("versions", ", ".join(f"{name} {version}" for name, version in self.manifest.versions.items())),
        ]
        return html_table(("run", ""), rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the network's outputs; none if it predicts numbers."""
        return tuple(self.manifest.classes)

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the numbers that the network predicts, in the order of its outputs; none for classes."""
        return tuple(self.manifest.targets)

    @property
    def image(self) -> tuple[int, ...]:
        """Height, width and channels of an image before preprocessing, or the length of a sequence or row.

        Images of other sizes are resized; short sequences are padded.
        """
        return self.manifest.image

    @property
    def noun(self) -> str:
        """What the examples are: images, sequences or rows."""
        return self.manifest.examples or ("images" if len(self.image) == 3 else "sequences or rows")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Height, width and channels of an image after preprocessing, or the length of a sequence or row."""
        return shape_after(self.preprocessing, self._unlabeled(np.zeros((2, *self.image), np.uint8)))

    def require_images(self) -> None:
        """Check that the examples are images.

        Raises
        ------
        ShapeError
            They are sequences or rows.
        """
        if len(self.image) != 3:
            raise ShapeError(
                f"{self._who}: expected images, got {self.noun} of length {self.image[0]}; tgl.load_run(folder) has "
                "the methods predict and evaluate for them"
            )

    def predict(self, images: Any) -> Any:
        """Return the probabilities of the classes for one or more images, sequences of integers, or rows.

        A network that was trained on numbers predicts numbers, in the targets' own units.

        Paths and PIL images are turned upright, converted to gray or color as the network needs it, and resized with
        smoothing, as the data set ``image_folder`` does. Arrays are resized as `Dataset.resize` does. Then the
        preprocessing of the run's test images follows.

        Parameters
        ----------
        images : array, path, PIL image, or a list of them
            Arrays are uint8, or floats from 0 to 1. A network for sequences takes one sequence or a list of sequences,
            none of them longer than in training. A network for rows takes numbers, as many for each row as in training.

        Returns
        -------
        Prediction or Estimate
            Probabilities of classes, or predicted numbers.

        Shapes
        ------
        An array is (N, H, W, C), one image (H, W, C), or (H, W) where the network takes gray images; for sequences and
        rows (N, T) or (T,).

        Raises
        ------
        DataError
            A path does not name a picture.
        ShapeError, DTypeError, OptionError
            An array has wrong axes, a wrong number of channels, values out of range, or a wrong dtype.
        NonFiniteError
            The outputs are not finite.
        """
        return self._joined([self._predict(self._unlabeled(batch)) for batch in self._batches(images)])

    def prepare(self, images: Any) -> Array:
        """Return images as the network takes them: in its size, and with the run's preprocessing.

        The functions that look inside `model` take such a batch, for example `grad_cam`.

        Parameters
        ----------
        images : array, path, PIL image, or a list of them
            As in `predict`.

        Returns
        -------
        array of float32, (N, H, W, C)
            On the network's device.

        Raises
        ------
        DataError, ShapeError, DTypeError, OptionError
            As in `predict`.
        """
        device = device_of(self.model)
        loaders = (
            evaluation_loader(self._unlabeled(batch), self.preprocessing, device=device)
            for batch in self._batches(images)
        )
        batches = [prepared for loader in loaders for prepared, _ in loader]
        return namespace(batches[0]).concatenate(batches)

    def data(self, split: str = "validation", *, root: str | os.PathLike[str] | None = None) -> Dataset:
        """Return the images of the run's own data, in the network's size, before preprocessing.

        Parameters
        ----------
        split : str
            ``"train"``, ``"validation"`` or ``"test"``.
        root : path, optional
            The data folder; by default the one that the run was trained with.

        Raises
        ------
        OptionError
            There is no such split.
        DataError
            The data are missing or damaged.
        """
        where = self.manifest.root if root is None else os.fspath(root)
        splits = find_source(self.recipe["data"]["name"]).splits(where)
        validated = self.recipe["data"].get("validation") or "validation" in splits
        there = {"train": True, "validation": validated, "test": "test" in splits}
        known = [name for name, is_there in there.items() if is_there]
        if split not in known:
            cure = "; train with data.validation=0.1 for validation images" if split == "validation" else ""
            raise OptionError(f"{self._who}: expected a split out of {known}, got {split!r}{cure}")
        return self._resized(read_split(self.recipe, split, root=where))

    def prune(self, planes: int | Sequence[int], *, layer: str | None = None) -> Run:
        """Return a run whose network has some planes of a layer set to zero. This run is not changed.

        Parameters
        ----------
        planes : int or sequence of int
            The planes, in addition to those that were pruned before.
        layer : str, optional
            The path of a layer with maps; by default the last one with maps of more than one pixel.

        Raises
        ------
        OptionError
            The network has no maps, there is no such layer, or the layer has fewer planes.
        ShapeError
            The layer's result is not (N, H, W, C).
        """
        found = cut(self.model, self.prepare(np.zeros((1, *self.image), np.uint8)), layer)
        more = plane_numbers(planes)
        check_planes(self.model.layers()[found.path], found.maps.shape[-1], more)
        return replace(self, model=prune(self.model, more, layer=found.path))

    def _unlabeled(self, images: Array) -> Dataset:
        labels: Any = np.zeros((len(images), len(self.targets)), np.float32) if self.targets else None
        labels = np.zeros(len(images), np.int64) if labels is None else labels
        return Dataset(images, labels, classes=self.classes, targets=self.targets, name="images")

    def evaluate(
        self, data: Dataset | str | None = None, *, split: str | None = None, root: str | os.PathLike[str] | None = None
    ) -> Any:
        """Return accuracy, confusion and calibration on labeled images, or the errors of predicted numbers.

        An evaluation on the test split of the run's own data counts as a look at these images (``test_looks`` in the
        run's ``result.json``). If it cannot be counted, for example in a read-only folder, a warning is logged.

        Parameters
        ----------
        data : Dataset or str, optional
            Another data set, or its registered name; by default the run's own. Its classes are matched by name.
        split : str, optional
            The split, such as ``"test"``, ``"validation"`` or ``"train"``. By default the test images. If the run's own
            data have no test images, or the recipe has ``training.test = "never"``, the default is the run's validation
            images. If another data set has no test images, the default is its first split.
        root : path, optional
            The data folder; by default the one that the run was trained with.

        Returns
        -------
        Report or RegressionReport
            For classes, or for target numbers.

        Raises
        ------
        DataError
            The data are missing or damaged.
        OptionError
            There is no such split, or the data have no images of the run's classes, or other targets.
        ShapeError
            The images have another number of channels, or the sequences or rows another length.
        """
        title, given, own = getattr(data, "name", None), data, self.recipe["data"]["name"]
        if not isinstance(data, Dataset):
            data, title = self._load(data, split, self.manifest.root if root is None else os.fspath(root))
        found = self._renumbered(data)
        if len(self.image) != len(found.shape) or (len(self.image) == 1 and found.shape != self.image):
            what = f"{self.noun} of shape {self.image}"
            raise ShapeError(f"{self._who}: expected {what}, got {found.shape} in {found.name!r}")
        if found.shape[-1] != self.image[-1]:
            raise ShapeError(self._misfit(f"{found.shape[-1]} in {found.name!r}"))
        prediction = self._predict(self._resized(found))
        if not isinstance(given, Dataset) and title == f"{own} test":
            count_test_look(self.folder)
        if isinstance(prediction, Estimate):
            return RegressionReport(str(title), prediction, found.labels)
        return Report(str(title), prediction, found.labels)

    def _load(self, name: str | None, split: str | None, root: str | None) -> tuple[Dataset, str]:
        """Return a split of another data set or of the run's own, and its name."""
        own = self.recipe["data"]["name"]
        splits = find_source(name or own).splits(root)
        if name is not None:
            split = split or ("test" if "test" in splits else splits[0])
            size = (self.image[0], self.image[1]) if len(self.image) == 3 else None
            return load(name, split=split, root=root, size=size), f"{name} {split}"
        hidden = self.recipe["training"].get("test") == "never"
        split = split or ("test" if "test" in splits and not hidden else "validation")
        return self.data(split, root=root), f"{own} {split}"

    def _resized(self, data: Dataset) -> Dataset:
        """Return images in the network's size, and sequences or rows as they are."""
        return data.resize((self.image[0], self.image[1])) if data.noun == "images" else data

    def _renumbered(self, data: Dataset) -> Dataset:
        """Return a data set with this network's targets, or whose labels are numbered like this network's classes."""
        if data.targets != self.targets:
            wanted = f"targets {list(self.targets)}" if self.targets else f"classes {list(self.classes)}"
            got = f"targets {list(data.targets)}" if data.targets else f"classes {list(data.classes)}"
            raise OptionError(f"{self._who}: expected data with the {wanted}, got {data.name!r} with the {got}")
        if data.classes == self.classes:
            return data
        shared = [name for name in self.classes if name in data.classes]
        if not shared:
            raise OptionError(
                f"{self._who}: expected images of the classes {list(self.classes)}, got {list(data.classes)}; "
                "rename the classes"
            )
        kept = data.keep_classes(shared)
        labels = np.array([self.classes.index(name) for name in shared])[kept.labels]
        return Dataset(kept.images, labels, classes=self.classes, name=kept.name, index=kept.index)

    @property
    def _who(self) -> str:
        return f"run {self.folder}"

    def _misfit(self, got: str) -> str:
        return f"{self._who}: expected images of {self.image[2]} channels (the last axis), got {got}"

    def _predict(self, data: Dataset) -> Prediction | Estimate:
        """Return the predictions for images of the network's size."""
        found = []
        with no_grad(), one_blas_thread():
            for images, _ in evaluation_loader(data, self.preprocessing, device=device_of(self.model)):
                found.append(self._found(self.model(tensor(images))))
        return self._joined(found)

    def _joined(self, parts: Sequence[Any]) -> Prediction | Estimate:
        return joined_estimates(parts) if self.targets else joined(parts)

    def _numbers(self, outputs: Any) -> Array:
        """Return the network's outputs in the targets' own units, as an array of NumPy."""
        values = numbers_of(outputs, self.preprocessing)
        return backend_of(values).to_numpy(values)

    def _found(self, outputs: Any) -> Prediction | Estimate:
        """Return the probabilities or numbers that the network's outputs are."""
        array = self._numbers(outputs) if self.targets else probabilities(outputs)
        if not np.isfinite(array).all():
            raise NonFiniteError(f"{self._who}: expected finite outputs, got NaN; look at the images and the weights")
        if self.targets:
            return Estimate(self.targets, array)
        more = (f"output {i}" for i in range(len(self.classes), array.shape[1]))  # outputs without a class
        return Prediction((*self.classes, *more), array)

    def _batches(self, images: Any) -> Iterator[Array]:
        """Yield images of the network's size: uint8 or float32, (N, H, W, C), or sequences or rows (N, T)."""
        if len(self.image) == 1:
            yield self._rows(images)
            return
        if not isinstance(images, (list, tuple)):
            yield self._sized(images)
            return
        if not images:
            raise OptionError(f"{self._who}: expected at least one image, got an empty {type(images).__name__}")
        for first in range(0, len(images), _AT_ONCE):
            parts = [self._sized(image) for image in images[first : first + _AT_ONCE]]
            if len({part.dtype for part in parts}) > 1:
                parts = [np.divide(p, 255, dtype=np.float32) if p.dtype == np.uint8 else p for p in parts]
            yield np.concatenate(parts)

    def _rows(self, given: Any) -> Array:
        """Return padded sequences, or rows of features."""
        given = unbox(given) if isinstance(given, Tensor) else given
        if isinstance(given, (str, os.PathLike)) or not hasattr(given, "__len__"):
            raise DTypeError(f"{self._who}: expected {self.noun} of numbers, got {type(given).__name__}")
        given = given if not len(given) or np.ndim(given[0]) else [given]
        if not len(given):
            raise OptionError(f"{self._who}: expected at least one of the {self.noun}, got none")
        if self.noun == "rows":
            return self._features(given)
        floats = all(np.asarray(row).dtype.kind == "f" and np.shape(row) == self.image for row in given)
        if floats and self.noun != "sequences":  # an older run, whose manifest does not distinguish them
            return np.asarray(given, np.float32)
        return pad_sequences(given, self.image[0])

    def _features(self, given: Any) -> Array:
        """Return rows of features as float32, each as long as in training."""
        for number, row in enumerate(map(np.asarray, given)):
            if row.shape != self.image:
                what = f"rows of {self.image[0]} features, as in training"
                raise ShapeError(f"{self._who}: expected {what}, got shape {row.shape} of row {number}")
            if row.dtype.kind not in "fiub":
                raise DTypeError(f"{self._who}: expected rows of numbers, got {row.dtype} in row {number}")
        return np.asarray(given, np.float32)

    def _sized(self, image: Any) -> Array:
        """Return one image, or an array of several, in the network's size: (N, H, W, C)."""
        height, width, channels = self.image
        picture = Path(image) if isinstance(image, (str, os.PathLike)) else image
        if not isinstance(picture, Path) and not hasattr(picture, "getbands"):  # a method of every PIL image
            return resize_bilinear(self._checked(picture), (height, width))
        if channels not in _MODES:
            raise ShapeError(self._misfit("a picture, which has 1 or 3; give an array"))
        return read_picture(picture, (height, width), mode=_MODES[channels])[None]  # (H, W, C) -> (1, H, W, C)

    def _checked(self, given: Any) -> Array:
        """Return an array that a user gave as uint8 or float32, (N, H, W, C)."""
        array = given if isinstance(given, np.ndarray) else unbox(given) if isinstance(given, Tensor) else None
        if array is None:
            what = "arrays, paths or PIL images, one or a list of them"
            raise DTypeError(f"{self._who}: expected {what}, got {type(given).__name__}")
        channels, shape = self.image[2], array.shape
        if array.ndim == 2 and channels == 1:
            array = array[..., None]  # (H, W) -> (H, W, 1)
        if array.ndim == 3:
            array = array[None]  # (H, W, C) -> (1, H, W, C)
        if not len(array):
            raise OptionError(f"{self._who}: expected at least one image, got none (shape {shape})")
        if array.ndim != 4 or 0 in shape:
            raise ShapeError(f"{self._who}: expected images (N, H, W, C) or one (H, W, C), got shape {shape}")
        if array.shape[3] != channels:
            first = array.shape[1] == channels
            cure = "move the channels to the end with np.moveaxis(x, -3, -1)" if first else "convert them first"
            raise ShapeError(self._misfit(f"{array.shape[3]} in shape {shape}; {cure}"))
        if array.dtype == np.uint8:
            return array
        if array.dtype.kind != "f":
            raise DTypeError(f"{self._who}: expected uint8 or floats from 0 to 1, got {array.dtype}; x.astype('uint8')")
        low, high = float(array.min()), float(array.max())
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # NaN is in no range
            cure = "divide by 255" if low >= 0 else "leave out your own normalization: predict does it"
            raise OptionError(f"{self._who}: expected floats from 0 to 1, got {low:g} to {high:g}; {cure}")
        return array.astype(np.float32)


def load_run(folder: str | os.PathLike[str], *, weights: str = "best", device: str = "cpu") -> Run:
    """Load the network of a finished run, in evaluation mode, with its preprocessing and classes.

    Parameters
    ----------
    folder : path
        The run's folder, such as ``runs/lenet5-20261121-093000``.
    weights : str
        ``"best"`` for the weights of the epoch that is best on the validation images, or ``"last"``. A run without
        validation images has only the last weights, and ``"best"`` loads them.
    device : str
        The device to compute on.

    Raises
    ------
    ConfigError
        There is no such run.
    StateError
        The run is not finished, or a file of it is damaged.
    PluginError
        A plugin is missing; the message names the distribution that it came with.
    OptionError
        The weights are neither ``"best"`` nor ``"last"``.

    Examples
    --------
    >>> from tinygrad_lab.train import find_recipe, run_recipe
    >>> from tinygrad_lab.train.progress import Reporter
    >>> recipe = find_recipe("lenet5").override(["training.epochs=1", "data.per_class=20"])
    >>> result = run_recipe(recipe, Reporter(), runs=Path("runs"))
    >>> run = load_run(result["run"])
    >>> run.image, run.classes[:3], run.weights
    ((32, 32, 1), ('0', '1', '2'), 'best')
    >>> run.predict(np.zeros((2, 8, 8), np.uint8)[..., None]).probabilities.shape
    (2, 10)
    """
    if weights not in ("best", "last"):
        raise OptionError(f"load_run: expected weights='best' or 'last', got {weights!r}")
    folder = Path(folder)
    who, made_by = f"run {folder}", folder / "recipe.json"
    if not made_by.is_file():
        got = "a folder without recipe.json" if folder.is_dir() else "no such folder"
        raise ConfigError(f"{who}: expected the folder of a run, got {got}; tinygrad-lab train makes one")
    recipe = find_recipe(str(made_by))
    if not (folder / "weights.safetensors").exists():
        cure = f"finish it with tinygrad-lab train --resume {folder}"
        raise StateError(f"{who}: expected a finished run, got one without weights.safetensors; {cure}")
    again = f"train it again with tinygrad-lab train {made_by}"
    writes = f"tinygrad-lab train --resume {folder} writes it again"
    if not (folder / MANIFEST).exists():
        raise StateError(f"{who}: expected {MANIFEST} with the classes and the preprocessing, got none; {writes}")
    manifest = read_manifest(folder, who, cure=f"delete this file; then {writes}")
    manifest.check_plugins(who, training=False)
    best = folder / "weights-best.safetensors"  # of a run with validation images: a share, or the data's own split
    used = "best" if weights == "best" and (recipe["data"].get("validation") or best.exists()) else "last"
    model = build_network(recipe)
    try:
        load_weights(model, best if used == "best" else folder / "weights.safetensors")
    except StateError as error:
        raise StateError(f"{who}: {error}; {again}") from error
    model.to(device)
    model.eval()
    return Run(folder, recipe, manifest, model, Compose.from_config(manifest.preprocessing), used)
