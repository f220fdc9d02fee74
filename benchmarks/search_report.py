"""The report of search.py: tables and sentences about searches that share their starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from comparison import AT, OURS, best_so_far, difference_text, share_better
from markdown_tables import table_head, table_row
from numpy.typing import NDArray
from tuners import BASELINE

__all__ = [
    "HEAD",
    "LEARNING",
    "Results",
    "Step",
    "curve",
    "effort_until",
    "mean_curves",
    "pair_lines",
    "section",
    "table_lines",
]

LEARNING: Final = "Dream learning"  # ours, which all others are compared with
COMPARED_AT: Final = (10, 25)
SLACK: Final = 1e-9  # of sums of shares of a trial


HEAD: Final = """# Tuners side by side, live

    {command}

Real trainings, no surrogate. In each search all tuners start from the same bad configuration: one drawn from the
original space that was at or below the median of those drawn. One trial at a time. A configuration is trained once,
and looked up when another search asks for it. The priorities come from other data. Best scores are means; differences
are paired, search by search, with bootstrap 95 % intervals of their mean (expanded for few pairs, none for fewer than
five). "Trials to NNI TPE's best" (its best after all trials of the same search) and the minutes of training until then,
while other trainings ran beside them, are medians; "not" where half or more did not get there. Productive trials: the
share of those after the start that were better than all before them.

![best score so far]({figure}.png)

{missing}\
The first trainings computed images in torch's default order of memory, the later ones channels last, which differs by
rounding. Every tuner has its own defaults, or what its authors recommend:

- Dream: `learning` and its defaults; *static*, *beam* and *random order* are its other strategies. *Score only*: told
  plain numbers, as trials do that report nothing else. *Base space*: it searches the original space.
- NNI TPE, Random, Evolution, Anneal, GridSearch: no arguments but a seed. NNI 3.0 fails on spaces that are nested twice
  (a KeyError in `is_activated_in`); that function is mended here. TPE draws its first 20 trials at random, the
  same as Random; its documentation advises fewer where trials are few, so it also stands there with 5. Evolution draws
  its first 32, so within this budget it only draws. TPE and GridSearch import the start; the others cannot.
- NNI Hyperband: its budget is counted in epochs, R is a trial's epochs, eta 3. It gets the epochs of the other tuners'
  trials, in more and shorter ones. A short trial is the beginning of the full one; survivors are trained from the
  beginning again, as NNI does it, and counted so. Its curve is over full trials' worth of epochs, and a score counts
  after however few epochs.
- Optuna TPE: `multivariate=True, group=True`, asked for active parameters only. Optuna GP: `deterministic_objective`;
  as it needs a fixed space, all parameters are asked for, and those that are not active are ignored. Both learn of the
  start; where they suggest what was tried before, they are told its score again, and no trial is counted.
- SMAC3: `HyperparameterOptimizationFacade`, nested choices as conditions; it learns of the start, and draws Sobol
  points in the first quarter of the trials.

