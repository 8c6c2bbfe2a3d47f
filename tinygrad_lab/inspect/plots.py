"""Plots of experiments over their seeds: curves, a comparison of variants, and accuracy against a setting.

Each plot shows the results of one recipe, as `tinygrad_lab.train.results` gathers or reads them. Curves show accuracy
against epoch. Bars show errors from 0, so that their lengths may be compared. For targets that are numbers, R² takes
the place of accuracy, and 1 - R² that of the error.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_lab.errors import ConfigError
from tinygrad_lab.files.writing import write_atomically, writing
from tinygrad_lab.inspect.curves import saved, shortened
from tinygrad_lab.train.evaluation import FIGURES
from tinygrad_lab.train.metrics import Score
from tinygrad_lab.train.recipe import split_name
from tinygrad_lab.train.results import compared_at, distinctions, headline_of, judged, recipe_of

_FORMATS = (".svg", ".png")
WIDTH = 7.2  # inches
_SPLITS = ("training", "validation", "test")
_CYCLE = 6  # colors of the style
_HIGHEST = 32_000  # pixels
_LOG = 10  # the axis of a setting is logarithmic if the largest value is at least this many times the smallest
_LINE = 120  # characters of a note
_INK = "#7a828c"  # readable on light and on dark backgrounds, as in figures.mplstyle

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Plot:
    """One plot of the experiments of a recipe.

    Parameters
    ----------
    kind : {"curves", "comparison", "setting"}
        What it shows.
    title : str
        The recipe's title.
    text : str
        What it shows, with the main figures, for readers who do not see it.
    note : str
        How to read it, and the source of published figures.
    height : float
        Its height in inches.
    draw : callable
        A function that draws it onto a Matplotlib figure or subfigure.
    """

    kind: str
    title: str
    text: str
    note: str
    height: float
    draw: Callable[[Any], None]


@dataclass(frozen=True)
class _Experiment:
    """One experiment with its label and color."""

    result: Result
    label: str
    color: Any

    @property
    def score(self) -> Score:
        """The headline score: accuracy or R²."""
        return headline_of(self.result)

    def curves(self, split: str) -> list[list[float]]:
        """Return the headline scores after each epoch as they are drawn, for each seed that has any."""
        scale, curves = self.score.scale, self.result.get(f"{split}_curves", [])
        return [[scale * value for value in curve] for curve in curves if curve]


def plots(results: Iterable[Result]) -> list[Plot]:
    """Return the plots of experiments: for each recipe its curves, and with several variants their comparison.

    If the recipe names a setting to plot against, there is also a plot of the accuracy against this setting.

    Parameters
    ----------
    results : iterable of dict
        Results as `gather` and `read_results` of `tinygrad_lab.train.results` return them. The first of each recipe is
        the one that others are compared with.
    """
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(split_name(str(result["recipe"]))[0], []).append(result)
    return [plot for group in groups.values() for plot in _plots_of(group)]


def _plots_of(group: Sequence[Result]) -> list[Plot]:
    recipe = recipe_of(dict(group[0]))
    about = {} if recipe is None else recipe["recipe"]
    title = str(about.get("title", group[0].get("title", group[0]["recipe"])))
    names = [str(result["recipe"]) for result in group]
    unlike = distinctions([dict(result) for result in group])
    labels = [
        f"{name} ({'; '.join(differs)})" if names.count(name) > 1 and differs else name
        for name, differs in zip(names, unlike, strict=True)
    ]
    experiments = [
        _Experiment(result, shortened(label), color)
        for result, label, color in zip(group, labels, _colors(len(group)), strict=True)
    ]
    made = [_curves(title, experiments, about), _comparison(title, experiments, about)]
    return [plot for plot in [*made, _against(title, experiments, about)] if plot is not None]


def _colors(count: int) -> list[Any]:
    """Return a color for each experiment: those of the style, or if there are too few, steps of a color map."""
    if count <= _CYCLE:
        return [f"C{number}" for number in range(count)]
    import matplotlib as mpl

    return [mpl.colormaps["turbo"](0.08 + 0.84 * number / (count - 1)) for number in range(count)]


def _published(about: Mapping[str, Any], shown: str = "published_accuracy") -> str:
    """Return the published figure of a recipe with its source, as a sentence, if the plot shows it."""
    if shown not in about:
        return ""
    source = f" (source: {about['source']})" if about.get("source") else ""
    return f" Published: {about['published']}{source}." if about.get("published") else ""


def _curves(title: str, experiments: Sequence[_Experiment], about: Mapping[str, Any]) -> Plot | None:
    """Return the plot of accuracy against epoch, with a panel for each split that was evaluated after every epoch."""
    splits = [split for split in _SPLITS if any(one.curves(split) for one in experiments)]
    if not splits:
        return None
    published, score = about.get("published_accuracy"), experiments[0].score
    ends = [one for one in experiments if not one.curves(_split(one))]

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
        for axes, split in zip(panels, splits, strict=True):
            for one in experiments:
                _band(axes, one, split)
            axes.set(title=f"{split} images", xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
        if ends:
            _ends(panels[-1], ends)
        if published is not None:
            label = f"published, test images: {100 * published:.2f} %"
            panels[-1].axhline(100 * published, color=_INK, linestyle="--", linewidth=1.2, label=label)
        panels[0].set_ylabel(f"{score}{score.unit}")
        entries = [entry for axes in panels for entry in zip(*axes.get_legend_handles_labels(), strict=True)]
        known = {label: handle for handle, label in entries}
        figure.legend(known.values(), known, loc="outside lower center", ncols=min(len(known), 2))

    said = "; ".join(f"{one.label} {_course(one, splits)}" for one in experiments)
    line = "" if published is None else f"; a line at the published {100 * published:.2f} %"
    several = any(len(one.curves(split)) > 1 for one in experiments for split in splits)
    line_says = "Line: mean over the seeds. Band: ± one standard deviation." if several else "Lines: one seed each."
    end = " Diamond: after the last epoch." if ends else ""
    return Plot(
        "curves",
        title,
        f"{_capital(score)} against epoch on {', '.join(splits)} images. {said}{line}",
        f"{line_says}{end}{_published(about)}",
        2.7 + 0.09 * (len(experiments) + 3),
        draw,
    )


def _course(one: _Experiment, splits: Sequence[str]) -> str:
    """Return the first and the last mean of each curve in words."""
    found = []
    for split in splits:
        if curves := one.curves(split):
            mean = np.mean([curve[: min(map(len, curves))] for curve in curves], axis=0)
            first, last = (f"{end:.1f}" if one.score.percent else f"{end:.3f}" for end in (mean[0], mean[-1]))
            found.append(f"from {first} to {last} ({split}, {_seeds(len(curves))})")
    return ", ".join(found) or "without a curve"


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count > 1)}"


def _band(axes: Any, one: _Experiment, split: str) -> None:
    """Draw the mean of an experiment's curves, with a band, as far as all seeds ran, and the rest of longer runs."""
    curves = one.curves(split)
    if not curves:
        return
    common = min(map(len, curves))
    epochs, rows = np.arange(1, common + 1), np.array([curve[:common] for curve in curves])
    mean, marker = rows.mean(axis=0), "o" if common == 1 else None
    axes.plot(epochs, mean, color=one.color, marker=marker, label=f"{one.label}, {_seeds(len(curves))}")
    if len(curves) > 1:
        std = rows.std(axis=0, ddof=1)
        axes.fill_between(epochs, mean - std, mean + std, color=one.color, alpha=0.25, linewidth=0)
    for curve in curves:
        if len(curve) > common:
            axes.plot(np.arange(common, len(curve) + 1), curve[common - 1 :], color=one.color, linewidth=0.6, alpha=0.7)


