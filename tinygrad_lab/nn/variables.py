"""Variables of layers: parameters, which are learned, and buffers, which are not."""

from __future__ import annotations

from typing import Any, ClassVar

from tinygrad_lab.autograd.tape import Node, unbox
from tinygrad_lab.backend import as_array, carries_gradient
from tinygrad_lab.errors import DTypeError, ShapeError
from tinygrad_lab.tensor import Tensor


class Variable(Tensor):
    """A layer's tensor, whose value can be replaced, always with a new array."""

    # frozen_leaf: the leaf that keeps hooks while the variable is frozen; replaced: whether `replace_head` removed it
    __slots__ = ("frozen_leaf", "replaced")
    tracked: ClassVar[bool]

    def __init__(self, array: Any) -> None:
        super().__init__(None)
        self.frozen_leaf: Any = None
        self.replaced = False
        self.assign(array)

    def assign(self, array: Any) -> None:
        """Replace the value with a new array, and the leaf with a new one; the old array is unchanged."""
        value = as_array(unbox(array), who=f"{type(self).__name__}: ")
        if self.tracked and not carries_gradient(value):
            raise DTypeError(
                f"Parameter: expected floats, got {value.dtype}; use a Buffer for values that are not learned"
            )
        if self.value is not None and value.shape != self.value.shape:
            raise ShapeError(f"assign: expected shape {self.value.shape}, got {value.shape}")
        hooks = self.node.hooks if self.node else ()
        self.value, self.node = value, Node(value) if self.tracked else None
        if self.node and hooks:
            self.node.hooks = hooks

    def freeze(self) -> None:
        """Make the variable a constant: it gets no gradient and optimizers skip it."""
        if self.node is not None:
            hooks, self.node = self.node.hooks, None
            self.frozen_leaf = Node(self.value)
            self.frozen_leaf.hooks = hooks

    def unfreeze(self) -> None:
        """Undo `freeze`; hooks are kept."""
        if self.tracked and self.node is None:
            self.node = Node(self.value)
            self.node.hooks = self.frozen_leaf.hooks if self.frozen_leaf else ()
            self.frozen_leaf = None


class Parameter(Variable):
    """A variable that is learned."""

    __slots__ = ()
    tracked = True

    def assign(self, array: Any) -> None:
        """Replace the value with a new array and the leaf with a new one; a frozen parameter stays frozen."""
        frozen = self.value is not None and self.node is None
        super().assign(array)
        if frozen:
            self.node = None


class Buffer(Variable):
    """A variable that is not learned but belongs to the layer's state, such as a running mean."""

    __slots__ = ()
    tracked = False
