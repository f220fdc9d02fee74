"""A priority table as text and as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from nni_dream.report.figures import save_figure
from nni_dream.search.actions import action_text
from nni_dream.search.conditions import Condition
from nni_dream.search.priorities import PriorityAction, PriorityRow, PriorityTable

__all__ = ["plot_table", "table_lines"]

DOTS_PER_INCH: Final = 120


def table_lines(table: PriorityTable, *, condition: str = "*-*-*-*", top: int = 10) -> Iterator[str]:
    """Yield a table as lines: the best actions of each condition that is covered.

    Args:
        condition: A part that is ``*`` stands for any.

    Raises:
        ValueError: If the condition is none, or the table has none that it covers.
    """
    wanted = Condition.parse(condition)
    rows = [row for row in table.rows if wanted.covers(Condition.parse(row.condition))]
    if not rows:
        has = ", ".join(row.condition for row in table.rows)
        raise ValueError(f"no condition of the table matches {condition}; it has {has}")
    yield f"{table.task}: {table.source}"
    if table.provenance is not None:
        made = table.provenance
        yield (
            f"data {', '.join(made.data)}; {made.n_models} seed models, {made.n_trainings} trainings, "
            f"{made.n_failures} failed, {made.hours:.1f} hours, {made.date}"
        )
    for row in rows:
        yield ""
        yield f"{row.condition}  ({len(row.actions)} actions)"
        for rank, action in enumerate(row.actions[:top], start=1):
            yield f"  {rank:>3}  {action_text(action.object, action.value):<32} {_numbers(action)}".rstrip()


def plot_table(table: PriorityTable, path: Path) -> None:
    """Write a heat map as PNG: conditions by objects, the mean gain of the object's best action in each.

    A table that only ranks shows 1/rank.
    """
    objects = sorted({action.object for row in table.rows for action in row.actions})
    values = np.full((len(table.rows), len(objects)), math.nan)
    for line, row in enumerate(table.rows):
        for column, object_ in enumerate(objects):
            values[line, column] = _best_of(row, object_)
    limit = float(np.nanmax(np.abs(values))) or 1.0
    figure = Figure(
        figsize=(3.5 + 0.32 * len(objects), 2.6 + 0.3 * len(table.rows)), dpi=DOTS_PER_INCH, layout="constrained"
    )
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="RdYlGn", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(objects)), objects, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(range(len(table.rows)), [row.condition for row in table.rows], fontsize=8)
    is_measured = table.rows[0].actions[0].mean_gain is not None
    figure.colorbar(image, label="mean gain of the best action" if is_measured else "1 / rank of the best action")
    axes.set_title(f"{table.task}: best action of each object", fontsize=10, parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


def _best_of(row: PriorityRow, object_: str) -> float:
    found = [
        1 / rank if action.mean_gain is None else action.mean_gain
        for rank, action in enumerate(row.actions, start=1)
        if action.object == object_
    ]
    return max(found, default=math.nan)


def _numbers(action: PriorityAction) -> str:
    if action.mean_gain is None:
        return ""
    spread = "" if action.standard_deviation is None else f", sd {action.standard_deviation:.4f}"
    failed = f", {action.n_failures} failed" if action.n_failures else ""
    return f"{action.mean_gain:+.4f}  n {action.n or '-'}{spread}{failed}"
