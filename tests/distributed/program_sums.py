"""Trainings of 8 ranks, and of the first 4, 2 and 1 of them, each on the same batches."""

from __future__ import annotations

import sys

from tests.distributed.ranks import write
from tests.distributed.trainings import train_all
from tinygrad_lab.distributed import init

world = init()
found = {}
for size, epochs in ((8, 26), (1, 26), (8, 3), (4, 3), (2, 3)):  # two updates an epoch
    group = world.split(world.rank // size)
    if world.rank < size:
        found[f"{size} ranks, {epochs} epochs"] = train_all(group, blocks=8, epochs=epochs, batch_size=24)
    world.wait_for_all()
write(sys.argv[1], world.rank, found)
