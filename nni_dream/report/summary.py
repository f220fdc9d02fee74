"""What a search did, read from its journal: one row a trial, the best trial, the repairs that led to it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from nni_dream.feedback import Json
from nni_dream.journal import UNUSABLE_EVENT
from nni_dream.records import TrialStatus

__all__ = ["SearchSummary", "TrialRow", "summarise"]

ENDED: Final = ("succeeded", "stopped", "failed")


@dataclass(frozen=True)
class TrialRow:
    """One trial as the journal tells it."""

    number: int
    kind: str  # initial, random, drawn, action or foreign
    parameters: dict[str, Json]
    candidate: int | None = None  # number of the trial that was repaired
    condition: str | None = None  # of the candidate
    action: str | None = None
    job: str | None = None  # NNI's trial job id
    status: str = "running"  # running, succeeded, stopped or failed
    score: float | None = None
    best_so_far: float | None = None  # after this trial, in the order in which trials ended
    is_best: bool = False  # whether it was the best when it ended
    stop_text: str | None = None
    n_epochs: int = 0
    end_order: int | None = None  # 0 for the first trial that ended

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def step(self) -> str:
        """What led to it: the candidate's condition and the action, or where the configuration came from."""
        return f"{self.condition}: {self.action}" if self.kind == "action" else f"{self.kind} configuration"


@dataclass(frozen=True)
class SearchSummary:
    """A whole search."""

    rows: tuple[TrialRow, ...] = ()
    optimize_mode: str = "maximize"
    seed: int | None = None
    refusal: str | None = None  # why the search could not run
    finish_reason: str | None = None  # why it ended before its budget
    malformed: tuple[tuple[str, int], ...] = ()  # kind of wrong or incomplete message, how many

    @property
    def ended_rows(self) -> list[TrialRow]:
        """The trials that have ended, in that order."""
        return sorted((row for row in self.rows if row.end_order is not None), key=lambda row: row.end_order or 0)

    @property
    def ranked(self) -> list[TrialRow]:
        """The trials with a score, the best first, of equals the earliest suggested."""
        sign = -1.0 if self.optimize_mode == "maximize" else 1.0
        return sorted((row for row in self.rows if row.score is not None), key=lambda row: sign * (row.score or 0.0))

    @property
    def best(self) -> TrialRow | None:
        """The trial with the best score, the earliest suggested of equals."""
        return next(iter(self.ranked), None)

    @property
    def path(self) -> list[TrialRow]:
        """The trials from the seed to the best one, each the repair of the one before."""
        return self.path_to(self.best)

    def path_to(self, row: TrialRow | None) -> list[TrialRow]:
        """The trials from the seed to this one, each the repair of the one before."""
        by_number = {row.number: row for row in self.rows}
        path: list[TrialRow] = []
        while row is not None and row not in path:
            path.append(row)
            row = None if row.candidate is None else by_number.get(row.candidate)
        return path[::-1]

    @property
    def stopped(self) -> list[TrialRow]:
        """The trials that the assessor stopped, and those that were cancelled from outside."""
        return [row for row in self.rows if row.status == "stopped"]


@dataclass
class _Reading:
    """What the events of a journal have told so far."""

    summary: SearchSummary = field(default_factory=SearchSummary)  # without its rows
    rows: dict[int, TrialRow] = field(default_factory=dict)  # trial number -> row
    malformed: dict[str, int] = field(default_factory=dict)  # kind -> how many
    has_space: bool = False
    n_ended: int = 0  # ends so far: the next one's place in their order


def summarise(events: Iterable[dict[str, Json]]) -> SearchSummary:
    """Return the summary of a journal's events, however far the search has come.

    A resumed search is one search with what was before; a start that does not continue begins the summary anew.  An
    event that is not as this version writes it is passed over, as a resumed search does.
    """
    reading = _Reading()
    for event in events:
        _enter(reading, event)
    return replace(
        reading.summary,
        rows=_with_best_so_far(reading.rows, reading.summary.optimize_mode),
        malformed=tuple(sorted(reading.malformed.items())),
    )


def _enter(reading: _Reading, event: dict[str, Json]) -> None:
    enter = _ENTRIES.get(event["event"])
    if enter is None:
        return
    try:
        enter(reading, event)
    except UNUSABLE_EVENT:
        return


