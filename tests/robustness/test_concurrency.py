"""Many trials at once: every score joined to the parameters that the trial really had, every slot used, an end.

``DREAM_TRIALS=60`` makes the experiment longer, ``DREAM_CONCURRENCY=16`` wider, ``DREAM_DYING=0`` lets no trial die.
"""

from __future__ import annotations

import os

import pytest
from robustness.conftest import replay
from robustness.experiment import witness_experiment
from waiting import wait_until

from nni_dream.feedback import EpochFeedback, TrialFeedback, final_metric
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import SearchSpace

N_TRIALS = int(os.environ.get("DREAM_TRIALS", "18"))
N_AT_ONCE = int(os.environ.get("DREAM_CONCURRENCY", "6"))
DYING = float(os.environ.get("DREAM_DYING", "0.15"))  # share of the trials that die before they ask
SPACE = {"x": {"_type": "choice", "_value": list(range(40))}}


def told(parameters, score):
    epoch = EpochFeedback(epoch=0, val_score=score)
    return final_metric(TrialFeedback(parameters=parameters, epochs=(epoch,)), score, epoch)


def test_sixteen_at_once_are_all_different(start):
    manager = start()
    suggested = [canonical_json(record["parameters"]) for _ in range(2) for record in manager.request(16)]
    assert len(set(suggested)) == 32


def test_a_trial_that_dies_before_it_asks_shifts_the_others(start):
    """NNI hands parameters out in order: the second trial runs the first's, and the last ones wait in the queue."""
    manager = start(SPACE, assessor=False)
    records = manager.request(4)
    manager.end("job0", records[0]["parameter_id"], "FAILED")  # it asked for nothing
    for number in (1, 2, 3):
        real = records[number - 1]["parameters"]
        # The id inside a metric is that of the real parameters, the one at the end is NNI's wrong record.
        manager.final(f"job{number}", records[number - 1]["parameter_id"], told(real, number / 10))
        manager.end(f"job{number}", records[number]["parameter_id"])
    book = manager.dispatcher.tuner.book
    assert [record.score for record in book.records()] == [0.1, 0.2, 0.3, None]
    assert [record.status.value for record in book.records()] == ["succeeded"] * 3 + ["running"]
    assert len(manager.request(4)) == 4  # no slot is lost


def test_the_wrong_trials_failure_does_no_lasting_harm(start):
    """Trial 1 failed; NNI says it was trial 2.  Its result mends that; trial 1 is tried again after a resume."""
    manager = start(SPACE, assessor=False)
    records = manager.request(3)
    manager.end("job1", records[2]["parameter_id"], "FAILED")
    manager.final("job0", records[0]["parameter_id"], told(records[0]["parameters"], 0.1))
    manager.final("job2", records[2]["parameter_id"], told(records[2]["parameters"], 0.3))
    states = [record.status.value for record in manager.dispatcher.tuner.book.records()]
    assert states == ["succeeded", "running", "succeeded"]
    assert len(manager.request(3)) == 3
    resumed = start(SPACE, assessor=False)
    replay(resumed, [], [])
    (again, *_) = resumed.request(1)
    assert again["parameters"] == records[1]["parameters"]


def test_a_continuous_space_at_concurrency_six_never_repeats(start):
    manager = start({"rate": {"_type": "loguniform", "_value": [1e-4, 1]}, **SPACE})
    seen = set()
    for round_index in range(6):
        for number, record in enumerate(manager.request(6)):
            identity = canonical_json(record["parameters"])
            assert identity not in seen
            seen.add(identity)
            manager.final(f"job{round_index}-{number}", record["parameter_id"], told(record["parameters"], number / 10))


@pytest.mark.e2e
@pytest.mark.slow
def test_every_score_belongs_to_its_parameters(tmp_path):
    """Trials start up to two seconds apart, and some die before they ask; the trial itself writes down the truth.

    Half of them report plain numbers only.  The experiment ends by itself.
    """
    options = f"delay=2 dying={DYING} plain=0.5"
    with witness_experiment(tmp_path, options, trialConcurrency=N_AT_ONCE, maxTrialNumber=N_TRIALS) as experiment:
        experiment.wait_for("DONE", deadline_seconds=60 + 6 * N_TRIALS)
        jobs = experiment.get("/trial-jobs")
    assert len(jobs) == N_TRIALS
    succeeded = [job for job in jobs if job["status"] == "SUCCEEDED"]
    results = {canonical_json(event["parameters"]): event["score"] for event in experiment.journal("result")}
    assert results == experiment.truth()
    assert len(results) == len(succeeded)
    assert experiment.wrong_pairs() == []


@pytest.mark.e2e
@pytest.mark.slow
def test_an_experiment_that_is_changed_in_mid_run(tmp_path):
    """``nnictl update searchspace`` while trials run; the concurrency and the trial limit change; a customized trial.

    Choices leave and others come, a range moves, a parameter goes and another comes.
    """
    first = {
        "x": {"_type": "choice", "_value": list(range(10))},
        "y": {"_type": "uniform", "_value": [0, 9]},
        "gone": {"_type": "choice", "_value": ["a", "b"]},
    }
    second = {
        "x": {"_type": "choice", "_value": [8, 9, 20, 21, 22]},
        "y": {"_type": "uniform", "_value": [50, 60]},
        "new": {"_type": "choice", "_value": [True, False]},
    }
    changes = {"searchSpace": first, "trialConcurrency": 2, "maxTrialNumber": 100}
    with witness_experiment(tmp_path, "seconds=1", **changes) as experiment:
        experiment.wait_for_results(2)
        experiment.update_search_space(second)
        wait_until(lambda: len(experiment.journal("search_space")) == 2, "the new search space")
        experiment.change("TRIAL_CONCURRENCY", trialConcurrency=4)
        n_before = len(experiment.journal("suggestion"))
        customized = {"x": 5, "y": 5}
        experiment.add_customized(customized)
        experiment.wait_for_results(n_before + 3)
        experiment.change("MAX_TRIAL_NUM", maxTrialNumber=len(experiment.get("/trial-jobs")))
        experiment.wait_for("DONE")
    events = experiment.journal()
    change = [event["event"] for event in events].index("search_space", 2)
    assert events[change]["search_space"] == second
    after = [event["parameters"] for event in events[change:] if event["event"] == "suggestion"]
    assert after
    for parameters in after:
        SearchSpace(second).check(parameters)
    results = [event["parameters"] for event in events if event["event"] == "result"]
    assert customized in results
    assert any(parameters in results for parameters in after)
    assert experiment.wrong_pairs() == []
