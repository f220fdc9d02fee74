"""What NNI's dispatcher knows of a metric and passes on to neither tuner nor assessor.

An intermediate result comes with the parameter id that its trial was really given, and the assessor is told the job
only; without an assessor nobody is told anything of it.  The end of a trial comes with its job, which the tuner is not
told.  The final result of a trial that was added on the web page is thrown away.
"""

from __future__ import annotations

import json
from typing import Final

from nni_dream.feedback import Json
from nni_dream.job_statuses import CANCELLED_JOBS
from nni_dream.trials import TrialBook, told_parameters

__all__ = ["customized_result", "ending_job", "identify_trial", "observe_metric", "was_cancelled"]

UNREADABLE: Final = (KeyError, TypeError, ValueError, RecursionError)  # NNI cannot read such a value, and says so


def identify_trial(book: TrialBook, metric: Json) -> None:
    """Tell the book under which parameter id the metric's trial job got its parameters, where the metric says it.

    Args:
        metric: As the manager sends it; a trial may have sent anything.
    """
    if not isinstance(metric, dict):
        return
    job_id, parameter_id = metric.get("trial_job_id"), metric.get("parameter_id")
    if isinstance(job_id, str) and isinstance(parameter_id, int):
        book.identify(job_id, parameter_id)


def observe_metric(book: TrialBook, metric: Json) -> None:
    """Tell the book an intermediate result that no assessor of this package is given; of all else nothing."""
    if not isinstance(metric, dict) or metric.get("type") != "PERIODICAL":
        return
    job_id, index = metric.get("trial_job_id"), metric.get("sequence")
    if not isinstance(job_id, str) or not isinstance(index, int):
        return
    try:
        value = json.loads(metric["value"])
    except UNREADABLE:
        return
    book.observe_next(job_id, index, value)


def ending_job(end: Json) -> str | None:
    """Return which trial job has ended, as the manager's message says; ``None`` where it does not."""
    job_id = end.get("trial_job_id") if isinstance(end, dict) else None
    return job_id if isinstance(job_id, str) else None


def was_cancelled(end: Json) -> bool:
    """Whether the trial job of a manager's message was ended from outside; NNI itself calls that no success."""
    return isinstance(end, dict) and end.get("event") in CANCELLED_JOBS


def customized_result(metric: Json) -> Json | None:
    """Return the final result of a trial from the web page that tells its parameters; ``None`` for all else.

    NNI gives such a trial no parameter id: one that reports plain numbers cannot be joined to what it ran.
    """
    if not isinstance(metric, dict) or metric.get("type") != "FINAL" or metric.get("parameter_id") is not None:
        return None
    try:
        result = json.loads(metric["value"])
    except UNREADABLE:
        return None
    return None if told_parameters(result) is None else result
