"""Draw a network as SVG, from shapes alone: blocks with their shapes, branches side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinygrad_lab.cli.summary import add_network, chosen_network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_network(parser)
    parser.add_argument("-o", "--output", metavar="FILE.svg", help="where to write the drawing: by default MODEL.svg")
    parser.add_argument("--unfolded", action="store_true", help="draw every repetition of a group of layers")


def run(arguments: argparse.Namespace) -> int:
    """Write the drawing and print its path."""
    from tinygrad_lab.inspect.draw import draw, svg_path

    model, image = chosen_network(arguments)
    name = Path(arguments.model).name.replace(":", "-").replace(".toml", "").replace(".json", "")
    path = svg_path(arguments.output or f"{name}.svg")
    drawing = draw(model, image, name=arguments.model, fold=not arguments.unfolded)
    drawing.save(path)
    print(path)
    return 0
