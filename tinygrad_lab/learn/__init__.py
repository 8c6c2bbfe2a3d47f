"""Exercises that the conformance kit grades: files with holes for the learner's code, hints, and saved progress.

``tinygrad-lab learn`` lists them. An exercise is a folder below ``exercises``:

=====================  ================================================================================================
``story.md``           the task: formula, shapes, what to write, a paper; the first line is its title
``*.py.in``            the reference solution; the text between ``#<`` and ``#>`` is a hole in the learner's file
``exercise.toml``      three hints, each stronger than the last, and typical mistakes as changes of the solution
``grade.py``           ``steps(answer)``, the checks, and ``probes(answer)``, calls whose results identify mistakes
``bench.py``           for some exercises: code that runs in the answer's process
=====================  ================================================================================================

The answer runs in a process of its own (see `tinygrad_lab.learn.apart`). Steps and probes run in the grader.
"""
