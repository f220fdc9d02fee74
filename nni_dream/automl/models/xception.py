"""Xception, small: depthwise separable convolutions with linear shortcuts.

Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017, https://arxiv.org/abs/1610.02357:
entry, middle and exit flow of Figure 5, with one, two and one block and narrow channels, for small images.
"""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SeparableBlock", "XceptionNet"]

STEM_CHANNELS: Final = 16
MIDDLE_CHANNELS: Final = 32
N_MIDDLE_BLOCKS: Final = 2
EXIT_CHANNELS: Final = 64
N_FEATURES: Final = 96


class SeparableBlock(nn.Module):
    """Two separable convolutions beside a linear shortcut; halves the image where the number of channels changes."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), *_separable(n_inputs, n_outputs), nn.ReLU(), *_separable(n_outputs, n_outputs)
        )
        self.shortcut: nn.Module = nn.Identity()
        if n_inputs != n_outputs:
            self.layers.append(nn.MaxPool2d(3, stride=2, padding=1))
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_inputs, n_outputs, 1, stride=2, bias=False), nn.BatchNorm2d(n_outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x) + self.shortcut(x)
        return features


class XceptionNet(nn.Module):
    """Features of an image: (N, C, H, W) to (N, 96, H/4, W/4)."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(n_channels, STEM_CHANNELS, 3, padding=1, bias=False), nn.BatchNorm2d(STEM_CHANNELS)
        )
        self.entry_flow = SeparableBlock(STEM_CHANNELS, MIDDLE_CHANNELS)
        self.middle_flow = nn.Sequential(
            *(SeparableBlock(MIDDLE_CHANNELS, MIDDLE_CHANNELS) for _ in range(N_MIDDLE_BLOCKS))
        )
        self.exit_flow = nn.Sequential(
            SeparableBlock(MIDDLE_CHANNELS, EXIT_CHANNELS), *_separable(EXIT_CHANNELS, N_FEATURES), nn.ReLU()
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem(images))  # (N, 16, H, W)
        x = self.middle_flow(self.entry_flow(x))  # (N, 32, H/2, W/2)
        features: Tensor = self.exit_flow(x)  # (N, 96, H/4, W/4)
        return features


def _separable(n_inputs: int, n_outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(n_inputs, n_inputs, 3, padding=1, groups=n_inputs, bias=False),
        nn.Conv2d(n_inputs, n_outputs, 1, bias=False),
        nn.BatchNorm2d(n_outputs),
    ]
