"""SpatialDropout2d: random planes are left out of training."""

from tinygrad_lab_layers.spatial_dropout2d.layer import SpatialDropout2d

__all__ = ["SpatialDropout2d"]
