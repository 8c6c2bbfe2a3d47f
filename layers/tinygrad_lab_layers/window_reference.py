"""Window geometry in plain Python, for the reference forwards of the cases.

It is independent of `tinygrad_lab.Window` on purpose: a reference must not share the errors of what it checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Place = tuple[int, int]


def both(option: Any) -> Place:
    """Return (vertical, horizontal) of an option that may be one number."""
    return (option, option) if isinstance(option, int) else (option[0], option[1])


def axis_padding(padding: Any, axis: int, length: int, span: int, stride: int) -> Place:
    """Return the padding (before, after) along an axis; axis 0 is the vertical one."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        wanted = -(-length // stride)
        missing = 0
        while (length + missing - span) // stride + 1 < wanted:
            missing += 1
        return missing // 2, missing - missing // 2
    side = padding if isinstance(padding, int) else padding[axis]
    return (side, side) if isinstance(side, int) else (side[0], side[1])


class Grid:
    """The positions of the windows in a map.

    Parameters
    ----------
    size : sequence of int
        (H, W).
    config : dict
        A layer's configuration, with kernel_size, stride, padding and dilation as passed by the user.
    """

    def __init__(self, size: Sequence[int], config: dict[str, Any]) -> None:
        self.size, self.kernel_size = both(size), both(config["kernel_size"])
        self.stride = both(config["kernel_size"] if config["stride"] is None else config["stride"])
        self.dilation = both(config.get("dilation", 1))
        span = [(k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        sides = [axis_padding(config["padding"], a, self.size[a], span[a], self.stride[a]) for a in (0, 1)]
        self.start = (sides[0][0], sides[1][0])
        self.shape = tuple((self.size[a] + sum(sides[a]) - span[a]) // self.stride[a] + 1 for a in (0, 1))

    def places(self) -> Iterator[Place]:
        """Yield the positions of the windows, row by row."""
        yield from ((p, q) for p in range(self.shape[0]) for q in range(self.shape[1]))

    def elements(self, place: Place) -> Iterator[tuple[Place, Place]]:
        """Yield each element of the window at a position and its pixel, which may be outside of the map."""
        for i in range(self.kernel_size[0]):
            for j in range(self.kernel_size[1]):
                row = place[0] * self.stride[0] + i * self.dilation[0] - self.start[0]
                column = place[1] * self.stride[1] + j * self.dilation[1] - self.start[1]
                yield (i, j), (row, column)

    def inside(self, pixel: Place) -> bool:
        """Return whether a pixel is in the map, not in its padding."""
        return 0 <= pixel[0] < self.size[0] and 0 <= pixel[1] < self.size[1]

    def nearest(self, pixel: Place) -> Place:
        """Return the nearest pixel of the map."""
        row, column = (min(max(n, 0), length - 1) for n, length in zip(pixel, self.size, strict=True))
        return row, column
