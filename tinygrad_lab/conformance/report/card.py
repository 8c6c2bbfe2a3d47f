"""The report card in the terminal: one row for each plugin, or one row for each property if there are few plugins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tinygrad_lab.conformance.trials.results import LayerResult, PropertyResult

DETAILED = 3  # largest number of plugins to show property by property
LAWS = "laws"  # the column that the declared laws share


def columns(results: Sequence[LayerResult]) -> list[str]:
    """Return the names of the card's columns in the kit's order: the properties, and one column for all laws."""
    present = [p for result in results for p in result.properties.values()]
    return list(dict.fromkeys(p.name for p in present if not p.law)) + ([LAWS] if any(p.law for p in present) else [])


def cells(result: LayerResult, column: str) -> list[PropertyResult]:
    """Return the results that one cell shows."""
    if column != LAWS:
        return [result.properties[column]] if column in result.properties else []
    return [p for p in result.properties.values() if p.law]


def verdict(found: Sequence[PropertyResult]) -> str:
    """Return "passed", "failed", "exempt", or "" if no case was judged."""
    if any(not p.passed for p in found):
        return "failed"
    if any(p.exemption is not None for p in found):
        return "exempt"
    return "passed" if any(p.examples for p in found) else ""


MARKS = {"passed": "[green]✓[/]", "failed": "[bold red]✗[/]", "exempt": "[yellow]○[/]", "": "[dim]·[/]"}
LEGEND = "✓ holds  ✗ broken  ○ exempt  · not applicable, or not judged on any case"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def nearest(result: LayerResult) -> str:
    """Return the property with the largest ratio of error to tolerance, and this ratio."""
    worst = max(result.properties.values(), key=lambda p: p.worst.ratio, default=None)
    return f"{worst.name} {worst.worst.ratio:.1%}" if worst is not None and worst.worst.ratio else ""


def overview(results: Sequence[LayerResult]) -> Table:
    """Return a table with one row for each plugin and one letter for each property; the caption names the letters."""
    shown = columns(results)
    letters = LETTERS[: len(shown)]
    names = "  ".join(f"{letter}\u00a0{name}" for letter, name in zip(letters, shown, strict=True))
    table = Table(box=None, padding=(0, 1, 0, 0), caption=f"{names}\n{LEGEND}")
    table.add_column(results[0].kind, no_wrap=True)
    table.add_column(letters, no_wrap=True)
    table.add_column("cases", justify="right", no_wrap=True)
    table.add_column("inputs", justify="right", no_wrap=True)
    table.add_column("nearest", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    for result in results:
        marks = "".join(MARKS[verdict(cells(result, column))] for column in shown)
        name = escape(result.name) if result.passed else f"[bold red]{escape(result.name)}[/]"
        if result.skipped:
            marks = "[yellow]skipped[/]"
        table.add_row(name, marks, str(result.examples), result.range, nearest(result), f"{result.seconds:.1f}")
    return table


def details(result: LayerResult) -> Table:
    """Return a table with one row for each property, the range of the inputs above it and a legend below."""
    title = f"{escape(result.label)}  ({result.seconds:.1f} s{', inputs from ' + result.range if result.range else ''})"
    table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left", caption=LEGEND)
    table.caption_justify = "left"
    for heading in ("", "property", "cases", "worst error", "tolerance", "seconds"):
        table.add_column(
            heading, justify="right" if heading in ("cases", "worst error", "tolerance", "seconds") else "left"
        )
    for p in result.properties.values():
        mark = verdict([p])
        measured = p.examples > 0 and p.failure is None
        worst = f"{p.worst.error:.1e}" if measured else ""
        bound = f"{p.worst.tolerance:.1e}" if measured and p.worst.tolerance else ""
        text = escape(p.name) + (f" [yellow](exempt: {escape(p.exemption)})[/]" if p.exemption else "")
        table.add_row(MARKS[mark], text, str(p.examples or ""), worst, bound, f"{p.seconds:.2f}")
    return table


def print_card(results: Sequence[LayerResult], console: Any = None) -> None:
    """Print the card, the notes, and the reports of failures."""
    console = console or Console(soft_wrap=True)
    console.width = max(console.width, 100)  # a narrower table would truncate names
    if len(results) <= DETAILED:
        for result in results:
            console.print(details(result))
            console.print()
    else:
        for _, group in groupby(results, key=lambda result: result.kind):
            console.print(overview(list(group)))
            console.print()
    for result in results:
        if result.skipped:
            console.print(f"[yellow]skipped[/] {escape(result.label)}: {escape(result.skipped)}", highlight=False)
        for note in result.notes:
            console.print(f"[yellow]note[/] {escape(result.label)}: {escape(note)}", highlight=False)
        if result.mutants is not None:
            console.print(escape(result.mutants.summary()), highlight=False)
    for result in results:
        for text in result.reports():
            console.print(f"\n[bold red]✗[/] {escape(text)}", highlight=False)
    broken = [result.label for result in results if not result.passed]
    seconds = sum(result.seconds for result in results)
    cases = sum(result.examples for result in results)
    skipped = sum(bool(result.skipped) for result in results)
    passing, checked = len(results) - len(broken) - skipped, len(results) - skipped
    tally = f"{passing} of {checked} pass, {f'{skipped} skipped, ' if skipped else ''}{cases} cases, {seconds:.1f} s"
    names = f": {escape(', '.join(broken))}" if broken else ""
    console.print(f"\n[bold {'red' if broken else 'green'}]{tally}[/]{names}")
