"""Neural-network layers: base class, variables, Sequential, functional call, random numbers, initializers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_lab.foreign_names import PACKAGE, missing

if not TYPE_CHECKING:  # otherwise type checkers would accept any name

    def __getattr__(name):
        raise missing("module 'tinygrad_lab.nn'", name, PACKAGE)
