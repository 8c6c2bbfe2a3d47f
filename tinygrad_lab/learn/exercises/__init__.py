"""The exercises, a folder each; `tinygrad_lab.learn.catalog` gives their order."""
