"""Looking into networks: their layers in a table, their drawing, and what happens inside them."""

from tinygrad_lab.inspect.draw import Drawing, draw, draw_model
from tinygrad_lab.inspect.summary import Summary, summarize, summarize_model

__all__ = ["Drawing", "Summary", "draw", "draw_model", "summarize", "summarize_model"]
