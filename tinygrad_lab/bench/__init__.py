"""The benchmark of whole steps: this framework and others, each in a process of its own, in turns."""
