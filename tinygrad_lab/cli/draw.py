"""Draw a network as SVG, from shapes alone: blocks with their shapes, branches side by side."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", help="a network's registered name, such as lenet5 or googlenet")
    parser.add_argument("-o", "--output", metavar="FILE.svg", help="where to write the drawing: by default MODEL.svg")
    parser.add_argument(
        "--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the network: padding=none"
    )
    parser.add_argument("--unfolded", action="store_true", help="draw repeated groups of layers each time")


def run(arguments: argparse.Namespace) -> int:
    """Write the drawing and print its path."""
    from tinygrad_lab.cli.summary import expect_network, option
    from tinygrad_lab.inspect.draw import draw_model, svg_path

    expect_network(arguments.model)
    path = svg_path(arguments.output or f"{arguments.model}.svg")
    drawing = draw_model(arguments.model, dict(map(option, arguments.set)), fold=not arguments.unfolded)
    drawing.save(path)
    print(path)
    return 0
