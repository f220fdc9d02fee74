"""The trial book: who really ran what, whatever the order of NNI's calls."""

import gc
import itertools
import logging
import math
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_dream.config import SettingsError
from nni_dream.feedback import EpochFeedback, LayerFeedback, TrialFeedback, epoch_metric, final_metric
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.search.conditions import diagnose
from nni_dream.search.json_values import canonical_json
from nni_dream.search.stopping import StopReason
from nni_dream.search.suggestions import Origin, SkippedAction
from nni_dream.trials import TrialBook, TrialRecord, TrialStatus, shared_book

RANDOM = Origin("random")
REASON = StopReason("non-finite", "non-finite weights in epoch 1", 1)
A, B = {"lr": 0.1}, {"lr": 0.2}


@pytest.fixture
def book():
    return TrialBook("maximize")


@pytest.fixture
def two(book):
    """A book with trial 0 (A, parameter id 0) and trial 1 (B, parameter id 1)."""
    book.add(0, A, RANDOM)
    book.add(1, B, RANDOM)
    return book


def epochs_of(*scores, **numbers):
    return tuple(EpochFeedback(epoch=i, val_score=score, **numbers) for i, score in enumerate(scores))


def history(parameters, *scores, **numbers):
    """The intermediate metrics of a trial that tells its parameters."""
    return [
        epoch_metric(TrialFeedback(parameters=parameters, epochs=(epoch,)), epoch.val_score)
        for epoch in epochs_of(*scores, **numbers)
    ]


def final(parameters, *scores):
    epochs = epochs_of(*scores)
    return final_metric(TrialFeedback(parameters=parameters, epochs=epochs), scores[-1], epochs[-1])


def scores_of(record):
    return [epoch.val_score for epoch in record.feedback.epochs]


def states(book):
    """(status, score) of every record."""
    return [(record.status.value, record.score) for record in book.records()]


# --- suggestions


def test_records_are_numbered_in_the_order_of_suggestion(two):
    assert [(record.number, record.configuration, record.parameter_id) for record in two.records()] == [
        (0, A, 0),
        (1, B, 1),
    ]
    assert states(two) == [("running", None), ("running", None)]


@pytest.mark.parametrize("again", [{"lr": 0.1}, {"lr": 0.1, "n": 1.0}])
def test_the_same_configuration_keeps_its_first_record(book, again):
    book.add(0, {"lr": 0.1, "n": 1} if "n" in again else A, RANDOM)
    record = book.add(5, again, Origin("initial"))
    assert (record.number, record.parameter_id, record.origin) == (0, 0, RANDOM)
    assert len(book.records()) == 1
    assert book.end(5, success=False).number == 0  # the later parameter id leads there too


def test_one_and_true_are_two_configurations(book):
    book.add(0, {"x": 1}, RANDOM)
    book.add(1, {"x": True}, RANDOM)
    assert len(book.records()) == 2


def test_what_was_skipped_before_a_suggestion_is_not_kept(book):
    """A hundred actions for each trial; the journal has them."""
    origin = Origin("action", candidate=0, action="lr=0.1", skipped=(SkippedAction("lr=0.2", "is so already"),))
    record = book.add(0, A, origin)
    assert record.origin == Origin("action", candidate=0, action="lr=0.1")


# --- results and ends, in any order


def test_a_whole_trial(two):
    two.observe("job", history(A, 0.3, 0.5))
    record = two.finish(0, A, final(A, 0.3, 0.5, 0.4), "job")
    two.end_job("job", success=True)
    two.end(0, success=True)
    assert (record.status, record.score, scores_of(record)) == (TrialStatus.SUCCEEDED, 0.4, [0.3, 0.5, 0.4])
    assert states(two) == [("succeeded", 0.4), ("running", None)]


STEPS = {
    "observe": lambda book: book.observe("job", history(A, 0.3, 0.5)),
    "finish": lambda book: book.finish(0, A, final(A, 0.3, 0.5), "job"),
    "end": lambda book: book.end(0, success=True),
    "end_job": lambda book: book.end_job("job", success=True),
}


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)), ids=" ".join)
def test_the_order_of_result_and_end_does_not_matter(two, order):
    for step in order:
        STEPS[step](two)
    assert states(two) == [("succeeded", 0.5), ("running", None)]
    assert scores_of(two.best()) == [0.3, 0.5]


