"""Benchmark of whole training and inference steps: this framework and others take turns, each in its own process."""
