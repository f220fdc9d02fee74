"""DreamTuner: NNI's calls on one side, the policy and the trial book on the other (DREAM Algorithm 1)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from nni import NoMoreTrialError
from nni.tuner import Tuner

from nni_dream import __version__
from nni_dream.callbacks import never_raises
from nni_dream.config import TunerSettings, parse_settings
from nni_dream.feedback import Json
from nni_dream.manager import finish_experiment
from nni_dream.search.actions import apply_partial
from nni_dream.search.conditions import diagnose
from nni_dream.search.policy import Candidate, Origin, Suggestion, suggest_repair, suggest_unseen
from nni_dream.search.priorities import load_priority_table
from nni_dream.search.space import Configuration, SearchSpace, SearchSpaceError, canonical_json
from nni_dream.trials import TrialRecord, shared_book

__all__ = ["DreamTuner"]

MAX_SKIPPED_IN_JOURNAL: Final = 20  # actions; the count of all is there too

_logger = logging.getLogger(__name__)


class DreamTuner(Tuner):  # type: ignore[misc]
    """Suggests repairs of the best trial so far, by its condition and a priority table.

    Arguments (``classArgs``) are those of :class:`nni_dream.config.TunerSettings`, checked here, at once.  Works with
    or without :class:`nni_dream.assessor.DreamAssessor`, and with trials that report no more than their score.

    Raises:
        SettingsError: If an argument is unknown or breaks its rule.
        PriorityTableError: If the priority table cannot be found or read.
    """

    def __init__(self, **class_args: Json) -> None:
        super().__init__()
        self.settings = parse_settings(TunerSettings, class_args, "DreamTuner")
        self.table = load_priority_table(self.settings.priority)
        self.seed = (
            int(np.random.SeedSequence().generate_state(1)[0]) if self.settings.seed is None else self.settings.seed
        )
        self.book = shared_book(self.settings.optimize_mode)
        self.space: SearchSpace | None = None
        self._refusal: str | None = None  # why there is no usable search space
        self._initial: list[Configuration] = []  # still to be suggested
        self._applied: dict[int, set[str]] = {}  # candidate's trial number -> keys of the actions it was given
        self._is_finished = False
        _logger.info("DreamTuner %s, seed %d, priority table %s", __version__, self.seed, self.settings.priority)
        settings = self.settings.model_dump(mode="json")
        self.book.journal.append("start", version=__version__, seed=self.seed, settings=settings)

    @never_raises(fallback=None)
    def update_search_space(self, search_space: Json) -> None:
        """Check and take the search space, at the start or in mid-run.

        NNI offers no way to refuse here: a wrong space at the start ends the experiment at the first request for
        parameters, a wrong one in mid-run leaves the old one in force.
        """
        is_first = self.space is None
        try:
            space = SearchSpace(search_space)
            initial = [self._complete(given, space) for given in self.settings.initial_parameters] if is_first else []
        except SearchSpaceError as error:
            self._refuse(str(error), is_first)
            return
        self.space, self._refusal = space, None
        if is_first:
            self._initial = initial
        self.book.journal.append("search_space", search_space=search_space)

    def generate_parameters(self, parameter_id: int, **kwargs: Any) -> Configuration:
        """Return the configuration to try next.

        Raises:
            nni.NoMoreTrialError: If the search is over; NNI expects it.
        """
        configurations = self.generate_multiple_parameters([parameter_id], **kwargs)
        if not configurations:
            raise NoMoreTrialError("there is nothing more to suggest")
        return configurations[0]

    @never_raises(fallback=[])
    def generate_multiple_parameters(self, parameter_id_list: list[int], **kwargs: Any) -> list[Configuration]:
        """Return a configuration for each id, or for fewer when the search is over; the experiment then ends."""
        configurations: list[Configuration] = []
        for parameter_id in parameter_id_list:
            suggestion = self._suggest(parameter_id)
            if suggestion is None:
                self._end_search(kwargs.get("st_callback"))
                break
            configurations.append(suggestion.configuration)
        return configurations

    @never_raises(fallback=None)
    def receive_trial_result(
        self, parameter_id: int | None, parameters: Json, value: Json, trial_job_id: str | None = None, **_: Any
    ) -> None:
        """Enter a final result; it may change the candidate, and reach the target."""
        record = self.book.finish(parameter_id, parameters, value, trial_job_id)
        self._log_result(record, trial_job_id)

    @never_raises(fallback=None)
    def trial_end(self, parameter_id: int | None, success: bool, **_: Any) -> None:
        """Enter the end of a trial; one that ended without a result has failed."""
        record = self.book.end(parameter_id, success)
        if record is not None and not success:
            self.book.journal.append("end", trial=record.number, status=record.status.value)

    @never_raises(fallback=None)
    def import_data(self, data: list[dict[str, Json]]) -> None:
        """Enter results of earlier trials: NNI's resume, and ``nnictl experiment import``."""
        for entry in data:
            record = self.book.finish(None, entry.get("parameter"), entry.get("value"), entry.get("trialJobId"))
            self._log_result(record, entry.get("trialJobId"))

    def _suggest(self, parameter_id: int) -> Suggestion | None:
        if self.space is None or self._is_finished:
            return None
        suggestion = self._repair_or_random(self.space)
        if suggestion is None:
            self._finish("every configuration of the search space was tried")
            return None
        record = self.book.add(parameter_id, suggestion.configuration, suggestion.origin)
        self._log_suggestion(record)
        return suggestion

    def _repair_or_random(self, space: SearchSpace) -> Suggestion | None:
        try:
            return self._next_suggestion(space)
        except Exception:  # whatever the method trips over, a random configuration keeps the search alive
            _logger.exception("no repair could be suggested")
            states = self.book.states()
            rng = np.random.default_rng([self.seed, len(states)])
            return suggest_unseen(space, states, rng, "the policy failed, see the log")

    def _next_suggestion(self, space: SearchSpace) -> Suggestion | None:
        states = self.book.states()
        # One generator a suggestion: what is drawn depends on the seed and the place, not on what was drawn before.
        rng = np.random.default_rng([self.seed, len(states)])
        while self._initial:
            configuration = self._initial.pop(0)
            if canonical_json(configuration) not in states:
                return Suggestion(configuration, Origin("initial", "given as initial_parameters"))
        candidate = self._candidate()
        if candidate is None:
            return suggest_unseen(space, states, rng, "no trial has a score yet")
        applied = self._applied.setdefault(candidate.number, set())
        repair = suggest_repair(
            candidate, space, self.table, strategy=self.settings.strategy, applied=applied, known=states, rng=rng
        )
        if repair is None:
            return suggest_unseen(space, states, rng, f"every action on trial {candidate.number} was taken")
        applied.add(str(repair.origin.key))
        return repair

    def _candidate(self) -> Candidate | None:
        best = self.book.best()
        if best is None or best.score is None:
            return None
        condition = diagnose(best.feedback, best.configuration, self.settings.optimize_mode, self.settings.thresholds)
        return Candidate(best.number, best.configuration, condition, best.score)

    def _complete(self, given: Configuration, space: SearchSpace) -> Configuration:
        """A given seed configuration, its missing parameters drawn; what it states must lie in the space."""
        rng = np.random.default_rng([self.seed, len(given)])
        return apply_partial(given, space, lambda parameter: parameter.sample(rng))

    def _refuse(self, reason: str, is_first: bool) -> None:
        _logger.error("search space refused: %s", reason)
        self.book.journal.append("refused", reason=reason)
        if is_first:
            self._refusal = reason

    def _finish(self, reason: str) -> None:
        if self._is_finished:
            return
        self._is_finished = True
        self.book.journal.append("finish", reason=reason)
        finish_experiment(reason)

    @never_raises(fallback=None)
    def _end_search(self, st_callback: Callable[..., None] | None) -> None:
        """Tell NNI that there is nothing more to suggest, or, with its status ERROR, that nothing can be."""
        if self.space is not None:
            self._finish("there is nothing more to suggest")
            return
        reason = f"DreamTuner cannot start: {self._refusal or 'NNI sent no search space'}"
        dispatcher = getattr(st_callback, "__self__", None)  # NNI gives a tuner no other way to report an error
        if dispatcher is None:
            _logger.error("%s", reason)
        else:
            dispatcher.report_error(reason)

    def _log_suggestion(self, record: TrialRecord) -> None:
        _logger.info("trial %d: %s", record.number, record.origin)
        origin = asdict(record.origin)
        skipped = origin.pop("skipped")
        self.book.journal.append(
            "suggestion",
            trial=record.number,
            parameter_id=record.parameter_id,
            parameters=record.configuration,
            **origin,
            skipped=list(skipped[:MAX_SKIPPED_IN_JOURNAL]),
            n_skipped=len(skipped),
        )

    def _log_result(self, record: TrialRecord | None, job_id: str | None) -> None:
        if record is None:
            return
        mode = self.settings.optimize_mode
        condition = str(diagnose(record.feedback, record.configuration, mode, self.settings.thresholds))
        best = self.book.best()
        is_best = best is not None and best.number == record.number
        _logger.info(
            "trial %d: score %s, %s%s", record.number, record.score, condition, ", best so far" if is_best else ""
        )
        self.book.journal.append(
            "result",
            trial=record.number,
            job=job_id,
            parameter_id=record.parameter_id,
            parameters=record.configuration,
            score=record.score,
            condition=condition,
            status=record.status.value,
            n_epochs=len(record.feedback.epochs),
            is_best=is_best,
        )
        if record.score is not None and self._reaches_target(record.score):
            self._finish(f"trial {record.number} reached the target: {record.score:g}")

    def _reaches_target(self, score: float) -> bool:
        target = self.settings.target_score
        if target is None:
            return False
        return score >= target if self.settings.optimize_mode == "maximize" else score <= target
