"""Tuners side by side on numeric ranges, with trials that report one plain number: what most NNI experiments are.

    python benchmarks/ranges.py

The trials are scikit-learn's multilayer perceptrons on data that come with it, a fraction of a second each.  Ours knows
them by their numbers and by the names of their parameters alone.  Writes benchmarks/results/ranges.md and ranges.png.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from operator import itemgetter
from pathlib import Path
from time import process_time
from typing import Any, Final, TypeAlias

import numpy as np
from comparison import report_file, write_with_figure
from optuna_tuners import optuna_tuners
from search_report import LEARNING, Step, mean_curves, pair_lines, table_lines
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from smac_tuner import fix_hash_seed, smac_tuners
from threadpoolctl import threadpool_limits
from tuners import Conversation, Outcome, Search, Trial, Tuner, dream, hold, nni_tuners

from nni_dream.feedback import Json
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import Configuration, SearchSpace

HERE: Final = Path(__file__).parent
N_TRIALS: Final = 25
N_DRAWN: Final = 20  # configurations of whose worse half the searches start
SPACE: Final[dict[str, Json]] = {
    "optimizer": {"_type": "choice", "_value": ["sgd", "adam"]},
    "learning_rate": {"_type": "loguniform", "_value": [1e-5, 1]},
    "momentum": {"_type": "uniform", "_value": [0, 0.99]},
    "weight_decay": {"_type": "loguniform", "_value": [1e-6, 10]},
    "batch_size": {"_type": "choice", "_value": [8, 16, 32, 64]},
    "hidden_size": {"_type": "randint", "_value": [4, 129]},
    "activation": {"_type": "choice", "_value": ["relu", "tanh", "logistic"]},
    "epochs": {"_type": "randint", "_value": [2, 31]},
}
HEAD: Final = """# Tuners side by side on numeric ranges

    {command}

{seeds} searches of each tuner on each data set, one trial at a time. In each search all tuners start from the same
bad configuration: one at or below the median of {drawn} that were drawn, without those that failed. The space has five
ranges and three choices. The trials report one plain number, the validation score, and no feedback; ours has its
defaults, and a table of ranks that was measured on none of them. Best scores are means; differences are paired, search
by search, with bootstrap 95 % intervals of their mean (expanded for few pairs, none for fewer than five). "Trials to
NNI TPE's best" (its best after all trials of the same search) and the minutes of processor time until then are medians;
"not" where half or more did not get there. What the other tuners are told is in `search.md`.

![best score so far](ranges.png)

