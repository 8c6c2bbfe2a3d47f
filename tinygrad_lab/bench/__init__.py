"""Benchmark of whole steps: this framework and others take turns, each in its own process."""
