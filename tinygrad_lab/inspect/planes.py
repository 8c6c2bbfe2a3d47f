"""Single planes of a network: contributions to logits, class activation maps, and networks without some of them."""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lab.arguments import fits
from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.autograd.transforms import grad
from tinygrad_lab.backend import Array, device_name, transfer
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.inspect.cut import Cut, check_path, cut
from tinygrad_lab.inspect.trace import kind_of
from tinygrad_lab.nn.functional import with_variables
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.ops.arithmetic import where
from tinygrad_lab.ops.indexing import take_along_axis
from tinygrad_lab.tensor import tensor


def contributions(model: Layer, x: Any) -> Array:
    r"""Return the contribution of each input of the last layer to each logit.

    .. math:: z_{nk} = b_k + \sum_c h_{nc} w_{ck}, \qquad \text{the contributions } h_{nc} w_{ck}

    After a global average pool the inputs are the planes' means, so the result shows which plane supports which class.

    Parameters
    ----------
    model : Sequential
        A network that ends in a dense layer, which has no activation and no pruned planes.
    x : array or Tensor
        A batch.

    Returns
    -------
    array (N, C, K)
        Summed over C and with the bias added, they are the logits.

    Raises
    ------
    OptionError
        The network does not end in such a layer.

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


def class_activation(model: Layer, x: Any) -> Array:
    r"""Return class activation maps: the planes before the global average pool, weighted by the last layer.

    .. math:: a_{nijk} = \sum_c m_{nijc} w_{ck}, \qquad z_{nk} = b_k + \operatorname{mean}_{ij} a_{nijk}

    Parameters
    ----------
    model : Sequential
        A network that ends in a global average pool and a dense layer, without an activation and without pruned planes.
    x : array or Tensor
        A batch.

    Returns
    -------
    array (N, H, W, K)
        Their mean over H and W, with the bias added, is the logits.

    Raises
    ------
    OptionError
        The network does not end in such layers.

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


def has_class_activation(model: Layer) -> bool:
    """Return whether `class_activation` applies: the network ends in a global average pool and a dense layer.

    The dense layer must have no activation, and neither layer may have pruned planes.
    """
    return _ends_in(_active(model), "global_avg_pool2d", "dense")


def grad_cam(model: Layer, x: Any, classes: Any = None, *, layer: str | None = None) -> Array:
    r"""Return gradient-weighted class activation maps (Grad-CAM), for any network with maps.

    .. math::

        a_{nij} = \max\Big(0, \sum_c \alpha_{nc} m_{nijc}\Big), \qquad
        \alpha_{nc} = \frac{1}{HW} \sum_{ij} \frac{\partial z_{nk}}{\partial m_{nijc}}, \quad k = k_n

    m are the maps that a layer returns. After a global average pool and a dense layer this is the positive part of
    `class_activation`, divided by HW.

    Parameters
    ----------
    model : Layer
        The network, which runs in evaluation mode and is not changed. A network with one output z has the logits
        (-z/2, z/2).
    x : array or Tensor
        A batch of prepared images; see `Run.prepare`.
    classes : int or array of int (N,), optional
        The class k of each image; by default the most probable.
    layer : str, optional
        The path of the layer with the maps; by default the last one with maps of more than one pixel.

    Returns
    -------
    array (N, H, W)
        In the size of the maps; at least 0.

    Raises
    ------
    OptionError
        The network has no maps, there is no such layer, or no such class.
    ShapeError
        The layer's result is not (N, H, W, C), or the classes are not (N,).

    References
    ----------
    R. R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization",
    ICCV 2017, equations 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_lab.registry import models
    >>> grad_cam(models["lenet5"](rng=0), np.ones((1, 32, 32, 1), "float32"), classes=3).shape
    (1, 5, 5)
    """
    at, wanted = _cut_for(model, x, classes, layer)
    alpha = _gradient(at, wanted).mean(axis=(1, 2), keepdims=True)  # (N, H, W, C) -> (N, 1, 1, C)
    positive: Array = (alpha * at.maps).sum(axis=-1).clip(0)  # (N, H, W, C) -> (N, H, W)
    return positive


