"""What really was the matter with a planted run, how often the diagnosis says so, and thresholds that serve it best.

The truth about a run comes from its plant, and counts only where exact evidence bears it out (:func:`find_truth`); what
the evidence leaves open is *undecided*.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from planted_faults import N_CLASSES, PLANTS, Run

from nni_dream.config import Thresholds
from nni_dream.feedback import EpochFeedback, TrialFeedback
from nni_dream.search.conditions import (
    Condition,
    Convergence,
    Gradient,
    Weight,
    diagnose_convergence,
    diagnose_gradient,
)

__all__ = [
    "CONVERGENCE_GRID",
    "GRADIENT_GRID",
    "GROWTH_FACTOR",
    "HARMED_SHARE",
    "MIN_HEALTHY_ACCURACY",
    "SILENT_SHARE",
    "SLOW_SHARE",
    "STRICT_GROWTH_FACTOR",
    "VALUES",
    "Case",
    "Score",
    "Truth",
    "count_zero_ratios_as_dead",
    "find_truth",
    "is_for_tuning",
    "judge",
    "learned_share",
    "score",
    "tune",
]

# What the evidence must show.  None of these is a threshold of the diagnosis, or was tuned.
MIN_HEALTHY_ACCURACY: Final = 0.8  # of the healthy run at its end; a family below it tells nothing
HARMED_SHARE: Final = 0.5  # of what the healthy run learned: a fault that leaves more than this is none
SLOW_SHARE: Final = 0.2  # of what the healthy run learned: a run that learned no more was slow
GROWTH_FACTOR: Final = 10.0  # of the back-propagated error over the hidden layers, either way: no longer healthy
STRICT_GROWTH_FACTOR: Final = 100.0
SILENT_SHARE: Final = 0.5  # of the ReLU units

VALUES: Final = (
    Convergence.SLOW, Gradient.VANISHING, Gradient.EXPLODING, Gradient.DYING, Weight.EXPLODING,
)  # fmt: skip
GRADIENT_GRID: Final = {
    "vanishing_ratio": (1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1),
    "exploding_ratio": (3.0, 5.0, 8.0, 12.0, 20.0, 35.0, 70.0, 140.0, 300.0),
    "dead_unit_share": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
}
CONVERGENCE_GRID: Final = {"min_improvement": (0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1)}


@dataclass(frozen=True)
class Truth:
    """``None`` is undecided."""

    convergence: Convergence | None
    gradient: Gradient | None
    weight: Weight | None

    def __str__(self) -> str:
        return "-".join("?" if part is None else part.value for part in (self.convergence, self.gradient, self.weight))


@dataclass(frozen=True)
class Case:
    """A run and the truth about it."""

    run: Run
    truth: Truth
    learned_share: float | None  # of what its healthy run learned; None if that one is not healthy


@dataclass(frozen=True)
class Score:
    """How often one value of the condition was diagnosed, and how often rightly."""

    n_true: int
    n_diagnosed: int
    n_right: int

    @property
    def precision(self) -> float | None:
        return self.n_right / self.n_diagnosed if self.n_diagnosed else None

    @property
    def recall(self) -> float | None:
        return self.n_right / self.n_true if self.n_true else None

    @property
    def f1(self) -> float:
        return 2 * self.n_right / max(self.n_true + self.n_diagnosed, 1)


# --- the truth


def judge(runs: Sequence[Run], growth_factor: float = GROWTH_FACTOR) -> list[Case]:
    """Return each run with its truth; the first plant is every family's healthy run."""
    healthy = {run.family: run for run in runs if run.plant == PLANTS[0]}
    cases = []
    for run in runs:
        share = learned_share(run, healthy[run.family])
        cases.append(Case(run, find_truth(run, share, growth_factor), share))
    return cases


def learned_share(run: Run, healthy: Run) -> float | None:
    """Return what the run learned beyond chance as a share of what the healthy one did, both at the end.

    ``None`` if the healthy one is not.
    """
    chance = 1 / N_CLASSES
    ends = [each.evidence.moments[-1].accuracy for each in (run, healthy)]
    return None if ends[1] < MIN_HEALTHY_ACCURACY else (ends[0] - chance) / (ends[1] - chance)


def find_truth(run: Run, share: float | None, growth_factor: float = GROWTH_FACTOR) -> Truth:
    """Return what really was the matter with a run, by its plant and the evidence.

    Args:
        share: Of what the healthy run learned; ``None`` leaves open all that rests on it.
        growth_factor: By which the error must grow or shrink over the hidden layers to be no longer healthy.
    """
    moments = run.evidence.moments
    fits = all(moment.do_weights_fit for moment in moments)
    return Truth(
        convergence=true_convergence(run, share),
        gradient=run.plant.gradient if is_borne_out(run, share, growth_factor) else None,
        weight=Weight.NORMAL if fits else Weight.EXPLODING,
    )


