"""The search space: checked, walked, sampled, counted.

A configuration is what NNI hands to a trial:
``{"learning_rate": 0.1, "optimizer": {"_name": "sgd", "momentum": 0.9}}``.
The options of a nested choice carry the premises of the parameters inside them: ``momentum`` exists only while
``optimizer`` is ``sgd``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TypeAlias

from numpy.random import Generator

from nni_dream.feedback import Json
from nni_dream.search.json_values import short_text
from nni_dream.search.parameters import Choice, Parameter, Path, Range
from nni_dream.search.roles import role_played
from nni_dream.search.space_parsing import BRANCH_KEY, SearchSpaceError, did_you_mean, parse_parameters

__all__ = ["BRANCH_KEY", "Configuration", "SearchSpace", "SearchSpaceError"]

Configuration: TypeAlias = dict[str, Json]


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
        self.parameters = parse_parameters(definition, roles or {})
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
            near = did_you_mean(unknown, list(known))
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

    def contains(self, configuration: Json) -> bool:
        """Whether a configuration lies in this space."""
        try:
            self.check(configuration)
        except SearchSpaceError:
            return False
        return True

    def n_configurations(self) -> int | None:
        """How many configurations there are; ``None`` if a parameter is continuous."""
        return _count(self.parameters)

    def enumerate(self) -> Iterator[Configuration]:
        """Yield every configuration of a space without continuous parameters, in a fixed order."""
        yield from _enumerate(self.parameters)


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
        raise SearchSpaceError(f"{where} is {short_text(configuration)}, expected an object")
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
            raise SearchSpaceError(f"parameter {where!r} is {short_text(value)}, expected {parameter.describe()}")
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
