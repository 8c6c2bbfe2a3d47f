"""Examination of an installation: versions, processor, BLAS, Numba, GPU, data, disk, display and threads."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.backend import find_backend, installed
from tinygrad_lab.data import listing
from tinygrad_lab.data.files import data_roots
from tinygrad_lab.errors import DeviceError, LabError, OptionError
from tinygrad_lab.kernels.threads import num_threads
from tinygrad_lab.limits import machine_memory
from tinygrad_lab.registry import REGISTRIES
from tinygrad_lab.train.provenance import processor

OK, WARNING, BROKEN = "ok", "warning", "broken"
_DISTRIBUTION = "tinygrad-lab"
_LITTLE, _TOO_LITTLE = 2 << 30, 200 << 20  # bytes of free disk
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_VECTORS = {"avx2": "AVX2", "fma": "FMA", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 BF16", "amx_tile": "AMX"}
_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # of the process's container: "200000 100000" is two processors


@dataclass(frozen=True)
class Finding:
    """One result of the examination.

    Parameters
    ----------
    subject : str
        The part of the installation.
    state : {"ok", "warning", "broken"}
        Whether it works; a warning means that it works, but slower or with less than it could.
    text : str
        What was found.
    remedy : str
        What to do about it; empty if nothing is to be done.
    """

    subject: str
    state: str
    text: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """Return plain values."""
        return asdict(self)


def examine(runs: str | os.PathLike[str] = "runs") -> tuple[Finding, ...]:
    """Return the findings about this installation and this machine.

    Parameters
    ----------
    runs : path
        The folder in which runs are created.

    Examples
    --------
    >>> sorted({finding.subject for finding in examine()})[:4]
    ['BLAS', 'GPU', 'Numba', 'Python']
    """
    return tuple(finding for subject, check in _checks(Path(runs)).items() for finding in _examined(subject, check))


def _checks(runs: Path) -> dict[str, Callable[[], Iterator[Finding]]]:
    return {
        "Python": _python,
        "packages": _packages,
        "plugins": _plugins,
        "processor": _processor,
        "BLAS": _blas,
        "Numba": _numba,
        "GPU": _gpu,
        "threads": _threads,
        "data": _data,
        "disk": lambda: _folders(runs),
        "display": _display,
    }


def _examined(subject: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of a check. An error that it meets, such as a folder that cannot be read, is one of them."""
    try:
        yield from check()
    except (LabError, OSError) as error:
        text = str(error)
        yield Finding(subject, BROKEN, text if len(text) < 300 else f"{text[:300]} ...", "correct what the error names")


def _python() -> Iterator[Finding]:
    where = Path(tgl.__file__).parent
    text = f"Python {platform.python_version()} on {platform.system()}, tinygrad_lab {tgl.__version__} in {where}"
    try:
        version = importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        remedy = "pip install -e . in the clone"
        yield Finding("Python", BROKEN, f"{text}, but the package is not installed, so no plugin is found", remedy)
        return
    if version != tgl.__version__:
        remedy = "install it again: pip install -e . in the clone, or pip install --force-reinstall"
        yield Finding("Python", BROKEN, f"{text}, but the installed package is {version}", remedy)
    else:
        yield Finding("Python", OK, text)


