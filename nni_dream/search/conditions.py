"""The condition of a trial: architecture, convergence, gradients, weights (DREAM section 4.2.2).

Written ``OA-NC-NG-NW``.  A part that cannot be known - a trial that reports nothing but its score has no gradients -
is ``*``, and so is a part that a coarser condition leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from typing import Final, TypeVar

from nni_dream.config import Thresholds
from nni_dream.feedback import EpochFeedback, Json, OptimizeMode, TrialFeedback
from nni_dream.search.roles import Role, architecture_word, role_of, stated_role

__all__ = [
    "Architecture",
    "Condition",
    "Convergence",
    "Gradient",
    "Weight",
    "architecture_named",
    "diagnose",
    "diagnose_architecture",
    "diagnose_convergence",
    "diagnose_epoch_gradient",
    "diagnose_gradient",
    "diagnose_weight",
    "has_improved",
]

ROUNDING: Final = 1e-9  # share of what is needed; 0.11 - 0.1 is a little less than 0.01 in binary
UNKNOWN: Final = "*"


class Architecture(str, Enum):
    """What kind of network the trial trains."""

    RESNET = "RA"
    EFFICIENTNET = "EA"
    XCEPTION = "XA"
    NGRAM = "NA"
    TRANSFORMER = "TA"
    OTHER = "OA"


class Convergence(str, Enum):
    """Whether the score moves."""

    SLOW = "SC"
    NORMAL = "NC"


class Gradient(str, Enum):
    """What the gradients look like."""

    VANISHING = "VG"
    EXPLODING = "EG"
    DYING = "DG"
    NORMAL = "NG"


class Weight(str, Enum):
    """Whether the weights are finite."""

    EXPLODING = "EW"
    NORMAL = "NW"


ARCHITECTURES: Final = {
    "xception": Architecture.XCEPTION,
    "efficient": Architecture.EFFICIENTNET,
    "resnet": Architecture.RESNET,
    "ngram": Architecture.NGRAM,
    "transformer": Architecture.TRANSFORMER,
}
PartT = TypeVar("PartT", bound=Enum)


@dataclass(frozen=True)
class Condition:
    """A-C-G-W; ``None`` is a part that is unknown or left open."""

    architecture: Architecture | None = None
    convergence: Convergence | None = None
    gradient: Gradient | None = None
    weight: Weight | None = None

    def __str__(self) -> str:
        return "-".join(UNKNOWN if part is None else part.value for part in self.parts)

    @property
    def parts(self) -> tuple[Architecture | None, Convergence | None, Gradient | None, Weight | None]:
        return self.architecture, self.convergence, self.gradient, self.weight

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition as it is written.

        Raises:
            ValueError: If it has not four parts, or a part is none of its values.
        """
        words = text.split("-")
        if len(words) != 4:
            raise ValueError(f"condition {text!r} has {len(words)} parts, expected 4, such as OA-NC-NG-NW")
        return cls(
            architecture=_parse_part(Architecture, words[0], text),
            convergence=_parse_part(Convergence, words[1], text),
            gradient=_parse_part(Gradient, words[2], text),
            weight=_parse_part(Weight, words[3], text),
        )

    def covers(self, other: Condition) -> bool:
        """Whether every part of this condition that is not left open is the same in the other."""
        pairs = zip(self.parts, other.parts, strict=True)
        return all(own is None or own == theirs for own, theirs in pairs)

    def coarser(self) -> list[Condition]:
        """This condition and then ever coarser ones: without W, then G, then C, then A; each once."""
        steps = [self]
        for part in ("weight", "gradient", "convergence", "architecture"):
            steps.append(replace(steps[-1], **{part: None}))
        return list(dict.fromkeys(steps))


def diagnose(
    feedback: TrialFeedback,
    parameters: Json,
    mode: OptimizeMode,
    thresholds: Thresholds | None = None,
    roles: Mapping[str, str] | None = None,
) -> Condition:
    """Return the condition of a trial; what its feedback does not tell is unknown, not normal.

    Args:
        parameters: The trial's configuration; the architecture is read from it unless the trial tells it.
        roles: What the user states of parameters, by name or dotted path.
    """
    thresholds = thresholds or Thresholds()
    told = feedback.architecture
    known = {architecture.value for architecture in Architecture}
    return Condition(
        architecture=Architecture(told) if told in known else diagnose_architecture(parameters, roles),
        convergence=diagnose_convergence(feedback.epochs, mode, thresholds),
        gradient=diagnose_gradient(feedback.epochs, thresholds),
        weight=diagnose_weight(feedback.epochs),
    )


def diagnose_architecture(parameters: Json, roles: Mapping[str, str] | None = None) -> Architecture | None:
    """Return the architecture that the parameters name, the first that is known; other if they name none that is.

    ``None`` if no parameter is about the architecture: the trial's code may have any.
    """
    named = [
        value
        for path, value in _flat_values(parameters, ())
        if (stated_role(roles or {}, path) or role_of(path[-1], [value])) is Role.ARCHITECTURE
    ]
    if not named:
        return None
    known = (architecture for architecture in map(architecture_named, named) if architecture is not Architecture.OTHER)
    return next(known, Architecture.OTHER)


