from pathlib import Path

import pytest

from nni_dream.priority_building import workers
from nni_dream.priority_building.workers import Worker, WorkerError, train_all

DIGITS = ["--data", "digits", "--epochs", "1", "--n-train", "64"]


@pytest.mark.slow
def test_trains_one_after_the_other_and_survives_what_cannot_be_trained():
    tasks = [
        ("good", {"block_type": {"_name": "vanilla"}}),
        ("bad", {"block_type": {"_name": "bogus"}}),
        ("good again", {"block_type": {"_name": "vanilla"}}),
    ]
    answers = dict(train_all(tasks, DIGITS, n_workers=1))
    assert "expected 'vanilla'" in answers["bad"].error
    assert answers["good"].metric == {
        **answers["good again"].metric,
        "seconds": answers["good"].metric["seconds"],
        "dream": answers["good"].metric["dream"],
    }
    assert 0 <= answers["good"].metric["default"] <= 1
    assert answers["good"].seconds > 0


@pytest.mark.parametrize("place", [0, 1, 2], ids=["its first", "one in the middle", "the last"])
def test_a_process_that_a_training_kills_is_started_again(monkeypatch, place):
    monkeypatch.setattr(workers, "WORKER_MODULE", "deadly_worker")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    tasks = [(number, {"dropout": "deadly" if number == place else 0.5}) for number in range(3)]
    answers = dict(train_all(tasks, [], n_workers=1))
    assert "the worker ended with code -9" in answers.pop(place).error
    assert [answer.metric for answer in answers.values()] == [0.5, 0.5]


def test_data_that_are_not_there_are_an_error_with_the_words_of_the_trial(tmp_path):
    worker = Worker(["--data", "cifar10", "--data-dir", str(tmp_path)])
    with pytest.raises(WorkerError, match="cifar10"):
        worker.train({})
    worker.close()
