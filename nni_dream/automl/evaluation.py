"""Score a model: samples, the loss and the share of right answers on them, in batches that fit into memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_dream.automl.acceleration import (
    Acceleration,
    acceleration_of,
    as_input,
    is_out_of_memory,
    move_ahead,
    to_device,
)

__all__ = [
    "EVALUATION_BATCH_SIZE",
    "Objective",
    "Samples",
    "Score",
    "TrainingError",
    "count_correct",
    "evaluate",
    "evaluate_in_memory",
    "loss_of_mean",
    "mean_loss",
    "mean_score",
]

EVALUATION_BATCH_SIZE: Final = 512  # a matter of memory only

Objective: TypeAlias = Literal["classification", "regression"]


class TrainingError(RuntimeError):
    """A model cannot be trained, or not be scored, on this machine."""


@dataclass(frozen=True)
class Samples:
    inputs: Tensor  # images: (N, C, H, W), float or uint8; texts: (N, L), ids of terms
    targets: Tensor  # (N,) class indices, or (N,) or (N, k) numbers to predict

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Samples]:
        for indices in torch.split(order, batch_size):
            yield Samples(self.inputs[indices], self.targets[indices])

    def to(self, device: torch.device) -> Samples:
        return Samples(*to_device((self.inputs, self.targets), device))

    def ahead(self, device: torch.device) -> Samples:
        """Return all samples on the device where they fit, else as they are: they then travel by batch."""
        return Samples(*move_ahead((self.inputs, self.targets), device))


class Score(NamedTuple):
    loss: float  # mean cross-entropy or squared error, may be NaN or infinite
    accuracy: float  # 0..1; NaN for a regression

    def is_better_than(self, other: Score, objective: Objective) -> bool:
        if objective == "classification":
            return self.accuracy > other.accuracy
        return self.loss < other.loss or (math.isnan(other.loss) and not math.isnan(self.loss))


@torch.no_grad()
def evaluate(
    model: nn.Module,
    samples: Samples,
    objective: Objective = "classification",
    *,
    batch_size: int = EVALUATION_BATCH_SIZE,
    acceleration: Acceleration | None = None,
) -> Score:
    """Return the model's score on the samples; the model is in evaluation mode afterwards.

    Args:
        acceleration: How to compute; ``None``: as the model's device likes it.
    """
    model.eval()
    device = next(model.parameters()).device
    acceleration = acceleration_of(device) if acceleration is None else acceleration
    sums = torch.zeros(2, device=device)  # loss, correct
    for some in samples.batches(torch.arange(len(samples)), batch_size):
        batch = some.to(device)
        with acceleration.autocast(device):
            outputs = model(as_input(batch.inputs, acceleration.memory_format))  # (B, n_outputs)
        outputs = outputs.float()
        loss = mean_loss(outputs, batch.targets, objective) * len(batch)
        sums += torch.stack([loss, count_correct(outputs, batch.targets, objective)])
    return mean_score(sums, len(samples), objective)


def evaluate_in_memory(
    model: nn.Module,
    samples: Samples,
    objective: Objective = "classification",
    *,
    batch_size: int = EVALUATION_BATCH_SIZE,
    acceleration: Acceleration | None = None,
) -> Score:
    """As :func:`evaluate`, in batches that are halved while memory runs out.

    Raises:
        TrainingError: If a batch of one sample is too large.
    """
    while True:
        try:
            return evaluate(model, samples, objective, batch_size=batch_size, acceleration=acceleration)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if batch_size == 1:
                raise TrainingError("out of memory with one sample in a batch: the model is too large") from error
        batch_size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def mean_loss(outputs: Tensor, targets: Tensor, objective: Objective) -> Tensor:
    """Return the mean cross-entropy or squared error of a batch, a scalar."""
    if objective == "classification":
        return F.cross_entropy(outputs, targets)
    return F.mse_loss(outputs, targets.view(outputs.shape).float())


def loss_of_mean(targets: Tensor) -> float:
    """Return the squared error of always saying the mean of the targets, (N,) or (N, k); of constant ones, 1."""
    numbers = targets.double().reshape(len(targets), -1)
    return numbers.var(dim=0, correction=0).mean().item() or 1.0


def count_correct(outputs: Tensor, targets: Tensor, objective: Objective) -> Tensor:
    """Count the right answers; what a regression answers is not right or wrong.

    NaN is no answer: `argmax` takes it for the first class.
    """
    if objective == "regression":
        return torch.full((), math.nan, device=outputs.device)
    is_right = (outputs.argmax(1) == targets) & ~outputs.isnan().any(1)
    return is_right.sum().float()


def mean_score(sums: Tensor, n_samples: int, objective: Objective) -> Score:
    """Divide the sums over all samples of the loss and of the right answers, (2,)."""
    loss, n_correct = (sums / n_samples).tolist()
    return Score(loss, n_correct if objective == "classification" else math.nan)
