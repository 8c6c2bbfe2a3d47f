"""`tinygrad-lab bench`: its processes, its results and the printed table. No test depends on time."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from tinygrad_lab.bench import rounds
from tinygrad_lab.bench.networks import NETWORKS, Network, named
from tinygrad_lab.bench.ours import Subject, multiply_adds
from tinygrad_lab.bench.rounds import Turns, compare, quartiles
from tinygrad_lab.cli import main
from tinygrad_lab.errors import ConfigError, LabError
from tinygrad_lab.nn.initializers import shapes_only
from tinygrad_lab.registry import models

TINY = replace(NETWORKS["lenet5"], batch=2)


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "TURN_SECONDS", 0.001)


@pytest.mark.slow
def test_json_has_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--without-numba", "--rounds", "2", "--threads", "1", "--batch", "2", "--json"]
    assert main(["bench", "lenet5", *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["threads"] == 1
    assert result["matrix_product_gflops"] > 0
    assert result["machine"].keys() >= {"processor", "cores", "system", "python", "numpy"}
    (network,) = result["networks"]
    assert (network["name"], network["batch"], network["peers"]) == ("lenet5", 2, [])
    for row in (network, network["without_numba"]):
        assert row["peak_mib"] > 10
        for values in (row, row["inference"]):
            low, high = values["seconds_quartiles"]
            assert 0 < low <= values["seconds"] <= high
            assert "ratio_to_best_peer" not in values


@pytest.mark.slow
@pytest.mark.peers
def test_the_table_compares_with_pytorch(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert main(["bench", "gap7", "--against", "torch", "--rounds", "1", "--threads", "1", "--batch", "2"]) == 0
    shown = capsys.readouterr().out
    assert "tinygrad_lab, training" in shown
    assert "x torch (" in shown
    assert "torch (channels_last)" in shown
    assert "1 threads" in shown


@pytest.mark.peers
@pytest.mark.parametrize("name", NETWORKS)
def test_pytorch_networks_have_the_same_shapes_and_parameters(name: str) -> None:
    torch = pytest.importorskip("torch")
    from tinygrad_lab.bench import peers

    network = NETWORKS[name]
    with shapes_only():
        model = models[name](image=network.image, classes=network.classes, rng=0)
    with torch.device("meta"):
        peer = peers.BUILDERS[name](network)
        height, width, channels = network.image
        logits = peer.eval()(torch.zeros(2, channels, height, width))
    assert tuple(logits.shape) == model.output_shape((2, *network.image))
    ours = sorted(math.prod(p.shape) for p in model.parameters().values())
    assert ours == sorted(p.numel() for p in peer.parameters())


@pytest.mark.peers
@pytest.mark.parametrize("variant", ["default", "channels_last"])
def test_the_pytorch_network_learns(variant: str) -> None:
    pytest.importorskip("torch")
    from tinygrad_lab.bench import peers

    peer = peers.Subject(TINY, variant)
    assert peer.infer().shape == (2, 10)
    assert peer.parameters() == Subject(TINY, "").parameters()
    first = peer.train()
    for _ in range(30):
        last = peer.train()
    assert last < first


@pytest.mark.slow
def test_our_network_learns() -> None:
    subject = Subject(TINY, "")
    assert subject.infer().shape == (2, 10)
    first = subject.train()
    for _ in range(30):
        last = subject.train()
    assert last < first


def test_multiply_adds_leave_out_the_gradient_of_the_images() -> None:
    training, inference = multiply_adds(TINY)
    first = 2 * 28 * 28 * 6 * 25  # 6 filters of 5x5 at 28x28 positions of two images of one channel
    assert training == 3 * inference - first


def test_networks_are_chosen_by_name() -> None:
    assert named([]) == list(NETWORKS.values())
    assert named(["lenet5"], 3) == [replace(NETWORKS["lenet5"], batch=3)]
    with pytest.raises(ConfigError, match=r"expected some of alexnet_small, .*, got lenet"):
        named(["lenet"])
    with pytest.raises(ConfigError, match="at least one image"):
        named(["lenet5"], 0)


def test_missing_pytorch_is_reported(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    from tinygrad_lab.cli import bench

    arguments: Any = type("Arguments", (), {"against": "torch"})
    with pytest.raises(ConfigError, match="needs PyTorch, which is not installed; pip install torch"):
        bench.run(arguments)


def test_numbers_of_rounds_and_threads_must_be_positive(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "lenet5", "--rounds", "0"]) == 1
    assert main(["bench", "lenet5", "--threads", "0"]) == 1
    assert "at least one round and one thread" in capsys.readouterr().err


def test_a_process_that_fails_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LabError, match="expected an answer from tinygrad_lab, got exit status 1"):
        rounds.measure(Network("no_such", 1), against=None, without_numba=False, rounds=1, threads=1)
    assert "no_such" in capfd.readouterr().err


def test_ratios_compare_each_round_with_the_fastest_peer() -> None:
    def turns(name: str, *seconds: float) -> Turns:
        process: Any = None
        return Turns(name, process, seconds={"train": list(seconds)})

    found = compare(turns("we", 1.0, 2.0, 4.0), [turns("slow", 9, 9, 9), turns("fast", 2.0, 6.0, 8.0)], "train")
    assert found["best_peer"] == "fast"
    assert found["ratio_to_best_peer"] == 2.0
    assert found["ratio_quartiles"] == [2.0, 2.5]
    assert found["seconds"] == 2.0
    assert quartiles([3.0], 1) == [3.0, 3.0]
