"""Measure training steps in a process of its own, and print one JSON object.

    python -m tests.gpu.step_worker '{"framework": "tinygrad_lab", "network": "ten_layer", "batch": 128, ...}'

The keys are framework ("tinygrad_lab" or "torch"), network, batch, precision, capture, device, seconds (of measuring).
This framework runs with the trainer's precision and cuDNN's fastest plans; PyTorch runs eagerly, channels-last, with
cudnn.benchmark, with TF32 for "tf32" and with autocast to bfloat16 for "bf16".
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

WARM_UP = 5
ROUNDS = 5
IMAGES = {"alexnet": (227, 227, 3), "vgg16": (224, 224, 3), "resnet50": (224, 224, 3)}


def sizes(spec: dict[str, Any]) -> tuple[tuple[int, int, int], int]:
    """Return the images' size and the number of classes."""
    return (IMAGES[spec["network"]], 1000) if spec["network"] in IMAGES else ((32, 32, 3), 10)


class Ours:
    """A training step of this framework."""

    def __init__(self, spec: dict[str, Any]) -> None:
        from tinygrad_lab import registry
        from tinygrad_lab.backend import transfer
        from tinygrad_lab.kernels.cupy import using_gpu_options
        from tinygrad_lab.optim import SGD
        from tinygrad_lab.train.capture import CapturedSteps
        from tinygrad_lab.train.precision import arithmetic_of

        image, classes = sizes(spec)
        self.device, self.arithmetic = spec["device"], arithmetic_of(spec["precision"])
        self.model = registry.models[spec["network"]](image=image, classes=classes, rng=0).to(self.device)
        self.optimizer = SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        rng = np.random.default_rng(0)
        self.x = transfer(rng.standard_normal((spec["batch"], *image), np.float32), self.device)
        self.labels = transfer(rng.integers(0, classes, spec["batch"]), self.device)
        self.stack = contextlib.ExitStack()
        self.captured = None
        if spec.get("capture"):
            self.captured = CapturedSteps(self.model, self.optimizer, self.forward, self.device, self.arithmetic)
            self.stack.enter_context(self.captured.session())
        self.stack.enter_context(self.arithmetic.on(self.device))
        self.stack.enter_context(using_gpu_options(plans="fastest"))

    def forward(self, x: Any, labels: Any) -> Any:
        from tinygrad_lab.losses import softmax_cross_entropy

        logits = self.arithmetic.forward(self.model, x)
        return softmax_cross_entropy(logits, labels), logits

    def usual(self) -> Any:
        from tinygrad_lab.autograd.tape import unbox
        from tinygrad_lab.train.sums import of_batch

        loss, logits = self.forward(self.x, self.labels)
        self.arithmetic.backward(loss)
        with self.arithmetic.guarding(self.optimizer):
            self.optimizer.step()
        return of_batch(unbox(loss), logits, self.labels)

    def step(self) -> None:
        if self.captured is None:
            self.usual()
        else:
            self.captured.take(self.x, self.labels, self.usual)

    def wait(self) -> None:
        if self.device == "cuda":
            import cupy

            cupy.cuda.get_current_stream().synchronize()

    def parameters(self) -> int:
        return sum(int(p.size) for p in self.model.parameters().values())

    def peak_mib(self) -> float:
        if self.device != "cuda":
            return 0.0
        import cupy

        own = self.captured.graphs.pool.total_bytes() if self.captured else 0
        return float(cupy.get_default_memory_pool().total_bytes() + own) / 2**20


class Torch:
    """A training step of PyTorch in eager mode."""

    def __init__(self, spec: dict[str, Any]) -> None:
        import torch

        from tests.gpu.torch_resnet import resnet50
        from tinygrad_lab.bench.networks import Network
        from tinygrad_lab.bench.peers import BUILDERS

        image, classes = sizes(spec)
        self.torch, self.bf16 = torch, spec["precision"] == "bf16"
        self.place = "cuda" if spec["device"] == "cuda" else "cpu"
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = spec["precision"] == "tf32"
        network = Network(spec["network"], spec["batch"], image, classes)
        build = resnet50 if spec["network"] == "resnet50" else BUILDERS[spec["network"]]
        layout = torch.channels_last
        self.model = build(network).to(self.place, memory_format=layout)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        height, width, channels = image
        self.x = torch.randn(spec["batch"], channels, height, width, device=self.place).contiguous(memory_format=layout)
        self.labels = torch.randint(0, classes, (spec["batch"],), device=self.place)

    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with self.torch.autocast(self.place, dtype=self.torch.bfloat16, enabled=self.bf16):
            loss = self.torch.nn.functional.cross_entropy(self.model(self.x), self.labels)
        loss.backward()
        self.optimizer.step()

    def wait(self) -> None:
        if self.place == "cuda":
            self.torch.cuda.synchronize()

    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    def peak_mib(self) -> float:
        return self.torch.cuda.max_memory_reserved() / 2**20 if self.place == "cuda" else 0.0


def timed(subject: Any, steps: int) -> float:
    """Return the mean seconds of a step, over steps that run without waiting in between."""
    subject.wait()
    start = time.perf_counter()
    for _ in range(steps):
        subject.step()
    subject.wait()
    return (time.perf_counter() - start) / steps


def measure(spec: dict[str, Any], make: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Return the results of a measurement."""
    begin = time.perf_counter()
    subject = make(spec)
    timed(subject, WARM_UP)
    ready = time.perf_counter() - begin
    one = timed(subject, 2)
    steps = max(1, int(spec.get("seconds", 2.0) / ROUNDS / one))
    rounds = [timed(subject, steps) for _ in range(ROUNDS)]
    seconds = statistics.median(rounds)
    return {
        **spec,
        "seconds_a_step": seconds,
        "least_and_most": [min(rounds), max(rounds)],
        "images_a_second": spec["batch"] / seconds,
        "parameters": subject.parameters(),
        "peak_mib": round(subject.peak_mib(), 1),
        "seconds_until_ready": round(ready, 2),
    }


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(measure(given, Torch if given["framework"] == "torch" else Ours)))
