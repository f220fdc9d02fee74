"""The search space in NNI's format: parsed, checked all the way down, sampled, completed.

A configuration is what NNI hands to a trial:
``{"learning_rate": 0.1, "optimizer": {"_name": "sgd", "momentum": 0.9}}``.
The options of a nested choice carry the premises of the parameters inside them: ``momentum`` exists only while
``optimizer`` is ``sgd``.

NNI's own helpers are not used here: they take ``1`` and ``true`` for the same value, do not look inside nested
choices, and name neither parameter nor rule in their errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from statistics import NormalDist
from typing import TypeAlias, TypeGuard

from numpy.random import Generator

from nni_dream.feedback import Json
from nni_dream.search.roles import Role, object_name, role_of, role_played, stated_role

__all__ = [
    "BRANCH_KEY",
    "Choice",
    "Configuration",
    "Option",
    "Parameter",
    "Premise",
    "Range",
    "SearchSpace",
    "SearchSpaceError",
    "canonical_json",
    "same_value",
]

Configuration: TypeAlias = dict[str, Json]
Path: TypeAlias = tuple[str, ...]

BRANCH_KEY = "_name"  # NNI: marks an option of a nested choice
UNIFORM_TYPES = ("uniform", "quniform", "loguniform", "qloguniform")
NORMAL_TYPES = ("normal", "qnormal", "lognormal", "qlognormal")
TYPES = ("choice", "randint", *UNIFORM_TYPES, *NORMAL_TYPES)
RELATIVE_TOLERANCE = 1e-9  # for values that went through JSON and a logarithm
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)  # where actions probe a range that has no value yet; ours
MAX_DEPTH = 100  # of nested choices; Python's recursion ends at some 190
DIGITS_OF_A_STEP = 12  # a multiple of 0.1 keeps 13 decimal places
_ENCODER = json.JSONEncoder(sort_keys=True)
N_SIGMAS = 8  # a normal type is never drawn farther from mu; what can be drawn must be a finite number


class SearchSpaceError(ValueError):
    """A search space or a configuration breaks a rule; the message names the parameter, its value and the rule."""


def canonical_json(value: Json) -> str:
    """Return a string that is equal for equal JSON values: 1 and 1.0 are, 1 and true are not."""
    return _ENCODER.encode(_whole_floats_as_integers(value))


def same_value(one: Json, other: Json) -> bool:
    """Whether two JSON values are the same; ``True == 1`` in Python, but not here."""
    return canonical_json(one) == canonical_json(other)


@dataclass(frozen=True)
class Premise:
    """A parameter exists only while the parameter at ``path`` has ``value``."""

    path: Path
    value: Json
    role: Role | None = field(default=None, compare=False)  # of the parameter at ``path``

    def __str__(self) -> str:
        return f"{self.path[-1]}={_short(self.value)}"


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

    def candidates(self) -> list[Json]:
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
        return f"one of {', '.join(_short(option.value) for option in self.options)}"


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

    def candidates(self) -> list[Json]:
        """The values that actions may set where there is no value yet: five quantiles, rounded as the type asks."""
        values = {canonical_json(value): value for value in map(self._quantile, QUANTILES)}
        return list(values.values())

    def contains(self, value: Json) -> bool:
        if not _is_finite(value):
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


class SearchSpace:
    """A parsed search space.

    Args:
        roles: What the user states of parameters, by name or dotted path; the others' roles are inferred.

    Raises:
        SearchSpaceError: When built from JSON that is not a search space NNI 3.0 defines, or with unknown roles.
    """

    def __init__(self, definition: Json, roles: Mapping[str, str] | None = None) -> None:
        if not isinstance(definition, Mapping):
            raise SearchSpaceError(f"search space is a {type(definition).__name__}, expected an object of parameters")
        try:
            self.parameters = _parse_parameters(definition, _Place((), (), roles or {}))
        except RecursionError:
            raise SearchSpaceError("search space holds values that are nested too deeply to be read") from None
        if not self.parameters:
            raise SearchSpaceError("search space is empty, expected at least one parameter")

    def check_roles(self, roles: Mapping[str, str]) -> None:
        """Check that every stated role belongs to a parameter.

        Raises:
            SearchSpaceError: If a name or dotted path is no parameter's.
        """
        known = {key: None for parameter in self.walk() for key in (parameter.name, ".".join(parameter.path))}
        unknown = next((key for key in roles if key not in known), None)
        if unknown is not None:
            near = _did_you_mean(unknown, list(known))
            raise SearchSpaceError(f"roles: no parameter is called {unknown!r} (there are {', '.join(known)}){near}")

    def playing(self, object_: str) -> tuple[Parameter, ...]:
        """Return the parameters that an object of a priority table stands for: those of that name, else of its role."""
        if object_ not in self._playing:
            named = tuple(parameter for parameter in self.walk() if parameter.object == object_)
            role = role_played(object_)
            in_role = tuple(parameter for parameter in self.walk() if role is not None and parameter.role is role)
            self._playing[object_] = named or in_role
        return self._playing[object_]

    @cached_property
    def _playing(self) -> dict[str, tuple[Parameter, ...]]:
        return {}

    def walk(self) -> Iterator[Parameter]:
        """Yield every parameter, those inside nested choices too, parents first."""
        yield from _walk(self.parameters)

    def sample(self, rng: Generator) -> Configuration:
        """Return a random configuration, each active parameter drawn from its own distribution."""
        return self.build(lambda parameter: parameter.sample(rng))

    def build(self, choose: Callable[[Parameter], Json]) -> Configuration:
        """Return the configuration in which every active parameter has the value that ``choose`` gives it."""
        return _build(self.parameters, choose)

    def active_values(self, configuration: Configuration) -> list[tuple[Parameter, Json]]:
        """Return the active parameters of a configuration and their values; what the space does not know is left out.

        The configuration may belong to another version of this space.
        """
        return list(_active_values(self.parameters, configuration))

    def check(self, configuration: Json) -> None:
        """Check that a configuration lies in this space.

        Raises:
            SearchSpaceError: If a parameter is missing, unknown or outside its values.
        """
        _check(self.parameters, configuration, ())

    def n_configurations(self) -> int | None:
        """How many configurations there are; ``None`` if a parameter is continuous."""
        return _count(self.parameters)

    def enumerate(self) -> Iterator[Configuration]:
        """Yield every configuration of a space without continuous parameters, in a fixed order."""
        yield from _enumerate(self.parameters)


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


def _parse_parameters(definition: Mapping[str, Json], place: _Place) -> tuple[Parameter, ...]:
    if len(place.premises) > MAX_DEPTH:
        raise SearchSpaceError(f"{place} is nested {len(place.premises)} choices deep, expected at most {MAX_DEPTH}")
    return tuple(_parse_parameter(spec, place.inside(name)) for name, spec in definition.items() if name != BRANCH_KEY)


def _parse_parameter(spec: Json, place: _Place) -> Parameter:
    if not isinstance(spec, Mapping) or "_type" not in spec or "_value" not in spec:
        raise SearchSpaceError(f"{place} is {_short(spec)}, expected an object with '_type' and '_value'")
    type_, values = spec["_type"], spec["_value"]
    if type_ not in TYPES:
        near = _did_you_mean(type_, TYPES)
        raise SearchSpaceError(f"{place} has unknown _type {type_!r}, expected one of {', '.join(TYPES)}{near}")
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise SearchSpaceError(f"{place} has _value {_short(values)}, expected a list")
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
            raise SearchSpaceError(f"{place} has two options named {_short(option.value)}, expected distinct names")
        options.setdefault(key, option)  # a repeated plain candidate is the same option
    return Choice(place.path, place.premises, tuple(options.values()), role)


def _parse_branch(definition: Mapping[str, Json], place: _Place, role: Role | None) -> Option:
    value = definition[BRANCH_KEY]
    return Option(value, _parse_parameters(definition, place.under(value, role)))


def _parse_range(type_: str, values: Sequence[Json], place: _Place) -> Range:
    where = f"{place} ({type_})"
    n_expected = 3 if type_.startswith("q") else 2
    if len(values) != n_expected:
        raise SearchSpaceError(f"{where} has {len(values)} values {_short(list(values))}, expected {n_expected}")
    for value in values:
        if not _is_finite(value):
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


def _is_finite(value: Json) -> TypeGuard[float]:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def _did_you_mean(word: Json, known: Sequence[str]) -> str:
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


def _walk(parameters: tuple[Parameter, ...]) -> Iterator[Parameter]:
    for parameter in parameters:
        yield parameter
        if isinstance(parameter, Choice):
            for option in parameter.options:
                yield from _walk(option.branch or ())


def _build(parameters: tuple[Parameter, ...], choose: Callable[[Parameter], Json]) -> Configuration:
    configuration: Configuration = {}
    for parameter in parameters:
        value = choose(parameter)
        branch = parameter.branch(value)
        configuration[parameter.name] = value if branch is None else {BRANCH_KEY: value, **_build(branch, choose)}
    return configuration


def _active_values(parameters: tuple[Parameter, ...], configuration: Json) -> Iterator[tuple[Parameter, Json]]:
    for parameter in parameters:
        if not isinstance(configuration, Mapping) or parameter.name not in configuration:
            continue
        entry = configuration[parameter.name]
        value = _own_value(parameter, entry)
        if not parameter.contains(value):
            continue
        yield parameter, value
        branch = parameter.branch(value)
        if branch is not None:
            yield from _active_values(branch, entry)


def _own_value(parameter: Parameter, entry: Json) -> Json:
    """The value of a parameter from its entry in a configuration: an option's name for a nested choice."""
    is_nested = isinstance(parameter, Choice) and parameter.is_nested
    return entry[BRANCH_KEY] if is_nested and isinstance(entry, Mapping) and BRANCH_KEY in entry else entry