def _ends(axes: Any, experiments: Sequence[_Experiment]) -> None:
    """Draw the accuracies after the last epoch, on the images that the runs were evaluated on."""
    for one in experiments:
        last, scale = one.result["last"], one.score.scale
        axes.errorbar(
            one.result["epochs"],
            scale * last["mean"],
            scale * last["std"] if len(last["values"]) > 1 else None,
            color=one.color,
            marker="D",
            capsize=3,
            linestyle="none",
            label="_",
        )
    kinds = dict.fromkeys(_split(one) for one in experiments)
    axes.plot([], [], color=_INK, marker="D", linestyle="none", label=f"{' or '.join(kinds)} images, last epoch")


def _comparison(title: str, experiments: Sequence[_Experiment], about: Mapping[str, Any]) -> Plot | None:
    """Return bars of the errors of several experiments, with their accuracies and verdicts in words."""
    if len(experiments) < 2:
        return None
    figure_name = compared_at(*(one.result for one in experiments))
    found = [one.result[figure_name] for one in experiments]
    images = " or ".join(dict.fromkeys(_split(one) for one in experiments))
    words = [one.score.spread(one.result[figure_name]) + _difference(one, experiments[0]) for one in experiments]
    published, score = about.get("published_accuracy"), experiments[0].score
    scale, error_in = score.scale, f"error in % of the {images} images" if score.percent else f"1 - {score}, {images}"

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for row, (one, spread) in enumerate(zip(experiments, found, strict=True)):
            several = len(spread["values"]) > 1
            error, std = scale * (1 - spread["mean"]), scale * spread["std"] if several else None
            axes.barh(row, error, 0.62, xerr=std, color=one.color, alpha=0.75, ecolor=_INK, capsize=3, linewidth=0)
            if several:
                values = [scale * (1 - value) for value in spread["values"]]
                axes.plot(values, [row] * len(values), ".", color=_INK, markersize=3.5)
        if published is not None:
            axes.axvline(100 * (1 - published), color=_INK, linestyle="--", linewidth=1.2)
            axes.annotate(
                f"published: {100 * published:.2f} % right", (100 * (1 - published), 1), (0, 3),
                xycoords=("data", "axes fraction"), textcoords="offset points", ha="center",
            )  # fmt: skip
        rows = range(len(experiments))
        axes.set_yticks(rows, [f"{one.label}{_on(one)}" for one in experiments])
        axes.secondary_yaxis("right").set_yticks(rows, words)
        axes.set(xlabel=error_in, xlim=(0, None))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")

    rows = "; ".join(f"{one.label}{_on(one)} {text}" for one, text in zip(experiments, words, strict=True))
    return Plot(
        "comparison",
        title,
        f"Bars of the errors of {len(experiments)} experiments; {_plural(score)}: {rows}".replace("\n", ", "),
        f"Bars: mean error, {FIGURES[figure_name]}. Error bars: standard deviation. Dots: seeds. Right: {score}, and "
        f"the difference from {experiments[0].label} with the interval of the verdict.{_published(about)}",
        0.9 + 0.44 * len(experiments),
        draw,
    )


