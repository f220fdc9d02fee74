"""NNI's format of a search space, checked all the way down.

NNI's own helpers are not used here: they take ``1`` and ``true`` for the same value, do not look inside nested
choices, and name neither parameter nor rule in their errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from nni_dream.feedback import Json
from nni_dream.search.json_values import canonical_json, is_finite_number, short_text
from nni_dream.search.parameters import NORMAL_TYPES, UNIFORM_TYPES, Choice, Option, Parameter, Path, Premise, Range
from nni_dream.search.roles import Role, role_of, stated_role

__all__ = ["BRANCH_KEY", "SearchSpaceError", "did_you_mean", "parse_parameters"]

BRANCH_KEY: Final = "_name"  # NNI: marks an option of a nested choice
TYPES: Final = ("choice", "randint", *UNIFORM_TYPES, *NORMAL_TYPES)
MAX_DEPTH: Final = 100  # of nested choices; Python's recursion ends at some 190
N_SIGMAS: Final = 8  # a normal type is never drawn farther from mu; what can be drawn must be a finite number


class SearchSpaceError(ValueError):
    """A search space or a configuration breaks a rule; the message names the parameter, its value and the rule."""


@dataclass(frozen=True)
class _Place:
    """Where in the definition the parser is."""

    path: Path
    premises: tuple[Premise, ...]
    roles: Mapping[str, str]  # name or dotted path -> role, as the user states it

    def __str__(self) -> str:
        return f"parameter {'.'.join(self.path)!r}"

    def inside(self, name: str) -> _Place:
        return _Place((*self.path, name), self.premises, self.roles)

    def under(self, value: Json, role: Role | None) -> _Place:
        return _Place(self.path, (*self.premises, Premise(self.path, value, role)), self.roles)

    def role(self, values: Sequence[Json]) -> Role | None:
        try:
            return stated_role(self.roles, self.path) or role_of(self.path[-1], values)
        except ValueError as error:
            raise SearchSpaceError(str(error)) from None


def parse_parameters(definition: Mapping[str, Json], roles: Mapping[str, str]) -> tuple[Parameter, ...]:
    """Return the parameters of a search space in NNI's format.

    Args:
        roles: What the user states of parameters, by name or dotted path; the others' roles are inferred.

    Raises:
        SearchSpaceError: If it is not a search space that NNI 3.0 defines, or a stated role does not exist.
    """
    try:
        return _parse_parameters(definition, _Place((), (), roles))
    except RecursionError:
        raise SearchSpaceError("search space holds values that are nested too deeply to be read") from None


def _parse_parameters(definition: Mapping[str, Json], place: _Place) -> tuple[Parameter, ...]:
    if len(place.premises) > MAX_DEPTH:
        raise SearchSpaceError(f"{place} is nested {len(place.premises)} choices deep, expected at most {MAX_DEPTH}")
    return tuple(_parse_parameter(spec, place.inside(name)) for name, spec in definition.items() if name != BRANCH_KEY)


def _parse_parameter(spec: Json, place: _Place) -> Parameter:
    if not isinstance(spec, Mapping) or "_type" not in spec or "_value" not in spec:
        raise SearchSpaceError(f"{place} is {short_text(spec)}, expected an object with '_type' and '_value'")
    type_, values = spec["_type"], spec["_value"]
    if type_ not in TYPES:
        near = did_you_mean(type_, TYPES)
        raise SearchSpaceError(f"{place} has unknown _type {type_!r}, expected one of {', '.join(TYPES)}{near}")
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise SearchSpaceError(f"{place} has _value {short_text(values)}, expected a list")
    return _parse_choice(values, place) if type_ == "choice" else _parse_range(type_, values, place)


def _parse_choice(values: Sequence[Json], place: _Place) -> Choice:
    if not values:
        raise SearchSpaceError(f"{place} is a choice without any option, expected at least one")
    _check_strict_json(values, str(place))
    is_nested = all(isinstance(value, Mapping) and BRANCH_KEY in value for value in values)
    role = place.role([value[BRANCH_KEY] for value in values] if is_nested else values)
    options: dict[str, Option] = {}
    for value in values:
        option = _parse_branch(value, place, role) if is_nested else Option(value)
        key = canonical_json(option.value)
        if is_nested and key in options:
            raise SearchSpaceError(f"{place} has two options named {short_text(option.value)}, expected distinct names")
        options.setdefault(key, option)  # a plain value that is listed again is the same option
    return Choice(place.path, place.premises, tuple(options.values()), role)


def _parse_branch(definition: Mapping[str, Json], place: _Place, role: Role | None) -> Option:
    value = definition[BRANCH_KEY]
    return Option(value, _parse_parameters(definition, place.under(value, role)))


def _parse_range(type_: str, values: Sequence[Json], place: _Place) -> Range:
    where = f"{place} ({type_})"
    n_expected = 3 if type_.startswith("q") else 2
    if len(values) != n_expected:
        raise SearchSpaceError(f"{where} has {len(values)} values {short_text(list(values))}, expected {n_expected}")
    for value in values:
        if not is_finite_number(value):
            raise SearchSpaceError(f"{where} has value {value!r}, expected finite numbers")
    first, second = values[0], values[1]
    q = values[2] if n_expected == 3 else None
    if q is not None and q <= 0:
        raise SearchSpaceError(f"{where} has step {q!r}, expected a step > 0")
    if type_ in NORMAL_TYPES:
        if second <= 0:
            raise SearchSpaceError(f"{where} has sigma {second!r}, expected sigma > 0")
        low, high = _drawn_bounds(type_, first, second, where)
        _check_steps(low, high, q, where)
        kept = 0.0 if "log" in type_ else -math.inf
        role = place.role([low, high])
        return Range(place.path, place.premises, type_, low=kept, mu=first, sigma=second, q=q, role=role)
    _check_bounds(type_, first, second, where)
    _check_steps(first, second, q, where)
    # A continuous range has fractions between its bounds: it is no number of layers.
    third = 1 if type_ == "randint" else 0.5 if q is None else min(q, second)
    return Range(
        place.path, place.premises, type_, low=first, high=second, q=q, role=place.role([first, second, third])
    )


def _drawn_bounds(type_: str, mu: float, sigma: float, where: str) -> tuple[float, float]:
    low, high = mu - N_SIGMAS * sigma, mu + N_SIGMAS * sigma
    try:
        bounds = (math.exp(low), math.exp(high)) if "log" in type_ else (low, high)
    except OverflowError:
        bounds = (0.0, math.inf)
    if not all(map(math.isfinite, bounds)):
        raise SearchSpaceError(f"{where} has mu {mu!r} and sigma {sigma!r}, which reach beyond the largest number")
    return bounds


def _check_steps(low: float, high: float, q: float | None, where: str) -> None:
    if not math.isfinite(float(high) - float(low)):
        raise SearchSpaceError(f"{where} has bounds [{low!r}, {high!r}], whose difference is beyond the largest number")
    if q is not None and not all(math.isfinite(float(bound) / float(q)) for bound in (low, high)):
        raise SearchSpaceError(f"{where} has step {q!r}, which is too small to count from {low!r} to {high!r}")


def did_you_mean(word: Json, known: Sequence[str]) -> str:
    """Return the end of a message that asks for the nearest known word; empty where none is near."""
    near = get_close_matches(word, known, n=1) if isinstance(word, str) else []
    return f"; did you mean {near[0]!r}?" if near else ""


def _check_bounds(type_: str, low: float, high: float, where: str) -> None:
    if low > high:
        raise SearchSpaceError(f"{where} has bounds [{low!r}, {high!r}] in reverse, expected low <= high")
    if type_ == "randint" and (low != int(low) or high != int(high) or low == high):
        raise SearchSpaceError(f"{where} has bounds [{low!r}, {high!r}], expected integers with low < high")
    if "log" in type_ and low <= 0:
        raise SearchSpaceError(f"{where} has lower bound {low!r}, expected low > 0 for a logarithm")


def _check_strict_json(values: Sequence[Json], where: str) -> None:
    try:
        json.dumps(values, allow_nan=False)
    except ValueError as error:
        raise SearchSpaceError(f"{where} has NaN or infinity among its options, which JSON does not know") from error
