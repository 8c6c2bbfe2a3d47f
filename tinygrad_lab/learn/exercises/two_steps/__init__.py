"""An exercise of `tinygrad-lab learn`."""
