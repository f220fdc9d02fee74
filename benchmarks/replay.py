"""Search strategies and other tuners side by side, on recorded trainings instead of real ones: seconds, not hours.

    python benchmarks/replay.py --on trec=mr --on mr=trec --on cifar10=digits --on digits=cifar10 --seeds 40

``--on DATA=OTHER`` judges searches on benchmarks/records/DATA.jsonl.gz, guided by a table made of OTHER's records; a
table of the same data is refused.  Writes benchmarks/results/replay.md and replay.png.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from comparison import (
    AT,
    OURS,
    best_so_far,
    difference_text,
    first_reaching,
    report_file,
    share_better,
    write_with_figure,
)
from markdown_tables import table_head, table_row
from optuna_tuners import optuna_tuners
from recorded_trials import RecordedTrials, SharedDataError, data_and_other, write_table
from threadpoolctl import threadpool_limits
from tuners import BASELINE, Outcome, Search, Trial, Tuner, dream, hold, nni_tuners

from nni_dream.priority_building.records import RecordsError

HERE: Final = Path(__file__).parent
LEARNING: Final = "Dream learning (thompson, default)"
SCORE_ONLY: Final = "Dream learning (score only)"
NEEDED: Final = (BASELINE, LEARNING, SCORE_ONLY)  # what the others are compared with
EARLY: Final = 10  # trials at which searches are compared, beside the end
DREAM: Final[dict[str, Tuner]] = {
    LEARNING: dream(),
    "Dream learning (expected improvement)": dream(exploration="expected_improvement"),
    "Dream learning (upper confidence)": dream(exploration="upper_confidence"),
    SCORE_ONLY: dream(is_score_only=True),
    "Dream static": dream(strategy="static"),
    "Dream beam": dream(strategy="beam"),
    "Dream random order": dream(strategy="random"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", action="append", required=True, type=data_and_other, metavar="DATA=OTHER")
    parser.add_argument("--seeds", type=int, default=40, help="searches of each tuner (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=25, help="of each search (default: %(default)s)")
    parser.add_argument("--without", action="append", default=[], choices=dispensable(), help="leave this tuner out")
    parser.add_argument("--records", type=Path, default=HERE / "records", help="folder of the files of trainings")
    parser.add_argument("--output", type=report_file, default=HERE / "results" / "replay.md")
    options = parser.parse_args()
    entered = {name: tuner for name, tuner in tuners().items() if name not in options.without}
    logging.disable(logging.CRITICAL)
    sections, curves = [], {}
    try:
        for data, other in options.on:
            with threadpool_limits(1):  # numbers are added up in one order
                sections.append(compare(options.records, data, other, options.seeds, options.trials, curves, entered))
            print(sections[-1], flush=True)
    except (RecordsError, SharedDataError) as error:
        sys.exit(f"error: {error}")
    words = [f"--on {data}={other}" for data, other in options.on]
    words += [f'--without "{name}"' for name in options.without]
    command = f"python benchmarks/replay.py {' '.join(words)} --seeds {options.seeds} --trials {options.trials}"
    text = HEAD.format(command=command, seeds=options.seeds)
    write_with_figure(text + "\n".join(sections), curves, options.output)


HEAD = """# Tuners side by side, on recorded trainings

    {command}

{seeds} searches of each tuner, one trial at a time; in each all tuners start from the same bad configuration, a seed
model at or below the median. The answers come from recorded trainings and, where a configuration was not trained,
from a random forest fitted on them, with noise of half its error added, so that a search may end above the best that
was recorded: a hint of what a real search would show, no more. "Better" compares searches that share their start;
ties count half. Differences are paired in the same way, with bootstrap 95 % intervals of their mean (expanded for few
pairs, none for fewer than five). Trials to a goal are medians; "not" where half or more did not get there.
Productive: the share of the trials after the start that were better than all before them; s: seconds of processor time
of all searches of a tuner. NNI 3.0 fails on spaces that are nested twice (a KeyError in `is_activated_in`); that
function is mended here.

![best score so far](replay.png)

