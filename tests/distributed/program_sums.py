"""Trainings of 8 ranks, and of groups of 4, 2 and 1 of them, each on the same batches."""

from __future__ import annotations

import sys

from tests.distributed.ranks import write
from tests.distributed.trainings import train_all
from tinygrad_lab.distributed import init

world = init()
found = {size: train_all(world.split(world.rank // size), blocks=8, epochs=17) for size in (8, 4, 2, 1)}
write(sys.argv[1], world.rank, found)
