"""The engine's pages have at most 350 lines of code and few imports."""

from __future__ import annotations

from pathlib import Path

from tests.house.source import PACKAGES, code_lines, imports, python_files

MOST_LINES = 350
ROOM = PACKAGES["tinygrad_lab"] / "autograd"
ENGINE = [ROOM / name for name in ("tape.py", "primitive.py", "transforms.py")]
ABSENT = {"cupy", "cupyx", "numba", "numpy", "scipy", "tinygrad_lab_layers"}


def test_at_most_350_lines_of_code() -> None:
    sizes = {path.name: len(code_lines(path)) for path in ENGINE}
    assert 0 < sum(sizes.values()) <= MOST_LINES, sizes


def test_imports_no_array_library_and_no_layer() -> None:
    imported = {module.split(".")[0] for path in python_files(ROOM) for _, module, _ in imports(path)}
    assert not imported & ABSENT


def test_code_lines_counts_only_code(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(
        '"""Module.\n\nTwo paragraphs.\n"""\n\n'
        "# a comment\n"
        "def f(x):  # counted\n"
        '    """Docstring."""\n'
        "    text = '''counted,\n"
        "    for it is a value'''\n"
        "\n"
        "    return (\n"
        "        x\n"
        "    )\n",
        encoding="utf-8",
    )
    assert code_lines(sample) == {7, 9, 10, 12, 13, 14}
