"""Steps on a numeric range: the values around the present one that an action may set.

A learning rate, a weight decay and whatever has a logarithmic type are multiplied and divided; other bounded ranges
move by shares of the range, normal types by shares of sigma.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from nni_dream.feedback import Json
from nni_dream.search.json_values import canonical_json
from nni_dream.search.parameters import NORMAL_TYPES, RELATIVE_TOLERANCE, Range
from nni_dream.search.roles import Role

__all__ = ["steps"]

FACTORS: Final = (10.0, math.sqrt(10.0))  # of a rate; ours, after the tables' own decades
SHARES: Final = (0.3, 0.1, 0.03)  # of the range, or of the logarithm's range where that is smaller than the factors
SIGMA_SHARES: Final = (1.0, 0.3)  # of sigma; ours
SHARES_FROM_ZERO: Final = (0.1, 0.01, 0.001)  # of the upper bound: no factor leads away from 0
RATES: Final = (Role.LEARNING_RATE, Role.END_LEARNING_RATE, Role.WEIGHT_DECAY)


def steps(parameter: Range, value: float) -> list[Json]:
    """Return the values one step away from the present one, each in the range and each once, larger steps first.

    Args:
        value: The present value, which lies in the range.  It is not among the steps.
    """
    found: dict[str, Json] = {}
    for target in _targets(parameter, value):
        step = _step_to(parameter, value, target)
        found.setdefault(canonical_json(step), step)
    found.pop(canonical_json(parameter.nearest(value)), None)
    return list(found.values())


def _targets(parameter: Range, value: float) -> Iterator[float]:
    """Where the steps lead, before bounds and rounding."""
    if "log" in parameter.type or (parameter.role in RATES and parameter.low >= 0):
        if value > 0:
            yield from (value * power for factor in _factors(parameter) for power in (factor, 1 / factor))
            return
        if math.isfinite(parameter.high):
            yield from (parameter.high * share for share in SHARES_FROM_ZERO)
            return
    if parameter.type in NORMAL_TYPES:
        lengths = [parameter.sigma * share for share in SIGMA_SHARES]
    else:
        lengths = [(parameter.high - parameter.low) * share for share in SHARES]
    yield from (value + sign * length for length in lengths for sign in (1, -1))


def _factors(parameter: Range) -> tuple[float, ...]:
    """By what a rate is multiplied and divided; smaller where the range spans less than the usual factors."""
    if parameter.type in NORMAL_TYPES:
        return tuple(math.exp(parameter.sigma * share) for share in SIGMA_SHARES)
    if parameter.low <= 0:
        return FACTORS
    span = math.log(parameter.high) - math.log(parameter.low)
    return FACTORS if span > 2 * math.log(FACTORS[0]) else tuple(math.exp(span * share) for share in SHARES)


def _step_to(parameter: Range, value: float, target: float) -> float | int:
    """The value of the range at the target; where that is still the present value, the next one on that side."""
    reached = parameter.nearest(target)
    smallest = 1 if parameter.type == "randint" else parameter.q
    if smallest is not None and math.isclose(reached, value, rel_tol=RELATIVE_TOLERANCE):
        return parameter.nearest(value + math.copysign(smallest, target - value))
    return reached
