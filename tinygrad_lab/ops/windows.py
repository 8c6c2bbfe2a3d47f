"""Windows of images: unfold (im2col) and its adjoint, fold (col2im).

Images are (N, H, W, C). A window has kh x kw positions, `dilation` apart, and moves over the padded image in steps of
`stride`. There are

    Ho = (H + top + bottom - (kh - 1) * dilation_h - 1) // stride_h + 1

windows from top to bottom, and Wo likewise from left to right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.backend import real
from tinygrad_lab.errors import OptionError, ShapeError

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
MOST = 1 << 30  # limit of every number in the options of a primitive
PaddingOption = str | int | Sequence[int] | Sequence[Sequence[int]]


def places(
    size: Sequence[int],
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair = (1, 1),
    who: object = "kernel_size",
) -> Pair:
    """Return (Ho, Wo), the number of windows in an image of that size.

    Raises
    ------
    ShapeError
        No window fits into the padded image.
    """
    (height, width), (sh, sw), ((top, bottom), (left, right)) = size, stride, padding
    tall, wide = ((k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True))
    padded = height + top + bottom, width + left + right
    if tall > padded[0] or wide > padded[1]:
        raise ShapeError(
            f"{who}: expected a map of at least {tall}x{wide} for the window, got {height}x{width}, "
            f"{padded[0]}x{padded[1]} with padding; use more padding or a smaller window"
        )
    return (padded[0] - tall) // sh + 1, (padded[1] - wide) // sw + 1


def map_shape(
    op: object,
    images: Any,
    *,
    kernel_size: Any,
    stride: Any = (1, 1),
    padding: Any = ((0, 0), (0, 0)),
    dilation: Any = (1, 1),
    channels: int | None = None,
) -> tuple[int, ...]:
    """Check the options of a window over images and return the shape (N, Ho, Wo, C) of the resulting maps.

    Parameters
    ----------
    op : Primitive
        The operation named in errors.
    images : shape
        (N, H, W, C).
    kernel_size, stride, padding, dilation
        Options as primitives take them: tuples of ints.
    channels : int or None
        Channels of the maps, if they differ from those of the images.

    Raises
    ------
    OptionError
        An option is not such a tuple, or a number is too small, or so large that a kernel's arithmetic would overflow.
    ShapeError
        The shape is not that of images, or no window fits.
    """
    expect_images(images, f"{op}")
    for name, value in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation)):
        expect_pair(op, name, value, minimum=1)
    if not (type(padding) is tuple and len(padding) == 2 and all(_is_pair(sides, 0) for sides in padding)):
        raise OptionError(
            f"{op}: expected padding to be ((top, bottom), (left, right)), tuples of ints from 0 to {MOST}, "
            f"got {padding!r:.60}"
        )
    out = places(images[1:3], kernel_size, stride, padding, dilation, op)
    return images[0], *out, images[3] if channels is None else channels


def expect_pair(op: object, name: str, value: Any, *, minimum: int = 0) -> None:
    """Check that an option of a primitive is a tuple of two ints.

    Raises
    ------
    OptionError
        The value is not such a tuple, or a number is smaller than `minimum` or larger than `MOST`.
    """
    if not _is_pair(value, minimum):
        raise OptionError(
            f"{op}: expected {name} to be a tuple of two ints from {minimum} to {MOST}, got {value!r:.60}"
        )


def _is_pair(value: Any, minimum: int) -> bool:
    return type(value) is tuple and len(value) == 2 and all(type(n) is int and minimum <= n <= MOST for n in value)


def expect_maps(op: object, shape: tuple[int, ...], expected: tuple[int, ...], images: tuple[int, ...]) -> None:
    """Check that maps have the shape that follows from the images.

    Raises
    ------
    ShapeError
        The shapes differ.
    """
    if shape != expected:
        raise ShapeError(f"{op}: expected maps of shape {expected} for images of shape {images}, got {shape}")


def _slices(kernel_size: Pair, out: Pair, stride: Pair, dilation: Pair) -> Any:
    """Yield, for each position (i, j) in the window, the slices of the padded image that this position visits."""
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            top, left = i * dilation[0], j * dilation[1]
            rows = slice(top, top + (out[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(left, left + (out[1] - 1) * stride[1] + 1, stride[1])
            yield i, j, (slice(None), rows, columns)


@primitive
def unfold(
    xp: Any,
    x: Any,
    *,
    kernel_size: Pair,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    fill: float = 0.0,
) -> Any:
    """Return the windows of images: (N, H, W, C) -> (N, Ho, Wo, kh, kw, C). The padding contains `fill`."""
    out = places(x.shape[1:3], kernel_size, stride, padding, dilation, "unfold")
    padded = xp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=fill)
    columns = xp.empty((x.shape[0], *out, *kernel_size, x.shape[3]), dtype=x.dtype)
    for i, j, place in _slices(kernel_size, out, stride, dilation):
        columns[:, :, :, i, j] = padded[place]
    return columns


@primitive
def fold(
    xp: Any,
    columns: Any,
    *,
    size: Pair,
    kernel_size: Pair,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
) -> Any:
    """Add windows at their places in images of zeros: (N, Ho, Wo, kh, kw, C) -> (N, H, W, C)."""
    (top, bottom), (left, right) = padding
    columns = real(columns)
    shape = (columns.shape[0], size[0] + top + bottom, size[1] + left + right, columns.shape[5])
    padded = xp.zeros(shape, dtype=columns.dtype)
    for i, j, place in _slices(kernel_size, columns.shape[1:3], stride, dilation):
        padded[place] += columns[:, :, :, i, j]
    return padded[:, top : top + size[0], left : left + size[1]]


unfold.defvjp(
    x=lambda g, x_like, kernel_size, stride, padding, dilation: fold(
        g, size=x_like.shape[1:3], kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
    )
)
fold.defvjp(
    columns=lambda g, kernel_size, stride, padding, dilation: unfold(
        g, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
    )
)


def pair(value: Any, *, minimum: int, what: str) -> Pair:
    """Return an option of windows as (vertical, horizontal); one number is used for both.

    Raises
    ------
    OptionError
        The value is not a whole number or a pair of them, or a number is smaller than `minimum`.
    """
    both = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(both) != 2 or any(not isinstance(n, int) or isinstance(n, bool) or n < minimum for n in both):
        raise OptionError(f"{what}: expected a whole number of at least {minimum}, or a pair of them, got {value!r}")
    return both


def _explicit_padding(value: Any, what: str) -> Padding:
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(side, (tuple, list)) for side in value):
        return pair(value[0], minimum=0, what=what), pair(value[1], minimum=0, what=what)
    vertical, horizontal = pair(value, minimum=0, what=what)
    return (vertical, vertical), (horizontal, horizontal)


def _same_padding(length: int, span: int, stride: int) -> Pair:
    """Return the padding of one axis that gives ceil(length / stride) windows; an odd element is added at the end."""
    total = max((-(-length // stride) - 1) * stride + span - length, 0)
    return total // 2, total - total // 2


class Window:
    """A sliding window: its size, stride, dilation and padding, checked once.

    Parameters
    ----------
    size : int or (height, width)
        The size of the window.
    stride : int or (vertical, horizontal)
        The step from one window to the next.
    padding : "valid", "same", int, (vertical, horizontal) or ((top, bottom), (left, right))
        Elements added around a map. ``"valid"`` adds none. ``"same"`` gives ceil(H / stride) windows; an odd row is
        added at the bottom, an odd column on the right.
    dilation : int or (vertical, horizontal)
        The distance between neighboring elements of the window.
    who : str
        The name in errors.

    Raises
    ------
    OptionError
        An option has none of these forms.

    Examples
    --------
    >>> window = Window(3, stride=2, padding="same")
    >>> window.padding_for((32, 31)), window.places((32, 31))
    (((0, 1), (1, 1)), (16, 16))
    """

    def __init__(
        self, size: Any, *, stride: Any = 1, padding: PaddingOption = 0, dilation: Any = 1, who: str = "Window"
    ) -> None:
        self.who = who
        self.size = pair(size, minimum=1, what=f"{who}: kernel_size")
        self.stride = pair(stride, minimum=1, what=f"{who}: stride")
        self.dilation = pair(dilation, minimum=1, what=f"{who}: dilation")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise OptionError(f"{who}: expected padding 'same', 'valid' or numbers, got {padding!r}")
        self.same = padding == "same"
        self.padding = _explicit_padding(0 if isinstance(padding, str) else padding, f"{who}: padding")

    @property
    def span(self) -> Pair:
        """Height and width that the dilated window covers."""
        (kh, kw), (dh, dw) = self.size, self.dilation
        return (kh - 1) * dh + 1, (kw - 1) * dw + 1

    def padding_for(self, size: Sequence[int]) -> Padding:
        """Return ((top, bottom), (left, right)) for a map of that size."""
        if not self.same:
            return self.padding
        vertical, horizontal = map(_same_padding, size, self.span, self.stride)
        return vertical, horizontal

    def expect_narrow_padding(self) -> None:
        """Check that no window can lie entirely in the padding.

        Raises
        ------
        OptionError
            The padding of a side is at least as wide as the window.
        """
        if any(max(sides) >= span for sides, span in zip(self.padding, self.span, strict=True)):
            raise OptionError(f"{self.who}: expected padding narrower than the window, got {self.padding}")

    def places(self, size: Sequence[int]) -> Pair:
        """Return the number of windows in a map of that size.

        Raises
        ------
        ShapeError
            No window fits.
        """
        return places(size, self.size, self.stride, self.padding_for(size), self.dilation, self.who)


def expect_images(shape: tuple[int, ...] | None, who: str, *, channels: int | None = None, empty: bool = True) -> None:
    """Check that a shape is (N, H, W, C).

    Parameters
    ----------
    shape : tuple of int
        The shape of a layer's input.
    who : str
        The name in errors.
    channels : int or None
        The expected number of channels; None allows any.
    empty : bool
        Whether H or W may be 0.

    Raises
    ------
    ShapeError
        The shape is not that of such images.
    """
    if shape is None or len(shape) != 4 or channels not in (None, shape[3]):
        last = "C" if channels is None else channels
        raise ShapeError(f"{who}: expected images (N, H, W, {last}), got x.shape == {shape}; channels come last")
    if not empty and 0 in shape[1:3]:
        raise ShapeError(f"{who}: expected a map with at least one pixel, got x.shape == {shape}")