def _start(reading: _Reading, event: dict[str, Json]) -> None:
    reading.summary = SearchSummary(optimize_mode=str(event["settings"]["optimize_mode"]), seed=int(event["seed"]))
    reading.has_space = False
    if not event.get("continues"):
        reading.rows.clear()
        reading.malformed.clear()
        reading.n_ended = 0


def _search_space(reading: _Reading, _: dict[str, Json]) -> None:
    reading.has_space = True


def _refused(reading: _Reading, event: dict[str, Json]) -> None:
    if not reading.has_space:  # a change in mid-run leaves the space before it in force
        reading.summary = replace(reading.summary, refusal=str(event["reason"]))


def _finish(reading: _Reading, event: dict[str, Json]) -> None:
    reading.summary = replace(reading.summary, finish_reason=str(event["reason"]))


def _malformed(reading: _Reading, event: dict[str, Json]) -> None:
    reading.malformed[str(event["kind"])] = int(event.get("n", 1))


def _suggestion(reading: _Reading, event: dict[str, Json]) -> None:
    number, candidate = int(event["trial"]), event.get("candidate")
    reading.rows[number] = TrialRow(
        number=number,
        kind=str(event["kind"]),
        parameters=_parameters(event["parameters"]),
        candidate=None if candidate is None else int(candidate),
        condition=event.get("condition"),
        action=event.get("action"),
    )


def _result(reading: _Reading, event: dict[str, Json]) -> None:
    _enter_outcome(reading, event, status=TrialStatus(event["status"]).value)


def _stop(reading: _Reading, event: dict[str, Json]) -> None:
    if event["trial"] is not None:  # it was told which trial this was
        _enter_outcome(reading, event, status="stopped", stop_text=str(event["text"]))


def _end(reading: _Reading, event: dict[str, Json]) -> None:
    _enter_end(reading, replace(_row_of(reading, event), status=TrialStatus(event["status"]).value))


def _enter_outcome(reading: _Reading, event: dict[str, Json], **told: Json) -> None:
    row = _row_of(reading, event)
    ended = replace(
        row,
        parameters=_parameters(event.get("parameters", row.parameters)),
        job=event.get("job") or row.job,
        score=_score(event.get("score")),
        n_epochs=int(event.get("n_epochs", 0)),
        **told,
    )
    _enter_end(reading, ended)
    # Beside another tuner our assessor is the only one that writes: there is no start to tell the mode.
    mode = str(event.get("optimize_mode", reading.summary.optimize_mode))
    reading.summary = replace(reading.summary, optimize_mode=mode)


def _row_of(reading: _Reading, event: dict[str, Json]) -> TrialRow:
    number = int(event["trial"])
    return reading.rows.get(number) or TrialRow(number, "foreign", _parameters(event.get("parameters", {})))


def _enter_end(reading: _Reading, row: TrialRow) -> None:
    """Enter the row of a trial that has ended; its first end gives it its place in the order of ends."""
    if row.end_order is None:
        row = replace(row, end_order=reading.n_ended)
        reading.n_ended += 1
    reading.rows[row.number] = row


def _parameters(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise TypeError(f"parameters {value!r} are not an object")
    return value


def _score(value: Json) -> float | None:
    if value is None:
        return None
    score = float(value)
    if not math.isfinite(score):
        raise ValueError(f"score {score} is no finite number")
    return score


def _with_best_so_far(rows: dict[int, TrialRow], mode: str) -> tuple[TrialRow, ...]:
    better = max if mode == "maximize" else min
    best: float | None = None
    for row in sorted((row for row in rows.values() if row.end_order is not None), key=lambda row: row.end_order or 0):
        previous = best
        if row.score is not None:
            best = row.score if best is None else better(best, row.score)
        rows[row.number] = replace(row, best_so_far=best, is_best=row.score is not None and best != previous)
    return tuple(rows[number] for number in sorted(rows))


_ENTRIES: Final = {
    "start": _start,
    "search_space": _search_space,
    "refused": _refused,
    "finish": _finish,
    "malformed_metric": _malformed,
    "suggestion": _suggestion,
    "result": _result,
    "stop": _stop,
    "end": _end,
}