def _capital(score: Score) -> str:
    """Return the beginning of a sentence about values of a score."""
    name = str(score)
    return f"{name[0].upper()}{name[1:]}{' in percent' * score.percent}"


def _plural(score: Score) -> str:
    return "accuracies in percent" if score.name == "accuracy" else f"values of {score}"


def _split(one: _Experiment) -> str:
    return str(one.result.get("evaluated_on", "test"))


def _on(one: _Experiment) -> str:
    return "\nvalidation images" * (_split(one) == "validation")


def _difference(one: _Experiment, first: _Experiment) -> str:
    """Return the difference of two experiments, with the interval of the verdict, in words."""
    found = None if one is first else judged(one.result, first.result)
    if found is None:
        return ""
    low, high, difference = (one.score.number(v, sign="+") for v in (found.low, found.high, found.difference))
    interval = f"{100 * found.level:.4g} %: {low} to {high}"
    return f"\n{difference} ({interval if math.isfinite(found.high) else 'one seed: no interval'})"


def _against(title: str, experiments: Sequence[_Experiment], about: Mapping[str, Any]) -> Plot | None:
    """Return the plot of the accuracy against the setting that the recipe names, beside published points."""
    path = about.get("plot_against")
    lines: dict[str, dict[float, _Experiment]] = {}
    for one in experiments:
        value = _setting(one.result, path) if path else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            lines.setdefault(_line_of(one, about), {})[value] = one
    points = about.get("published_points", {})
    xs_of = [*lines.values(), *(dict(line) for line in points.values())]
    places = sorted({float(x) for line in xs_of for x in line})
    if not lines or len(places) < 2:
        return None
    figure_name = compared_at(*(one.result for line in lines.values() for one in line.values()))
    score = experiments[0].score
    scale = score.scale

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for number, (label, line) in enumerate(lines.items()):
            xs, found = sorted(line), [line[x].result[figure_name] for x in sorted(line)]
            means = [scale * spread["mean"] for spread in found]
            stds = [scale * spread["std"] if len(spread["values"]) > 1 else math.nan for spread in found]
            axes.errorbar(xs, means, stds, color=f"C{number}", marker="o", capsize=3, label=label)
        for number, (label, line) in enumerate(points.items()):
            at, values = zip(*sorted(line), strict=True)
            percents, marker = [100 * value for value in values], "sv^d"[number % 4]
            axes.plot(at, percents, color=_INK, marker=marker, linestyle="--", label=f"published: {label}")
        if places[0] > 0 and places[-1] >= _LOG * places[0]:
            axes.set_xscale("log")
        axes.set_xticks(places, [f"{place:,g}" for place in places])
        axes.minorticks_off()
        axes.set(xlabel=path, ylabel=f"{score}{score.unit}")
        errors = axes.secondary_yaxis("right", functions=(lambda right: scale - right, lambda wrong: scale - wrong))
        errors.set_ylabel("error in %" if score.percent else f"1 - {score}")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)

    ours = "; ".join(
        f"{label}: {', '.join(f'{score.spread(line[x].result[figure_name])} at {x:,g}' for x in sorted(line))}"
        for label, line in lines.items()
    )
    theirs = "".join(
        f"; published, {label}: {', '.join(f'{100 * y:.2f} at {x:,g}' for x, y in sorted(line))}"
        for label, line in points.items()
    )
    return Plot(
        "setting",
        title,
        f"{_capital(score)} against {path}. {ours}{theirs}",
        f"Points: mean over the seeds, {FIGURES[figure_name]}. Error bars: standard deviation."
        f"{_published(about, 'published_points')}",
        3.3,
        draw,
    )


