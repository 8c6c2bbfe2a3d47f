"""``python -m tinygrad_lab`` is the command ``tinygrad-lab``."""

from tinygrad_lab.cli import main

raise SystemExit(main())
