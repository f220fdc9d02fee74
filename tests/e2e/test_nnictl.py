"""The real ``nnictl``: register, create from any directory, the class-path form, stop by id."""

from __future__ import annotations

import subprocess

import pytest
import requests
import yaml
from e2e.experiment import (
    BIN,
    REPOSITORY,
    WORST,
    created_by_nnictl,
    nnictl,
    own_environment,
    processes_of,
    wait_until_done,
    write_config,
)
from waiting import wait_until

from nni_dream.journal import JOURNAL_NAME, read_journal

pytestmark = pytest.mark.e2e

BY_CLASS = {
    "tuner": {
        "className": "nni_dream.tuner.DreamTuner",
        "codeDirectory": str(REPOSITORY),
        "classArgs": {"seed": 1, "initial_parameters": WORST},
    },
    "assessor": {"className": "nni_dream.assessor.DreamAssessor", "codeDirectory": str(REPOSITORY)},
}


@pytest.mark.parametrize("changes", [{}, BY_CLASS], ids=["by-name", "by-class"])
def test_create_runs_a_search(tmp_path, changes):
    if not changes:
        printed = nnictl(tmp_path, "algo", "register", "--meta", REPOSITORY / "experiment_configs/nni_algorithms.yml")
        assert printed.count("registered sucessfully") == 2, printed
    with created_by_nnictl(tmp_path, write_config(tmp_path, **changes)) as (experiment_id, address):
        wait_until_done(address)
        jobs = requests.get(f"{address}/api/v1/nni/trial-jobs", timeout=10).json()
    assert len(jobs) == 4
    events = list(read_journal(tmp_path / "experiments" / experiment_id / "log" / JOURNAL_NAME))
    assert sum(event["event"] == "suggestion" for event in events) >= 4
    assert [event["rule"] for event in events if event["event"] == "stop" and event["trial"] == 0] == ["non-finite"]
    wait_until(lambda: not processes_of(tmp_path), "the end of every process")


def test_register_by_our_own_command(tmp_path):
    environment = own_environment(tmp_path)
    for _ in range(2):  # again is no change
        subprocess.run([BIN / "nni-dream", "register"], env=environment, check=True, capture_output=True)
    listed = nnictl(tmp_path, "algo", "list")
    assert "DreamTuner" in listed
    assert "DreamAssessor" in listed
    registry = yaml.safe_load((tmp_path / "nni_config" / "registered_algorithms.yml").read_text())
    assert [algorithm["builtinName"] for algorithm in registry["tuners"]] == ["Dream"]
    subprocess.run([BIN / "nni-dream", "unregister"], env=environment, check=True, capture_output=True)
    assert "DreamTuner" not in nnictl(tmp_path, "algo", "list")
