"""Checkpoints return the saved contents, and survive damaged disks and killed processes."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.train import checkpoint_writer
from tinygrad_lab.errors import CheckpointError, OptionError
from tinygrad_lab.files import writing
from tinygrad_lab.optim import Adam, ExponentialMovingAverage
from tinygrad_lab.optim.schedules import ReduceOnPlateau
from tinygrad_lab.train.checkpoint import CODES, CheckpointFolder, load, provenance, save

WRITER = Path(checkpoint_writer.__file__)


def same(a: Any, b: Any) -> bool:
    """Return whether contents are equal in type, structure and every bit."""
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(b) is list and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return type(b) is np.ndarray and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and (a == b or a != a)


shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
arrays = st.builds(
    lambda shape, code, seed: np.random.default_rng(seed).integers(0, 2, shape).astype(code),
    shapes,
    st.sampled_from(sorted(CODES)),
    st.integers(0, 99),
)
names = st.text(st.characters(codec="utf-8"), max_size=5).filter(lambda name: "/" not in name and name != "$array")
values = st.none() | st.booleans() | st.integers() | st.floats() | names | arrays
trees = st.dictionaries(
    names, st.recursive(values, lambda t: st.lists(t, max_size=3) | st.dictionaries(names, t, max_size=3), max_leaves=8)
)


@given(contents=trees)
def test_loaded_contents_equal_saved_ones(contents: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("run") / "deep" / "last.safetensors"
    save(path, contents)
    assert same(contents, load(path))


@pytest.mark.parametrize("number", [-0.0, 5e-324, math.inf, -math.inf, math.nan, 2**200, np.float32(0.1), np.int8(3)])
def test_numbers_keep_every_bit(number: Any, tmp_path: Path) -> None:
    save(tmp_path / "a", {"number": number})
    got = load(tmp_path / "a")["number"]
    plain = number.item() if isinstance(number, np.generic) else number
    assert same(plain, got)
    assert math.copysign(1, got) == math.copysign(1, plain)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.arange(10)[::-2],
        np.arange(4, dtype=">f4"),
        np.array(3.5, "float16"),
        np.array([0x7FC00001, 0xFF800000], "uint32").view("float32"),  # NaN with a payload, minus infinity
        np.broadcast_to(np.float32(1), (2, 3)),
    ],
)
def test_arrays_of_any_layout(array: np.ndarray, tmp_path: Path) -> None:
    save(tmp_path / "a", {"x": [array]})
    got = load(tmp_path / "a")["x"][0]
    assert same(np.array(array, array.dtype.newbyteorder("="), order="C"), got)
    assert got.flags.writeable


def test_tensors_are_saved_as_their_arrays_and_tuples_as_lists(tmp_path: Path) -> None:
    save(tmp_path / "a", {"x": (tgl.tensor([1.0]), tgl.Parameter(np.ones(2, "float32")))})
    assert same({"x": [np.ones(1), np.ones(2, "float32")]}, load(tmp_path / "a"))


def test_safetensors_reads_the_arrays_of_a_checkpoint(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    save(tmp_path / "a", {"model": {"0.weight": np.eye(2), "0.bias": np.zeros(2, "float32")}, "step": 3})
    found = load_file(tmp_path / "a")
    assert sorted(found) == ["model/0.bias", "model/0.weight"]
    np.testing.assert_array_equal(found["model/0.weight"], np.eye(2))


def test_the_same_contents_give_the_same_file(tmp_path: Path) -> None:
    contents = checkpoint_writer.contents(3)
    save(tmp_path / "a", contents)
    save(tmp_path / "b", contents)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"a": {"b": {1, 2}}}, "got set at 'a/b'"),
        ({"a": object()}, "got object at 'a'"),
        ({"a": {1: 2}}, "strings for keys, got dict at 'a'"),
        ({"a": np.array(["x"])}, "got <U1 at 'a'"),
        ({"a": np.array([1j])}, "got complex128"),
        ({"a": np.array([object()])}, "got object"),
        ({"a/b": np.ones(1), "a": {"b": np.ones(1)}}, "a second array of that name at 'a/b'"),
        ({"a": {"$array": "b"}}, "got dict at 'a'"),
        ({"a": b"bytes"}, "got bytes"),
    ],
)
def test_contents_that_cannot_be_saved_are_refused_with_their_path(contents: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        save(tmp_path / "a", contents)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------- damaged files


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "a"
    save(path, {"model": {"w": np.arange(40, dtype="float32"), "b": np.ones(3)}, "epoch": 7, "name": "net"})
    return path.read_bytes()


def test_a_truncated_file_is_refused(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a"
    for length in range(len(sound)):
        path.write_bytes(sound[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            load(path)


def test_a_changed_bit_anywhere_is_noticed(sound: bytes, tmp_path: Path) -> None:
    path, bits = tmp_path / "a", random.Random(0)
    path.write_bytes(sound)
    expected = load(path)
    for place in range(len(sound)):
        changed = bytearray(sound)
        changed[place] ^= 1 << bits.randrange(8)
        path.write_bytes(changed)
        with contextlib.suppress(CheckpointError):
            assert same(expected, load(path)), place  # such as a tab for a space between two entries of the header


@given(garbage=st.binary(max_size=200))
def test_garbage_is_refused(garbage: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("garbage") / "a"
    path.write_bytes(garbage)
    with pytest.raises(CheckpointError, match=r"damaged|weights alone"):
        load(path)


def header_with(metadata: dict[str, str]) -> bytes:
    header = json.dumps({"__metadata__": metadata}).encode()
    return len(header).to_bytes(8, "little") + header


def test_files_that_are_not_checkpoints_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "a"
    with pytest.raises(CheckpointError, match="got no such file"):
        load(path)
    with pytest.raises(CheckpointError, match="got a folder"):
        load(tmp_path)
    save_file({"w": np.ones(2)}, path)
    with pytest.raises(CheckpointError, match="weights alone; load it as weights"):
        load(path)
    path.write_bytes(header_with({"format": "tinygrad_lab checkpoint 2"}))
    with pytest.raises(CheckpointError, match="checkpoint 1', got 'tinygrad_lab checkpoint 2'; upgrade"):
        load(path)


@pytest.mark.parametrize("text", ["{", '{"w": {"$array": "w"}}', "[" * 100_000, '{"w": {"$array": ["w"]}}'])
def test_malformed_contents_with_a_right_checksum_are_refused(text: str, tmp_path: Path) -> None:
    from tinygrad_lab.train.checkpoint import FORMAT, _checksum

    path = tmp_path / "a"
    path.write_bytes(header_with({"format": FORMAT, "contents": text, "checksum": _checksum(text, {})}))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(path)


def test_an_unreadable_file_gives_a_clear_error(sound: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors

    def refuse(*args: Any, **options: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "a").write_bytes(sound)
    monkeypatch.setattr(safetensors, "safe_open", refuse)
    said = r"expected a file that can be read, got .*Permission denied; check its permissions"
    with pytest.raises(CheckpointError, match=said):
        load(tmp_path / "a")


# ----------------------------------------------------------------------------------------------------- failing disks


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "expected to write 1.5 MB, got No space left on device; the disk is full"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EACCES, "permission is denied"),
        (errno.EIO, "look at the folder"),
    ],
)
@pytest.mark.parametrize("place", ["open", "fsync", "replace"])
def test_errors_of_the_disk_are_explained(
    number: int, message: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    save(path, checkpoint_writer.contents(1))

    def refuse(*args: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(writing.os if place == "fsync" else Path, place, refuse)
        with pytest.raises(CheckpointError, match=message):
            save(path, checkpoint_writer.contents(2))
    assert checkpoint_writer.is_whole(load(path))
    assert load(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="needs limits on the size of files")
def test_a_disk_that_fills_up_while_writing(tmp_path: Path) -> None:
    """The system interrupts the writing by its limit on the size of files."""
    code = f"""
