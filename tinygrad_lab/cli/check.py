"""Check the gradients and other properties of layers, with the conformance kit."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tinygrad_lab.errors import ConfigError

NEEDS_HYPOTHESIS = "needs Hypothesis: pip install -e '.[kit]' in a clone, or pip install 'tinygrad-lab[kit]'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="registered layers (default: all)")
    parser.add_argument("--examples", type=int, metavar="N", help="cases drawn for each layer (15)")
    parser.add_argument(
        "--profile",
        choices=("ci", "thorough"),
        default="ci",
        help="thorough: 1000 cases for each layer, and larger Jacobians",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the cases (0)")
    parser.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="NAME",
        help="compare NumPy with this backend too, and check its kernels",
    )
    parser.add_argument(
        "--mutants",
        action="store_true",
        help="damage the layer's own code in one place at a time, and check that the kit notices",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report card as a page")
    parser.add_argument("--plot", metavar="NAME", help="the layer whose errors the page plots (default: the first)")


def run(arguments: argparse.Namespace) -> int:
    """Check the layers; the exit status is 0 if all pass, else 1."""
    try:
        from tinygrad_lab.conformance.session import check_layers
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise ConfigError(NEEDS_HYPOTHESIS) from error
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("") as status:
        results = check_layers(
            arguments.names,
            profile=arguments.profile,
            examples=arguments.examples,
            seed=arguments.seed,
            devices=arguments.device,
            mutants=arguments.mutants,
            progress=lambda name: status.update(f"checking {escape(name)}"),
        )
    report(results, arguments)
    return 0 if all(result.passed for result in results) else 1


def report(results: list[Any], arguments: argparse.Namespace) -> None:
    """Print the card or JSON, and write the page if one is asked for."""
    if arguments.json:
        print(json.dumps({"layers": [result.as_json() for result in results]}, indent=2))
    else:
        from tinygrad_lab.conformance.report.card import print_card

        print_card(results)
    if arguments.html is not None:
        from tinygrad_lab.conformance.report.page import write_page

        write_page(arguments.html, results, plot_of=arguments.plot)