def _check(parameters: tuple[Parameter, ...], configuration: Json, path: Path) -> None:
    if not isinstance(configuration, Mapping):
        where = ".".join(path) or "configuration"
        raise SearchSpaceError(f"{where} is {_short(configuration)}, expected an object")
    known = {parameter.name for parameter in parameters}
    unknown = [name for name in configuration if name not in known and not (path and name == BRANCH_KEY)]
    if unknown:
        where = ".".join((*path, unknown[0]))
        raise SearchSpaceError(f"parameter {where!r} is not in the search space ({', '.join(sorted(known)) or 'none'})")
    for parameter in parameters:
        where = ".".join(parameter.path)
        if parameter.name not in configuration:
            raise SearchSpaceError(f"parameter {where!r} is missing, expected {parameter.describe()}")
        entry = configuration[parameter.name]
        value = _own_value(parameter, entry)
        if not parameter.contains(value):
            raise SearchSpaceError(f"parameter {where!r} is {_short(value)}, expected {parameter.describe()}")
        branch = parameter.branch(value)
        if branch is not None:
            _check(branch, entry, parameter.path)


def _count(parameters: tuple[Parameter, ...]) -> int | None:
    total = 1
    for parameter in parameters:
        n_values = _count_values(parameter)
        if n_values is None:
            return None
        total *= n_values
    return total