@pytest.mark.parametrize("order", list(itertools.permutations(["observe", "end", "end_job"])), ids=" ".join)
def test_a_trial_without_result_has_failed_in_any_order(two, order):
    failing = {
        "observe": STEPS["observe"],
        "end": lambda book: book.end(0, success=False),
        "end_job": lambda book: book.end_job("job", success=False),
    }
    for step in order:
        failing[step](two)
    assert states(two) == [("failed", None), ("running", None)]


def test_repeated_calls_change_nothing(two):
    for step in (*STEPS.values(), *STEPS.values()):
        step(two)
    before = two.records()
    for step in STEPS.values():
        step(two)
        assert two.records() == before


def test_a_trial_that_ended_well_counts_with_its_best_epoch_until_its_result_comes(two):
    two.observe("job", history(A, 0.3, 0.6, 0.5))
    assert two.end_job("job", success=True).score == 0.6
    assert two.finish(0, A, final(A, 0.3, 0.6, 0.5), "job").score == 0.5


def test_an_end_without_any_score_waits_for_the_result(two):
    two.observe("job", history(A, 0.3))
    two.observe("other", [])
    assert two.end_job("other", success=True) is None
    assert two.end(0, success=True) is None
    assert states(two)[0] == ("running", None)


def test_a_result_mends_a_failure(two):
    two.end(0, success=False)
    assert states(two)[0] == ("failed", None)
    two.finish(0, A, final(A, 0.5), "job")
    assert states(two)[0] == ("succeeded", 0.5)


def test_an_end_after_the_result_is_no_failure(two):
    two.finish(0, A, final(A, 0.5), "job")
    two.end(0, success=False)
    two.end_job("job", success=False)
    assert states(two)[0] == ("succeeded", 0.5)


@pytest.mark.parametrize("parameter_id", [None, 99])
def test_the_end_of_an_unknown_trial_is_passed_over(two, parameter_id):
    assert two.end(parameter_id, success=False) is None
    assert two.end_job("unknown", success=False) is None
    assert states(two) == [("running", None)] * 2


# --- intermediate results one by one, as the tuner hears them


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ([0, 1, 2], [0, 1, 2]),
        ([0, 0, 1, 1], [0, 1]),  # twice
        ([0, 2, 1, 3], [0, 1, 2, 3]),  # as NNI tells them where they come quickly
        ([1, 2], [1, 2]),  # the first is lost
        ([-1, 0], [0]),
    ],
)
def test_epochs_one_by_one(two, indices, expected):
    two.identify("job", 0)
    for index in indices:
        two.observe_next("job", index, index / 10)
    assert [(epoch.epoch, epoch.val_score) for epoch in two.find(A).feedback.epochs] == [
        (index, index / 10) for index in expected
    ]


def test_an_epoch_after_the_end_of_its_job_is_left_out(two):
    two.observe_next("job", 0, history(A, 0.3)[0])
    two.end_job("job", success=True)
    two.observe_next("job", 1, history(A, 0.3, 0.9)[1])
    assert states(two)[0] == ("succeeded", 0.3)
    assert scores_of(two.best()) == [0.3]


# --- NNI's parameter ids can name another trial


def test_a_result_counts_for_the_parameters_that_the_trial_really_had(two):
    record = two.finish(0, A, final(B, 0.5), "job")
    assert (record.number, record.configuration) == (1, B)
    assert states(two) == [("running", None), ("succeeded", 0.5)]


def test_the_end_of_another_trials_parameter_id_is_mended_by_the_results(two):
    two.end(1, success=False)  # it was trial 0 that died, NNI thinks it was 1
    two.finish(1, B, final(B, 0.5), "job of b")
    assert states(two) == [("running", None), ("succeeded", 0.5)]
    two.observe("job of a", history(A, 0.3))
    two.end_job("job of a", success=False)
    assert states(two) == [("failed", None), ("succeeded", 0.5)]


def test_epochs_belong_to_the_parameters_that_the_trial_really_had(two):
    two.observe("job", history(B, 0.3, 0.5))
    assert [scores_of(record) for record in two.records()] == [[], [0.3, 0.5]]