class PlaneContributions(NamedTuple):
    """Contribution of each plane to one logit: `planes` (N, C) and `rest` (N,). Their sum is the logit."""

    planes: Array
    rest: Array


def plane_contributions(model: Layer, x: Any, classes: Any = None, *, layer: str | None = None) -> PlaneContributions:
    r"""Return the contribution of each plane of a layer to the logit of a class.

    .. math:: z_{nk} = r_n + \sum_c p_{nc}, \qquad p_{nc} = \sum_{ij} m_{nijc} \frac{\partial z_{nk}}{\partial m_{nijc}}

    m are the layer's maps. If only linear layers, ReLU and pools follow, the rest r is the share of the biases alone;
    after a global average pool and a dense layer it is the bias of class k, and p are the `contributions`.

    Parameters
    ----------
    model : Layer
        The network, which runs in evaluation mode and is not changed. A network with one output z has the logits
        (-z/2, z/2).
    x : array or Tensor
        A batch of prepared images; see `Run.prepare`.
    classes : int or array of int (N,), optional
        The class k of each image; by default the most probable.
    layer : str, optional
        The path of the layer with the maps; by default the last one with maps of more than one pixel.

    Returns
    -------
    PlaneContributions
        ``planes`` (N, C) and ``rest`` (N,), in float64.

    Raises
    ------
    OptionError
        The network has no maps, there is no such layer, or no such class.
    ShapeError
        The layer's result is not (N, H, W, C), or the classes are not (N,).

    References
    ----------
    After a global average pool: B. Zhou et al., "Learning deep features for discriminative localization", CVPR 2016,
    equation 1. In general, gradient times input: A. Shrikumar, P. Greenside, A. Kundaje, "Learning important features
    through propagating activation differences", ICML 2017, section 2.2, here summed over each plane.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_lab.registry import models
    >>> found = plane_contributions(models["lenet5"](rng=0), np.ones((2, 32, 32, 1), "float32"), classes=[3, 5])
    >>> found.planes.shape, found.rest.shape
    ((2, 16), (2,))
    """
    at, wanted = _cut_for(model, x, classes, layer)
    planes = (at.maps * _gradient(at, wanted)).sum(axis=(1, 2), dtype="float64")  # (N, H, W, C) -> (N, C)
    with no_grad():
        logits = unbox(take_along_axis(at.scores(at.maps), wanted, 1))[:, 0]  # (N, 1) -> (N,)
    return PlaneContributions(planes, logits.astype("float64") - planes.sum(axis=1))


def prune(model: Layer, planes: int | Sequence[int], *, layer: str) -> Layer:
    """Return a network in which some planes of a layer's result are zero.

    The zeros replace the result itself, so they hold after a layer's bias and activation too. They belong to the
    returned network, not to its state: a file of its weights holds all of them. Of layers without maps, the planes are
    the entries of the last axis.

    Parameters
    ----------
    model : Layer
        The network, which is not changed. Both networks have the same parameters, not copies of them.
    planes : int or sequence of int
        The planes, in addition to those that were pruned before.
    layer : str
        The layer's path. A layer without parameters, such as a pool or a residual block, has planes too.

    Raises
    ------
    OptionError
        There is no such layer, or the planes are no integers. A later call of the network raises it if the layer has
        fewer planes.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_lab.registry import models
    >>> model, x = models["gap7"](rng=0), np.ones((1, 32, 32, 3), "float32")
    >>> float(abs(contributions(prune(model, 4, layer="conv3"), x)[:, 4]).max())
    0.0
    """
    check_path(model, layer)
    twin: Layer = with_variables(model, {}, {})
    found = twin.layers()[layer]
    vars(found)["pruned"] = tuple(sorted({*vars(found).get("pruned", ()), *plane_numbers(planes)}))
    vars(found)["forward"] = MethodType(_pruned, found)
    return twin


