"""Train a network by a recipe; without a name, LeNet-5 on real digits."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_lab.train.recipe import Recipe
    from tinygrad_lab.train.trainer import Trainer

DEFAULT = "lenet5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = "tinygrad-lab recipes lists the recipes; tinygrad-lab recipes NAME prints one with its settings."
    what = "a recipe's name or TOML file, or a run's recipe.json (default: lenet5)"
    parser.add_argument("recipe", nargs="?", default=DEFAULT, help=what)
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="replace a setting")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="run N times, each with the next seed")
    parser.add_argument(
        "--until-decided",
        metavar="OTHER",
        help="add seeds to this recipe and to the recipe OTHER until their comparison is decided",
    )
    parser.add_argument(
        "--at-most", type=int, metavar="N", help="with --until-decided: the largest number of seeds (default: 10)"
    )
    parser.add_argument("--data", metavar="DIR", help="folder of data sets (default: TINYGRAD_LAB_DATA, then a cache)")
    parser.add_argument("--runs", default="runs", metavar="DIR", help="create the run's folder in DIR (default: runs)")
    parser.add_argument("--name", help="the name of the run's folder (default: the recipe's name and the time)")
    parser.add_argument("--resume", metavar="RUN", help="resume the run in this folder")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, or cuda for a GPU (default: cpu)")
    parser.add_argument("--ranks", type=int, metavar="N", help="share the training among N processes (needs MPI)")
    parser.add_argument("--oversubscribe", action="store_true", help="allow more ranks than cores")
    parser.add_argument(
        "--dry-run", action="store_true", help="take a few steps, predict time and memory, and write nothing"
    )
    parser.add_argument(
        "--find-lr", action="store_true", help="test rising learning rates on training images, and draw the losses"
    )
    parser.add_argument(
        "--overfit-batch", action="store_true", help="check that the network learns one batch by heart; write nothing"
    )
    parser.add_argument("--tensorboard", action="store_true", help="write curves for TensorBoard into the run's folder")
    parser.add_argument("--quiet", action="store_true", help="print only the result")
    parser.add_argument("--json", action="store_true", help="print one JSON object per run, and one for the verdict")


def advice(unknown: list[str]) -> str:
    """Return the end of the message about unknown arguments: the setting of a recipe that is meant, if there is one."""
    from tinygrad_lab.train.recipe import setting_of

    key, equals, value = unknown[0].lstrip("-").partition("=")
    if equals and "." in key:
        return f"; use --set {key}={value}"
    setting = setting_of(key) if equals or unknown[0].startswith("--") else None
    return f"; use --set {setting}={value or next(iter(unknown[1:]), '...')}" if setting else ""


def run(arguments: argparse.Namespace) -> int:
    """Train, and print the result."""
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.train.recipe import find_recipe

    arguments.group = None
    several = arguments.ranks is not None or "mpi4py.run" in sys.modules
    if several and (status := _among_ranks(arguments)) is not None:
        return status
    if arguments.resume is not None:
        return _resume(arguments)
    if setting := advice([arguments.recipe]):
        raise ConfigError(f"expected a recipe, got {arguments.recipe!r}{setting}")
    if arguments.seeds < 1:
        raise ConfigError(f"--seeds: expected at least 1, got {arguments.seeds}")
    recipe = find_recipe(arguments.recipe).override(arguments.set)
    rehearsals = arguments.dry_run + arguments.find_lr + arguments.overfit_batch
    if rehearsals + (arguments.seeds != 1 or bool(arguments.until_decided)) > 1:
        options = "--dry-run, --find-lr and --overfit-batch"
        raise ConfigError(f"{options}: expected one of them, one recipe and one seed, got more")
    if arguments.at_most is not None and not arguments.until_decided:
        raise ConfigError("--at-most: expected --until-decided too, got --at-most alone; --seeds sets a fixed number")
    if arguments.until_decided:
        return _until_decided(recipe, find_recipe(arguments.until_decided).override(arguments.set), arguments)
    if rehearsals:
        return _rehearse(recipe, arguments)
    first, results = recipe["training"].get("seed", 0), []
    for seed in range(first, first + arguments.seeds):
        seeded = recipe.override([f"training.seed={seed}"])
        results.append(_train(seeded, arguments, runs=Path(arguments.runs)))
        _show(results[-1], arguments)
    if len(results) > 1 and results[0] and not arguments.json:
        _show_spread(results)
    return 0


def _resume(arguments: argparse.Namespace) -> int:
    """Resume a run, and print the result."""
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.train.folder import read_run

    rehearsals = arguments.dry_run or arguments.find_lr or arguments.overfit_batch
    several = arguments.seeds != 1 or arguments.until_decided or rehearsals
    if arguments.recipe != DEFAULT or arguments.set or arguments.name or several:
        weights = f"--set transfer.weights={arguments.resume}/weights.safetensors"
        first = "" if (Path(arguments.resume) / "result.json").exists() else "finish it with --resume, and then "
        raise ConfigError(
            "--resume: expected the run's folder alone, got a recipe, settings or a name too; a run keeps its own. "
            f"To train further, {first}begin a new run with {weights}"
        )
    folder = Path(arguments.resume)
    recipe = read_run(folder)
    silent = arguments.json or (arguments.group is not None and arguments.group.rank)
    if (folder / "result.json").exists() and not silent:
        print("this run is already finished; its result:")
    _show(_train(recipe, arguments, resume=folder), arguments)
    return 0


def _among_ranks(arguments: argparse.Namespace) -> int | None:
    """Start the ranks and return the job's exit status, or note the group of this rank and return None."""
    from tinygrad_lab.distributed import init
    from tinygrad_lab.distributed.launcher import launch
    from tinygrad_lab.errors import ConfigError

    ranks, group = arguments.ranks, init()
    if ranks is not None and ranks < 1:
        raise ConfigError(f"--ranks: expected at least 1, got {ranks}")
    for name in ("dry_run", "find_lr", "overfit_batch", "until_decided"):
        if getattr(arguments, name):
            raise ConfigError(f"--ranks: expected a training, got --{name.replace('_', '-')}, which takes one process")
    if "mpi4py.run" not in sys.modules and ranks != 1:
        return launch(ranks, arguments.argv, oversubscribe=arguments.oversubscribe)
    if ranks not in (None, group.size):
        raise ConfigError(f"--ranks: expected {group.size}, which mpiexec started, got {ranks}")
    arguments.group = group
    return None


