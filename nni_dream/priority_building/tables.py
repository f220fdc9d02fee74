"""Priority tables side by side: merged, compared, and imported from the layout of the paper's repository."""

from __future__ import annotations

import csv
import json
import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import ValidationError

from nni_dream.feedback import Json
from nni_dream.search.conditions import Condition
from nni_dream.search.priorities import (
    ActionKey,
    PriorityAction,
    PriorityRow,
    PriorityTable,
    PriorityTableError,
    Provenance,
    action_key,
)

__all__ = ["N_BEST", "Agreement", "compare_tables", "import_ranks", "merge_tables"]

N_BEST: Final = 5  # actions whose overlap is counted
MIN_SHARED: Final = 3  # actions that a rank correlation needs


@dataclass(frozen=True)
class Agreement:
    """How alike two tables rank the actions of one condition."""

    condition: str
    n_shared: int  # actions that both have
    rank_correlation: float | None  # Spearman's, -1..1; None with fewer than three shared actions, or equal gains only
    n_best_shared: int  # of the best five shared actions of either, so many are of both


def merge_tables(tables: Sequence[PriorityTable]) -> PriorityTable:
    """Return one table of all measurements, as if they had been made in one.

    Raises:
        PriorityTableError: If there are fewer than two tables, they are of different tasks or thresholds, two hold the
            same measurement, or one only ranks: ranks cannot be pooled.
    """
    if len(tables) < 2:
        raise PriorityTableError(f"a merge needs two tables or more, got {len(tables)}")
    parts = [table.provenance for table in tables]
    for table in tables:
        if table.rows[0].actions[0].mean_gain is None:
            raise PriorityTableError(f"table {table.source!r} has ranks and no measured gains: it cannot be merged")
        if table.provenance is None:
            raise PriorityTableError(
                f"table {table.source!r} has no provenance: nothing says whether its gains would count twice"
            )
    tasks = sorted({table.task for table in tables})
    if len(tasks) > 1:
        raise PriorityTableError(f"the tables are of different tasks, {', '.join(tasks)}: merge those of one")
    known = [part for part in parts if part is not None]
    thresholds = {json.dumps(part.thresholds, sort_keys=True) for part in known}
    if len(thresholds) > 1:
        raise PriorityTableError(
            "the tables were measured with different thresholds: their conditions differ in meaning"
        )
    _refuse_what_is_there_twice(tables, known)
    cells: dict[str, dict[ActionKey, list[PriorityAction]]] = defaultdict(lambda: defaultdict(list))
    for table in tables:
        for row in table.rows:
            for action in row.actions:
                cells[row.condition][action_key(action.object, action.value)].append(action)
    return PriorityTable(
        version=1,
        task=tables[0].task,
        source="; ".join(table.source for table in tables),
        provenance=_merged_provenance(known),
        rows=tuple(_merged_row(condition, cells[condition]) for condition in sorted(cells)),
    )


def compare_tables(one: PriorityTable, other: PriorityTable) -> list[Agreement]:
    """Return how alike two tables are in each condition that both have.

    Ranks follow from the mean gains, in whatever order a file has them; from the order where a table only ranks.
    """
    others = {row.condition: row for row in other.rows}
    return [_agreement(row, others[row.condition]) for row in one.rows if row.condition in others]


