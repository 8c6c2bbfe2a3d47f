"""ResNet-50 in PyTorch, with the same structure as in `tinygrad_lab.zoo.resnet`."""

from __future__ import annotations

from typing import Any

from torch import nn

from tinygrad_lab.bench.networks import Network


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1, and a shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = 4 * width
        self.body = nn.Sequential(
            *normed(before, width, 1), nn.ReLU(inplace=True),
            *normed(width, width, 3, stride, 1), nn.ReLU(inplace=True),
            *normed(width, after, 1),
        )  # fmt: skip
        projected = stride != 1 or before != after
        self.shortcut = nn.Sequential(*normed(before, after, 1, stride)) if projected else nn.Identity()

    def forward(self, x: Any) -> Any:
        return nn.functional.relu(self.body(x) + self.shortcut(x), inplace=True)


def normed(before: int, after: int, kernel_size: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    """Return a convolution and its normalization."""
    return [nn.Conv2d(before, after, kernel_size, stride, padding, bias=False), nn.BatchNorm2d(after)]


def resnet50(network: Network) -> Any:
    """Return the network."""
    layers: list[nn.Module] = [*normed(network.image[2], 64, 7, 2, 3), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for stage, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(count):
            layers.append(Bottleneck(before, width, 2 if stage and not block else 1))
            before = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, network.classes))
