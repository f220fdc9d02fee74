"""``kill -9`` of the dispatcher, the manager and trials, at any moment, on a real experiment: nothing is lost.

The ordinary run kills each once; ``DREAM_KILLS=30`` makes it thirty, at random.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from e2e.experiment import processes_of, running
from robustness.experiment import WitnessExperiment, witness_experiment
from waiting import wait_until

from nni_dream.resume import recall
from nni_dream.search.json_values import canonical_json
from nni_dream.trials import TrialStatus

N_KILLS = int(os.environ.get("DREAM_KILLS", "3"))
VICTIMS = ("dispatcher", "trial", "manager")
LONGEST_WAIT_SECONDS = 3.0  # from one step of the search to the next kill
GONE_SECONDS = 40.0  # for what belongs to a killed manager to end: a trial waits 13 s for a manager that restarts


def victims(n: int) -> list[str]:
    """Each once, then at random."""
    return [*VICTIMS, *random.Random(n).choices(VICTIMS, k=max(0, n - len(VICTIMS)))][:n]


def results_of(experiment: WitnessExperiment) -> dict[str, float]:
    memory = recall(experiment.journal())
    return {
        identity: record.score
        for identity, record in memory.records.items()
        if record.status is TrialStatus.SUCCEEDED and record.score is not None
    }


def kill_and_resume(experiment: WitnessExperiment, victim: str) -> None:
    """Kill, bring the search back where that is needed, and check that it knows what it knew."""
    wait_until(lambda: experiment.kill(victim), f"a {victim} to kill")
    if victim == "trial":
        return
    if victim == "manager":
        wait_until(lambda: not processes_of(experiment.folder), "the end of every process", GONE_SECONDS)
    experiment.stop()
    before, n_trials = results_of(experiment), len(recall(experiment.journal()).records)
    experiment.resume()
    start = experiment.journal("start")[-1]
    assert start["continues"]
    assert start["n_trials"] == n_trials
    assert before.items() <= results_of(experiment).items()


@pytest.mark.e2e
@pytest.mark.slow
def test_nothing_is_lost(tmp_path):
    moment = random.Random()
    with witness_experiment(tmp_path, "seconds=1", trialConcurrency=2, maxTrialNumber=1000) as experiment:
        for victim in victims(N_KILLS):
            experiment.wait_for_results(len(experiment.journal("result")) + 1)
            time.sleep(moment.uniform(0, LONGEST_WAIT_SECONDS))  # the moment itself is what is tested
            kill_and_resume(experiment, victim)
        experiment.wait_for_results(len(experiment.journal("result")) + 2)
        suggested = [canonical_json(event["parameters"]) for event in experiment.journal("suggestion")]
    assert len(set(suggested)) == len(suggested)
    numbers = [event["trial"] for event in experiment.journal("suggestion")]
    assert numbers == list(range(len(numbers)))
    assert experiment.wrong_pairs() == []
    truth = experiment.truth()
    assert results_of(experiment).items() <= truth.items()


@pytest.mark.e2e
@pytest.mark.slow
def test_no_orphan_outlives_its_manager(tmp_path):
    """Trials that are started as ours are end at once, however long they would have trained."""
    with witness_experiment(tmp_path, "seconds=600 parent=1", trialConcurrency=2) as experiment:
        wait_until(lambda: len(experiment.journal("suggestion")) >= 2, "two trials")
        wait_until(lambda: running(tmp_path, "witness.py") == 2, "two trials")
        assert experiment.kill("manager") == 1
        wait_until(lambda: not processes_of(tmp_path), "the end of every process", GONE_SECONDS)


def jobs_of(processes: list[psutil.Process]) -> set[str]:
    """The trial jobs that these processes belong to."""
    found = set()
    for process in processes:
        with suppress(psutil.Error):  # it has just ended
            found.add(process.environ().get("NNI_TRIAL_JOB_ID", ""))
    return found - {""}


@pytest.mark.e2e
@pytest.mark.slow
def test_a_stopped_trial_trains_no_more_beside_the_next_one(tmp_path):
    """The assessor stops it at once; by itself it would go on for ten minutes.  Its command is a simple one."""
    with witness_experiment(tmp_path, "seconds=600 broken=1", trialConcurrency=1, maxTrialNumber=100) as experiment:
        wait_until(lambda: experiment.journal("stop"), "the first stop")
        first = experiment.journal("stop")[0]["job"]
        wait_until(lambda: jobs_of(processes_of(tmp_path)) - {first}, "the next trial")
        assert first not in jobs_of(processes_of(tmp_path))
        assert experiment.status() == "RUNNING"


def test_a_dispatcher_ends_with_its_manager(tmp_path):
    """NNI's own goes on for half a minute, and takes a manager down that is resumed on the same port by then."""
    dispatcher = "import time; from nni_dream.manager import end_with_manager; "
    dispatcher += "thread = end_with_manager(); print(thread is not None, flush=True); time.sleep(600)"
    manager = (
        "import subprocess, sys, time; "
        "subprocess.Popen([sys.executable, '-c', sys.argv[2]]); time.sleep(600)  # nni_node"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", manager, "nni_node", dispatcher],
        env=os.environ | {"SDK_PROCESS": "dispatcher", "WITNESS_FOLDER": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    process.kill()
    process.wait()
    try:
        wait_until(lambda: not processes_of(tmp_path), "the dispatcher's end", GONE_SECONDS)
    finally:
        for each in processes_of(tmp_path):
            with suppress(psutil.NoSuchProcess):
                each.kill()


def test_outside_an_experiment_nothing_is_watched(monkeypatch):
    from nni_dream.manager import end_with_manager

    monkeypatch.delenv("SDK_PROCESS", raising=False)
    assert end_with_manager() is None
