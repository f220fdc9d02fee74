"""What a search did, read from its journal: one row a trial, the best trial, the repairs that led to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from nni_dream.feedback import Json

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


def summarise(events: Iterable[dict[str, Json]]) -> SearchSummary:
    """Return the summary of a journal's events, however far the search has come.

    A resumed search is one search with what was before; a start that does not continue begins the summary anew.
    """
    summary = SearchSummary()
    rows: dict[int, TrialRow] = {}
    malformed: dict[str, int] = {}
    has_space = False
    for event in events:
        kind = event["event"]
        if kind == "start":
            summary = SearchSummary(optimize_mode=event["settings"]["optimize_mode"], seed=event["seed"])
            has_space = False
            if not event.get("continues"):
                rows.clear()
                malformed.clear()
        elif kind == "search_space":
            has_space = True
        elif kind == "refused" and not has_space:  # a change in mid-run leaves the space before it in force
            summary = replace(summary, refusal=event["reason"])
        elif kind == "finish":
            summary = replace(summary, finish_reason=event["reason"])
        elif kind == "malformed_metric":
            malformed[event["kind"]] = event.get("n", 1)
        elif kind == "suggestion":
            rows[event["trial"]] = _suggested(event)
        elif event.get("trial") is not None and kind in ("result", "stop", "end"):
            # Beside another tuner our assessor is the only one that writes: there is no start to tell the mode.
            summary = replace(summary, optimize_mode=event.get("optimize_mode", summary.optimize_mode))
            _enter_end(rows, event)
    return replace(
        summary, rows=_with_best_so_far(rows, summary.optimize_mode), malformed=tuple(sorted(malformed.items()))
    )


def _suggested(event: dict[str, Json]) -> TrialRow:
    return TrialRow(
        number=event["trial"],
        kind=event["kind"],
        parameters=event["parameters"],
        candidate=event["candidate"],
        condition=event["condition"],
        action=event["action"],
    )


def _enter_end(rows: dict[int, TrialRow], event: dict[str, Json]) -> None:
    number = event["trial"]
    row = rows.get(number) or TrialRow(number, "foreign", event.get("parameters", {}))
    order = row.end_order
    if order is None:
        order = sum(known.end_order is not None for known in rows.values())
    if event["event"] == "end":
        rows[number] = replace(row, status=event["status"], end_order=order)
        return
    is_stop = event["event"] == "stop"
    rows[number] = replace(
        row,
        parameters=event.get("parameters", row.parameters),
        job=event.get("job") or row.job,
        status="stopped" if is_stop else event["status"],
        score=event.get("score"),
        n_epochs=event.get("n_epochs", 0),
        stop_text=event["text"] if is_stop else row.stop_text,
        end_order=order,
    )


def _with_best_so_far(rows: dict[int, TrialRow], mode: str) -> tuple[TrialRow, ...]:
    better = max if mode == "maximize" else min
    best: float | None = None
    for row in sorted((row for row in rows.values() if row.end_order is not None), key=lambda row: row.end_order or 0):
        previous = best
        if row.score is not None:
            best = row.score if best is None else better(best, row.score)
        rows[row.number] = replace(row, best_so_far=best, is_best=row.score is not None and best != previous)
    return tuple(rows[number] for number in sorted(rows))
