"""`tinygrad-lab data`: its output and exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.made import tiny_mnist
from tests.data.server import Site, serving
from tinygrad_lab.cli import main
from tinygrad_lab.data.files import Download
from tinygrad_lab.registry import Plugin, datasets


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A data set in the folder `made`."""
    monkeypatch.delenv("TINYGRAD_LAB_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "user-cache")
    source = tiny_mnist(tmp_path / "made")
    monkeypatch.setitem(datasets.plugins(), source.name, [Plugin(source.name, "made:TinyMNIST", "made", "1", None)])
    monkeypatch.setitem(datasets._loaded, source.name, source)
    return source


@pytest.mark.usefixtures("tiny")
def test_list(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["data", "list", "--data", str(tmp_path / "made")]) == 0
    table = capsys.readouterr().out
    assert f"tiny_mnist 5 + 2 none {tmp_path / 'made'} a tiny MNIST" in " ".join(table.split())
    assert "cifar10 50,000 + 10,000 170 MB not here CIFAR-10" in " ".join(table.split())
    assert main(["data", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["tiny_mnist"]["root"] is None
    assert rows["mnist"]["images"] == {"train": 60_000, "test": 10_000}


@pytest.mark.usefixtures("tiny")
def test_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "made"
    assert main(["data", "verify", "tiny_mnist", "--data", str(folder)]) == 0
    assert "train: 5 images\ntest: 2 images\ntiny_mnist: complete and right\n" in capsys.readouterr().out
    (folder / "TinyMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    assert main(["data", "verify", "tiny_mnist", "--data", str(folder)]) == 1
    assert "t10k-labels-idx1-ubyte.gz: wrong size" in capsys.readouterr().out
    assert main(["data", "verify", "tiny_mnist", "--data", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert main(["data", "verify", "tiny_mnist"]) == 1
    assert "Run `tinygrad-lab data fetch tiny_mnist`" in capsys.readouterr().out


def test_fetch(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {f"/{file.path}": (tmp_path / "made" / file.path).read_bytes() for file in tiny.files}
    with serving(Site(files)) as site:
        tiny.downloads = tuple(Download((f"{site.address}/{file.path}",), file, (file,)) for file in tiny.files)
        assert main(["data", "fetch", "tiny_mnist", "--data", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    assert f"{tiny.files[0].path}: {tiny.files[0].size:,} bytes\n" in printed
    assert printed.endswith(f"tiny_mnist: complete, in {tmp_path / 'new'}\n")
    assert main(["data", "verify", "tiny_mnist", "--data", str(tmp_path / "new")]) == 0


def test_failures_of_fetching_are_reported(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Site({})) as site:
        tiny.downloads = (Download((f"{site.address}/x",), tiny.files[0], tiny.files),)
        assert main(["data", "fetch", "tiny_mnist", "--data", str(tmp_path / "new")]) == 1
    assert "HTTP 404" in capsys.readouterr().err
    assert main(["data", "fetch", "cifar"]) == 1
    assert "did you mean" in capsys.readouterr().err
