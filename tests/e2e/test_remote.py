"""NNI's `remote` training service against real SSH servers: one search, trials on every machine."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from pathlib import Path

import psutil
import pytest
import requests
import yaml
from e2e.experiment import BIN, REPOSITORY, own_environment, processes_of, read_until, write_config
from e2e.ssh_servers import ssh_servers, why_there_are_no_ssh_servers
from waiting import wait_until

from nni_dream.experiment_files import load_config
from nni_dream.feedback import parse_metric
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.reporting import FEEDBACK_FILE

REASON = why_there_are_no_ssh_servers()
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(REASON is not None, reason=str(REASON))]

N_TRIALS = 8
DEADLINE_SECONDS = 300


def own_address() -> str | None:
    """An address of this machine that others could reach; ``None`` without a network."""
    found = [each for interface in psutil.net_if_addrs().values() for each in interface]
    addresses = [each.address for each in found if each.family == socket.AF_INET]
    return next((address for address in addresses if not address.startswith("127.")), None)


def start_search(folder: Path, config: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "nni-dream", "run", config],
        cwd=folder,
        env=own_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end_search(process: subprocess.Popen[str]) -> str:
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, printed
    return printed


def test_a_search_over_two_machines(tmp_path):
    with ssh_servers(tmp_path / "machines", 2) as machines:
        config = write_config(
            tmp_path,
            trialConcurrency=4,
            maxTrialNumber=N_TRIALS,
            nniManagerIp="127.0.0.1",
            trainingService={"platform": "remote", "machineList": [machine.as_machine() for machine in machines]},
        )
        printed = end_search(start_search(tmp_path, config))
        wait_until(lambda: not trial_processes(tmp_path), "the end of what NNI started on the machines")
        trials = [machine.trial_folders() for machine in machines]
    assert f"{N_TRIALS} trials in" in printed
    assert "the page answers on this machine only" in printed  # nniManagerIp is the loopback address

    # Spread over both, and no home holds what belongs to the other.
    assert min(map(len, trials)) >= 2
    assert sum(map(len, trials)) == N_TRIALS
    # Nor the experiment's own folder, whatever its working directory says.
    assert not list(tmp_path.glob("experiments/*/environments/*/trials/*"))

    (journal,) = [path for path in tmp_path.glob(f"experiments/*/log/{JOURNAL_NAME}") if "_latest" not in path.parts]
    events = list(read_journal(journal))
    results = [event for event in events if event["event"] == "result"]
    stops = [event for event in events if event["event"] == "stop"]
    assert len(results) + len(stops) >= N_TRIALS
    # What a trial wrote on its machine is what the search has learned of it: parameters, score, every epoch.
    written = {folder.name: last_metric(folder) for machine in trials for folder in machine}
    for event in results:
        feedback = parse_metric(written[event["job"]])
        assert feedback is not None
        assert feedback.parameters == event["parameters"]
        assert event["score"] == pytest.approx(written[event["job"]]["default"])
        assert len(feedback.epochs) == 4
    assert processes_of(tmp_path) == []


@pytest.mark.skipif(own_address() is None, reason="this machine has no address but the loopback ones")
def test_a_manager_that_other_machines_reach_answers_only_those_who_know_its_address(tmp_path):
    with ssh_servers(tmp_path / "machines", 1) as machines:
        config = write_config(
            tmp_path,
            maxTrialNumber=2,
            nniManagerIp=own_address(),
            trainingService={"platform": "remote", "machineList": [machine.as_machine() for machine in machines]},
        )
        process = start_search(tmp_path, config)
        try:
            lines = read_until(process, "web page ")
            port, prefix = re.search(r"web page http://localhost:(\d+)/([0-9a-f]{32})$", lines[-1]).groups()
            assert f"answers other machines on port {port}" in process.stdout.readline()
            outside = f"http://{own_address()}:{port}"
            for path in ("", "/api/v1/nni/experiment", f"/{'0' * 32}/api/v1/nni/experiment"):
                assert requests.get(outside + path, timeout=20).status_code == 404
            assert requests.get(f"{outside}/{prefix}/api/v1/nni/check-status", timeout=20).ok
        finally:
            printed = end_search(process)
        assert "2 trials in" in printed
        assert len(machines[0].trial_folders()) == 2
        wait_until(lambda: not trial_processes(tmp_path), "the end of what NNI started on the machine")


def last_metric(folder):
    return json.loads((folder / FEEDBACK_FILE).read_text().splitlines()[-1])


def trial_processes(folder):
    """Trial keepers and trials, not the SSH servers themselves."""
    return [process for process in processes_of(folder) if process.info["name"] != "sshd"]


def test_the_example_file_is_one_that_nni_takes(tmp_path):
    """Its key files are the user's own: the test puts one there."""
    config = yaml.safe_load((REPOSITORY / "experiment_configs" / "remote.yml").read_text())
    key = tmp_path / "key"
    key.touch()
    for machine in config["trainingService"]["machineList"]:
        machine["sshKeyFile"] = str(key)
    for name in ("trialCodeDirectory", "searchSpaceFile"):
        config[name] = str(REPOSITORY / "experiment_configs" / config[name])
    path = tmp_path / "remote.yml"
    path.write_text(yaml.safe_dump(config))
    loaded = load_config(path)
    assert loaded.training_service.platform == "remote"
    assert len(loaded.training_service.machine_list) == 2
