"""Write docs/results/performance.md and its figures: python tests/benchmarks/performance_page.py [--measure]

It reads these files from docs/results and writes the page and the figures there:

    performance/*.json         tinygrad-lab bench --against torch --without-numba --json, a file for each machine
    performance_profile.json   python tests/benchmarks/steps.py profile
    performance_scaling.json   python tests/benchmarks/steps.py scaling

``--measure`` first measures all networks on this machine, which adds its file and its row.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from tinygrad_lab.kernels.winograd import POINTS, rounding_error

mpl.use("Agg")
mpl.rcParams.update({"svg.hashsalt": "tinygrad_lab", "font.size": 9, "axes.spines.top": False})
mpl.rcParams["axes.spines.right"] = False

from matplotlib import pyplot as plt  # noqa: E402  the back end is chosen first

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
MACHINES = RESULTS / "performance"
BENCH = ("bench", "--against", "torch", "--without-numba", "--json")
AIMS = {  # target ratios to the faster layout of PyTorch: with Numba, without
    "alexnet_small": (1.5, 0.6),
    "ten_layer": (1.3, 0.6),
    "gap7": (1.3, 0.4),
    "lenet5": (1.0, 0.4),
    "resnet20": (1.0, 0.4),
    "alexnet": (1.0, 0.5),
    "vgg16": (1.0, 0.5),
}
TILES = ((2, 3), (3, 3), (4, 3), (2, 5), (4, 5), (2, 7))


def load(name: str) -> Any:
    """Return the result of a measurement."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def measure() -> None:
    """Measure all networks on this machine and write its file."""
    done = subprocess.run([sys.executable, "-m", "tinygrad_lab", *BENCH], check=True, capture_output=True, text=True)
    words = re.findall(r"[a-z0-9]+", json.loads(done.stdout)["machine"]["processor"].lower())
    name = "-".join(word for word in words if word not in ("r", "tm", "cpu", "processor"))
    (MACHINES / f"{name}.json").write_text(done.stdout, encoding="utf-8")


def machines() -> dict[str, Any]:
    """Return the measurements of all machines by file name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(MACHINES.glob("*.json"))}


def ratios(found: dict[str, Any]) -> Iterator[str]:
    """Yield the table of ratios, with a row for each machine and kind of work."""
    rows = []
    for result in found.values():
        for kind in ("training", "inference"):
            by_name = {n["name"]: n if kind == "training" else n["inference"] for n in result["networks"]}
            cells = [f"{by_name[name]['ratio_to_best_peer']:.2f}" if name in by_name else "" for name in AIMS]
            rows.append([result["machine"]["processor"], kind, *cells])
    yield from table(["processor", "", *(f"`{name}`" for name in AIMS)], rows)


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Yield a Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def milliseconds(seconds: float) -> str:
    """Return milliseconds to three digits."""
    return f"{1e3 * seconds:,.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"


def cell(values: dict[str, Any]) -> str:
    """Return milliseconds with quartiles."""
    low, high = map(milliseconds, values["seconds_quartiles"])
    return f"{milliseconds(values['seconds'])} ({low} to {high})"


def ratio(values: dict[str, Any], aim: float) -> str:
    """Return a ratio with quartiles, in bold type if it is below the aim."""
    low, high = values["ratio_quartiles"]
    digits = 3 if round(values["ratio_to_best_peer"], 2) == aim else 2
    text = f"{values['ratio_to_best_peer']:.{digits}f} ({low:.2f} to {high:.2f})"
    return text if values["ratio_to_best_peer"] >= aim else f"**{text}**"


def speed(networks: list[dict[str, Any]], kind: str) -> Iterator[str]:
    """Yield the table of training or inference."""
    head = ["network", "batch", "PyTorch, ms", "with Numba, ms", "ratio", "aim", "NumPy alone, ms", "ratio", "aim"]
    rows = []
    for network in networks:
        fast, plain = (row if kind == "training" else row["inference"] for row in (network, network["without_numba"]))
        theirs = min(p["seconds" if kind == "training" else "inference_seconds"] for p in network["peers"])
        aims = AIMS[network["name"]]
        rows.append(
            [
                f"`{network['name']}`", str(network["batch"]), milliseconds(theirs),
                cell(fast), ratio(fast, aims[0]), f"{aims[0]:.1f}",
                cell(plain), ratio(plain, aims[1]), f"{aims[1]:.1f}",
            ]
        )  # fmt: skip
    yield from table(head, rows)


def memory(networks: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the table of memory and of rates."""
    head = [
        "network", "PyTorch, MiB", "with Numba, MiB", "NumPy alone, MiB", "with Numba, GFLOP/s",
        "share of a matrix product", "NumPy alone, GFLOP/s", "share of a matrix product",
    ]  # fmt: skip
    rows = []
    for network in networks:
        plain, least = network["without_numba"], min(p["peak_mib"] for p in network["peers"])
        sizes = [f"{m:,.0f}" if m <= least else f"**{m:,.0f}**" for m in (network["peak_mib"], plain["peak_mib"])]
        rates = []
        for row in (network, plain):
            rates += [f"{row['gflops']:.0f}", f"{row['share_of_matrix_product']:.0%}"]
        rows.append([f"`{network['name']}`", f"{least:,.0f}", *sizes, *rates])
    yield from table(head, rows)


