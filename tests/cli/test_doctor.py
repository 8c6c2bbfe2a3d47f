"""`tinygrad-lab doctor` finds planted faults of an installation and says how to mend them."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import tinygrad_lab as tgl
from tinygrad_lab import registry
from tinygrad_lab.cli import main
from tinygrad_lab.inspect import doctor
from tinygrad_lab.kernels import threads
from tinygrad_lab.registry import Plugin, Registry

VARIABLES = ("DISPLAY", "MPLBACKEND", "TINYGRAD_LAB_DATA", "TINYGRAD_LAB_NUM_THREADS", "WAYLAND_DISPLAY")


@pytest.fixture(autouse=True)
def healthy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without settings, on which threads are counted anew."""
    for name in (*VARIABLES, *doctor._THREADS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "_state", threads._State())
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache")


def problems(check: Any) -> list[tuple[str, str]]:
    """The state and the text of the findings that are not ok; each says what to do."""
    found = [finding for finding in check() if finding.state != "ok"]
    assert all(finding.remedy for finding in found)
    return [(finding.state, finding.text) for finding in found]


def test_report_json_and_exit_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINYGRAD_LAB_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("MPLBACKEND", "papyrus")
    assert main(["doctor", "--json", "--runs", str(tmp_path)]) == 1
    found = json.loads(capsys.readouterr().out)
    broken = [finding for finding in found["findings"] if finding["state"] == "broken"]
    assert found["broken"] == len(broken) >= 2
    assert {"data", "display"} <= {finding["subject"] for finding in broken}
    subjects = {"BLAS", "GPU", "Numba", "Python", "data", "disk", "display", "packages", "plugins", "processor"}
    assert {finding["subject"] for finding in found["findings"]} == subjects | {"threads"}
    fixed = [doctor.Finding("data", "ok", "all there"), doctor.Finding("disk", "warning", "little", "free some")]
    monkeypatch.setattr(doctor, "examine", lambda runs: tuple(fixed))
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["ok       data  all there", "WARNING  disk  little", "               to mend it: free some"]
    assert lines[3].startswith("0 broken, 1 warnings, 2 checks in ")


def test_an_error_of_a_check_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, text in (("~nobody-of-this-name/x", "the home of an unknown user"), ("a" * 5000, "aaa ...")):
        monkeypatch.setenv("TINYGRAD_LAB_DATA", folder)
        ((state, found),) = problems(lambda: doctor._examined("data", doctor._data))
        assert (state, text in found) == ("broken", True)
        assert len(found) < 400


def test_packages_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(doctor._packages) == []
    needs = ["numpy>=99", "no-such-package>=1", "hypothesis>=99 ; extra == 'kit'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needs)
    (missing, old) = problems(doctor._packages)
    assert missing == ("broken", "missing: no-such-package")
    assert old[0] == "broken"
    assert old[1].endswith("needs 99")
    monkeypatch.setattr(tgl, "__version__", "9.9.9")
    (stale,) = problems(doctor._python)
    assert "but the installed package is" in stale[1]


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_DISTRIBUTION", "no-such-package")
    ((state, text),) = problems(doctor._python)
    assert (state, "is not installed" in text) == ("broken", True)
    assert not [*doctor._packages()]


@pytest.mark.parametrize("known", registry.REGISTRIES.values(), ids=list(registry.REGISTRIES))
def test_plugins(known: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("acme.gone", "acme_gone:Gone", f"tinygrad_lab.{known.kind}")
    monkeypatch.setitem(known.plugins(), "acme.gone", [Plugin("acme.gone", entry.value, "acme-gone", "1.0", entry)])
    ((state, text),) = problems(doctor._plugins)
    assert state == "broken"
    assert text.startswith(f"acme.gone of {known.kind}: ")


def test_cases_need_no_examination_without_hypothesis(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("acme.gone", "acme_gone:CASES", "tinygrad_lab.cases")
    gone = [Plugin("acme.gone", entry.value, "acme-gone", "1.0", entry)]
    monkeypatch.setitem(registry.cases.plugins(), "acme.gone", gone)
    monkeypatch.setattr(doctor, "installed", lambda name: False)
    assert problems(doctor._plugins) == []


def test_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(doctor, "_writable", lambda folder: False)
    ((state, text),) = problems(doctor._numba)
    assert (state, "cannot be cached" in text) == ("broken", True)
    monkeypatch.setitem(sys.modules, "numba", None)
    ((state, text),) = problems(doctor._numba)
    assert (state, "cannot be imported" in text) == ("broken", True)

    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with tgl.reference_only():
        assert [state for state, _ in problems(doctor._numba)] == ["warning", "warning"]


def test_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(doctor, "installed", lambda name: False)
    monkeypatch.setattr(doctor, "find_backend", _without_cupy)
    ((state, text),) = problems(doctor._gpu)
    assert (state, text) == ("warning", "no CuPy")
    monkeypatch.setattr(doctor, "installed", lambda name: True)
    ((state, _),) = problems(doctor._gpu)
    assert state == "broken"


def _without_cupy(name: str) -> Any:
    raise tgl.errors.DeviceError("no CuPy")


@pytest.mark.parametrize(
    ("variables", "quota", "problem"),
    [
        ({}, "max 100000", []),
        ({"TINYGRAD_LAB_NUM_THREADS": "none"}, "max 100000", ["broken"]),
        ({"TINYGRAD_LAB_NUM_THREADS": "4"}, "100000 100000", ["warning"]),
        ({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "2"}, "max 100000", ["warning"]),
        ({"OMP_NUM_THREADS": "several"}, "max 100000", ["broken"]),
        ({"NUMBA_NUM_THREADS": "9999"}, "max 100000", ["warning"]),
    ],
)
def test_threads(
    variables: dict[str, str], quota: str, problem: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(doctor, "_CPU_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(doctor, "_usable_cores", lambda: 4)
    for name, value in ({"TINYGRAD_LAB_NUM_THREADS": "1"} | variables).items():
        monkeypatch.setenv(name, value)
    assert [state for state, _ in problems(doctor._threads)] == problem


def test_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert doctor._writable(tmp_path / "not" / "there" / "yet")
    (tmp_path / "file").write_text("")
    ((state, text),) = problems(lambda: doctor._folders(tmp_path / "file" / "runs"))
    assert (state, text) == ("broken", f"the folder for runs, {tmp_path / 'file' / 'runs'}, cannot be written")
    assert not (tmp_path / "not").exists()
    for free, expected in ((1 << 20, "broken"), (1 << 30, "warning"), (1 << 40, None)):
        usage = shutil._ntuple_diskusage(1 << 40, 0, free)  # type: ignore[attr-defined]
        monkeypatch.setattr(shutil, "disk_usage", lambda path, usage=usage: usage)
        assert [state for state, _ in problems(lambda: doctor._folders(tmp_path))] == [expected] * 3 * bool(expected)


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="has a display")
def test_display(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(doctor._display) == []
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    ((state, text),) = problems(doctor._display)
    assert (state, "needs a display" in text) == ("broken", True)
    monkeypatch.setenv("DISPLAY", ":0")
    assert problems(doctor._display) == []


def test_processor_without_avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(doctor, "_cpu_flags", lambda: {"sse2"})
    assert [state for state, _ in problems(doctor._processor)] == ["warning"]
    monkeypatch.setattr(doctor, "_cpu_flags", lambda: {"avx2", "avx512f"})
    assert problems(doctor._processor) == []
