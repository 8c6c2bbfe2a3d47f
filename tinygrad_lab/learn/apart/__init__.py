"""Process of an answer: what it runs, what it may do, and how the grader calls it.

The answer's process gets inputs and returns numbers; the grader compares them with numbers of its own. No verdict, no
expected value and no reference solution is in that process, so nothing that an answer does there can change a verdict.

==================  ===================================================================================================
``wire``            messages between the two processes: JSON, in which arrays are bytes
``confinement``     limits of time, memory, files, processes and the network
``start``           the program that the process runs; also the guard that ends it with everything that it has started
``service``         in the process: loads the answer and runs its functions
``objects``         in the process: layers, losses, optimizers and cases of an answer
``remote``          in the grader: an answer whose functions run in the process
``foreign``         in the grader: layers, optimizers and cases whose methods run in the process
==================  ===================================================================================================
"""
