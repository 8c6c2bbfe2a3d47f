"""Print a script that completes commands, options and names in a shell."""

from __future__ import annotations

import argparse

SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads the script")
    parser.epilog = 'bash: add eval "$(tinygrad-lab completion bash)" to ~/.bashrc'


def run(arguments: argparse.Namespace) -> int:
    """Print the script, written by shtab."""
    from tinygrad_lab.cli import commands, make_parser
    from tinygrad_lab.errors import ConfigError

    try:
        import shtab
    except ImportError as error:
        raise ConfigError(f"expected the package shtab, got {error}; pip install 'tinygrad-lab[completion]'") from error
    parser = make_parser(commands())
    print(shtab.complete(parser, arguments.shell))
    return 0
