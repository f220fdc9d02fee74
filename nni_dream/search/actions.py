"""Actions: one parameter gets one value, and the configuration around it stays sound (DREAM section 4.1, Table 1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

from nni_dream.feedback import Json
from nni_dream.search.json_values import canonical_json, same_value
from nni_dream.search.parameters import Choice, Parameter, Premise, Range
from nni_dream.search.roles import Role, canonical_value
from nni_dream.search.space import BRANCH_KEY, Configuration, SearchSpace
from nni_dream.search.steps import steps

__all__ = [
    "Action",
    "PresentValues",
    "action_text",
    "all_actions",
    "apply_action",
    "apply_partial",
    "meant_values",
    "table_actions",
]


@dataclass(frozen=True)
class Action:
    """Set ``parameter``, a place in the search space, to ``value``."""

    parameter: Parameter
    value: Json

    @property
    def object(self) -> str:
        return self.parameter.object

    @cached_property
    def key(self) -> str:
        """Equal for equal actions: the place in the space, its premises and the value."""
        return f"{self.parameter.place} {canonical_json(self.value)}"

    def __str__(self) -> str:
        return action_text(self.object, self.value)


class PresentValues:
    """What the active parameters of a configuration are set to."""

    def __init__(self, configuration: Configuration, space: SearchSpace) -> None:
        values = space.active_values(configuration)
        self._by_place = {parameter.place: value for parameter, value in values}
        self._by_path = {parameter.path: value for parameter, value in values}

    def __contains__(self, parameter: Parameter) -> bool:
        return parameter.place in self._by_place

    def __getitem__(self, parameter: Parameter) -> Json:
        return self._by_place[parameter.place]

    def unmet_architecture(self, action: Action) -> Premise | None:
        """Return the premise that only a change of the architecture would make true, or ``None`` if there is none.

        Other premises are no obstacle: :func:`apply_action` makes them true.
        """
        for premise in action.parameter.premises:
            if premise.role is not Role.ARCHITECTURE:
                continue
            if premise.path not in self._by_path or not same_value(self._by_path[premise.path], premise.value):
                return premise
        return None

    def why_pointless(self, action: Action) -> str | None:
        """Return why an action means nothing here, or ``None`` if it means something."""
        premise = self.unmet_architecture(action)
        if premise is not None:
            return f"needs {premise}"
        is_so = action.parameter in self and same_value(self[action.parameter], action.value)
        return "is so already" if is_so else None


def action_text(object_: str, value: Json) -> str:
    """Write an action as the paper does: ``learning_rate=0.01``; six digits say enough."""
    shown = float(f"{value:.6g}") if isinstance(value, float) else value
    return f"{object_}={shown if isinstance(shown, str) else json.dumps(shown)}"


def all_actions(space: SearchSpace, candidate: Configuration) -> list[Action]:
    """Return every action on a candidate: each option of a choice, and the steps on each range.

    A range that has no value in the candidate offers five values that are spread over it.
    """
    present = PresentValues(candidate, space)
    return [Action(parameter, value) for parameter in space.walk() for value in _values(parameter, present)]


def _values(parameter: Parameter, present: PresentValues) -> list[Json]:
    if isinstance(parameter, Range) and parameter in present:
        return steps(parameter, present[parameter])
    return parameter.action_values()


def table_actions(object_: str, value: Json, space: SearchSpace) -> list[Action]:
    """Return the actions that a priority table's ``object=value`` means in a space; none if it has no place for it."""
    return [Action(parameter, own) for parameter in space.playing(object_) for own in meant_values(parameter, value)]


def meant_values(parameter: Parameter, value: Json) -> Iterator[Json]:
    """Yield a parameter's own values that a priority table means by ``value``.

    That is the value itself; else, of a choice, each option that the table would write so: the text ``"true"`` for
    ``true``, ``AdamW`` for the optimizer ``adam_weight_decay``, ``resnet18`` and ``resnet50`` for ``resnet``.
    """
    if parameter.contains(value):
        yield value
    elif isinstance(parameter, Choice):
        word = canonical_value(parameter.role, value)
        if word is not None:
            yield from (own for own in parameter.action_values() if canonical_value(parameter.role, own) == word)


def apply_action(
    action: Action, candidate: Configuration, space: SearchSpace, fill: Callable[[Parameter], Json]
) -> Configuration:
    """Return the candidate after the action; the candidate itself is not modified.

    The action's premises are made true.  What is no longer active is dropped.  A newly active parameter takes the
    value that the candidate has under the same name, else what ``fill`` gives.
    """
    forced = {premise.path: premise.value for premise in action.parameter.premises}
    forced[action.parameter.path] = action.value
    active = space.active_values(candidate)
    by_path = {parameter.path: value for parameter, value in active}
    by_name = {parameter.name: value for parameter, value in reversed(active)}

    def choose(parameter: Parameter) -> Json:
        if parameter.path in forced:
            return forced[parameter.path]
        if parameter.path in by_path and parameter.contains(by_path[parameter.path]):
            return by_path[parameter.path]
        if parameter.name in by_name and parameter.contains(by_name[parameter.name]):
            return by_name[parameter.name]
        return fill(parameter)

    return space.build(choose)


def apply_partial(given: Configuration, space: SearchSpace, fill: Callable[[Parameter], Json]) -> Configuration:
    """Return a configuration of the space with everything that ``given`` states, the rest as ``fill`` gives it.

    Raises:
        SearchSpaceError: If something in ``given`` is not in the space.
    """
    active = {parameter.path: value for parameter, value in space.active_values(given)}

    def choose(parameter: Parameter) -> Json:
        return active[parameter.path] if parameter.path in active else fill(parameter)

    configuration = space.build(choose)
    space.check(_overlay(configuration, given))
    return configuration


def _overlay(configuration: Configuration, given: Json) -> Json:
    """``given`` laid over the configuration, so that what the space does not know shows up in a check.

    Only options of a nested choice are merged: any other value is given as a whole.
    """
    if not isinstance(given, dict):
        return given
    overlay = dict(configuration)
    for name, entry in given.items():
        own = configuration.get(name)
        overlay[name] = _overlay(own, entry) if _is_branch(own) and _is_branch(entry) else entry
    return overlay


def _is_branch(entry: Json) -> TypeGuard[Configuration]:
    return isinstance(entry, dict) and BRANCH_KEY in entry
