"""Measure whole training and inference steps, and PyTorch's if you like."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any

from tinygrad_lab.backend import installed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("networks", nargs="*", metavar="NET", help="registered networks, such as lenet5 (default: all)")
    parser.add_argument("--against", choices=["torch"], help="also measure the same networks in PyTorch, in turns")
    parser.add_argument("--without-numba", action="store_true", help="also measure this framework without Numba")
    parser.add_argument("--rounds", type=int, default=9, help="rounds; in each round, every process takes a turn (9)")
    parser.add_argument("--threads", type=int, help="threads of each process (default: all cores)")
    parser.add_argument("--batch", type=int, help="images per step, instead of the network's usual number")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or JSON."""
    from tinygrad_lab.bench.networks import named
    from tinygrad_lab.bench.rounds import measure
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.kernels import num_threads
    from tinygrad_lab.train.provenance import machine

    if arguments.against == "torch" and not installed("torch"):
        raise ConfigError("bench: --against torch needs PyTorch, which is not installed; pip install torch")
    if arguments.rounds < 1 or (arguments.threads is not None and arguments.threads < 1):
        given = f"--rounds {arguments.rounds} and --threads {arguments.threads}"
        raise ConfigError(f"bench: expected at least one round and one thread, got {given}")
    threads = arguments.threads or num_threads()
    result: dict[str, Any] = {"threads": threads, "rounds": arguments.rounds, "machine": machine(), "networks": []}
    rates = []
    for network in named(arguments.networks, arguments.batch):
        print(f"{network.name}, batches of {network.batch} ...", file=sys.stderr, flush=True)
        found, rate = measure(
            network,
            against=arguments.against,
            without_numba=arguments.without_numba,
            rounds=arguments.rounds,
            threads=threads,
        )
        rates.append(rate)
        result["networks"].append(found)
        if not arguments.json:
            _print_network(found)
    result["matrix_product_gflops"] = round(statistics.median(rates), 1)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"{threads} threads; {result['matrix_product_gflops']} GFLOP/s in products of large matrices")
    return 0


def _print_network(found: dict[str, Any]) -> None:
    """Print a network's lines: milliseconds with quartiles, ratios, rates and memory."""
    print(f"{found['name']}, batches of {found['batch']}")
    rows = [("tinygrad_lab", found)]
    if "without_numba" in found:
        rows.append(("tinygrad_lab without Numba", found["without_numba"]))
    for name, row in rows:
        for kind, values in (("training", row), ("inference", row["inference"])):
            print(f"  {name + ', ' + kind:<40}{_line(values)}")
        print(f"  {'':<40}at most {row['peak_mib']:,.0f} MiB")
    for peer in found["peers"]:
        times = f"{1e3 * peer['seconds']:.2f} ms training, {1e3 * peer['inference_seconds']:.2f} ms inference"
        print(f"  {peer['name']:<40}{times}, at most {peer['peak_mib']:,.0f} MiB")


def _line(values: dict[str, Any]) -> str:
    low, high = (1e3 * s for s in values["seconds_quartiles"])
    text = f"{1e3 * values['seconds']:.2f} ms ({low:.2f} to {high:.2f})"
    if "best_peer" in values:
        least, most = values["ratio_quartiles"]
        text += f", {values['ratio_to_best_peer']:.2f} x {values['best_peer']} ({least:.2f} to {most:.2f})"
    return f"{text}, {values['gflops']:.0f} GFLOP/s ({values['share_of_matrix_product']:.0%})"