def _packages() -> Iterator[Finding]:
    """Compare the installed packages with what this distribution requires."""
    found, missing, old = [], [], []
    try:
        needs = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:  # `_python` says so
        return
    for line in needs:
        need = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:>=\s*([0-9.]+))?", line)
        if need is None or "extra ==" in line:
            continue
        name, least = need.groups()
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        found.append(f"{name} {version}")
        if least and _numbers(version) < _numbers(least):
            old.append(f"{name} {version}, needs {least}")
    yield Finding("packages", OK, ", ".join(found))
    if missing:
        yield Finding("packages", BROKEN, f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    if old:
        names = " ".join(text.split()[0] for text in old)
        yield Finding("packages", BROKEN, f"too old: {'; '.join(old)}", f"pip install --upgrade {names}")


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _plugins() -> Iterator[Finding]:
    """Load the plugins of other distributions; the project's own are known to work."""
    usable, own = 0, 0
    for kind, known in REGISTRIES.items():
        if kind == "cases" and not installed("hypothesis"):
            continue  # they draw inputs with Hypothesis, which only tests need
        for name, found in known.plugins().items():
            others = {plugin.distribution for plugin in found} - {_DISTRIBUTION}
            if not others:
                own += 1
            elif (state := known.status(name)) == "ok":
                usable += 1
            else:
                remedy = f"update or remove {' or '.join(sorted(others))}"
                yield Finding("plugins", BROKEN, f"{name} of {kind}: {state}", remedy)
    yield Finding("plugins", OK, f"{own} of tinygrad_lab, and {usable} of other packages")


def _processor() -> Iterator[Finding]:
    flags = _cpu_flags()
    units = [name for flag, name in _VECTORS.items() if flag in flags]
    memory = machine_memory()
    size = f", {memory / 2**30:.1f} GiB of memory" if memory < sys.maxsize else ""
    text = f"{processor()}, {_usable_cores()} cores, vector units {', '.join(units) or 'not known'}{size}"
    if platform.machine().lower() in ("x86_64", "amd64") and flags and "avx2" not in flags:
        remedy = "use a processor with AVX2 if you can; without it, the kernels are several times slower"
        yield Finding("processor", WARNING, text, remedy)
    else:
        yield Finding("processor", OK, text)


def _cpu_flags() -> set[str]:
    """Return the processor's features, in the spelling of /proc/cpuinfo."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                return set(line.partition(":")[2].split())
    import numpy as np

    units: Mapping[str, Any] = np.show_config(mode="dicts").get("SIMD Extensions", {})
    spelled = {"FMA3": "fma", "AVX512_SPR": "avx512_bf16"}
    return {spelled.get(name, name.lower()) for kind in ("baseline", "found") for name in units.get(kind, ())}


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _blas() -> Iterator[Finding]:
    from threadpoolctl import threadpool_info

    libraries = [library for library in threadpool_info() if library.get("user_api") == "blas"]
    for library in libraries:
        kind = library.get("architecture") or library.get("threading_layer") or ""
        text = f"{library['internal_api']} {library.get('version')} ({kind}), {library['num_threads']} threads"
        yield Finding("BLAS", OK, text)
    if not libraries:
        remedy = "set OMP_NUM_THREADS=1, because the kernels cannot limit the threads of this BLAS"
        yield Finding("BLAS", WARNING, "not recognized", remedy)


def _numba() -> Iterator[Finding]:
    off = SETTINGS.get().providers
    if off is not None and "numba" not in off:
        text = f"turned off by TINYGRAD_LAB_KERNELS={os.environ.get('TINYGRAD_LAB_KERNELS', '')}"
        yield Finding("Numba", WARNING, text, "unset the variable to use the compiled kernels")
    try:
        version = importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        remedy = "pip install 'tinygrad-lab[fast]'; until then, kernels in NumPy are used, at about half the speed"
        yield Finding("Numba", WARNING, "not installed", remedy)
        return
    try:
        numba = importlib.import_module("numba")
        from tinygrad_lab.kernels.numba.loops import pointwise
    except (ImportError, OSError, SystemError, ValueError) as error:  # a ValueError for a wrong NUMBA_ variable
        text = f"Numba {version} cannot be imported: {error}"
        remedy = "correct the variables that begin with NUMBA_, or install a version that supports your NumPy"
        yield Finding("Numba", BROKEN, text, remedy)
        return
    layer = numba.config.THREADING_LAYER
    yield Finding("Numba", OK, f"Numba {version}; kernels run on the project's own threads, not on Numba's {layer!r}")
    folder = pointwise.relu.stats.cache_path
    if folder and _writable(Path(folder)):
        yield Finding("Numba", OK, f"compiled kernels are cached in {folder}")
    else:
        where = f" in {folder}" if folder else ""
        text = f"compiled kernels cannot be cached{where}: every program compiles them again"
        yield Finding("Numba", BROKEN, text, "set NUMBA_CACHE_DIR to a writable folder")


def _gpu() -> Iterator[Finding]:
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    has_cupy = installed("cupy")
    if not driver and not has_cupy:
        yield Finding("GPU", OK, "no NVIDIA driver and no CuPy: everything runs on the CPU")
        return
    try:
        cupy = find_backend("cuda").namespace
    except (DeviceError, ImportError, OSError, RuntimeError) as error:
        yield Finding("GPU", BROKEN if has_cupy else WARNING, str(error), "see docs/howto/move-to-the-gpu.md")
        return
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    free, size = cupy.cuda.runtime.memGetInfo()
    yield Finding("GPU", OK, f"{name} by CuPy {cupy.__version__}, {free / 2**30:.1f} of {size / 2**30:.1f} GiB free")


def _threads() -> Iterator[Finding]:
    cores, given = _usable_cores(), {name: os.environ[name] for name in _THREADS if os.environ.get(name)}
    try:
        threads = num_threads()
    except OptionError as error:
        yield Finding("threads", BROKEN, str(error), "set it to a number of cores, or unset it")
        return
    settings = "".join(f", {name}={value}" for name, value in given.items())
    yield Finding("threads", OK, f"{threads} for kernels on {cores} cores{settings}")
    if wrong := [f"{name}={value}" for name, value in given.items() if not value.strip().isdecimal()]:
        yield Finding("threads", BROKEN, f"expected whole numbers, got {', '.join(wrong)}", "correct or unset them")
    limit = _container_cpus()
    if threads > (most := min(cores, limit)):
        text = f"{threads} threads compete for {most:g} processors"
        yield Finding("threads", WARNING, text, f"set TINYGRAD_LAB_NUM_THREADS={max(1, int(most))}")
    blas = {value for name, value in given.items() if name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    if len(blas) > 1:
        text = "OMP_NUM_THREADS and OPENBLAS_NUM_THREADS differ, and which one counts depends on how BLAS was built"
        yield Finding("threads", WARNING, text, "give them one value, or unset one")
    if over := [name for name, value in given.items() if value.strip().isdecimal() and int(value) > cores]:
        text = f"more threads than cores: {', '.join(over)}"
        yield Finding("threads", WARNING, text, f"set them to {cores}, or unset them")


def _container_cpus() -> float:
    """Return the number of processors that the process's container may use; infinity outside of one."""
    try:
        quota, period = _CPU_LIMIT.read_text(encoding="ascii").split()
        return float(quota) / float(period)
    except (OSError, ValueError):  # no container, or no limit ("max 100000")
        return float("inf")


def _data() -> Iterator[Finding]:
    roots = data_roots()
    for origin, folder in roots.items():
        if origin == "cache":
            continue
        if not folder.is_dir():
            text = f"{origin} names {folder}, which is no folder"
            yield Finding("data", BROKEN, text, f"create it, or unset {origin}")
    found, absent = [], []
    for entry in listing():
        if entry.problem:
            yield Finding("data", BROKEN, f"data set {entry.name}: {entry.problem}", "update or remove its package")
        elif entry.root is not None:
            found.append(f"{entry.name} in {entry.root}")
        elif entry.download:
            absent.append(entry.name)
    searched = " and ".join(map(str, roots.values()))
    yield Finding("data", OK, f"{', '.join(found) or 'no downloaded data set'}; searched {searched}")
    if absent:
        text = f"not here: {', '.join(absent)}; tinygrad-lab data fetch NAME downloads one"
        yield Finding("data", OK, text)


def _folders(runs: Path) -> Iterator[Finding]:
    from platformdirs import user_cache_path

    folders = {"runs": runs, "data": user_cache_path("tinygrad_lab"), "temporary files": Path(tempfile.gettempdir())}
    for name, folder in folders.items():
        there = _nearest(folder)
        if not _writable(there):
            remedy = "train elsewhere, or with --runs DIR" if name == "runs" else "correct its permissions"
            yield Finding("disk", BROKEN, f"the folder for {name}, {folder}, cannot be written", remedy)
            continue
        free = shutil.disk_usage(there).free
        text = f"{free / 2**30:,.1f} GiB free for {name} in {folder}"
        state = BROKEN if free < _TOO_LITTLE else WARNING if free < _LITTLE else OK
        yield Finding("disk", state, text, "" if state == OK else "free some space")


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _writable(folder: Path) -> bool:
    """Return whether a file can be written into a folder, or into the nearest existing one above it."""
    try:
        with tempfile.TemporaryFile(dir=_nearest(folder)):
            return True
    except OSError:
        return False


def _display() -> Iterator[Finding]:
    chosen = os.environ.pop("MPLBACKEND", "")  # with a wrong one the import fails
    try:
        import matplotlib as mpl
        from matplotlib.backends.registry import backend_registry
    finally:
        if chosen:
            os.environ["MPLBACKEND"] = chosen
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    has_screen = bool(screen) or sys.platform in ("darwin", "win32")
    version = f"Matplotlib {mpl.__version__}"
    where = f"display {screen}" if screen else "the system's display" if has_screen else "no display"
    if chosen and not backend_registry.is_valid_backend(chosen):
        text = f"{version}: MPLBACKEND names {chosen!r}, which is no backend"
        yield Finding("display", BROKEN, text, "unset MPLBACKEND, or set it to agg")
    elif not has_screen and chosen.lower() in _interactive(backend_registry):
        text = f"{version}: MPLBACKEND={chosen} needs a display, and there is none"
        yield Finding("display", BROKEN, text, "unset MPLBACKEND, or set it to agg")
    else:
        files = "" if has_screen else ": figures go to files, or into a notebook"
        yield Finding("display", OK, f"{version}, {where}{files}{f', MPLBACKEND={chosen}' if chosen else ''}")


def _interactive(backends: Any) -> set[str]:
    from matplotlib.backends.registry import BackendFilter

    return {name.lower() for name in backends.list_builtin(BackendFilter.INTERACTIVE)} - {"nbagg", "webagg"}


