"""Every built-in layer on the simulated GPU: raw kernels, and the Python that launches them, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.gpu.simulated import LAUNCHED, needs_a_compiler, simulated_gpu
from tests.gpu.test_training_on_a_device import trainer, values
from tests.strict_device import STRICT
from tinygrad_lab.conformance import check_layer

pytestmark = needs_a_compiler


@pytest.mark.parametrize("name", [name for name in tgl.layers if "." not in name])
def test_a_layer_agrees_with_numpy(name: str) -> None:
    with simulated_gpu():
        assert check_layer(name, examples=4, properties=["devices"], devices=[STRICT.name]).passed


def test_training_by_raw_kernels() -> None:
    here = trainer("numpy")
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
