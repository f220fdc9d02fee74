"""The backbone that a block of the search space stands for, at every scale.

Full scale: timm's networks.  Below: our own small networks of the same families and versions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from torch import nn

from nni_dream.automl.image_settings import (
    BackboneBlock,
    ConvolutionBlock,
    EfficientBlock,
    Pretrained,
    ResnetBlock,
    VanillaBlock,
    XceptionBlock,
)
from nni_dream.automl.models.efficient import EfficientNet
from nni_dream.automl.models.resnet import STAGE_CHANNELS, ResidualNet
from nni_dream.automl.models.vanilla import Convolutions, VanillaNet
from nni_dream.automl.models.xception import XceptionNet
from nni_dream.automl.scales import Scale, scaled_width
from nni_dream.automl.weights import TIMM_NAMES, WeightsError, WeightsSource, load_own_weights

__all__ = ["build_backbone", "scaled_convolutions"]

N_BLOCKS: Final = {"resnet50": 1, "resnet101": 2, "resnet152": 3}  # in each of the three stages
WIDTHS: Final = {"tiny": 1, "small": 2}  # times the channels of our networks
STRIDED_SIZE: Final = 24  # pixels; larger images are halved once more

Backbone = VanillaBlock | ResnetBlock | EfficientBlock | XceptionBlock


def build_backbone(block: Backbone, image_shape: tuple[int, int, int], source: WeightsSource) -> nn.Module:
    """Build what makes features (N, F, h, w) of images (N, C, H, W); pretrained if the block says so.

    Args:
        image_shape: Channels, height and width as they go into the backbone.

    Raises:
        WeightsError: If pretrained weights are not there, or do not fit.
    """
    if isinstance(block, VanillaBlock):
        return VanillaNet(scaled_convolutions(block, source.scale), image_shape)
    path = source.backbone(block.version) if isinstance(block.pretrained, Pretrained) else None
    if source.scale == "full":
        return _build_timm(TIMM_NAMES[block.version], image_shape[0], path)
    backbone = _build_own(block, image_shape, source.scale)
    if path is not None:
        load_own_weights(backbone, path)
    return backbone


def scaled_convolutions(block: ConvolutionBlock, scale: Scale) -> Convolutions:
    return Convolutions(
        filters=tuple(tuple(scaled_width(n, scale) for n in layers) for layers in block.filters()),
        kernel_size=block.kernel_size,
        separable=block.separable,
        max_pooling=block.max_pooling,
        dropout=block.conv_dropout,
        initializer=block.initializer,
        activation=block.activation,
    )


def _build_own(block: BackboneBlock, image_shape: tuple[int, int, int], scale: Scale) -> nn.Module:
    n_channels, *size = image_shape
    width, stride = WIDTHS[scale], 2 if min(size) >= STRIDED_SIZE else 1
    if isinstance(block, ResnetBlock):
        depth, _, second_version = block.version.partition("_")
        return ResidualNet(
            N_BLOCKS[depth],
            n_channels,
            stage_channels=[n * width for n in STAGE_CHANNELS],
            stem_stride=stride,
            pre_activation=bool(second_version),
        )
    if isinstance(block, EfficientBlock):
        return EfficientNet(block.version, n_channels, width=width, second_stride=stride)
    return XceptionNet(n_channels, width=width, stem_stride=stride)


def _build_timm(name: str, n_channels: int, path: Path | None) -> nn.Module:
    from nni_dream.torchvision_compatibility import ensure_torchvision

    ensure_torchvision()
    import timm

    try:
        return timm.create_model(
            name,
            pretrained=path is not None,
            pretrained_cfg_overlay=None if path is None else {"file": str(path)},
            in_chans=n_channels,
            num_classes=0,
            global_pool="",
        )
    except (RuntimeError, OSError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: are not weights of {name}: {reason}") from error
