"""ParallelConcat: layers applied to the same input, with joined results."""

from tinygrad_lab_layers.parallel_concat.layer import ParallelConcat

__all__ = ["ParallelConcat"]
