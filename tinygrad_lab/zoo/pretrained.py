"""Pretrained networks, with weights that others published.

The files are not part of the project: download them from `Pretrained.source` into a folder of your own.
`load_pretrained` searches its argument `folder`, or the folder in the environment variable TINYGRAD_LAB_WEIGHTS.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygrad_lab.errors import OptionError, StateError, hint
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.registry import models
from tinygrad_lab.weights import import_weights, read_arrays

FOLDER = "TINYGRAD_LAB_WEIGHTS"


@dataclass(frozen=True)
class Pretrained:
    """Published weights, with the settings to use them.

    Parameters
    ----------
    model : str
        The registered network.
    options : mapping
        The network's options.
    file : str
        The name of the file of arrays.
    digest : str
        The beginning of the SHA-256 of the arrays; see `digest_of`.
    rules : mapping
        The renaming rules; see `import_weights`.
    convention : str
        The framework whose names and axes the file uses.
    mean, std : sequence of float
        Mean and deviation of each channel for brightness from 0 to 1: the options of the augmentation ``normalize``.
    source, license : str
        The address of the weights, and their license.
    """

    model: str
    file: str
    digest: str
    rules: Mapping[str, str | None]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    license: str
    convention: str = "torch"
    options: Mapping[str, Any] = field(default_factory=dict)


PRETRAINED = {
    "resnet20_cifar10": Pretrained(
        model="resnet20",
        options={"shortcut": "padded_around"},
        file="resnet20-12fca82f.npz",
        digest="fda6040cb484994c",
        rules={
            "conv1.*": "conv.*",
            "bn1.*": "norm.*",
            "layer*.*.conv*.*": "stage*.*.inner.conv*.*",
            "layer*.*.bn*.*": "stage*.*.inner.norm*.*",
            "linear.*": "output.*",
        },
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        source="https://github.com/akamaster/pytorch_resnet_cifar10, pretrained_models/resnet20-12fca82f.th, its state "
        "dict saved by numpy.savez without the leading 'module.'",
        license="BSD 2-Clause, Yerlan Idelbayev 2018",
    ),
}
"""Published weights by name."""


def load_pretrained(name: str, *, folder: str | os.PathLike[str] | None = None) -> Layer:
    """Return a network with published weights, in evaluation mode.

    Parameters
    ----------
    name : str
        A key of `PRETRAINED`.
    folder : path, optional
        The folder of the file; by default, the environment variable TINYGRAD_LAB_WEIGHTS names it.

    Raises
    ------
    OptionError
        The name is unknown.
    StateError
        The file is missing or damaged, or its arrays differ from the published ones.

    Examples
    --------
    >>> load_pretrained("resnet20_cifar10", folder="nowhere")
    Traceback (most recent call last):
        ...
    tinygrad_lab.errors.StateError: weights nowhere/resnet20-12fca82f.npz: expected a file, got no file of that name
    """
    if name not in PRETRAINED:
        raise OptionError(f"load_pretrained: expected published weights, got {name!r}; {hint(name, PRETRAINED)}")
    about = PRETRAINED[name]
    given = folder or os.environ.get(FOLDER)
    if not given:
        raise StateError(
            f"load_pretrained: expected the folder of {about.file} as folder=... or in the environment variable "
            f"{FOLDER}, got neither; the file is from {about.source}"
        )
    path = Path(given) / about.file
    digest = digest_of(path)
    if not digest.startswith(about.digest):
        raise StateError(
            f"weights {path}: expected arrays with digest {about.digest}..., got {digest}; get the file again"
        )
    model: Layer = models[about.model](**about.options, rng=0)
    import_weights(model, path, rules=about.rules, convention=about.convention)
    return model.eval()


def digest_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 over the name, dtype, shape and bytes of each array of a file, sorted by name.

    Unlike a file's own checksum, it does not depend on how and when the arrays were packed.
    """
    digest = hashlib.sha256()
    for name, array in sorted(read_arrays(path).items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
