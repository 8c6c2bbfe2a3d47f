"""Random command lines: the status is 0, 1 or 2, and an error is one line, never a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.mutations import cases, limits
from tinygrad_lab.cli import main

pytestmark = pytest.mark.slow

ODD_WORDS = (
    "", "-", "--", "~nosuchuser", "~nosuchuser/x.toml", "x" * 255, "x" * 256 + ".toml", "x" * 5000, "/proc/x",
    "/dev/null", "/dev/null/x", "/".join(["d" * 100] * 45), "http://[::1", "a\nb", "é", "\udcff", "../..", ".", "a b",
    "[/]", "$x_$", "-1", "0", "1e400", "9" * 5000, "nan", "lenet5", "relu", "digits", "lenet5:none", "none.toml",
    "x.safetensors", "x.svg", "a=b", "a.b=c", "classes=-1", "classes=9223372036854775808", "model.name=3",
    "data.name=[]", "optimizer.lr=1e308",
)  # fmt: skip
CALLS = (
    ["train", "ODD", "--runs", "RUNS", "--quiet"],
    ["train", "--runs", "RUNS", "--quiet", "--set", "training.epochs=1", "--set", "data.per_class=2", "--set", "ODD"],
    ["train", "--runs", "RUNS", "--quiet", "--data", "ODD", "--set", "data.name=mnist"],
    ["train", "--runs", "RUNS", "--quiet", "--device", "ODD"],
    ["train", "--runs", "RUNS", "--quiet", "--seeds", "ODD", "--set", "data.name=none"],
    ["train", "--resume", "ODD"],
    ["recipes", "ODD"],
    ["results", "ODD"],
    ["results", "RUNS", "--write", "ODD"],
    ["summary", "ODD"],
    ["summary", "lenet5", "--set", "ODD"],
    ["draw", "ODD", "-o", "RUNS/x.svg"],
    ["draw", "lenet5", "-o", "ODD"],
    ["draw", "lenet5", "-o", "RUNS/x.svg", "--set", "ODD"],
    ["layers", "ODD"],
    ["check", "ODD", "--examples", "1"],
    ["check", "nosuch", "--html", "ODD"],
    ["data", "list", "--data", "ODD"],
    ["data", "verify", "ODD"],
    ["data", "verify", "mnist", "--data", "ODD"],
    ["data", "ODD", "mnist"],
    ["weights", "show", "ODD"],
    ["weights", "import", "ODD", "ODD", "ODD"],
    ["weights", "import", "lenet5", "ODD", "RUNS/x.safetensors", "--rules", "ODD"],
    ["new-layer", "ODD", "RUNS/made"],
    ["new-plugin", "--kind", "ODD", "ODD", "RUNS/made"],
    ["learn", "ODD"],
    ["learn", "start", "ODD", "RUNS/start"],
    ["learn", "hint", "ODD"],
    ["learn", "check", "1", "ODD"],
    ["bench", "ODD", "--rounds", "ODD"],
    ["ODD"],
    ["ODD", "ODD"],
)
TAKE_TIME = (["train", "lenet5"], ["check", "relu"])  # correct calls, which take long


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYGRAD_LAB_LEARN", str(tmp_path / "learn"))


@pytest.mark.slow
def test_random_command_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for case in cases(250):
        rng = random.Random(case)
        call = [rng.choice(ODD_WORDS) if word == "ODD" else word for word in rng.choice(CALLS)]
        call = [word.replace("RUNS", str(tmp_path / "r")) for word in call]
        if call[:2] in TAKE_TIME or (call[:1] == ["bench"] and "lenet5" in call):
            continue
        capsys.readouterr()
        status = outcome(call)
        output, error = capsys.readouterr()
        assert status in (0, 1, 2), call
        assert "Traceback" not in error, call
        if status == 1 and not output:  # findings of a check or a verification are printed as output
            said = [line for line in error.splitlines() if not line.startswith(("  ", "tinygrad_lab: "))]
            assert len("".join(said)) < 2500, call
            assert said[0].startswith(f"tinygrad-lab {call[0]}: "), call


def outcome(call: list[str]) -> int:
    """Run a call and return its exit status."""
    with limits():
        try:
            return main(call)
        except SystemExit as end:
            return int(end.code or 0)
        except Exception as error:
            error.add_note(f"call {call!r}")
            raise
