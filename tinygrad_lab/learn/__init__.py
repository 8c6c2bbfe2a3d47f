"""Exercises that grade themselves: files with holes, the conformance kit behind them, and progress that is kept.

``tinygrad-lab learn`` lists them. An exercise is a folder below ``exercises``:

=====================  ================================================================================================
``story.md``           what it is about: formula, shapes, what to write, a paper; the first line is its title
``*.py.in``            the reference solution; what stands between ``#<`` and ``#>`` is a hole in the learner's file
``exercise.toml``      three hints of rising strength, and the typical mistakes, each as a change of the solution
``grade.py``           ``steps(answer)``, what the kit is to check, and ``probes(answer)``, by which mistakes are known
``bench.py``           for some: what runs beside the answer, in its process
=====================  ================================================================================================

The answer runs in a process of its own (see `tinygrad_lab.learn.apart`); steps and probes run in the grader.
"""
