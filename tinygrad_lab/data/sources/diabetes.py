"""Progression of diabetes, from scikit-learn: real data for regression without a download."""

from __future__ import annotations

import os
from typing import ClassVar

import numpy as np

from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.data.sources.source import Source, bundled
from tinygrad_lab.errors import OptionError

_TEST_FRACTION = 0.2
FEATURES = ("age", "sex", "body mass index", "blood pressure", "tc", "ldl", "hdl", "tch", "ltg", "glucose")


class Diabetes(Source):
    """Progression of diabetes one year after ten measurements, of 442 patients, from scikit-learn.

    The features are age in years, sex (1 or 2), body mass index, average blood pressure, and six measurements of blood
    serum, in their original units. The target is a measure of the progression of the disease, from 25 to 346. A fifth
    of the patients are the test set: `Dataset.split(0.2, seed=0)` of all rows in scikit-learn's order.

    References
    ----------
    B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, "Least angle regression", Annals of Statistics 32, 2004.
    """

    name = "diabetes"
    title = "Diabetes, progression within a year, bundled with scikit-learn"
    homepage = "https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html"
    sizes: ClassVar[dict[str, int]] = {"train": 354, "test": 88}
    image = (len(FEATURES),)
    examples = "rows"
    targets = ("progression",)

    def read(
        self, split: str, *, root: str | os.PathLike[str] | None = None, size: tuple[int, int] | None = None
    ) -> Dataset:
        """Return a split; the rows are (N, 10), the targets (N, 1). See `Source.read`; there is no size to choose."""
        self.check_split(split)
        if size is not None:
            raise OptionError(f"{self.name}: expected no size, because rows have none, got {size}")
        bundle = bundled(self.name).load_diabetes(scaled=False)
        whole = Dataset(bundle.data.astype(np.float32), bundle.target, targets=self.targets, name=self.name)
        train, test = whole.split(_TEST_FRACTION, seed=0)
        return train if split == "train" else test