def _setting(result: Result, path: str) -> Any:
    """Return a setting that an experiment ran with, by its path, or None."""
    value: Any = result.get("settings", {})
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _line_of(one: _Experiment, about: Mapping[str, Any]) -> str:
    """Return the label of the line that an experiment belongs to."""
    path = about.get("plot_lines")
    if path is None:
        return "experiments"
    value = _setting(one.result, path)
    if isinstance(value, list):
        value = ", ".join(str(part.get("name", part) if isinstance(part, Mapping) else part) for part in value)
    return f"{path}: {value if value not in (None, '') else 'none'}".replace("True", "true").replace("False", "false")


def draw_plots(plots: Sequence[Plot], *, format: str = "svg", titles: bool = True) -> bytes:
    """Return a picture of plots, one below the other, that can be read on light and on dark backgrounds.

    Equal plots give equal bytes.

    Parameters
    ----------
    plots : sequence of Plot
        At least one plot.
    format : {"svg", "png"}
        The format of the picture.
    titles : bool
        Whether to show titles and notes.

    Raises
    ------
    ConfigError
        There is no plot.
    """
    if not plots:
        raise ConfigError("plot: expected runs with metrics.jsonl, or several variants of a recipe, got neither")
    heights = [sum(_heights(plot, titles=titles)) for plot in plots]
    dpi = min(160, _HIGHEST / sum(heights))
    pictures = [_picture(plot, number, format, dpi=dpi, titles=titles) for number, plot in enumerate(plots)]
    return pictures[0] if len(plots) == 1 else _STACKED[format](pictures, heights)


