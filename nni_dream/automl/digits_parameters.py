"""The parameters of the digits trial: every name, default and allowed value in one place.

Names and values are those of AutoKeras's image blocks and of the actions that DREAM added to them, cut down to images
of 8 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

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
    read_parameters,
)

__all__ = [
    "Augmentation",
    "DigitsParameters",
    "Efficient",
    "NoAugmentation",
    "Resnet",
    "Vanilla",
    "Xception",
    "read_digits_parameters",
]


class Vanilla(Parameters):
    """Plain convolutions, without normalisation or shortcuts."""

    name: Literal["vanilla"] = Field(default="vanilla", alias="_name")
    kernel_size: Literal[3, 5, 7] = 3
    separable: bool = False
    max_pooling: bool = True
    num_blocks: Literal[1, 2, 3] = 2
    num_layers: Literal[1, 2] = 2
    filters: Literal[8, 16, 32, 64] = 32
    conv_dropout: Share = 0.25
    initializer: Initializer = "glorot_uniform"
    activation: Activation = "relu"


class Resnet(Parameters):
    name: Literal["resnet"] = Field(default="resnet", alias="_name")
    version: Literal["resnet8", "resnet14", "resnet20"] = "resnet8"


class Efficient(Parameters):
    name: Literal["efficient"] = Field(default="efficient", alias="_name")
    version: Literal["b0", "b1", "b2"] = "b0"


class Xception(Parameters):
    name: Literal["xception"] = Field(default="xception", alias="_name")


class Augmentation(Parameters):
    """Random shifts, turns and zooms of the training images; no flips, which would make other digits."""

    name: Literal["true"] = Field(default="true", alias="_name")
    translation: Share = 0.1  # largest shift, as a share of height and width
    rotation: Share = 0.1  # largest angle, as a share of a full turn
    zoom: Share = 0.1  # largest change of size, as a share of it
    contrast: ClassVar[float] = 0.0
    horizontal_flip: ClassVar[bool] = False
    vertical_flip: ClassVar[bool] = False


class NoAugmentation(Parameters):
    name: Literal["false"] = Field(default="false", alias="_name")


Block: TypeAlias = Annotated[Vanilla | Resnet | Efficient | Xception, Field(discriminator="name"), NAMED]
Augment: TypeAlias = Annotated[Augmentation | NoAugmentation, Field(discriminator="name"), NAMED]


class DigitsParameters(Parameters):
    """What a trial on digits can be told; AutoKeras's defaults where it has one."""

    block_type: Block = Vanilla()
    normalize: bool = True  # false: pixel values stay as they are in the data set
    augment: Augment = NoAugmentation()
    reduction_type: Reduction = "flatten"
    dropout: Share = 0.0  # before the classifier
    optimizer: Optimizer = Adam()
    learning_rate: float = Field(default=0.001, gt=0.0)


def read_digits_parameters(parameters: Mapping[str, Any]) -> DigitsParameters:
    """Check the parameters that NNI handed out and fill in the defaults.

    Raises:
        ParameterError: If a name is unknown or a value is not allowed; names the first one.
    """
    return read_parameters(DigitsParameters, parameters)
