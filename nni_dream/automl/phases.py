"""The steps of fine-tuning: what is frozen, with which optimiser and learning rate, for how many epochs.

Two steps: the backbone is frozen as ``freeze`` says for ``epoch_ratio`` of the epochs, with Adam at ``learning_rate /
lr_ratio``; then all of it is trained with the configured optimiser at ``learning_rate``.  Three steps, all with Adam:
a sixth of the epochs with the backbone frozen at ten times the learning rate, a third with all of it at the learning
rate, the rest at a tenth.  Source: DREAM section 4.1, Table 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from nni_dream.automl.digits_parameters import DigitsParameters
from nni_dream.automl.image_settings import (
    BackboneBlock,
    FixedBackbone,
    ImageSettings,
    NotPretrained,
    OneStep,
    TwoSteps,
)
from nni_dream.automl.parameters import Adam, AdamWeightDecay, Nadam, Sgd
from nni_dream.automl.text_settings import TextSettings

__all__ = ["Frozen", "Phase", "Settings", "plan_phases"]

Frozen: TypeAlias = Literal["all", "no", "bn"]
Settings: TypeAlias = DigitsParameters | ImageSettings | TextSettings

FIRST_SHARE: Final = 1 / 6  # of the epochs, in three steps
SECOND_SHARE: Final = 1 / 3
FIRST_FACTOR: Final = 10.0  # times the learning rate
LAST_FACTOR: Final = 0.1


@dataclass(frozen=True)
class Phase:
    """Some epochs of a training with one optimiser."""

    n_epochs: int
    frozen: Frozen  # of the backbone: all of it, nothing, its batch normalisation
    optimizer: Adam | Sgd | AdamWeightDecay | Nadam
    learning_rate: float


def plan_phases(settings: Settings, n_epochs: int) -> list[Phase]:
    """Return the phases of a training, in order; each has an epoch or more, together they have all.

    Where there are fewer epochs than phases, the first phases of three, and the last of two, are what is left.

    Args:
        n_epochs: 1 or more.
    """
    last = Phase(n_epochs, "no", settings.optimizer, settings.learning_rate)
    block = settings.block_type
    if not isinstance(block, BackboneBlock) or isinstance(block.pretrained, NotPretrained):
        return [last]
    trainable = block.pretrained.trainable
    if isinstance(trainable, FixedBackbone):
        return [Phase(n_epochs, "all", settings.optimizer, settings.learning_rate)]
    if isinstance(trainable.two_step, OneStep):
        return [last]
    if trainable.two_step.three_step:
        return _three_steps(settings.learning_rate, n_epochs)
    return _two_steps(trainable.two_step, last)


def _two_steps(steps: TwoSteps, last: Phase) -> list[Phase]:
    n_first = min(max(1, round(last.n_epochs * steps.epoch_ratio)), last.n_epochs - 1)
    phases = [
        Phase(n_first, steps.freeze, Adam(), last.learning_rate / steps.lr_ratio),
        Phase(last.n_epochs - n_first, last.frozen, last.optimizer, last.learning_rate),
    ]
    return [phase for phase in phases if phase.n_epochs > 0]


def _three_steps(learning_rate: float, n_epochs: int) -> list[Phase]:
    n_first = max(1, round(n_epochs * FIRST_SHARE))
    n_second = min(max(1, round(n_epochs * SECOND_SHARE)), n_epochs - n_first)
    phases = [
        Phase(n_first, "all", Adam(), learning_rate * FIRST_FACTOR),
        Phase(n_second, "no", Adam(), learning_rate),
        Phase(n_epochs - n_first - n_second, "no", Adam(), learning_rate * LAST_FACTOR),
    ]
    return [phase for phase in phases if phase.n_epochs > 0]