"""


def tuners() -> dict[str, Tuner]:
    """Return every tuner whose package is here, by its name in the report."""
    return {**nni_tuners(), **DREAM, **optuna_tuners()}


def dispensable() -> list[str]:
    """Return the tuners that a report can do without."""
    return [name for name in tuners() if name not in NEEDED]


def compare(
    folder: Path,
    data: str,
    other: str,
    n_seeds: int,
    n_trials: int,
    curves: dict[str, Any],
    entered: dict[str, Tuner],
) -> str:
    """Run these tuners on one file of records and return the report; the mean curves go into ``curves``."""
    trials = RecordedTrials(folder / f"{data}.jsonl.gz")
    with tempfile.TemporaryDirectory() as temporary:
        table = write_table(folder / f"{other}.jsonl.gz", Path(temporary), judged_on=trials)
        results, seconds = {}, {}
        for name, tuner in entered.items():
            started = time.process_time()
            own = searches(trials, n_seeds, n_trials, table)
            results[name] = np.array([curve(tuner, search, trials) for search in own])
            seconds[name] = time.process_time() - started
    curves[data] = {name: runs.mean(axis=0) for name, runs in results.items()}
    return section(trials, data, other, results, seconds)


def searches(trials: RecordedTrials, n: int, n_trials: int, table: str = "paper_table2") -> list[Search]:
    bad = trials.seed_models[: (len(trials.seed_models) + 1) // 2]
    space = trials.settings.search_space
    return [Search(space, dict(bad[seed % len(bad)].parameters), seed, n_trials, table=table) for seed in range(n)]


def curve(tuner: Tuner, search: Search, trials: RecordedTrials) -> list[float]:
    """Return the best score after each planned trial; a tuner that ended early keeps its last."""
    best = best_so_far(scores(tuner, search, trials))
    return best + best[-1:] * (search.n_trials - len(best))


def scores(tuner: Tuner, search: Search, trials: RecordedTrials) -> list[float | None]:
    """Return the scores of a search in the order of its trials."""

    def answer(trial: Trial) -> Outcome:
        return Outcome(*trials.answer(trial.configuration))

    return [outcome.score for outcome in hold(tuner(search), answer)]


def section(trials: RecordedTrials, data: str, other: str, results: dict[str, Any], seconds: dict[str, float]) -> str:
    """Return the report on one data set."""
    error = trials.held_out_error()
    base = results[BASELINE]
    n_trials = base.shape[1]
    places = sorted({*(n for n in AT if n <= n_trials), n_trials})
    compared = sorted({min(EARLY, n_trials), n_trials})
    names = ["tuner", *(f"best at {n}" for n in places), *(f"better than {BASELINE} at {n}" for n in compared)]
    names += [f"difference at {n_trials} (95 %)", f"trials to {BASELINE}'s best", "productive", "s"]
    lines = [
        f"## {data}, priorities from {other}",
        "",
        f"{len(trials.records)} recorded trainings, best {max(r.score or 0.0 for r in trials.records):.4f}. "
        "Forest on seed models that it has not seen: "
        f"mean absolute error {error.mean_absolute_error:.3f}, R2 {error.r2:.2f}, "
        f"rank correlation {error.rank_correlation:.2f}, condition right {error.condition_accuracy:.0%}.",
        "",
        *table_head(names),
    ]
    for name, runs in results.items():
        means = [f"{runs[:, n - 1].mean():.3f}" for n in places]
        reached = [first_reaching(run, goal) for run, goal in zip(runs, base[:, -1], strict=True)]
        median = float(np.median([np.inf if n is None else n for n in reached]))
        productive = float((np.diff(runs, axis=1) > 0).mean())
        shares = [f"{share_better(runs[:, n - 1], base[:, n - 1]):.0%}" for n in compared]
        more = difference_text(runs[:, -1] - base[:, -1], digits=3)
        until = "not" if np.isinf(median) else f"{median:g}"
        lines.append(table_row([name, *means, *shares, more, until, f"{productive:.0%}", f"{seconds[name]:.0f}"]))
    others = [name for name in results if not name.startswith(OURS)]
    own = results[LEARNING]
    for n in compared:
        rivals = np.max([results[name][:, n - 1] for name in others], axis=0)
        share = share_better(own[:, n - 1], rivals)
        lines += ["", f"{LEARNING}: better than every third-party tuner at {n} in {share:.0%} of the searches."]
    for n in compared:
        differences = own[:, n - 1] - results[SCORE_ONLY][:, n - 1]
        lines += ["", f"With feedback minus score only at {n}: {difference_text(differences)}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