def true_convergence(run: Run, share: float | None) -> Convergence | None:
    """Slow: the loss was lost, or little was learned.  Between slow and normal lies what nobody can say."""
    if not all(math.isfinite(moment.loss) for moment in run.evidence.moments):
        return Convergence.SLOW
    if share is None or SLOW_SHARE < share < HARMED_SHARE:
        return None
    return Convergence.SLOW if share <= SLOW_SHARE else Convergence.NORMAL


def is_borne_out(run: Run, share: float | None, growth_factor: float) -> bool:
    """Whether the evidence shows what was planted: its mark in the network and, of a fault, that it does harm."""
    if share is None:
        return False
    probes = (run.evidence.start, run.evidence.middle)
    growths = [probe.error_growth for probe in probes]
    are_silent = [probe.has_silent_layer or probe.silent_share >= SILENT_SHARE for probe in probes]
    has_lost_gradients = any(moment.n_nonfinite_steps > 0 for moment in run.evidence.moments)
    is_harmed = share <= HARMED_SHARE
    planted = run.plant.gradient
    if planted is Gradient.NORMAL:
        is_even = all(growth is not None and 1 / growth_factor < growth < growth_factor for growth in growths)
        return is_even and not any(are_silent) and not has_lost_gradients
    if planted is Gradient.DYING:
        return is_harmed and all(are_silent)
    if planted is Gradient.VANISHING:
        has_shrunk = all(growth is not None and growth <= 1 / growth_factor for growth in growths)
        return is_harmed and has_shrunk and not any(are_silent)
    has_grown = growths[0] is not None and growths[0] >= growth_factor
    return is_harmed and (has_grown or has_lost_gradients)


# --- the diagnosis against it


def is_for_tuning(run: Run) -> bool:
    return run.family.seed % 2 == 0


def part_like(value: Enum, whole: Truth | Condition) -> Enum | None:
    """Return the part of a truth or a condition that the value belongs to."""
    if isinstance(value, Convergence):
        return whole.convergence
    return whole.gradient if isinstance(value, Gradient) else whole.weight


def score(value: Enum, pairs: Iterable[tuple[Truth, Condition]]) -> Score:
    """Count one value over the pairs whose truth is decided in that part."""
    decided = [
        (part_like(value, truth) is value, part_like(value, condition) is value)
        for truth, condition in pairs
        if part_like(value, truth) is not None
    ]
    return Score(
        n_true=sum(is_true for is_true, _ in decided),
        n_diagnosed=sum(is_diagnosed for _, is_diagnosed in decided),
        n_right=sum(is_true and is_diagnosed for is_true, is_diagnosed in decided),
    )


def tune(cases: Sequence[Case]) -> Thresholds:
    """Return the thresholds that serve these runs best: mean F1 of VG, EG and DG, and F1 of SC.

    Of equally good ones, those nearest to the defaults, by the sum of the factors' logarithms.

    Raises:
        ValueError: If a run is of the half that is reported on.
    """
    foreign = [str(case.run) for case in cases if not is_for_tuning(case.run)]
    if foreign:
        raise ValueError(f"{len(foreign)} runs are for reporting, not for tuning; the first is {foreign[0]}")

    def gradient_f1(thresholds: Thresholds) -> float:
        pairs = [
            (case.truth, Condition(gradient=diagnose_gradient(case.run.epochs, thresholds)))
            for case in cases
            if case.truth.gradient is not None
        ]
        faults = [value for value in VALUES if isinstance(value, Gradient)]
        return sum(score(value, pairs).f1 for value in faults) / len(faults)

    def convergence_f1(thresholds: Thresholds) -> float:
        pairs = [
            (case.truth, Condition(convergence=diagnose_convergence(case.run.epochs, "maximize", thresholds)))
            for case in cases
        ]
        return score(Convergence.SLOW, pairs).f1

    return Thresholds.model_validate(
        {**best_of(GRADIENT_GRID, gradient_f1), **best_of(CONVERGENCE_GRID, convergence_f1)}
    )


def best_of(grid: Mapping[str, tuple[float, ...]], rate: Callable[[Thresholds], float]) -> dict[str, float]:
    """Return the point of the grid with the highest rating, of equals the nearest to the defaults."""
    default = Thresholds()

    def key(point: dict[str, float]) -> tuple[float, float]:
        distance = sum(abs(math.log(value / getattr(default, name))) for name, value in point.items())
        return round(rate(Thresholds.model_validate(point)), 12), -distance

    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return max(points, key=key)


def count_zero_ratios_as_dead(feedback: TrialFeedback) -> TrialFeedback:
    """Return the feedback as a rule would see it that takes an input side without any gradient for dead.

    Vanishing gradients are small; where units are dead too, an exact zero is the mark of a layer that no sample passes.
    """

    def mend(epoch: EpochFeedback) -> EpochFeedback:
        is_cut_off = epoch.gradient_ratio == 0 and bool(epoch.dead_unit_share)
        return epoch.model_copy(update={"dead_unit_share": 1.0}) if is_cut_off else epoch

    return feedback.model_copy(update={"epochs": tuple(map(mend, feedback.epochs))})