def test_what_the_trial_told_in_an_earlier_metric_counts_for_a_plain_final_result(two):
    two.observe("job", history(B, 0.3))
    assert two.finish(0, A, 0.5, "job").number == 1
    two.end_job("job", success=True)
    assert two.finish(0, A, 0.6, "job").number == 1
    assert states(two) == [("running", None), ("succeeded", 0.6)]


# --- trials whose code changes the dict that NNI gave them, and that they tell

CHANGED = {**A, "device": "cpu"}


def test_changed_parameters_are_those_of_the_id_that_the_metric_names(two):
    two.identify("job", 0)
    two.observe("job", history(CHANGED, 0.3))
    two.identify("job", 0)
    two.finish(0, A, final(CHANGED, 0.5), "job")
    assert states(two) == [("succeeded", 0.5), ("running", None)]


def test_a_stop_finds_the_trial_of_changed_parameters(two):
    two.observe("job", history(CHANGED, 0.3))
    two.identify("job", 0)
    assert two.stop("job", REASON).number == 0


def test_a_suggested_configuration_counts_more_than_the_id(two):
    two.identify("job", 0)
    two.observe("job", history(B, 0.3))
    two.identify("job", 0)
    assert two.finish(0, A, final(B, 0.5), "job").number == 1


# --- trials that never heard of us


def test_plain_numbers_are_epochs_and_a_score(two):
    feedback = two.observe("job", [0.1, {"default": 0.3, "loss": 2.0}, 0.2])
    assert [(epoch.epoch, epoch.val_score) for epoch in feedback.epochs] == [(0, 0.1), (1, 0.3), (2, 0.2)]
    record = two.finish(1, B, 0.25, "job")
    assert (record.number, record.score, scores_of(record)) == (1, 0.25, [0.1, 0.3, 0.2])
    assert str(diagnose(record.feedback, B, "maximize")) == "*-NC-*-*"


def test_plain_numbers_without_a_job_are_a_score_alone(two):
    record = two.finish(0, A, 0.5, None)
    assert (record.score, scores_of(record)) == (0.5, [])


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, {"default": -math.inf}, {"__ndarray__": math.nan, "dtype": "float64", "shape": []}],
    ids="{!s:.40}".format,
)
def test_a_score_that_is_not_finite_is_a_lost_loss(two, value):
    (epoch,) = two.observe("job", [value]).epochs
    assert (epoch.val_score, epoch.n_nonfinite_losses) == (None, 1)
    assert two.malformed.n == {}
    record = two.finish(0, A, value, "job")
    assert (record.status, record.score) == (TrialStatus.SUCCEEDED, None)
    assert two.best() is None


# --- messages that cannot be read


def test_feedback_of_another_version_is_counted_logged_once_and_its_score_kept(tmp_path, caplog):
    book = TrialBook("maximize", tmp_path)
    book.add(0, A, RANDOM)
    foreign = {"default": 0.5, "dream": '{"version": 2}'}
    with caplog.at_level(logging.WARNING):
        feedback = book.observe("job", [foreign, foreign])
        record = book.finish(0, A, foreign, "job")
    assert [epoch.val_score for epoch in feedback.epochs] == [0.5, 0.5]
    assert record.score == 0.5
    assert book.malformed.n == {"foreign feedback": 3}
    (message,) = [entry.getMessage() for entry in caplog.records]
    assert "dream.version: Input should be 1" in message
    (event,) = read_journal(tmp_path / JOURNAL_NAME)
    assert (event["event"], event["kind"]) == ("malformed_metric", "foreign feedback")


@pytest.mark.parametrize(
    "metric", ["0.5", None, True, {"loss": 0.5}, {"default": "high"}, [0.5]], ids="{!s:.40}".format
)
def test_a_metric_without_a_number_is_counted_and_is_an_epoch_without_score(two, metric):
    feedback = two.observe("job", [0.1, metric])
    assert [(epoch.val_score, epoch.n_nonfinite_losses) for epoch in feedback.epochs] == [(0.1, 0), (None, 0)]
    assert two.malformed.n == {"no score": 1}


# --- histories


def test_a_history_is_taken_in_once(two):
    whole = history(A, 0.1, 0.2, 0.3)
    for metrics in (whole[:1], whole[:1], whole, whole):
        two.observe("job", metrics)
    assert scores_of(two.records()[0]) == [0.1, 0.2, 0.3]


