"""A real experiment of witness trials that can be stopped, killed and resumed; the witness says what is true."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from e2e.experiment import (
    N_STARTS,
    REPOSITORY,
    free_port,
    nnictl,
    processes_of,
    start_by_nnictl,
    status_of,
    write_config,
)
from waiting import wait_until

from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.search.json_values import canonical_json

TRIALS = Path(__file__).parent / "trials"
SPACE = {
    "x": {"_type": "choice", "_value": list(range(10))},
    "y": {"_type": "choice", "_value": list(range(10))},
}
TIMEOUT_SECONDS = 10
TUNER_SECONDS = 120  # for a tuner to connect, or NNI to say that it did not


class WitnessExperiment:
    """One experiment, in a folder of its own, under the real nnictl."""

    def __init__(self, folder: Path, trial_options: str = "", **changes: Any) -> None:
        self.folder = folder
        changes = {"searchSpace": SPACE, "tuner": {"name": "Dream", "classArgs": {"seed": 1}}} | changes
        self.config = write_config(
            folder,
            trialCommand=f"python3 witness.py {trial_options}",
            trialCodeDirectory=str(TRIALS),
            **changes,
        )
        nnictl(folder, "algo", "register", "--meta", REPOSITORY / "experiment_configs/nni_algorithms.yml")
        os.environ["WITNESS_FOLDER"] = str(folder)  # NNI hands its environment down to the trials
        self.id, self.port = start_by_nnictl(folder, self.config)

    def get(self, path: str) -> Any:
        return requests.get(f"http://localhost:{self.port}/api/v1/nni{path}", timeout=TIMEOUT_SECONDS).json()

    def update_search_space(self, space: dict[str, Any]) -> None:
        path = self.folder / "new_search_space.json"
        path.write_text(json.dumps(space))
        printed = nnictl(self.folder, "update", "searchspace", self.id, "--filename", path)
        assert "Update searchSpace success" in printed, printed

    def change(self, update_type: str, **params: Any) -> None:
        """What the web page does."""
        body = self.get("/experiment")
        body["params"] |= params
        url = f"http://localhost:{self.port}/api/v1/nni/experiment"
        requests.put(url, params={"update_type": update_type}, json=body, timeout=TIMEOUT_SECONDS).raise_for_status()

    def add_customized(self, parameters: dict[str, Any]) -> None:
        """A trial added on the web page."""
        url = f"http://localhost:{self.port}/api/v1/nni/trial-jobs"
        requests.post(url, json=parameters, timeout=TIMEOUT_SECONDS).raise_for_status()

    def status(self) -> str:
        return status_of(f"http://localhost:{self.port}")

    def wait_for(self, status: str, deadline_seconds: float = 120) -> None:
        wait_until(lambda: self.status() == status, f"status {status}", deadline_seconds)

    def stop(self) -> None:
        nnictl(self.folder, "stop", self.id)
        wait_until(lambda: not processes_of(self.folder), "the end of every process")

    def resume(self) -> None:
        """Resume; again, as at the start, where NNI's web server or its tuner comes too late."""
        n_before = len(self.journal("start"))
        for _ in range(N_STARTS):
            self.port = free_port() if processes_of(self.folder) else self.port
            printed = nnictl(self.folder, "resume", self.id, "--port", str(self.port))
            if "Web portal URLs" in printed:
                wait_until(partial(self._has_begun, n_before), "the tuner, or NNI's status ERROR", TUNER_SECONDS)
                if len(self.journal("start")) > n_before:
                    return
            self.stop()
        pytest.fail(f"no resume in {N_STARTS} attempts: {printed}")

    def _has_begun(self, n_starts_before: int) -> bool:
        return len(self.journal("start")) > n_starts_before or self.status() == "ERROR"

    def journal(self, event: str | None = None) -> list[dict[str, Any]]:
        path = self.folder / "experiments" / self.id / "log" / JOURNAL_NAME
        return [each for each in read_journal(path) if event in (None, each["event"])]

    def wait_for_results(self, n: int) -> None:
        wait_until(lambda: len(self.journal("result")) >= n, f"result {n}")

    def truth(self) -> dict[str, float]:
        """Identity of each configuration that was really trained -> its score."""
        path = self.folder / "true_parameters.jsonl"
        lines = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
        return {canonical_json(line["parameters"]): line["score"] for line in lines}

    def wrong_pairs(self) -> list[dict[str, Any]]:
        """Results in the journal whose score is not the one of their parameters.

        The last of each counts: the end of a trial can come before its last epoch, and its result is mended then.
        """
        last = {canonical_json(event["parameters"]): event for event in self.journal("result")}
        return [event for event in last.values() if event["score"] != true_score(event["parameters"])]

    def kill(self, what: str) -> int:
        """``kill -9`` the dispatcher, the manager or the trials; return how many processes that were."""
        processes = [process for process in processes_of(self.folder) if role_of(process) == what]
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # it has ended by itself since
                process.kill()
        psutil.wait_procs(processes, timeout=TIMEOUT_SECONDS)
        return len(processes)


@contextmanager
def witness_experiment(folder: Path, trial_options: str = "", **changes: Any) -> Iterator[WitnessExperiment]:
    experiment = WitnessExperiment(folder, trial_options, **changes)
    try:
        yield experiment
    finally:
        experiment.stop()


def true_score(parameters: dict[str, float]) -> float:
    """What a witness trial reports for its parameters."""
    return round(1 + parameters["x"] + parameters["y"] / 1000, 6)


def role_of(process: psutil.Process) -> str:
    """What a process of ``processes_of`` is to its experiment."""
    words = " ".join(process.info["cmdline"] or ())
    if "nni_node" in words:
        return "manager"
    if "-m nni --exp_params" in words:
        return "dispatcher"
    return "trial" if "witness.py" in words else "other"