def tiles() -> Iterator[str]:
    """Yield the table of the tiles' rounding errors and of the multiplications that they save."""
    customary = ("0", "1", "-1", "2", "-2")
    rows = [["direct", "", "1", f"{direct_error():.1e}"]]
    for m, r, points in (*((m, r, POINTS[m + r - 1]) for m, r in TILES), (4, 3, customary)):
        used = "" if points == POINTS[m + r - 1] else " (customary, not used)"
        saved = (m * r / (m + r - 1)) ** 2
        rows.append([f"F({m}, {r})", ", ".join(points) + used, f"{saved:.2f}", f"{rounding_error(m, r, points):.1e}"])
    yield from table(["method", "points besides infinity", "times fewer products", "error"], rows)


def direct_error(*, channels: int = 64, count: int = 4096) -> float:
    """Return the rounding error of direct convolution, with 3 x 3 products for each channel."""
    random = np.random.default_rng(0)
    x = random.standard_normal((count, 9 * channels), np.float32)
    w = random.standard_normal(9 * channels, np.float32)
    exact = x.astype(np.float64) @ w.astype(np.float64)
    return float(np.sqrt(np.mean((x @ w - exact) ** 2)) / exact.std())


def draw_profile(profiles: dict[str, Any], path: Path) -> None:
    """Draw the time of a step, with a bar for each kind of operation."""
    figure, axes = plt.subplots(1, len(profiles), figsize=(9, 3.2), layout="constrained")
    for axis, (name, profile) in zip(axes, profiles.items(), strict=True):
        parts = list(reversed(profile["ms"].items()))
        bars = axis.barh([theme for theme, _ in parts], [ms for _, ms in parts], color="#4878a8")
        axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        axis.margins(x=0.15)
        axis.set(title=f"{name}, batches of {profile['batch']}: {profile['step_ms']:.0f} ms", xlabel="milliseconds")
    save(figure, path)


def draw_scaling(scaling: dict[str, Any], path: Path) -> None:
    """Draw the cost of a step against size, with straight lines fitted to the points."""
    figure, axes = plt.subplots(1, len(scaling), figsize=(9, 2.8), layout="constrained")
    for axis, (name, series) in zip(axes, scaling.items(), strict=True):
        sizes = np.array([int(size) for size in series["ms"]])
        axis.plot(sizes, series["fixed_ms"] + series["ms_each"] * sizes, color="#b0b0b0")
        axis.plot(sizes, list(series["ms"].values()), "o", color="#4878a8", markersize=4)
        axis.set(xlabel=name, xlim=(0, None), ylim=(0, None))
    axes[0].set_ylabel("milliseconds a step")
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a figure without its date, so that the same data give the same file."""
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def largest_parts(parts: dict[str, float]) -> str:
    """Return a description of the largest parts of a profile."""
    whole = sum(parts.values())
    return ", ".join(f"{theme} {ms / whole:.0%}" for theme, ms in list(parts.items())[:4])


MACHINE = """## {processor}

