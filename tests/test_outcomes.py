"""What tuner and assessor write of the same trial, each on its own thread of NNI's dispatcher."""

import pytest

from nni_dream.config import Thresholds
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.outcomes import journal_result, journal_stop
from nni_dream.resume import recall
from nni_dream.search.stopping import StopReason
from nni_dream.search.suggestions import Origin
from nni_dream.trials import TrialBook

PARAMETERS = {"lr": 0.1}


@pytest.fixture
def book(tmp_path):
    book = TrialBook("maximize", tmp_path)
    book.add(0, PARAMETERS, Origin("random"))
    book.identify("job", 0)
    book.observe("job", [0.3])
    return book


def recalled(tmp_path):
    (record,) = recall(read_journal(tmp_path / JOURNAL_NAME)).records.values()
    return record.status.value, record.score


def test_a_stop_that_is_written_after_the_result_does_not_take_it_back(book, tmp_path):
    """It was entered before; the other thread was quicker to write."""
    reason = StopReason("slow convergence", "too slow", 0)
    stopped = book.stop("job", reason)
    finished = book.finish(0, PARAMETERS, 0.8, "job")
    journal_result(book, finished, "job", Thresholds())
    journal_stop(book, stopped, "job", reason, Thresholds())
    assert recalled(tmp_path) == ("stopped", 0.8)


def test_a_result_that_is_written_after_a_better_one_does_not_take_it_back(book, tmp_path):
    first = book.finish(0, PARAMETERS, 0.5, "job")
    second = book.finish(0, PARAMETERS, 0.8, "job")
    journal_result(book, second, "job", Thresholds())
    journal_result(book, first, "job", Thresholds())
    assert recalled(tmp_path) == ("succeeded", 0.8)


def test_a_trial_that_another_job_has_ended_is_not_cancelled(book):
    book.identify("other", 0)
    book.observe("other", [0.2])
    book.finish(0, PARAMETERS, 0.8, "job")
    assert book.cancel("other") is None
    assert book.best().status.value == "succeeded"
