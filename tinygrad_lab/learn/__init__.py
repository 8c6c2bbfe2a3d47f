"""Exercises that the conformance kit grades: files with holes, hints, and saved progress.

``tinygrad-lab learn`` lists them. An exercise is a folder below ``exercises``:

=====================  ================================================================================================
``story.md``           the task: formula, shapes, what to write, a paper; the first line is its title
``*.py.in``            the reference solution; the text between ``#<`` and ``#>`` is a hole in the learner's file
``exercise.toml``      three hints, each stronger than the last, and typical mistakes as changes of the solution
``grade.py``           ``steps(answer)``, the checks, and ``probes(answer)``, which recognize mistakes
``bench.py``           for some: code that runs in the answer's process
=====================  ================================================================================================

The answer runs in a process of its own (see `tinygrad_lab.learn.apart`); steps and probes run in the grader.
"""
