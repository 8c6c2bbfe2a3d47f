"""HTML tables for notebooks; at the root because layers, networks and results show themselves in them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """Return a table in HTML, which scrolls sideways if it is too wide.

    Parameters
    ----------
    head : sequence of str
        The columns' titles.
    rows : sequence of sequences of str
        The cells, as text.
    numbers : sequence of int
        The columns of numbers, which are aligned to the right.

    Examples
    --------
    >>> html_table(["a"], [["<1>"]]).count("&lt;1&gt;")
    1
    """

    def line(tag: str, cells: Sequence[str]) -> str:
        sides = ("right" if i in numbers else "left" for i in range(len(cells)))
        parts = [
            f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>' for side, cell in zip(sides, cells, strict=True)
        ]
        return f"<tr>{''.join(parts)}</tr>"

    body = "".join(line("td", row) for row in rows)
    table = f'<table class="docutils align-default"><thead>{line("th", head)}</thead><tbody>{body}</tbody></table>'
    return f'<div class="table-wrapper docutils" style="overflow-x: auto">{table}</div>'
