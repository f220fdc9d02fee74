"""How a trial's metrics get out: to NNI, to a file beside the trial's output, or to the log.

NNI's channel does not try again when the manager is away for a moment; this module does.  A trial never dies of
reporting: what cannot be sent is logged, and training goes on.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import nni
from nni.runtime import env_vars

from nni_dream.feedback import Json

__all__ = ["FEEDBACK_FILE", "InMemoryReporter", "TrialReporter", "current_parameters"]

_logger = logging.getLogger(__name__)

FEEDBACK_FILE: Final = "feedback.jsonl"  # in NNI_OUTPUT_DIR; one metric per line, in the order of the reports
RETRY_DELAYS_SECONDS: Final = (1.0, 3.0, 9.0)  # before the 2nd, 3rd and 4th attempt; a manager restarts in less


def current_parameters() -> dict[str, Json] | None:
    """Return the parameters that NNI handed to this trial, or ``None`` outside NNI or before it handed out any.

    Returns a copy, as the trial's code may change that dict.  If it has added something that is not JSON, such as a
    device, returns ``None``; the trial is then known by NNI's id.
    """
    if not _is_inside_nni():
        return None
    parameters = nni.get_current_parameter()
    if not isinstance(parameters, Mapping):
        return None
    try:
        copied: dict[str, Json] = json.loads(json.dumps(parameters, allow_nan=False))
    except (TypeError, ValueError) as error:
        _logger.warning("the trial's parameters were changed and are no JSON any more (%s): they are not told", error)
        return None
    return copied


class TrialReporter:
    """Sends metric dicts to NNI and keeps a copy of each in ``feedback.jsonl``; outside NNI it logs one line.

    Args:
        retry_delays: Seconds to wait before each further attempt; one attempt more than delays.
    """

    def __init__(self, *, retry_delays: Sequence[float] = RETRY_DELAYS_SECONDS) -> None:
        self._retry_delays = tuple(retry_delays)
        # On a result; then the next ones do not wait for a manager that may be gone for good.
        self._has_given_up = False

    def report_intermediate(self, metric: dict[str, Json]) -> None:
        """Report one epoch.  NNI counts an intermediate result only once sent: a later attempt keeps its place."""
        self._report("intermediate", nni.report_intermediate_result, metric)

    def report_final(self, metric: dict[str, Json]) -> None:
        """Report the trial's final result."""
        self._report("final", nni.report_final_result, metric)

    def _report(self, kind: str, send: Callable[[dict[str, Json]], None], metric: dict[str, Json]) -> None:
        if not _is_inside_nni():
            _logger.info("not run by NNI; %s result: default = %s", kind, metric.get("default"))
            return
        _keep_copy(metric)
        try:
            self._send(send, metric)
            self._has_given_up = False
        except Exception as error:  # whatever the channel raises: the trial is worth more than the report
            self._has_given_up = isinstance(error, OSError)
            _logger.exception("the %s result could not be sent to NNI; training goes on", kind)

    def _send(self, send: Callable[[dict[str, Json]], None], metric: dict[str, Json]) -> None:
        """Send, and try again after each delay; only what a connection raises (``OSError``) is worth that.

        After a result that could not be sent at all the next ones get one attempt each, until one succeeds.
        """
        for delay in () if self._has_given_up else self._retry_delays:
            try:
                send(metric)
            except OSError as error:
                _logger.warning("NNI did not take a result (%s); trying again in %s s", error, delay)
                time.sleep(delay)
            else:
                return
        send(metric)


class InMemoryReporter(TrialReporter):
    """Keeps the metrics for its caller, who may also ignore them, and sends nothing.

    Attributes:
        intermediate: One for each epoch, in the order of the reports.
        final: One, when the trial has ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.intermediate: list[dict[str, Json]] = []
        self.final: list[dict[str, Json]] = []

    def report_intermediate(self, metric: dict[str, Json]) -> None:
        self.intermediate.append(metric)

    def report_final(self, metric: dict[str, Json]) -> None:
        self.final.append(metric)


def _is_inside_nni() -> bool:
    return env_vars.trial_env_vars.NNI_PLATFORM is not None


def _keep_copy(metric: dict[str, Json]) -> None:
    folder = env_vars.trial_env_vars.NNI_OUTPUT_DIR
    if folder is None:
        return
    try:
        line = json.dumps(metric, allow_nan=False)
        Path(folder).mkdir(parents=True, exist_ok=True)
        with Path(folder, FEEDBACK_FILE).open("a", encoding="ascii") as file:
            file.write(line + "\n")
    except (OSError, TypeError, ValueError) as error:
        _logger.error("no copy of a result in %s: %s", Path(folder, FEEDBACK_FILE), error)