def architecture_named(value: Json) -> Architecture:
    """Return the architecture that a value names, other if it names none that is known."""
    return ARCHITECTURES.get(architecture_word(value) or "", Architecture.OTHER)


def diagnose_convergence(
    epochs: Sequence[EpochFeedback], mode: OptimizeMode, thresholds: Thresholds
) -> Convergence | None:
    """Slow when no two contiguous epochs improved the training or the validation score enough; ``None`` without epochs.

    A loss that is not finite or exploded is slow however short the training was; otherwise a training shorter than
    ``min_convergence_epochs`` is normal.
    """
    if not epochs:
        return None
    if any(_has_lost_its_loss(epoch, thresholds) for epoch in epochs):
        return Convergence.SLOW
    if len(epochs) < thresholds.min_convergence_epochs:
        return Convergence.NORMAL
    if has_improved(epochs, mode, thresholds):
        return Convergence.NORMAL
    return Convergence.SLOW


def has_improved(epochs: Sequence[EpochFeedback], mode: OptimizeMode, thresholds: Thresholds) -> bool:
    """Whether between any two contiguous epochs the training or the validation score improved enough.

    Enough is ``min_improvement`` where a score is maximized, and ``min_relative_improvement``, a share of the previous
    loss, where one is minimized.
    """
    return any(
        _rises(before, now, mode, thresholds)
        for previous, current in pairwise(epochs)
        if current.epoch == previous.epoch + 1  # of a long training the epochs in the middle are not kept
        for before, now in zip(_train_and_val(previous, mode), _train_and_val(current, mode), strict=True)
    )


def diagnose_gradient(epochs: Sequence[EpochFeedback], thresholds: Thresholds) -> Gradient | None:
    """Return what the first abnormal epoch was; ``None`` if no epoch was measured."""
    found = [diagnose_epoch_gradient(epoch, thresholds) for epoch in epochs]
    measured = [gradient for gradient in found if gradient is not None]
    if not measured:
        return None
    return next((gradient for gradient in measured if gradient is not Gradient.NORMAL), Gradient.NORMAL)


def diagnose_epoch_gradient(epoch: EpochFeedback, thresholds: Thresholds) -> Gradient | None:
    """Return what the gradients of one epoch were; ``None`` if they were not measured."""
    if epoch.n_nonfinite_gradients > 0:
        return Gradient.EXPLODING
    if epoch.dead_unit_share is None and epoch.gradient_ratio is None:
        return None
    if epoch.dead_unit_share is not None and epoch.dead_unit_share >= thresholds.dead_unit_share:
        return Gradient.DYING
    if epoch.gradient_ratio is not None and epoch.gradient_ratio < thresholds.vanishing_ratio:
        return Gradient.VANISHING
    if epoch.gradient_ratio is not None and epoch.gradient_ratio > thresholds.exploding_ratio:
        return Gradient.EXPLODING
    return Gradient.NORMAL


def diagnose_weight(epochs: Sequence[EpochFeedback]) -> Weight | None:
    """Exploding when any weight was not finite in any epoch; ``None`` if no epoch was measured."""
    if any(epoch.n_nonfinite_weights > 0 for epoch in epochs):
        return Weight.EXPLODING
    is_measured = any(epoch.weight_norm is not None for epoch in epochs)
    return Weight.NORMAL if is_measured else None


def _has_lost_its_loss(epoch: EpochFeedback, thresholds: Thresholds) -> bool:
    return epoch.n_nonfinite_losses > 0 or (epoch.val_loss is not None and epoch.val_loss >= thresholds.exploding_loss)


def _train_and_val(epoch: EpochFeedback, mode: OptimizeMode) -> tuple[float | None, float | None]:
    if mode == "maximize":
        return epoch.train_score, epoch.val_score
    return _first(epoch.train_score, epoch.train_loss), _first(epoch.val_score, epoch.val_loss)


def _rises(previous: float | None, current: float | None, mode: OptimizeMode, thresholds: Thresholds) -> bool:
    """Whether a score improved enough."""
    if previous is None or current is None:
        return False
    if mode == "maximize":
        gain, needed = current - previous, thresholds.min_improvement
    else:
        gain, needed = previous - current, thresholds.min_relative_improvement * abs(previous)
    return gain > 0 and gain >= needed * (1 - ROUNDING)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _flat_values(parameters: Json, outer: tuple[str, ...]) -> list[tuple[tuple[str, ...], Json]]:
    """(path, value) of every parameter, outer ones first; a nested choice stands for its option's name."""
    if not isinstance(parameters, dict):
        return []
    flat: list[tuple[tuple[str, ...], Json]] = []
    for name, value in parameters.items():
        path = (*outer, str(name))
        if isinstance(value, dict):
            flat += [(path, value["_name"])] if "_name" in value else []
            flat += _flat_values(value, path)
        elif name != "_name":
            flat.append((path, value))
    return flat


def _parse_part(part: type[PartT], word: str, text: str) -> PartT | None:
    if word == UNKNOWN:
        return None
    known = [member.value for member in part]
    if word not in known:
        raise ValueError(
            f"condition {text!r}: unknown {part.__name__.lower()} {word!r}, expected one of {', '.join(known)}"
        )
    return part(word)
