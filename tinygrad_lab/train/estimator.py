"""Classifier with scikit-learn's interface: a recipe's training on arrays, in pipelines and searches."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y, validate_data

from tinygrad_lab import registry
from tinygrad_lab.arguments import fits, to_python
from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.backend import Array, transfer
from tinygrad_lab.data import Dataset, Loader
from tinygrad_lab.data.resizing import as_size, resize_bilinear
from tinygrad_lab.errors import ConfigError, NonFiniteError, OptionError, ShapeError
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.tensor import tensor
from tinygrad_lab.train.build import (
    assemble_trainer,
    build_network,
    evaluation_loader,
    fitted_pipeline,
    needs_validation,
)
from tinygrad_lab.train.evaluation import device_of, divergence, not_learned, probabilities
from tinygrad_lab.train.recipe import BATCH_SIZE, Recipe, find_recipe, setting_text
from tinygrad_lab.train.shapes import check_images
from tinygrad_lab.weights import begin_with

__all__ = ["ImageClassifier"]

_TABLES = ("model", "data", "loss", "optimizer", "schedule", "augment", "training", "transfer")
_DATA = ("data__batch_size", "data__seed", "data__size", "data__validation")
_AT_ONCE = 256  # examples that the network sees together in prediction
_HIDDEN = 100  # features of the hidden layer of a network for tables


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Classifier of images or of rows of a table, trained by a recipe.

    `fit` trains the recipe's network with its loss, optimizer, schedule and augmentation on the given arrays. Clones,
    pipelines and searches such as ``GridSearchCV`` work as with any estimator of scikit-learn.

    Parameters
    ----------
    recipe : str or Recipe
        The name of a recipe, the path of its file, or the recipe itself. Its data set is not read.
    epochs : int, optional
        The number of epochs; by default the recipe's.
    image : (height, width, channels), optional
        The shape of the image in a row: with it, X of shape (N, height * width * channels) holds images.
    random_state : int, RandomState or None
        The seed of weights, order and augmentation. None is the recipe's seed, so `fit` is reproducible.
    device : str
        The device to train and predict on.
    **settings
        Other settings of the recipe, with two underscores for the dot: ``optimizer__lr=0.05``, ``data__batch_size=32``,
        ``augment__rotation__degrees=5``, or a whole table, ``augment=[]``. ``data__size=(64, 64)`` is the size to which
        images are resized.

    Attributes
    ----------
    classes_ : array
        The classes, sorted.
    model_ : Layer
        The trained network, in evaluation mode.
    preprocessing_ : Compose
        The steps of the recipe that prepare images for evaluation.
    recipe_ : Recipe
        The recipe as it was used.
    history_ : list of dict
        The metrics of each epoch.
    n_features_in_ : int
        The number of values in an example.

    Shapes
    ------
    X : images (N, H, W, C) or (N, H, W), or rows (N, features); y : (N,)

    Notes
    -----
    Images are resized to the size that the network expects. Values of dtype uint8 are brightness from 0 to 255, in
    `fit` and in `predict`. Values of other dtypes are divided by the largest absolute value in `fit`, if that is above
    1, or by 255 if `fit` got uint8. Pairs of dtypes that leave the scale open are refused: floats up to 1 after a `fit`
    on uint8, and uint8 after a `fit` on other values whose largest is above 1 but not between 127 and 255.

    Without `image`, rows are features, not images. If the recipe's network is for images, a dense network with one
    hidden layer of 100 features replaces it, the features of X are standardized, and there is no augmentation.

    All given examples are trained on, unless the recipe's schedule or patience needs validation data: then
    ``data__validation`` is the share that is set aside. The weights are those of the last epoch. If the training loss
    does not fall below that of equal probabilities, as after too few updates, `fit` warns (``ConvergenceWarning``).

    Raises
    ------
    OptionError
        In the constructor and in `set_params`: a setting belongs to no table of recipes.
    ConfigError, OptionError, ShapeError
        In `fit`: a setting is invalid, or X does not fit the network. In `predict`: the shape or the scale of X does
        not fit that in `fit`.

    References
    ----------
    L. Buitinck et al., "API design for machine learning software: experiences from the scikit-learn project", ECML PKDD
    workshop, 2013.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = ImageClassifier("lenet5", epochs=2, image=(8, 8, 1), optimizer__lr=0.05).fit(X[:300], y[:300])
    >>> model.predict_proba(X[300:302]).shape, model.classes_[:3]
    ((2, 10), array([0, 1, 2]))
    """

    def __init__(
        self,
        recipe: str | Recipe = "lenet5",
        *,
        epochs: int | None = None,
        image: Sequence[int] | None = None,
        random_state: Any = None,
        device: str = "cpu",
        **settings: Any,
    ) -> None:
        self.recipe = recipe
        self.epochs = epochs
        self.image = image
        self.random_state = random_state
        self.device = device
        self._set(settings)

    def _set(self, settings: dict[str, Any]) -> None:
        """Keep settings as attributes, where scikit-learn looks for parameters; it requires `fit` to check values.

        scikit-learn's checks also set a parameter `settings`, the constructor's last one, so only `fit` refuses it.
        """
        self._check_names(name for name in settings if name != "settings")
        for name, value in settings.items():
            setattr(self, name, value)
        if settings:  # scikit-learn allows no other attributes before `fit`
            self._names = tuple(dict.fromkeys((*getattr(self, "_names", ()), *settings)))

    def _check_names(self, names: Iterable[str]) -> None:
        """Refuse names that begin with no table of recipes."""
        if unknown := [name for name in names if name.partition("__")[0] not in _TABLES]:
            known = f"options out of {sorted(super().get_params(deep=False))} or settings such as optimizer__lr"
            raise OptionError(f"ImageClassifier: expected {known}, got {unknown[0]!r}")

    def _settings(self) -> dict[str, Any]:
        """Return the settings that the constructor or `set_params` got."""
        return {name: getattr(self, name) for name in getattr(self, "_names", ())}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the options and the settings."""
        return {**super().get_params(deep), **self._settings()}

    def set_params(self, **params: Any) -> ImageClassifier:
        """Set options or settings, and return the estimator; on an unknown name, change nothing."""
        own = super().get_params(deep=False)
        self._set({name: value for name, value in params.items() if name not in own})
        super().set_params(**{name: value for name, value in params.items() if name in own})
        return self

    def fit(self, X: Any, y: Any) -> ImageClassifier:
        """Train a new network on labeled examples.

        Parameters
        ----------
        X : array
            Images or rows.
        y : array
            The class of each example, of any type.

        Returns
        -------
        ImageClassifier
            The estimator itself.
        """
        X, y = self._checked_fit(X, y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        recipe = self._settled()
        self._table = self.image is None and X.ndim == 2
        self._offset: Any
        self._scale: Any
        self._offset, self._scale = _standard(X) if self._table else (0.0, _brightest(X))
        self._bytes = X.dtype == np.uint8
        size = self._size(recipe, X)
        self.recipe_ = self._fitting(recipe, X, size)
        self._shape = X.shape[1:] if self._table else (*size, X.shape[3]) if size else X.shape[1:]
        data = Dataset(self._prepared(X), labels, classes=[str(name) for name in self.classes_], name="X")
        with one_blas_thread(), np.errstate(all="ignore"):  # the trainer checks each loss
            self._train(data)
        return self

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each example, (N,)."""
        probable = self.predict_proba(X).argmax(axis=1)
        return self.classes_[probable]

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class for each example, (N, classes), in the order of `classes_`."""
        check_is_fitted(self)
        X, device, found = self._checked(X), device_of(self.model_), []
        with no_grad(), one_blas_thread():
            for first in range(0, len(X), _AT_ONCE):
                images = self._prepared(X[first : first + _AT_ONCE])
                if images.dtype == np.uint8:
                    images = np.divide(images, 255, dtype=np.float32)
                labels, rng = np.zeros(len(images), np.int64), np.random.default_rng(0)  # which no step uses
                images, _ = self.preprocessing_(images, labels, rng=rng)
                found.append(probabilities(self.model_(tensor(transfer(images, device)))))
        joined = np.concatenate(found)
        if not np.isfinite(joined).all():
            raise NonFiniteError("ImageClassifier: expected finite outputs, got NaN; look at the values of X")
        return joined if len(self.classes_) > 1 else np.ones((len(X), 1), np.float32)

    def _settled(self) -> Recipe:
        """Return the recipe with all settings."""
        if not isinstance(self.recipe, (str, Recipe)):
            raise OptionError(f"ImageClassifier: expected the name of a recipe or a Recipe, got {self.recipe!r:.80}")
        recipe = self.recipe if isinstance(self.recipe, Recipe) else find_recipe(self.recipe)
        settings = self._settings()
        self._check_names(settings)
        if unused := [name for name in settings if name.startswith("data") and name not in _DATA]:
            why = "because fit gets the data themselves"
            known = f"no settings of the data except {', '.join(_DATA)}, {why}"
            raise OptionError(f"ImageClassifier: expected {known}, got {unused[0]!r}; leave it out")
        if self.epochs is not None:
            settings["training__epochs"] = self.epochs
        if self.random_state is not None:
            seed = self.random_state
            settings["training__seed"] = seed if fits(seed, int) else check_random_state(seed).randint(2**31 - 1)
        return recipe.override([f"{name.replace('__', '.')}={_text(value)}" for name, value in settings.items()])

    def _size(self, recipe: Recipe, X: Array) -> tuple[int, int] | None:
        """Return the height and width to which images are resized; None leaves them as they are."""
        if "size" in recipe["data"]:
            return as_size(recipe["data"]["size"], "ImageClassifier: data__size")
        expected = _option(recipe, "image")
        return as_size(recipe["model"].get("image", expected.default)[:2]) if expected else None

    def _fitting(self, recipe: Recipe, X: Array, size: tuple[int, int] | None) -> Recipe:
        """Return the recipe with a network for the shape of X and for the number of classes."""
        tables, classes = dict(recipe.tables), len(self.classes_)
        if self._table and _option(recipe, "image"):
            tables["model"] = _dense_network(X.shape[1], classes)
            tables.pop("augment", None)
            tables.pop("transfer", None)
        else:
            given = {"image": [*size, X.shape[3]] if size and not self._table else None, "classes": classes}
            taken = {name: value for name, value in given.items() if value and _option(recipe, name)}
            tables["model"] = {**tables["model"], **taken}
        return Recipe(recipe.name, tables, recipe.file)

    def _train(self, data: Dataset) -> None:
        recipe, validation = self.recipe_, None
        augment = fitted_pipeline(recipe, data)
        self.preprocessing_ = augment.for_evaluation()
        model = build_network(recipe)
        check_images(recipe, model, augment, data)
        self._check_outputs(model)
        begin_with(model, **recipe["transfer"])
        if needs_validation(recipe):
            if not (share := recipe["data"].get("validation")):
                raise ConfigError(f"ImageClassifier: expected data__validation for {recipe.name!r}, got none; set 0.1")
            data, judged = data.split(share, seed=recipe["data"].get("seed", 0))
            validation = evaluation_loader(judged, augment, device=self.device)
        seed, size = recipe["training"].get("seed", 0), recipe["data"].get("batch_size", BATCH_SIZE)
        batches = Loader(data, batch_size=size, seed=seed, augment=augment, workers=0, device=self.device)
        trainer = assemble_trainer(recipe, model, batches, validation=validation)
        trainer.train(recipe["training"]["epochs"])
        self.model_, self.history_ = model.eval(), [dict[str, Any](metrics) for metrics in trainer.history]
        cross_entropy = recipe["loss"]["name"] == "softmax_cross_entropy"
        if why := divergence(self.history_, classes=len(self.classes_) if cross_entropy else None):
            warnings.warn(f"ImageClassifier: {not_learned(why)}", ConvergenceWarning, stacklevel=3)

    def _check_outputs(self, model: Layer) -> None:
        """Refuse a network with another number of outputs than classes; a single output serves two classes."""
        try:
            outputs = model.output_shape((1, *self._shape))
        except NotImplementedError:
            return
        count = len(self.classes_)
        if fits(outputs, tuple[int, int]) and outputs[1] != count and (outputs[1], count) != (1, 2):
            raise ConfigError(
                f"ImageClassifier: expected a network of {count} outputs, one for each class, got {outputs[1]}; change "
                "the last layer of the recipe's network"
            )

    def _checked_fit(self, X: Any, y: Any) -> tuple[Array, Array]:
        """Return checked examples and their classes; note the number of values in an example."""
        if _is_table(X):
            X, y = validate_data(self, X, y, **_NUMBERS)
        else:
            X, y = check_X_y(X, y, ensure_2d=False, allow_nd=True, estimator=self, **_NUMBERS)
        check_classification_targets(y)
        X = self._as_images(X)
        self.n_features_in_ = math.prod(X.shape[1:])
        return X, y

    def _checked(self, X: Any) -> Array:
        """Return checked examples: rows or images as in `fit`, with as many features or channels."""
        if _is_table(X):
            X = validate_data(self, X, reset=False, **_NUMBERS)
        else:
            X = check_array(X, ensure_2d=False, allow_nd=True, estimator=self, **_NUMBERS)
        X = self._as_images(X)
        if (X.ndim == 2) != self._table or X.shape[-1] != self._shape[-1]:
            expected = f"rows of {self._shape[-1]} features" if self._table else f"images of {self._shape[-1]} channels"
            raise ShapeError(f"ImageClassifier: expected {expected}, as in fit, got X of shape {X.shape}")
        if not self._table:
            self._check_scale(X)
        return X

    def _check_scale(self, X: Array) -> None:
        """Refuse images whose scale cannot be known, because their dtype differs from that in `fit`."""
        if self._bytes and X.dtype.kind == "f" and 0 < _largest(X) <= 1:
            raise OptionError(
                "ImageClassifier: expected brightness from 0 to 255, because X in fit was of uint8, got floats up to "
                f"{_largest(X):g}; give uint8, or multiply X by 255 if its white is 1"
            )
        if X.dtype == np.uint8 and not (self._bytes or self._scale == 1 or 127 < self._scale <= 255):
            raise OptionError(
                f"ImageClassifier: expected X on the scale of fit, where the largest value was {self._scale:g}, got "
                "uint8, whose white is 255; give X in the dtype and on the scale of fit"
            )

    def _as_images(self, X: Array) -> Array:
        """Return rows as they are, or images (N, H, W, C)."""
        if self.image is not None and X.ndim == 2:
            shape = self.image
            if not fits(shape, tuple[int, int, int]) or math.prod(shape) != X.shape[1]:
                raise ShapeError(
                    f"ImageClassifier: expected image=(height, width, channels) of the {X.shape[1]} features in a row, "
                    f"got {self.image!r}"
                )
            return X.reshape(-1, *shape)  # (N, H*W*C) -> (N, H, W, C)
        if X.ndim == 3:
            return X[..., None]  # (N, H, W) -> (N, H, W, 1)
        if X.ndim == 4 and X.shape[1] in (1, 3) and X.shape[3] > 4:
            cure = "move the channels to the end with np.moveaxis(X, 1, -1)"
            raise ShapeError(f"ImageClassifier: expected images (N, H, W, C), got X of shape {X.shape}; {cure}")
        if X.ndim not in (2, 4):
            raise ShapeError(
                f"ImageClassifier: expected X as rows (N, features) or images (N, H, W, C) or (N, H, W), got {X.shape}"
            )
        return X

    def _prepared(self, X: Array) -> Array:
        """Return standardized rows, or images in the network's size: bytes, or float32 from 0 to 1."""
        if self._table:
            return ((X - self._offset) / self._scale).astype(np.float32)
        if X.dtype != np.uint8:
            X = np.divide(X, self._scale, out=np.empty(X.shape, np.float32), casting="same_kind")  # with no large copy
        return resize_bilinear(X, self._shape[:2])

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags of the estimator, which here allow images as X."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