def test_plain_numbers_are_counted_on_from_call_to_call(two):
    for metrics in ([0.1], [0.1, 0.2], [0.1, 0.2, 0.3, 0.4]):
        feedback = two.observe("job", metrics)
    assert [(epoch.epoch, epoch.val_score) for epoch in feedback.epochs] == [(0, 0.1), (1, 0.2), (2, 0.3), (3, 0.4)]


def test_a_malformed_metric_of_a_replayed_history_is_counted_once(two):
    for _ in range(3):
        two.observe("job", ["bad"])
    assert two.malformed.n == {"no score": 1}


def test_a_trial_that_starts_anew_forgets_its_first_run(two):
    two.observe("job", history(A, 0.1, 0.2, 0.3))
    feedback = two.observe("job", history(A, 0.7, 0.8))
    assert [epoch.val_score for epoch in feedback.epochs] == [0.7, 0.8]
    assert scores_of(two.records()[0]) == [0.7, 0.8]


def test_a_trial_that_starts_anew_after_its_end_is_followed_from_its_first_epoch(two):
    two.observe("job", history(A, 0.1, 0.2, 0.3))
    two.end_job("job", success=False)
    two.observe("job", history(A, 0.7))
    feedback = two.observe("job", history(A, 0.7, 0.8))
    assert [epoch.val_score for epoch in feedback.epochs] == [0.7, 0.8]


def test_an_empty_history_is_no_feedback(two):
    assert two.observe("job", []) == TrialFeedback()


# --- what is not kept


def test_per_layer_numbers_are_not_kept(two):
    column = [0.5, 0.25]
    layers = LayerFeedback(
        gradient_norms=column,
        zero_gradient_shares=column,
        dead_unit_shares=column,
        weight_norms=column,
        update_ratios=column,
    )
    feedback = two.observe("job", history(A, 0.3, weight_norm=1.0, layers=layers))
    (epoch,) = epochs_of(0.3, weight_norm=1.0)
    assert feedback.epochs == two.records()[0].feedback.epochs == (epoch,)


def test_the_epochs_of_an_ended_job_are_with_its_record_alone(two):
    two.observe("job", history(A, 0.3, 0.5))
    two.end_job("job", success=True)
    assert two.observe("job", history(A, 0.3, 0.5)).epochs == ()
    assert [epoch.epoch for epoch in two.observe("job", history(A, 0.3, 0.5, 0.4)).epochs] == [2]
    assert scores_of(two.records()[0]) == [0.3, 0.5, 0.4]


def test_the_epochs_of_an_ended_job_are_kept_until_it_is_known_whose_they_are(two):
    two.observe("job", [0.1, 0.4])
    two.end_job("job", success=True)
    two.observe("job", [0.1, 0.4, 0.3])
    assert scores_of(two.finish(0, A, 0.4, "job")) == [0.1, 0.4, 0.3]


def test_a_stop_that_comes_after_the_end_knows_the_best_score(two):
    two.observe("job", history(A, 0.3, 0.5, 0.4))
    two.end_job("job", success=False)
    assert two.stop("job", REASON).score == 0.5


# --- stopping


def test_a_stop_that_comes_after_the_final_result_changes_nothing(two):
    two.identify("job", 0)
    record = two.finish(0, two.numbered(0).configuration, 0.95, "job")
    assert two.stop("job", REASON) is None
    assert two.verdict("job") is None
    assert two.numbered(0) == record
    assert (record.status, record.score, two.best()) == (TrialStatus.SUCCEEDED, 0.95, record)


def test_a_stopped_trial_keeps_its_best_score_and_its_condition(two):
    two.observe("job", history(A, 0.3, 0.5, 0.4, weight_norm=1.0))
    two.stop("job", REASON)
    two.end(0, success=False)
    two.end_job("job", success=False)
    record = two.records()[0]
    assert (record.status, record.score, record.stop) == (TrialStatus.STOPPED, 0.5, REASON)
    assert str(diagnose(record.feedback, A, "maximize")) == "*-NC-*-NW"
    assert two.verdict("job") is REASON


