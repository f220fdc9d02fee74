"""The NNI manager, as far as a tuner has no call for it: end the experiment early, and do not outlive it.

NNI has no command for the end: a tuner that has nothing more to suggest leaves the experiment waiting for ever.  What
ends it is a trial limit no larger than the number of trials that were submitted.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import psutil
import requests

from nni_dream.job_statuses import ENDED_JOBS

__all__ = [
    "LocalTrial",
    "end_after_running_trials",
    "end_and_cancel_trials",
    "end_with_manager",
    "local_trial",
    "manager_url",
    "trial_limit",
]

TIMEOUT_SECONDS: Final = 20.0
RETRY_DELAYS_SECONDS: Final = (0.5, 1.0, 2.0, 4.0)
WATCH_SECONDS: Final = 0.5  # between two looks at the manager's process
CANCEL_SECONDS: Final = 1.0  # between two looks at what still runs
SUBMIT_SECONDS: Final = 1.0  # between two looks at what was submitted
GOING_ON: Final = ("INITIALIZED", "RUNNING", "TUNER_NO_MORE_TRIAL")  # NNI may still start trials
SETTINGS_TIMEOUT_SECONDS: Final = 5.0  # the first trial waits for it

_logger = logging.getLogger(__name__)


def manager_url() -> str | None:
    """Return the base of the manager's REST interface, or ``None`` outside an experiment.

    NNI tells the dispatcher only its web socket: ``ws://localhost:8080/prefix/tuner``.
    """
    channel = os.environ.get("NNI_TUNER_COMMAND_CHANNEL", "")
    parts = urlsplit(channel)
    if parts.scheme != "ws" or parts.port is None:
        return None
    prefix = parts.path.rsplit("/", maxsplit=1)[0]
    return f"http://{parts.hostname}:{parts.port}{prefix}/api/v1/nni"


def end_with_manager() -> threading.Thread | None:
    """End this dispatcher when its manager is gone; return the thread that sees to it, ``None`` without a manager.

    NNI's dispatcher goes on trying to connect for half a minute.  If the experiment is resumed on the same port by
    then, it reaches the new manager, reports its error there and takes it down.
    """
    manager = _manager_process() if os.environ.get("SDK_PROCESS") == "dispatcher" else None
    if manager is None:
        return None
    thread = threading.Thread(target=_end_after, args=(manager,), daemon=True, name="dream-watch-manager")
    thread.start()
    return thread


def _manager_process() -> psutil.Process | None:
    """The nearest ancestor that is NNI's manager; a shell may stand between."""
    for process in psutil.Process().parents():
        try:
            if any("nni_node" in word for word in process.cmdline()):
                return process
        except psutil.Error:  # another user's process, or just gone
            continue
    return None


def _end_after(manager: psutil.Process) -> None:
    while _is_alive(manager):
        time.sleep(WATCH_SECONDS)
    _logger.error("NNI's manager (process %d) is gone; the dispatcher ends, the journal has what is known", manager.pid)
    logging.shutdown()
    os._exit(1)  # the dispatcher's own threads wait for messages and would keep it alive


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class LocalTrial(NamedTuple):
    """How an experiment starts its trials on this machine."""

    command: str
    folder: Path


def trial_limit() -> int | None:
    """Return the experiment's ``maxTrialNumber``; ``None`` where it has none, or nobody answers."""
    limit = _experiment_settings().get("maxTrialNumber")
    return limit if isinstance(limit, int) and limit > 0 else None


def local_trial() -> LocalTrial | None:
    """Return what the experiment runs as a trial; ``None`` where trials run elsewhere too, or nobody answers."""
    settings = _experiment_settings()
    command, folder = settings.get("trialCommand"), settings.get("trialCodeDirectory")
    service = settings.get("trainingService")  # several are a list
    is_local = isinstance(service, dict) and service.get("platform") == "local"
    return LocalTrial(command, Path(folder)) if is_local and command and folder else None


def _experiment_settings() -> dict[str, Any]:
    """The experiment's YAML as NNI has it; empty where nobody answers."""
    url = manager_url()
    if url is None:
        return {}
    try:
        with _direct_session() as session:
            answer = session.get(f"{url}/experiment", timeout=SETTINGS_TIMEOUT_SECONDS)
            answer.raise_for_status()
            settings = answer.json()["params"]
    except (requests.RequestException, KeyError, TypeError, ValueError) as error:
        _logger.warning("the manager does not tell its settings: %s", error)
        return {}
    return settings if isinstance(settings, dict) else {}


