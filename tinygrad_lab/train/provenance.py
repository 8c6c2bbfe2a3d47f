"""Provenance of a measurement: processor, system, versions, and the revision of the code."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import tinygrad_lab as tgl
from tinygrad_lab.backend import find_backend

PACKAGES = ("numpy", "scipy", "numba", "torch")


def processor() -> str:
    """Return the processor's name, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    return platform.processor() or platform.machine()


def machine(device: str = "cpu") -> dict[str, str | int]:
    """Return device, processor, number of cores, system and `versions`; for a GPU also its name and CuPy's version."""
    system: dict[str, str | int] = {"processor": processor(), "cores": os.cpu_count() or 1, "system": platform.system()}
    return system | versions() | {"device": device} | (_gpu() if device == "cuda" else {})


def _gpu() -> dict[str, str | int]:
    cupy = find_backend("cuda").namespace
    return {"gpu": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(), "cupy": cupy.__version__}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that affect the numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def revision() -> str:
    """Return the commit of the package's clone, with a plus sign if files differ from it, or else the version."""
    folder = Path(tgl.__file__).parent
    tracked = _git(folder, "ls-files", "--error-unmatch", "__init__.py")  # empty if merely installed inside a clone
    commit = _git(folder, "describe", "--always", "--dirty=+", "--exclude=*") if tracked else ""
    return commit or f"version {tgl.__version__}"


def _git(folder: Path, *command: str) -> str:
    try:
        found = subprocess.run(["git", "-C", str(folder), *command], capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
