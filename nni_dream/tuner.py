"""DreamTuner: NNI's calls on one side, the suggester and the book of trials on the other (DREAM Algorithm 1)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from nni import NoMoreTrialError
from nni.runtime.tuner_command_channel import CommandType
from nni.tuner import Tuner

from nni_dream import __version__
from nni_dream.callbacks import dispatcher_of, guard_dispatcher, never_raises, report_error
from nni_dream.config import TunerSettings, parse_settings
from nni_dream.feedback import Json
from nni_dream.hidden_messages import customized_result, ending_job, identify_trial, observe_metric, was_cancelled
from nni_dream.manager import (
    end_after_running_trials,
    end_and_cancel_trials,
    end_with_manager,
    local_trial,
    trial_limit,
)
from nni_dream.outcomes import journal_end, journal_job_end, journal_result, journal_stop
from nni_dream.own_commands import OwnTrialError, UntrainableSpaceError, available_space
from nni_dream.plain_messages import read_plain_json
from nni_dream.resume import may_import, restore, unfinished_trials
from nni_dream.search.priorities import load_priority_table
from nni_dream.search.space import Configuration, SearchSpace, SearchSpaceError
from nni_dream.search.suggestions import Origin, Suggestion
from nni_dream.suggester import Suggester
from nni_dream.trials import TrialRecord, shared_book

__all__ = ["DreamTuner"]

EVERYTHING_TRIED: Final = "every configuration of the search space was tried"
MAX_SKIPPED_IN_JOURNAL: Final = 20  # actions; the count of all is there too

_logger = logging.getLogger(__name__)


class DreamTuner(Tuner):  # type: ignore[misc]
    """Suggests new configurations at first and then repairs of the best trials, by their conditions and a table.

    Arguments (``classArgs``) are those of :class:`nni_dream.config.TunerSettings`, checked here, at once.  Works with
    or without :class:`nni_dream.assessor.DreamAssessor`, and with trials that report no more than their score.

    Raises:
        SettingsError: If an argument is unknown or breaks its rule.
        PriorityTableError: If the priority table cannot be found or read.
    """

    def __init__(self, **class_args: Json) -> None:
        super().__init__()
        read_plain_json()
        self.settings = parse_settings(TunerSettings, class_args, "DreamTuner")
        table = load_priority_table(self.settings.priority)
        self.book = shared_book(self.settings.optimize_mode)
        self.book.roles = self.settings.roles
        seed = _drawn_seed() if self.settings.seed is None else self.settings.seed
        self.suggester = Suggester(self.book, self.settings, table, seed)
        self._refusal: str | None = None  # why there is no usable search space
        self._unfinished: list[TrialRecord] | None = None  # of an earlier process, to be suggested again; None: unasked
        self._finished: str | None = None  # why the search is over
        self._owed: list[int] = []  # parameter ids that NNI asked for when every configuration had been tried
        self._st_callback: Callable[..., None] | None = None  # NNI's way to take a trial unasked
        self._ending_job: str | None = None  # whose end NNI is about to tell, without saying whose
        self._finish_lock = threading.Lock()
        self._has_begun = False
        self._continues = False  # whether the journal knows trials of an earlier process
        end_with_manager()

    def _begin(self) -> None:
        """Take up an earlier process's search; not in the constructor, for which NNI waits ten seconds at most.

        Raises:
            OSError: If the journal cannot be read.
        """
        memory = restore(self.book, self.settings.seed)
        suggester = self.suggester
        suggester.applied = memory.applied
        if memory.seed is not None:
            suggester.seed = memory.seed
        _logger.info("DreamTuner %s, seed %d, priority table %s", __version__, suggester.seed, self.settings.priority)
        n_trials = self.book.n_records
        self._continues = n_trials > 0
        settings = self.settings.model_dump(mode="json")
        self.book.journal.append(
            "start",
            version=__version__,
            seed=suggester.seed,
            settings=settings,
            continues=self._continues,
            n_trials=n_trials,
        )
        self._has_begun = True

    @never_raises(fallback=None)
    def update_search_space(self, search_space: Json) -> None:
        """Check and take the search space, at the start or in mid-run.

        NNI offers no way to refuse here: a wrong space at the start, or a journal that cannot be read, ends the
        experiment at the first request for parameters, a wrong space in mid-run leaves the old one in force.
        """
        if not self._has_begun:
            try:
                self._begin()
            except OSError as error:
                self._refusal = _unreadable(self.book.journal.path, error)
                _logger.error("%s", self._refusal)
                return
        is_first = self.suggester.space is None
        try:
            search_space = _trainable(search_space)
            space = SearchSpace(search_space, self.settings.roles)
            if is_first and not self.book.n_records:  # later a parameter may have left the space
                space.check_roles(self.settings.roles)
            self.suggester.take_space(space)
        except SearchSpaceError as error:
            self._refuse(str(error), is_first)
            return
        self._refusal = None
        self.book.journal.append("search_space", search_space=search_space)
        self._serve_owed()

    def generate_parameters(self, parameter_id: int, **kwargs: Any) -> Configuration:
        """Return the configuration to try next.

        Raises:
            nni.NoMoreTrialError: If the search is over; NNI expects it.
        """
        configurations = self.generate_multiple_parameters([parameter_id], **kwargs)
        if not configurations:
            raise NoMoreTrialError("there is nothing more to suggest")
        return configurations[0]

    def generate_multiple_parameters(self, parameter_id_list: list[int], **kwargs: Any) -> list[Configuration]:
        """Return a configuration for each id, or for fewer when the search is over; the experiment then ends.

        Never raises.  What keeps it from suggesting anything ends the experiment too, with NNI's status ERROR and the
        reason: NNI does not ask again, and would wait for ever.
        """
        st_callback = kwargs.get("st_callback")
        configurations: list[Configuration] = []
        try:
            self._prepare(st_callback)
            for parameter_id in parameter_id_list:
                suggestion = self._suggest(parameter_id)
                if suggestion is None:
                    self._owed += parameter_id_list[len(configurations) :]
                    self._end_search(st_callback)
                    break
                configurations.append(suggestion.configuration)
        except Exception as error:  # nobody above could answer it
            _logger.exception("no configuration could be suggested")
            report_error(st_callback, f"DreamTuner cannot suggest a configuration: {type(error).__name__}: {error}")
        return configurations

    @never_raises(fallback=None)
    def receive_trial_result(
        self, parameter_id: int | None, parameters: Json, value: Json, trial_job_id: str | None = None, **_: Any
    ) -> None:
        """Enter a final result; it may change the candidate, and reach the target."""
        self._enter_result(parameter_id, parameters, value, trial_job_id)

    @never_raises(fallback=None)
    def trial_end(self, parameter_id: int | None, success: bool, **_: Any) -> None:
        """Enter the end of a trial; one that ended without a result has failed."""
        if not self.book.has_assessor:
            self._end_job(success)
        record = self.book.end(parameter_id, success)
        if record is not None:
            journal_end(self.book, record)
        self._finish_at_target()

    @never_raises(fallback=None)
    def import_data(self, data: list[dict[str, Json]]) -> None:
        """Enter results of earlier trials: NNI's resume, and ``nnictl experiment import``.

        What the journal knows already is not touched: NNI may name another trial's parameters.
        """
        for entry in data:
            if self._is_of_another_space(entry):
                _logger.warning(
                    "imported result left out, nothing of it is in the search space: %s", entry["parameter"]
                )
            elif may_import(self.book, entry, continues=self._continues):
                self._enter_result(None, entry.get("parameter"), entry.get("value"), entry.get("trialJobId"))

    def _is_of_another_space(self, entry: Mapping[str, Json]) -> bool:
        """Whether a user imported what no action could start from; what NNI replays of this experiment never is."""
        given, space = entry.get("parameter"), self.suggester.space
        if entry.get("trialJobId") is not None or not isinstance(given, dict) or space is None:
            return False
        return not space.active_values(given)

    @never_raises(fallback=None)
    def _hear(self, command: CommandType, data: Json) -> None:
        """Learn what NNI keeps to itself: whose a metric is, results of trials from the web page, how which job ended.

        Without our assessor the intermediate results too.
        """
        if command is CommandType.TrialEnd:
            self._hear_of_end(data)
        if command is not CommandType.ReportMetricData:
            return
        identify_trial(self.book, data)
        if not self.book.has_assessor:
            observe_metric(self.book, data)
        result = customized_result(data)
        if result is not None:
            self._enter_result(None, None, result, data["trial_job_id"])

    def _hear_of_end(self, data: Json) -> None:
        """Enter at once what a trial reported that was cancelled: to tuner and assessor NNI tells it as a failure."""
        job_id = self._ending_job = ending_job(data)
        record = self.book.cancel(job_id) if job_id is not None and was_cancelled(data) else None
        if job_id is not None and record is not None and record.stop is not None:
            journal_stop(self.book, record, job_id, record.stop, self.settings.thresholds)

    def _end_job(self, success: bool) -> None:
        """Enter the end of the job that NNI has just named, as our assessor would."""
        job_id, self._ending_job = self._ending_job, None
        record = None if job_id is None else self.book.end_job(job_id, success)
        if job_id is not None and record is not None:
            journal_job_end(self.book, record, job_id, self.settings.thresholds)

    def _prepare(self, st_callback: Callable[..., None] | None) -> None:
        """Before the first request is answered: learn which trials NNI starts again, and guard its dispatcher."""
        self._plan()
        if self._unfinished is not None:
            return
        self._st_callback = st_callback
        dispatcher = dispatcher_of(st_callback)
        if dispatcher is not None:
            guard_dispatcher(dispatcher, self.book.malformed.count, self._hear)
        self._unfinished = unfinished_trials(self.book, getattr(dispatcher, "recovered_trial_params", {}).values())
        self._finish_at_target()

    def _plan(self) -> None:
        """Learn how many trials are planned: at the first request, and after as many, as the limit may be raised."""
        if self.settings.planned_trials is not None or self.settings.strategy != "learning":
            return
        suggester = self.suggester
        is_used_up = suggester.n_planned is not None and self.book.n_records >= suggester.n_planned
        if self._unfinished is None or is_used_up:
            suggester.n_planned = trial_limit()

    def _serve_owed(self) -> None:
        """A new space may have what the old one had no more of: NNI will not ask for these slots again.

        The experiment's trial limit was lowered then (:func:`end_after_running_trials`): the user has to raise it too.
        """
        if self._finished != EVERYTHING_TRIED or self._st_callback is None:
            return
        self._finished = None
        while self._owed:
            suggestion = self._suggest(self._owed[0])
            if suggestion is None:
                return
            self._st_callback(self._owed.pop(0), suggestion.configuration)

    def _suggest(self, parameter_id: int) -> Suggestion | None:
        space = self.suggester.space
        if space is None or self._finished is not None:
            return None
        again = self._suggest_again(space, parameter_id)
        if again is not None:
            return again
        suggestion = self.suggester.next()
        if suggestion is None:
            self._finish(EVERYTHING_TRIED)
            return None
        record = self.book.add(parameter_id, suggestion.configuration, suggestion.origin)
        self._log_suggestion(record, suggestion.origin)
        return suggestion

    def _suggest_again(self, space: SearchSpace, parameter_id: int) -> Suggestion | None:
        """A trial without result that NNI lost when the search was stopped; as long as it fits the space."""
        while self._unfinished:
            record = self._unfinished.pop(0)
            if self.book.find(record.configuration) != record or not space.contains(record.configuration):
                continue
            self.book.resubmit(parameter_id, record.configuration)
            _logger.info("trial %d again: it had no result when the search was stopped", record.number)
            self.book.journal.append("suggestion_again", trial=record.number, parameter_id=parameter_id)
            return Suggestion(record.configuration, record.origin)
        return None

    def _refuse(self, reason: str, is_first: bool) -> None:
        _logger.error("search space refused: %s", reason)
        self.book.journal.append("refused", reason=reason)
        if is_first:
            self._refusal = reason

    def _finish(self, reason: str, *, cancels: bool = False) -> None:
        """End the experiment when all that was handed out has been tried, or at once, with its trials."""
        with self._finish_lock:  # the target can be reached on either of NNI's threads
            if self._finished is not None:
                return
            self._finished = reason
        self.book.journal.append("finish", reason=reason)
        if cancels:
            end_and_cancel_trials(reason)
        else:
            end_after_running_trials(reason, self.book.parameter_ids)

    @never_raises(fallback=None)
    def _end_search(self, st_callback: Callable[..., None] | None) -> None:
        """Tell NNI that there is nothing more to suggest, or, with its status ERROR, that nothing can be."""
        if self.suggester.space is not None:
            self._finish("there is nothing more to suggest")
            return
        reason = f"DreamTuner cannot start: {self._refusal or 'NNI sent no search space'}"
        report_error(st_callback, reason)

    def _log_suggestion(self, record: TrialRecord, reason: Origin) -> None:
        _logger.info("trial %d: %s", record.number, reason)
        skipped = [asdict(skipped) for skipped in reason.skipped[:MAX_SKIPPED_IN_JOURNAL]]
        self.book.journal.append(
            "suggestion",
            trial=record.number,
            parameter_id=record.parameter_id,
            parameters=record.configuration,
            **asdict(replace(reason, skipped=())) | {"skipped": skipped},
            n_skipped=len(reason.skipped),
        )

    def _enter_result(self, parameter_id: int | None, parameters: Json, value: Json, job_id: str | None) -> None:
        record = self.book.finish(parameter_id, parameters, value, job_id)
        if record is not None:
            journal_result(self.book, record, job_id, self.settings.thresholds)
        self._finish_at_target()

    def _finish_at_target(self) -> None:
        target = self.settings.target_score
        best = None if target is None else self.book.best()
        if target is None or best is None or best.score is None:
            return
        is_reached = best.score >= target if self.settings.optimize_mode == "maximize" else best.score <= target
        if is_reached:
            self.book.is_over = True
            self._finish(f"trial {best.number} reached the target: {best.score:g}", cancels=True)


def _drawn_seed() -> int:
    return int(np.random.SeedSequence().generate_state(1)[0])


def _unreadable(journal: Path | None, error: OSError) -> str:
    return (
        f"the journal {journal} cannot be read ({error.strerror or error}), and what it knows would be lost; "
        "let this user read and write it, or move it away to begin anew"
    )


def _trainable(search_space: Json) -> Json:
    """The search space without what needs weights that are not at hand, where trials of this package run here.

    Raises:
        SearchSpaceError: If nothing is left of a parameter.
    """
    trial = local_trial()
    if trial is None:
        return search_space
    try:
        space, notes = available_space(trial.command, trial.folder, search_space)
    except UntrainableSpaceError as error:
        raise SearchSpaceError(str(error)) from error
    except (OwnTrialError, OSError, LookupError, TypeError, ValueError) as error:
        # The trials say so too, if they are ours; a command of others need not even be one that we can split.
        _logger.warning("the search space is taken as it is: %s", error)
        return search_space
    for note in notes:
        _logger.warning("%s", note)
    return space
