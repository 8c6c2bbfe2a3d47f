"""Single planes of a network: contributions to logits, class activation maps, and networks without some of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError
from tinygrad_lab.inspect.trace import kind_of
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.tensor import tensor


def contributions(model: Sequential, x: Any) -> Array:
    r"""Return the contribution of each input of the last layer to each logit.

    .. math:: z_{nk} = b_k + \sum_c h_{nc} w_{ck}, \qquad \text{the contributions } h_{nc} w_{ck}

    After a global average pool the inputs are the planes' means, so the result shows which plane supports which class.

    Parameters
    ----------
    model : Sequential
        A network that ends in a dense layer.
    x : array or Tensor
        A batch.

    Returns
    -------
    array (N, C, K)
        Summed over C and with the bias added, they are the logits.

    Raises
    ------
    OptionError
        The network does not end in a dense layer.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_lab.registry import models
    >>> contributions(models["gap7"](rng=0), np.ones((1, 32, 32, 3), "float32")).shape
    (1, 20, 2)
    """
    *before, head = _ending(model, "dense")
    features = _run(before, x)
    weight = unbox(head.weight)
    return features[:, :, None] * weight  # (N, C) -> (N, C, K)


def class_activation(model: Sequential, x: Any) -> Array:
    r"""Return class activation maps: the planes before the global average pool, weighted by the last layer.

    .. math:: a_{nijk} = \sum_c m_{nijc} w_{ck}, \qquad z_{nk} = b_k + \operatorname{mean}_{ij} a_{nijk}

    Parameters
    ----------
    model : Sequential
        A network that ends in a global average pool and a dense layer.
    x : array or Tensor
        A batch.

    Returns
    -------
    array (N, H, W, K)
        Their mean over H and W, with the bias added, is the logits.

    Raises
    ------
    OptionError
        The network does not end in these layers.

    References
    ----------
    B. Zhou et al., "Learning deep features for discriminative localization", CVPR 2016, equation 2.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_lab.registry import models
    >>> class_activation(models["gap7"](rng=0), np.ones((1, 32, 32, 3), "float32")).shape
    (1, 7, 7, 2)
    """
    *before, _, head = _ending(model, "global_avg_pool2d", "dense")
    activation: Array = _run(before, x) @ unbox(head.weight)
    return activation


def without_planes(model: Layer, path: str, planes: Sequence[int]) -> dict[str, Array]:
    """Return the state of a network with some planes of a convolution, or neurons of a dense layer, set to zero.

    Parameters
    ----------
    model : Layer
        The network, which is not changed; pass the state to `functional_call` or `Layer.load_state`.
    path : str
        The layer's path.
    planes : sequence of int
        The outputs to set to zero, by zero weights and biases.

    Raises
    ------
    OptionError
        The layer has no weight, or fewer planes.

    Examples
    --------
    >>> from tinygrad_lab.registry import models
    >>> state = without_planes(models["gap7"](rng=0), "conv3", [4])
    >>> float(abs(state["conv3.weight"][..., 4]).max())
    0.0
    """
    state = model.state()
    count = state[f"{path}.weight"].shape[-1] if f"{path}.weight" in state else 0
    if not all(-count <= plane < count for plane in planes):
        raise OptionError(f"without_planes: expected planes of {path!r}, which has {count}, got {[*planes]}")
    for name in (f"{path}.weight", f"{path}.bias"):
        if name in state:
            state[name] = state[name].copy()
            state[name][..., list(planes)] = 0
    return state


def _ending(model: Any, *kinds: str) -> list[Any]:
    """Return the layers of a network that ends in layers of certain kinds."""
    layers = list(model.children().values()) if isinstance(model, Sequential) else []
    if [kind_of(layer) for layer in layers[-len(kinds) :]] != list(kinds):
        raise OptionError(f"expected a Sequential that ends in {' and '.join(kinds)}, got {type(model).__name__}")
    return layers


def _run(layers: Sequence[Layer], x: Any) -> Array:
    """Return the layers' result for a batch in evaluation mode, and restore their modes."""
    part = Sequential(*layers)
    modes = [(layer, layer.training) for layer in part.layers().values()]
    try:
        with no_grad():
            return unbox(part.eval()(tensor(x)))
    finally:
        for layer, training in modes:
            layer.training = training
