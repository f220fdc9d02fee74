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
    """Features of an image: (N, C, H, W) to (N, 96 x width, H/4, W/4), halved once more by a stem stride of 2."""

    def __init__(self, n_channels: int, *, width: int = 1, stem_stride: int = 1) -> None:
        super().__init__()
        n_stem, n_middle, n_exit = STEM_CHANNELS * width, MIDDLE_CHANNELS * width, EXIT_CHANNELS * width
        self.stem = nn.Sequential(
            nn.Conv2d(n_channels, n_stem, 3, stride=stem_stride, padding=1, bias=False), nn.BatchNorm2d(n_stem)
        )
        self.entry_flow = SeparableBlock(n_stem, n_middle)
        self.middle_flow = nn.Sequential(*(SeparableBlock(n_middle, n_middle) for _ in range(N_MIDDLE_BLOCKS)))
        self.exit_flow = nn.Sequential(
            SeparableBlock(n_middle, n_exit), *_separable(n_exit, N_FEATURES * width), nn.ReLU()
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem(images))
        x = self.middle_flow(self.entry_flow(x))  # half the size
        features: Tensor = self.exit_flow(x)  # a quarter
        return features


def _separable(n_inputs: int, n_outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(n_inputs, n_inputs, 3, padding=1, groups=n_inputs, bias=False),
        nn.Conv2d(n_inputs, n_outputs, 1, bias=False),
        nn.BatchNorm2d(n_outputs),
    ]
