"""``nni-dream run`` with the real NNI manager: a whole search, an interrupted one, a refused one."""

from __future__ import annotations

import signal
import subprocess

import pytest
import requests
from e2e.experiment import BIN, WORST, own_environment, processes_of, read_until, running, write_config
from waiting import wait_until

from nni_dream.cli.console import console
from nni_dream.cli.run import _print_malformed, _print_test_score
from nni_dream.experiments import RunningExperiment
from nni_dream.exposure import Exposure
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.proxies import SCHEMES
from nni_dream.report.summary import SearchSummary, TrialRow

pytestmark = pytest.mark.e2e

DEADLINE_SECONDS = 180


def start(folder, config, *options, **environment):
    return subprocess.Popen(
        [BIN / "nni-dream", "run", config, *options],
        cwd=folder,
        env=own_environment(folder) | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup's choice would be inherited
    )


def journal_of(folder):
    (path,) = [path for path in folder.glob(f"experiments/*/log/{JOURNAL_NAME}") if not path.parents[1].is_symlink()]
    return list(read_journal(path))


def test_whole_search(tmp_path):
    process = start(tmp_path, write_config(tmp_path), "--output", "report")
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, printed
    events = journal_of(tmp_path)
    suggested = [event for event in events if event["event"] == "suggestion"]
    assert [event["kind"] for event in suggested] == ["initial", "drawn", "action", "action"]
    assert suggested[0]["parameters"] == WORST
    (stop,) = [event for event in events if event["event"] == "stop"]
    assert (stop["trial"], stop["rule"]) == (0, "non-finite")
    assert "stopped: non-finite weights in epoch 1" in printed
    assert "stopped early: 1" in printed
    assert "4 trials in" in printed
    assert (tmp_path / "report" / "search.png").read_bytes().startswith(b"\x89PNG")
    assert processes_of(tmp_path) == []


def test_scores_are_joined_to_the_parameters_that_the_trial_had(tmp_path):
    """The trial's score follows from its parameters: each pair in the journal can be checked."""
    process = start(tmp_path, write_config(tmp_path, trialConcurrency=3, maxTrialNumber=8))
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, printed
    results = [event for event in journal_of(tmp_path) if event["event"] == "result"]
    assert len(results) >= 5  # configurations with learning_rate 1.0 are stopped
    for event in results:
        parameters = event["parameters"]
        expected = 0.5 + 0.1 * parameters["width"] - abs(parameters["learning_rate"] - 0.01)
        assert event["score"] == pytest.approx(expected)


def test_target_score_ends_the_experiment(tmp_path):
    """The two trials beside the one that reaches it would run for minutes: they are ended, and have not failed."""
    best = {"learning_rate": 0.01, "width": 3}
    tuner = {"name": "Dream", "classArgs": {"seed": 1, "target_score": 0.8, "initial_parameters": best}}
    config = write_config(
        tmp_path,
        tuner=tuner,
        trialCommand="python3 curve.py --pause 100 --quick-from 0.8",
        trialConcurrency=3,
        maxTrialNumber=100,
    )
    process = start(tmp_path, config)
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, printed
    assert "ended early: trial 0 reached the target: 0.8" in printed
    assert len(list(tmp_path.glob("experiments/[!_]*/environments/local-env/trials/*/trial.stdout"))) >= 3
    events = journal_of(tmp_path)
    assert [event["reason"] for event in events if event["event"] == "finish"] == ["trial 0 reached the target: 0.8"]
    assert [event["parameters"] for event in events if event["event"] == "result"] == [best]
    assert [event for event in events if event["event"] == "end"] == []
    assert processes_of(tmp_path) == []


def test_a_space_with_fewer_configurations_than_slots_is_tried_to_the_last(tmp_path):
    """NNI has them in its queue when the search is over: none of them must be lost."""
    space = {
        "learning_rate": {"_type": "choice", "_value": [0.1, 0.01, 0.001]},
        "width": {"_type": "choice", "_value": [1]},
    }
    tuner = {"name": "Dream", "classArgs": {"seed": 1}}
    config = write_config(tmp_path, searchSpace=space, tuner=tuner, trialConcurrency=4, maxTrialNumber=100)
    process = start(tmp_path, config)
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, printed
    assert "ended early: every configuration of the search space was tried" in printed
    tried = [event["parameters"]["learning_rate"] for event in journal_of(tmp_path) if event["event"] == "result"]
    assert sorted(tried) == [0.001, 0.01, 0.1]
    assert processes_of(tmp_path) == []


def test_a_trial_whose_time_is_up_counts_with_its_epochs(tmp_path):
    """It has four, and waits for an assessor that is not there."""
    changes = {"assessor": None, "maxTrialNumber": 1, "maxTrialDuration": "30s"}
    config = write_config(tmp_path, trialCommand="python3 curve.py --pause 0.5", **changes)
    printed, _ = start(tmp_path, config).communicate(timeout=DEADLINE_SECONDS)
    assert "stopped: ended from outside" in printed
    (stop,) = [event for event in journal_of(tmp_path) if event["event"] == "stop"]
    assert (stop["trial"], stop["rule"], stop["n_epochs"]) == (0, "cancelled", 4)
    assert stop["score"] is not None
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGHUP, 130)])
def test_interrupted_leaves_no_process_behind(tmp_path, signal_number, code):
    config = write_config(tmp_path, trialCommand="python3 curve.py --pause 100", trialConcurrency=2)
    process = start(tmp_path, config)
    wait_until(lambda: running(tmp_path, "curve.py") >= 2, "the start of two trials")
    process.send_signal(signal_number)
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == code, printed
    assert "interrupted; the experiment is stopped" in printed
    assert processes_of(tmp_path) == []


