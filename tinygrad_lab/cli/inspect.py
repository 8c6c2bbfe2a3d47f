"""Write a page that shows what a run's network learned and how it decides."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from tinygrad_lab.cli.predict import add_weights

    parser.add_argument("run", metavar="RUN", help="the run's folder")
    where = "the page to write (default: inspect.html in the run's folder)"
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help=where)
    split = "the images: validation, or test, which counts as a look at the test images (default: validation)"
    parser.add_argument("--split", metavar="NAME", default="validation", help=split)
    parser.add_argument("--data", metavar="DIR", help="folder of data sets (default: the one used in training)")
    layer = "path of the layer whose planes are shown (default: the last with maps of more than one pixel)"
    parser.add_argument("--layer", metavar="PATH", help=layer)
    pick = "the numbers (positions in the split) of images to look into, before the mistakes"
    parser.add_argument("--pick", metavar="N", type=int, nargs="+", default=[], help=pick)
    parser.add_argument("--mistakes", metavar="N", type=int, default=24, help="mistakes to look into (default: 24)")
    parser.add_argument("--images", metavar="N", type=int, default=600, help="images in the page (default: 600)")
    parser.add_argument("--planes", metavar="N", type=int, default=128, help="planes to show and prune (default: 128)")
    add_weights(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the page and print its path."""
    from rich.console import Console

    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.files.writing import write_atomically, writing
    from tinygrad_lab.inspect.page import run_page
    from tinygrad_lab.inspect.run import load_run

    trained = load_run(arguments.run, weights=arguments.weights, device=arguments.device)
    path = arguments.output or trained.folder / "inspect.html"
    with Console(stderr=True).status("Looking inside ..."):  # which only a terminal shows
        page = run_page(
            trained,
            split=arguments.split,
            root=arguments.data,
            layer=arguments.layer,
            picked=arguments.pick,
            mistakes=arguments.mistakes,
            images=arguments.images,
            planes=arguments.planes,
        )
    content = page.encode()
    with writing(ConfigError, f"inspect: expected to write {path}"):
        write_atomically(path, content)
    print(f"{path}: {len(content) / 1e6:.1f} MB; open it in a browser")
    return 0
