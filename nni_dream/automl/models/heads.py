"""What stands behind a backbone: reduction of its features, dropout, a linear layer.

The heads of AutoKeras: Jin, Song and Hu, "Auto-Keras: An Efficient Neural Architecture Search System", KDD 2019,
https://arxiv.org/abs/1806.10282 (`SpatialReduction`, `ClassificationHead` and `RegressionHead`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ImageClassifier", "build_reduction", "n_features"]


class ImageClassifier(nn.Module):
    """Logits of an image, or numbers: (N, C, H, W) to (N, n_outputs).

    Args:
        preprocessing: From pixels as they are in the data set to what the backbone takes.
    """

    def __init__(
        self,
        backbone: nn.Module,
        reduction: nn.Module,
        *,
        dropout: float,
        classifier: nn.Linear,
        preprocessing: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.preprocessing = nn.Identity() if preprocessing is None else preprocessing
        self.backbone = backbone
        self.reduction = reduction
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        features = self.reduction(self.backbone(self.preprocessing(images)))  # (N, F)
        logits: Tensor = self.classifier(self.dropout(features))  # (N, n_outputs)
        return logits


def build_reduction(reduction_type: str, n_dimensions: int = 2) -> nn.Module:
    """Build what makes one vector of features of shape (N, F, H, W), or (N, F, L) with one dimension."""
    if reduction_type == "flatten":
        return nn.Flatten()
    is_max = reduction_type == "global_max"
    pooling: nn.Module
    if n_dimensions == 1:
        pooling = nn.AdaptiveMaxPool1d(1) if is_max else nn.AdaptiveAvgPool1d(1)
    else:
        pooling = nn.AdaptiveMaxPool2d(1) if is_max else nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(pooling, nn.Flatten())


@torch.no_grad()
def n_features(layers: nn.Module, example: Tensor) -> int:
    """How many features the layers make of one example; their batch statistics are left alone."""
    layers.eval()
    features: Tensor = layers(example)
    layers.train()
    return features.shape[1]
