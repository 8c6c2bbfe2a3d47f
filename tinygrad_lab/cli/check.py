"""Check the gradients and other properties of layers and other plugins, with the conformance kit."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tinygrad_lab.errors import ConfigError
from tinygrad_lab.registry import KINDS

NEEDS_HYPOTHESIS = "needs Hypothesis: pip install -e '.[kit]' in a clone, or pip install 'tinygrad-lab[kit]'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="registered plugins (default: all)")
    parser.add_argument("--kind", choices=tuple(KINDS), help="check only this kind of plugins")
    parser.add_argument("--examples", type=int, metavar="N", help="cases drawn for each plugin (15)")
    parser.add_argument(
        "--profile",
        choices=("quick", "ci", "thorough"),
        default="ci",
        help="quick: 5 cases for each plugin; thorough: 1000 cases, and larger Jacobians",
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
        help="damage a layer's own code in one place at a time, and check that the kit notices",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report card as an HTML page")
    parser.add_argument("--plot", metavar="NAME", help="the layer whose errors the page plots (default: the first)")


def run(arguments: argparse.Namespace) -> int:
    """Check the plugins; the exit status is 0 if all pass, else 1."""
    try:
        from tinygrad_lab.conformance.session import check_plugins
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise ConfigError(NEEDS_HYPOTHESIS) from error
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("") as status:
        results = check_plugins(
            arguments.names,
            kind=arguments.kind,
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
        print(json.dumps({"plugins": [result.as_json() for result in results]}, indent=2))
    else:
        from tinygrad_lab.conformance.report.card import print_card

        print_card(results)
    if arguments.html is not None:
        from tinygrad_lab.conformance.report.page import write_page

        write_page(arguments.html, results, plot_of=arguments.plot)
