"""Runs and their folders: choice of epochs, ends of runs, resuming."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tinygrad_lab import registry
from tinygrad_lab.cli import main
from tinygrad_lab.errors import CaptureError, ConfigError, NonFiniteError, OptionError
from tinygrad_lab.inspect import save_curves
from tinygrad_lab.train import Trainer, build, find_recipe, run_recipe
from tinygrad_lab.train import folder as folders
from tinygrad_lab.train import run as module
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.train.checkpoint import CheckpointFolder
from tinygrad_lab.train.folder import read_run
from tinygrad_lab.train.progress import LineReporter, LiveReporter, Reporter
from tinygrad_lab.train.recipe import Recipe


def short(*settings: str) -> Recipe:
    return find_recipe("lenet5").override(["data.per_class=20", "training.epochs=2", *settings])


def test_runs_have_the_names_that_the_user_gives(tmp_path: Path) -> None:
    found = [folders.new_run_folder(tmp_path, find_recipe("lenet5"), "mine").name for _ in range(2)]
    assert found == ["mine", "mine-2"]
    for name in ("a/b", ""):
        with pytest.raises(ConfigError, match="runs: expected a name of letters"):
            folders.new_run_folder(tmp_path, find_recipe("lenet5"), name)
    assert main(["train", "--quiet", "--resume", str(tmp_path / "mine"), "--name", "other"]) == 1


def test_no_checkpoint_is_chosen_on_the_test_set(tmp_path: Path) -> None:
    for share in (0.1, 0.0):
        run_recipe(short(f"data.validation={share}", "training.epochs=1"), Reporter(), runs=tmp_path / str(share))
        (folder,) = (tmp_path / str(share)).iterdir()
        assert (folder / "checkpoints" / "best.safetensors").exists() == bool(share)


def test_a_schedule_by_a_metric_needs_validation_images() -> None:
    recipe = find_recipe("lenet5")
    tables = {**recipe.tables, "schedule": {"name": "plateau", "patience": 1}}
    assert build_trainer(Recipe("mine", tables)).validation is not None
    with pytest.raises(ConfigError, match=r"expected data.validation, the data whose metric drives schedule, got none"):
        build_trainer(Recipe("mine", {**tables, "data": {**recipe["data"], "validation": 0.0}}))


@pytest.mark.parametrize("setting", ["gradient_norms=true", "clip_norm=1.0", "clip_value=1.0"])
def test_captured_steps_refuse_settings_that_need_gradients(setting: str) -> None:
    with pytest.raises(ConfigError, match=rf"got training\.{setting.partition('=')[0]}; leave out one of"):
        build_trainer(short("training.capture=true", f"training.{setting}"))


def test_what_the_device_cannot_do_is_refused_before_the_run_folder_exists(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="a device with graphs"):
        run_recipe(short("training.capture=true"), Reporter(), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["loss.label_smoothing=2"], "softmax_cross_entropy: expected label_smoothing from 0 to 1, got 2"),
        (['loss={name="auxiliary_cross_entropy", weight=-1.0}'], "expected a weight that is not negative, got -1.0"),
        (['loss={name="huber", delta=0.0}'], "huber: expected delta above 0, got 0.0"),
        (["data.size=[0,3]"], r"recipe 'lenet5': data.size: expected two whole numbers of at least 1, .* got \[0, 3\]"),
        (["data.size=[16]"], r"data.size: expected two whole numbers of at least 1, \(height, width\), got \[16\]"),
        (["data.size=[16.5,3]"], r"data.size: expected two whole numbers of at least 1, .* got \[16.5, 3\]"),
    ],
)
def test_wrong_options_are_refused_before_the_run_folder_exists(
    settings: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=message):
        run_recipe(short(*settings), Reporter(), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_loss_of_several_outputs_passes_the_check_of_its_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of_pairs(logits: Any, labels: Any, *, share: float = 0.5) -> Any:
        first, _second = logits
        return first.no_such_thing * share

    monkeypatch.setitem(registry.losses._loaded, "huber", of_pairs)
    assert build_trainer(short('loss={name="huber", share=0.1}')).loss.keywords == {"share": 0.1}  # type: ignore[attr-defined]  # a partial


def test_a_run_that_ended_early_reports_its_last_epoch_and_does_not_resume(tmp_path: Path) -> None:
    told: list[int] = []

    class Tells(Reporter):
        def epoch(self, history: Any) -> None:
            told.append(len(history))

    recipe = short("training.epochs=9", "training.patience=2", "optimizer.lr=0.0")
    result = run_recipe(recipe, Tells(), runs=tmp_path)
    (folder,) = tmp_path.iterdir()
    assert told == [1, 2, 3]
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3
    again = run_recipe(read_run(folder), Tells(), resume=folder)
    assert told == [1, 2, 3]
    assert again["ended_early"] == result["ended_early"]
    assert again["epochs"] == 3


def test_ctrl_c_in_the_last_evaluation_ends_all_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate = Trainer._evaluate

    def interrupted(self: Trainer) -> Any:
        signal.raise_signal(signal.SIGINT)
        return evaluate(self)

    arguments = ["train", "--quiet", "--set", "data.per_class=20", "--set", "training.epochs=1"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_evaluate", interrupted)
        assert main([*arguments, "--seeds", "3", "--runs", str(tmp_path)]) == 130
    (folder,) = tmp_path.iterdir()
    assert not (folder / "result.json").exists()
    told = capsys.readouterr().err.splitlines()
    assert told == [f"tinygrad-lab train: stopped in epoch 1 of 1; continue with --resume {folder}"]
    saved = CheckpointFolder(folder / "checkpoints").latest()
    assert saved is not None
    assert saved["epoch"] == 1
    assert main(["train", "--quiet", "--resume", str(folder)]) == 0
    assert json.loads((folder / "result.json").read_text())["epochs"] == 1


def test_ctrl_c_after_the_last_callback_interrupts_the_run(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train", lambda self, epochs: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            run_recipe(short(), Reporter(), runs=tmp_path)


def test_a_run_resumes_with_the_batch_whose_loss_was_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, steps = short("training.accumulate=2", "data.batch_size=32"), itertools.count(1)
    forward = Trainer.forward

    def spoiled(self: Trainer, x: Any, labels: Any) -> Any:
        loss, logits = forward(self, x, labels)
        return (loss * np.float32("nan") if next(steps) == 4 else loss), logits

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "forward", spoiled)
        with pytest.raises(NonFiniteError):
            run_recipe(recipe, Reporter(), runs=tmp_path / "parts")
    (folder,) = (tmp_path / "parts").iterdir()
    saved = CheckpointFolder(folder / "checkpoints").latest()
    assert saved is not None
    assert (saved["loader"]["batch"], saved["steps"]) == (2, 1)
    parts = run_recipe(read_run(folder), Reporter(), resume=folder)
    whole = run_recipe(recipe, Reporter(), runs=tmp_path / "whole")
    assert parts["test"] == whole["test"]
    assert parts["training_accuracy"] == whole["training_accuracy"]


ONE_EPOCH = ["train", "--quiet", "--set", "data.per_class=20", "--set", "training.epochs=1"]


def fill_the_disk(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make the disk seem full for one file of a run."""
    replace = Path.replace

    def refused(path: Path, target: Path) -> Any:
        if target.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refused)


