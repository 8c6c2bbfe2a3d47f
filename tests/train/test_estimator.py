"""The estimator: scikit-learn's checks, and the same training as by a recipe."""

from __future__ import annotations

import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, SkipTestWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

from tinygrad_lab.data import load
from tinygrad_lab.errors import ConfigError, OptionError, ShapeError
from tinygrad_lab.train import Recipe, find_recipe
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.train.estimator import ImageClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # most train for an epoch

LAYERS = [{"name": "flatten"}, {"name": "dense", "in_features": 64, "out_features": 10}]
SMALL = Recipe(
    "small",
    {
        "model": {"name": "sequential", "layers": LAYERS},
        "data": {"name": "digits", "size": [8, 8], "per_class": 10},
        "augment": [{"name": "flip"}, {"name": "normalize"}],
        "loss": {"name": "softmax_cross_entropy"},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "training": {"epochs": 3, "seed": 4},
    },
)


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    """Return sixty images of 8x8 as rows of values from 0 to 16."""
    X, y = load_digits(return_X_y=True)
    return X[:60], y[:60]


def test_a_network_that_learns_nothing_is_reported(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = ImageClassifier(SMALL, image=(8, 8, 1), optimizer__lr=1e-9, epochs=1)
    with pytest.warns(ConvergenceWarning, match="learn: the training loss of epoch 1, .* train for more epochs"):
        model.fit(X, y)


@pytest.mark.slow
def test_the_checks_of_scikit_learn_pass() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)  # about checks that need pandas or a setting of SciPy
        check_estimator(ImageClassifier(epochs=10))  # enough for the accuracy that one of them asks for


def test_training_equals_that_of_the_recipe() -> None:
    trainer = build_trainer(SMALL)
    trainer.train(3)
    data = load("digits", split="train", size=(8, 8), per_class=10)
    model = ImageClassifier(SMALL).fit(data.images, data.labels)
    expected = trainer.model.state()
    assert all(np.array_equal(array, expected[path]) for path, array in model.model_.state().items())
    assert [m["loss"] for m in model.history_] == [m["loss"] for m in trainer.history]


def test_images_may_have_any_form(digits: tuple[Any, Any]) -> None:
    X, y = digits
    options: dict[str, Any] = {"epochs": 1, "data__size": (8, 8), "model__padding": "zero"}
    flat = ImageClassifier("lenet5", image=(8, 8, 1), **options).fit(X, y)
    expected, maps = flat.predict_proba(X), X.reshape(-1, 8, 8)
    assert expected.shape == (60, 10)
    assert flat.recipe_["model"] == {"name": "lenet5", "padding": "zero", "image": [8, 8, 1], "classes": 10}
    assert [step["name"] for step in flat.recipe_.augment] == ["rotation", "shift", "zoom"]
    for images in (maps, maps[..., None], maps.astype(np.float32)[..., None], maps.astype(np.uint8) * 15):
        if images.dtype == np.uint8:
            images[0, 0, 0] = 255
            assert ImageClassifier("lenet5", **options).fit(images, y).predict(images).shape == (60,)
        else:
            found = ImageClassifier("lenet5", **options).fit(images, y).predict_proba(images)
            np.testing.assert_array_equal(found, expected)
    large = np.kron(maps, np.ones((3, 3)))
    assert flat.predict(large).shape == (60,)  # resized as in training


def test_classes_keep_their_names(digits: tuple[Any, Any]) -> None:
    X, y = digits
    kinds = np.where(y % 2, "odd", "even")
    model = ImageClassifier(epochs=20).fit(X, kinds)
    assert model.classes_.tolist() == ["even", "odd"]
    assert model.score(X, kinds) > 0.95
    assert set(model.predict(X)) == {"even", "odd"}
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
    only = ImageClassifier(epochs=1).fit(X, np.full(60, "one"))
    assert only.predict_proba(X[:2]).tolist() == [[1], [1]]