_NUMBERS: dict[str, Any] = {"dtype": "numeric"}


def _is_table(X: Any) -> bool:
    """Return whether scikit-learn's checks of rows and columns apply: to all but arrays with more axes."""
    if hasattr(X, "ndim"):
        return bool(X.ndim <= 2)
    try:
        return not isinstance(X, (list, tuple)) or np.ndim(X) <= 2
    except ValueError:  # rows of different lengths, which the checks name
        return True


def _text(value: Any) -> str:
    """Return a setting's value as ``--set`` takes it."""
    value = to_python(value)
    return setting_text(list(value) if isinstance(value, tuple) else value)


def _option(recipe: Recipe, name: str) -> inspect.Parameter | None:
    """Return an option of the recipe's network, or None if it has no such option."""
    network = recipe["model"]["name"]
    found = inspect.signature(registry.models[network]).parameters if network in registry.models else {}
    return found.get(name)


def _standard(X: Array) -> tuple[Array, Array]:
    """Return mean and deviation of each feature; a constant one has the deviation 1."""
    largest = np.abs(X).max(axis=0).astype(np.float64)
    largest = np.where(largest > 0, largest, 1.0)
    unit = X / largest  # whose squares do not overflow
    deviation = unit.std(axis=0) * largest
    return unit.mean(axis=0) * largest, np.where(deviation > 0, deviation, 1.0)


def _brightest(X: Array) -> float:
    """Return the value that counts as white."""
    return 255.0 if X.dtype == np.uint8 else max(1.0, _largest(X))


def _largest(X: Array) -> float:
    """Return the largest absolute value."""
    return max(float(X.max()), -float(X.min()))


def _dense_network(features: int, classes: int) -> dict[str, Any]:
    """Return the table `model` of a network for rows."""
    hidden = {"name": "dense", "in_features": features, "out_features": _HIDDEN, "activation": "relu"}
    output = {"name": "dense", "in_features": _HIDDEN, "out_features": classes, "init": "glorot_uniform"}
    return {"name": "sequential", "layers": [hidden, output]}
