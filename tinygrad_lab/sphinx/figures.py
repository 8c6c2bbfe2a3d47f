"""Small drawings for the reference: a layer as blocks, an activation with its derivative."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

import tinygrad_lab as tgl

WIDTH, HEIGHT, MARGIN = 420, 240, 14
REACH = 4.0  # activations are drawn from -REACH to REACH
DARK = re.compile(r"@media \(prefers-color-scheme: dark\) \{ (?P<rules>.*) \}", re.DOTALL)


def themed(svg: str) -> str:
    """Return an SVG for use in a page, whose theme selects light or dark colors; if it does not, the system does."""

    def both(match: re.Match[str]) -> str:
        rules = match["rules"].strip()
        forced = re.sub(r"\.tgl-", 'body[data-theme="dark"] .tgl-', rules)
        by_system = re.sub(r"\.tgl-", 'body:not([data-theme="light"]) .tgl-', rules)
        return f"{forced} @media (prefers-color-scheme: dark) {{ {by_system} }}"

    return DARK.sub(both, svg)


def figure(svg: str, caption: str = "") -> str:
    """Return an SVG as a figure in HTML; its title and description are its alternative text."""
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="drawing">{themed(svg)}{below}</figure>'


def elementwise(layer: Any) -> bool:
    """Return whether a layer acts on each element independently and is not the identity."""
    x = np.linspace(-REACH, REACH, 16).reshape(1, -1)
    try:
        y = _applied(layer, x)
        apart = y.shape == x.shape and np.allclose(_applied(layer, x[:, :5]), y[:, :5])
        return bool(apart and np.allclose(_applied(layer, x[:, ::-1]), y[:, ::-1]) and not np.allclose(y, x))
    except tgl.errors.LabError:
        return False


def _applied(layer: Any, x: Any) -> Any:
    with tgl.no_grad():
        return layer(tgl.tensor(x)).numpy()


def curve(layer: Any, name: str) -> str:
    """Return the graph of an activation and of its derivative, computed by the engine."""
    x = np.linspace(-REACH, REACH, 321).reshape(1, -1)
    y = _applied(layer, x)
    slope = tgl.grad(lambda values: tgl.sum(layer(values)))(x)
    low, high = min(-1.0, float(y.min())), max(1.2, float(y.max()))

    def place(horizontal: Any, vertical: Any) -> str:
        across = MARGIN + (WIDTH - 2 * MARGIN) * (horizontal + REACH) / (2 * REACH)
        down = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (vertical - low) / (high - low)
        return f"{across:.1f},{down:.1f}"

    def line(values: Any, kind: str) -> str:
        jump = 0.4 * (high - low)
        parts = np.split(np.arange(values.size), 1 + np.flatnonzero(np.abs(np.diff(values[0])) > min(jump, 0.4)))
        paths = (" ".join(place(x[0, i], values[0, i]) for i in part) for part in parts)
        return "".join(f'<polyline class="{kind}" points="{path}"/>' for path in paths)

    def at(text: str, horizontal: float, vertical: float, kind: str = "label") -> str:
        across, down = place(horizontal, vertical).split(",")
        return f'<text class="{kind}" x="{across}" y="{down}">{text}</text>'

    axes = "".join(
        f'<line class="axis" x1="{a}" y1="{b}" x2="{c}" y2="{d}"/>'
        for (a, b), (c, d) in (
            (place(-REACH, 0).split(","), place(REACH, 0).split(",")),
            (place(0, low).split(","), place(0, high).split(",")),
        )
    )
    ticks = at("1", 0.08, 1.0) + at("-4", -REACH, 0.05) + at("4", REACH - 0.25, 0.05)
    says = f"{name} from -4 to 4, solid, and its derivative, dashed"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{says}"><title>{says}</title>{axes}{ticks}{line(y, "value")}{line(slope, "slope")}</svg>'
    )
