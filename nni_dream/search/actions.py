"""Actions: one parameter gets one value, and the configuration around it stays sound (DREAM section 4.1, Table 1)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

from nni_dream.feedback import Json
from nni_dream.search.conditions import ARCHITECTURE_NAMES
from nni_dream.search.space import (
    BRANCH_KEY,
    Configuration,
    Parameter,
    Premise,
    SearchSpace,
    canonical_json,
    same_value,
)

__all__ = ["Action", "action_text", "all_actions", "apply_action", "apply_partial", "object_name", "unmet_premise"]

ALIASES = {"lr": "learning_rate", "learningrate": "learning_rate", "optim": "optimizer", "act": "activation"}


@dataclass(frozen=True)
class Action:
    """Set ``parameter``, a place in the search space, to ``value``."""

    parameter: Parameter
    value: Json

    @property
    def object(self) -> str:
        return object_name(self.parameter)

    @property
    def key(self) -> str:
        """Equal for equal actions: the place in the space, its premises and the value."""
        premises = [[list(premise.path), premise.value] for premise in self.parameter.premises]
        return canonical_json([list(self.parameter.path), premises, self.value])

    def __str__(self) -> str:
        return action_text(self.object, self.value)


def action_text(object_: str, value: Json) -> str:
    """Write an action as the paper does: ``learning_rate=0.01``."""
    return f"{object_}={value if isinstance(value, str) else json.dumps(value)}"


def object_name(parameter: Parameter) -> str:
    """Return the name under which priority tables know a parameter: ``filters`` for ``filters_0_1``."""
    name = re.sub(r"(_\d+)+$", "", parameter.name.rsplit("/", maxsplit=1)[-1].lower())
    return ALIASES.get(name, name)


def all_actions(space: SearchSpace) -> list[Action]:
    """Return every action of a search space; a continuous parameter offers five values of its range."""
    return [Action(parameter, value) for parameter in space.walk() for value in parameter.candidates()]


def unmet_premise(action: Action, candidate: Configuration, space: SearchSpace) -> Premise | None:
    """Return the premise that only a change of the architecture would make true, or ``None`` if there is none.

    Other premises are no obstacle: :func:`apply_action` makes them true.
    """
    values = {parameter.path: value for parameter, value in space.active_values(candidate)}
    for premise in action.parameter.premises:
        is_met = premise.path in values and same_value(values[premise.path], premise.value)
        if not is_met and premise.path[-1].lower() in ARCHITECTURE_NAMES:
            return premise
    return None


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