def import_ranks(path: Path, *, task: str) -> PriorityTable:
    """Read a table in the layout of the paper's repository: a column a condition, a row a rank.

    A cell is ``learning rate=0.01``; spaces in names stand for underscores; empty cells are passed over.

    Raises:
        PriorityTableError: If the file cannot be read, or a head or a cell is not of that form.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PriorityTableError(f"{path}: cannot be read: {error}") from error
    if len(lines) < 2:
        raise PriorityTableError(f"{path}: has {len(lines)} lines, expected a head of conditions and a line a rank")
    columns: dict[int, list[PriorityAction]] = {}
    heads = {place: head.strip() for place, head in enumerate(lines[0]) if _is_condition(head.strip())}
    if not heads:
        raise PriorityTableError(f"{path}: no column's head is a condition such as EA-NC-DG-NW: {', '.join(lines[0])}")
    for number, line in enumerate(lines[1:], start=2):
        for place in heads:
            cell = line[place].strip() if place < len(line) else ""
            if cell:
                columns.setdefault(place, []).append(_read_cell(cell, f"{path}, line {number}, {heads[place]}"))
    try:
        rows = [PriorityRow(condition=heads[place], actions=tuple(actions)) for place, actions in columns.items()]
        return PriorityTable(version=1, task=task, source=f"imported from {path.name}", rows=tuple(rows))
    except ValidationError as error:
        raise PriorityTableError(f"{path}: {error.errors()[0]['msg']}") from error


def _refuse_what_is_there_twice(tables: Sequence[PriorityTable], parts: Sequence[Provenance]) -> None:
    for (i, one), (j, other) in combinations(enumerate(parts), 2):
        data = sorted(set(one.data) & set(other.data))
        if data and set(one.trial_commands) & set(other.trial_commands) and set(one.seeds) & set(other.seeds):
            raise PriorityTableError(
                f"tables {i + 1} ({tables[i].source!r}) and {j + 1} ({tables[j].source!r}) are both measured on "
                f"{', '.join(data)} with the same trial command and seed, and their gains would count "
                "twice: leave one of them out, or merge the tables that it was merged of, each once"
            )


def _merged_row(condition: str, actions: Mapping[ActionKey, list[PriorityAction]]) -> PriorityRow:
    merged = sorted(map(_pooled, actions.values()), key=lambda action: -(action.mean_gain or 0.0))
    return PriorityRow(condition=condition, actions=tuple(merged))


def _pooled(parts: Sequence[PriorityAction]) -> PriorityAction:
    """Mean and deviation of all gains together, from those of the parts."""
    counts = [part.n or 1 for part in parts]
    means = [part.mean_gain or 0.0 for part in parts]
    n = sum(counts)
    mean = sum(count * own for count, own in zip(counts, means, strict=True)) / n
    squares = sum(
        (count - 1) * (part.standard_deviation or 0.0) ** 2 + count * (own - mean) ** 2
        for part, count, own in zip(parts, counts, means, strict=True)
    )
    return PriorityAction(
        object=parts[0].object,
        value=parts[0].value,
        mean_gain=float(f"{mean:.6g}"),
        n=n,
        standard_deviation=float(f"{math.sqrt(squares / (n - 1)):.6g}") if n > 1 else None,
        n_failures=sum(part.n_failures for part in parts),
    )


def _merged_provenance(parts: Sequence[Provenance]) -> Provenance:
    return Provenance(
        data=_each_once(name for part in parts for name in part.data),
        trial_commands=_each_once(command for part in parts for command in part.trial_commands),
        seeds=tuple(dict.fromkeys(seed for part in parts for seed in part.seeds)),
        thresholds=parts[0].thresholds,
        n_models=sum(part.n_models for part in parts),
        n_trainings=sum(part.n_trainings for part in parts),
        n_failures=sum(part.n_failures for part in parts),
        hours=sum(part.hours for part in parts),
        versions=_merged_versions(parts),
        date=max(part.date for part in parts),
    )


def _merged_versions(parts: Sequence[Provenance]) -> dict[str, str]:
    """Package -> its version, or all that were used, separated by commas."""
    used: dict[str, list[str]] = defaultdict(list)
    for part in parts:
        for package, versions in part.versions.items():
            used[package] += versions.split(", ")
    return {package: ", ".join(_each_once(versions)) for package, versions in used.items()}


def _each_once(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _agreement(one: PriorityRow, other: PriorityRow) -> Agreement:
    values = [_values(row) for row in (one, other)]
    shared = sorted(values[0].keys() & values[1].keys())
    correlation = None
    if len(shared) >= MIN_SHARED:
        correlation = _rank_correlation(*([own[key] for key in shared] for own in values))
    best = [set(sorted(shared, key=lambda key: -own[key])[:N_BEST]) for own in values]
    return Agreement(one.condition, len(shared), correlation, len(best[0] & best[1]))


def _values(row: PriorityRow) -> dict[ActionKey, float]:
    """What ranks each action of a row, the larger the better: its mean gain, or its place in a row without gains."""
    return {
        action_key(action.object, action.value): -float(place) if action.mean_gain is None else action.mean_gain
        for place, action in enumerate(row.actions)
    }


def _rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's, -1..1; ``None`` if either has equal values only."""
    if len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: Sequence[float]) -> list[float]:
    """Rank of each value; equal ones share the mean of theirs."""
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + bisect_right(ordered, value)) / 2 for value in values]


def _is_condition(text: str) -> bool:
    try:
        Condition.parse(text)
    except ValueError:
        return False
    return True


def _read_cell(cell: str, where: str) -> PriorityAction:
    object_, sign, value = cell.partition("=")
    if not sign or not object_.strip() or not value.strip():
        raise PriorityTableError(f"{where}: {cell!r} is no action, expected one such as 'learning rate=0.01'")
    return PriorityAction(object=object_.strip().replace(" ", "_"), value=_read_value(value.strip()))


def _read_value(text: str) -> Json:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    name = text.replace(" ", "_")
    if "_" in name:  # Python alone reads 1_0 as a number
        return name
    try:
        number = float(text)
    except ValueError:
        return name
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() and "." not in text and "e" not in text.lower() else number
