"""The classifier of sequences: padding does not change results, and a recipe trains it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.data import find_source, load, pad_sequences
from tinygrad_lab.errors import ConfigError, DTypeError, LabError, OptionError, ShapeError
from tinygrad_lab.train import find_recipe, run_recipe
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.weights import export_weights
from tinygrad_lab.zoo.sequences import sequence_classifier

ENCODERS = ["attention", "lstm"]
SEQUENCES = [[3, 1, 4], [1, 5, 8, 2, 6, 5], [7]]


def classifier(encoder: str) -> tgl.Layer:
    return sequence_classifier(length=9, vocabulary=9, features=8, encoder=encoder, heads=2, classes=3, rng=0).eval()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_padding_changes_no_result_and_no_gradient(encoder: str) -> None:
    found: list[Any] = []
    for length in (6, 9):
        model = classifier(encoder)
        logits = model(pad_sequences(SEQUENCES, length))
        assert logits.shape == model.output_shape((3, length)) == (3, 3)
        (logits * logits).sum().backward()
        found.append([logits.numpy(), *(p.grad.numpy() for p in model.parameters().values())])
    for short, long in zip(*found, strict=True):
        np.testing.assert_allclose(long[: len(short)], short, rtol=1e-4, atol=1e-6)
    embedding = list(model.parameters()).index("embedding.weight") + 1
    assert not found[1][embedding][0].any()  # the vector of the padding does not learn


@pytest.mark.parametrize("encoder", ENCODERS)
def test_each_sequence_is_classified_alone(encoder: str) -> None:
    model = classifier(encoder)
    with no_grad():
        together = model(pad_sequences(SEQUENCES)).numpy()
        alone = np.concatenate([model(np.array([row])).numpy() for row in SEQUENCES])
        empty = model(np.zeros((1, 4), int)).numpy()
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(empty[0], model.state()["output.bias"])


@pytest.mark.parametrize(
    ("options", "x", "error", "message"),
    [
        ({"encoder": "gru"}, None, OptionError, "expected encoder 'attention' or 'lstm', got 'gru'"),
        ({"vocabulary": 0}, None, OptionError, "expected length and vocabulary of 1 or more"),
        ({}, np.ones((2, 40), int), ShapeError, "1 to 32 numbers"),
        ({}, np.full((2, 3), 65), OptionError, "numbers from 0 to 64, got 65"),
        ({}, np.ones((2, 3), "float32"), DTypeError, "expected integers, got float32"),
    ],
)
def test_wrong_calls_are_refused(options: dict[str, Any], x: Any, error: type[LabError], message: str) -> None:
    with pytest.raises(error, match=message):  # noqa: PT012  the network or its call
        model = sequence_classifier(**options, rng=0)
        model(x)


def test_the_data_list_the_dark_pixels() -> None:
    sequences, images = load("digit_sequences", split="test"), load("digits", split="test", size=(8, 8))
    assert sequences.shape == find_source("digit_sequences").image == (32,)
    np.testing.assert_array_equal(sequences.labels, images.labels)
    for numbers, image in zip(sequences.images, images.images.reshape(-1, 64), strict=True):
        assert numbers[numbers > 0].tolist() == (np.flatnonzero(image >= 127) + 1).tolist()
    with pytest.raises(OptionError, match="expected no size"):
        load("digit_sequences", size=(8, 8))


def test_a_recipe_trains_and_its_run_predicts_lists_of_numbers(tmp_path: Path) -> None:
    settings = ["training.epochs=1", "data.per_class=12", "model.features=8", "model.heads=2"]
    result = run_recipe(find_recipe("digit_sequences").override(settings), Reporter(), runs=tmp_path)
    run = tgl.load_run(result["run"])
    assert "sequences of shape 32" in repr(run)
    data = load("digit_sequences", split="test")
    whole = run.predict(data.images).probabilities
    lists = [[n for n in row if n] for row in data.images.tolist()]
    np.testing.assert_array_equal(run.predict(lists).probabilities, whole)
    np.testing.assert_allclose(run.predict(lists[0]).probabilities[0], whole[0], rtol=1e-5)
    assert run.evaluate().accuracy == result["figures"]["chosen_on_validation"]["accuracy"]
    with pytest.raises(ShapeError, match="at most 32 numbers"):
        run.predict([[1] * 40])
    with pytest.raises(DTypeError, match="expected integers"):
        run.predict(data.images.astype("float32"))
    with pytest.raises(DTypeError, match="expected sequences of numbers, got str"):
        run.predict("digit.png")
    names = export_weights(run.model, tmp_path / "theirs.safetensors", image=run.input_shape)
    assert names["embedding.weight"] == "embedding.weight"
    with pytest.raises(ShapeError, match=r"expected sequences of shape \(32,\), got \(8, 8, 1\)"):
        run.evaluate(load("digits", split="test", size=(8, 8)))


def test_sequences_are_not_augmented() -> None:
    with pytest.raises(ConfigError, match="expected no augmentation of sequences, got 'flip'"):
        build_trainer(find_recipe("digit_sequences").override(['augment=[{name="flip"}]']))
