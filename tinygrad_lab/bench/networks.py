"""Networks of the benchmark: registered names with the usual batch sizes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from tinygrad_lab.errors import ConfigError


@dataclass(frozen=True)
class Network:
    """A network with the size of its batches and images.

    Parameters
    ----------
    name : str
        Its registered name.
    batch : int
        The number of images in a step.
    image : (height, width, channels)
        The shape of an image.
    classes : int
        The number of classes.
    """

    name: str
    batch: int
    image: tuple[int, int, int] = (32, 32, 3)
    classes: int = 10

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, for another process."""
        return asdict(self)


NETWORKS = {
    network.name: network
    for network in (
        Network("alexnet_small", 128, classes=2),
        Network("ten_layer", 64),
        Network("gap7", 128, classes=2),
        Network("lenet5", 128, (32, 32, 1)),
        Network("resnet20", 128),
        Network("alexnet", 8, (227, 227, 3), 1000),
        Network("vgg16", 2, (224, 224, 3), 1000),
    )
}


def named(names: list[str], batch: int | None = None) -> list[Network]:
    """Return the networks of these names (all by default), with another batch size if one is given.

    Raises
    ------
    ConfigError
        A name is unknown, or the batch size is less than 1.
    """
    if unknown := [name for name in names if name not in NETWORKS]:
        raise ConfigError(f"bench: expected some of {', '.join(NETWORKS)}, got {', '.join(unknown)}")
    if batch is not None and batch < 1:
        raise ConfigError(f"bench: expected at least one image in a batch, got {batch}")
    found = [NETWORKS[name] for name in names or NETWORKS]
    return [replace(network, batch=batch) for network in found] if batch else found
