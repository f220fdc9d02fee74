"""The parameters of a search space: choices and ranges, and the premises under which they exist."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import Final, TypeAlias

from numpy.random import Generator

from nni_dream.feedback import Json
from nni_dream.search.json_values import canonical_json, is_finite_number, short_text
from nni_dream.search.roles import Role, object_name

__all__ = [
    "NORMAL_TYPES",
    "RELATIVE_TOLERANCE",
    "UNIFORM_TYPES",
    "Choice",
    "Option",
    "Parameter",
    "Path",
    "Premise",
    "Range",
]

Path: TypeAlias = tuple[str, ...]

UNIFORM_TYPES: Final = ("uniform", "quniform", "loguniform", "qloguniform")
NORMAL_TYPES: Final = ("normal", "qnormal", "lognormal", "qlognormal")
RELATIVE_TOLERANCE: Final = 1e-9  # for values that went through JSON and a logarithm
QUANTILES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)  # where actions probe a range that has no value yet; ours
DIGITS_OF_A_STEP: Final = 12  # a multiple of 0.1 keeps 13 decimal places


@dataclass(frozen=True)
class Premise:
    """A parameter exists only while the parameter at ``path`` has ``value``."""

    path: Path
    value: Json
    role: Role | None = field(default=None, compare=False)  # of the parameter at ``path``

    def __str__(self) -> str:
        return f"{self.path[-1]}={short_text(self.value)}"


@dataclass(frozen=True)
class Option:
    """One option of a choice; ``branch`` holds the parameters that exist only under it (nested choice)."""

    value: Json
    branch: tuple[Parameter, ...] | None = None


class _Placed:
    """What choices and ranges have in common: where they stand in the space, and what they are called."""

    path: Path
    premises: tuple[Premise, ...]
    role: Role | None

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def object(self) -> str:
        """The name under which priority tables know it."""
        return object_name(self.name, self.role)

    @cached_property
    def place(self) -> str:
        """Equal for the same place in a search space: path and premises."""
        premises = [[list(premise.path), premise.value] for premise in self.premises]
        return canonical_json([list(self.path), premises])


@dataclass(frozen=True)
class Choice(_Placed):
    """One of finitely many JSON values."""

    path: Path
    premises: tuple[Premise, ...]
    options: tuple[Option, ...]
    role: Role | None = None

    @property
    def is_nested(self) -> bool:
        """Whether its options hold parameters."""
        return self.options[0].branch is not None

    @cached_property
    def _options(self) -> dict[str, Option]:
        return {canonical_json(option.value): option for option in self.options}

    def action_values(self) -> list[Json]:
        """The values that actions may set."""
        return [option.value for option in self.options]

    def contains(self, value: Json) -> bool:
        return canonical_json(value) in self._options

    def sample(self, rng: Generator) -> Json:
        return self.options[int(rng.integers(len(self.options)))].value

    def branch(self, value: Json) -> tuple[Parameter, ...] | None:
        """The parameters under this value; ``None`` when the value stands for itself."""
        return self._options[canonical_json(value)].branch if self.is_nested else None

    def describe(self) -> str:
        return f"one of {', '.join(short_text(option.value) for option in self.options)}"


@dataclass(frozen=True)
class Range(_Placed):
    """A number from one of NNI's ranges or distributions.

    ``low`` and ``high`` are the bounds of a uniform type and of ``randint`` (``high`` excluded there); ``mu`` and
    ``sigma`` belong to a normal type, in the logarithm for ``lognormal`` and ``qlognormal``, where ``low`` is 0.
    """

    path: Path
    premises: tuple[Premise, ...]
    type: str
    low: float = -math.inf
    high: float = math.inf
    mu: float = 0.0
    sigma: float = 1.0
    q: float | None = None
    role: Role | None = None

    def action_values(self) -> list[Json]:
        """The values that actions may set where there is no value yet: five quantiles, rounded as the type asks."""
        values = {canonical_json(value): value for value in map(self._quantile, QUANTILES)}
        return list(values.values())

    def contains(self, value: Json) -> bool:
        if not is_finite_number(value):
            return False
        if self.type == "randint":
            return value == int(value) and self.low <= value < self.high
        low = self.low - RELATIVE_TOLERANCE * abs(self.low)  # a logarithmic range may lie far below 1
        high = self.high + RELATIVE_TOLERANCE * abs(self.high)
        if not low <= value <= high:
            return False
        if self.q is None:
            return True
        slack = RELATIVE_TOLERANCE * self.q
        return math.isclose(value, self.nearest(value), rel_tol=RELATIVE_TOLERANCE, abs_tol=slack)

    def sample(self, rng: Generator) -> Json:
        return self._quantile(float(rng.uniform()))

    def branch(self, value: Json) -> None:
        return None

    def describe(self) -> str:
        if self.type in NORMAL_TYPES:
            return f"a finite number{' >= 0' if self.low == 0 else ''} ({self.type})"
        if self.type == "randint":
            return f"an integer with {self.low:g} <= value < {self.high:g}"
        step = "" if self.q is None else f", a multiple of {self.q:g}"
        return f"a number from {self.low:g} to {self.high:g}{step}"

    def n_values(self) -> int | None:
        """How many values there are; ``None`` if they are continuous or have no end."""
        if self.low == self.high:
            return 1
        if self.type == "randint":
            return int(self.high) - int(self.low)
        if self.q is None or math.isinf(self.high):
            return None
        return round(self.high / self.q) - round(self.low / self.q) + 1

    def enumerate(self) -> Iterator[Json]:
        """Yield every value of a range that has a count, rising."""
        first = int(self.low) if self.type == "randint" else 0 if self.q is None else round(self.low / self.q)
        for index in range(first, first + (self.n_values() or 0)):
            yield index if self.type == "randint" else self._multiple(index)

    def nearest(self, value: float) -> float | int:
        """Return the value of the range that is nearest to a number: in the bounds and, as NNI does it, a step."""
        value = self._clip(value)
        if self.type == "randint":
            return min(round(value), int(self.high) - 1)
        return value if self.q is None else self._multiple(round(value / self.q))

    def _multiple(self, index: int) -> float:
        """A multiple of q in the bounds, 0.3 and not 0.30000000000000004, so that equal values are the same."""
        q = self.q or 0.0
        value = index * q
        if isinstance(value, float) and q > 0:
            value = round(value, DIGITS_OF_A_STEP - math.floor(math.log10(q)))
        return self._clip(value)

    def _clip(self, value: float) -> float:
        return min(max(value, self.low), self.high)

    def _quantile(self, share: float) -> float | int:
        if self.type == "randint":
            return int(self.low) + min(int(share * (self.high - self.low)), int(self.high - self.low) - 1)
        if self.type in NORMAL_TYPES:
            value = NormalDist(self.mu, self.sigma).inv_cdf(min(max(share, 1e-12), 1 - 1e-12))
            return self.nearest(math.exp(value) if "log" in self.type else value)
        if "log" in self.type:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return self.nearest(value)


Parameter: TypeAlias = Choice | Range
