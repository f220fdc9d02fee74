"""Freeze and unfreeze the backbone of a model."""

from __future__ import annotations

from typing import Final

from torch import nn

from nni_dream.automl.phases import Frozen

__all__ = ["freeze", "set_training"]

BATCH_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)  # timm's own are subclasses


def freeze(model: nn.Module, frozen: Frozen) -> None:
    """Let gradients reach everything but the frozen part.

    Raises:
        AttributeError: If something is to be frozen and the model has no ``backbone``.
    """
    model.requires_grad_(True)
    for module in _frozen_modules(model, frozen):
        module.requires_grad_(False)


def set_training(model: nn.Module, frozen: Frozen) -> None:
    """Set the training mode; what is frozen stays in evaluation mode, so that batch statistics do not move either."""
    model.train()
    for module in _frozen_modules(model, frozen):
        module.eval()


def _frozen_modules(model: nn.Module, frozen: Frozen) -> list[nn.Module]:
    if frozen == "no":
        return []
    backbone = model.get_submodule("backbone")
    if frozen == "all":
        return [backbone]
    return [module for module in backbone.modules() if isinstance(module, BATCH_NORMS)]