def test_a_stopped_regression_keeps_its_smallest_loss():
    book = TrialBook("minimize")
    book.add(0, A, RANDOM)
    book.observe("job", history(A, 3.0, 1.0, 2.0))
    assert book.stop("job", REASON).score == 1.0


def test_a_final_result_after_the_stop_gives_the_score_and_no_success(two):
    two.observe("job", history(A, 0.3, 0.5))
    two.stop("job", REASON)
    record = two.finish(0, A, final(A, 0.3, 0.5, 0.45), "job")
    assert (record.status, record.score, record.stop) == (TrialStatus.STOPPED, 0.45, REASON)
    two.end_job("job", success=True)
    assert states(two)[0] == ("stopped", 0.45)


def test_a_final_result_without_a_number_after_the_stop_keeps_the_score(two):
    two.observe("job", history(A, 0.3, 0.5))
    two.stop("job", REASON)
    assert two.finish(0, A, math.nan, "job").score == 0.5


def test_epochs_after_the_stop_are_kept_and_the_verdict_stands(two):
    two.observe("job", history(A, 0.3))
    two.stop("job", REASON)
    two.observe("job", history(A, 0.3, 0.9))
    assert states(two)[0] == ("stopped", 0.3)
    assert scores_of(two.records()[0]) == [0.3, 0.9]
    assert two.verdict("job") is REASON


def test_the_stop_of_a_trial_of_plain_numbers_is_known_when_its_result_comes(two):
    two.observe("job", [0.1, 0.4, 0.3])
    assert two.stop("job", REASON) is None  # nobody knows yet which trial this is
    two.end(0, success=False)
    record = two.finish(0, A, math.nan, "job")
    assert (record.status, record.stop, record.score) == (TrialStatus.STOPPED, REASON, 0.4)


def test_the_stop_of_a_trial_that_another_tuner_suggested(book):
    book.observe("job", history(A, 0.3))
    assert book.stop("job", REASON) is None
    assert book.verdict("job") is REASON
    assert book.records() == []


def test_nobody_stopped_an_unknown_trial(two):
    two.observe("job", [0.1])
    assert two.verdict("job") is None
    assert two.verdict("unknown") is None


# --- what others ran


def test_a_result_that_was_not_suggested_here_is_entered_as_foreign(two):
    record = two.finish(7, {"lr": 0.9}, 0.8, "job")
    assert (record.number, record.origin.kind, record.parameter_id) == (2, "foreign", None)
    assert two.best() == record


def test_epochs_seen_before_a_foreign_result_are_not_lost(book):
    book.observe("job", history(A, 0.1, 0.2))
    assert scores_of(book.finish(None, A, 0.2, "job")) == [0.1, 0.2]


@pytest.mark.parametrize("parameters", [None, "lr=0.1", [0.1]], ids="{!s:.40}".format)
def test_a_result_whose_parameters_nobody_knows_is_counted_and_left_out(two, parameters):
    assert two.finish(None, parameters, 0.8, None) is None
    assert len(two.records()) == 2
    assert two.malformed.n["no parameters"] == 1


def test_parameters_that_nni_has_forgotten_are_known_by_their_id(two):
    """It keeps ``""`` for the first of several requests when a search is over."""
    assert two.finish(0, "", 0.8, "job").configuration == A
    assert two.finish(7, "", 0.8, "other") is None  # an id of another process


# --- questions


def test_the_best_is_the_earliest_of_equals(two):
    two.finish(1, B, 0.5, "b")
    two.finish(0, A, 0.5, "a")
    assert two.best().number == 0


@pytest.mark.parametrize(("mode", "expected"), [("maximize", [2, 0, 3, 1]), ("minimize", [1, 3, 0, 2])])
def test_the_best_trials(mode, expected):
    book = TrialBook(mode)
    for number, score in enumerate([0.5, -0.1, 0.9, 0.0]):
        book.add(number, {"lr": number}, RANDOM)
        book.finish(number, {"lr": number}, score, None)
    book.add(4, {"lr": 4}, RANDOM)  # no score yet
    assert [record.number for record in book.best_trials(9)] == expected
    assert [record.number for record in book.best_trials(2)] == expected[:2]
    assert book.best().number == expected[0]


