"""What the monitor costs: seconds of an epoch with it, as a share of the same epoch without.

    python benchmarks/overhead.py [--model small_cnn|resnet18] [--epochs 7]

Two equal models are trained in turn, an epoch each, so that a busy machine slows both; the medians are compared.  The
floor is what reading every gradient once costs (a sum over each tensor).
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nni_dream.monitor import FeedbackMonitor
from nni_dream.torchvision_compatibility import ensure_torchvision

BATCH_SIZE, N_STEPS, IMAGE_SIZE, N_CLASSES = 32, 40, 32, 10
N_THREADS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=sorted(MODELS), default="resnet18")
    parser.add_argument("--epochs", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(N_THREADS)
    logging.disable(logging.INFO)

    plain, monitored = Training(MODELS[options.model]), Training(MODELS[options.model])
    monitor = FeedbackMonitor(monitored.model, monitored.optimizer)
    plain_seconds, monitored_seconds, closing_seconds = [], [], []
    for epoch in range(options.epochs):
        plain_epoch = plain.epoch()
        monitored_epoch = monitored.epoch()
        start = time.perf_counter()
        monitor.end_epoch(val_score=0.5)
        closing = time.perf_counter() - start
        if epoch > 0:  # the first one samples more steps, and warms up
            plain_seconds.append(plain_epoch)
            monitored_seconds.append(monitored_epoch + closing)
            closing_seconds.append(closing)
    without, with_it = statistics.median(plain_seconds), statistics.median(monitored_seconds)
    shares = [b / a - 1 for a, b in zip(plain_seconds, monitored_seconds, strict=True)]
    floor = statistics.median(measure(lambda: read_once(monitored.model)) for _ in range(15))
    print(
        f"{options.model}, {IMAGE_SIZE}x{IMAGE_SIZE}, batch {BATCH_SIZE}, {N_STEPS} steps an epoch, {N_THREADS} threads"
    )
    print(f"epoch without the monitor    {without * 1000:9.1f} ms (median of {len(plain_seconds)})")
    print(f"epoch with it                {with_it * 1000:9.1f} ms, {with_it / without - 1:+.2%}; each pair from")
    print(f"                             {min(shares):+.2%} to {max(shares):+.2%}")
    print(f"of that, end_epoch           {statistics.median(closing_seconds) * 1000:9.1f} ms")
    print(f"floor of reading once        {floor * 1000:9.1f} ms")
    hooks = [measure(reader._read) for _ in range(15) for reader in monitor._readers]
    read = statistics.median(hooks)
    print(f"one sample of the monitor    {read * 1000:9.1f} ms, {read / floor:.1f} times the floor")
    direct = (4 * read + statistics.median(closing_seconds)) / without
    print(f"4 samples and end_epoch      {direct:.2%} of the epoch, timed by themselves")


class Training:
    """One model on random images; the same seed makes the same training."""

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        torch.manual_seed(0)
        self.model = build()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        # Noise, so that the gradients do not fade into denormal numbers, which are slow.
        self.images = torch.randn(N_STEPS, BATCH_SIZE, 3, IMAGE_SIZE, IMAGE_SIZE)
        self.labels = torch.randint(N_CLASSES, (N_STEPS, BATCH_SIZE))

    def epoch(self) -> float:
        """Train for an epoch; return its seconds."""
        return measure(self._steps)

    def _steps(self) -> None:
        for images, labels in zip(self.images, self.labels, strict=True):
            loss = nn.functional.cross_entropy(self.model(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


def measure(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def read_once(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.sum() for parameter in model.parameters() if parameter.grad is not None]


def small_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(64, N_CLASSES),
    )  # fmt: skip


def resnet18() -> nn.Module:
    ensure_torchvision()
    from torchvision.models import resnet18 as build

    model: nn.Module = build(num_classes=N_CLASSES)
    return model


MODELS = {"small_cnn": small_cnn, "resnet18": resnet18}

if __name__ == "__main__":
    main()
