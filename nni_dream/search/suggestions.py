"""What is suggested, and why: the trial that is repaired, the action on it, and what spoke for it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from nni_dream.feedback import Json
from nni_dream.search.conditions import Condition
from nni_dream.search.evidence import Subject
from nni_dream.search.space import Configuration

__all__ = ["Candidate", "Origin", "SkippedAction", "Suggestion"]


@dataclass(frozen=True)
class Candidate:
    """A trial that actions may start from: the best so far, or one of the three best; with its condition."""

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

    @classmethod
    def of_action(
        cls, candidate: Candidate, text: str, key: str, subject: Subject | None, before: Subject | None
    ) -> Origin:
        """An action on a candidate, or a pair of them, which has no subject: why it was chosen is still to be said."""
        return cls(
            kind="action",
            candidate=candidate.number,
            condition=str(candidate.condition),
            action=text,
            key=key,
            object=None if subject is None else subject.object,
            value=None if subject is None else json.loads(subject.value),
            before=None if before is None else json.loads(before.value),
        )

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
