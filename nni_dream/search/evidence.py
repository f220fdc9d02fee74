"""Gains that were seen, and what follows from them for one action.

What is alike stands in a chain of ever smaller sets of gains around an action: all gains, those of the same object, of
the same value, and of these the ones in the same conditions A, A-C, A-C-G, A-C-G-W.

Along the chain the mean of each set is the larger set's mean plus an unknown step, normally distributed; what lies in a
set and in no smaller one is normal evidence of that set's mean.  So every gain counts once, a set without gains takes
over what the larger one says, and one with many stands on its own.  One bad result lowers the same action most, then
its object's other values, then the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

from nni_dream.feedback import Json
from nni_dream.search.conditions import Condition
from nni_dream.search.priorities import action_key

__all__ = ["Evidence", "Key", "Subject", "Sum", "believe"]

# Standard deviations of the steps along the chain, in units of the root mean square of gains; ours.
STEP: Final = 1.0  # of all gains, of an object's, of a value's
STEP_CONDITION: Final = 0.15  # for each part of the condition
NOISE: Final = 1.0  # variance of one gain, in squared units
STEPS: Final = (STEP, STEP, STEP, *(STEP_CONDITION,) * 4)
VARIANCES_FROM: Final = tuple(sum(step**2 for step in STEPS[place:]) for place in range(len(STEPS)))
N_UNLISTED: Final = 3.0  # actions of other objects, without use, for each action that a ranking lists
ROUNDING: Final = 1e-9  # of a sum from which others were taken away

Key: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """What an estimate is about: an action in a condition."""

    condition: Condition
    object: str
    value: str  # canonical JSON

    @classmethod
    def of(cls, condition: Condition, object_: str, value: Json) -> Subject:
        return cls(condition, *action_key(object_, value))

    @cached_property
    def chain(self) -> tuple[Key, ...]:
        """The sets that this action's gains lie in, the largest first."""
        parts = tuple("*" if part is None else part.value for part in self.condition.parts)
        action = (self.object, self.value)
        return ((), action[:1], action, *(action + parts[:i] for i in range(1, 5)))


class Sum:
    """Count, sum and sum of squares of the gains in one set, in units of their root mean square."""

    __slots__ = ("n", "squares", "total")

    def __init__(self) -> None:
        self.n = 0.0  # weighted
        self.total = 0.0
        self.squares = 0.0

    @property
    def squared_distances(self) -> float:
        """Sum of the squared distances to their mean."""
        return max(0.0, self.squares - self.total**2 / self.n) if self.n > 0 else 0.0


class Evidence:
    """The sums over every set that has gains."""

    def __init__(self) -> None:
        self._sums: dict[Key, Sum] = {}

    def of(self, key: Key) -> Sum:
        return self._sums.get(key, EMPTY)

    def add_unlisted(self, object_: str) -> None:
        """Add gains of 0 of actions that nobody names: of another value of the object, and of other objects."""
        self._sums.setdefault((object_,), Sum()).n += 1.0
        self._sums.setdefault((), Sum()).n += 1.0 + N_UNLISTED

    def add(self, subject: Subject, n: float, gain: float, square: float) -> None:
        """Add ``n`` gains of this mean and mean square."""
        for key in subject.chain:
            own = self._sums.setdefault(key, Sum())
            own.n += n
            own.total += n * gain
            own.squares += n * square


EMPTY: Final = Sum()


def believe(subject: Subject, evidence: Callable[[Key], tuple[float, float]]) -> tuple[float, float]:
    """Return mean and variance of the belief about a subject.

    Args:
        evidence: set -> how many gains are in it, and their sum.
    """
    mean, variance = 0.0, 0.0
    n, total = evidence(subject.chain[0])
    for place, step in enumerate(STEPS):
        if n <= ROUNDING:  # where a set is empty, so are the smaller ones
            return mean, variance + VARIANCES_FROM[place]
        variance += step**2
        # What a smaller set has counts there.
        n_inner, total_inner = evidence(subject.chain[place + 1]) if place + 1 < len(STEPS) else (0.0, 0.0)
        if n - n_inner > ROUNDING:
            trust = variance / (variance + NOISE / (n - n_inner))
            mean += trust * ((total - total_inner) / (n - n_inner) - mean)
            variance *= 1 - trust
        n, total = n_inner, total_inner
    return mean, variance
