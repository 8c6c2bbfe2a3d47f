"""The exercises, a folder each; `tinygrad_lab.learn.catalogue` gives their order."""
