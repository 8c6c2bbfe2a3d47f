"""SpatialDropout2d: random planes are set to 0 in training."""

from tinygrad_lab_layers.spatial_dropout2d.layer import SpatialDropout2d

__all__ = ["SpatialDropout2d"]
