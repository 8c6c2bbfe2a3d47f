"""Augmentation: random changes of training images, batch by batch."""

from __future__ import annotations

from tinygrad_lab.data.augment.base import Augmentation, Geometric
from tinygrad_lab.data.augment.color import Brightness, ChannelShift, Contrast, Normalize, PCAColor
from tinygrad_lab.data.augment.compose import Compose
from tinygrad_lab.data.augment.geometric import CenterCrop, Flip, RandomCrop, Rotation, Shift, Zoom
from tinygrad_lab.data.augment.mixing import Cutout, Mixup
from tinygrad_lab.data.augment.targets import StandardizeTargets
from tinygrad_lab.data.augment.warp import warp

__all__ = [
    "Augmentation",
    "Brightness",
    "CenterCrop",
    "ChannelShift",
    "Compose",
    "Contrast",
    "Cutout",
    "Flip",
    "Geometric",
    "Mixup",
    "Normalize",
    "PCAColor",
    "RandomCrop",
    "Rotation",
    "Shift",
    "StandardizeTargets",
    "Zoom",
    "warp",
]