def plane_numbers(planes: Any) -> list[int]:
    """Return the numbers of one or several planes as a list.

    Raises
    ------
    OptionError
        They are no integers.
    """
    if not fits(planes, int | Sequence[int]):
        raise OptionError(f"prune: expected the number of a plane, or several, as integers, got {planes!r:.60}")
    return [int(plane) for plane in np.ravel(planes)]


def _pruned(layer: Layer, *inputs: Any) -> Any:
    """Return a layer's result with its pruned planes set to zero."""
    out, pruned = type(layer).forward(layer, *inputs), vars(layer)["pruned"]
    check_planes(layer, out.shape[-1], pruned)
    kept = np.ones(out.shape[-1], bool)
    kept[list(pruned)] = False
    return where(transfer(kept, device_name(unbox(out))), out, 0.0)


def check_planes(layer: Layer, count: int, planes: Sequence[int]) -> None:
    """Check that a layer has these planes.

    Raises
    ------
    OptionError
        It has fewer.
    """
    if not all(-count <= plane < count for plane in planes):
        raise OptionError(f"prune: expected planes of {kind_of(layer)!r}, which has {count}, got {[*planes]}")


def _cut_for(model: Layer, x: Any, classes: Any, path: str | None) -> tuple[Cut, Array]:
    """Return a network cut after a layer, and the class of each image as (N, 1)."""
    at = cut(model, x, path)
    with no_grad():
        logits = unbox(at.scores(at.maps))
    count, known = logits.shape
    if classes is None:
        return at, logits.argmax(axis=1)[:, None]
    wanted = np.asarray(classes)
    if wanted.shape not in ((), (count,)) or wanted.dtype.kind not in "iu":
        raise ShapeError(
            f"{type(model).__name__}: expected one class, or one for each of {count} images, as integers, got shape "
            f"{wanted.shape} of {wanted.dtype}"
        )
    if wanted.size and not (wanted.min() >= 0 and wanted.max() < known):
        got = f"{wanted.min()} to {wanted.max()}"
        raise OptionError(f"{type(model).__name__}: expected classes from 0 to {known - 1}, got {got}")
    wanted = np.broadcast_to(wanted, count).astype("int64")[:, None]  # () or (N,) -> (N, 1)
    return at, transfer(wanted, device_name(logits))


def _gradient(at: Cut, classes: Array) -> Array:
    """Return the gradient, with respect to the maps, of each image's logit of its class; `classes` are (N, 1)."""
    gradient: Array = unbox(grad(lambda maps: take_along_axis(at.scores(maps), classes, 1).sum())(at.maps))
    return gradient


def _active(model: Any) -> list[Layer]:
    """Return the layers of a Sequential without dropout and auxiliary classifiers; of another network, none."""
    layers = list(model) if isinstance(model, Sequential) else []
    return [layer for layer in layers if kind_of(layer) not in ("dropout", "spatial_dropout2d")]


def _ending(model: Any, *kinds: str) -> list[Any]:
    """Return the layers of a network that ends in layers of certain kinds; see `_ends_in`."""
    layers = _active(model)
    if not _ends_in(layers, *kinds):
        ending = f" of {', '.join(map(repr, layers[-len(kinds) :]))} at the end" if layers else ""
        raise OptionError(
            f"{type(model).__name__}: expected a Sequential that ends in {' and '.join(kinds)}, without an activation "
            f"and without pruned planes, got {type(model).__name__}{ending}; use plane_contributions or grad_cam"
        )
    return layers


def _ends_in(layers: Sequence[Any], *kinds: str) -> bool:
    """Return whether the last layers are of certain kinds, with no activation at the end and no pruned planes."""
    ending = layers[-len(kinds) :]
    if [kind_of(layer) for layer in ending] != list(kinds) or any("pruned" in vars(layer) for layer in ending):
        return False
    return ending[-1].activation is None


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