def test_the_best_trials_of_one_status(two):
    two.observe("a", history(A, 0.9))
    two.stop("a", REASON)
    two.finish(1, B, 0.5, "b")
    assert [record.number for record in two.best_trials(5)] == [0, 1]
    assert [record.number for record in two.best_trials(5, TrialStatus.SUCCEEDED)] == [1]
    assert [record.number for record in two.best_trials(5, TrialStatus.STOPPED)] == [0]


def test_an_empty_book(book):
    assert (book.best(), book.best_trials(3), book.records(), dict(book.known)) == (None, [], [], {})
    assert (book.n_records, book.changes_since(0)) == (0, ([], 0))


def test_what_became_of_each_configuration(two):
    two.add(2, {"lr": 0.3}, RANDOM)
    two.add(3, {"lr": 0.4}, RANDOM)
    two.finish(0, A, 0.5, None)
    two.end(1, success=False)
    two.observe("job", history({"lr": 0.3}, 0.1))
    two.stop("job", REASON)
    assert list(two.known.values()) == ["tried", "tried", "tried", "running"]


def test_what_is_known_is_looked_up_and_never_a_copy(two):
    known = two.known
    assert (len(known), known.get(canonical_json({"lr": 0.3}))) == (2, None)
    assert canonical_json({"lr": 0.3}) not in known
    two.add(2, {"lr": 0.3}, RANDOM)
    assert (len(known), two.n_records, known[canonical_json({"lr": 0.3})]) == (3, 3, "running")
    for identity in known:  # a change in the midst of it is none of its business
        two.add(None, {"lr": identity}, RANDOM)


def test_records_of_one_status(two):
    two.finish(1, B, 0.5, None)
    assert [record.number for record in two.records(TrialStatus.RUNNING)] == [0]
    assert [record.number for record in two.records(TrialStatus.SUCCEEDED)] == [1]


def test_every_outcome_is_told_once(two):
    records, revision = two.changes_since(0)
    assert [record.number for record in records] == [0, 1]
    two.observe("b", history(B, 0.3))
    two.finish(0, A, 0.6, "a")
    two.finish(1, B, 0.5, "b")
    records, later = two.changes_since(revision)
    assert [(record.number, record.score) for record in records] == [(0, 0.6), (1, 0.5)]
    assert two.changes_since(later) == ([], later)
    two.finish(0, A, 0.4, "a")  # told again, now with a lower score
    records, _ = two.changes_since(later)
    assert [(record.number, record.score) for record in records] == [(0, 0.4)]
    assert two.best().number == 1


def test_epochs_that_were_known_already_are_no_change(two):
    two.observe("job", history(A, 0.3))
    _, revision = two.changes_since(0)
    two.observe("job", history(A, 0.3))
    assert two.changes_since(revision) == ([], revision)


def test_a_revision_that_the_book_never_had(two):
    with pytest.raises(ValueError, match="revision 3 is not one of this book, which is at revision 2"):
        two.changes_since(3)


# --- any history at all

CONFIGURATIONS = [{"lr": index} for index in range(3)]
WHICH = st.integers(0, 2)
A_SCORE = st.sampled_from([0.1, 0.2, 0.3, math.nan])
TOLD = st.none() | st.sampled_from(CONFIGURATIONS)


def metric_of(told, score):
    return score if told is None or math.isnan(score) else final(told, score)


def history_of(told, scores):
    return scores if told is None or any(map(math.isnan, scores)) else history(told, *scores)


STEPS_OF_ANY_HISTORY = st.one_of(
    st.builds(lambda n: lambda book: book.add(n, CONFIGURATIONS[n], RANDOM), WHICH),
    st.builds(
        lambda n, told, scores: lambda book: book.observe(f"job{n}", history_of(told, scores)),
        WHICH,
        TOLD,
        st.lists(A_SCORE, max_size=3),
    ),
    st.builds(lambda n: lambda book: book.stop(f"job{n}", REASON), WHICH),
    st.builds(
        lambda n, m, told, score: lambda book: book.finish(n, CONFIGURATIONS[n], metric_of(told, score), f"job{m}"),
        WHICH,
        WHICH,
        TOLD,
        A_SCORE,
    ),
    st.builds(lambda n, success: lambda book: book.end(n, success), WHICH, st.booleans()),
    st.builds(lambda n, success: lambda book: book.end_job(f"job{n}", success), WHICH, st.booleans()),
)