"""

Model: TypeAlias = MLPClassifier | MLPRegressor


@dataclass(frozen=True)
class Task:
    """Data, and what is trained on them."""

    load: Callable[..., Any]
    model: Callable[..., Model]
    n_train: int
    score: str  # what a trial reports
    outcomes: dict[str, tuple[float | None, float]] = field(default_factory=dict)  # configuration -> score, seconds

    def answer(self, trial: Trial, steps: list[Step]) -> Outcome:
        """Train a configuration, or look up what it brought, and note what it cost."""
        identity = canonical_json(trial.configuration)
        if identity not in self.outcomes:
            started = process_time()
            score = self._train(trial.configuration)
            self.outcomes[identity] = score, process_time() - started
        score, seconds = self.outcomes[identity]
        steps.append(Step(score, seconds))
        return Outcome(score)

    def _train(self, configuration: Configuration) -> float | None:
        """The validation score; ``None`` if the weights did not stay finite."""
        train_inputs, val_inputs, train_targets, val_targets = self._parts
        words: dict[str, Any] = dict(configuration)
        model = self.model(
            hidden_layer_sizes=(words["hidden_size"],),
            activation=words["activation"],
            solver=words["optimizer"],
            learning_rate_init=words["learning_rate"],
            momentum=words["momentum"],
            alpha=words["weight_decay"],
            batch_size=words["batch_size"],
            max_iter=words["epochs"],
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that so few epochs do not converge, that squares overflow
            try:
                model.fit(train_inputs, train_targets)
                score = float(model.score(val_inputs, val_targets))
            except ValueError as error:
                if "non-finite" not in str(error):
                    raise
                return None
        return score if np.isfinite(score) else None

    @cached_property
    def _parts(self) -> tuple[Any, Any, Any, Any]:
        """Inputs of training and validation, scaled by those of training, and their targets."""
        inputs, targets = self.load(return_X_y=True)
        if self.model is MLPRegressor:
            targets = (targets - targets.mean()) / targets.std()
        parts = train_test_split(inputs, targets, train_size=self.n_train, random_state=0)
        train_inputs, val_inputs, train_targets, val_targets = parts
        scaler = StandardScaler().fit(train_inputs)
        return scaler.transform(train_inputs), scaler.transform(val_inputs), train_targets, val_targets

    def starts(self) -> list[Configuration]:
        """The worse half of what is drawn, the worst first.

        Those that failed are left out: nothing could be repaired.
        """
        rng = np.random.default_rng(0)
        drawn = [SearchSpace(SPACE).sample(rng) for _ in range(N_DRAWN)]
        answers = [(self.answer(Trial(configuration), []).score, configuration) for configuration in drawn]
        scored = [(score, configuration) for score, configuration in answers if score is not None]
        ordered = [configuration for _, configuration in sorted(scored, key=itemgetter(0))]
        return ordered[: (len(ordered) + 1) // 2]


TASKS: Final = {
    "digits": Task(load_digits, MLPClassifier, 200, "accuracy"),
    "breast cancer": Task(load_breast_cancer, MLPClassifier, 60, "accuracy"),
    "diabetes": Task(load_diabetes, MLPRegressor, 220, "R2, negative where it is worse than the mean"),
}


def tuners() -> dict[str, Tuner]:
    """Return every tuner whose package is here."""
    return {LEARNING: dream(is_score_only=True), **nni_tuners(), **optuna_tuners(), **smac_tuners()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="searches of each tuner (default: %(default)s)")
    parser.add_argument("--on", nargs="+", choices=TASKS, default=list(TASKS), help="only these data")
    parser.add_argument("--tuners", nargs="+", choices=tuners(), default=list(tuners()), help="only these")
    parser.add_argument("--output", type=report_file, default=HERE / "results" / "ranges.md")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # an error of ours would be a random suggestion, and must be seen
    entered = {name: tuner for name, tuner in tuners().items() if name in options.tuners}
    sections, curves = [], {}
    for data in options.on:
        with threadpool_limits(1):  # numbers are added up in one order
            results = searches(TASKS[data], entered, options.seeds)
        curves[data] = mean_curves(results, N_TRIALS)
        sections.append(section(data, TASKS[data], results))
        print(sections[-1], flush=True)
    command = " ".join(["python benchmarks/ranges.py", *sys.argv[1:]])
    text = HEAD.format(command=command, seeds=options.seeds, drawn=N_DRAWN) + "\n".join(sections)
    write_with_figure(text, curves, options.output)


def searches(task: Task, entered: dict[str, Tuner], n_seeds: int) -> dict[str, dict[int, list[Step]]]:
    """Return the trials of every search: tuner -> seed -> steps."""
    starts = task.starts()
    results: dict[str, dict[int, list[Step]]] = {}
    for name, tuner in entered.items():
        for seed in range(n_seeds):
            steps = results.setdefault(name, {}).setdefault(seed, [])
            hold(begin(tuner, starts, seed), partial(task.answer, steps=steps))
    return results


def begin(tuner: Tuner, starts: list[Configuration], seed: int) -> Conversation:
    return tuner(Search(SPACE, starts[seed % len(starts)], seed, N_TRIALS))


def section(data: str, task: Task, results: dict[str, dict[int, list[Step]]]) -> str:
    n_failed = sum(score is None for score, _ in task.outcomes.values())
    lines = [
        f"## {data}",
        "",
        f"{len(task.outcomes)} different trainings on {task.n_train} rows, {n_failed} of them failed.",
    ]
    lines += [f"The score is {task.score}.", "", *table_lines(results, N_TRIALS)]
    if LEARNING in results:
        lines += ["", *pair_lines(results, N_TRIALS)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    fix_hash_seed()
    main()