def test_settings_are_parameters(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = ImageClassifier("lenet5", epochs=2, optimizer__lr=0.2, data__batch_size=30, augment=[])
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert twin.get_params()["optimizer__lr"] == 0.2
    assert "optimizer__lr=0.2" in repr(twin)
    twin.set_params(optimizer__lr=0.3, epochs=1, image=(8, 8, 1), data__size=(8, 8), model__padding="zero")
    twin.fit(X, y)
    assert (twin.recipe_["optimizer"]["lr"], twin.recipe_["training"]["epochs"]) == (0.3, 1)
    assert (twin.recipe_["data"]["batch_size"], twin.recipe_.augment) == (30, [])
    assert len(clone(twin).get_params()) == len(twin.get_params())  # without fitted attributes


def test_a_search_chooses_a_setting(digits: tuple[Any, Any]) -> None:
    X, y = digits
    pipeline = make_pipeline(MinMaxScaler(), ImageClassifier(epochs=15))
    grid = {"imageclassifier__optimizer__lr": np.array([1e-6, 0.1])}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_params_ == {"imageclassifier__optimizer__lr": 0.1}
    assert search.best_score_ > 0.6
    assert search.best_estimator_[-1].recipe_["optimizer"]["lr"] == 0.1


def test_the_seed_determines_the_result(digits: tuple[Any, Any]) -> None:
    X, y = digits

    def found(seed: Any) -> Any:
        return ImageClassifier(epochs=1, random_state=seed).fit(X, y).predict_proba(X)

    assert np.array_equal(found(None), found(0))  # the recipe's
    assert np.array_equal(found(3), found(3))
    assert not np.array_equal(found(3), found(4))
    assert np.array_equal(found(np.random.RandomState(5)), found(np.random.RandomState(5)))


def test_validation_images_are_split_off_if_something_needs_them(digits: tuple[Any, Any]) -> None:
    X, y = digits
    settings: dict[str, Any] = {"training__patience": 1, "optimizer__lr": 1e-9}
    model = ImageClassifier(epochs=9, **settings).fit(X, y)  # the recipe uses a tenth for validation
    assert "validation" in model.history_[0]
    assert len(model.history_) == 2
    assert "validation" not in ImageClassifier(epochs=1).fit(X, y).history_[0]
    small = Recipe("small", {**SMALL.tables, "training": {"epochs": 1, "patience": 1}})
    with pytest.raises(ConfigError, match="expected data__validation for 'small', got none"):
        ImageClassifier(small).fit(X.reshape(-1, 8, 8, 1), y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"recipe": "lenet"}, ConfigError, "did you mean 'lenet5'"),
        ({"lr": 0.1}, OptionError, r"options out of \['device', 'epochs', .*settings such as optimizer__lr, got 'lr'"),
        ({"optimizer__lrr": 0.1}, ConfigError, "lrr"),
        ({"optimizer__lr": "fast"}, ConfigError, "optimizer.lr"),
        ({"image": (8, 8, 3)}, ShapeError, r"image=\(height, width, channels\) of the 64 features"),
        ({"image": 8}, ShapeError, "of the 64 features in a row, got 8"),
        ({"recipe": None}, OptionError, "expected the name of a recipe or a Recipe, got None"),
        ({"data__per_class": 3}, OptionError, "expected no settings of the data except .*'data__per_class'; leave"),
        ({"epochs": 0}, ConfigError, "epochs: expected 1 or more, got 0"),
        ({"image": (8, 8, 1), "data__size": (4, 4)}, ShapeError, "at least 5x5 for the window, got 4x4"),
        ({"recipe": SMALL, "image": (8, 8, 1), "model__layers": LAYERS[:1]}, ConfigError, "network of 10 outputs"),
    ],
)
def test_errors_name_the_mistake(options: dict[str, Any], error: type[Exception], message: str, digits: Any) -> None:
    with pytest.raises(error, match=message):
        ImageClassifier(**options).fit(*digits)


def test_other_shapes_are_refused(digits: tuple[Any, Any]) -> None:
    X, y = digits
    rows = ImageClassifier(epochs=1).fit(X, y)
    with pytest.raises(ShapeError, match=r"expected rows of 64 features, as in fit, got X of shape \(60, 8, 8, 1\)"):
        rows.predict(X.reshape(-1, 8, 8))
    images = ImageClassifier(SMALL, image=(8, 8, 1)).fit(X, y)
    with pytest.raises(ShapeError, match=r"expected images of 1 channels, as in fit, got X of shape \(60, 4, 4, 4\)"):
        images.predict(X.reshape(-1, 4, 4, 4))
    with pytest.raises((ShapeError, ValueError), match=r"expected X as rows .* got \(60, 2, 2, 4, 4\)"):
        rows.fit(X.reshape(-1, 2, 2, 4, 4), y)
    assert find_recipe("lenet5")["training"]["epochs"] == 30  # the recipe itself has not changed


