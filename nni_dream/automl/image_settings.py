"""The parameters of a trial on a real image task: experiment_configs/spaces/image.json and image_expanded.json.

AutoKeras's image blocks and the actions that DREAM adds to them; Jin, Song and Hu, "Auto-Keras: An Efficient Neural
Architecture Search System", KDD 2019, https://arxiv.org/abs/1806.10282.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from nni_dream.automl.parameters import (
    NAMED,
    Activation,
    Adam,
    Initializer,
    Optimizer,
    Parameters,
    Reduction,
    Share,
)

__all__ = [
    "BackboneBlock",
    "ConvolutionBlock",
    "EfficientBlock",
    "FixedBackbone",
    "ImageAugmentation",
    "ImageSettings",
    "NoImageAugmentation",
    "NotPretrained",
    "OneStep",
    "Pretrained",
    "ResnetBlock",
    "TrainableBackbone",
    "TwoSteps",
    "VanillaBlock",
    "XceptionBlock",
]

FilterCount: TypeAlias = Annotated[int, Field(ge=1, le=4096)]


class ConvolutionBlock(Parameters):
    """AutoKeras's convolution block, over images or over sequences; ``filters_i_j`` is layer j of block i."""

    kernel_size: Annotated[int, Field(ge=1, le=31)] = 3
    separable: bool = False
    max_pooling: bool = True
    num_blocks: Literal[1, 2, 3] = 2
    num_layers: Literal[1, 2] = 2
    filters_0_0: FilterCount = 32
    filters_0_1: FilterCount = 32
    filters_1_0: FilterCount = 32
    filters_1_1: FilterCount = 32
    filters_2_0: FilterCount = 32
    filters_2_1: FilterCount = 32
    conv_dropout: Share = 0.25
    initializer: Initializer = "glorot_uniform"
    activation: Activation = "relu"

    def filters(self) -> tuple[tuple[int, ...], ...]:
        """Return the number of filters of each layer of each block that is there."""
        names = [[f"filters_{i}_{j}" for j in range(self.num_layers)] for i in range(self.num_blocks)]
        return tuple(tuple(int(getattr(self, name)) for name in block) for block in names)


class VanillaBlock(ConvolutionBlock):
    name: Literal["vanilla"] = Field(default="vanilla", alias="_name")


class OneStep(Parameters):
    name: Literal["false"] = Field(default="false", alias="_name")


class TwoSteps(Parameters):
    """Fine-tuning: first with the backbone frozen, then all of it; see `nni_dream.automl.phases`."""

    name: Literal["true"] = Field(default="true", alias="_name")
    three_step: bool = False  # three steps instead, whose epochs, rates and freezing are fixed
    epoch_ratio: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2  # share of the epochs in step 1
    lr_ratio: Annotated[float, Field(gt=0.0)] = 0.1  # learning rate of step 2 / of step 1
    freeze: Literal["all", "no", "bn"] = "all"  # in step 1


class FixedBackbone(Parameters):
    name: Literal["false"] = Field(default="false", alias="_name")


class TrainableBackbone(Parameters):
    name: Literal["true"] = Field(default="true", alias="_name")
    two_step: Annotated[TwoSteps | OneStep, Field(discriminator="name"), NAMED] = OneStep()


class NotPretrained(Parameters):
    name: Literal["false"] = Field(default="false", alias="_name")


class Pretrained(Parameters):
    name: Literal["true"] = Field(default="true", alias="_name")
    trainable: Annotated[TrainableBackbone | FixedBackbone, Field(discriminator="name"), NAMED] = TrainableBackbone()


class BackboneBlock(Parameters):
    """What the published architectures have in common."""

    pretrained: Annotated[Pretrained | NotPretrained, Field(discriminator="name"), NAMED] = NotPretrained()
    imagenet_size: bool = False  # resize the input to what the backbone was made for


class ResnetBlock(BackboneBlock):
    name: Literal["resnet"] = Field(default="resnet", alias="_name")
    version: Literal["resnet50", "resnet101", "resnet152", "resnet50_v2", "resnet101_v2", "resnet152_v2"] = "resnet50"


class EfficientBlock(BackboneBlock):
    name: Literal["efficient"] = Field(default="efficient", alias="_name")
    version: Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"] = "b0"


class XceptionBlock(BackboneBlock):
    name: Literal["xception"] = Field(default="xception", alias="_name")

    @property
    def version(self) -> str:
        return "xception"


class ImageAugmentation(Parameters):
    """Random changes of the training images, each drawn anew for each image and epoch."""

    name: Literal["true"] = Field(default="true", alias="_name")
    translation: Share = Field(default=0.1, alias="translation_factor")  # of height and width
    rotation: Share = Field(default=0.1, alias="rotation_factor")  # of a full turn
    zoom: Share = Field(default=0.1, alias="zoom_factor")
    contrast: Share = Field(default=0.1, alias="contrast_factor")
    horizontal_flip: bool = True
    vertical_flip: bool = False


class NoImageAugmentation(Parameters):
    name: Literal["false"] = Field(default="false", alias="_name")


class ImageSettings(Parameters):
    """What a trial on images can be told; AutoKeras's defaults where it has one."""

    block_type: Annotated[
        VanillaBlock | ResnetBlock | EfficientBlock | XceptionBlock, Field(discriminator="name"), NAMED
    ] = VanillaBlock()
    normalize: bool = True  # by the training images' mean and deviation per channel; false: 0..255
    augment: Annotated[ImageAugmentation | NoImageAugmentation, Field(discriminator="name"), NAMED] = (
        NoImageAugmentation()
    )
    reduction_type: Reduction = "global_avg"
    dropout: Share = 0.0  # before the head
    optimizer: Optimizer = Adam()
    learning_rate: float = Field(default=0.001, gt=0.0)
