"""The search as one picture: best score over trials, each trial marked with its candidate's condition and action."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from nni_dream.report.figures import save_figure
from nni_dream.report.summary import SearchSummary, TrialRow

__all__ = ["plot_search"]

MARKERS: Final = {"succeeded": ("o", "tab:blue"), "stopped": ("X", "tab:red"), "failed": ("v", "tab:gray")}
INCHES_PER_TRIAL: Final = 0.62
MAX_INCHES: Final = 60.0  # in longer searches only every 2nd, 3rd, ... trial has its label
DOTS_PER_INCH: Final = 120


def plot_search(summary: SearchSummary, path: Path) -> None:
    """Write a PNG: the score of each ended trial in the order of ending, and the best score so far as a line.

    Below each trial stand the condition of the candidate that it repaired and the action, as far as there is room.
    """
    rows = summary.ended_rows
    width = min(max(7.0, 2.0 + INCHES_PER_TRIAL * len(rows)), MAX_INCHES)
    labelled = range(0, len(rows), max(1, math.ceil(len(rows) * INCHES_PER_TRIAL / MAX_INCHES)))
    figure = Figure(figsize=(width, 6.2), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    known = [(place, row.best_so_far) for place, row in enumerate(rows) if row.best_so_far is not None]
    if known:
        axes.step(*zip(*known, strict=True), where="post", color="tab:green", label="best so far")
    for status, (marker, color) in MARKERS.items():
        points = [
            (place, row.score) for place, row in enumerate(rows) if row.status == status and row.score is not None
        ]
        if points:
            axes.scatter(*zip(*points, strict=True), marker=marker, color=color, label=status, zorder=3)
    labels = [_label(rows[place]) for place in labelled]
    axes.set_xticks(labelled, labels, rotation=60, ha="right", fontsize=7, parse_math=False)  # values may hold $
    axes.set_xlabel("trial: candidate's condition, action")
    axes.set_ylabel("validation score")
    axes.set_title("DREAM search: the best score and the repairs tried")
    axes.grid(axis="y", alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right")
    save_figure(figure, path)


def _label(row: TrialRow) -> str:
    if row.kind != "action":
        return f"{row.number}: {row.kind}"
    return f"{row.number}: {row.condition}\n{row.action}"
