"""Train an image classifier: optimisers, learning-rate schedule, augmentation, epochs.

Seeded and, on a CPU, deterministic.  A loss that is no longer a number does not stop the training: what to do about
it is for the assessor to decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, NAdam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from nni_dream.automl.image_parameters import (
    AdamWeightDecay,
    Augmentation,
    ImageParameters,
    Nadam,
    Sgd,
)

__all__ = ["Images", "Monitor", "Score", "Trainer", "augment", "build_optimizer", "build_schedule", "evaluate"]

BATCH_SIZE: Final = 32  # DREAM trains with it
EVALUATION_BATCH_SIZE: Final = 512  # a matter of memory only


@dataclass(frozen=True)
class Images:
    pixels: Tensor  # (N, C, H, W), float
    labels: Tensor  # (N,), class indices

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Images]:
        for indices in torch.split(order, batch_size):
            yield Images(self.pixels[indices], self.labels[indices])


class Score(NamedTuple):
    loss: float  # mean cross-entropy, may be NaN or infinite
    accuracy: float  # 0..1


class Monitor(Protocol):
    """What the trainer tells every epoch to; `nni_dream.monitor.FeedbackMonitor` is one."""

    def end_epoch(self, *, train_loss: float, val_loss: float, train_score: float, val_score: float) -> object: ...


class Trainer:
    """Trains one model as its parameters say.

    Args:
        patience: Epochs without a better validation accuracy after which training ends; ``None``: never.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: ImageParameters,
        *,
        epochs: int = 12,
        seed: int = 0,
        patience: int | None = 10,
    ) -> None:
        self.model = model
        self.parameters = parameters
        self.epochs = epochs
        self.patience = patience
        self.optimizer = build_optimizer(model, parameters)
        self.generator = torch.Generator().manual_seed(seed)  # order of the images and augmentation

    def fit(self, train: Images, validation: Images, *, monitor: Monitor, on_best: Callable[[], None]) -> Score:
        """Train, and return the validation score of the best epoch.

        Args:
            on_best: Called after every epoch with the best validation accuracy so far (the first always is), before
                the monitor, which may be where the assessor ends the trial.
        """
        n_steps = self.epochs * math.ceil(len(train) / BATCH_SIZE)
        schedule = build_schedule(self.optimizer, self.parameters, n_steps)
        best, best_epoch = Score(math.inf, -1.0), -1
        for epoch in range(self.epochs):
            train_score = self._train_epoch(train, schedule)
            val_score = evaluate(self.model, validation)
            if val_score.accuracy > best.accuracy:
                best, best_epoch = val_score, epoch
                on_best()
            monitor.end_epoch(
                train_loss=train_score.loss,
                val_loss=val_score.loss,
                train_score=train_score.accuracy,
                val_score=val_score.accuracy,
            )
            if self.patience is not None and epoch - best_epoch >= self.patience:
                break
        return best

    def _train_epoch(self, train: Images, schedule: LambdaLR) -> Score:
        """Return the mean loss and the accuracy on the batches as they were trained."""
        self.model.train()
        loss_sum, n_correct = torch.zeros(()), torch.zeros(())
        for batch in train.batches(torch.randperm(len(train), generator=self.generator), BATCH_SIZE):
            pixels = batch.pixels
            if isinstance(self.parameters.augment, Augmentation):
                pixels = augment(pixels, self.parameters.augment, generator=self.generator)
            logits = self.model(pixels)  # (B, n_classes)
            loss = F.cross_entropy(logits, batch.labels)
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.optimizer.step()
            schedule.step()
            loss_sum += loss.detach() * len(batch)
            n_correct += (logits.argmax(1) == batch.labels).sum()
        return Score(loss_sum.item() / len(train), n_correct.item() / len(train))


def build_optimizer(model: nn.Module, parameters: ImageParameters) -> Optimizer:
    optimizer, learning_rate = parameters.optimizer, parameters.learning_rate
    if isinstance(optimizer, Sgd):
        return SGD(model.parameters(), lr=learning_rate, momentum=optimizer.momentum)
    if isinstance(optimizer, AdamWeightDecay):
        return AdamW(model.parameters(), lr=learning_rate, weight_decay=optimizer.weight_decay_rate)
    if isinstance(optimizer, Nadam):
        return NAdam(model.parameters(), lr=learning_rate)
    return Adam(model.parameters(), lr=learning_rate)


def build_schedule(optimizer: Optimizer, parameters: ImageParameters, n_steps: int) -> LambdaLR:
    """Return the learning rate's way over so many steps.

    Constant, except for adam_weight_decay: polynomial decay of power 1, which ends one step after the last.
    """
    if not isinstance(parameters.optimizer, AdamWeightDecay):
        return LambdaLR(optimizer, lambda step: 1.0)
    end_factor = parameters.optimizer.end_learning_rate / parameters.learning_rate
    return LambdaLR(optimizer, lambda step: 1.0 + (end_factor - 1.0) * min(step / n_steps, 1.0))


def augment(pixels: Tensor, augmentation: Augmentation, *, generator: torch.Generator) -> Tensor:
    """Turn, zoom and shift each image at random; what moves in from outside mirrors the edge.

    Args:
        pixels: (B, C, H, W).  Not modified.
    """
    n_images = len(pixels)

    def draw(largest: float) -> Tensor:  # (B,), uniform in [-largest, largest]
        return (2 * torch.rand(n_images, generator=generator) - 1) * largest

    angle = draw(augmentation.rotation * 2 * math.pi)
    scale = 1 + draw(augmentation.zoom)
    shift_x, shift_y = draw(augmentation.translation * 2), draw(augmentation.translation * 2)  # an image is 2 wide
    cos, sin = scale * angle.cos(), scale * angle.sin()
    affine = torch.stack([cos, -sin, shift_x, sin, cos, shift_y], dim=1).view(n_images, 2, 3)
    grid = F.affine_grid(affine, list(pixels.shape), align_corners=False)  # (B, H, W, 2)
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


@torch.no_grad()
def evaluate(model: nn.Module, images: Images) -> Score:
    """Return the model's score on the images; the model is in evaluation mode afterwards."""
    model.eval()
    loss_sum, n_correct = torch.zeros(()), torch.zeros(())
    for batch in images.batches(torch.arange(len(images)), EVALUATION_BATCH_SIZE):
        logits = model(batch.pixels)  # (B, n_classes)
        loss_sum += F.cross_entropy(logits, batch.labels, reduction="sum")
        n_correct += (logits.argmax(1) == batch.labels).sum()
    return Score(loss_sum.item() / len(images), n_correct.item() / len(images))
