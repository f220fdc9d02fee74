"""Does a diagnosis tell more about what an action will gain than the score and the parameters do?

    python benchmarks/condition_value.py [--on trec=mr ...]

Everything is computed from the recorded trainings of seed models and of the same models after one action
(benchmarks/records), in minutes.  ``--on DATA=OTHER`` also asks the estimates that a search on DATA would begin with,
from a table of OTHER's records; a table of the same data is refused.  Writes benchmarks/results/condition_value.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from comparison import difference_text
from markdown_tables import table_head, table_row
from numpy.typing import NDArray
from recorded_trials import SharedDataError, configuration_features, data_and_other, known_score, refuse_shared_data
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GroupKFold

from nni_dream.config import AssessorSettings
from nni_dream.feedback import CHART_KEYS, COUNT_KEYS, EpochFeedback, Json, is_same_training
from nni_dream.priority_building.measured_table import Gain, gains, measure_table
from nni_dream.priority_building.records import BuildSettings, RecordsError, TrainingRecord, read_records
from nni_dream.search.conditions import Condition, Convergence, Gradient, Weight
from nni_dream.search.evidence import Subject
from nni_dream.search.gains import GainModel
from nni_dream.search.priorities import PriorityTable
from nni_dream.search.space import SearchSpace
from nni_dream.search.stopping import stop_reason
from nni_dream.search.table_words import TableWords

HERE: Final = Path(__file__).parent
N_FOLDS: Final = 8
MIN_ACTIONS: Final = 5  # that were tried on a model, for an order of them to mean something
N_REFERENCES: Final = 3  # finished trials that a slow one is compared with
BEST_SHARE: Final = 0.25
PAIRS: Final = (("trec", "mr"), ("mr", "trec"), ("cifar10", "digits"), ("digits", "cifar10"))
NORMAL: Final = {Convergence.NORMAL, Gradient.NORMAL, Weight.NORMAL}

MONITORED: Final = tuple(key for key in CHART_KEYS if key not in ("learning_rate", "seconds", *COUNT_KEYS))

Numbers: TypeAlias = NDArray[np.float64]

HEAD: Final = """# Does a diagnosis tell what an action will gain?

    {command}

Recorded trainings: seed models, and the same models after one action; the gain is the difference of their scores.
What is asked is whether the condition of a model (convergence, gradients, weights) says more about the gains of actions
on it than its parameters and its score, which every tuner knows; and what else feedback tells. Four ways to ask:

- **Forest**: a random forest predicts gains on models that it has not seen ({folds} folds of models), from the action,
  the model's parameters and its score; then also from its condition; then also from its whole feedback (losses, scores,
  gradients and updates of the first and the last epoch). This is the most that conditions could bring to a method that
  learns from such trainings.
- **Table**: the estimates that a search begins with, from a table of other data, for the model's condition and for its
  architecture alone.
- **Without effect**: actions that the feedback proves to have changed nothing.
- **Stopping**: the trainings in the order in which they were made, each stopped where the assessor would stop it.

