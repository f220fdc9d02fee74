"""An image classifier: one of the four block families, a reduction, dropout and a linear layer.

The image head of AutoKeras: Jin, Song and Hu, "Auto-Keras: An Efficient Neural Architecture Search System", KDD 2019,
https://arxiv.org/abs/1806.10282 (`SpatialReduction` and `ClassificationHead`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nni_dream.automl.image_parameters import Efficient, ImageParameters, Resnet, Vanilla
from nni_dream.automl.models.efficient import EfficientNet
from nni_dream.automl.models.resnet import ResidualNet
from nni_dream.automl.models.vanilla import VanillaNet
from nni_dream.automl.models.xception import XceptionNet

__all__ = ["ImageClassifier", "build_model"]


class ImageClassifier(nn.Module):
    """Logits of an image: (N, C, H, W) to (N, n_classes)."""

    def __init__(self, backbone: nn.Module, reduction: nn.Module, *, dropout: float, classifier: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone
        self.reduction = reduction
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        features = self.reduction(self.backbone(images))  # (N, F)
        logits: Tensor = self.classifier(self.dropout(features))  # (N, n_classes)
        return logits


def build_model(parameters: ImageParameters, n_classes: int, image_shape: tuple[int, int, int]) -> ImageClassifier:
    """Build the model that the parameters describe, with weights drawn from torch's global generator.

    Args:
        image_shape: Channels, height and width; 8 pixels or more.
    """
    backbone = _build_backbone(parameters, image_shape)
    reduction = _build_reduction(parameters.reduction_type)
    classifier = nn.Linear(_n_features(backbone, reduction, image_shape), n_classes)
    nn.init.xavier_uniform_(classifier.weight)  # Keras's default for a dense layer
    nn.init.zeros_(classifier.bias)
    return ImageClassifier(backbone, reduction, dropout=parameters.dropout, classifier=classifier)


def _build_backbone(parameters: ImageParameters, image_shape: tuple[int, int, int]) -> nn.Module:
    block = parameters.block_type
    if isinstance(block, Vanilla):
        return VanillaNet(block, image_shape)
    if isinstance(block, Resnet):
        return ResidualNet(block, image_shape[0])
    if isinstance(block, Efficient):
        return EfficientNet(block, image_shape[0])
    return XceptionNet(image_shape[0])


def _build_reduction(reduction_type: str) -> nn.Module:
    if reduction_type == "flatten":
        return nn.Flatten()
    pooling = nn.AdaptiveMaxPool2d(1) if reduction_type == "global_max" else nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(pooling, nn.Flatten())


@torch.no_grad()
def _n_features(backbone: nn.Module, reduction: nn.Module, image_shape: tuple[int, int, int]) -> int:
    backbone.eval()  # leaves batch statistics and random numbers alone
    features: Tensor = reduction(backbone(torch.zeros(1, *image_shape)))
    backbone.train()
    return features.shape[1]
