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
    PresentValues,
    action_text,
    all_actions,
    apply_action,
    meant_values,
    table_actions,
)
from nni_dream.search.json_values import canonical_json
from nni_dream.search.parameters import Parameter
from nni_dream.search.priorities import PriorityTable, RankedAction
from nni_dream.search.space import SearchSpace
from nni_dream.search.suggestions import Candidate, Origin, SkippedAction, Suggestion
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
    present = PresentValues(candidate.configuration, space)
    for action, entry in _in_order(() if strategy == "random" else ranked, candidate, space, rng):
        if action is None:
            assert entry is not None  # only a table knows of actions that the space has no place for
            skipped.append(SkippedAction(action_text(entry.object, entry.value), "not in the search space"))
            continue
        if action.key in applied:
            why: str | None = f"already applied to trial {candidate.number}"
        else:
            why = present.why_pointless(action)
        if why is None:
            configuration = apply_action(action, candidate.configuration, space, fill)
            state = known.get(canonical_json(configuration))
            if state is None:
                before = words.subject_before(action, present, candidate.condition)
                subject = words.subject(action.parameter, action.value, candidate.condition)
                origin = Origin.of_action(candidate, str(action), action.key, subject, before)
                return Suggestion(configuration, replace(_ranked(origin, entry), skipped=tuple(skipped)))
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
    ranked: Sequence[RankedAction], candidate: Candidate, space: SearchSpace, rng: Generator
) -> Iterator[tuple[Action | None, RankedAction | None]]:
    """Every action with its entry in the table: the ranked ones first, then the rest in random order.

    An entry of the table that the space has no place for comes with no action.
    """
    seen: set[str] = set()
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


def _table_or_random(ranked: Sequence[RankedAction], space: SearchSpace, rng: Generator) -> Callable[[Parameter], Json]:
    """The value of a newly active parameter: the table's best for the condition, else random."""

    def fill(parameter: Parameter) -> Json:
        own = [entry for entry in ranked if any(parameter is other for other in space.playing(entry.object))]
        values = [value for entry in own for value in meant_values(parameter, entry.value)]
        return values[0] if values else parameter.sample(rng)

    return fill


def _ranked(origin: Origin, entry: RankedAction | None) -> Origin:
    if entry is None:
        return origin
    return replace(origin, rank=entry.rank, priority=entry.priority, level=str(entry.level))
