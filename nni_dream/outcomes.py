"""What became of a trial, written into the journal by whichever of tuner and assessor learns it first."""

from __future__ import annotations

import logging
from dataclasses import asdict

from nni_dream.config import Thresholds
from nni_dream.feedback import Json, TrialFeedback
from nni_dream.search.conditions import diagnose
from nni_dream.search.stopping import StopReason
from nni_dream.trials import TrialBook, TrialRecord, TrialStatus

__all__ = ["feedback_for_journal", "journal_end", "journal_job_end", "journal_result", "journal_stop"]

_logger = logging.getLogger(__name__)


def journal_result(book: TrialBook, record: TrialRecord, job_id: str | None, thresholds: Thresholds) -> None:
    """Log a trial that has its result, and journal everything that a resumed search needs of it."""
    with book.journal.lock:
        record = _now(book, record)
        best = book.best()
        is_best = best is not None and best.number == record.number
        outcome = _outcome(book, record, thresholds)
        book.journal.append(
            "result",
            trial=record.number,
            job=job_id,
            parameter_id=record.parameter_id,
            status=record.status.value,
            is_best=is_best,
            **outcome,
        )
    note = ", best so far" if is_best else ""
    _logger.info("trial %d: score %s, %s%s", record.number, record.score, outcome["condition"], note)
    book.malformed.write_counts()


def journal_stop(
    book: TrialBook, record: TrialRecord | None, job_id: str, reason: StopReason, thresholds: Thresholds
) -> None:
    """Log and journal the assessor's stop; without a record when it is not known which trial the job runs."""
    number = None if record is None else record.number
    _logger.info("stop trial %s (job %s): %s", number, job_id, reason.text)
    fields: dict[str, Json] = {"trial": number, "job": job_id, **asdict(reason)}
    with book.journal.lock:
        if record is not None:
            fields |= _outcome(book, _now(book, record), thresholds)
        book.journal.append("stop", **fields)


def journal_end(book: TrialBook, record: TrialRecord) -> None:
    """Journal that a trial ended without a result."""
    _logger.info("trial %d: %s", record.number, record.status.value)
    book.journal.append("end", trial=record.number, status=record.status.value)
    book.malformed.write_counts()


def journal_job_end(book: TrialBook, record: TrialRecord, job_id: str, thresholds: Thresholds) -> None:
    """Journal the end of a trial job, which may be all that says how the trial went."""
    if record.status is TrialStatus.FAILED:
        journal_end(book, record)
    else:
        journal_result(book, record, job_id, thresholds)


def feedback_for_journal(feedback: TrialFeedback) -> dict[str, Json]:
    """Return what a trial's condition follows from, as JSON: the summary of its epochs, without parameters."""
    slim = feedback.summary().model_copy(update={"parameters": None})
    return slim.model_dump(mode="json", exclude_defaults=True)


def _now(book: TrialBook, record: TrialRecord) -> TrialRecord:
    """The record as it is now: on NNI's other thread its result may have come, and be in the journal already."""
    return book.numbered(record.number) or record


def _outcome(book: TrialBook, record: TrialRecord, thresholds: Thresholds) -> dict[str, Json]:
    return {
        "parameters": record.configuration,
        "score": record.score,
        "optimize_mode": book.mode,
        "condition": str(diagnose(record.feedback, record.configuration, book.mode, thresholds, book.roles)),
        "n_epochs": len(record.feedback.epochs),
        "feedback": feedback_for_journal(record.feedback),
    }