def test_what_is_ended_from_outside_is_summed_up(tmp_path):
    """As ``nnictl stop`` does it."""
    process = start(tmp_path, write_config(tmp_path, trialCommand="python3 curve.py --pause 0.1", maxTrialNumber=100))
    address = "".join(read_until(process, "web page ")).rpartition("web page ")[2].strip()
    read_until(process, " initial ")  # the first trial has ended
    requests.delete(f"{address}/api/v1/nni/experiment", timeout=60)
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1, printed
    assert "the experiment was ended from outside: NNI's manager on port" in printed
    assert processes_of(tmp_path) == []


def test_interrupted_while_nni_starts(tmp_path):
    process = start(tmp_path, write_config(tmp_path))
    wait_until(lambda: running(tmp_path, "nni_node") > 0, "the manager's start")
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 130, printed
    assert processes_of(tmp_path) == []


# Loaded into NNI's web server: the first one that starts sleeps before it listens.
SLOW_ONCE = """
const fs = require("fs");
if ((process.argv[1] || "").endsWith("main.js") && !fs.existsSync(process.env.SLOW_ONCE)) {
    fs.writeFileSync(process.env.SLOW_ONCE, String(process.pid));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(process.env.SLOW_MILLISECONDS));
}
"""


@pytest.mark.parametrize(
    ("milliseconds", "is_started_again"), [(7_000, False), (60_000, True)], ids=["slow", "too slow"]
)
def test_a_web_server_that_does_not_answer_in_time_is_started_again(tmp_path, milliseconds, is_started_again):
    """NNI by itself would not even wait for the first of them."""
    script, marker = tmp_path / "slow_once.js", tmp_path / "slow_process"
    script.write_text(SLOW_ONCE)
    config = write_config(tmp_path, trialCommand="python3 curve.py --pause 100")
    process = start(
        tmp_path, config, NODE_OPTIONS=f"--require {script}", SLOW_ONCE=str(marker), SLOW_MILLISECONDS=str(milliseconds)
    )
    try:
        printed = "".join(read_until(process, "web page "))
        assert ("start 1 of 3 failed" in printed) is is_started_again
        assert marker.exists()
        assert running(tmp_path, "nni_node") == 1
        address = printed.split("web page ")[1].strip()
        assert requests.get(f"{address}/api/v1/nni/check-status", timeout=20).json()["errors"] == []
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_SECONDS)
    assert processes_of(tmp_path) == []


# A tuner whose first process takes longer than the ten seconds for which NNI waits.
LATE_ONCE = """
import time
from pathlib import Path

from nni_dream.tuner import DreamTuner

marker = Path(__file__).with_name("was_late")
if not marker.exists():
    marker.touch()
    time.sleep(12)


class LateOnce(DreamTuner):
    pass
"""


def test_a_tuner_that_connects_too_late_is_started_again(tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    (code / "late.py").write_text(LATE_ONCE)
    tuner = {"className": "late.LateOnce", "codeDirectory": str(code), "classArgs": {"seed": 1}}
    process = start(tmp_path, write_config(tmp_path, tuner=tuner, maxTrialNumber=1))
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, printed
    assert "start 1 of 3 failed: the tuner did not connect within the ten seconds that NNI waits" in printed
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"searchSpace": {"x": {"_type": "uniform", "_value": [2, 1]}}}, "parameter 'x' (uniform) has bounds [2, 1]"),
        ({"tunner": {"name": "Dream"}}, "does not have field(s) tunner"),
        ({"maxTrialNumber": "many"}, "max_trial_number"),
    ],
    ids=["search-space", "unknown-field", "wrong-type"],
)
def test_refused_experiment_says_why(tmp_path, changes, words):
    process = start(tmp_path, write_config(tmp_path, **changes))
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert words in printed
    assert processes_of(tmp_path) == []


def test_proxies_do_not_stand_between_the_parts_of_nni(tmp_path):
    """Nobody listens there: whatever goes through one of them fails."""
    proxies = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in SCHEMES}
    process = start(tmp_path, write_config(tmp_path, maxTrialNumber=2), no_proxy="", NO_PROXY="", **proxies)
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, printed
    assert "2 trials in" in printed


def test_missing_config(tmp_path):
    process = start(tmp_path, tmp_path / "absent.yml")
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert "absent.yml" in printed
    assert "Traceback" not in printed


def test_no_test_score_for_a_model_that_lies_on_another_machine(tmp_path):
    """NNI's remote service leaves a trial's output in that machine's home, not in the experiment's folder."""
    experiment = RunningExperiment(
        id="remote",
        port=8080,
        folder=tmp_path,
        max_trials=1,
        trial_concurrency=1,
        trial_command="python3 -m nni_dream.automl.digits",
        exposure=Exposure(is_loopback_only=True),
    )
    with console.capture() as captured:
        _print_test_score(experiment, TrialRow(3, "random", {"x": 1}, job="abcde", score=0.5))
    assert captured.get() == "no test score: the best model is on the machine of trial 3\n"


def test_wrong_messages_are_summed_up_by_kind():
    """Some of them could be read: a score that is missing, a mode that is not the tuner's."""
    with console.capture() as captured:
        _print_malformed(SearchSummary(malformed=(("another optimize_mode", 1), ("no score", 40))))
    assert captured.get().splitlines() == [
        "odd messages: 1 × another optimize_mode (the first is in the journal)",
        "odd messages: 40 × no score (the first is in the journal)",
    ]
