"""Every setting of the tuner and the assessor, with its unit, its default and its source; checked when built."""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from nni_dream.feedback import Json, OptimizeMode

__all__ = [
    "AssessorSettings",
    "Exploration",
    "Settings",
    "SettingsError",
    "Strategy",
    "Thresholds",
    "TunerSettings",
    "parse_settings",
]

Strategy = Literal["learning", "static", "beam", "random"]
Exploration = Literal["expected_improvement", "thompson", "upper_confidence"]


class SettingsError(ValueError):
    """An argument of the tuner or the assessor is wrong; the message names it, its value and the rule."""


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Thresholds(Settings):
    """Where normal ends (DREAM section 4.2.2)."""

    min_improvement: float = Field(default=0.01, gt=0)  # score between two contiguous epochs; DREAM 4.2.2
    min_relative_improvement: float = Field(default=0.01, gt=0)  # share of the previous loss, regression; ours
    min_convergence_epochs: int = Field(default=4, ge=2)  # fewer epochs are normal convergence
    exploding_loss: float = Field(default=1e5, gt=0)  # validation loss; the DREAM prototype
    dead_unit_share: float = Field(default=0.70, gt=0, le=1)  # of all output units; DREAM 4.2.2
    vanishing_ratio: float = Field(default=1e-3, gt=0)  # gradient norm, input side / output side; DREAM 4.2.2
    exploding_ratio: float = Field(default=70.0, gt=0)  # the same ratio; DREAM 4.2.2

    @model_validator(mode="after")
    def _leaves_room_for_normal_gradients(self) -> Thresholds:
        if self.vanishing_ratio >= self.exploding_ratio:
            raise ValueError(
                f"vanishing_ratio {self.vanishing_ratio:g} must be below exploding_ratio {self.exploding_ratio:g}"
            )
        return self


class TunerSettings(Settings):
    """Arguments of :class:`nni_dream.tuner.DreamTuner` (``classArgs`` in an experiment's YAML)."""

    optimize_mode: OptimizeMode = "maximize"
    seed: int | None = Field(default=None, ge=0)  # None: drawn, used and logged
    priority: str = "paper_table2"  # name of a shipped table, or path of a JSON file
    target_score: float | None = None  # the experiment ends when a trial reaches it
    thresholds: Thresholds = Thresholds()
    initial_parameters: list[dict[str, Json]] = []  # one or several, tried first; missing parameters are drawn
    roles: dict[str, str] = {}  # name or dotted path of a parameter -> its role, where the inferred one is wrong
    # learning: priorities that learn in this search; static: the table's order, backing off to coarser conditions;
    # beam: the same on the three best trials in turn (DREAM section 7); random: actions in random order (ablation)
    strategy: Strategy = "learning"
    exploration: Exploration = "thompson"  # how `learning` weighs what is uncertain
    planned_trials: int | None = Field(default=None, ge=1)  # exploration fades until then; None: NNI's trial limit

    @field_validator("initial_parameters", mode="before")
    @classmethod
    def _takes_a_single_one(cls, given: Json) -> Json:
        return [given] if isinstance(given, dict) else given


class AssessorSettings(Settings):
    """Arguments of :class:`nni_dream.assessor.DreamAssessor` (``classArgs`` in an experiment's YAML)."""

    optimize_mode: OptimizeMode = "maximize"
    thresholds: Thresholds = Thresholds()
    patience: int = Field(default=4, ge=1)  # epochs that a gradient problem may last without any improvement
    slow_share: float = Field(default=0.5, ge=0, le=1)  # of the planned epochs; slow trials may go on until here
    planned_epochs: int | None = Field(default=None, ge=1)  # for trials that do not tell; None: theirs only
    n_reference_trials: int = Field(default=3, ge=1)  # slow trials are compared with the median of so many best


SettingsT = TypeVar("SettingsT", bound=Settings)


def parse_settings(model: type[SettingsT], arguments: dict[str, Json], where: str) -> SettingsT:
    """Return the checked settings.

    Args:
        where: Whose arguments these are, for the message: ``DreamTuner``.

    Raises:
        SettingsError: If an argument is unknown or breaks its rule; all of them are named at once.
    """
    try:
        return model.model_validate(arguments)
    except ValidationError as error:
        known = ", ".join(model.model_fields)
        problems = [
            f"{'.'.join(str(part) for part in problem['loc'])} is {problem['input']!r}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise SettingsError(f"{where}: {'; '.join(problems)} (arguments: {known})") from None
