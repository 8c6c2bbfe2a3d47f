"""Compare the recipe `diabetes` with Ridge and MLPRegressor of scikit-learn on the same rows.

    python -m tests.benchmarks.regression

All train on the recipe's training rows, choose on its validation rows, and are measured on the test rows once, after
every choice. Ridge chooses its penalty. MLPRegressor has the hidden layer, batch size and initial rate of the recipe
and chooses its penalty and number of epochs, by the mean of three seeds; ten other seeds are measured. The results are
written to docs/results/regression.json.
"""

from __future__ import annotations

import json
import platform
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tinygrad_lab as tgl
from tinygrad_lab.data import load
from tinygrad_lab.files.writing import write_atomically
from tinygrad_lab.train import find_recipe, run_recipe
from tinygrad_lab.train.progress import Reporter

RECIPE = find_recipe("diabetes")
SEEDS = range(10)
CHOOSING = range(100, 103)  # seeds that are not measured
PENALTIES = (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
EPOCHS = (20, 40, 80, 160)
SAMPLES = 10_000
RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "regression.json"


def rows(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the features and targets of a split, as the recipe has it."""
    data = load("diabetes", split=split, validation=RECIPE["data"]["validation"] if split != "test" else 0.0)
    return data.images, data.labels[:, 0]


def standardized(model: Any) -> Any:
    """Return a regressor with standardized features and targets, as the recipe has them."""
    return make_pipeline(StandardScaler(), TransformedTargetRegressor(model, transformer=StandardScaler()))


def perceptron(penalty: float, epochs: int, seed: int) -> Any:
    return standardized(
        MLPRegressor(
            hidden_layer_sizes=(32,),
            alpha=penalty,
            batch_size=RECIPE["data"]["batch_size"],
            learning_rate_init=RECIPE["optimizer"]["lr"],
            max_iter=epochs,
            random_state=seed,
        )
    )


def scores(true: np.ndarray, found: np.ndarray) -> dict[str, float]:
    return {
        "r2": float(r2_score(true, found)),
        "mae": float(mean_absolute_error(true, found)),
        "rmse": float(root_mean_squared_error(true, found)),
    }


def ours() -> list[np.ndarray]:
    """Return the predictions of the recipe for the test rows, of each seed."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            seeded = RECIPE.override([f"training.seed={seed}"])
            run = tgl.load_run(run_recipe(seeded, Reporter(), runs=Path(folder))["run"])
            found.append(run.predict(rows("test")[0]).values[:, 0])
    return found


def interval(true: np.ndarray, first: list[np.ndarray], second: list[np.ndarray]) -> list[float]:
    """Return a bootstrap interval (95 %) of the difference of the mean R² of two methods, over the test rows."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(true), (SAMPLES, len(true)))
    total = ((true[chosen] - true[chosen].mean(axis=1, keepdims=True)) ** 2).sum(axis=1)

    def error(predictions: list[np.ndarray]) -> np.ndarray:
        squares = np.mean([(found - true) ** 2 for found in predictions], axis=0)  # over the seeds
        return squares[chosen].sum(axis=1)

    difference = (error(second) - error(first)) / total  # of the means of 1 - error / total
    return [float(bound) for bound in np.quantile(difference, (0.025, 0.975))]


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is chosen
    (x, y), (x_validation, y_validation), (x_test, y_test) = (rows(split) for split in ("train", "validation", "test"))

    def on_validation(*models: Any) -> float:
        return float(np.mean([r2_score(y_validation, m.fit(x, y).predict(x_validation)) for m in models]))

    penalty = max(PENALTIES, key=lambda alpha: on_validation(standardized(Ridge(alpha))))
    tried = {
        (alpha, epochs): on_validation(*(perceptron(alpha, epochs, seed) for seed in CHOOSING))
        for alpha in PENALTIES
        for epochs in EPOCHS
    }
    alpha, epochs = max(tried, key=lambda pair: tried[pair])
    predictions = {
        "tinygrad_lab, recipe diabetes": ours(),
        "MLPRegressor": [perceptron(alpha, epochs, seed).fit(x, y).predict(x_test) for seed in SEEDS],
        "Ridge": [standardized(Ridge(penalty)).fit(x, y).predict(x_test)],
        "mean of the training targets": [np.full(len(y_test), y.mean())],
    }
    first = predictions["tinygrad_lab, recipe diabetes"]
    results = {
        "rows": {"training": len(y), "validation": len(y_validation), "test": len(y_test)},
        "chosen": {"Ridge": {"alpha": penalty}, "MLPRegressor": {"alpha": alpha, "max_iter": epochs}},
        "methods": {name: [scores(y_test, found) for found in made] for name, made in predictions.items()},
        "difference": {name: interval(y_test, first, made) for name, made in predictions.items() if made is not first},
        "machine": f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, scikit-learn "
        f"{sklearn.__version__}",
    }
    write_atomically(RESULTS, (json.dumps(results, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
