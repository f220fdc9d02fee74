"""What the parameters of all trials have in common: how they are read, and the optimisers.

A model of parameters is the nested form in which NNI hands them out: a choice with parameters of its own is an object
whose ``_name`` says which choice it is, so that ``momentum`` can only stand inside ``sgd``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

__all__ = [
    "NAMED",
    "Activation",
    "Adam",
    "AdamWeightDecay",
    "Initializer",
    "Nadam",
    "Optimizer",
    "ParameterError",
    "Parameters",
    "Reduction",
    "Sgd",
    "Share",
    "read_parameters",
]


class ParameterError(ValueError):
    """A trial received a parameter that it does not know, or a value that it cannot use."""


class Parameters(BaseModel):
    """Base of all parameters: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    def to_nested(self) -> dict[str, Any]:
        """Return every active parameter in NNI's nested form; `read_parameters` reads it back."""
        return self.model_dump(mode="json", by_alias=True)


ParametersT = TypeVar("ParametersT", bound=Parameters)
Share: TypeAlias = Annotated[float, Field(ge=0.0, lt=1.0)]
Initializer: TypeAlias = Literal["he_uniform", "lecun_uniform", "glorot_uniform"]
Activation: TypeAlias = Literal["relu", "selu", "tanh"]
Reduction: TypeAlias = Literal["flatten", "global_max", "global_avg"]


def _as_named(value: Any) -> Any:
    """Return a choice that was written short ("adam", or true) in its nested form."""
    if isinstance(value, bool):
        value = str(value).lower()
    return {"_name": value} if isinstance(value, str) else value


NAMED: Final = BeforeValidator(_as_named)  # allows the short form of a nested choice


class Adam(Parameters):
    name: Literal["adam"] = Field(default="adam", alias="_name")


class Sgd(Parameters):
    name: Literal["sgd"] = Field(default="sgd", alias="_name")
    momentum: Share = 0.0


class AdamWeightDecay(Parameters):
    """AdamW whose learning rate falls (or rises) linearly to ``end_learning_rate`` over the run."""

    name: Literal["adam_weight_decay"] = Field(default="adam_weight_decay", alias="_name")
    end_learning_rate: float = Field(default=0.0, ge=0.0)
    weight_decay_rate: float = Field(default=0.01, ge=0.0)


class Nadam(Parameters):
    name: Literal["nadam"] = Field(default="nadam", alias="_name")


Optimizer: TypeAlias = Annotated[Adam | Sgd | AdamWeightDecay | Nadam, Field(discriminator="name"), NAMED]


def read_parameters(model: type[ParametersT], parameters: Mapping[str, Any]) -> ParametersT:
    """Check the parameters that NNI handed out and fill in the defaults.

    Raises:
        ParameterError: If a name is unknown or a value is not allowed; names the first one.
    """
    try:
        return model.model_validate(dict(parameters))
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
