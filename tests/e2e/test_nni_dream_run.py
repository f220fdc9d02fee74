"""``nni-dream run`` with the real NNI manager: a whole search, an interrupted one, a refused one."""

from __future__ import annotations

import signal
import subprocess

import pytest
from e2e.experiment import BIN, WORST, own_environment, processes_of, write_config
from waiting import wait_until

from nni_dream.journal import JOURNAL_NAME, read_journal

pytestmark = pytest.mark.e2e

DEADLINE_SECONDS = 180


def start(folder, config, *options):
    return subprocess.Popen(
        [BIN / "nni-dream", "run", config, *options],
        cwd=folder,
        env=own_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
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
    assert [event["kind"] for event in suggested] == ["initial", "action", "action", "action"]
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
    tuner = {"name": "Dream", "classArgs": {"seed": 1, "target_score": 0.55}}
    process = start(tmp_path, write_config(tmp_path, tuner=tuner, maxTrialNumber=100))
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, printed
    assert "reached the target" in printed


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_interrupted_leaves_no_process_behind(tmp_path, signal_number, code):
    config = write_config(tmp_path, trialCommand="python3 curve.py --pause 100", trialConcurrency=2)
    process = start(tmp_path, config)
    wait_until(
        lambda: sum("curve.py" in " ".join(each.cmdline()) for each in processes_of(tmp_path)) >= 2,
        "the start of two trials",
    )
    process.send_signal(signal_number)
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == code, printed
    assert "interrupted; the experiment is stopped" in printed
    assert processes_of(tmp_path) == []


def test_interrupted_while_nni_starts(tmp_path):
    process = start(tmp_path, write_config(tmp_path))
    wait_until(
        lambda: any("nni_node" in " ".join(each.cmdline()) for each in processes_of(tmp_path)), "the manager's start"
    )
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 130, printed
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


def test_missing_config(tmp_path):
    process = start(tmp_path, tmp_path / "absent.yml")
    printed, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert "absent.yml" in printed
    assert "Traceback" not in printed
