"""What is still to be trained for a table, and what came of it: the one way to the file of trainings."""

from __future__ import annotations

import threading
import time
from collections import Counter

from nni_dream.feedback import FeedbackError, Json, TrialFeedback, final_score, parse_metric
from nni_dream.priority_building.plan import PlannedTraining, plan_trainings
from nni_dream.priority_building.records import RecordFile, TrainedAction, TrainingRecord
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import Configuration, SearchSpace

__all__ = ["TrainingQueue"]


class TrainingQueue:
    """Hands out the trainings of the plan that the file does not have, and enters their results; thread-safe.

    The same configuration is trained once, however many models and actions lead to it.

    Args:
        records: The file.
        max_trainings: The file is complete with so many; ``None``: with the whole plan.
        max_seconds: After so many seconds from now nothing more is handed out; ``None``: no limit.
    """

    def __init__(
        self, records: RecordFile, *, max_trainings: int | None = None, max_seconds: float | None = None
    ) -> None:
        settings = records.settings
        self.space = SearchSpace(settings.search_space, settings.roles)
        self._records = records
        self._plan = list(plan_trainings(self.space, settings.n_models, settings.seed))[:max_trainings]
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds
        self._lock = threading.RLock()
        self._place = 0
        self._running: dict[str, list[PlannedTraining]] = {}  # identity of a configuration -> what waits for it
        self._done = {canonical_json(record.parameters): record for record in records.records.values()}

    @property
    def n_planned(self) -> int:
        return len(self._plan)

    @property
    def n_seed_models(self) -> int:
        """How many of the planned trainings change nothing: without another one no gain is measured."""
        return sum(planned.action is None for planned in self._plan)

    @property
    def n_done(self) -> int:
        with self._lock:
            return sum(planned.key in self._records.records for planned in self._plan)

    def next(self) -> PlannedTraining | None:
        """Return the next training, or ``None`` when there is none left or no time for it."""
        with self._lock:
            while self._place < len(self._plan):
                if self._deadline is not None and time.monotonic() > self._deadline:
                    return None
                planned = self._plan[self._place]
                self._place += 1
                if self._is_needed(planned):
                    return planned
            return None

    def finish(self, configuration: Configuration, metric: Json, seconds: float | None = None) -> bool:
        """Enter a final metric; whether it was a training of this plan that had no result yet."""
        try:
            feedback = parse_metric(metric) or TrialFeedback()
        except FeedbackError:
            feedback = TrialFeedback()
        score = final_score(metric, feedback.epochs, self._records.settings.optimize_mode)
        if score is None:
            return self.fail(configuration, "it reported no finite score", seconds)
        slim = feedback.model_copy(update={"parameters": None})
        return self._enter(configuration, {"status": "succeeded", "score": score, "feedback": slim, "seconds": seconds})

    def fail(self, configuration: Configuration, error: str, seconds: float | None = None) -> bool:
        """Enter that a training brought no result; a result that comes later counts instead."""
        return self._enter(configuration, {"status": "failed", "error": error, "seconds": seconds})

    def n_failed(self) -> Counter[str]:
        """Return error -> how many trainings failed with it."""
        return Counter(record.error or "" for record in self._records.records.values() if record.status == "failed")

    def _is_needed(self, planned: PlannedTraining) -> bool:
        if planned.key in self._records.records:
            return False
        model = self._records.records.get((planned.model, None))
        if model is not None and model.status == "failed":  # it has no condition: nothing could be learned of it
            return False
        identity = canonical_json(planned.configuration)
        if identity in self._running:
            self._running[identity].append(planned)
            return False
        if identity in self._done:
            self._copy(planned, self._done[identity])
            return False
        self._running[identity] = [planned]
        return True

    def _enter(self, configuration: Configuration, outcome: dict[str, Json]) -> bool:
        with self._lock:
            identity = canonical_json(configuration)
            known = self._done.get(identity)
            if known is not None and known.status == "failed" and outcome["status"] == "succeeded":
                self._running[identity] = [
                    plan for plan in self._plan if canonical_json(plan.configuration) == identity
                ]
            if identity not in self._running:
                return False
            first, *others = self._running.pop(identity)
            record = TrainingRecord(model=first.model, parameters=first.configuration, **outcome)
            self._done[identity] = record
            self._add(first, record)
            for planned in others:
                self._copy(planned, record)
            return True

    def _copy(self, planned: PlannedTraining, result: TrainingRecord) -> None:
        """Enter what a training of the same configuration brought; its time was spent once."""
        self._add(planned, result.model_copy(update={"seconds": None}))

    def _add(self, planned: PlannedTraining, result: TrainingRecord) -> None:
        action = planned.action
        trained = None if action is None else TrainedAction(object=action.object, value=action.value, key=action.key)
        self._records.add(result.model_copy(update={"model": planned.model, "action": trained}))
