"""Which modules may import which, and the lightness of `import tinygrad_lab`."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import PACKAGES, ROOT, identify, imports, package_files, parse, python_files

HEAVY = ["cupy", "hypothesis", "matplotlib", "numba", "rich", "scipy", "sklearn"]
PLUGIN_FILES = python_files(PACKAGES["tinygrad_lab_layers"])
FOREIGN = "restricted_pickle.py"  # reads published pickles; nothing in them can run
PICKLERS = {"cloudpickle", "cPickle", "dill", "joblib", "marshal", "pickle", "shelve"}
WRITER = ["marshal", "dumps"]  # serializes numbers to make keys; it reads nothing


def run_python(code: str) -> str:
    """Run code in a fresh process and return its output."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_contracts() -> None:
    """import-linter's contracts in pyproject.toml hold."""
    pytest.importorskip("importlinter")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def names_used(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the names of the framework that a file uses: (line, public name or `tinygrad_lab.module`)."""
    for line, module, name in imports(path):
        if module == "tinygrad_lab" and name is not None:
            yield line, name
        elif module.startswith("tinygrad_lab."):
            yield line, module
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tgl":
            yield node.lineno, node.attr


def test_layers_use_only_public_names() -> None:
    """Layers use the names of `import tinygrad_lab as tgl`, their cases also the kit, their kernels the kernel tools.

    A third-party plugin can use the same names.
    """
    names = set(importlib.import_module("tinygrad_lab").__all__)
    kit, tools = {"conformance", "tinygrad_lab.conformance"}, {"tinygrad_lab.kernels.tools"}
    public = {"cases.py": names | kit, "kernels.py": names | tools, "loops.py": names | tools}
    assert not [
        f"{identify(path)}, line {line}: {name}"
        for path in PLUGIN_FILES
        for line, name in names_used(path)
        if name not in public.get(path.name, names)
    ]


def test_only_cases_need_the_kit() -> None:
    """Otherwise layers would need Hypothesis at run time."""
    assert not [
        identify(path)
        for path in PLUGIN_FILES
        if path.name != "cases.py"
        for _, module, _ in imports(path)
        if module.split(".")[0] == "hypothesis"
    ]


def test_pickle_is_imported_only_where_it_is_safe() -> None:
    found = [
        f"{identify(path)}, line {line}"
        for path in package_files()
        if path.name != FOREIGN
        for line, *taken in imports(path)
        if taken[0].split(".")[0] in PICKLERS and taken != WRITER
    ]
    assert not found
    assert [path.parent.name for path in package_files() if path.name == FOREIGN] == ["sources"]


def test_the_import_is_light() -> None:
    """Modules that take long to import are imported only when they are used."""
    code = f"import json, sys, tinygrad_lab; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    assert json.loads(run_python(code)) == []


def test_the_engine_works_without_the_layers() -> None:
    """Differentiation works if the package of layers cannot be imported."""
    code = """
import sys
sys.modules["tinygrad_lab_layers"] = None
import numpy as np, tinygrad_lab as tgl
print(tgl.grad(lambda x: tgl.sum(x * x))(np.array([1.0, 2.0])).tolist())
"""
    assert json.loads(run_python(code)) == [2.0, 4.0]
