"""Trials answered from recorded trainings: by look-up where a configuration was trained, else by a random forest.

What is not on record gets the forest's score, with noise of half the out-of-bag residuals' size that is drawn from the
configuration itself (the same question always has the same answer; without noise a greedy search would be flattered),
and curve and feedback of the recorded training that shares most leaves with it, its scores scaled to the new best.
"""

from __future__ import annotations

import math
import zlib
from argparse import ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor

from nni_dream.config import Thresholds
from nni_dream.feedback import Json, TrialFeedback
from nni_dream.priority_building.measured_table import measure_table
from nni_dream.priority_building.records import BuildSettings, TrainingRecord, read_records
from nni_dream.search.conditions import Condition, diagnose
from nni_dream.search.json_values import canonical_json
from nni_dream.search.priorities import PriorityTable, load_priority_table

__all__ = [
    "HeldOutError",
    "RecordedTrials",
    "SharedDataError",
    "configuration_features",
    "data_and_other",
    "known_score",
    "refuse_shared_data",
    "write_table",
]

N_TREES: Final = 200
NOISE_SHARE: Final = 0.5  # of the out-of-bag residuals' standard deviation
N_FOLDS: Final = 5


class SharedDataError(ValueError):
    """A table that guides a search was measured on the data that the search is judged on."""


class HeldOutError(NamedTuple):
    """How well the forest answers for seed models, and their changed ones, that it has not seen."""

    mean_absolute_error: float
    r2: float
    rank_correlation: float  # Spearman's
    condition_accuracy: float  # share of the trainings whose condition is that of the most similar record


class RecordedTrials:
    """Answers like a trial: configuration in, score and feedback out.

    Args:
        path: A file of trainings, as ``nni-dream priority build`` writes it; it may be gzipped.
    """

    def __init__(self, path: Path) -> None:
        self.settings: BuildSettings
        self.settings, records = read_records(path)
        self.records = [record for record in records if record.score is not None]
        self.seed_models = sorted((r for r in self.records if r.action is None), key=lambda r: known_score(r))
        self._known = {canonical_json(record.parameters): record for record in self.records}
        features = [configuration_features(record.parameters) for record in self.records]
        self._columns = {name: i for i, name in enumerate(sorted({name for own in features for name in own}))}
        self._inputs = np.array([self._vector(own) for own in features])
        self._scores = np.array([known_score(record) for record in self.records])
        self._forest = _forest(with_bag=True).fit(self._inputs, self._scores)
        self._noise = NOISE_SHARE * float(np.std(self._scores - self._forest.oob_prediction_))
        self._leaves = self._forest.apply(self._inputs)
        self._is_share = bool(self._scores.min() >= 0 and self._scores.max() <= 1)
        self._answers: dict[str, tuple[float, TrialFeedback]] = {}

    def answer(self, configuration: Mapping[str, Json]) -> tuple[float, TrialFeedback]:
        """Return the score and the feedback that a trial with this configuration would report."""
        identity = canonical_json(configuration)
        if identity not in self._answers:
            record = self._known.get(identity)
            self._answers[identity] = (
                self._estimate(configuration, identity) if record is None else (known_score(record), record.feedback)
            )
        return self._answers[identity]

    def held_out_error(self) -> HeldOutError:
        """Fit on four fifths of the seed models, with all that was changed on them, and ask for the last, in turn."""
        models = np.array([record.model for record in self.records])
        conditions = [self._condition(record) for record in self.records]
        predicted = np.empty(len(self.records))
        n_right = 0
        for fold in range(N_FOLDS):
            asked, kept = models % N_FOLDS == fold, models % N_FOLDS != fold
            if not asked.any():  # there are fewer seed models than folds
                continue
            forest = _forest().fit(self._inputs[kept], self._scores[kept])
            predicted[asked] = forest.predict(self._inputs[asked])
            leaves = forest.apply(self._inputs[kept])
            places = np.flatnonzero(kept)
            for index, own in zip(np.flatnonzero(asked), forest.apply(self._inputs[asked]), strict=True):
                alike = int(places[int((leaves == own).mean(axis=1).argmax())])
                n_right += conditions[index] == conditions[alike]
        errors = self._scores - predicted
        return HeldOutError(
            float(np.abs(errors).mean()),
            float(1 - errors.var() / self._scores.var()),
            float(spearmanr(self._scores, predicted).statistic),
            n_right / len(self.records),
        )

    def _estimate(self, configuration: Mapping[str, Json], identity: str) -> tuple[float, TrialFeedback]:
        vector = self._vector(configuration_features(configuration))[None]
        rng = np.random.default_rng(zlib.crc32(identity.encode()))
        score = float(self._forest.predict(vector)[0] + rng.normal(0, self._noise))
        if self._is_share:
            score = min(max(score, 0.0), 1.0)
        alike = self.records[int((self._leaves == self._forest.apply(vector)).mean(axis=1).argmax())]
        return score, _scaled(alike.feedback, score / known_score(alike) if known_score(alike) else 1.0)

    def _vector(self, features: Mapping[str, float]) -> Any:
        vector = np.zeros(len(self._columns))
        for name, value in features.items():
            if name in self._columns:
                vector[self._columns[name]] = value
        return vector

    def _condition(self, record: TrainingRecord) -> Condition:
        own = self.settings
        return diagnose(record.feedback, record.parameters, own.optimize_mode, Thresholds(), own.roles)


