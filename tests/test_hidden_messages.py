"""What a metric says beside its value: the id that NNI keeps from the assessor, results that it throws away."""

from __future__ import annotations

import json

import pytest

from nni_dream.feedback import TrialFeedback, final_metric
from nni_dream.hidden_messages import customized_result, ending_job, identify_trial, observe_metric
from nni_dream.search.suggestions import Origin
from nni_dream.trials import TrialBook

PARAMETERS = {"x": 1}
TOLD = final_metric(TrialFeedback(parameters=PARAMETERS), 0.5, None)


@pytest.fixture
def book():
    book = TrialBook("maximize")
    book.add(3, PARAMETERS, Origin("random"))
    return book


def metric(**changes):
    """A final result as NNI's manager sends it; ``value`` is JSON text inside JSON."""
    sent = {"parameter_id": None, "trial_job_id": "job", "type": "FINAL", "sequence": 0, "value": json.dumps(TOLD)}
    return sent | changes


def test_a_plain_number_is_joined_to_the_parameters_of_its_id(book):
    identify_trial(book, metric(parameter_id=3, type="PERIODICAL", value="0.4"))
    book.observe("job", [0.4])
    assert [epoch.val_score for epoch in book.find(PARAMETERS).feedback.epochs] == [0.4]


def test_what_the_trial_tells_counts_more_than_the_id(book):
    other = {"x": 2}
    book.add(4, other, Origin("random"))
    epochs = [{"default": 0.4, "dream": json.dumps({"parameters": other, "epochs": [{"epoch": 0, "val_score": 0.4}]})}]
    book.observe("job", epochs)
    identify_trial(book, metric(parameter_id=3, type="PERIODICAL"))
    book.end_job("job", success=False)
    assert [record.status.value for record in book.records()] == ["running", "failed"]


@pytest.mark.parametrize(
    "sent",
    [
        metric(),
        metric(parameter_id=77),
        metric(parameter_id="3"),
        metric(parameter_id=[3]),
        metric(trial_job_id=None, parameter_id=3),
        {},
        None,
        [],
        "text",
    ],
    ids=repr,
)
def test_a_metric_that_names_no_id_of_ours_joins_nothing(book, sent):
    identify_trial(book, sent)
    book.observe("job", [0.4])
    assert book.find(PARAMETERS).feedback.epochs == ()


def test_the_result_of_a_customized_trial():
    assert customized_result(metric()) == TOLD


@pytest.mark.parametrize(
    "sent",
    [
        metric(parameter_id=0),  # one that NNI passes on
        metric(type="PERIODICAL"),
        metric(value="0.5"),
        metric(value='{"default": 0.5}'),
        metric(value='{"default": 0.5, "dream": "text"}'),
        metric(value="no JSON"),
        metric(value="[" * 100_000),
        metric(value=None),
        metric(value=TOLD),
        {"type": "FINAL"},
        {},
        None,
        "text",
    ],
    ids=lambda sent: repr(sent)[:80],
)
def test_nothing_else_is_taken_for_one(sent):
    assert customized_result(sent) is None


def test_an_intermediate_result_is_entered_under_its_job(book):
    identify_trial(book, metric(parameter_id=3))
    observe_metric(book, metric(type="PERIODICAL", value="0.4"))
    assert [epoch.val_score for epoch in book.find(PARAMETERS).feedback.epochs] == [0.4]


@pytest.mark.parametrize(
    "sent",
    [
        metric(),
        metric(type="PERIODICAL", trial_job_id=None),
        metric(type="PERIODICAL", sequence=None),
        metric(type="PERIODICAL", value=None),
        metric(type="PERIODICAL", value="no JSON"),
        metric(type="PERIODICAL", value="[" * 100_000),
        {"type": "PERIODICAL", "trial_job_id": "job", "sequence": 0},
        None,
        [],
    ],
    ids=lambda sent: repr(sent)[:60],
)
def test_of_anything_else_the_book_is_told_nothing(book, sent):
    identify_trial(book, metric(parameter_id=3))
    observe_metric(book, sent)
    assert book.find(PARAMETERS).feedback.epochs == ()
    assert not book.malformed.n


@pytest.mark.parametrize(
    ("end", "expected"),
    [({"trial_job_id": "job"}, "job"), ({"trial_job_id": 3}, None), ({}, None), (None, None), ([], None)],
)
def test_the_job_that_has_ended(end, expected):
    assert ending_job(end) == expected
