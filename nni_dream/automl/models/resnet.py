"""Residual networks for small images.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385:
the networks of section 4.2 with 6n + 2 layers (n = 1, 2, 3) and stages of 16, 32 and 64 channels.  Where the shape
changes, the shortcut is a 1x1 convolution (option B).  Their second version normalises and activates before each
convolution: He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016,
https://arxiv.org/abs/1603.05027.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["STAGE_CHANNELS", "BasicBlock", "PreActivationBlock", "ResidualNet"]

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


class PreActivationBlock(nn.Module):
    """Two 3x3 convolutions, each after normalisation and activation, beside a shortcut that nothing rectifies."""

    def __init__(self, n_inputs: int, n_outputs: int, *, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(n_inputs)
        self.conv1 = nn.Conv2d(n_inputs, n_outputs, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_outputs)
        self.conv2 = nn.Conv2d(n_outputs, n_outputs, 3, padding=1, bias=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_inputs != n_outputs:
            self.shortcut = nn.Conv2d(n_inputs, n_outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.norm1(x))
        residual = self.conv1(activated)
        residual = self.conv2(F.relu(self.norm2(residual)))
        shortcut: Tensor = x if isinstance(self.shortcut, nn.Identity) else self.shortcut(activated)
        total: Tensor = residual + shortcut
        return total


class ResidualNet(nn.Module):
    """Features of an image: (N, C, H, W) to (N, last stage, H/4, W/4), halved once more by a stem stride of 2.

    Args:
        n_blocks: In each stage.
    """

    def __init__(
        self,
        n_blocks: int,
        n_channels: int,
        *,
        stage_channels: Sequence[int] = STAGE_CHANNELS,
        stem_stride: int = 1,
        pre_activation: bool = False,
    ) -> None:
        super().__init__()
        n_inputs = stage_channels[0]
        stem: list[nn.Module] = [nn.Conv2d(n_channels, n_inputs, 3, stride=stem_stride, padding=1, bias=False)]
        if not pre_activation:
            stem += [nn.BatchNorm2d(n_inputs), nn.ReLU()]
        self.stem = nn.Sequential(*stem)
        block = PreActivationBlock if pre_activation else BasicBlock
        blocks: list[nn.Module] = []
        for n_outputs in stage_channels:
            for _ in range(n_blocks):
                blocks.append(block(n_inputs, n_outputs, stride=1 if n_inputs == n_outputs else 2))
                n_inputs = n_outputs
        if pre_activation:
            blocks += [nn.BatchNorm2d(n_inputs), nn.ReLU()]
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.stem(images))
        return features
