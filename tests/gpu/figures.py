"""Measure every figure of the GPU part and write them as JSON; `run_all.sh` calls this program.

    python -m tests.gpu.figures --out FOLDER [--data PIECES] [--seconds 520] [--parts tests,kit,lenet5,bench,ten_layer]

Each part runs in processes of its own and has a share of the time. Its results are written at once, so that they are
kept if a later part fails. `--rehearse` runs all parts on the processor in the smallest size, to test the script.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LARGE = {"ten_layer": 128, "alexnet": 128, "vgg16": 128, "resnet50": 128}
SMALL = {"ten_layer": 16, "resnet20": 16}
SHARES = {"tests": 90.0, "kit": 110.0, "lenet5": 80.0, "bench": 220.0, "ten_layer": 520.0}  # seconds at most
EXAMPLES = 4
NEEDED = ["cupy", "cudnn", "torch", "hypothesis", "pytest", "pytest_timeout", "xdist", "scipy", "sklearn"]
NEEDED += ["safetensors", "platformdirs", "rich", "threadpoolctl", "matplotlib"]


class Budget:
    """The remaining time."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self, most: float) -> float:
        """Return the remaining seconds, at most `most`."""
        return max(1.0, min(most, self.end - time.monotonic()))


def call(command: list[str], seconds: float, **variables: str) -> dict[str, Any]:
    """Run a Python command; return its last line of JSON, or a description of the failure."""
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out:
        done = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its child processes end with it
        )
        late = False
        try:
            done.wait(seconds)
        except subprocess.TimeoutExpired:
            late = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(done.pid, signal.SIGKILL)
        done.wait()
        out.seek(0)
        text = out.read()
    took = round(time.monotonic() - begin, 1)
    if late:
        return {"error": f"not done in {seconds:.0f} s", "tail": text[-1000:], "wall_seconds": took}
    for line in reversed(text.strip().splitlines()):
        with contextlib.suppress(ValueError, TypeError):
            return {**json.loads(line), "wall_seconds": took}
    return {"status": done.returncode, "tail": text[-3000:], "wall_seconds": took}


def run_tests(budget: Budget, given: argparse.Namespace) -> dict[str, Any]:
    """Run the tests that are marked `gpu`, and those of raw kernels on the GPU instead of the simulated one."""
    files = ["tests/gpu/test_raw_kernels.py", "tests/gpu/test_on_a_gpu.py"]
    report = given.out / "tests.xml"
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", f"--junitxml={report}", *files]
    command += ["-k", "relu or bfloat16" if given.rehearse else "not whole_kit"]  # the kit is a separate part
    real = {} if given.rehearse else {"TINYGRAD_LAB_TEST_GPU": "1"}
    found = call(command, budget.left(SHARES["tests"]), HYPOTHESIS_PROFILE="ci", **real)
    return {"passed": found.get("status") == 0, **found}


def run_kit(budget: Budget, given: argparse.Namespace) -> dict[str, Any]:
    """Run the kit: every layer on NumPy and on CuPy, and every kernel compared with its reference."""
    seconds = budget.left(SHARES["kit"])
    command = ["-m", "tests.gpu.kit", "--device", given.device, "--out", str(given.out / "kit.jsonl")]
    command += ["--examples", "2", "--names", "relu,dense"] if given.rehearse else ["--examples", str(EXAMPLES)]
    return call([*command, "--seconds", str(max(1.0, seconds - 15))], seconds)


def run_lenet5(budget: Budget, given: argparse.Namespace) -> dict[str, Any]:
    """Train LeNet-5 by its recipe on NumPy and on CuPy, to compare the accuracies."""
    seconds = budget.left(SHARES["lenet5"]) / 2
    found = {}
    for device in ("cpu", given.device):
        runs = given.out / f"lenet5-{device}"
        short = ["--set", "training.epochs=1"] if given.rehearse else []
        how = ["--device", device, "--seconds", str(seconds), "--runs", str(runs)]
        found[device] = call(["-m", "tests.gpu.accuracy", "lenet5", *how, *short], seconds + 15)
    return found


