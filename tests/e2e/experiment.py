"""What the end-to-end tests share: an experiment of their own, in folders of their own, that leaves nothing behind."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from waiting import wait_until

from nni_dream.journal import JOURNAL_NAME

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[2]
TRIALS = Path(__file__).parent / "trials"
N_STARTS = 3

SPACE = {
    "learning_rate": {"_type": "choice", "_value": [0.1, 0.01, 0.001, 1.0]},
    "width": {"_type": "choice", "_value": [1, 2, 3]},
}
WORST = {"learning_rate": 1.0, "width": 1}


def own_environment(folder: Path) -> dict[str, str]:
    """The environment of a user with an empty HOME who has activated the virtual environment."""
    environment = dict(os.environ)
    environment["HOME"] = str(folder / "home")
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    environment["NNI_CONFIG_DIR"] = str(folder / "nni_config")
    environment.pop("NNI_LOG_DIRECTORY", None)
    Path(environment["HOME"]).mkdir(parents=True, exist_ok=True)
    return environment


def write_config(folder: Path, **changes: Any) -> Path:
    """An experiment's YAML: four quick trials, the first of which the assessor has to stop."""
    config: dict[str, Any] = {
        "searchSpace": SPACE,
        "trialCommand": "python3 curve.py",
        "trialCodeDirectory": str(TRIALS),
        "trialConcurrency": 1,
        "maxTrialNumber": 4,
        "experimentWorkingDirectory": str(folder / "experiments"),
        "tuner": {"name": "Dream", "classArgs": {"seed": 1, "initial_parameters": [WORST]}},
        "assessor": {"name": "DreamAssessor"},
        "trainingService": {"platform": "local"},
    }
    path = folder / "experiment.yml"
    path.write_text(yaml.safe_dump(config | changes))
    return path


def nnictl(folder: Path, *words: str | Path) -> str:
    """Run the real nnictl in the experiment's own environment; return what it printed."""
    done = subprocess.run(
        [BIN / "nnictl", *words],
        cwd=folder,
        env=own_environment(folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def start_by_nnictl(folder: Path, config: Path) -> tuple[str, int]:
    """Create an experiment; return its id and port.

    NNI gives its web server three seconds and its tuner ten: on a busy machine it takes another start.
    """
    for _ in range(N_STARTS):
        port = free_port()
        printed = nnictl(folder, "create", "--config", config, "--port", str(port))
        found = re.search(r"Experiment ID: (?:\x1b\[\d+m)?(\w+)", printed)
        assert found, printed
        journal = folder / "experiments" / found[1] / "log" / JOURNAL_NAME  # the tuner's first line: it has connected
        if "Web portal URLs" in printed:
            wait_until(partial(_has_begun, journal, port), "the tuner, or NNI's status ERROR")
            if journal.exists():
                return found[1], port
        nnictl(folder, "stop", found[1])
    pytest.fail(f"no experiment started in {N_STARTS} attempts: {printed}")


def _has_begun(journal: Path, port: int) -> bool:
    return journal.exists() or status_of(f"http://localhost:{port}") == "ERROR"


@contextmanager
def created_by_nnictl(folder: Path, config: Path) -> Iterator[tuple[str, str]]:
    """Create an experiment, yield its id and the address of its web server, and stop it by its id."""
    experiment_id, port = start_by_nnictl(folder, config)
    try:
        yield experiment_id, f"http://localhost:{port}"
    finally:
        nnictl(folder, "stop", experiment_id)


def status_of(address: str) -> str:
    """What NNI's manager says of its experiment; ``UNREACHABLE`` where it does not answer."""
    try:
        return str(requests.get(f"{address}/api/v1/nni/check-status", timeout=10).json()["status"])
    except requests.RequestException:
        return "UNREACHABLE"


def wait_until_done(address: str, deadline_seconds: float = 150.0) -> None:
    wait_until(lambda: status_of(address) == "DONE", "the end of the experiment", deadline_seconds=deadline_seconds)


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    """Return the lines that a running program prints, up to the first with these words."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    pytest.fail(f"no line with {words!r}: {lines}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process that belongs to an experiment in this folder: manager, dispatcher, trials.

    ``info`` of each has its name and command line as they were listed: asking for them later fails where it has ended.
    """
    processes = psutil.process_iter(["name", "cmdline"])
    return [process for process in processes if process.pid != os.getpid() and _belongs(process, folder)]


def running(folder: Path, words: str) -> int:
    """How many processes of an experiment in this folder have these words in their command line."""
    return sum(words in " ".join(process.info["cmdline"] or ()) for process in processes_of(folder))


def _belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        words = [*process.cmdline(), *process.environ().values()]
        is_alive = process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
    return is_alive and any(str(folder) in word for word in words)
