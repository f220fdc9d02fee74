"""How `static`, `beam` and `random` choose the next configuration, and why (DREAM Algorithm 1, lines 8 and 9).

The candidate is the best trial so far, or one of the best with `beam`.  Its condition ranks the actions; the first one
that means something here and leads to a new configuration is applied.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from numpy.random import Generator

from nni_dream.config import Strategy
from nni_dream.feedback import Json
from nni_dream.search.actions import (
    Action,
    action_text,
    all_actions,
    apply_action,
    meant_values,
    table_actions,
    unmet_architecture,
)
from nni_dream.search.conditions import Condition
from nni_dream.search.gains import Subject
from nni_dream.search.priorities import PriorityTable, RankedAction
from nni_dream.search.space import Configuration, Parameter, SearchSpace, canonical_json, same_value
from nni_dream.search.table_words import TableWords

__all__ = ["Candidate", "Origin", "SkippedAction", "Suggestion", "present_value", "suggest_repair", "suggest_unseen"]

N_RANDOM_DRAWS = 200  # before a finite space is searched for what is left


@dataclass(frozen=True)
class Candidate:
    """The best trial so far, with its own feedback's condition."""

    number: int  # of the trial, in the order of suggestion
    configuration: Configuration
    condition: Condition
    score: float


@dataclass(frozen=True)
class SkippedAction:
    """An action of higher rank that was not taken."""

    action: str
    why: str


@dataclass(frozen=True)
class Origin:
    """Why a configuration was suggested.

    ``kind`` is ``initial`` (given by the user), ``random`` (no candidate, or nothing left to do with it), ``drawn`` (by
    what priorities know of each value), ``foreign`` (not suggested here, its result was) or ``action``; the other
    fields belong to an action.
    """

    kind: str
    note: str = ""
    candidate: int | None = None  # number of the candidate trial
    condition: str | None = None  # of the candidate
    action: str | None = None
    key: str | None = None  # of the action: its place in the space and its value
    object: str | None = None  # of the action, as priority tables name it; None of a pair of actions
    value: Json = None  # of the action, as estimates know it: a table's word, "true" for true
    before: Json = None  # the value that the action changed, in the same form; None if there was none
    rank: int | None = None  # in the priority order of the condition; None when the table does not know the action
    priority: float | None = None
    level: str | None = None  # the condition whose rows gave the rank; coarser after backing off
    estimate: float | None = None  # expected gain, in units of the score, where priorities learn
    interval: tuple[float, float] | None = None  # the expected gain lies in it with a probability of 95 %
    n: int | None = None  # gains of this action in this condition that the estimate knows; on a range, trials
    skipped: tuple[SkippedAction, ...] = ()

    def __str__(self) -> str:
        if self.kind != "action":
            return f"{self.kind}: {self.note}" if self.note else self.kind
        how = "unranked" if self.rank is None else f"rank {self.rank}, priority {self.priority:.4g}, from {self.level}"
        if self.estimate is not None and self.interval is not None:
            low, high = self.interval
            how = f"expected gain {self.estimate:.4g}, 95% in {low:.4g} to {high:.4g}, n = {self.n}"
        skipped = f", {len(self.skipped)} skipped before it" if self.skipped else ""
        return f"candidate {self.candidate} is {self.condition}: {self.action} ({how}{skipped})"


@dataclass(frozen=True)
class Suggestion:
    """A configuration to try and the reason for it."""

    configuration: Configuration
    origin: Origin


def suggest_repair(
    candidate: Candidate,
    space: SearchSpace,
    table: PriorityTable,
    *,
    words: TableWords,
    strategy: Strategy,
    applied: Collection[str],
    known: Mapping[str, str],
    rng: Generator,
) -> Suggestion | None:
    """Return the candidate after the best action that is not skipped, or ``None`` if all are.

    Args:
        words: What the table calls the space's parameters and values.
        applied: Keys of the actions that this candidate was already given.
        known: identity (canonical JSON) -> "tried" or "running", of every configuration suggested so far.
    """
    ranked = table.ranked_actions(candidate.condition)
    fill = _table_or_random(ranked, space, rng)
    skipped: list[SkippedAction] = []
    values = space.active_values(candidate.configuration)
    present = {parameter.place: value for parameter, value in values}
    active = {parameter.path: value for parameter, value in values}
    for action, entry in _in_order(ranked, candidate, space, strategy, rng):
        if action is None:
            skipped.append(SkippedAction(_label(entry), "not in the search space"))
            continue
        if action.key in applied:
            why: str | None = f"already applied to trial {candidate.number}"
        else:
            why = _why_skip(action, present, active)
        if why is None:
            configuration = apply_action(action, candidate.configuration, space, fill)
            state = known.get(canonical_json(configuration))
            if state is None:
                return Suggestion(configuration, _origin(action, entry, candidate, present, words, skipped))
            why = f"its result is {state}"
        skipped.append(SkippedAction(str(action), why))
    return None


