"""Data sets, augmentation and the loader.

`load` reads a data set into memory as a `Dataset`. A `Loader` yields its augmented batches in a reproducible order.
"""

from __future__ import annotations

from tinygrad_lab.data.augment import (
    Augmentation,
    Brightness,
    CenterCrop,
    ChannelShift,
    Compose,
    Contrast,
    Cutout,
    Flip,
    Geometric,
    Mixup,
    Normalize,
    PCAColor,
    RandomCrop,
    Rotation,
    Shift,
    StandardizeTargets,
    Zoom,
)
from tinygrad_lab.data.catalog import Listing, Verification, fetch, find_source, listing, load, verify
from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.data.loader import Loader, Position
from tinygrad_lab.data.sequences import pad_sequences
from tinygrad_lab.data.shards import Shard
from tinygrad_lab.data.sources import Source

__all__ = [
    "Augmentation",
    "Brightness",
    "CenterCrop",
    "ChannelShift",
    "Compose",
    "Contrast",
    "Cutout",
    "Dataset",
    "Flip",
    "Geometric",
    "Listing",
    "Loader",
    "Mixup",
    "Normalize",
    "PCAColor",
    "Position",
    "RandomCrop",
    "Rotation",
    "Shard",
    "Shift",
    "Source",
    "StandardizeTargets",
    "Verification",
    "Zoom",
    "fetch",
    "find_source",
    "listing",
    "load",
    "pad_sequences",
    "verify",
]
