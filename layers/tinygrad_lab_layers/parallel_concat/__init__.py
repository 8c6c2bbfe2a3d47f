"""ParallelConcat: layers side by side, their results joined."""

from tinygrad_lab_layers.parallel_concat.layer import ParallelConcat

__all__ = ["ParallelConcat"]
