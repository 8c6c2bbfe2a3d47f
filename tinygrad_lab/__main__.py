"""``python -m tinygrad_lab`` is the command ``tinygrad-lab``."""

from tinygrad_lab.cli import main

if __name__ == "__main__":  # the workers of mpi4py.futures import this module too
    raise SystemExit(main())
