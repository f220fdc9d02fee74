"""Numbers and pictures of tuners that are compared: searches that share their start stand beside each other."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm, t

__all__ = [
    "AT",
    "OURS",
    "best_so_far",
    "bootstrap",
    "difference_text",
    "draw",
    "first_reaching",
    "report_file",
    "share_better",
    "write_with_figure",
]

AT: Final = (5, 10, 15, 25)  # trials at which best scores are compared
OURS: Final = "Dream"  # how the names of our tuners begin
COLORS: Final = colormaps["tab20"]
N_BOOTSTRAP: Final = 2000
MIN_PAIRS: Final = 5  # with fewer the interval holds the true mean far too rarely
MISSED: Final = 0.05  # share of the intervals that may miss it

Numbers = NDArray[np.float64]


def best_so_far(scores: Sequence[float | None]) -> list[float]:
    """Return the best score after each trial; failed ones, ``None``, change nothing."""
    return [float(best) for best in np.fmax.accumulate([np.nan if score is None else score for score in scores])]


def share_better(ones: Numbers, others: Numbers) -> float:
    """Share of the pairs in which the first is larger; ties count half."""
    return float((ones > others).mean() + 0.5 * (ones == others).mean())


def bootstrap(differences: Numbers) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of paired differences; ``None`` for fewer than five.

    Percentiles alone are too narrow where pairs are few; they are expanded as a normal interval is to Student's.

    Source: Hesterberg 2015, What Teachers Should Know About the Bootstrap, the expanded percentile interval.
    """
    n = len(differences)
    if n < MIN_PAIRS:
        return None
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (N_BOOTSTRAP, n)).mean(axis=1)
    tail = norm.cdf(np.sqrt(n / (n - 1)) * t.ppf(MISSED / 2, n - 1))
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def difference_text(differences: Numbers, digits: int = 4) -> str:
    """Return the mean of paired differences, with its interval where there is one."""
    interval = bootstrap(differences)
    mean = f"{differences.mean():+.{digits}f}"
    return mean if interval is None else f"{mean} ({interval[0]:+.{digits}f} to {interval[1]:+.{digits}f})"


def first_reaching(curve: Sequence[float], goal: float) -> int | None:
    """Return the number of the first trial, from 1, whose best so far is the goal or better."""
    return next((number for number, best in enumerate(curve, 1) if best >= goal), None)


def report_file(text: str) -> Path:
    """Return the file that a report is written to, for argparse: known to be no folder before anything is trained."""
    path = Path(text)
    if path.suffix != ".md" or path.is_dir():
        raise ArgumentTypeError(
            f"{text} is no Markdown file: expected a path that ends in .md, beside which goes a .png"
        )
    return path


def write_with_figure(text: str, curves: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write the Markdown file, in a folder that may be new, and beside it the figure of the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    draw(curves, path.with_suffix(".png"))


def draw(curves: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """The mean best score so far over trials, a panel a data set, a line a tuner (as the paper's Figure 5)."""
    figure = Figure(figsize=(5.2 * len(curves) + 2.5, 4.2), layout="constrained")
    names = list(dict.fromkeys(name for lines in curves.values() for name in lines))
    colors = {name: COLORS(place % COLORS.N) for place, name in enumerate(names)}
    for axes, (data, lines) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items(), strict=True):
        for name, line in lines.items():
            style = "-" if name.startswith(OURS) else "--"
            axes.plot(range(1, len(line) + 1), line, style, color=colors[name], label=name)
        axes.set_title(data)
        axes.set_xlabel("trial")
        axes.set_ylabel("best validation accuracy so far")
    first = {label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if first:
        figure.legend(first.values(), first.keys(), fontsize=7, loc="outside right upper")
    figure.savefig(path, dpi=110)
