"""The model of a trial on images: preprocessing, backbone, reduction, dropout and head, from pixels as stored."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nni_dream.automl.image_settings import BackboneBlock, ImageSettings, VanillaBlock
from nni_dream.automl.models.backbones import build_backbone
from nni_dream.automl.models.heads import ImageClassifier, TargetScaling, build_reduction, n_features
from nni_dream.automl.models.vanilla import initialise
from nni_dream.automl.scales import Scale, imagenet_size, plain_size
from nni_dream.automl.weights import WeightsSource

__all__ = ["ChannelStatistics", "ImagePreprocessing", "ModelError", "build_image_model", "measure_channels"]

CHUNK: Final = 1024  # images whose floats are in memory at a time
LEAST_DEVIATION: Final = 1e-3  # of pixels from 0 to 255: a channel of one colour is not divided by zero


class ModelError(ValueError):
    """A network cannot be built for these images."""


class ChannelStatistics(NamedTuple):
    """Of all pixels of a channel, 0..255."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class ImagePreprocessing(nn.Module):
    """Resize, then shift and scale each channel; what it needs is kept with the weights."""

    def __init__(self, size: tuple[int, int], statistics: ChannelStatistics) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(statistics.mean)[:, None, None])  # (C, 1, 1)
        self.register_buffer("deviation", torch.tensor(statistics.deviation)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        if tuple(pixels.shape[2:]) != self.size:
            is_smaller = self.size[0] < pixels.shape[2] or self.size[1] < pixels.shape[3]
            pixels = F.interpolate(pixels, self.size, mode="bilinear", antialias=is_smaller)
        images: Tensor = (pixels - self.get_buffer("mean")) / self.get_buffer("deviation")
        return images


def build_image_model(
    settings: ImageSettings,
    n_outputs: int,
    image_shape: tuple[int, int, int],
    *,
    statistics: ChannelStatistics,
    source: WeightsSource,
    target_scaling: TargetScaling | None = None,
) -> ImageClassifier:
    """Build the model that the settings describe, with weights drawn from torch's global generator.

    Args:
        image_shape: Channels, height and width in the data set.
        statistics: Of the training images.
        source: The scale, and where pretrained weights may come from.
        target_scaling: Of a regression.

    Raises:
        WeightsError: If pretrained weights are not there, or do not fit.
        ModelError: If the images are too small for the network.
    """
    block = settings.block_type
    n_channels, size = image_shape[0], _input_size(settings, image_shape, source.scale)
    if not settings.normalize:
        statistics = ChannelStatistics((0.0,) * n_channels, (1.0,) * n_channels)
    backbone = build_backbone(block, (n_channels, *size), source)
    reduction = build_reduction(settings.reduction_type)
    try:
        features = n_features(nn.Sequential(backbone, reduction), torch.zeros(1, n_channels, *size))
    except RuntimeError as error:  # torch's own words: a kernel that is larger than what is left of the image
        raise ModelError(_too_small(settings, size, error)) from error
    classifier = nn.Linear(features, n_outputs)
    initialise(classifier, block.initializer if isinstance(block, VanillaBlock) else "glorot_uniform")
    return ImageClassifier(
        backbone,
        reduction,
        dropout=settings.dropout,
        classifier=classifier,
        preprocessing=ImagePreprocessing(size, statistics),
        target_scaling=target_scaling,
    )


def _too_small(settings: ImageSettings, size: tuple[int, int], error: RuntimeError) -> str:
    block = settings.block_type
    reason = " ".join(str(error).split())
    way_out = "; imagenet_size = true, or a larger --image-size, fits it" if isinstance(block, BackboneBlock) else ""
    return f"block_type = {block.name} cannot take images of {size[0]} x {size[1]} pixels: {reason}{way_out}"


def measure_channels(images: Tensor) -> ChannelStatistics:
    """Return the statistics of images (N, C, H, W) of bytes, N of 1 or more."""
    sums = torch.zeros(2, images.shape[1], dtype=torch.float64)
    for chunk in torch.split(images, CHUNK):
        pixels = chunk.double()
        sums += torch.stack([pixels.sum(dim=(0, 2, 3)), pixels.square().sum(dim=(0, 2, 3))])  # (2, C)
    mean, square = sums / (images.numel() / images.shape[1])
    deviation = (square - mean.square()).clamp(min=0).sqrt().clamp(min=LEAST_DEVIATION)
    return ChannelStatistics(tuple(mean.tolist()), tuple(deviation.tolist()))


def _input_size(settings: ImageSettings, image_shape: tuple[int, int, int], scale: Scale) -> tuple[int, int]:
    block = settings.block_type
    if isinstance(block, BackboneBlock) and block.imagenet_size:
        side = imagenet_size(block.version, scale)
        return side, side
    return plain_size(*image_shape[1:], scale)
