"""Several processes and machines: groups of ranks, exchanges with derivatives, and the start of a job.

The interface follows MLX: ``world = init()``, and exchanges such as ``all_sum(x)``. In a group of one rank an exchange
changes nothing, so a program needs no second version for one process.
"""

from tinygrad_lab.distributed.communication import (
    all_gather,
    all_sum,
    broadcast,
    receive,
    reduce_scatter,
    send,
    sum_at,
)
from tinygrad_lab.distributed.group import Group, Ranks, init, tree_sum
from tinygrad_lab.distributed.job import expect_alike, one_report, together

__all__ = [
    "Group",
    "Ranks",
    "all_gather",
    "all_sum",
    "broadcast",
    "expect_alike",
    "init",
    "one_report",
    "receive",
    "reduce_scatter",
    "send",
    "sum_at",
    "together",
    "tree_sum",
]