"""


class Step(NamedTuple):
    """One trial of a search."""

    score: float | None  # None: it failed
    seconds: float
    share: float = 1.0  # of a full trial's epochs


Results: TypeAlias = Mapping[str, Mapping[int, Sequence[Step]]]  # tuner -> seed -> its finished search


def curve(steps: Sequence[Step], n_trials: int) -> list[float]:
    """Return the best score when the epochs of 1, 2, ... n_trials full trials were used."""
    used, best = np.cumsum([step.share for step in steps]), best_so_far([step.score for step in steps])
    ends = np.searchsorted(used, np.arange(1, n_trials + 1) + SLACK, side="right")
    return [best[end - 1] for end in ends]


def effort_until(steps: Sequence[Step], goal: float) -> tuple[float, float]:
    """Return the full trials and the minutes of training until the goal; infinite where it was not reached."""
    for last, best in enumerate(best_so_far([step.score for step in steps]), 1):
        if best >= goal:
            return sum(step.share for step in steps[:last]), sum(step.seconds for step in steps[:last]) / 60
    return np.inf, np.inf


def mean_curves(results: Results, n_trials: int) -> dict[str, NDArray[np.float64]]:
    return {
        tuner: np.mean([curve(steps, n_trials) for steps in runs.values()], axis=0)
        for tuner, runs in results.items()
        if runs
    }


def section(title: str, facts: str, results: Results, n_trials: int) -> str:
    """Return the report on one data set."""
    found = {tuner: runs for tuner, runs in results.items() if runs}
    lines = [f"## {title}", "", facts, "", *table_lines(found, n_trials)]
    if LEARNING in found:
        lines += ["", *pair_lines(found, n_trials), "", *sentences(found, n_trials)]
    return "\n".join(lines) + "\n"


def table_lines(results: Results, n_trials: int) -> list[str]:
    """A line a tuner: mean best scores, and what it took to be as good as the baseline was in the end."""
    places = [n for n in AT if n <= n_trials]
    goals = {seed: curve(steps, n_trials)[-1] for seed, steps in results.get(BASELINE, {}).items()}
    names = ["tuner", "searches", *(f"best at {n}" for n in places), f"trials to {BASELINE}'s best", "minutes"]
    lines = table_head([*names, "productive trials"])
    for tuner, runs in results.items():
        means = np.mean([curve(steps, n_trials) for steps in runs.values()], axis=0)
        efforts = [effort_until(runs[seed], goal) for seed, goal in goals.items() if seed in runs]
        trials, minutes = (_median([effort[i] for effort in efforts]) for i in (0, 1))
        best = [f"{means[n - 1]:.4f}" for n in places]
        lines.append(table_row([tuner, str(len(runs)), *best, trials, minutes, f"{_productive(runs.values()):.0%}"]))
    return lines


def pair_lines(results: Results, n_trials: int) -> list[str]:
    """A line for each other tuner: learning's best minus its best, and how often learning was better."""
    places = _compared_at(n_trials)
    columns = [
        text for n in places for text in (f"learning minus it at {n} (95 %)", f"learning better at {n}, ties half")
    ]
    lines = table_head(["other tuner", "pairs", *columns])
    for tuner in results:
        if tuner == LEARNING:
            continue
        cells, n_pairs = [], 0
        for n in places:
            ours, others = _paired(results, tuner, n)
            n_pairs = len(ours)
            cells += [difference_text(ours - others), f"{share_better(ours, others):.0%}"] if n_pairs else ["-", "-"]
        lines.append(table_row([tuner, str(n_pairs), *cells]))
    return lines


def sentences(results: Results, n_trials: int) -> list[str]:
    """Learning against all at once, and what feedback and the expanded space add."""
    lines = []
    others = [tuner for tuner in results if tuner != LEARNING]
    groups = {
        "every third-party tuner": [tuner for tuner in others if not tuner.startswith(OURS)],
        "every other tuner, our own included,": others,
    }
    for n in _compared_at(n_trials):
        for words, group in groups.items():
            seeds = sorted(set.intersection(*(set(results[tuner]) for tuner in [LEARNING, *group])))
            if group and seeds:
                best = np.max([_bests(results[tuner], seeds, n) for tuner in group], axis=0)
                share = share_better(_bests(results[LEARNING], seeds, n), best)
                lines.append(
                    f"- At {n} trials learning was better than {words} at once in {share:.0%} of the searches that all "
                    f"of them have ended ({len(seeds)}; ties count half)."
                )
    for tuner, what in (("score only", "Feedback"), ("base space", "The expanded space")):
        lines += _added(results, f"{LEARNING}, {tuner}", what, n_trials)
    return lines


def _added(results: Results, tuner: str, what: str, n_trials: int) -> list[str]:
    """What learning has and a reduced form of it has not."""
    if tuner not in results:
        return []
    pairs = {n: _paired(results, tuner, n) for n in _compared_at(n_trials)}
    texts = [f"{difference_text(ours - others)} at {n}" for n, (ours, others) in pairs.items() if len(ours)]
    return [f"- {what} adds (learning minus {tuner!r}): {', '.join(texts)}."] if texts else []


def _compared_at(n_trials: int) -> list[int]:
    return [n for n in COMPARED_AT if n <= n_trials] or [n_trials]


def _paired(results: Results, tuner: str, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The best scores of learning and of the other tuner in the searches that both have ended."""
    seeds = sorted(set(results[LEARNING]) & set(results[tuner]))
    return _bests(results[LEARNING], seeds, n), _bests(results[tuner], seeds, n)


def _bests(runs: Mapping[int, Sequence[Step]], seeds: Sequence[int], n: int) -> NDArray[np.float64]:
    return np.array([curve(runs[seed], n)[-1] for seed in seeds])


def _productive(runs: Any) -> float:
    """Share of the trials after the start that were better than all before them."""
    gains = [np.diff(best_so_far([step.score for step in steps])) > 0 for steps in runs]
    return float(np.concatenate(gains).mean()) if gains else 0.0


def _median(numbers: Sequence[float]) -> str:
    middle = median(numbers) if numbers else np.inf
    return "not" if np.isinf(middle) else f"{middle:.3g}"
