"""How `static`, `beam` and `random` choose the next configuration, and why (DREAM Algorithm 1, lines 8 and 9).

The candidate is the best trial so far, or one of the best with `beam`.  Its condition ranks the actions; the first one
that means something here and leads to a new configuration is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

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
from nni_dream.search.json_values import canonical_json, same_value
from nni_dream.search.parameters import Parameter
from nni_dream.search.priorities import PriorityTable, RankedAction
from nni_dream.search.space import SearchSpace
from nni_dream.search.suggestions import Candidate, Origin, SkippedAction, Suggestion, subject_before
from nni_dream.search.table_words import TableWords

__all__ = ["suggest_repair", "suggest_unseen"]

N_RANDOM_DRAWS: Final = 200  # before a finite space is searched for what is left


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
            why = "its configuration is running" if state == "running" else "its configuration was tried"
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


def _origin(
    action: Action,
    entry: RankedAction | None,
    candidate: Candidate,
    present: Mapping[str, Json],
    words: TableWords,
    skipped: list[SkippedAction],
) -> Origin:
    subject = words.subject(action.parameter, action.value, candidate.condition)
    before = subject_before(action, present, candidate.condition, words)
    origin = Origin.of_action(candidate, str(action), action.key, subject, before)
    if entry is not None:
        origin = replace(origin, rank=entry.rank, priority=entry.priority, level=str(entry.level))
    return replace(origin, skipped=tuple(skipped))


def _label(entry: RankedAction | None) -> str:
    return "" if entry is None else action_text(entry.object, entry.value)
