"""From trainings to a priority table: the mean gain of each action in each condition (DREAM section 4.2.3).

The gain of an action on a seed model is the score of the changed model minus the model's own, and larger is better
whether the score is maximised or minimised.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from statistics import mean, stdev
from typing import Final

from nni_dream.config import Thresholds
from nni_dream.feedback import Json
from nni_dream.priority_building.records import BuildSettings, RecordsError, TrainingRecord
from nni_dream.search.conditions import Condition, diagnose
from nni_dream.search.priorities import ActionKey, PriorityAction, PriorityRow, PriorityTable, Provenance, action_key

__all__ = ["Gain", "gains", "measure_table"]

PACKAGES: Final = ("nni_dream", "torch", "timm", "numpy")
DIGITS: Final = 6  # significant, of the numbers in a table


@dataclass(frozen=True)
class Gain:
    """What one action brought to one seed model."""

    model: int
    condition: Condition
    object: str
    value: Json
    gain: float  # change of the score, larger is better
    has_failed: bool  # then the gain is a fall to the worst seed model


def gains(
    settings: BuildSettings, records: Iterable[TrainingRecord], thresholds: Thresholds | None = None
) -> list[Gain]:
    """Return the gain of every action on a seed model that has a score."""
    return list(_gains(settings, list(records), thresholds or Thresholds()))


def _gains(settings: BuildSettings, records: list[TrainingRecord], thresholds: Thresholds) -> Iterator[Gain]:
    sign = 1.0 if settings.optimize_mode == "maximize" else -1.0
    models = {record.model: record for record in records if record.action is None and record.score is not None}
    worst = min((sign * record.score for record in models.values() if record.score is not None), default=math.nan)
    conditions = {
        number: diagnose(record.feedback, record.parameters, settings.optimize_mode, thresholds, settings.roles)
        for number, record in models.items()
    }
    for record in records:
        model = models.get(record.model)
        if record.action is None or model is None or model.score is None:
            continue
        changed = worst if record.score is None else sign * record.score
        yield Gain(
            record.model,
            conditions[record.model],
            record.action.object,
            record.action.value,
            changed - sign * model.score,
            record.score is None,
        )


def measure_table(
    settings: BuildSettings,
    records: Iterable[TrainingRecord],
    *,
    task: str,
    thresholds: Thresholds | None = None,
    today: date | None = None,
) -> PriorityTable:
    """Return the table of all trainings of a file; a condition that no seed model was in has no row.

    Raises:
        RecordsError: If no action was trained on a model that has a score.
    """
    records, thresholds = list(records), thresholds or Thresholds()
    measured = gains(settings, records, thresholds)
    if not measured:
        raise RecordsError("no action was trained yet on a seed model that has a score: a table needs one at least")
    cells: dict[Condition, dict[ActionKey, list[Gain]]] = defaultdict(lambda: defaultdict(list))
    for gain in measured:
        cells[gain.condition][action_key(gain.object, gain.value)].append(gain)
    n_failures = sum(record.status == "failed" for record in records)
    return PriorityTable(
        version=1,
        task=task,
        source=f"measured by nni-dream priority build on {settings.data}",
        provenance=Provenance(
            data=(settings.data,),
            trial_commands=(settings.trial_command,),
            seeds=(settings.seed,),
            thresholds=thresholds.model_dump(),
            n_models=len({gain.model for gain in measured}),
            n_trainings=len(records),
            n_failures=n_failures,
            hours=_rounded(sum(record.seconds or 0.0 for record in records) / 3600),
            versions=_versions(),
            date=(today or date.today()).isoformat(),
        ),
        rows=tuple(_row(condition, cells[condition]) for condition in sorted(cells, key=str)),
    )


def _row(condition: Condition, actions: Mapping[ActionKey, list[Gain]]) -> PriorityRow:
    measured = sorted((_action(own) for own in actions.values()), key=lambda action: -(action.mean_gain or 0.0))
    return PriorityRow(condition=str(condition), actions=tuple(measured))


def _action(measured: list[Gain]) -> PriorityAction:
    values = [gain.gain for gain in measured]
    return PriorityAction(
        object=measured[0].object,
        value=measured[0].value,
        mean_gain=_rounded(mean(values)),
        n=len(values),
        standard_deviation=_rounded(stdev(values)) if len(values) > 1 else None,
        n_failures=sum(gain.has_failed for gain in measured),
    )


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
