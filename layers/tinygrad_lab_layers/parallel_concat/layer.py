r"""Layers side by side.

.. math:: y = [f_1(x), f_2(x), \dots, f_K(x)]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tinygrad_lab as tgl


class ParallelConcat(tgl.Layer):
    r"""Applies several layers to the same input and joins their results: :math:`y = [f_1(x), \dots, f_K(x)]`.

    Parameters
    ----------
    branches : sequence of Layer, or dict of them
        The layers in the order of their results; a dict gives them names.
    axis : int
        The axis along which the results are joined: by default that of the channels.

    Shapes
    ------
    x : an input that all branches accept; y : (..., C1 + ... + CK) for branches that return (..., C1), ..., (..., CK)

    Raises
    ------
    ShapeError
        The branches' results do not have the axis `axis`, or differ in length along another axis.
    OptionError
        There is no branch, or a branch is not a layer.

    References
    ----------
    C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, figure 2a.

    Examples
    --------
    >>> import numpy as np
    >>> block = ParallelConcat({"linear": tgl.Sequential(), "squashed": tgl.layers["tanh"]()})
    >>> block(np.array([[-1000.0, 1000.0]]))
    array([[-1000.,  1000.,    -1.,     1.]])
    """

    def __init__(self, branches: dict[str, tgl.Layer] | Sequence[tgl.Layer], *, axis: int = -1) -> None:
        self.inner = dict(branches if isinstance(branches, dict) else enumerate(branches))
        if not self.inner or not all(isinstance(branch, tgl.Layer) for branch in self.inner.values()):
            kinds = [type(branch).__name__ for branch in self.inner.values()]
            raise tgl.errors.OptionError(f"ParallelConcat: expected at least one branch, each a layer, got {kinds}")
        self.axis = axis

    def children(self) -> dict[str, tgl.Layer]:
        """Return the branches by name or number."""
        return {str(name): branch for name, branch in self.inner.items()}

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the branches as they are now."""
        config = super().config()
        named = isinstance(config["branches"], dict)
        return {**config, "branches": dict(self.inner) if named else list(self.inner.values())}

    def forward(self, *inputs: Any) -> Any:
        """Return the branches' results, joined."""
        parts = [branch(*inputs) for branch in self.inner.values()]
        self._join([part.shape for part in parts])
        return tgl.concatenate(parts, self.axis)

    def output_shape(self, *shapes: tuple[int, ...]) -> tuple[int, ...]:
        """Return the branches' shape with the lengths along the axis added up."""
        return self._join([branch.output_shape(*shapes) for branch in self.inner.values()])

    def multiply_adds(self, *shapes: tuple[int, ...]) -> int:
        """Return the sum over the branches."""
        return sum(branch.multiply_adds(*shapes) for branch in self.inner.values())

    def _join(self, shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
        """Return the shape of the joined results."""
        rank = len(shapes[0])
        if not -rank <= self.axis < rank:
            raise tgl.errors.ShapeError(
                f"{type(self).__name__}: expected results with an axis {self.axis}, got shapes {shapes}"
            )
        axis = self.axis % rank
        if len({(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}) > 1:
            raise tgl.errors.ShapeError(
                f"{type(self).__name__}: expected results that differ only along axis {self.axis}, got shapes "
                f"{shapes}; use padding='same' in the branches?"
            )
        return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
