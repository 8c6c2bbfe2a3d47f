"""The report card as a self-contained HTML page, with a plot of the oracles' errors for each step size."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.conformance.report.card import cells, columns, nearest, verdict
from tinygrad_lab.conformance.trials.oracles import complex_step, errors_by_step, join
from tinygrad_lab.conformance.trials.results import LayerResult, PropertyResult
from tinygrad_lab.conformance.trials.trial import Trial
from tinygrad_lab.errors import ConfigError
from tinygrad_lab.files.writing import write_atomically, writing

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; }
table { border-collapse: collapse; font-size: 13px; }
th.property { writing-mode: vertical-rl; transform: rotate(180deg); font-weight: 500; text-align: left; }
td, th { padding: .15rem .45rem; border-bottom: 1px solid #8884; }
td.passed { color: #15803d; }
td.failed { background: #dc2626; color: #fff; font-weight: 700; }
td.exempt { color: #b45309; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: #8881; padding: .8rem; overflow-x: auto; font-size: 12.5px; }
svg { max-width: 44rem; height: auto; background: #fff; }
"""
SIGNS = {"passed": "✓", "failed": "✗", "exempt": "○", "": ""}


def tooltip(found: Sequence[PropertyResult]) -> str:
    """Return the text that appears when the pointer is on a cell."""
    lines = []
    for p in found:
        line = f"{p.name}: {p.examples} cases"
        if p.worst.tolerance:
            line += f", worst error {p.worst.error:.1e}, tolerance {p.worst.tolerance:.1e}"
        if p.exemption:
            line += f", exempt: {p.exemption}"
        lines.append(line)
    return "\n".join(lines)


def table(results: Sequence[LayerResult]) -> str:
    """Return the card of one kind of plugins: one row for each plugin, one column for each property."""
    shown = columns(results)
    head = "".join(f'<th class="property">{html.escape(name)}</th>' for name in shown)
    ends = "<th>cases</th><th>inputs</th><th>nearest to its tolerance</th><th>seconds</th>"
    head = f"<tr><th>{results[0].kind}</th>{head}{ends}</tr>"
    rows = []
    for result in results:
        marks = ""
        for column in shown:
            found = cells(result, column)
            kind = verdict(found)
            marks += f'<td class="{kind}" title="{html.escape(tooltip(found), quote=True)}">{SIGNS[kind]}</td>'
        ends = f'<td class="number">{result.examples}</td><td class="number">{result.range}</td>'
        ends += f"<td>{html.escape(nearest(result))}</td>"
        ends += f'<td class="number">{result.seconds:.2f}</td>'
        rows.append(f"<tr><th>{html.escape(result.name)}</th>{marks}{ends}</tr>")
    return f"<table>{head}{''.join(rows)}</table>"


def remarks(results: Sequence[LayerResult]) -> str:
    """Return failures, notes and mutants."""
    parts = []
    for result in results:
        for p, text in zip(result.failures, result.reports(), strict=True):
            parts.append(f"<h2>{html.escape(result.label)}: {html.escape(p.name)}</h2><pre>{html.escape(text)}</pre>")
    said = [(result.label, note) for result in results for note in result.notes]
    said += [(result.label, f"skipped: {result.skipped}") for result in results if result.skipped]
    notes = [f"<li>{html.escape(label)}: {html.escape(note)}</li>" for label, note in said]
    if notes:
        parts.append(f"<h2>Notes</h2><ul>{''.join(notes)}</ul>")
    tested = [result for result in results if result.mutants is not None]
    if tested:
        parts.append("<h2>Mutants</h2>")
        parts += [f"<pre>{html.escape(result.mutants.summary())}</pre>" for result in tested]
    return "".join(parts)


def plot(result: LayerResult) -> str:
    """Return a section that plots the errors of finite differences against the step size, for one case of a layer."""
    trial: Trial | None = result.sample
    if not isinstance(trial, Trial) or not trial.arrays or not trial.outputs:
        return ""
    rng = np.random.default_rng(0)
    u = [rng.uniform(-1, 1, a.shape) for a in trial.arrays]
    with reference_only():
        exact = join([unbox(p) for p in tgl.jvp(trial.subject, tuple(trial.arrays), tuple(u))[1]])
    errors = errors_by_step(trial.flat, trial.arrays, u, exact)
    if trial.cases.complex_safe:
        off = float(np.abs(complex_step(trial.flat, trial.arrays, u).value - exact).max(initial=0.0))
        errors["complex step (any step)"] = [off] * len(errors["step"])
    figure = draw(errors, f"{result.name}: difference between each oracle and J u by the rules")
    text = (
        "With large steps, the truncation error of the Taylor series dominates; with small ones, rounding does. The "
        "kit uses steps of 2.5e-4 and twice that, and estimates the error from the difference between the two results."
    )
    return f"<h2>Error by step size</h2><p>{text}</p>{figure}<pre>{html.escape(str(trial.case))}</pre>"


def draw(errors: dict[str, list[float]], title: str) -> str:
    """Return a plot of errors against steps as SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes: Any = figure.add_subplot()
    steps = np.array(errors["step"])
    for (name, values), style in zip(list(errors.items())[1:], ("-", "--", "-.", ":"), strict=False):
        axes.loglog(steps, np.maximum(values, 1e-18), style, label=name)
    axes.set(xlabel="step", ylabel="largest error")
    axes.set_title(title, parse_math=False)
    axes.legend()
    axes.grid(alpha=0.3)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def write_page(path: Path, results: Sequence[LayerResult], *, plot_of: str | None = None) -> None:
    """Write the page.

    Parameters
    ----------
    path : Path
        The file.
    results : sequence of LayerResult
        The results.
    plot_of : str
        The layer whose errors are plotted; by default the first one with a case.

    Raises
    ------
    ConfigError
        The layer to plot was not checked, or the file cannot be written.
    """
    by_name = {result.name: result for result in results}
    if plot_of is not None and plot_of not in by_name:
        raise ConfigError(f"--plot: expected a layer that is checked, {sorted(by_name)}, got {plot_of!r}")
    chosen = by_name[plot_of] if plot_of else next((r for r in results if r.sample is not None), None)
    checked = [result for result in results if not result.skipped]
    passing, cases = sum(result.passed for result in checked), sum(result.examples for result in results)
    summary = f"{passing} of {len(checked)} pass, {cases} cases"
    body = [
        f"<h1>Conformance of tinygrad_lab plugins</h1><p>{summary}, version {html.escape(tgl.__version__)}.</p>",
        *(table(list(group)) for _, group in groupby(results, key=lambda result: result.kind)),
        "<p>✓ holds, ✗ broken, ○ exempt; empty: not applicable, or not judged on any case. Point at a cell for its "
        "numbers. The kit checks nothing beyond the range of the inputs.</p>",
        remarks(results),
        plot(chosen) if chosen is not None else "",
    ]
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Conformance</title><style>{STYLE}</style>'
    with writing(ConfigError, f"--html: expected to write {path}"):
        write_atomically(path, (page + "".join(body) + "</html>\n").encode())
