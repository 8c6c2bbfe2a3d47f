"""Mish, a layer for tinygrad_lab."""

from acme_mish.layer import Mish

__all__ = ["Mish"]
