"""DreamAssessor: keeps each trial's epochs for the tuner, and stops a trial only for a named reason."""

from __future__ import annotations

from typing import Any

from nni.assessor import Assessor, AssessResult

from nni_dream.callbacks import never_raises
from nni_dream.config import AssessorSettings, parse_settings
from nni_dream.feedback import Json
from nni_dream.outcomes import journal_job_end, journal_stop
from nni_dream.search.stopping import stop_reason
from nni_dream.trials import TrialStatus, shared_book

__all__ = ["DreamAssessor"]


class DreamAssessor(Assessor):  # type: ignore[misc]
    """Stops trials that are doomed: see :mod:`nni_dream.search.stopping` for the rules.

    Arguments (``classArgs``) are those of :class:`nni_dream.config.AssessorSettings`, checked here, at once.  Beside
    another tuner it works too.

    Raises:
        SettingsError: If an argument is unknown or breaks its rule.
    """

    def __init__(self, **class_args: Json) -> None:
        super().__init__()
        self.settings = parse_settings(AssessorSettings, class_args, "DreamAssessor")
        self.book = shared_book(self.settings.optimize_mode)
        self.book.has_assessor = True

    @never_raises(fallback=AssessResult.Good)
    def assess_trial(self, trial_job_id: str, trial_history: list[Json]) -> AssessResult:
        """Take in the trial's epochs; Bad when a rule says so.

        NNI goes on asking after Bad, until the trial's end arrives: the verdict stands, and is given once.
        """
        feedback = self.book.observe(trial_job_id, trial_history)
        if self.book.verdict(trial_job_id) is not None:
            return AssessResult.Bad
        settings = self.settings
        best = self.book.best_trials(settings.n_reference_trials, TrialStatus.SUCCEEDED)
        reason = stop_reason(feedback, [record.feedback.epochs for record in best], settings)
        if reason is None:
            return AssessResult.Good
        record = self.book.stop(trial_job_id, reason)
        if self.book.verdict(trial_job_id) is None:  # it has ended by itself
            return AssessResult.Good
        journal_stop(self.book, record, trial_job_id, reason, settings.thresholds)
        return AssessResult.Bad

    @never_raises(fallback=None)
    def trial_end(self, trial_job_id: str, success: bool, **_: Any) -> None:
        """Enter the end of a trial job, which may be all that says how the trial went."""
        record = self.book.end_job(trial_job_id, success)
        if record is not None:
            journal_job_end(self.book, record, trial_job_id, self.settings.thresholds)
