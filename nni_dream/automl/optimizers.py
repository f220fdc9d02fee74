"""The optimiser of a training, and the way of its learning rate."""

from __future__ import annotations

from typing import Any, Protocol

from torch import nn
from torch.optim import SGD, Adam, AdamW, NAdam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from nni_dream.automl.parameters import AdamWeightDecay, Nadam, Sgd

__all__ = ["OptimizerSettings", "build_optimizer", "build_schedule"]


class OptimizerSettings(Protocol):
    """What of the parameters an optimiser needs; a phase of fine-tuning has it too."""

    @property
    def optimizer(self) -> Any: ...

    @property
    def learning_rate(self) -> float: ...


def build_optimizer(model: nn.Module, parameters: OptimizerSettings) -> Optimizer:
    """Build the optimiser of all weights that are not frozen."""
    optimizer, learning_rate = parameters.optimizer, parameters.learning_rate
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if isinstance(optimizer, Sgd):
        return SGD(weights, lr=learning_rate, momentum=optimizer.momentum)
    if isinstance(optimizer, AdamWeightDecay):
        return AdamW(weights, lr=learning_rate, weight_decay=optimizer.weight_decay_rate)
    if isinstance(optimizer, Nadam):
        return NAdam(weights, lr=learning_rate)
    return Adam(weights, lr=learning_rate)


def build_schedule(optimizer: Optimizer, parameters: OptimizerSettings, n_steps: int) -> LambdaLR:
    """Return the learning rate's way over so many steps.

    Constant, except for adam_weight_decay: polynomial decay of power 1, which ends one step after the last.
    """
    if not isinstance(parameters.optimizer, AdamWeightDecay):
        return LambdaLR(optimizer, lambda step: 1.0)
    end_factor = parameters.optimizer.end_learning_rate / parameters.learning_rate
    return LambdaLR(optimizer, lambda step: 1.0 + (end_factor - 1.0) * min(step / n_steps, 1.0))