def _rehearse(recipe: Recipe, arguments: argparse.Namespace) -> int:
    """Do the dry run, the learning-rate range test or the training on one batch, and print what it found."""
    from tinygrad_lab.cli.summary import print_table
    from tinygrad_lab.inspect.summary import summarize
    from tinygrad_lab.train.build import build_trainer
    from tinygrad_lab.train.describe import describe_run
    from tinygrad_lab.train.dry_run import dry_run
    from tinygrad_lab.train.shapes import shape_after

    trainer = build_trainer(recipe, root=arguments.data, device=arguments.device)
    if arguments.find_lr:
        return _find_rate(recipe, trainer, arguments)
    if arguments.overfit_batch:
        return _overfit(trainer, arguments)
    batches = trainer.batches
    image = shape_after(batches.augment.for_evaluation(), batches.dataset)
    summary, head = (
        summarize(trainer.model, image, name=recipe["model"]["name"]),
        describe_run(recipe, trainer, root=arguments.data),
    )
    found = dry_run(trainer, recipe["training"]["epochs"])
    if arguments.json:
        print(json.dumps({**asdict(found), "seconds": found.seconds, "head": head, "network": summary.as_json()}))
        return 0
    print_table(summary)
    print(*head, sep="\n")
    print(f"first step: loss {found.loss:.4f}, {found.start_up:.1f} s with start-up")
    each = f"{found.epochs} epoch{'s' * (found.epochs != 1)} of about {found.epoch:.3g} s"
    memory = f"memory of the host {found.host_memory / 2**20:,.0f} MiB"
    print(f"a run: {each}, {found.seconds:.3g} s in all; {memory}; nothing was written")
    return 0


def _overfit(trainer: Trainer, arguments: argparse.Namespace) -> int:
    from tinygrad_lab.train.overfit import overfit_batch

    found = overfit_batch(trainer)
    if arguments.json:
        print(json.dumps({**asdict(found), "learned": found.learned}))
        return 0
    first, last = found.losses[0], found.losses[-1]
    how = f"{len(found.losses)} updates with lr = {found.rate:.2g}"
    print(f"one batch of {found.examples}, {how}: loss {first:.4f} to {last:.4f}")
    if found.learned:
        print("the network can learn this batch by heart")
    else:
        print("warning: the network cannot learn even one batch; look at the labels, the loss and the layers")
    return 0