def suggest_unseen(space: SearchSpace, known: Collection[str], rng: Generator, note: str) -> Suggestion | None:
    """Return a random configuration that was not suggested yet, or ``None`` if there is none left.

    A space with a continuous parameter counts as used up when 200 random draws in a row are all known.
    """
    for _ in range(N_RANDOM_DRAWS):
        configuration = space.sample(rng)
        if canonical_json(configuration) not in known:
            return Suggestion(configuration, Origin("random", note))
    if space.n_configurations() is None:
        return None
    for configuration in space.enumerate():
        if canonical_json(configuration) not in known:
            return Suggestion(configuration, Origin("random", note))
    return None


def _in_order(
    ranked: Sequence[RankedAction], candidate: Candidate, space: SearchSpace, strategy: Strategy, rng: Generator
) -> Iterator[tuple[Action | None, RankedAction | None]]:
    """Every action with its entry in the table: the table's order first, then the rest in random order.

    An entry of the table that the space has no place for comes with no action.
    """
    seen: set[str] = set()
    if strategy != "random":
        for entry in ranked:
            actions = table_actions(entry.object, entry.value, space)
            if not actions:
                yield None, entry
            for action in actions:
                seen.add(action.key)
                yield action, entry
    unranked = [action for action in all_actions(space, candidate.configuration) if action.key not in seen]
    for index in rng.permutation(len(unranked)):
        yield unranked[index], None


def _why_skip(action: Action, present: Mapping[str, Json], active: Mapping[tuple[str, ...], Json]) -> str | None:
    """Why the action means nothing here.  ``present`` is place -> value, ``active`` path -> value of the candidate."""
    premise = unmet_architecture(action, active)
    if premise is not None:
        return f"needs {premise}"
    place = action.parameter.place
    return "is so already" if place in present and same_value(present[place], action.value) else None


def _table_or_random(ranked: Sequence[RankedAction], space: SearchSpace, rng: Generator) -> Callable[[Parameter], Json]:
    """The value of a newly active parameter: the table's best for the condition, else random."""

    def fill(parameter: Parameter) -> Json:
        own = [entry for entry in ranked if any(parameter is other for other in space.playing(entry.object))]
        values = [value for entry in own for value in meant_values(parameter, entry.value)]
        return values[0] if values else parameter.sample(rng)

    return fill


def present_value(
    action: Action, present: Mapping[str, Json], condition: Condition, words: TableWords
) -> Subject | None:
    """Return what estimates know the value as that an action changes, or ``None`` where there is none.

    Args:
        present: place -> value of the candidate's active parameters.
    """
    place = action.parameter.place
    return words.subject(action.parameter, present[place], condition) if place in present else None


def _origin(
    action: Action,
    entry: RankedAction | None,
    candidate: Candidate,
    present: Mapping[str, Json],
    words: TableWords,
    skipped: list[SkippedAction],
) -> Origin:
    subject = words.subject(action.parameter, action.value, candidate.condition)
    now = present_value(action, present, candidate.condition, words)
    return Origin(
        kind="action",
        candidate=candidate.number,
        condition=str(candidate.condition),
        action=str(action),
        key=action.key,
        object=subject.object,
        value=json.loads(subject.value),
        before=None if now is None else json.loads(now.value),
        rank=None if entry is None else entry.rank,
        priority=None if entry is None else entry.priority,
        level=None if entry is None else str(entry.level),
        skipped=tuple(skipped),
    )


def _label(entry: RankedAction | None) -> str:
    return "" if entry is None else action_text(entry.object, entry.value)
