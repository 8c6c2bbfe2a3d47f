"""Sphinx extension for the documentation of layers: add ``"tinygrad_lab.sphinx"`` to `extensions` in ``conf.py``.

It needs Sphinx with ``sphinx.ext.autodoc`` and ``sphinx.ext.napoleon``, and the kit: ``pip install sphinx
'tinygrad-lab[kit]'``. See `tinygrad_lab.sphinx.layer_pages`.
"""

from tinygrad_lab.sphinx.layer_pages import setup

__all__ = ["setup"]
