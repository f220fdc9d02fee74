"""When a trial is doomed: the rules by which the assessor stops it, and the reason that each stop carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from statistics import median
from typing import Final

from nni_dream.config import AssessorSettings
from nni_dream.feedback import EpochFeedback, OptimizeMode, TrialFeedback, best_score
from nni_dream.search.conditions import (
    Convergence,
    Gradient,
    diagnose_convergence,
    diagnose_epoch_gradient,
    has_improved,
)

__all__ = ["CANCELLED", "StopReason", "score_at_epoch", "stop_reason"]

CANCELLED: Final = "cancelled"

GRADIENT_WORDS: Final = {
    Gradient.VANISHING: "vanishing gradients",
    Gradient.EXPLODING: "exploding gradients",
    Gradient.DYING: "dying gradients",
}


@dataclass(frozen=True)
class StopReason:
    """Why a trial is stopped.

    ``rule`` is ``non-finite``, ``vanishing gradients``, ``exploding gradients``, ``dying gradients``,
    ``slow convergence``, or ``cancelled`` where it was not the assessor; ``numbers`` holds what was seen and the
    thresholds it broke.
    """

    rule: str
    text: str
    epoch: int  # counted from 0
    numbers: dict[str, float | int] = field(default_factory=dict)


def stop_reason(
    feedback: TrialFeedback, best_curves: Sequence[Sequence[EpochFeedback]], settings: AssessorSettings
) -> StopReason | None:
    """Return why the trial should stop now, or ``None`` if it should go on.

    Args:
        feedback: The trial's epochs so far.
        best_curves: The epochs of the best finished trials; fewer than ``n_reference_trials`` stop nobody.
    """
    return (
        _stop_non_finite(feedback.epochs)
        or _stop_bad_gradients(feedback.epochs, settings)
        or _stop_slow(feedback, best_curves, settings)
    )


def score_at_epoch(epochs: Sequence[EpochFeedback], epoch: int, mode: OptimizeMode) -> float | None:
    """Return the best validation score of a trial up to and including an epoch."""
    return best_score([known for known in epochs if known.epoch <= epoch], mode)


def _stop_non_finite(epochs: Sequence[EpochFeedback]) -> StopReason | None:
    """The last epoch is broken; named is the one where it began, as NNI may hand on several epochs at once."""
    broken = list(takewhile(lambda epoch: epoch.n_nonfinite_weights or epoch.n_nonfinite_losses, reversed(epochs)))
    if not broken:
        return None
    first = broken[-1]
    what = "weights" if first.n_nonfinite_weights else "loss"
    return StopReason(
        rule="non-finite",
        text=f"non-finite {what} in epoch {first.epoch}",
        epoch=first.epoch,
        numbers={"n_nonfinite_weights": first.n_nonfinite_weights, "n_nonfinite_losses": first.n_nonfinite_losses},
    )


def _stop_bad_gradients(epochs: Sequence[EpochFeedback], settings: AssessorSettings) -> StopReason | None:
    """The same gradient problem in each of the last ``patience`` epochs, and no improvement since before them."""
    recent = epochs[-settings.patience :]
    found = {diagnose_epoch_gradient(epoch, settings.thresholds) for epoch in recent}
    if len(recent) < settings.patience or len(found) != 1:
        return None
    (gradient,) = found
    if gradient is None or gradient is Gradient.NORMAL:
        return None
    if has_improved(epochs[-settings.patience - 1 :], settings.optimize_mode, settings.thresholds):
        return None
    last, thresholds = epochs[-1], settings.thresholds
    seen: dict[str, float | int | None] = {
        "patience": settings.patience,
        "gradient_ratio": last.gradient_ratio,
        "dead_unit_share": last.dead_unit_share,
        "n_nonfinite_gradients": last.n_nonfinite_gradients,
        "vanishing_ratio": thresholds.vanishing_ratio,
        "exploding_ratio": thresholds.exploding_ratio,
        "dead_unit_share_threshold": thresholds.dead_unit_share,
    }
    words = GRADIENT_WORDS[gradient]
    return StopReason(
        rule=words,
        text=f"{words} for {settings.patience} epochs without improvement",
        epoch=last.epoch,
        numbers={name: number for name, number in seen.items() if number is not None},
    )


def _stop_slow(
    feedback: TrialFeedback, best_curves: Sequence[Sequence[EpochFeedback]], settings: AssessorSettings
) -> StopReason | None:
    """Slow convergence past its share of the epochs, and worse than the best trials were at the same epoch."""
    epochs, mode = feedback.epochs, settings.optimize_mode
    planned = feedback.planned_epochs or settings.planned_epochs
    if planned is None or len(epochs) / planned <= settings.slow_share:
        return None
    if diagnose_convergence(epochs, mode, settings.thresholds) is not Convergence.SLOW:
        return None
    last = epochs[-1].epoch
    score = best_score(epochs, mode)
    references = [score_at_epoch(curve, last, mode) for curve in best_curves]
    known = [reference for reference in references if reference is not None]
    if score is None or len(known) < settings.n_reference_trials:
        return None
    reference = median(known)
    if score >= reference if mode == "maximize" else score <= reference:
        return None
    threshold = "min_improvement" if mode == "maximize" else "min_relative_improvement"
    return StopReason(
        rule="slow convergence",
        text=f"slow convergence: {score:.4g} after {len(epochs)} of {planned} epochs, "
        f"the best {len(known)} trials had {reference:.4g}",
        epoch=last,
        numbers={
            "score": score,
            "reference_score": reference,
            "n_reference_trials": len(known),
            "n_epochs": len(epochs),
            "planned_epochs": planned,
            "slow_share": settings.slow_share,
            threshold: getattr(settings.thresholds, threshold),
        },
    )