def _notes(plot: Plot) -> list[str]:
    return textwrap.wrap(plot.note, _LINE)


def _heights(plot: Plot, *, titles: bool) -> list[float]:
    """Return the height of a plot, and that of its note if it is shown, in inches."""
    return [plot.height + 0.3, 0.2 + 0.13 * len(_notes(plot))] if titles else [plot.height]


def _picture(plot: Plot, number: int, format: str, *, dpi: float, titles: bool) -> bytes:
    """Return one plot as a file's content. Each number gives other names to the parts of an SVG."""
    import matplotlib as mpl
    from matplotlib import style
    from matplotlib.figure import Figure

    heights = _heights(plot, titles=titles)
    exact = {"svg.hashsalt": f"tinygrad_lab {number}", "text.parse_math": False}
    with style.context("tinygrad_lab.figures"), mpl.rc_context(exact):
        figure = Figure(figsize=(WIDTH, sum(heights)))
        part, *below = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        plot.draw(part)
        for note in below:
            part.suptitle(shortened(plot.title), fontsize=10)
            note.text(0.02, 0.95, "\n".join(_notes(plot)), fontsize=7, verticalalignment="top")
        return saved(figure, format, dpi=dpi)


def _stacked_svg(pictures: Sequence[bytes], heights: Sequence[float]) -> bytes:
    """Return SVGs one below the other; layout of one figure with many plots would take minutes."""
    places = [72 * sum(heights[:number]) for number in range(len(heights))]
    parts = [picture[picture.index(b"<svg ") :] for picture in pictures]
    placed = [
        part.replace(b"<svg ", b'<svg y="%.2fpt" ' % place, 1) for part, place in zip(parts, places, strict=True)
    ]
    width, height = 72 * WIDTH, 72 * sum(heights)
    size = f'width="{width:.2f}pt" height="{height:.2f}pt" viewBox="0 0 {width * 4 / 3:.2f} {height * 4 / 3:.2f}"'
    head = f'<?xml version="1.0" encoding="utf-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" {size}>\n'
    return head.encode() + b"".join(placed) + b"</svg>\n"


def _stacked_png(pictures: Sequence[bytes], heights: Sequence[float]) -> bytes:
    """Return PNGs one below the other."""
    from PIL import Image

    rows = np.concatenate([np.asarray(Image.open(io.BytesIO(picture))) for picture in pictures])
    content = io.BytesIO()
    Image.fromarray(rows).save(content, format="png")
    return content.getvalue()


_STACKED = {"svg": _stacked_svg, "png": _stacked_png}


def plot_path(path: str | Path) -> Path:
    """Return a path after a check that it ends in ``.svg`` or ``.png``.

    Raises
    ------
    ConfigError
        It does not.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(f"plot: expected a file whose name ends in {' or '.join(_FORMATS)}, got {path}")
    return path


def write_plots(results: Iterable[Result], path: str | Path) -> list[Plot]:
    """Write the plots of experiments into an SVG or PNG file, and return them.

    Raises
    ------
    ConfigError
        The file has another ending or cannot be written.
    """
    path = plot_path(path)
    made = plots(results)
    content = draw_plots(made, format=path.suffix.lower()[1:])
    with writing(ConfigError, f"plot: expected to write {path}"):
        write_atomically(path, content)
    return made
