"""Weight files, import from and export to other frameworks, and transfer learning."""

from __future__ import annotations

from tinygrad_lab.weights.conventions import CONVENTIONS as CONVENTIONS  # documented in its module
from tinygrad_lab.weights.conventions import renamed
from tinygrad_lab.weights.exporting import export_weights
from tinygrad_lab.weights.files import load_weights, save_weights
from tinygrad_lab.weights.importing import import_weights
from tinygrad_lab.weights.reading import read_arrays
from tinygrad_lab.weights.transfer import begin_with, freeze, replace_head, unfreeze

__all__ = [
    "begin_with",
    "export_weights",
    "freeze",
    "import_weights",
    "load_weights",
    "read_arrays",
    "renamed",
    "replace_head",
    "save_weights",
    "unfreeze",
]