def test_channels_first_are_refused(digits: tuple[Any, Any]) -> None:
    with pytest.raises(ShapeError, match=r"got X of shape \(60, 1, 8, 8\); move the channels .*np\.moveaxis"):
        ImageClassifier().fit(digits[0].reshape(-1, 1, 8, 8), digits[1])


@pytest.mark.filterwarnings("ignore:overflow")  # of scikit-learn's own check
def test_features_of_any_size_are_standardized(digits: tuple[Any, Any]) -> None:
    X, y = digits
    expected = ImageClassifier(epochs=2).fit(X, y).predict_proba(X)
    for scale in (1e200, 1e-200):
        found = ImageClassifier(epochs=2).fit(X * scale, y).predict_proba(X * scale)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_layers_that_a_recipe_freezes_stay(digits: tuple[Any, Any]) -> None:
    layers = [LAYERS[0], {**LAYERS[1], "out_features": 8}, {**LAYERS[1], "in_features": 8}]
    tables = {**SMALL.tables, "model": {"name": "sequential", "layers": layers}, "transfer": {"freeze": ["1"]}}
    X, y = digits
    first, last = (
        ImageClassifier(Recipe("frozen", tables), epochs=epochs, image=(8, 8, 1)).fit(X, y).model_.state()
        for epochs in (1, 2)
    )
    assert np.array_equal(first["1.weight"], last["1.weight"])
    assert not np.array_equal(first["2.weight"], last["2.weight"])


def test_bytes_and_floats_have_the_same_scale(digits: tuple[Any, Any]) -> None:
    X, y = digits
    bytes_, model = (X * 15).astype("uint8"), ImageClassifier(SMALL, epochs=1, image=(8, 8, 1))
    expected = model.fit(bytes_, y).predict_proba(bytes_)
    np.testing.assert_allclose(model.predict_proba(bytes_.astype(float)), expected, atol=1e-6)
    assert model.predict_proba(np.zeros((1, 64))).shape == (1, 10)
    with pytest.raises(ValueError, match=r"from 0 to 255, because X in fit was of uint8, got floats up to 0\.94"):
        model.predict(bytes_ / 255.0)
    np.testing.assert_allclose(model.fit(bytes_ / 255.0, y).predict_proba(bytes_), expected, atol=1e-5)
    with pytest.raises(ValueError, match="where the largest value was 16, got uint8, whose white is 255"):
        model.fit(X, y).predict(X.astype("uint8"))


def test_bytes_are_kept_as_bytes(digits: tuple[Any, Any]) -> None:
    model = ImageClassifier(SMALL, epochs=1, image=(8, 8, 1)).fit(digits[0].astype("uint8"), digits[1])
    X = np.zeros((400, 8, 8, 1), "uint8")
    assert model._prepared(X) is X
    floats, result = X.astype(float), X.astype("float32")
    tracemalloc.start()
    assert model._prepared(floats).dtype == np.float32
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * result.nbytes  # the result and a buffer, without a copy in float64


def test_unknown_settings_are_refused_at_once_and_attributes_are_no_settings() -> None:
    model = ImageClassifier(epochs=2, optimizer__lr=0.1)
    for name in ("bogus", "predict", "lr", "_table"):
        with pytest.raises(ValueError, match=f"settings such as optimizer__lr, got '{name}'"):
            model.set_params(**{"epochs": 3, "optimizer__lr": 0.2, name: 3})
        with pytest.raises(ValueError, match=f"settings such as optimizer__lr, got '{name}'"):
            ImageClassifier(**{name: 3})
    model.note = model.data = "mine"  # type: ignore[attr-defined]  # a user's own attributes
    assert model.get_params().keys() - ImageClassifier().get_params().keys() == {"optimizer__lr"}
    assert (model.epochs, model.get_params()["optimizer__lr"]) == (2, 0.1)
    assert clone(model.set_params(optimizer__lr=0.3, data__size=(8, 8))).get_params() == model.get_params()
