"""Run an NNI experiment through NNI's Python API, and leave no process behind.

``nnictl`` is not needed: it imports ``pkg_resources``, which recent setuptools no longer has.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psutil
import requests
from nni.experiment import Experiment, ExperimentConfig, RunMode, launcher, rest
from nni.runtime.log import silence_stdout

from nni_dream.experiment_files import ExperimentError
from nni_dream.experiment_paths import trials_folder
from nni_dream.exposure import Exposure, exposure_of, listening_as
from nni_dream.job_statuses import ENDED_JOBS
from nni_dream.proxies import spare_this_machine
from nni_dream.registration import ASSESSOR_NAME, TUNER_NAME, is_registered, register

__all__ = ["ENDED_STATUSES", "N_STARTS", "RunningExperiment", "running_experiment"]

N_STARTS: Final = 3
N_START_CHECKS: Final = 15  # a second apart; NNI gives its own web server 3, too few for a busy machine
STATUS_DELAYS_SECONDS: Final = (1.0, 3.0, 9.0)  # before the 2nd, 3rd and 4th attempt to ask for NNI's status
STOP_SECONDS: Final = 30.0  # for the manager to end its trials and itself
KILL_SECONDS: Final = 5.0
ENDED_STATUSES: Final = ("DONE", "STOPPED", "ERROR")
MANAGER_LOG: Final = "nnimanager.log"
TOO_LATE: Final = "Tuner did not connect in 10 seconds"  # NNI's words
STDERR_FILE: Final = "trial.stderr"  # in a trial's folder; NNI's local service writes it

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunningExperiment:
    """An experiment that NNI's manager runs now."""

    id: str
    port: int
    folder: Path  # NNI's folder of the experiment: log/, environments/
    max_trials: int | None
    trial_concurrency: int
    trial_command: str
    exposure: Exposure

    @property
    def address(self) -> str:
        """The address of NNI's web page, on this machine."""
        return self.exposure.address(self.port)

    def status(self) -> str:
        """Return NNI's status of the experiment; on a busy machine the manager is asked a few times.

        Raises:
            ExperimentError: If the manager does not answer.
        """
        last_error: Exception | None = None
        for delay in (0.0, *STATUS_DELAYS_SECONDS):
            time.sleep(delay)
            try:
                return str(rest.get(self.port, "/check-status", self.exposure.url_prefix)["status"])
            except (requests.RequestException, KeyError, TypeError) as error:
                last_error = error
        raise ExperimentError(f"NNI's manager on port {self.port} does not answer: {last_error}") from last_error

    def has_ended(self) -> bool:
        return self.status() in ENDED_STATUSES

    def tuner_connected_too_late(self) -> bool:
        """Whether the experiment ended because its tuner took longer to connect than the ten seconds that NNI waits."""
        try:
            log = (self.folder / "log" / MANAGER_LOG).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        return TOO_LATE in log

    def has_trial_ended(self, job_id: str) -> bool:
        """Whether a trial's process is gone, as NNI says; ``False`` where it does not answer or knows no such trial."""
        try:
            job = rest.get(self.port, f"/trial-jobs/{job_id}", self.exposure.url_prefix)
        except requests.RequestException:
            return False
        return isinstance(job, dict) and job.get("status") in ENDED_JOBS

    def failure_lines(self) -> list[str]:
        """Return the last line that each failed trial of this machine wrote to its standard error, each line once."""
        try:
            jobs = rest.get(self.port, "/trial-jobs", self.exposure.url_prefix)
        except requests.RequestException:
            return []
        failed = [job["trialJobId"] for job in jobs if job.get("status") == "FAILED"]
        lines = (_last_line(trials_folder(self.folder) / job / STDERR_FILE) for job in failed)
        return list(dict.fromkeys(line for line in lines if line))