Rank correlation: Spearman's, of predicted and real gains of the actions on one model, the mean over the models. First
action: the mean gain of the action that is predicted to gain most. Differences are paired, model by model, with
bootstrap 95 % intervals of their mean (expanded for few pairs, none for fewer than five).
"""


class Prediction(NamedTuple):
    """How good predicted gains are, model by model."""

    correlations: Numbers  # rank correlation with the real ones
    first_gains: Numbers  # of the action that was predicted to gain most
    r2: float  # over all gains


@dataclass(frozen=True)
class Measured:
    """The gains on one data set."""

    settings: BuildSettings
    records: list[TrainingRecord]

    @cached_property
    def gains(self) -> list[Gain]:
        return gains(self.settings, self.records)

    @cached_property
    def models(self) -> dict[int, TrainingRecord]:
        return {record.model: record for record in self.records if record.action is None and record.score is not None}

    @cached_property
    def conditions(self) -> dict[int, Condition]:
        return {gain.model: gain.condition for gain in self.gains}

    @cached_property
    def space(self) -> SearchSpace:
        return SearchSpace(self.settings.search_space, self.settings.roles)

    def judge(self, predicted: Numbers) -> Prediction:
        """Compare predicted gains, in the order of the gains, with the real ones."""
        real = np.array([gain.gain for gain in self.gains])
        models = np.array([gain.model for gain in self.gains])
        correlations, first_gains = [], []
        for model in sorted(self.conditions):
            own = models == model
            if own.sum() < MIN_ACTIONS:
                continue
            first_gains.append(real[own][predicted[own].argmax()])
            has_order = np.ptp(real[own]) > 0 and np.ptp(predicted[own]) > 0
            correlations.append(spearmanr(predicted[own], real[own]).statistic if has_order else 0.0)
        r2 = 1 - ((real - predicted) ** 2).sum() / ((real - real.mean()) ** 2).sum()
        return Prediction(np.array(correlations), np.array(first_gains), float(r2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = f"default: {' '.join(map('='.join, PAIRS))}"
    parser.add_argument("--on", action="append", type=data_and_other, metavar="DATA=OTHER", help=default)
    parser.add_argument("--records", type=Path, default=HERE / "records", help="folder of the files of trainings")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "condition_value.md")
    options = parser.parse_args()
    try:
        sections = [judge(options.records, data, other) for data, other in options.on or PAIRS]
    except (RecordsError, SharedDataError) as error:
        sys.exit(f"error: {error}")
    pairs = [f"--on {data}={other}" for data, other in options.on or ()]
    command = " ".join(["python benchmarks/condition_value.py", *pairs])
    text = "\n".join([HEAD.format(command=command, folds=N_FOLDS), *sections])
    options.output.write_text(text, encoding="utf-8")
    print(text)


def judge(folder: Path, data: str, other: str) -> str:
    """Return the report on one data set.

    Raises:
        RecordsError: If there are no trainings of either.
        SharedDataError: If the table was measured on the same data.
    """
    measured = Measured(*read_records(folder / f"{data}.jsonl.gz"))
    table = measure_table(*read_records(folder / f"{other}.jsonl.gz"), task=other)
    refuse_shared_data(table, measured)
    return section(measured, data, other, table)


def section(measured: Measured, data: str, other: str, table: PriorityTable) -> str:
    """Return the report on one data set."""
    predictions = {
        "forest: action, parameters, score": forest(measured, ()),
        "the same, and condition": forest(measured, (condition_features,)),
        "the same, and whole feedback": forest(measured, (condition_features, feedback_features)),
        f"table of {other}, architecture alone": by_table(measured, table, only_architecture),
        f"table of {other}, condition": by_table(measured, table, lambda condition: condition),
    }
    forest_base, _, _, table_base, _ = predictions.values()
    more = "difference (95 %)"
    names = ["predicted from", "R2", "rank correlation", more, "gain of the first action", more]
    lines = [
        f"## {data}",
        "",
        f"{len(measured.gains)} gains on {len(measured.conditions)} models. {what_is_not_normal(measured)}",
        "",
        *table_head(names),
    ]
    for name, own in predictions.items():
        base = table_base if name.startswith("table") else forest_base
        correlation = [f"{own.correlations.mean():.3f}", difference(own.correlations, base.correlations)]
        first_gain = [f"{own.first_gains.mean():.4f}", difference(own.first_gains, base.first_gains)]
        lines.append(table_row([name, f"{own.r2:.2f}", *correlation, *first_gain]))
    return "\n".join([*lines, "", without_effect(measured), "", stopping(measured), ""])


def difference(ones: Numbers, others: Numbers) -> str:
    return "" if ones is others else difference_text(ones - others)


def what_is_not_normal(measured: Measured) -> str:
    """How many models have something to diagnose, of all and of the best."""
    ranked = sorted(measured.conditions, key=lambda model: -known_score(measured.models[model]))
    best = ranked[: max(1, round(BEST_SHARE * len(ranked)))]

    def share(models: Sequence[int]) -> float:
        return float(np.mean([not {*measured.conditions[model].parts[1:]} <= NORMAL for model in models]))

    return (
        f"Something is not normal in {share(ranked):.0%} of the models, and in {share(best):.0%} of the best quarter."
    )


def forest(measured: Measured, more: Sequence[Callable[[TrainingRecord, Condition], list[float]]]) -> Prediction:
    """Predict the gains on the models of each fold from those of the others."""
    configurations = {model: configuration_features(record.parameters) for model, record in measured.models.items()}
    names = sorted({name for features in configurations.values() for name in features})
    actions = sorted({(gain.object, repr(gain.value)) for gain in measured.gains})
    rows = []
    for gain in measured.gains:
        record = measured.models[gain.model]
        row = [float((gain.object, repr(gain.value)) == action) for action in actions]
        row += [configurations[gain.model].get(name, 0.0) for name in names]
        row += [known_score(record), *(number for own in more for number in own(record, gain.condition))]
        rows.append(row)
    inputs = np.array(rows)
    real = np.array([gain.gain for gain in measured.gains])
    models = np.array([gain.model for gain in measured.gains])
    predicted = np.empty(len(real))
    for kept, asked in GroupKFold(N_FOLDS, shuffle=True, random_state=0).split(inputs, real, models):
        own = RandomForestRegressor(200, min_samples_leaf=3, max_features=0.5, random_state=0)
        predicted[asked] = own.fit(inputs[kept], real[kept]).predict(inputs[asked])
    return measured.judge(predicted)


def condition_features(record: TrainingRecord, condition: Condition) -> list[float]:
    return [float(part is own) for kind in (Convergence, Gradient, Weight) for own in kind for part in condition.parts]


def feedback_features(record: TrainingRecord, condition: Condition) -> list[float]:
    """Every number of the first and of the last epoch, and how the curve went."""
    first, *_, last = (record.feedback.epochs[0], *record.feedback.epochs)
    scores = [epoch.val_score for epoch in record.feedback.epochs if epoch.val_score is not None]
    curve = [float(np.argmax(scores)), scores[-1] - scores[len(scores) // 2], scores[-1] - scores[0]]
    numbers = [getattr(epoch, name) for epoch in (first, last) for name in MONITORED]
    return curve + [-1.0 if number is None else float(np.clip(number, -1e9, 1e9)) for number in numbers]


def by_table(measured: Measured, table: PriorityTable, seen: Callable[[Condition], Condition]) -> Prediction:
    """Predict the gains as a search does before its first result.

    Args:
        seen: What of a model's condition is known.
    """
    estimates, words = GainModel(table), TableWords(measured.space, table)
    predicted = []
    for gain in measured.gains:
        condition = seen(gain.condition)
        now = _present(measured.space, words, measured.models[gain.model].parameters, gain.object, condition)
        predicted.append(estimates.estimate(Subject.of(condition, gain.object, gain.value), now).mean)
    return measured.judge(np.array(predicted))


def only_architecture(condition: Condition) -> Condition:
    return Condition(architecture=condition.architecture)


def _present(
    space: SearchSpace, words: TableWords, configuration: Mapping[str, Json], object_: str, condition: Condition
) -> Subject | None:
    """What the model has of an action's object; ``None`` if nothing."""
    active = space.active_values(dict(configuration))
    own = [(parameter, value) for parameter, value in active if parameter.object == object_]
    return words.subject(*own[0], condition) if own else None


