"""Hardtanh: a number is held between two bounds."""

from tinygrad_lab_layers.hardtanh.layer import Hardtanh

__all__ = ["Hardtanh"]