{cores} cores, {system}; Python {python}, NumPy {numpy}, Numba {numba}, PyTorch {torch}; float32, {threads} threads
each. A product of two square matrices of 2048 rows runs at {rate:.0f} GFLOP/s. Parentheses give the quartiles of
{rounds} rounds.

### Training on {processor}: forward, loss, backward, momentum

{training}
### Inference on {processor}

{inference}
### Memory and arithmetic rate on {processor}

{memory}"""

PAGE = """# Speed and memory

A ratio above 1 means that tinygrad_lab is faster than PyTorch eager in the faster of PyTorch's two layouts, default and
channels-last. **Bold** ratios are below the aim; bold memory is more than PyTorch takes.
[](../explanation/performance.md) describes the method.

## Processors compared

The ratios depend on the processor. With Numba:

{ratios}
Memory in the tables below is the peak of the whole process, for PyTorch in its better layout. GFLOP/s are effective:
the multiplications and additions of the plain definition in a training step, divided by its time. The share of the
matrix product's rate can exceed 100 %, because Toom-Cook tiles need fewer multiplications.

{machines}
## Where the time goes

```{{figure}} performance_profile.svg
:alt: Two bar charts of the milliseconds that the parts of a training step take. {largest_parts}.

Time of a training step with Numba on an AMD EPYC, by kind of operation. If one operation calls another, each is counted
separately.
```

## How cost grows

```{{figure}} performance_scaling.svg
:alt: Three plots of points close to straight lines - milliseconds a step against images, pixels, and layers.

`alexnet_small` with larger batches, and with larger images in batches of 32; residual networks of 8 to 56 layers in
batches of 32; on an AMD EPYC.
```

{scaling}
## Rounding of Toom-Cook tiles

The error is the root mean square error in float32 of a convolution of 64 channels, divided by the standard deviation of
its result.

{tiles}
Written by `python tests/benchmarks/performance_page.py`.
"""


def section(result: dict[str, Any]) -> str:
    """Return the section of one machine."""
    networks = result["networks"]
    return MACHINE.format(
        **result["machine"],
        threads=result["threads"],
        rounds=result["rounds"],
        rate=result["matrix_product_gflops"],
        training="\n".join(speed(networks, "training")),
        inference="\n".join(speed(networks, "inference")),
        memory="\n".join(memory(networks)),
    )


def page() -> str:
    """Return the page."""
    found, profiles, scaling = machines(), load("performance_profile"), load("performance_scaling")
    lines = [
        [name, f"{s['fixed_ms']:.2f}", f"{s['ms_each']:.3g}", f"{s['explained']:.2%}"] for name, s in scaling.items()
    ]
    head = ["size", "fixed cost, ms", "each adds, ms", "variance explained by the line"]
    return PAGE.format(
        ratios="\n".join(ratios(found)),
        machines="\n".join(section(result) for result in found.values()),
        scaling="\n".join(table(head, lines)),
        tiles="\n".join(tiles()),
        largest_parts="; ".join(f"{name}: {largest_parts(profile['ms'])}" for name, profile in profiles.items()),
    )


def main() -> None:
    """Write the page and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure this machine first")
    if parser.parse_args().measure:
        measure()
    draw_profile(load("performance_profile"), RESULTS / "performance_profile.svg")
    draw_scaling(load("performance_scaling"), RESULTS / "performance_scaling.svg")
    (RESULTS / "performance.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