def end_after_running_trials(reason: str, parameter_ids: Iterable[int]) -> threading.Thread | None:
    """Let the experiment end once its trials have ended; return the thread that sees to it.

    Args:
        parameter_ids: NNI's, of all trials that were handed out: it keeps them in a queue of its own, and starts none
            of those any more once the limit is lowered.
    """
    return _in_background(partial(_limit_when_submitted, frozenset(parameter_ids)), reason)


def end_and_cancel_trials(reason: str) -> threading.Thread | None:
    """End the experiment and the trials that have no final result yet; return the thread that sees to it.

    A trial that has reported its final result ends by itself: it may be saving its model.
    """
    return _in_background(_limit_and_cancel_trials, reason)


def _in_background(end: Callable[[requests.Session, str], None], reason: str) -> threading.Thread | None:
    url = manager_url()
    if url is None:
        _logger.info("nothing to finish outside an experiment: %s", reason)
        return None
    thread = threading.Thread(target=_with_retries, args=(end, url, reason), daemon=True, name="dream-finish")
    thread.start()
    return thread


def _with_retries(end: Callable[[requests.Session, str], None], url: str, reason: str) -> None:
    for delay in (*RETRY_DELAYS_SECONDS, None):
        try:
            with _direct_session() as session:
                end(session, url)
        except (requests.RequestException, KeyError, ValueError) as error:
            if delay is None:
                _logger.error("cannot end the experiment (%s): %s; lower maxTrialNumber by hand", reason, error)
                return
            time.sleep(delay)
        else:
            _logger.info("the experiment ends: %s", reason)
            return


def _direct_session() -> requests.Session:
    """A session without a proxy of the environment, which must not stand between this machine and its manager."""
    session = requests.Session()
    session.trust_env = False
    return session


def _limit_and_cancel_trials(session: requests.Session, url: str) -> None:
    """Lower the limit, then cancel; NNI may have been starting a trial when the limit was lowered."""
    _limit_trials(session, url)
    cancelled: set[str] = set()
    while True:
        status = _get(session, f"{url}/check-status")["status"]  # asked first: what it had started is listed then
        running = {
            job["trialJobId"]
            for job in _get(session, f"{url}/trial-jobs")
            if job["status"] not in ENDED_JOBS and not job.get("finalMetricData")
        }
        if status not in GOING_ON and running <= cancelled:
            return
        for job_id in running - cancelled:
            session.delete(f"{url}/trial-jobs/{job_id}", timeout=TIMEOUT_SECONDS).raise_for_status()
            cancelled.add(job_id)
        time.sleep(CANCEL_SECONDS)


def _limit_when_submitted(parameter_ids: frozenset[int], session: requests.Session, url: str) -> None:
    while True:
        status = _get(session, f"{url}/check-status")["status"]
        jobs = _get(session, f"{url}/trial-jobs")
        if status not in GOING_ON or parameter_ids <= {number for job in jobs for number in _parameter_ids(job)}:
            break
        time.sleep(SUBMIT_SECONDS)
    _limit_trials(session, url)


def _parameter_ids(job: dict[str, Any]) -> Iterator[int]:
    for text in job.get("hyperParameters", ()):
        yield json.loads(text)["parameter_id"]


def _limit_trials(session: requests.Session, url: str) -> None:
    # Those that have ended: a resume may have entered a running trial a second time, under a new id.
    n_ended = sum(job["status"] in ENDED_JOBS for job in _get(session, f"{url}/trial-jobs"))
    body = _get(session, f"{url}/experiment")
    body["params"]["maxTrialNumber"] = max(1, n_ended)
    changed = session.put(
        f"{url}/experiment", params={"update_type": "MAX_TRIAL_NUM"}, json=body, timeout=TIMEOUT_SECONDS
    )
    changed.raise_for_status()


def _get(session: requests.Session, url: str) -> Any:
    answer = session.get(url, timeout=TIMEOUT_SECONDS)
    answer.raise_for_status()
    return answer.json()
