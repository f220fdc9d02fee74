"""Expand a search space with the 36 actions that DREAM adds (section 4.1, Table 1).

The objects and their premises are found by role, in whatever spelling the space has.  A plain option, such as the text
``"sgd"``, becomes an object that holds parameters only where that is asked: trial code that reads a text would get an
object.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from nni_dream.feedback import Json
from nni_dream.search.actions import meant_values
from nni_dream.search.additions import ADDITIONS, Addition, Group
from nni_dream.search.json_values import canonical_json, same_value
from nni_dream.search.parameters import Choice, Parameter, Premise
from nni_dream.search.roles import role_played
from nni_dream.search.space import BRANCH_KEY, SearchSpace

__all__ = [
    "Added",
    "Expansion",
    "LeftAlone",
    "NestedChoice",
    "PlainOptions",
    "expand",
]


class PlainOptions(Enum):
    """What becomes of a plain option under which a parameter should stand."""

    KEPT = "kept"  # and the parameter is left out
    NESTED = "nested"  # it becomes an object that holds the parameter
    FLAT = "flat"  # it stays, and the parameter stands beside the choice, whatever option is chosen


@dataclass(frozen=True)
class Added:
    """A parameter that was added."""

    addition: Addition
    parameter: Parameter  # as it stands in the expanded space
    premise: Premise  # with which alone it means something
    is_conditional: bool  # whether the space says so; if not, the parameter is there without its premise too


@dataclass(frozen=True)
class NestedChoice:
    """A choice of the given space whose plain options became objects: the trial gets ``name`` inside an object."""

    path: tuple[str, ...]
    option: Json  # its first one, as it was
    name: str  # of that option now


@dataclass(frozen=True)
class LeftAlone:
    """An addition that the space does not get in some place."""

    addition: Addition
    reason: str
    is_for_plain_options: bool = False  # it could be added, were they not kept


@dataclass(frozen=True)
class Expansion:
    """An expanded space, and how it came about."""

    definition: dict[str, Json]
    added: tuple[Added, ...]
    nested: tuple[NestedChoice, ...]
    left_alone: tuple[LeftAlone, ...]

    @property
    def n_actions(self) -> int:
        """How many actions were added; the same object and value in several places is one, as in the paper."""
        return sum(len(addition.values) for addition in {added.addition for added in self.added})


@dataclass
class _Draft:
    """An expansion in the making."""

    definition: dict[str, Json]
    roles: Mapping[str, str]
    plain_options: PlainOptions
    added: list[tuple[Addition, str, Premise, bool]] = field(default_factory=list)  # with the parameter's place
    nested: dict[str, NestedChoice] = field(default_factory=dict)  # place -> choice
    left_alone: list[LeftAlone] = field(default_factory=list)

    def leave(self, addition: Addition, reason: str, *, is_for_plain_options: bool = False) -> None:
        self.left_alone.append(LeftAlone(addition, reason, is_for_plain_options))


def expand(
    definition: Mapping[str, Json],
    roles: Mapping[str, str] | None = None,
    *,
    groups: Collection[Group] = tuple(Group),
    plain_options: PlainOptions = PlainOptions.KEPT,
) -> Expansion:
    """Return the space with what it lacks of Table 1; the definition is not modified.

    Nothing is taken away, and no value is added to a parameter that is there: the trial may not know it.  Expanding the
    result in the same way adds nothing.

    Args:
        definition: A search space as NNI's JSON has it.
        roles: What the user states of parameters, as for :class:`SearchSpace`.

    Raises:
        SearchSpaceError: If the definition is no search space, or the expanded one would be nested too deeply.
    """
    SearchSpace(definition, roles)
    draft = _Draft(json.loads(json.dumps(definition)), roles or {}, plain_options)
    for addition in ADDITIONS:
        if addition.group in groups:
            _add(addition, draft)
    parameters = {parameter.place: parameter for parameter in SearchSpace(draft.definition, roles).walk()}
    added = tuple(
        Added(addition, parameters[place], premise, is_conditional)
        for addition, place, premise, is_conditional in draft.added
    )
    left_alone = tuple(dict.fromkeys(draft.left_alone))
    return Expansion(draft.definition, added, tuple(draft.nested.values()), left_alone)


def _add(addition: Addition, draft: _Draft) -> None:
    """Give the draft an addition wherever its premise can hold."""
    space = SearchSpace(draft.definition, draft.roles)
    present = [parameter for parameter in space.walk() if _plays(parameter, addition)]
    premise_object, _ = addition.premise
    holders = space.playing(premise_object)
    if not holders:
        draft.leave(addition, _there_already(addition, present, ()) or _no_holder(premise_object))
    for holder in holders:
        options = _lacking_options(holder, addition, present, draft)
        if isinstance(holder, Choice) and options:
            _add_under(holder, options, addition, draft)


def _lacking_options(holder: Parameter, addition: Addition, present: Sequence[Parameter], draft: _Draft) -> list[Json]:
    """The options that make the premise true and lack the addition; why the others do not count is noted."""
    _, premise_value = addition.premise
    options = list(meant_values(holder, premise_value))
    if not options:
        without = f"{_named(holder)} has no option that means {_word(premise_value)}"
        draft.leave(addition, _there_already(addition, present, holder.premises) or without)
    lacking = []
    for option in options:
        reason = _there_already(addition, present, (*holder.premises, Premise(holder.path, option)))
        if reason is None:
            lacking.append(option)
        else:
            draft.leave(addition, reason)
    return lacking


def _plays(parameter: Parameter, addition: Addition) -> bool:
    is_in_role = addition.role is not None and parameter.role is addition.role
    return is_in_role or parameter.object == addition.object


def _add_under(holder: Choice, options: Sequence[Json], addition: Addition, draft: _Draft) -> None:
    """Put the parameter under some options of a choice, or beside a plain one."""
    siblings = _siblings(draft.definition, holder.premises)
    if holder.is_nested:
        _put_inside(holder, options, siblings[holder.name], addition, draft)
    elif draft.plain_options is PlainOptions.FLAT:
        siblings[addition.object] = _spec(addition)
        place = _place((*holder.path[:-1], addition.object), holder.premises)
        premises = (Premise(holder.path, option, holder.role) for option in options)
        draft.added.extend((addition, place, premise, False) for premise in premises)
    elif _can_be_nested(holder, addition, draft):
        siblings[holder.name] = _nested(siblings[holder.name])
        _put_inside(holder, [_option_name(option) for option in options], siblings[holder.name], addition, draft)


def _can_be_nested(holder: Choice, addition: Addition, draft: _Draft) -> bool:
    """Whether the options of a plain choice may become objects; if not, the addition is left alone."""
    is_new = any(place == holder.place for _, place, _, _ in draft.added)
    if draft.plain_options is PlainOptions.KEPT and not is_new:
        draft.leave(addition, f"the options of {_named(holder)} are plain values", is_for_plain_options=True)
        return False
    values = holder.action_values()
    if not (all(isinstance(value, str) for value in values) or all(isinstance(value, bool) for value in values)):
        draft.leave(addition, f"{_named(holder)} has options other than texts, which cannot name an object")
        return False
    if not is_new:
        draft.nested[holder.place] = NestedChoice(holder.path, values[0], _option_name(values[0]))
    return True


def _put_inside(holder: Choice, options: Sequence[Json], spec: Json, addition: Addition, draft: _Draft) -> None:
    for branch in _branches(spec, options):
        branch[addition.object] = _spec(addition)
        premise = Premise(holder.path, branch[BRANCH_KEY], holder.role)
        place = _place((*holder.path, addition.object), (*holder.premises, premise))
        draft.added.append((addition, place, premise, True))


def _branches(spec: Json, options: Sequence[Json]) -> Iterator[dict[str, Json]]:
    wanted = {canonical_json(option) for option in options}
    yield from (branch for branch in spec["_value"] if canonical_json(branch[BRANCH_KEY]) in wanted)


def _siblings(definition: dict[str, Json], premises: Sequence[Premise]) -> dict[str, Json]:
    """The object of the definition in which the parameters with these premises stand."""
    for premise in premises:
        (definition,) = _branches(definition[premise.path[-1]], [premise.value])
    return definition


def _nested(spec: Mapping[str, Json]) -> dict[str, Json]:
    """A plain choice with objects for options; one that is there twice counts once, as everywhere."""
    names = dict.fromkeys(map(_option_name, spec["_value"]))
    return {**spec, "_value": [{BRANCH_KEY: name} for name in names]}


def _option_name(option: Json) -> str:
    """What names an option that becomes an object: its text, ``"true"`` for ``true``."""
    return option if isinstance(option, str) else json.dumps(option)


def _spec(addition: Addition) -> dict[str, Json]:
    return {"_type": "choice", "_value": list(addition.values)}


def _place(path: tuple[str, ...], premises: tuple[Premise, ...]) -> str:
    return Choice(path, premises, ()).place


def _no_holder(object_: str) -> str:
    role = role_played(object_)
    return f"no parameter is called {object_!r}" if role is None else f"no parameter has the role {role.value}"


def _there_already(addition: Addition, present: Sequence[Parameter], premises: Sequence[Premise]) -> str | None:
    """What plays the addition's part already where the premises hold, and which of the values it does without."""
    values = {premise.path: premise.value for premise in premises}
    parameter = next((parameter for parameter in present if _can_exist(parameter, values)), None)
    if parameter is None:
        return None
    lacking = [value for value in addition.values if not list(meant_values(parameter, value))]
    without = f", without {', '.join(map(_word, lacking))}" if lacking else ""
    return f"{_named(parameter)} is there already{without}"


def _can_exist(parameter: Parameter, values: Mapping[tuple[str, ...], Json]) -> bool:
    """Whether the parameter can exist beside these values; path -> value."""
    return all(same_value(values.get(premise.path, premise.value), premise.value) for premise in parameter.premises)


def _named(parameter: Parameter) -> str:
    return f"parameter {'.'.join(parameter.path)!r}"


def _word(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)
