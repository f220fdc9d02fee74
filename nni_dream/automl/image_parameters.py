"""The parameters of an image trial: every name, default and allowed value in one place.

The models below are the nested form in which NNI hands out parameters: a choice with parameters of its own is an
object whose ``_name`` says which choice it is, so that ``momentum`` can only stand inside ``sgd``.  Names and values
are those of AutoKeras's image blocks and of the actions that DREAM added to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

__all__ = [
    "Adam",
    "AdamWeightDecay",
    "Augmentation",
    "Efficient",
    "ImageParameters",
    "Nadam",
    "NoAugmentation",
    "ParameterError",
    "Resnet",
    "Sgd",
    "Vanilla",
    "Xception",
    "read_image_parameters",
]


class ParameterError(ValueError):
    """A trial received a parameter that it does not know, or a value that it cannot use."""


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


Share: TypeAlias = Annotated[float, Field(ge=0.0, lt=1.0)]


class Vanilla(_Parameters):
    """Plain convolutions, without normalisation or shortcuts."""

    name: Literal["vanilla"] = Field(default="vanilla", alias="_name")
    kernel_size: Literal[3, 5, 7] = 3
    separable: bool = False
    max_pooling: bool = True
    num_blocks: Literal[1, 2, 3] = 2
    num_layers: Literal[1, 2] = 2
    filters: Literal[8, 16, 32, 64] = 32
    conv_dropout: Share = 0.25
    initializer: Literal["he_uniform", "lecun_uniform", "glorot_uniform"] = "glorot_uniform"
    activation: Literal["relu", "selu", "tanh"] = "relu"


class Resnet(_Parameters):
    name: Literal["resnet"] = Field(default="resnet", alias="_name")
    version: Literal["resnet8", "resnet14", "resnet20"] = "resnet8"


class Efficient(_Parameters):
    name: Literal["efficient"] = Field(default="efficient", alias="_name")
    version: Literal["b0", "b1", "b2"] = "b0"


class Xception(_Parameters):
    name: Literal["xception"] = Field(default="xception", alias="_name")


class Augmentation(_Parameters):
    """Random shifts, turns and zooms of the training images; no flips, which would make other digits."""

    name: Literal["true"] = Field(default="true", alias="_name")
    translation: Share = 0.1  # largest shift, as a share of height and width
    rotation: Share = 0.1  # largest angle, as a share of a full turn
    zoom: Share = 0.1  # largest change of size, as a share of it


class NoAugmentation(_Parameters):
    name: Literal["false"] = Field(default="false", alias="_name")


class Adam(_Parameters):
    name: Literal["adam"] = Field(default="adam", alias="_name")


class Sgd(_Parameters):
    name: Literal["sgd"] = Field(default="sgd", alias="_name")
    momentum: Share = 0.0


class AdamWeightDecay(_Parameters):
    """AdamW whose learning rate falls (or rises) linearly to ``end_learning_rate`` over the run."""

    name: Literal["adam_weight_decay"] = Field(default="adam_weight_decay", alias="_name")
    end_learning_rate: float = Field(default=0.0, ge=0.0)
    weight_decay_rate: float = Field(default=0.01, ge=0.0)


class Nadam(_Parameters):
    name: Literal["nadam"] = Field(default="nadam", alias="_name")


def _as_named(value: Any) -> Any:
    """Return a choice that was written short ("adam", or true) in its nested form."""
    if isinstance(value, bool):
        value = str(value).lower()
    return {"_name": value} if isinstance(value, str) else value


_Named = BeforeValidator(_as_named)
Block: TypeAlias = Annotated[Vanilla | Resnet | Efficient | Xception, Field(discriminator="name"), _Named]
Optimizer: TypeAlias = Annotated[Adam | Sgd | AdamWeightDecay | Nadam, Field(discriminator="name"), _Named]
Augment: TypeAlias = Annotated[Augmentation | NoAugmentation, Field(discriminator="name"), _Named]


class ImageParameters(_Parameters):
    """What a trial on images can be told; AutoKeras's defaults where it has one."""

    block_type: Block = Vanilla()
    normalize: bool = True  # false: pixel values stay as they are in the data set
    augment: Augment = NoAugmentation()
    reduction_type: Literal["flatten", "global_max", "global_avg"] = "flatten"
    dropout: Share = 0.0  # before the classifier
    optimizer: Optimizer = Adam()
    learning_rate: float = Field(default=0.001, gt=0.0)

    def to_nested(self) -> dict[str, Any]:
        """Return every active parameter in NNI's nested form; `read_image_parameters` reads it back."""
        return self.model_dump(mode="json", by_alias=True)


def read_image_parameters(parameters: Mapping[str, Any]) -> ImageParameters:
    """Check the parameters that NNI handed out and fill in the defaults.

    Raises:
        ParameterError: If a name is unknown or a value is not allowed; names the first one.
    """
    try:
        return ImageParameters.model_validate(dict(parameters))
    except ValidationError as error:
        raise ParameterError(_in_words(error)) from error


def _in_words(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"parameter {name!r} is unknown here"
    context = first.get("ctx", {})
    expected = context.get("expected_tags") or context.get("expected")
    rule = f"expected {expected}" if expected else first["msg"]
    return f"parameter {name!r} is {first['input']!r}: {rule}"
