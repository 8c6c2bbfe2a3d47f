"""Data sets by name: their folders, loading parts of them, fetching, verifying."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.made import data_file, tiny_cifar, tiny_mnist
from tests.data.server import Site, serving
from tinygrad_lab.data import fetch, find_source, listing, load, verify
from tinygrad_lab.data.files import Download
from tinygrad_lab.data.sources import Source
from tinygrad_lab.errors import DataError, OptionError, PluginError

BUILT_IN = ["cifar10", "cifar100", "diabetes", "digit_sequences", "digits", "fashion_mnist", "image_folder", "mnist"]
Register = Callable[[type[Source]], None]


def test_folders_are_searched_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, register: Register
) -> None:
    source = tiny_cifar(tmp_path / "a")
    register(source)
    cache = tmp_path / "user-cache" / "tinygrad_lab" / "data"
    with pytest.raises(DataError) as caught:
        load("tiny", root=tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'} (--data): nothing there; {cache} (cache): nothing there" in str(caught.value)
    assert "Run `tinygrad-lab data fetch tiny`" in str(caught.value)

    assert source().locate(tmp_path / "a") == tmp_path / "a"
    monkeypatch.setenv("TINYGRAD_LAB_DATA", str(tmp_path / "a"))
    assert len(load("tiny")) == 6
    assert source().locate(tmp_path / "nowhere") == tmp_path / "a", "the next folder is used if the first has nothing"
    monkeypatch.delenv("TINYGRAD_LAB_DATA")
    cache.parent.mkdir(parents=True)
    cache.symlink_to(tmp_path / "a")
    assert len(load("tiny")) == 6


def test_load_selects_parts_of_a_data_set(tmp_path: Path, register: Register) -> None:
    register(tiny_cifar(tmp_path, train=40, test=8, classes=("cat", "dog", "owl", "pig")))
    whole = load("tiny", root=tmp_path)
    rest = load("tiny", root=tmp_path, validation=0.2, seed=3)
    out = load("tiny", root=tmp_path, split="validation", validation=0.2, seed=3)
    assert sorted([*rest.index, *out.index]) == whole.index.tolist()
    assert out.counts() == {"cat": 2, "dog": 2, "owl": 2, "pig": 2}
    few = load("tiny", root=tmp_path, validation=0.2, seed=3, classes=["pig", "dog"], per_class=5)
    assert few.counts() == {"pig": 5, "dog": 5}
    assert set(few.index) <= set(rest.index)
    assert len(load("tiny", root=tmp_path, split="test", validation=0.2)) == 8, "the test set is never divided"
    assert load("tiny", root=tmp_path, size=(4, 4)).shape == (4, 4, 3)


def test_an_empty_validation_part_is_refused() -> None:
    with pytest.raises(OptionError, match=r"load\('digits'\): expected a validation share .*, got 0.0001 of at most"):
        load("digits", split="validation", validation=0.0001)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"datasets: .*'cifar'; did you mean .*'cifar10'"):
        load("cifar")
    with pytest.raises(OptionError, match=r"load\('digits'\): expected validation above 0, the share"):
        load("digits", split="validation")


def test_listing_shows_sizes_and_folders(tmp_path: Path, register: Register) -> None:
    register(tiny_cifar(tmp_path))
    found = {entry.name: entry for entry in listing(root=tmp_path)}
    assert set(found) == {*BUILT_IN, "tiny"}
    assert found["tiny"].root == tmp_path
    assert found["tiny"].images == {"train": 6, "test": 4}
    assert found["cifar10"].root is None
    assert found["cifar10"].download == 170_498_071
    assert found["digits"].download == 0


def test_listing_survives_a_broken_plugin(register: Register) -> None:
    class Stranger:
        name = "acme.stranger"

    register(Stranger)  # type: ignore[arg-type]  # that is the point
    found = {entry.name: entry for entry in listing()}
    assert "expected a subclass of Source" in found["acme.stranger"].problem
    assert found["digits"].problem == ""
    with pytest.raises(
        PluginError, match=r"'acme.stranger' \(made:Stranger of made 1\): expected a subclass of Source"
    ):
        load("acme.stranger")


def test_verify_reports_wrong_and_missing_files(tmp_path: Path, register: Register) -> None:
    register(tiny_mnist(tmp_path))
    good = verify("tiny_mnist", root=tmp_path)
    assert good.ok
    assert good.images == {"train": 5, "test": 2}
    assert [file.state for file in good.files] == ["ok"] * 4

    labels = tmp_path / "TinyMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    content = labels.read_bytes()
    labels.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    wrong = verify("tiny_mnist", root=tmp_path)
    assert not wrong.ok
    assert wrong.images == {"train": 5}
    assert [file.ok for file in wrong.files] == [True, True, True, False]
    assert wrong.files[3].state.startswith("wrong checksum: expected sha256:")
    assert "t10k-labels" in wrong.problem

    labels.write_bytes(content[:-1])
    assert verify("tiny_mnist", root=tmp_path).files[3].state.startswith("wrong size")
    labels.unlink()
    assert verify("tiny_mnist", root=tmp_path).files[3].state == "missing"
    assert "lacks TinyMNIST/raw/t10k-labels" in verify("tiny_mnist", root=tmp_path).problem


def test_verify_without_files() -> None:
    assert verify("digits").ok
    missing = verify("cifar10")
    assert not missing.ok
    assert missing.root is None
    assert "data fetch cifar10" in missing.problem


def archive_of(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(folder, "tiny")
    return packed.getvalue()


def test_fetch_unpacks_an_archive_once(tmp_path: Path, register: Register) -> None:
    source = tiny_cifar(tmp_path / "made")
    content = archive_of(tmp_path / "made" / "tiny")
    root = tmp_path / "data"
    register(source)
    with serving(Site({"/tiny.tar.gz": content})) as site:
        source.downloads = (
            Download((f"{site.address}/tiny.tar.gz",), data_file("tiny.tar.gz", content), source.files),
        )
        assert fetch("tiny", root=root) == root
        assert verify("tiny", root=root).ok
        assert sorted(path.name for path in root.iterdir()) == ["tiny"], "the archive is not kept"
        fetch("tiny", root=root)
        assert len(site.requests) == 1, "correct files are not fetched again"
        (root / "tiny" / "test").write_bytes(b"damaged")
        fetch("tiny", root=root)
        assert verify("tiny", root=root).ok, "damaged files are replaced"
        (root / "tiny" / "test").unlink()
        (root / "tiny.tar.gz").write_bytes(content)
        fetch("tiny", root=root)
        assert len(site.requests) == 2, "an archive that is already there is unpacked"


def test_fetch_of_single_files(tmp_path: Path, register: Register) -> None:
    source = tiny_mnist(tmp_path / "made")
    register(source)
    files = {f"/{file.path}": (tmp_path / "made" / file.path).read_bytes() for file in source.files}
    names: list[str] = []
    with serving(Site(files)) as site:
        source.downloads = tuple(Download((f"{site.address}/{f.path}",), f, (f,)) for f in source.files)
        fetch("tiny_mnist", root=tmp_path / "data", progress=lambda name, done, total: names.append(name))
    assert verify("tiny_mnist", root=tmp_path / "data").ok
    assert list(dict.fromkeys(names)) == [file.path for file in source.files]


def test_fetch_writes_into_the_folder_of_the_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, register: Register
) -> None:
    monkeypatch.setenv("TINYGRAD_LAB_DATA", str(tmp_path / "variable"))
    assert fetch("digits") == tmp_path / "variable", "nothing to fetch"
    monkeypatch.delenv("TINYGRAD_LAB_DATA")
    assert fetch("digits") == tmp_path / "user-cache" / "tinygrad_lab" / "data"


@pytest.mark.parametrize("name", BUILT_IN)
def test_official_addresses(name: str) -> None:
    """Every file of a data set comes with a download, from at least two places, with a strong checksum."""
    source = find_source(name)
    delivered = {file for item in source.downloads for file in item.delivers}
    assert delivered == set(source.files)
    for item in source.downloads:
        assert len(item.addresses) >= 2
        assert all(address.startswith(("http://", "https://")) for address in item.addresses)
        assert item.file.checksum.startswith("sha256:")
        assert len(item.file.checksum) == len("sha256:") + 64
