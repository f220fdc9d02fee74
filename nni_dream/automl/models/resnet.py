"""Residual network for small images.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385:
the networks of section 4.2 with 6n + 2 layers (n = 1, 2, 3) and stages of 16, 32 and 64 channels.  Where the shape
changes, the shortcut is a 1x1 convolution (option B).
"""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

from nni_dream.automl.image_parameters import Resnet

__all__ = ["BasicBlock", "ResidualNet"]

N_BLOCKS: Final = {"resnet8": 1, "resnet14": 2, "resnet20": 3}  # in each of the three stages
STAGE_CHANNELS: Final = (16, 32, 64)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, n_inputs: int, n_outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_inputs, n_outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(n_outputs)
        self.conv2 = nn.Conv2d(n_outputs, n_outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_inputs != n_outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_inputs, n_outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(n_outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        residual = F.relu(self.norm1(self.conv1(x)))
        residual = self.norm2(self.conv2(residual))
        return F.relu(residual + self.shortcut(x))


class ResidualNet(nn.Module):
    """Features of an image: (N, C, H, W) to (N, 64, H/4, W/4)."""

    def __init__(self, parameters: Resnet, n_channels: int) -> None:
        super().__init__()
        n_inputs = STAGE_CHANNELS[0]
        self.stem = nn.Sequential(
            nn.Conv2d(n_channels, n_inputs, 3, padding=1, bias=False), nn.BatchNorm2d(n_inputs), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        for n_outputs in STAGE_CHANNELS:
            for _ in range(N_BLOCKS[parameters.version]):
                blocks.append(BasicBlock(n_inputs, n_outputs, stride=1 if n_inputs == n_outputs else 2))
                n_inputs = n_outputs
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.stem(images))  # (N, 64, H/4, W/4)
        return features
