"""Every built-in layer on the simulated GPU: raw kernels and their Python code, compared with NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.gpu import simulated
from tests.gpu.simulated import LAUNCHED, library, needs_a_compiler, simulated_gpu
from tests.gpu.test_training_on_a_device import trainer, values
from tests.strict_device import STRICT
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.conformance import inspect_layer
from tinygrad_lab.conformance.session import check_plugins
from tinygrad_lab.kernels.cupy import launch

pytestmark = needs_a_compiler


@pytest.mark.slow
def test_the_whole_kit() -> None:
    """Layers, losses and optimizers conform and reach every kernel that is registered for CuPy."""
    with simulated_gpu(), using(providers=frozenset({"cupy"})):
        results = check_plugins(examples=3, devices=[STRICT.name], properties=["devices", "kernels", "adequacy"])
    assert [report for result in results for report in result.reports()] == []
    assert len(results) > 50
    assert results[-1].properties["kernels"].examples >= 30, "kernels that belong to no layer"


@pytest.mark.slow
def test_a_wrong_raw_kernel_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CUDA source is changed so that a sum leaves out a term."""
    text = launch.source

    def spoiled(theme: str, dtype: str) -> str:
        return text(theme, dtype).replace("row < end; row++) total += (SUM)x", "row < end - 1; row++) total += (SUM)x")

    assert spoiled("channels", "float32") != text("channels", "float32")
    monkeypatch.setattr(launch, "source", spoiled)
    monkeypatch.setattr(simulated, "folder", lambda: tmp_path)
    library.cache_clear()
    try:
        with simulated_gpu(), using(providers=frozenset({"cupy"})):
            result = inspect_layer("batch_norm", examples=3, devices=[STRICT.name], properties=["kernels"])
    finally:
        library.cache_clear()
    failure = result.properties["kernels"].failure
    assert failure is not None
    assert "kernel 'cupy': expected" in failure.headline


@pytest.mark.slow
def test_training_with_raw_kernels() -> None:
    here = trainer("cpu")
    with simulated_gpu():
        LAUNCHED.clear()
        there = trainer(STRICT.name)
        there.train(2)
    with tgl.reference_only():
        here.train(2)
    ours, theirs = values(here.model.state()), values(there.model.state())
    assert all(np.allclose(ours[path], theirs[path], atol=1e-4) for path in ours)
    launched = {name for _, _, name in LAUNCHED}
    assert launched >= {"max_pool", "max_pool_grad", "normalize", "dropout", "cross_entropy", "momentum", "bias_relu"}
