"""Hardtanh: numbers clipped to a range."""

from tinygrad_lab_layers.hardtanh.layer import Hardtanh

__all__ = ["Hardtanh"]