def _count_values(parameter: Parameter) -> int | None:
    if isinstance(parameter, Range):
        return parameter.n_values()
    counts = [_count(option.branch or ()) for option in parameter.options]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _enumerate(parameters: tuple[Parameter, ...]) -> Iterator[Configuration]:
    """Every configuration, the last parameter changing first; nothing is held, however many values there are."""
    if not parameters:
        yield {}
        return
    if len(parameters) == 1:
        yield from ({parameters[0].name: entry} for entry in _entries(parameters[0]))
        return
    middle = len(parameters) // 2  # halves: the depth of the recursion is the logarithm of their number
    for left in _enumerate(parameters[:middle]):
        yield from ({**left, **right} for right in _enumerate(parameters[middle:]))


def _entries(parameter: Parameter) -> Iterator[Json]:
    """Every entry that a parameter may have in a configuration."""
    if isinstance(parameter, Range):
        yield from parameter.enumerate()
        return
    for option in parameter.options:
        if option.branch is None:
            yield option.value
        else:
            yield from ({BRANCH_KEY: option.value, **inner} for inner in _enumerate(option.branch))


def _whole_floats_as_integers(value: Json) -> Json:
    if isinstance(value, str):  # most are
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _whole_floats_as_integers(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole_floats_as_integers(inner) for inner in value]
    return value


def _short(value: Json, n_characters: int = 80) -> str:
    text = json.dumps(value) if isinstance(value, (str, bool, int, float, type(None))) else repr(value)
    return text if len(text) <= n_characters else f"{text[: n_characters - 3]}..."
