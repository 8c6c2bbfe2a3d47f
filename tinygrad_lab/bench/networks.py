"""The networks of the benchmark: registered names, with a batch as large as they are usually trained with."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from tinygrad_lab.errors import ConfigError


@dataclass(frozen=True)
class Network:
    """A network, and what it is trained on.

    Parameters
    ----------
    name : str
        Its registered name.
    batch : int
        Images in a step.
    image : (height, width, channels)
        Their size.
    classes : int
        How many there are.
    """

    name: str
    batch: int
    image: tuple[int, int, int] = (32, 32, 3)
    classes: int = 10

    def as_json(self) -> dict[str, Any]:
        """Return plain values, to be handed to another process."""
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
    """Return the networks of those names (all where none is given), with another batch if one is given.

    Raises
    ------
    ConfigError
        There is no such network here, or no such batch.
    """
    if unknown := [name for name in names if name not in NETWORKS]:
        raise ConfigError(f"bench: expected some of {', '.join(NETWORKS)}, got {', '.join(unknown)}")
    if batch is not None and batch < 1:
        raise ConfigError(f"bench: expected at least one image in a batch, got {batch}")
    found = [NETWORKS[name] for name in names or NETWORKS]
    return [replace(network, batch=batch) for network in found] if batch else found
