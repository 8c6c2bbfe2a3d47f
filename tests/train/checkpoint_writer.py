"""A process that tests kill: it saves checkpoints of steps 1, 2, 3, ... and prints each step after its checkpoint.

    python checkpoint_writer.py FOLDER [DIE_AT]

With DIE_AT, it kills itself before the system call of this number; the count begins with the second checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_lab.train.checkpoint import CheckpointFolder

LENGTHS = (300_000, 70_000, 1)


def contents(step: int) -> dict[str, Any]:
    """Return the contents of a step's checkpoint, all of which depend on the step."""
    arrays = {f"layer.{i}": np.full(n, step, "float32") for i, n in enumerate(LENGTHS)}
    return {"model": arrays, "optimizer": {"lr": 0.1, "layer.0/step": step}, "step": step}


def is_whole(checkpoint: dict[str, Any]) -> bool:
    step = checkpoint["step"]
    arrays = checkpoint["model"]
    return (
        checkpoint["optimizer"]["layer.0/step"] == step
        and [len(array) for array in arrays.values()] == list(LENGTHS)
        and all((array == step).all() for array in arrays.values())
    )


class Countdown:
    """Kills the process before the system call of a given number."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def tick(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, call: Any) -> Any:
        def counted(*args: Any, **options: Any) -> Any:
            self.tick()
            return call(*args, **options)

        return counted

    def watch(self) -> None:
        """Count every opening, writing, syncing, renaming and removing of files from now on."""
        os.fsync = self.before(os.fsync)
        Path.replace = self.before(Path.replace)
        Path.unlink = self.before(Path.unlink)
        opening = Path.open
        Path.open = lambda path, mode: HalfByHalf(self.before(opening)(path, mode, buffering=0), self)


class HalfByHalf:
    """A file that writes everything in two pieces, between which the process may die."""

    def __init__(self, file: Any, countdown: Countdown) -> None:
        self.file, self.countdown = file, countdown
        self.flush, self.fileno = file.flush, file.fileno

    def __enter__(self) -> HalfByHalf:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, data: Any) -> None:
        view = memoryview(data).cast("B")
        for piece in (view[: len(view) // 2], view[len(view) // 2 :]):
            self.countdown.tick()
            self.file.write(piece)


def main() -> None:
    folder = Path(sys.argv[1])
    checkpoints = CheckpointFolder(folder)
    if len(sys.argv) > 2:
        checkpoints.save(1, contents(1))
        print(1, flush=True)
        Countdown(int(sys.argv[2])).watch()
    step = max(checkpoints.steps(), default=0)
    last = step + 3 if len(sys.argv) > 2 else sys.maxsize
    while step < last:
        step += 1
        checkpoints.save(step, contents(step), best=step % 2 == 0)
        print(step, flush=True)


if __name__ == "__main__":
    main()