def plain(record):
    """A record as those who ask for changes get it once its trial has ended."""
    return record if record.status is TrialStatus.RUNNING else replace(record, feedback=TrialFeedback())


@given(st.lists(STEPS_OF_ANY_HISTORY, max_size=20), st.sampled_from(["maximize", "minimize"]))
def test_after_any_history_the_answers_are_those_of_a_plain_walk_over_all(steps, mode):
    book = TrialBook(mode)
    followed, revision = {}, 0  # number -> record, as one who asks only for changes knows them
    for step in steps:
        before = {record.number: record for record in book.records()}
        step(book)
        changed, revision = book.changes_since(revision)
        followed |= {record.number: record for record in changed}
        records = book.records()
        assert {number: plain(followed[number]) for number in sorted(followed)} == {
            each.number: plain(each) for each in records
        }
        new = [each for each in records if before.get(each.number) != each]
        assert {each.number for each in new} <= {each.number for each in changed}

        sign = -1 if mode == "maximize" else 1
        scored = [each for each in records if each.score is not None]
        ranked = sorted(scored, key=lambda each: sign * each.score)
        assert book.best_trials(2) == ranked[:2]
        for status in TrialStatus:
            assert book.best_trials(3, status) == [each for each in ranked if each.status is status]
        assert dict(book.known) == {
            canonical_json(each.configuration): "running" if each.status is TrialStatus.RUNNING else "tried"
            for each in records
        }
        jobs = [job for job in book._jobs.values() if job.identity is not None and job.n_seen and not job.has_ended]
        assert book._n_alive == Counter(job.identity for job in jobs)


# --- one book for tuner and assessor


def test_tuner_and_assessor_of_one_experiment_share_a_book(monkeypatch, tmp_path):
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(tmp_path))
    book = shared_book("maximize")
    assert shared_book("maximize") is book
    assert book.journal.path == tmp_path / JOURNAL_NAME


def test_two_experiments_have_two_books(monkeypatch, tmp_path):
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(tmp_path / "one"))
    one = shared_book("maximize")
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(tmp_path / "other"))
    assert shared_book("maximize") is not one


def test_tuner_and_assessor_must_agree_about_what_is_better(monkeypatch, tmp_path):
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(tmp_path))
    book = shared_book("maximize")
    with pytest.raises(SettingsError, match=r"optimize_mode is 'maximize', .* is 'minimize'; give both the same"):
        shared_book("minimize")
    assert book.mode == "maximize"


def test_a_book_that_nobody_holds_is_forgotten(monkeypatch, tmp_path):
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(tmp_path))
    shared_book("maximize").add(0, A, RANDOM)
    gc.collect()
    assert shared_book("minimize").records() == []


@pytest.mark.parametrize("folder", [None, ""])
def test_outside_an_experiment_every_book_is_new_and_has_no_journal(monkeypatch, folder):
    monkeypatch.delenv("NNI_LOG_DIRECTORY", raising=False)
    if folder is not None:
        monkeypatch.setenv("NNI_LOG_DIRECTORY", folder)
    book = shared_book("maximize")
    assert shared_book("minimize") is not book
    assert book.journal.path is None


# --- two threads


