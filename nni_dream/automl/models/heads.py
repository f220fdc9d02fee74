"""What stands behind a backbone: reduction of its features, dropout, a linear layer.

The heads of AutoKeras: Jin, Song and Hu, "Auto-Keras: An Efficient Neural Architecture Search System", KDD 2019,
https://arxiv.org/abs/1806.10282 (`SpatialReduction`, `ClassificationHead` and `RegressionHead`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["ImageClassifier", "TargetScaling", "build_reduction", "n_features"]


class ImageClassifier(nn.Module):
    """Logits of an image, or numbers: (N, C, H, W) to (N, n_outputs).

    Args:
        preprocessing: From pixels as they are in the data set to what the backbone takes.
        target_scaling: From what the head says to numbers as they are in the data set; ``None``: as it says them.
    """

    def __init__(
        self,
        backbone: nn.Module,
        reduction: nn.Module,
        *,
        dropout: float,
        classifier: nn.Linear,
        preprocessing: nn.Module | None = None,
        target_scaling: TargetScaling | None = None,
    ) -> None:
        super().__init__()
        self.preprocessing = nn.Identity() if preprocessing is None else preprocessing
        self.backbone = backbone
        self.reduction = reduction
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier
        self.target_scaling = nn.Identity() if target_scaling is None else target_scaling

    def forward(self, images: Tensor) -> Tensor:
        features = self.reduction(self.backbone(self.preprocessing(images)))  # (N, F)
        outputs: Tensor = self.target_scaling(self.classifier(self.dropout(features)))  # (N, n_outputs)
        return outputs


class TargetScaling(nn.Module):
    """From numbers of mean 0 and deviation 1 to those of the data set, (N, k); what it needs is kept with the weights.

    The head of a network answers with numbers around 0, whatever the unit of the targets.
    """

    def __init__(self, means: Sequence[float], deviations: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(means))  # (k,)
        self.register_buffer("deviation", torch.tensor(deviations))

    def forward(self, standardised: Tensor) -> Tensor:
        # In float32: of the targets' own size, half precision has few digits, or none.
        numbers: Tensor = standardised.float() * self.get_buffer("deviation") + self.get_buffer("mean")
        return numbers


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