def without_effect(measured: Measured) -> str:
    """How many actions changed nothing in the training, which a score alone cannot tell."""
    pairs = [
        (measured.models[record.model], record)
        for record in measured.records
        if record.action is not None and record.score is not None and record.model in measured.models
    ]
    n_equal = sum(one.score == other.score for one, other in pairs)
    n_same = sum(is_same_training(one.feedback, other.feedback) for one, other in pairs)
    return (
        f"Without effect: {n_same} of {len(pairs)} actions ({n_same / len(pairs):.1%}) left every loss, score and "
        f"gradient of the training as it was; {n_equal} left the score."
    )


def stopping(measured: Measured) -> str:
    """What the assessor's rules would have saved, and what they would have cost."""
    ended = list(_stops(measured))
    n_epochs = sum(len(record.feedback.epochs) for record, _ in ended)
    n_trained = sum(n for _, n in ended)
    stopped = [(record, n) for record, n in ended if n < len(record.feedback.epochs)]
    best = sorted((known_score(record) for record, _ in ended), reverse=True)
    goal = best[max(0, round(BEST_SHARE * len(best)) - 1)]
    lost = sum(known_score(record) >= goal for record, _ in stopped)
    return (
        f"Stopping: {len(stopped)} of {len(ended)} trainings would have been stopped, which saves "
        f"{1 - n_trained / n_epochs:.1%} of the epochs; {lost} of them would have come out in the best quarter."
    )


def _stops(measured: Measured) -> Iterator[tuple[TrainingRecord, int]]:
    """Each training that succeeded, and after how many epochs it is stopped; it learns of those before it."""
    settings = AssessorSettings(optimize_mode=measured.settings.optimize_mode)
    finished: list[tuple[float, Sequence[EpochFeedback]]] = []
    for record in measured.records:
        if record.score is None:
            continue
        epochs = record.feedback.epochs
        references = [curve for _, curve in finished]
        length = len(epochs)
        for n in range(1, length):
            if stop_reason(record.feedback.model_copy(update={"epochs": epochs[:n]}), references, settings):
                length = n
                break
        yield record, length
        if length == len(epochs):
            finished = sorted([*finished, (known_score(record), epochs)], key=lambda each: -each[0])[:N_REFERENCES]


if __name__ == "__main__":
    main()