@pytest.fixture
def quick_switching():
    """Threads take turns after a few instructions, not after five milliseconds."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def run_together(*steps):
    """Run each list of steps on a thread of its own, from the same moment on; return what they raised."""
    start, errors = threading.Barrier(len(steps)), []

    def run(own_steps):
        start.wait(timeout=10)
        try:
            for step in own_steps:
                step()
        except Exception as error:  # noqa: BLE001 - shown by the caller
            errors.append(error)

    threads = [threading.Thread(target=run, args=(own_steps,)) for own_steps in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return errors


@pytest.mark.usefixtures("quick_switching")
def test_two_threads_lose_nothing(book):
    n = 100
    configurations = [{"lr": index} for index in range(n)]
    for index, configuration in enumerate(configurations):
        book.add(index, configuration, RANDOM)

    def tuner(index, configuration):
        book.finish(index, configuration, final(configuration, 0.1, 0.2), f"job{index}")
        book.best()
        dict(book.known)
        book.changes_since(0)

    def assessor(index, configuration):
        book.observe(f"job{index}", history(configuration, 0.1, 0.2, 0.3))  # one epoch more than the result says
        book.best_trials(3, TrialStatus.SUCCEEDED)
        book.end_job(f"job{index}", success=True)
        book.end(index, success=True)

    numbered = list(enumerate(configurations))
    steps = [[partial(call, index, own) for index, own in numbered] for call in (tuner, assessor)]
    assert run_together(*steps) == []
    assert states(book) == [("succeeded", 0.2)] * n
    assert all(scores_of(record) == [0.1, 0.2, 0.3] for record in book.records())


@pytest.mark.usefixtures("quick_switching")
def test_two_threads_number_every_trial_once(book):
    def add(index):
        book.add(index, {"lr": index}, RANDOM)

    assert run_together(*[[partial(add, index) for index in range(first, 400, 2)] for first in (0, 1)]) == []
    assert sorted(record.number for record in book.records()) == list(range(400))


CALLS = {
    "add": lambda book: book.add(0, A, RANDOM),
    "observe": lambda book: book.observe("job", [0.1]),
    "stop": lambda book: book.stop("job", REASON),
    "verdict": lambda book: book.verdict("job"),
    "finish": lambda book: book.finish(0, A, 0.5, "job"),
    "end": lambda book: book.end(0, success=False),
    "end_job": lambda book: book.end_job("job", success=False),
    "records": lambda book: book.records(),
    "n_records": lambda book: book.n_records,
    "changes_since": lambda book: book.changes_since(0),
    "known, state": lambda book: book.known[canonical_json(A)],
    "known, membership": lambda book: canonical_json(A) in book.known,
    "known, all": lambda book: list(book.known),
    "known, count": lambda book: len(book.known),
    "best": lambda book: book.best(),
    "best_trials": lambda book: book.best_trials(1),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_call_waits_until_the_book_is_free(two, call):
    thread = threading.Thread(target=CALLS[call], args=(two,))
    with two._lock:
        thread.start()
        thread.join(timeout=0.02)
        assert thread.is_alive()
    thread.join(timeout=10)
    assert not thread.is_alive()


# --- what an earlier process knew


def test_a_restored_book_goes_on_counting(two):
    two.finish(0, A, final(A, 0.5), "job")
    again = TrialBook("maximize")
    again.restore(two.records(), {"job": canonical_json(A)})
    assert [(record.number, record.score, record.parameter_id) for record in again.records()] == [
        (0, 0.5, None),
        (1, None, None),
    ]
    assert again.add(0, {"lr": 0.3}, RANDOM).number == 2
    assert (again.has_result("job"), again.has_result("other"), again.has_result(None)) == (True, False, False)
    assert again.end(1, success=False) is None  # NNI gives its parameter ids out anew


def test_numbers_go_on_after_a_gap(book):
    """A line of the journal was lost."""
    book.restore([TrialRecord(4, A, RANDOM)], {})
    assert book.add(0, B, RANDOM).number == 5


def test_a_trial_that_is_suggested_again_has_its_new_parameter_id(book):
    book.restore([TrialRecord(0, A, RANDOM)], {})
    book.resubmit(7, A)
    assert book.numbered(0).parameter_id == 7
    assert book.end(7, success=False).number == 0


# --- trials of another tuner, or of the web page


def test_a_trial_that_told_its_parameters_is_entered_at_its_end(book):
    book.observe("page", history(A, 0.3, 0.6))
    record = book.end_job("page", success=True)
    assert (record.origin.kind, record.configuration, record.score) == ("foreign", A, 0.6)


def test_one_that_failed_is_not(book):
    book.observe("page", history(A, 0.3))
    assert book.end_job("page", success=False) is None
    assert book.records() == []


def test_ten_thousand_epochs_are_joined_without_copying_them_each_time(two):
    """A merge of everything at every epoch would be a hundred million steps: minutes."""
    metrics = []
    started = time.process_time()
    for index in range(10_000):
        epoch = EpochFeedback(epoch=index, val_score=0.5)
        metrics.append(epoch_metric(TrialFeedback(parameters=A, epochs=(epoch,)), 0.5))
        two.observe("job", metrics)
    assert len(two.records()[0].feedback.epochs) == 10_000
    assert time.process_time() - started < 6
