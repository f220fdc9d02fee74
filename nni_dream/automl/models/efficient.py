"""EfficientNet, small: inverted bottlenecks with squeeze and excitation, scaled in width and depth together.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019,
https://arxiv.org/abs/1905.11946.  The coefficients of b0 to b7 and both rounding rules are the paper's; the table of
stages is cut down to images of 8 to 64 pixels, channels are rounded to 4 instead of 8, and the resolution stays.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from torch import Tensor, nn

__all__ = ["EfficientNet", "InvertedBottleneck", "SqueezeExcitation"]


class Stage(NamedTuple):
    """One row of the paper's Table 1, for b0."""

    expansion: int
    n_channels: int
    n_repeats: int
    kernel_size: int
    stride: int


STAGES: Final = (
    Stage(expansion=1, n_channels=8, n_repeats=1, kernel_size=3, stride=1),
    Stage(expansion=4, n_channels=16, n_repeats=1, kernel_size=3, stride=1),
    Stage(expansion=4, n_channels=24, n_repeats=1, kernel_size=5, stride=2),
)
STEM_CHANNELS: Final = 16
HEAD_CHANNELS: Final = 96
SCALING: Final = {  # version -> (width, depth)
    "b0": (1.0, 1.0),
    "b1": (1.0, 1.1),
    "b2": (1.1, 1.2),
    "b3": (1.2, 1.4),
    "b4": (1.4, 1.8),
    "b5": (1.6, 2.2),
    "b6": (1.8, 2.6),
    "b7": (2.0, 3.1),
}
CHANNEL_STEP: Final = 4  # channels are multiples of it
SQUEEZE_RATIO: Final = 4  # a block's input channels / its squeezed channels


class SqueezeExcitation(nn.Module):
    """A weight in (0, 1) for every channel, computed from all channels' means."""

    def __init__(self, n_channels: int, n_squeezed: int) -> None:
        super().__init__()
        self.weights = nn.Sequential(
            nn.Linear(n_channels, n_squeezed), nn.SiLU(), nn.Linear(n_squeezed, n_channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.weights(x.mean(dim=(2, 3)))  # (N, C)
        return x * weights[:, :, None, None]


class InvertedBottleneck(nn.Module):
    """MBConv: widen, convolve each channel, weigh the channels, narrow."""

    def __init__(self, n_inputs: int, stage: Stage) -> None:
        super().__init__()
        n_hidden = n_inputs * stage.expansion
        layers = _convolution(n_inputs, n_hidden, kernel_size=1) if stage.expansion > 1 else []
        layers += _convolution(n_hidden, n_hidden, kernel_size=stage.kernel_size, stride=stage.stride, groups=n_hidden)
        layers.append(SqueezeExcitation(n_hidden, max(1, n_inputs // SQUEEZE_RATIO)))
        layers += [nn.Conv2d(n_hidden, stage.n_channels, 1, bias=False), nn.BatchNorm2d(stage.n_channels)]
        self.layers = nn.Sequential(*layers)
        self.has_shortcut = stage.stride == 1 and n_inputs == stage.n_channels

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return x + features if self.has_shortcut else features


class EfficientNet(nn.Module):
    """Features of an image: (N, C, H, W) to (N, about 96 x width, H/4, W/4).

    Args:
        version: b0 to b7.
        width: All channels times this, beside what the version says.
        second_stride: Of the second stage; 2 halves the image once more.
    """

    def __init__(self, version: str, n_channels: int, *, width: float = 1.0, second_stride: int = 1) -> None:
        super().__init__()
        version_width, depth = SCALING[version]
        width *= version_width
        n_inputs = _scaled_channels(STEM_CHANNELS, width)
        layers = _convolution(n_channels, n_inputs, kernel_size=3, stride=2)
        first, second, third = STAGES
        for row in (first, second._replace(stride=second_stride), third):
            stage = row._replace(n_channels=_scaled_channels(row.n_channels, width))
            for repeat in range(math.ceil(row.n_repeats * depth)):
                layers.append(InvertedBottleneck(n_inputs, stage if repeat == 0 else stage._replace(stride=1)))
                n_inputs = stage.n_channels
        layers += _convolution(n_inputs, _scaled_channels(HEAD_CHANNELS, width), kernel_size=1)
        self.layers = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)  # (N, C', H/4, W/4)
        return features


def _convolution(
    n_inputs: int, n_outputs: int, *, kernel_size: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    padding = kernel_size // 2
    return [
        nn.Conv2d(n_inputs, n_outputs, kernel_size, stride=stride, padding=padding, groups=groups, bias=False),
        nn.BatchNorm2d(n_outputs),
        nn.SiLU(),
    ]


def _scaled_channels(n_channels: int, width: float) -> int:
    """Round to a multiple of the step, but never down by more than a tenth."""
    scaled = n_channels * width
    rounded = max(CHANNEL_STEP, int(scaled + CHANNEL_STEP / 2) // CHANNEL_STEP * CHANNEL_STEP)
    return rounded + CHANNEL_STEP if rounded < 0.9 * scaled else rounded
