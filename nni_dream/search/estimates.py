"""A normal belief about what an action gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

__all__ = ["Estimate"]

Z_95: Final = 1.96  # standard deviations: a normal belief lies within them with a probability of 95 %


@dataclass(frozen=True)
class Estimate:
    """A normal belief about an action's gain, in units of the score; larger is better in either mode."""

    mean: float
    deviation: float  # of the mean: what more trials would reduce
    scatter: float  # of one gain around the mean: what they would not
    n: int  # gains of this action in this condition, of table and search; trials, where only the surface was asked

    @property
    def interval(self) -> tuple[float, float]:
        """Where the mean lies with a probability of 95 %."""
        return self.mean - Z_95 * self.deviation, self.mean + Z_95 * self.deviation

    @classmethod
    def of_all(cls, estimates: Sequence[Estimate]) -> Estimate:
        """Return what several actions gain together, if their effects add up."""
        return cls(
            mean=sum(each.mean for each in estimates),
            deviation=math.hypot(*(each.deviation for each in estimates)),
            scatter=math.hypot(*(each.scatter for each in estimates)),
            n=min(each.n for each in estimates),
        )

    def if_relevant(self, probability: float) -> Estimate:
        """Return what the action gains if it does something only with this probability, and else nothing."""
        variance = probability * self.deviation**2 + probability * (1 - probability) * self.mean**2
        return replace(self, mean=probability * self.mean, deviation=math.sqrt(variance))

    def averaged_with(self, other: Estimate) -> Estimate:
        """Return what a value (this) and its position on a range (the other) say together, weighed by their precision.

        Values alone hold a search where it is: a step down that cost much speaks for the present value, and so against
        the step up.
        """
        total = math.hypot(self.deviation, other.deviation)
        share = (other.deviation / total) ** 2  # of what the value says
        mean = share * self.mean + (1 - share) * other.mean
        return Estimate(mean, self.deviation * (other.deviation / total), other.scatter, self.n)
