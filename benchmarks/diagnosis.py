"""Are the diagnoses right?  Plants faults in small networks and compares each diagnosis with what really happened.

    python benchmarks/diagnosis.py [--seeds 6] [--workers 2]

What really happened is found in ``diagnosis_scoring.py``, without the monitor.  Thresholds are tuned on the runs of
even seeds, and everything is reported on those of odd seeds.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from enum import Enum
from pathlib import Path

import torch
from diagnosis_scoring import (
    CONVERGENCE_GRID,
    GRADIENT_GRID,
    GROWTH_FACTOR,
    HARMED_SHARE,
    MIN_HEALTHY_ACCURACY,
    SILENT_SHARE,
    SLOW_SHARE,
    STRICT_GROWTH_FACTOR,
    VALUES,
    Case,
    count_zero_ratios_as_dead,
    is_for_tuning,
    judge,
    score,
    tune,
)
from markdown_tables import table_row
from planted_faults import N_EPOCHS, NETWORKS, OPTIMIZERS, PLANTS, Family, Run, train

from nni_dream.config import Thresholds
from nni_dream.feedback import EpochFeedback, TrialFeedback
from nni_dream.search.conditions import Condition, Convergence, Gradient, diagnose

RESULTS = Path(__file__).parent / "results" / "diagnosis.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6, help="2 or more; even ones tune, odd ones report")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error(f"--seeds is {options.seeds}, expected 2 or more: one half tunes, the other reports")
    runs = train_all(families(options.seeds), options.workers)
    text = report(runs)
    print(text)
    RESULTS.write_text(text, encoding="utf-8")


def families(n_seeds: int) -> list[Family]:
    """Every network with every seed; the optimizer changes with each pair of seeds, so both halves have the same."""
    names = list(OPTIMIZERS)
    return [
        Family(network, names[(i + seed // 2) % len(names)], seed)
        for seed in range(n_seeds)
        for i, network in enumerate(NETWORKS)
    ]


def train_all(all_families: Sequence[Family], n_workers: int) -> list[Run]:
    tasks = list(itertools.product(all_families, PLANTS))
    runs = []
    with ProcessPoolExecutor(n_workers, initializer=prepare_worker) as pool:
        for i, run in enumerate(pool.map(train, *zip(*tasks, strict=True), chunksize=8), start=1):
            runs.append(run)
            if i % 100 == 0:
                print(f"{i} of {len(tasks)} runs", file=sys.stderr, flush=True)
    return runs


def prepare_worker() -> None:
    torch.set_num_threads(1)
    logging.disable(logging.INFO)


def report(runs: Sequence[Run]) -> str:
    tuned = tune(judge([run for run in runs if is_for_tuning(run)]))
    reporting = [run for run in runs if not is_for_tuning(run)]
    cases, strict = judge(reporting), judge(reporting, STRICT_GROWTH_FACTOR)
    default = Thresholds()
    conditions = diagnose_all([run.feedback for run in reporting], default)
    tuned_conditions = diagnose_all([run.feedback for run in reporting], tuned)
    ruled_conditions = diagnose_all([count_zero_ratios_as_dead(run.feedback) for run in reporting], tuned)
    sections = [
        introduction(runs, cases),
        "## The paper's thresholds",
        score_table(cases, conditions),
        f"The same where the error must grow or shrink by {STRICT_GROWTH_FACTOR:g} instead of {GROWTH_FACTOR:g} to be "
        "called exploding or vanishing:",
        score_table(strict, conditions),
        "### Gradients: truth against diagnosis",
        confusion_table(cases, conditions, Gradient, "gradient"),
        "### Convergence: truth against diagnosis",
        confusion_table(cases, conditions, Convergence, "convergence"),
        "### Plant by plant",
        "Convergence, gradients and weights, and how many runs had them; `?` is undecided.",
        plant_table(cases, conditions),
        "## Thresholds tuned on the other half",
        threshold_table(default, tuned),
        score_table(cases, tuned_conditions),
        "The same thresholds, and a rule that an input side without any gradient (a ratio of exactly 0) beside dead "
        "units is dying, not vanishing:",
        score_table(cases, ruled_conditions),
        "## The misdiagnosed",
        "With the paper's thresholds; only parts whose truth is decided.  *Learned* is the share of what the healthy "
        "run learned, *growth* the exact growth of the error at the start and in the middle, *silent* the exact share "
        "of silent units then.  *Ratio*, *dead* and *gain* are the monitor's: the range over the epochs of the "
        "gradient ratio and of the share of dead units, and the largest gain of a score between two epochs.",
        misdiagnosed_table(cases, conditions),
    ]
    return "\n\n".join(sections) + "\n"


def diagnose_all(feedbacks: Iterable[TrialFeedback], thresholds: Thresholds) -> list[Condition]:
    return [diagnose(feedback, {}, "maximize", thresholds) for feedback in feedbacks]


def introduction(runs: Sequence[Run], cases: Sequence[Case]) -> str:
    words = " ".join(["python", "benchmarks/diagnosis.py", *sys.argv[1:]])
    n_unhealthy = sum(case.learned_share is None for case in cases)
    undecided = [sum(part is None for part in parts) for parts in zip(*map(truth_parts, cases), strict=True)]
    growths = sorted(
        probe.error_growth
        for case in cases
        if case.run.plant.name.startswith("healthy") and case.learned_share is not None
        for probe in (case.run.evidence.start, case.run.evidence.middle)
        if probe.error_growth is not None
    )
    paragraphs = [
        "# Are the diagnoses right?",
        f"{len(runs)} trainings of {len(NETWORKS)} small networks on scikit-learn's digits, {N_EPOCHS} epochs each, "
        f"with {len(OPTIMIZERS)} optimizers and {len(PLANTS)} plants, under the real monitor.",
        f"    {words}",
        f"Everything below is about the {len(cases)} runs of odd seeds; thresholds were tuned on the other "
        f"{len(runs) - len(cases)}.",
        "The truth is the plant, where exact evidence bears it out; the evidence is taken by plain autograd on all "
        "training data:",
        f"- A fault must do harm: at the end the run has learned at most {HARMED_SHARE:.0%} (accuracy above chance) of "
        "what its healthy run has: same network, optimizer, seed and batches.",
        f"- Vanishing: at the start and in the middle the back-propagated error is at least {GROWTH_FACTOR:g} times "
        "smaller (RMS) at the first hidden layer than at the last.  Exploding: at the start it is "
        f"{GROWTH_FACTOR:g} times larger, or some step had a gradient that was not finite.  (First over last in "
        f"the healthy runs: {growths[0]:.2g} to {growths[-1]:.2g}.)",
        f"- Dying: at the start and in the middle {SILENT_SHARE:.0%} of the ReLU units, or all of one layer, are "
        "active for no sample.",
        "- Normal gradients: a healthy or slow plant that shows none of these marks.",
        f"- Slow: at most {SLOW_SHARE:.0%} of what the healthy run learned, or a loss that was not finite; normal: "
        f"at least {HARMED_SHARE:.0%}, whatever the plant.",
        "- Exploding weights: a parameter tensor whose norm is not finite after some epoch.",
        f"Undecided are {undecided[0]} runs in convergence, {undecided[1]} in gradients, {undecided[2]} in weights; "
        f"among them the {n_unhealthy} of families whose healthy run stayed below {MIN_HEALTHY_ACCURACY:.0%} "
        "accuracy.  They count in no figure but have their row in the confusion tables.",
    ]
    return "\n\n".join(paragraphs)


def truth_parts(case: Case) -> tuple[Enum | None, ...]:
    return case.truth.convergence, case.truth.gradient, case.truth.weight


def score_table(cases: Sequence[Case], conditions: Sequence[Condition]) -> str:
    rows = []
    for value in VALUES:
        counts = score(value, [(case.truth, found) for case, found in zip(cases, conditions, strict=True)])
        shares = ("-" if share is None else f"{share:.2f}" for share in (counts.precision, counts.recall))
        rows.append((value.value, counts.n_true, counts.n_diagnosed, counts.n_right, *shares))
    return table(("value", "true", "diagnosed", "rightly", "precision", "recall"), rows)


def confusion_table(cases: Sequence[Case], conditions: Sequence[Condition], part: type[Enum], name: str) -> str:
    counts = Counter(
        (getattr(case.truth, name), getattr(found, name)) for case, found in zip(cases, conditions, strict=True)
    )
    values = [*part, None]
    rows = [
        ("undecided" if row is None else row.value, *(counts[row, column] or "" for column in values)) for row in values
    ]
    return table(("truth", *("unknown" if column is None else column.value for column in values)), rows)


def plant_table(cases: Sequence[Case], conditions: Sequence[Condition]) -> str:
    rows = []
    for plant in PLANTS:
        own = [i for i, case in enumerate(cases) if case.run.plant == plant]
        truths = count_words(str(cases[i].truth) for i in own)
        rows.append((plant.name, len(own), truths, count_words(without_architecture(conditions[i]) for i in own)))
    return table(("plant", "runs", "truth", "diagnosed"), rows)


def threshold_table(default: Thresholds, tuned: Thresholds) -> str:
    names = [*GRADIENT_GRID, *CONVERGENCE_GRID]
    return table(
        ("threshold", "default", "tuned"),
        [(f"`{name}`", f"{getattr(default, name):g}", f"{getattr(tuned, name):g}") for name in names],
    )


def misdiagnosed_table(cases: Sequence[Case], conditions: Sequence[Condition]) -> str:
    rows = []
    for case, condition in zip(cases, conditions, strict=True):
        found = (condition.convergence, condition.gradient, condition.weight)
        if all(is_part is None or is_part is was for is_part, was in zip(truth_parts(case), found, strict=True)):
            continue
        evidence, epochs = case.run.evidence, case.run.epochs
        probes = (evidence.start, evidence.middle)
        rows.append(
            (
                str(case.run),
                case.truth,
                without_architecture(condition),
                "-" if case.learned_share is None else f"{case.learned_share:.2f}",
                ", ".join("-" if probe.error_growth is None else f"{probe.error_growth:.1e}" for probe in probes),
                ", ".join(f"{probe.silent_share:.2f}" for probe in probes),
                extent(epoch.gradient_ratio for epoch in epochs),
                extent(epoch.dead_unit_share for epoch in epochs),
                f"{largest_gain(epochs):.3f}",
            )
        )
    return table(("run", "truth", "diagnosed", "learned", "growth", "silent", "ratio", "dead", "gain"), rows)


def without_architecture(condition: Condition) -> str:
    return str(condition).partition("-")[2]


def count_words(words: Iterable[str]) -> str:
    return ", ".join(f"{word} {n}" for word, n in Counter(words).most_common())


def extent(numbers: Iterable[float | None]) -> str:
    known = [number for number in numbers if number is not None]
    return f"{min(known):.1e} to {max(known):.1e}" if known else "-"


def largest_gain(epochs: Sequence[EpochFeedback]) -> float:
    columns = ([epoch.train_score for epoch in epochs], [epoch.val_score for epoch in epochs])
    return max(
        (after - before for scores in columns for before, after in itertools.pairwise(scores)
         if before is not None and after is not None),
        default=math.nan,
    )  # fmt: skip


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(map(table_row, lines))


if __name__ == "__main__":
    main()
