import pytest

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


def test_data_that_are_not_there_are_an_error_with_the_words_of_the_trial(tmp_path):
    worker = Worker(["--data", "cifar10", "--data-dir", str(tmp_path)])
    with pytest.raises(WorkerError, match="cifar10"):
        worker.train({})
    worker.close()