def specs(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the measurements to make, in pairs of this framework and PyTorch, the most important first."""
    if given.rehearse:
        tiny = {"network": "ten_layer", "batch": 2, "precision": "float32"}
        return [{**tiny, "framework": "torch"}, {**tiny, "framework": "tinygrad_lab"}]
    found = []
    for network, batch in SMALL.items():
        found += [
            {"network": network, "batch": batch, "precision": "tf32", "framework": "torch"},
            {"network": network, "batch": batch, "precision": "tf32", "framework": "tinygrad_lab", "capture": True},
        ]
    for precision in ("tf32", "bf16"):
        for network, batch in LARGE.items():
            both = {"network": network, "batch": batch, "precision": precision}
            found += [{**both, "framework": "torch"}, {**both, "framework": "tinygrad_lab"}]
    for network, batch in LARGE.items():  # compared with bfloat16 of PyTorch
        found.append({"network": network, "batch": batch, "precision": "float16", "framework": "tinygrad_lab"})
    return found


def run_bench(budget: Budget, given: argparse.Namespace) -> dict[str, Any]:
    """Measure training steps of both frameworks, each in a process of its own; earlier measurements are kept."""
    own = Budget(budget.left(SHARES["bench"]))
    before = [m for m in given.found.get("bench", {}).get("measured", []) if "seconds_a_step" in m]
    measured: list[dict[str, Any]] = []
    for spec in specs(given):
        if known := [m for m in before if spec.items() <= m.items()]:
            measured.append(known[0])
            continue
        if own.left(60.0) < 8:
            measured.append({**spec, "error": "no time left"})
            continue
        whole = {**spec, "device": given.device, "seconds": 0.2 if given.rehearse else 2.0}
        measured.append({**spec, **call(["-m", "tests.gpu.step_worker", json.dumps(whole)], own.left(60.0))})
        given.save("bench", {"measured": measured, "ratios": ratios(measured)})
    return {"measured": measured, "ratios": ratios(measured)}


def ratios(measured: list[dict[str, Any]]) -> dict[str, float]:
    """Return PyTorch's seconds over ours, by network, batch and precision; our float16 is divided by its bfloat16."""
    theirs = {
        (m["network"], m["batch"], m["precision"]): m["seconds_a_step"]
        for m in measured
        if m["framework"] == "torch" and "seconds_a_step" in m
    }
    found = {}
    for m in measured:
        key = (m["network"], m["batch"], "bf16" if m["precision"] == "float16" else m["precision"])
        if m["framework"] != "torch" and "seconds_a_step" in m and key in theirs:
            captured = ", captured" if m.get("capture") else ""
            found[f"{m['network']}, batch {m['batch']}, {m['precision']}{captured}"] = theirs[key] / m["seconds_a_step"]
    return found


def run_ten_layer(budget: Budget, given: argparse.Namespace) -> dict[str, Any]:
    """Train the recipe `ten_layer` until the time ends; a second call continues from its checkpoint."""
    seconds = budget.left(SHARES["ten_layer"]) - 15
    if given.rehearse or seconds < 20:
        return {"error": "left out in a rehearsal" if given.rehearse else "no time left; run it with --parts ten_layer"}
    command = ["-m", "tests.gpu.accuracy", "ten_layer", "--device", given.device, "--seconds", str(seconds)]
    command += ["--runs", str(given.out / "ten_layer")]
    command += ["--set", "training.capture=true", "--set", "training.precision=tf32"]
    return call([*command, *(["--data", str(given.data)] if given.data else [])], seconds + 15)


PARTS: dict[str, Callable[[Budget, argparse.Namespace], dict[str, Any]]] = {
    "tests": run_tests,
    "kit": run_kit,
    "lenet5": run_lenet5,
    "bench": run_bench,
    "ten_layer": run_ten_layer,
}


def machine() -> dict[str, Any]:
    """Return a description of the machine."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        gpu = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        gpu = "none"
    versions = {}
    for name in ("numpy", "cupy", "torch", "cudnn"):
        code = f"import json, {name}; print(json.dumps(dict(v={name}.__version__)))"
        versions[name] = call(["-c", code], 60).get("v", "none")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return {"gpu": gpu, "python": platform.python_version(), **versions, "missing": missing}


def main() -> None:
    """Run the requested parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seconds", type=float, default=520.0)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rehearse", action="store_true")
    given = parser.parse_args()
    given.device = "cpu" if given.rehearse else "cuda"
    given.out = given.out.resolve()
    given.data = given.data.resolve() if given.data else None
    given.out.mkdir(parents=True, exist_ok=True)
    budget, path = Budget(given.seconds), given.out / "figures.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def save(part: str, value: dict[str, Any]) -> None:
        found[part] = value
        path.write_text(json.dumps(found, indent=2))

    given.found, given.save = found, save
    save("machine", machine())
    if found["machine"]["missing"]:
        print(f"missing here: {', '.join(found['machine']['missing'])}", file=sys.stderr)
    for part in given.parts.split(","):
        print(f"{part} ...", file=sys.stderr, flush=True)
        try:
            save(part, PARTS[part](budget, given))
        except Exception as error:  # the other parts still run
            save(part, {"error": f"{type(error).__name__}: {error}"})
    print(path)


if __name__ == "__main__":
    main()
