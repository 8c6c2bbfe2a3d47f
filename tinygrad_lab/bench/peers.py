"""PyTorch networks of the benchmark: the same networks, written by hand, and imported only on request."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tinygrad_lab.bench.networks import Network

LAYOUTS = {"default": torch.contiguous_format, "channels_last": torch.channels_last}


class Subject:
    """A network with a batch, and the steps that are measured."""

    def __init__(self, network: Network, variant: str) -> None:
        torch.manual_seed(0)
        layout = LAYOUTS[variant]
        self.model = BUILDERS[network.name](network).to(memory_format=layout)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-5, momentum=0.9)
        height, width, channels = network.image
        self.x = torch.randn(network.batch, channels, height, width).contiguous(memory_format=layout)
        self.labels = torch.randint(0, network.classes, (network.batch,))

    def parameters(self) -> int:
        """Return the number of parameters."""
        return sum(p.numel() for p in self.model.parameters())

    def train(self) -> float:
        """Take one step: forward, loss, backward, momentum; return the loss."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(self.model(self.x), self.labels)
        loss.backward()
        self.optimizer.step()
        return float(loss.item())

    def infer(self) -> Any:
        """Return the logits, without a tape."""
        self.model.eval()
        with torch.no_grad():
            return self.model(self.x).numpy()


def _conv(before: int, after: int, kernel_size: int, padding: int = 0, **options: Any) -> list[Any]:
    return [nn.Conv2d(before, after, kernel_size, padding=padding, **options), nn.ReLU(inplace=True)]


def _dense(*widths: int, dropout: float = 0.0) -> list[Any]:
    """Return dense layers of these widths, with ReLU between them."""
    layers: list[Any] = []
    for before, after in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True), *([nn.Dropout(dropout)] if dropout else [])]
    return [*layers, nn.Linear(widths[-2], widths[-1])]


def _alexnet_small(network: Network) -> Any:
    side = network.image[0] // 8
    return nn.Sequential(
        *_conv(network.image[2], 48, 3, 1), nn.MaxPool2d(2),
        *_conv(48, 128, 5, 2), nn.MaxPool2d(2),
        *_conv(128, 128, 3, 1), *_conv(128, 128, 3, 1), *_conv(128, 128, 3, 1), nn.MaxPool2d(2),
        nn.Flatten(), *_dense(128 * side * side, 200, 30, network.classes),
    )  # fmt: skip


def _ten_layer(network: Network) -> Any:
    layers: list[Any] = []
    before = network.image[2]
    for after in (64, 128, 256):
        for kernel_size in (1, 3, 5):
            norm = nn.BatchNorm2d(after, eps=1e-3, momentum=0.01)
            layers += [nn.Conv2d(before, after, kernel_size), norm, nn.ReLU(inplace=True)]
            before = after
        layers += [nn.Dropout(0.25), *([nn.MaxPool2d(2)] if after == 64 else [])]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before, network.classes))


def _gap7(network: Network) -> Any:
    return nn.Sequential(
        *_conv(network.image[2], 20, 3, 1), nn.MaxPool2d(3, 2),
        *_conv(20, 20, 3, 1), nn.MaxPool2d(3, 2),
        *_conv(20, 20, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, network.classes),
    )  # fmt: skip


def _lenet5(network: Network) -> Any:
    return nn.Sequential(
        *_conv(network.image[2], 6, 5), nn.MaxPool2d(2),
        *_conv(6, 16, 5), nn.MaxPool2d(2),
        nn.Flatten(), *_dense(400, 120, 84, network.classes),
    )  # fmt: skip


class _Residual(nn.Module):
    """Residual block of two convolutions, whose shortcut is padded with zeros."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.more, self.stride = after - before, stride
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)

    def forward(self, x: Any) -> Any:
        """Return relu(F(x) + S(x))."""
        y = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        if self.more:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return functional.relu(y.add_(x), inplace=True)


def _resnet20(network: Network) -> Any:
    layers = [nn.Conv2d(network.image[2], 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    before = 16
    for after in (16, 32, 64):
        for _ in range(3):
            layers.append(_Residual(before, after, 1 if after == before else 2))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, network.classes))


def _alexnet(network: Network) -> Any:
    norm = nn.LocalResponseNorm(5, alpha=5e-4, k=2.0)
    return nn.Sequential(
        *_conv(network.image[2], 96, 11, stride=4), norm, nn.MaxPool2d(3, 2),
        *_conv(96, 256, 5, 2, groups=2), norm, nn.MaxPool2d(3, 2),
        *_conv(256, 384, 3, 1), *_conv(384, 384, 3, 1, groups=2), *_conv(384, 256, 3, 1, groups=2),
        nn.MaxPool2d(3, 2), nn.Flatten(), *_dense(9216, 4096, 4096, network.classes, dropout=0.5),
    )  # fmt: skip


def _vgg16(network: Network) -> Any:
    layers: list[Any] = []
    before = network.image[2]
    for after, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += _conv(before, after, 3, 1)
            before = after
        layers.append(nn.MaxPool2d(2))
    side = network.image[0] // 32
    return nn.Sequential(*layers, nn.Flatten(), *_dense(512 * side * side, 4096, 4096, network.classes, dropout=0.5))


BUILDERS = {
    "alexnet_small": _alexnet_small,
    "ten_layer": _ten_layer,
    "gap7": _gap7,
    "lenet5": _lenet5,
    "resnet20": _resnet20,
    "alexnet": _alexnet,
    "vgg16": _vgg16,
}