def _find_rate(recipe: Recipe, trainer: Trainer, arguments: argparse.Namespace) -> int:
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.files.writing import write_atomically, writing
    from tinygrad_lab.inspect.curves import draw_range_test
    from tinygrad_lab.train.range_test import range_test

    found = range_test(trainer)
    if arguments.json:
        print(json.dumps({**asdict(found), "suggestion": found.suggestion}))
        return 0
    path = Path(arguments.runs) / f"{recipe.name.replace(':', '-')}-learning-rates.png"
    with writing(ConfigError, f"--find-lr: expected to write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, draw_range_test(found, f"{recipe.name}: learning-rate range test"))
    rates = f"{len(found.rates)} updates with rates from {found.rates[0]:.2g} to {found.rates[-1]:.2g}"
    print(f"{rates}, on training images alone: {path}")
    if found.suggestion is None:
        print("no suggestion: the loss did not fall at any of these rates")
    else:
        print(f"suggestion: --set optimizer.lr={found.suggestion:.2g}, a tenth of the rate with the smallest mean loss")
    return 0


def _until_decided(recipe: Recipe, other: Recipe, arguments: argparse.Namespace) -> int:
    """Train both recipes seed by seed until their difference is decided, or the seeds are used up."""
    from tinygrad_lab.errors import ConfigError
    from tinygrad_lab.train.folder import write_into
    from tinygrad_lab.train.metrics import headline_in
    from tinygrad_lab.train.results import STOPPING, evaluated_on, finished_run, other_images
    from tinygrad_lab.train.statistics import bonferroni_level, verdict

    at_most = 10 if arguments.at_most is None else arguments.at_most
    if at_most < 2 or arguments.seeds != 1:
        raise ConfigError(
            f"--until-decided: expected --at-most 2 or more, and no --seeds, got --at-most {at_most} and "
            f"--seeds {arguments.seeds}"
        )
    runs, first = Path(arguments.runs), recipe["training"].get("seed", 0)
    splits = [evaluated_on(one, arguments.data) for one in (recipe, other)]
    if differ := other_images([recipe.tables, other.tables], splits):
        raise ConfigError(f"--until-decided: expected recipes that are evaluated on the same images, got {differ[0]}")
    level = bonferroni_level(at_most - 1)
    results: tuple[list[dict[str, Any]], ...] = ([], [])
    for seed in range(first, first + at_most):
        for one, done in zip((recipe, other), results, strict=True):
            seeded = one.override([f"training.seed={seed}"])
            same = finished_run(runs, seeded, root=arguments.data, device=arguments.device)
            done.append(same or _train(seeded, arguments, runs=runs))
            rule = {"compared_with": (other if one is recipe else recipe).name, "at_most": at_most, "level": level}
            write_into(Path(done[-1]["run"]), STOPPING, json.dumps(rule).encode())
            _show(done[-1], arguments)
        honest = all("chosen_on_validation" in done[-1]["figures"] for done in results)
        name = "chosen_on_validation" if honest else "last"
        score = headline_in(results[0][-1]["figures"]["last"])
        sides = ([result["figures"][name][score.name] for result in done] for done in results)
        images = results[0][-1].get(_judged(results[0][-1]), {}).get("images")
        found = verdict(*sides, images=images, level=level, score=score)
        if found.decided:
            break
    if arguments.json:
        print(json.dumps({"verdict": {**asdict(found), "decided": found.decided, "better": found.better}}))
    else:
        print(f"{recipe.name} compared with {other.name}: {found.text(score)}")
    return 0


def _train(
    recipe: Recipe, arguments: argparse.Namespace, *, runs: Path | None = None, resume: Path | None = None
) -> dict[str, Any]:
    """Run a recipe and draw its curves last, because nothing depends on them."""
    from tinygrad_lab.inspect.curves import save_curves
    from tinygrad_lab.train.run import run_recipe

    result = run_recipe(
        recipe,
        _reporter(arguments),
        runs=runs,
        name=arguments.name,
        resume=resume,
        root=arguments.data,
        tensorboard=arguments.tensorboard,
        device=arguments.device,
        group=arguments.group,
    )
    if result:  # of rank 0
        save_curves(Path(result["run"]))
    return result


def _reporter(arguments: argparse.Namespace) -> Any:
    from tinygrad_lab.train.progress import LineReporter, LiveReporter, Reporter

    if arguments.quiet or arguments.json:
        return Reporter()
    return LiveReporter() if sys.stdout.isatty() else LineReporter()


def _show(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    if not result:  # of a rank other than 0
        return
    if arguments.json:
        from tinygrad_lab.files.writing import json_text

        print(json_text(result), flush=True)
        return
    from tinygrad_lab.train.evaluation import FIGURES, not_learned
    from tinygrad_lab.train.metrics import headline_in

    figures = result["figures"]
    last = figures["last"]
    score = headline_in(last)
    more = "".join(f", {name} {last[name]:.4f}" for name in last if name not in ("epoch", score.name, "loss"))
    value = f"{_judged(result)} {score} {score.text(last[score.name])}"
    print(f"{value}, loss {last['loss']:.4f}{more} (seed {result['seed']})")
    for name, figure in figures.items():
        if name != "last":
            print(f"  {FIGURES[name]}: {score.text(figure[score.name])} (epoch {figure['epoch']})")
    if "ended_early" in result:
        print(f"ended early: {result['ended_early']}")
    if "test" not in result:
        print("no test image was read: the figures above are for the validation images")
    if "diverged" in result:
        print(f"warning: {not_learned(result['diverged'])}")
    epochs = f"{result['epochs']} epoch{'s' * (result['epochs'] != 1)}"
    print(f"{epochs} in {result['seconds']:.1f} s, {result['images_per_second']:,.0f} images/s")
    print(f"run folder: {result['run']}", flush=True)


def _judged(result: dict[str, Any]) -> str:
    """Return the split on which the score was measured."""
    return "test" if "test" in result else "validation"


def _show_spread(results: list[dict[str, Any]]) -> None:
    from tinygrad_lab.train.evaluation import FIGURES, spread
    from tinygrad_lab.train.metrics import headline_in

    score = headline_in(results[0]["figures"]["last"])
    for name in results[0]["figures"]:
        values = spread([result["figures"][name][score.name] for result in results])
        what = f"{_judged(results[0])} {score} over {len(results)} seeds, {FIGURES[name]}"
        print(f"{what}: {score.text(values['mean'])}, standard deviation {score.text(values['std'])}")
