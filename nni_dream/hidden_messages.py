"""What NNI's dispatcher knows of a metric and passes on to neither tuner nor assessor.

An intermediate result comes with the parameter id that its trial was really given, and the assessor is told the job
only.  The final result of a trial that was added on the web page is thrown away.
"""

from __future__ import annotations

import json

from nni_dream.feedback import Json
from nni_dream.trials import TrialBook, told_parameters

__all__ = ["customized_result", "identify_trial"]


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


def customized_result(metric: Json) -> Json | None:
    """Return the final result of a trial from the web page that tells its parameters; ``None`` for all else.

    NNI gives such a trial no parameter id: one that reports plain numbers cannot be joined to what it ran.
    """
    if not isinstance(metric, dict) or metric.get("type") != "FINAL" or metric.get("parameter_id") is not None:
        return None
    try:
        result = json.loads(metric["value"])
    except (KeyError, TypeError, ValueError, RecursionError):  # NNI cannot read it either, and says so
        return None
    return None if told_parameters(result) is None else result