@pytest.mark.parametrize("name", ["metrics.jsonl", "weights.safetensors", "result.json"])
def test_a_full_disk_is_reported_in_one_line_and_the_run_can_resume(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        fill_the_disk(patch, name)
        assert main([*ONE_EPOCH, "--runs", str(tmp_path)]) == 1
    (folder,) = tmp_path.iterdir()
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"write {folder}/{name}" in message or f"run {folder}: expected to write {name}" in message
    assert "got No space left on device; the disk is full: free some space" in message
    assert f"--resume {folder}" in message or name == "weights.safetensors"
    assert main(["train", "--quiet", "--resume", str(folder)]) == 0
    assert json.loads((folder / "result.json").read_text())["epochs"] == 1


def test_a_full_disk_at_the_beginning_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_the_disk(monkeypatch, "recipe.json")
    assert main([*ONE_EPOCH, "--runs", str(tmp_path)]) == 1
    message = f"runs: expected to make a folder for 'lenet5' in {tmp_path}, got No space left on device; the disk is "
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


TITLES = ["a $x_$ b", r"$\phantom$", "$$", "\\", "[/] [bold", "line\nline", "x" * 9999, "\udcff", "\U0001f600", ""]


@pytest.mark.slow
@pytest.mark.parametrize("title", TITLES)
def test_no_title_of_a_recipe_prevents_a_result(title: str, tmp_path: Path) -> None:
    recipe = short("training.epochs=1")
    recipe.tables["recipe"]["title"] = title
    for reporter in (LineReporter(io.StringIO()), LiveReporter(io.StringIO())):
        run_recipe(recipe, reporter, runs=tmp_path)
    for folder in tmp_path.iterdir():
        assert json.loads((folder / "result.json").read_text())["epochs"] == 1
        save_curves(folder)
        assert (folder / "curves.png").exists()
        assert run_recipe(read_run(folder), Reporter(), resume=folder)["epochs"] == 1


@pytest.mark.slow
def test_curves_that_cannot_be_drawn_are_reported_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tinygrad_lab", *ONE_EPOCH, "--runs", str(tmp_path)]
    environment = {**os.environ, "MPLBACKEND": "nonsense"}
    for arguments in ([*ONE_EPOCH, "--seeds", "2", "--runs", str(tmp_path)], ["train", "--quiet", "--resume"]):
        folders = sorted(tmp_path.iterdir())
        command = [sys.executable, "-m", "tinygrad_lab", *arguments, *map(str, folders[:1])]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0
        lines = [line for line in done.stderr.splitlines() if "no compiled kernels" not in line]  # without Numba
        assert len(lines) == (1 if folders else 2)
        assert all(re.match(r"tinygrad_lab: no picture \S*curves.png: .*backend", line) for line in lines)
    for folder in folders:
        assert {"result.json", "weights.safetensors"} <= {path.name for path in folder.iterdir()}


def test_curves_that_do_not_fit_on_the_disk_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill_the_disk(monkeypatch, "curves.png")
    assert main([*ONE_EPOCH, "--runs", str(tmp_path)]) == 0
    assert "curves.png: OSError: [Errno 28] No space left on device" in caplog.text


def test_a_run_can_be_resumed_as_soon_as_its_folder_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*args: Any, **options: Any) -> None:
        raise Killed

    for name in ("write_atomically", "_named"):
        with monkeypatch.context() as patch:
            patch.setattr(folders, name, killed)
            with pytest.raises(Killed):
                run_recipe(short("training.epochs=1"), Reporter(), runs=tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(module, "_train", killed)
    with pytest.raises(Killed):
        run_recipe(short("training.epochs=1"), Reporter(), runs=tmp_path)
    monkeypatch.undo()
    (folder,) = tmp_path.iterdir()
    assert run_recipe(read_run(folder), Reporter(), resume=folder)["epochs"] == 1


def test_only_one_process_at_a_time_may_resume_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fcntl")
    others: list[int] = []

    class Resumes(Reporter):
        def epoch(self, history: Any) -> None:
            (folder,) = tmp_path.iterdir()
            others.append(main(["train", "--resume", str(folder)]))
            (tmp_path / folder / ".result.json-0123abcd.tmp").write_text("left by a killed process")

    run_recipe(short("training.epochs=1"), Resumes(), runs=tmp_path)
    (folder,) = tmp_path.iterdir()
    assert others == [1]
    assert capsys.readouterr().err == (
        f"tinygrad-lab train: run {folder}: expected a run that no other process uses, got one in use; wait until "
        "that process ends, or begin a new run\n"
    )
    assert main(["train", "--resume", str(folder)]) == 0
    assert not list(folder.glob(".*"))


@pytest.mark.slow
def test_processes_that_resume_one_run_never_leave_a_partial_file(tmp_path: Path) -> None:
    """Each process resumes after another, or reports that another one uses the run; every file is always complete."""
    assert main([*ONE_EPOCH, "--set", "training.epochs=3", "--runs", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    whole = (folder / "weights.safetensors").read_bytes()
    for path in (folder / "checkpoints").glob("*"):
        path.unlink()  # so that all three epochs run again
    command = [sys.executable, "-m", "tinygrad_lab", "train", "--quiet", "--resume", str(folder)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    while any(process.poll() is None for process in processes):
        for name in ("recipe.json", "result.json"):
            assert json.loads((folder / name).read_text())
        for line in (folder / "metrics.jsonl").read_text().splitlines():
            assert json.loads(line)
        assert (folder / "curves.png").read_bytes().endswith(b"IEND\xaeB`\x82")
        for path in (folder / "checkpoints").glob("step-*"):
            with contextlib.suppress(FileNotFoundError):  # removed in the meantime
                load_file(path)
        time.sleep(0.01)
    ends = [(process.returncode, process.communicate()[1]) for process in processes]
    assert all(code == 0 or (code == 1 and "got one in use" in error) for code, error in ends), ends
    assert any(code == 0 for code, _ in ends)
    assert (folder / "weights.safetensors").read_bytes() == whole
    assert not list(folder.rglob(".*"))


@pytest.mark.parametrize(("key", "measure"), [("clip_norm", np.linalg.norm), ("clip_value", lambda g: abs(g).max())])
def test_a_recipe_sets_bounds_of_the_gradients(key: str, measure: Any) -> None:
    trainer = build_trainer(short(f"training.{key}=0.05", "optimizer.lr=0.0"))
    clip, before, after = trainer.clip, [], []
    assert clip is not None

    def clip_and_look(parameters: Any) -> None:
        for seen in (before, after):
            seen.append(measure(np.concatenate([p.grad.numpy().ravel() for p in parameters.values()])))
            clip(parameters)

    trainer.clip = clip_and_look
    trainer.train_epoch()
    assert min(before) > 0.05
    assert after == pytest.approx([0.05] * len(after))
    assert build_trainer(short()).clip is None
    with pytest.raises(ConfigError, match=f"{key}: expected a bound above 0, got 0"):
        build_trainer(short(f"training.{key}=0"))


def test_a_handler_that_was_not_installed_by_python_is_replaced_with_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = {}

    def install(number: int, handler: Any) -> None:
        if handler is None:
            raise TypeError("signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object")
        installed[number] = handler

    monkeypatch.setattr(signal, "signal", install)
    with module._Interruption():
        assert signal.SIG_DFL not in installed.values()
    assert installed == dict.fromkeys((signal.SIGINT, signal.SIGTERM), signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_first_epoch_prints_how_to_resume(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forward = Trainer.forward

    def interrupted(self: Trainer, x: Any, labels: Any) -> Any:
        signal.raise_signal(number)
        return forward(self, x, labels)

    arguments = ["train", "--quiet", "--set", "data.per_class=20", "--set", "training.epochs=2"]
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "forward", interrupted)
        assert main([*arguments, "--runs", str(tmp_path)]) == 128 + number
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    (folder,) = tmp_path.iterdir()
    assert capsys.readouterr().err == f"tinygrad-lab train: stopped in epoch 1 of 2; continue with --resume {folder}\n"
    assert main(["train", "--quiet", "--resume", str(folder)]) == 0


def test_a_folder_without_a_run_is_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.endswith(f"--resume: expected the folder of a run, got {tmp_path}; it holds no recipe.json\n")
    assert told.count(str(tmp_path)) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("data.name=cifar10",), "expected images of 32x32x1 for 'lenet5', got 32x32x3 of 'cifar10'; --set "),
        (("data.name=mnist",), "got 28x28x1 of 'mnist'; --set 'model.image=[28,28,1]'"),
        (("data.size=[40,40]",), "got 40x40x1 of 'digits'; --set 'model.image=[40,40,1]'"),
        (("model.classes=7",), "an output for each of the 10 classes of 'digits', got 7; --set model.classes=10"),
        (
            ('model={name="sequential", layers=[{name="flatten"}, {name="dense", in_features=1024, out_features=7}]}',),
            "an output for each of the 10 classes of 'digits', got 7; change the network's last layer",
        ),
        (('model={name="cuda_convnet"}',), "expected images of 32x32x3 for 'cuda_convnet', got 32x32x1 of 'digits'"),
        (('augment=[{name="center_crop", size=[28, 28]}]',), "got 32x32x1 of 'digits', 28x28x1 augmented; --set 'mod"),
    ],
)
def test_images_that_do_not_fit_the_network_are_refused_before_they_are_read(
    settings: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "classes" not in message:  # the number of classes is only in the files
        monkeypatch.setattr(build, "load", lambda *args, **options: pytest.fail("read"))
    with pytest.raises(ConfigError) as told:
        run_recipe(short(*settings), Reporter())
    assert message in str(told.value)


def test_images_of_unknown_shape_are_checked_after_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.datasets["digits"], "image", None)
    with pytest.raises(ConfigError, match="got 40x40x1 of 'digits'"):
        run_recipe(short("data.size=[40,40]"), Reporter())


NETWORK = """model={name="sequential", layers=[
    {name="conv2d", in_channels=1, out_channels=4, kernel_size=5, stride=2, activation="relu"}, {name="group_norm",
    groups=2, channels=4}, {name="flatten"}, {name="dense", in_features=784, out_features=10}]}"""


def test_a_recipe_may_define_a_network_by_its_layers(tmp_path: Path) -> None:
    recipe = short(" ".join(NETWORK.split()))
    first, again = (run_recipe(recipe, Reporter(), runs=tmp_path) for _ in range(2))
    assert first["figures"] == again["figures"]
    wrong = short(" ".join(NETWORK.replace("784", "700").split()))
    with pytest.raises(ConfigError, match=r"the network takes, got 32x32x1 of 'digits': Dense.*700.*784.*layer '3'"):
        run_recipe(wrong, Reporter(), runs=tmp_path)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"data": {"name": "digits", "held_out": 0.1}}, r"held_out \(now validation\)"),
        ({"model": {"name": "sequential", "layers": [{"name": "max_pool2d", "window": 2}]}}, r"window \(now kernel"),
    ],
)
def test_a_run_of_an_earlier_version_is_refused(settings: dict[str, Any], names: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({"name": "lenet5", **short().tables, **settings}))
    with pytest.raises(ConfigError, match=rf"written by an earlier version, .* {names}.*; begin a new run"):
        read_run(tmp_path)


def test_training_that_diverges_to_finite_losses_ends_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--set", "data.per_class=10", "--set", "training.epochs=2", "--set", "augment=[]"]
    assert main(["train", "--quiet", "--runs", str(tmp_path), *short, "--set", "optimizer.lr=20.0"]) == 0
    assert "warning: the network did not learn: the training loss rose from " in capsys.readouterr().out
    (folder,) = tmp_path.iterdir()
    assert "rose" in json.loads((folder / "result.json").read_text())["diverged"]


def test_a_softmax_before_softmax_cross_entropy_gives_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    layers = '[{name="flatten"}, {name="dense", in_features=1024, out_features=10}, {name="softmax"}]'
    build_trainer(short(f'model={{name="sequential", layers={layers}}}'))
    assert "the network ends in Softmax, which softmax_cross_entropy applies too" in caplog.text
