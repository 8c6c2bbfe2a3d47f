"""Every layer in float16, compared with float64, within the kit's tolerance for that width."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.conformance import check_layer
from tinygrad_lab.conformance.properties import LAYER
from tinygrad_lab.conformance.properties.arrays import compare_results, results_of
from tinygrad_lab.conformance.trials.subject import in_dtype
from tinygrad_lab.conformance.trials.trial import Trial
from tinygrad_lab.conformance.trials.verdict import Measure


def float16(trial: Trial) -> Measure | None:
    """Compare results and gradients in float16 with those in float64, except where float16 overflows."""
    if not trial.arrays:
        return None
    arrays, vs = trial.cast("float16")
    with using(providers=frozenset()), np.errstate(all="ignore"):
        narrow = results_of(trial, arrays, vs)
        exact = results_of(trial, in_dtype(arrays, "float64"), in_dtype(vs, "float64"))
    if not all(np.isfinite(a).all() for part in narrow for a in part):
        return None
    return Measure.worst(compare_results(trial, "float16 against float64", narrow, exact, "float16", factor=4))


@pytest.mark.parametrize("name", [name for name in tgl.layers if "." not in name])
def test_every_layer_in_float16(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYER, "float16", float16)
    result = check_layer(name, examples=5, properties=["float16"])
    assert result.passed, str(result)
