"""Train a model: phases of fine-tuning, epochs, batches that fit into memory, early stopping.

Seeded and, on a CPU, deterministic.  A loss that is no longer a number does not stop the training: what to do about
it is for the assessor to decide.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Final, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from nni_dream.automl.acceleration import Acceleration, acceleration_of, as_input, is_out_of_memory
from nni_dream.automl.augmentation import augment
from nni_dream.automl.digits_parameters import Augmentation
from nni_dream.automl.evaluation import (
    EVALUATION_BATCH_SIZE,
    Objective,
    Samples,
    Score,
    TrainingError,
    count_correct,
    evaluate_in_memory,
    loss_of_mean,
    mean_loss,
    mean_score,
)
from nni_dream.automl.freezing import freeze, set_training
from nni_dream.automl.image_settings import ImageAugmentation
from nni_dream.automl.optimizers import build_optimizer, build_schedule
from nni_dream.automl.phases import Phase, Settings, plan_phases

__all__ = ["Monitor", "Trainer"]

_logger = logging.getLogger(__name__)

BATCH_SIZE: Final = 32  # samples; DREAM trains with it
TOO_FEW_VALUES: Final = "Expected more than 1 value per channel"  # torch, of batch normalisation in training


class Monitor(Protocol):
    """What the trainer tells every epoch to; `nni_dream.monitor.FeedbackMonitor` is one."""

    def end_epoch(
        self,
        *,
        train_loss: float,
        val_loss: float,
        train_score: float | None = None,
        val_score: float | None = None,
    ) -> object: ...

    def watch(self, optimizer: Optimizer) -> None: ...


class Trainer:
    """Trains one model as its parameters say.

    Args:
        model: On the device where it is to be trained.
        patience: Epochs without a better validation score after which a phase of the training ends, and with the
            last phase the training; ``None``: never.
        acceleration: How to compute; ``None``: as the model's device likes it.

    Raises:
        TrainingError: If the batches are of one sample, and the model cannot be trained on one.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Settings,
        *,
        epochs: int = 12,
        batch_size: int = BATCH_SIZE,
        seed: int = 0,
        patience: int | None = 10,
        objective: Objective = "classification",
        acceleration: Acceleration | None = None,
    ) -> None:
        self.model = model
        self.parameters = parameters
        self.epochs = epochs
        self.patience = patience
        self.objective: Objective = objective
        self.full_batch_size = batch_size
        self.batch_size = batch_size  # halved when the memory is full
        has_norm = any(isinstance(module, nn.BatchNorm1d) for module in model.modules())
        self.smallest_batch_size = 2 if has_norm else 1  # a single sample has no deviation
        if batch_size < self.smallest_batch_size:
            raise _too_few_samples(batch_size)
        self.phases = plan_phases(parameters, epochs)
        freeze(model, self.phases[0].frozen)
        self.optimizer = build_optimizer(model, self.phases[0])
        self.device = next(model.parameters()).device
        self.acceleration = acceleration_of(self.device) if acceleration is None else acceleration
        self.loss_unit = 1.0  # what the loss is divided by for its gradients
        self.generator = torch.Generator().manual_seed(seed)  # order of the samples and augmentation

    def fit(self, train: Samples, validation: Samples, *, monitor: Monitor, on_best: Callable[[], None]) -> Score:
        """Train, and return the validation score of the best epoch.

        Args:
            on_best: Called after every epoch with the best validation score so far (the first always is), before
                the monitor, which may be where the assessor ends the trial.

        Raises:
            TrainingError: If not even the smallest batch fits into memory, or a batch of one sample leaves batch
                normalisation with one value a channel.
        """
        if self.objective == "regression":  # gradients do not depend on the unit of the targets, nor do learning rates
            self.loss_unit = loss_of_mean(train.targets)
        train, validation = train.ahead(self.device), validation.ahead(self.device)
        best: Score | None = None
        for phase in self.phases:
            self._begin(phase, monitor)
            best = self._fit_phase(phase, train, validation, monitor=monitor, on_best=on_best, best=best)
        assert best is not None  # a phase has an epoch or more
        return best

    def _begin(self, phase: Phase, monitor: Monitor) -> None:
        """Freeze and make the optimiser as the phase says; those of the first were made with the trainer."""
        if phase is self.phases[0]:
            return
        freeze(self.model, phase.frozen)
        self.optimizer = build_optimizer(self.model, phase)
        monitor.watch(self.optimizer)

    def _fit_phase(
        self,
        phase: Phase,
        train: Samples,
        validation: Samples,
        *,
        monitor: Monitor,
        on_best: Callable[[], None],
        best: Score | None,
    ) -> Score:
        schedule = build_schedule(self.optimizer, phase, phase.n_epochs * math.ceil(len(train) / self.full_batch_size))
        n_stale = 0
        for _ in range(phase.n_epochs):
            train_score = self._train_epoch(train, phase, schedule)
            val_score = self._evaluate(validation)
            n_stale += 1
            if best is None or val_score.is_better_than(best, self.objective):
                best, n_stale = val_score, 0
                on_best()
            monitor.end_epoch(**_reported(train_score, val_score, self.objective))
            if self.patience is not None and n_stale >= self.patience:
                break
        assert best is not None
        return best

    def _train_epoch(self, train: Samples, phase: Phase, schedule: LambdaLR) -> Score:
        """Return the mean loss and the accuracy on the batches as they were trained."""
        set_training(self.model, phase.frozen)
        sums = torch.zeros(2, device=self.device)  # loss, correct
        order = torch.randperm(len(train), generator=self.generator)
        n_seen = 0
        while n_seen < len(train):
            indices = order[n_seen : n_seen + self.batch_size]
            if self.batch_size > 1 and n_seen + len(indices) == len(train) - 1:
                indices = order[n_seen:]  # batch normalisation cannot train on a last batch of one sample
            try:
                sums += self._train_batch(next(train.batches(indices, len(indices))))
            except RuntimeError as error:
                self._halve_batch(error)
                continue
            except ValueError as error:
                if TOO_FEW_VALUES not in str(error):
                    raise
                raise _too_few_samples(len(indices)) from error
            # The schedule counts batches of the full size, also after they were halved.
            full = self.full_batch_size
            for _ in range(math.ceil((n_seen + len(indices)) / full) - math.ceil(n_seen / full)):
                schedule.step()
            n_seen += len(indices)
        return mean_score(sums, len(train), self.objective)

    def _train_batch(self, batch: Samples) -> Tensor:
        """Make a step; return the sums of the loss and of the correct answers: (2,)."""
        batch = batch.to(self.device)
        inputs = as_input(batch.inputs, self.acceleration.memory_format)
        augmentation = getattr(self.parameters, "augment", None)
        if isinstance(augmentation, (Augmentation, ImageAugmentation)):
            inputs = augment(inputs, augmentation, generator=self.generator)
        with self.acceleration.autocast(self.device):
            outputs = self.model(inputs)  # (B, n_outputs)
        outputs = outputs.float()
        loss = mean_loss(outputs, batch.targets, self.objective)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss / self.loss_unit)
        self.optimizer.step()
        return torch.stack([loss.detach() * len(batch), count_correct(outputs.detach(), batch.targets, self.objective)])

    def _evaluate(self, samples: Samples) -> Score:
        """In large batches: without gradients far more fits than in training."""
        size = max(1, EVALUATION_BATCH_SIZE * self.batch_size // self.full_batch_size)
        return evaluate_in_memory(self.model, samples, self.objective, batch_size=size, acceleration=self.acceleration)

    def _halve_batch(self, error: RuntimeError) -> None:
        """Answer an error that says that memory ran out, and only that, with smaller batches."""
        if not is_out_of_memory(error):
            raise error
        if self.batch_size == self.smallest_batch_size:
            least = "one sample" if self.batch_size == 1 else f"{self.batch_size} samples"
            raise TrainingError(f"out of memory with {least} in a batch: the model is too large") from error
        self.batch_size = max(self.smallest_batch_size, self.batch_size // 2)
        self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        _logger.warning("out of memory: going on with batches of %d", self.batch_size)


def _too_few_samples(n_samples: int) -> TrainingError:
    return TrainingError(f"batch size is {n_samples}, but batch normalisation needs 2 samples or more")


def _reported(train: Score, validation: Score, objective: Objective) -> dict[str, float]:
    losses = {"train_loss": train.loss, "val_loss": validation.loss}
    if objective == "regression":
        return losses  # the monitor rates the trial by its validation loss
    return {**losses, "train_score": train.accuracy, "val_score": validation.accuracy}
