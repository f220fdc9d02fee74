"""The image classifier of the digits trial: one of the four block families, a reduction, dropout, a linear layer."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from nni_dream.automl.digits_parameters import DigitsParameters, Efficient, Resnet, Vanilla
from nni_dream.automl.models.efficient import EfficientNet
from nni_dream.automl.models.heads import ImageClassifier, build_reduction, n_features
from nni_dream.automl.models.resnet import ResidualNet
from nni_dream.automl.models.vanilla import Convolutions, VanillaNet, initialise
from nni_dream.automl.models.xception import XceptionNet

__all__ = ["build_digits_model"]

N_BLOCKS: Final = {"resnet8": 1, "resnet14": 2, "resnet20": 3}  # in each of the three stages


def build_digits_model(
    parameters: DigitsParameters, n_classes: int, image_shape: tuple[int, int, int]
) -> ImageClassifier:
    """Build the model that the parameters describe, with weights drawn from torch's global generator.

    Args:
        image_shape: Channels, height and width; 8 pixels or more.
    """
    backbone = _build_backbone(parameters, image_shape)
    reduction = build_reduction(parameters.reduction_type)
    classifier = nn.Linear(n_features(nn.Sequential(backbone, reduction), torch.zeros(1, *image_shape)), n_classes)
    initialise(classifier, "glorot_uniform")  # Keras's default for a dense layer
    return ImageClassifier(backbone, reduction, dropout=parameters.dropout, classifier=classifier)


def _build_backbone(parameters: DigitsParameters, image_shape: tuple[int, int, int]) -> nn.Module:
    block = parameters.block_type
    if isinstance(block, Vanilla):
        return VanillaNet(_convolutions(block), image_shape)
    if isinstance(block, Resnet):
        return ResidualNet(N_BLOCKS[block.version], image_shape[0])
    if isinstance(block, Efficient):
        return EfficientNet(block.version, image_shape[0])
    return XceptionNet(image_shape[0])


def _convolutions(block: Vanilla) -> Convolutions:
    return Convolutions(
        filters=((block.filters,) * block.num_layers,) * block.num_blocks,
        kernel_size=block.kernel_size,
        separable=block.separable,
        max_pooling=block.max_pooling,
        dropout=block.conv_dropout,
        initializer=block.initializer,
        activation=block.activation,
    )