class _Trained(Protocol):
    """Trainings, recorded or live."""

    @property
    def settings(self) -> BuildSettings: ...


def data_and_other(text: str) -> tuple[str, str]:
    """Return what searches are judged on and of what their table is made, for argparse."""
    data, _, other = text.partition("=")
    if not data or not other:
        raise ArgumentTypeError(f"is {text!r}, must be DATA=OTHER")
    return data, other


def refuse_shared_data(table: PriorityTable, trials: _Trained) -> None:
    """Refuse a table that was measured on the data of these trials.

    Raises:
        SharedDataError: If it was.
    """
    data = trials.settings.data
    if table.provenance is not None and data in table.provenance.data:
        raise SharedDataError(
            f"the table was measured on {', '.join(table.provenance.data)}, and the searches are judged on {data}: "
            "nothing may be judged on what fitted it; give a table of other data"
        )


def write_table(records: Path, folder: Path, *, judged_on: _Trained) -> str:
    """Measure the table that guides searches from a file of trainings, and return the file in which it is.

    Args:
        judged_on: The trainings that those searches are judged on.

    Raises:
        RecordsError: If the file has no trainings.
        SharedDataError: If both are of the same data.
    """
    settings, trainings = read_records(records)
    path = folder / f"{settings.data}.json"
    path.write_text(measure_table(settings, trainings, task=settings.data).model_dump_json(), encoding="utf-8")
    refuse_shared_data(load_priority_table(str(path)), judged_on)
    return str(path)


def _forest(*, with_bag: bool = False) -> RandomForestRegressor:
    return RandomForestRegressor(N_TREES, random_state=0, max_features=0.5, n_jobs=1, oob_score=with_bag)


def known_score(record: TrainingRecord) -> float:
    """Of a training that succeeded."""
    assert record.score is not None
    return record.score


def configuration_features(configuration: Mapping[str, Json], prefix: str = "") -> dict[str, float]:
    """Names with numbers: one for each word that is there, rates as logarithms; what is not there is 0."""
    features: dict[str, float] = {}
    for name, value in configuration.items():
        place = f"{prefix}{name}"
        if name == "_name":
            continue
        if isinstance(value, dict):
            features[f"{place}={value.get('_name')}"] = 1.0
            features |= configuration_features(value, f"{place}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            features[f"{place} is there"] = 1.0
            features[place] = math.log10(value) if "rate" in name and value > 0 else float(value)
        else:
            features[f"{place}={value}"] = 1.0
    return features


def _scaled(feedback: TrialFeedback, factor: float) -> TrialFeedback:
    epochs = tuple(
        epoch if epoch.val_score is None else epoch.model_copy(update={"val_score": epoch.val_score * factor})
        for epoch in feedback.epochs
    )
    return feedback.model_copy(update={"epochs": epochs})
