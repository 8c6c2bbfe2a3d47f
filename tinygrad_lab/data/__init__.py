"""Data sets, augmentation and the loader.

`load` brings a data set into memory as a `Dataset`; a `Loader` gives its batches, augmented, in a reproducible order.
"""

from __future__ import annotations

from tinygrad_lab.data.catalogue import Listing, Verification, fetch, find_source, listing, load, verify
from tinygrad_lab.data.dataset import Dataset

__all__ = ["Dataset", "Listing", "Verification", "fetch", "find_source", "listing", "load", "verify"]