import resource
from pathlib import Path
from tests.train.checkpoint_writer import contents
from tinygrad_lab.errors import CheckpointError
from tinygrad_lab.train.checkpoint import save
save({str(tmp_path / "a")!r}, contents(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
try:
    save({str(tmp_path / "a")!r}, contents(2))
except CheckpointError as error:
    print(error)
"""
    root = WRITER.parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert "the file is larger than this system allows" in done.stdout
    assert load(tmp_path / "a")["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"checkpoint .*file/a: expected to write 0.0 MB, got"):
        save(tmp_path / "file" / "a", {})


def test_an_interruption_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    save(tmp_path / "a", {"step": 1})
    monkeypatch.setattr(writing.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "a", {"step": 2})
    assert load(tmp_path / "a") == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


# ------------------------------------------------------------------------------------------------------- run folders


def test_a_folder_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(tmp_path / "run", keep=3)
    assert checkpoints.latest() is None
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoints.best()
    for step in range(1, 8):
        checkpoints.save(step * 10, {"step": step * 10}, best=step in (1, 3))
        assert checkpoints.latest() == {"step": step * 10}
    assert checkpoints.steps() == [50, 60, 70]
    assert checkpoints.best() == {"step": 30}
    only = CheckpointFolder(tmp_path / "other", keep=1)
    for step in range(3):
        only.save(step, {"step": step})
    assert only.steps() == [2]
    with pytest.raises(OptionError, match="at least 1, got 0"):
        CheckpointFolder(tmp_path, keep=0)


def test_the_newest_file_is_never_removed(tmp_path: Path) -> None:
    """A run that begins again in an old folder has smaller step numbers."""
    checkpoints = CheckpointFolder(tmp_path)
    for step in (100, 200, 5):
        checkpoints.save(step, {"step": step})
    assert 5 in checkpoints.steps()


def test_a_damaged_checkpoint_is_skipped_with_a_warning(tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, {"step": step})
    checkpoints.path(2).write_bytes(checkpoints.path(2).read_bytes()[:-1])
    with pytest.warns(UserWarning, match="step-000000002.*damaged.*continuing from step 1"):
        assert checkpoints.latest() == {"step": 1}
    checkpoints.path(1).write_bytes(b"")
    said = r"expected an undamaged one, got only damaged ones, step-0.*1.*, step-0.*2.*; begin"
    with pytest.raises(CheckpointError, match=said):
        checkpoints.latest()


def test_leftovers_of_killed_processes_are_removed_and_never_read(tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(tmp_path)
    (tmp_path / ".step-000000009.safetensors.tmp").write_bytes(b"half")
    assert checkpoints.latest() is None
    checkpoints.save(10, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000010.safetensors"]


# -------------------------------------------------------------------------------------------------------------- kills


def check_survivors(folder: Path, acknowledged: int) -> int:
    """Check after a kill that the newest checkpoint is whole and no older than the last report."""
    checkpoints = CheckpointFolder(folder)
    for step in checkpoints.steps():
        assert checkpoint_writer.is_whole(load(checkpoints.path(step)))
    latest = checkpoints.latest()
    assert latest is not None
    assert latest["step"] in (acknowledged, acknowledged + 1)
    if acknowledged >= 2:
        assert checkpoint_writer.is_whole(checkpoints.best())
        assert checkpoints.best()["step"] >= acknowledged - 1
    return int(latest["step"])


def start_writer(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.train.checkpoint_writer", str(folder), *options]
    return subprocess.Popen(command, cwd=WRITER.parents[2], stdout=subprocess.PIPE, text=True)


STRIDE = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 3  # of calls at which the process is killed


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize("stride", [11, pytest.param(STRIDE, marks=pytest.mark.slow)])
def test_kill_at_system_calls(stride: int, tmp_path: Path) -> None:
    """The process dies before each opening, half write, sync, renaming and removal while it writes checkpoints."""
    call, killed = 0, True
    while killed:
        folder = tmp_path / str(call)
        with start_writer(folder, str(call)) as writer:
            assert writer.stdout is not None
            told = writer.stdout.read().split()
        killed = writer.returncode == -9
        assert killed or writer.returncode == 0
        check_survivors(folder, int(told[-1]))
        call += stride
    assert call > 42


def kill_at_random_moments(folder: Path, kills: int) -> None:
    """Kill and restart a run, and check that it always continues from its last checkpoint."""
    moments, reached = random.Random(0), 0
    for _ in range(kills):
        with start_writer(folder) as writer:
            assert writer.stdout is not None
            first = int(writer.stdout.readline())
            assert first == reached + 1
            time.sleep(moments.uniform(0.0, 0.03))  # ends inside some checkpoint; the outcome does not depend on it
            writer.kill()
            told = [first, *map(int, writer.stdout.read().split())]
        assert writer.returncode == -9
        reached = check_survivors(folder, told[-1])


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.slow
def test_kill_at_random_moments(tmp_path: Path) -> None:
    kill_at_random_moments(tmp_path, 4)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_kill_at_fifty_random_moments(tmp_path: Path) -> None:
    kill_at_random_moments(tmp_path, 50)


# ------------------------------------------------------------------------------------------- checkpoints of training


def test_a_checkpoint_may_name_the_plugins_that_it_needs(tmp_path: Path) -> None:
    from tinygrad_lab_layers.dense import Dense

    class Unregistered(tgl.Layer):
        pass

    model = tgl.Sequential(Dense(2, 3, rng=0), Unregistered(), Dense(3, 2, rng=1))
    save(tmp_path / "a", {"plugins": provenance(model)})
    plugins = load(tmp_path / "a")["plugins"]
    assert list(plugins) == ["dense", "sequential"]
    assert plugins["dense"]["distribution"] == "tinygrad-lab"
    assert plugins["dense"]["version"] == Dense.version


def test_training_resumes_bit_for_bit_from_a_file(tmp_path: Path) -> None:
    """The file holds the model, the optimizer, the schedule and the average."""

    class Net(tgl.Layer):
        def __init__(self) -> None:
            self.scale = tgl.Parameter(np.linspace(-1, 1, 5, dtype="float32"))

        def forward(self, *inputs: Any) -> Any:
            return inputs[0] * self.scale

    def parts() -> dict[str, Any]:
        net = Net()
        return {
            "model": net,
            "optimizer": Adam(net.parameters(), lr=0.1),
            "schedule": ReduceOnPlateau(factor=0.5, patience=0),
            "average": ExponentialMovingAverage(net, decay=0.9),
        }

    def follow(run: dict[str, Any], start: int, stop: int) -> None:
        for step in range(start, stop):
            x = np.random.default_rng(step).normal(size=(4, 5)).astype("float32")
            loss = (run["model"](tgl.tensor(x)) ** 2).sum()
            loss.backward()
            run["schedule"].observe(loss.item())
            run["optimizer"].lr = 0.1 * run["schedule"](step)
            run["optimizer"].step()
            run["average"].update()

    whole, first, second = parts(), parts(), parts()
    follow(whole, 0, 20)
    follow(first, 0, 9)
    save(tmp_path / "a", {name: part.state() for name, part in first.items()})
    saved = load(tmp_path / "a")
    for name, part in second.items():
        part.load_state(saved[name])
    follow(second, 9, 20)
    assert all(same(whole[name].state(), second[name].state()) for name in whole)