def _last_line(path: Path) -> str:
    """Return the last line of a file that is not blank; empty where there is none, or no file."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


@contextmanager
def running_experiment(config: ExperimentConfig, port: int | None = None) -> Iterator[RunningExperiment]:
    """Start an experiment and stop it when the block is left, in whatever way.

    Args:
        port: Of the web page; ``None`` takes a free one.

    Raises:
        ExperimentError: If NNI does not start it.
    """
    silence_stdout()  # the logs are in the experiment's folder
    _prepare_environment()
    _register_if_needed(config)
    exposure = exposure_of(config)
    experiment = _start(config, port, exposure)
    try:
        yield RunningExperiment(
            id=experiment.id,
            port=int(experiment.port or 0),
            folder=Path(config.canonical_copy().experiment_working_directory) / experiment.id,
            max_trials=config.max_trial_number,
            trial_concurrency=config.trial_concurrency,
            trial_command=config.trial_command or "",
            exposure=exposure,
        )
    finally:
        _stop(experiment)


def _prepare_environment() -> None:
    """Let trials find this Python as ``python3``, and let nothing stand between the manager and its clients."""
    bin_folder = Path(sys.executable).parent
    found = shutil.which("python3")
    if found is None or Path(found).parent != bin_folder:
        os.environ["PATH"] = os.pathsep.join((str(bin_folder), os.environ.get("PATH", "")))
    spare_this_machine(os.environ)


def _register_if_needed(config: ExperimentConfig) -> None:
    names = {(algorithm.name or "").lower() for algorithm in (config.tuner, config.assessor) if algorithm is not None}
    if names & {TUNER_NAME.lower(), ASSESSOR_NAME.lower()} and not is_registered():  # NNI ignores case
        register()


def _start(config: ExperimentConfig, port: int | None, exposure: Exposure) -> Experiment:
    for attempt in range(1, N_STARTS + 1):
        experiment = Experiment(config)
        experiment.url_prefix = exposure.url_prefix
        try:
            with listening_as(exposure), _patience(), _interrupts_held():
                experiment.start(port=port or _free_port(), run_mode=RunMode.Background)
            return experiment
        except BaseException as error:
            _stop(experiment)
            if not isinstance(error, (RuntimeError, requests.RequestException)):
                raise
            if attempt == N_STARTS or port is not None:
                raise ExperimentError(f"NNI did not start the experiment (attempt {attempt}): {error}") from error
            _logger.warning("start %d of %d failed: %s", attempt, N_STARTS, error)
    raise AssertionError("unreachable")


@contextmanager
def _patience() -> Iterator[None]:
    """Let NNI wait for its web server's first answer longer than it does by itself."""
    check = launcher._check_rest_server
    launcher._check_rest_server = partial(check, retry=N_START_CHECKS)
    try:
        yield
    finally:
        launcher._check_rest_server = check


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C and other requests to end wait until the block is left: in its start NNI loses track of its manager.

    Raises:
        KeyboardInterrupt: At the end of the block, however it ends, if there was one of them.
    """
    if threading.current_thread() is not threading.main_thread():  # only there Python hears of signals
        yield
        return
    received: list[int] = []
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in (number for number, handler in earlier.items() if handler is not signal.SIG_IGN):
        signal.signal(number, lambda number, _: received.append(number))
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        if received:
            raise KeyboardInterrupt


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(experiment: Experiment) -> None:
    """Stop the manager, its dispatcher and its trials; whatever outlives that is killed, and only that."""
    manager = experiment._proc
    family = _family(manager.pid) if manager is not None else []
    if manager is not None:
        with suppress(requests.RequestException):
            rest.delete(experiment.port, "/experiment", experiment.url_prefix)
        with suppress(psutil.TimeoutExpired):
            psutil.wait_procs(family, timeout=STOP_SECONDS)
    for process in (process for process in family if process.is_running()):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=KILL_SECONDS)
    experiment._proc = None  # the manager is gone: nothing is left for NNI's own stop, which only closes the log now
    experiment.stop()


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
