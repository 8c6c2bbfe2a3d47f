"""List the arrays in a file of weights, import another framework's weights, or export those of a run."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from tinygrad_lab.cli.predict import add_weights

_CONVENTIONS = {"pytorch": "torch", "own": "own"}
_RULES = """\
a TOML file with any of: convention = "torch"; [rules] with "theirs.*" = "ours.*" ("" skips the array); [flattened] with
"dense6" = [channels, height, width]; fresh = ["output.*"], the arrays that keep their random initial values"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="list the arrays of an .npz or .safetensors file")
    show.add_argument("file", help="the file")
    show.add_argument("--json", action="store_true", help="print only JSON")
    bring = actions.add_parser("import", help="convert another framework's weights into those of a network")
    bring.add_argument("model", help="a network's registered name, such as resnet20")
    bring.add_argument("file", help="the .npz or .safetensors file of the other framework")
    bring.add_argument("output", help="the .safetensors file to write")
    bring.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the network")
    bring.add_argument("--rules", metavar="FILE.toml", help=_RULES)
    hand_on = actions.add_parser("export", help="write the weights of a run for another framework")
    hand_on.add_argument("run", metavar="RUN", help="the run's folder")
    hand_on.add_argument("output", help="the .safetensors file to write")
    target = "the framework whose array names and axis order the file uses (default: pytorch)"
    hand_on.add_argument("--as", dest="target", choices=_CONVENTIONS, default="pytorch", help=target)
    hand_on.add_argument(
        "--rules", metavar="FILE.toml", help="the file of rules that `weights import` would need to read the output"
    )
    add_weights(hand_on)


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand."""
    return {"show": _show, "import": _import, "export": _export}[arguments.action](arguments)


def _natural(item: tuple[str, Any]) -> list[tuple[int, str]]:
    """Return a key that sorts the numbers in names by value: 2.bias before 10.bias."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", item[0])]


def _show(arguments: argparse.Namespace) -> int:
    from tinygrad_lab.weights import read_arrays

    arrays = read_arrays(arguments.file)
    if arguments.json:
        print(json.dumps({name: {"shape": a.shape, "dtype": a.dtype.name} for name, a in arrays.items()}, indent=2))
        return 0
    width = min(60, max(map(len, arrays), default=0))
    for name, array in sorted(arrays.items(), key=_natural):
        print(f"{name:<{width}}  {', '.join(map(str, array.shape)) or 'a number':<18}  {array.dtype.name}")
    print(f"{len(arrays)} arrays, {sum(a.size for a in arrays.values()):,} numbers")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from tinygrad_lab.cli.summary import option
    from tinygrad_lab.errors import OptionError
    from tinygrad_lab.inspect.trace import outline
    from tinygrad_lab.registry import models
    from tinygrad_lab.weights import save_weights
    from tinygrad_lab.weights.importing import import_weights

    output = Path(arguments.output)
    if output.suffix != ".safetensors":
        raise OptionError(f"weights import: expected a .safetensors file to write, got {output}")
    options = dict(map(option, arguments.set))
    outline(arguments.model, options)  # raises an error that names a wrong option
    model = models[arguments.model](**options, rng=0)
    taken = import_weights(model, arguments.file, **_settings(arguments.rules))
    save_weights(model, output)
    print(f"{output}: {len(taken)} arrays from {arguments.file}")
    if left := sorted(model.variables().keys() - taken.keys()):
        print(f"random initial values, from seed 0: {', '.join(left)}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.inspect.run import load_run
    from tinygrad_lab.weights import export_weights

    settings, target, convention = _settings(arguments.rules), arguments.target, _CONVENTIONS[arguments.target]
    if (given := settings.pop("convention", convention)) != convention:
        expected = f"convention = {convention!r} for --as {target}"
        raise ConfigError(f"--rules {arguments.rules}: expected {expected}, got {given!r}")
    settings.pop("fresh", None)
    trained = load_run(arguments.run, weights=arguments.weights, device=arguments.device)
    image, output = trained.input_shape, arguments.output
    names = export_weights(trained.model, output, convention=convention, image=image, **settings)
    print(f"{output}: {len(names)} arrays of {arguments.run}, {trained.weights} weights, as {target}")
    return 0


def _settings(path: str | None) -> dict[str, Any]:
    """Return the import options in a file of rules."""
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.files.parsing import from_toml, read_text

    if path is None:
        return {}
    known = {"convention": str, "rules": dict, "flattened": dict, "fresh": list}
    settings: dict[str, Any] = from_toml(read_text(Path(path), "--rules"), f"--rules {path}")
    for name, value in settings.items():
        if name not in known or not isinstance(value, known[name]):
            raise ConfigError(f"--rules {path}: expected some of {sorted(known)}, got {name} = {value!r}")
    return settings
