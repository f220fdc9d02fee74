"""The records of all trials: by configuration, by rank, by when they changed last."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_dream.feedback import EpochFeedback, TrialFeedback
from nni_dream.records import NO_FEEDBACK, RecordStore, TrialRecord, TrialStatus
from nni_dream.search.stopping import StopReason
from nni_dream.search.suggestions import Origin

RANDOM = Origin("random")
RUNNING, SUCCEEDED, STOPPED, FAILED = TrialStatus
FEEDBACK = TrialFeedback(
    architecture="RA",
    planned_epochs=2,
    epochs=(
        EpochFeedback(epoch=0, train_loss=2.5e-12, val_score=0.1 + 0.2, n_nonfinite_losses=1),
        EpochFeedback(epoch=1, val_score=1e300, gradient_ratio=None, n_layers=53),
    ),
)


@pytest.fixture
def store():
    return RecordStore("maximize")


def record(number, score=None, status=SUCCEEDED, feedback=NO_FEEDBACK):
    return TrialRecord(number, {"lr": number}, RANDOM, status=status, score=score, feedback=feedback)


def filled(store, *scores):
    for number, score in enumerate(scores):
        store[str(number)] = record(number, score)
    return store


def numbers(records):
    return [each.number for each in records]


# --- what is kept


@pytest.mark.parametrize("status", TrialStatus)
def test_a_record_comes_back_as_it_was_given(store, status):
    given_record = TrialRecord(
        3, {"lr": 0.1}, RANDOM, 7, status, 0.5, FEEDBACK, StopReason("diverged", "loss 1e9", 1, {"loss": 1e9})
    )
    store["a"] = given_record
    assert store["a"] == given_record
    assert store.get("a") == given_record
    assert store.records() == store.best(1) == [given_record]
    without_feedback = replace(given_record, feedback=TrialFeedback())
    assert store.changed_since(0) == [given_record if status is TrialStatus.RUNNING else without_feedback]


@pytest.mark.parametrize("status", [SUCCEEDED, STOPPED, FAILED])
def test_the_feedback_of_an_ended_trial_has_no_parameters_of_its_own(store, status):
    """The record has them as its configuration; kept twice they would take as much room as the epochs."""
    store["a"] = record(0, status=status, feedback=FEEDBACK.model_copy(update={"parameters": {"lr": math.inf}}))
    assert store["a"].feedback == FEEDBACK


def test_a_trial_that_runs_on_after_its_end_changes_its_feedback(store):
    store["a"] = record(0, feedback=FEEDBACK)
    store["a"] = record(0, status=RUNNING)
    assert store["a"].feedback == NO_FEEDBACK


def test_what_nobody_entered(store):
    assert (store.get("a"), store.get(None), "a" in store, len(store)) == (None, None, False, 0)
    with pytest.raises(KeyError):
        store["a"]
    with pytest.raises(KeyError):
        store.status("a")


def test_records_come_in_the_order_in_which_they_were_entered_first(store):
    filled(store, 0.1, 0.2, 0.3)
    store["0"] = record(0, 0.9, FAILED)
    assert numbers(store.records()) == [0, 1, 2]
    assert list(store) == ["0", "1", "2"]
    assert numbers(store.records(FAILED)) == [0]
    assert store.records(RUNNING) == []


# --- the best


@pytest.mark.parametrize(("mode", "expected"), [("maximize", [2, 0, 3, 1]), ("minimize", [1, 3, 0, 2])])
def test_the_best(mode, expected):
    store = filled(RecordStore(mode), 0.5, -0.1, 0.9, 0.0, None)
    for n in range(6):
        assert numbers(store.best(n)) == expected[:n]


@pytest.mark.parametrize("mode", ["maximize", "minimize"])
def test_of_equals_the_earlier_is_better_whatever_their_status(mode):
    store = RecordStore(mode)
    for number, status in [(3, STOPPED), (1, SUCCEEDED), (2, STOPPED), (0, FAILED)]:
        store[str(number)] = record(number, 0.5, status)
    assert numbers(store.best(9)) == [0, 1, 2, 3]


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, None])
def test_what_is_no_finite_number_has_no_rank(store, score):
    filled(store, 0.1, score, 0.3)
    assert numbers(store.best(9)) == [2, 0]
    store["1"] = record(1, 0.2)
    assert numbers(store.best(9)) == [2, 1, 0]
    store["1"] = record(1, score)
    assert numbers(store.best(9)) == [2, 0]


@pytest.mark.parametrize(("score", "expected"), [(0.9, [1, 2, 0]), (0.05, [2, 0, 1]), (0.3, [1, 2, 0])])
def test_a_score_may_change_upwards_and_downwards(store, score, expected):
    filled(store, 0.1, 0.2, 0.3)
    store["1"] = record(1, score)
    assert numbers(store.best(9)) == expected


def test_a_new_status_takes_the_rank_along(store):
    filled(store, 0.1, 0.2)
    store["1"] = record(1, 0.2, STOPPED)
    assert numbers(store.best(9)) == [1, 0]
    assert (numbers(store.best(9, SUCCEEDED)), numbers(store.best(9, STOPPED))) == ([0], [1])


# --- what changed


def test_changes_come_once_in_the_order_of_the_last_change(store):
    filled(store, 0.1, 0.2, 0.3)
    before = store.revision
    assert store.changed_since(before) == []
    store["2"] = record(2, 0.4)
    store["0"] = record(0, 0.5)
    store["2"] = record(2, 0.6)
    assert [(each.number, each.score) for each in store.changed_since(before)] == [(0, 0.5), (2, 0.6)]
    assert numbers(store.changed_since(0)) == [1, 0, 2]
    assert numbers(store.changed_since(store.revision - 1)) == [2]


@pytest.mark.parametrize("revision", [-1, 3])
def test_a_revision_of_another_book_is_refused(store, revision):
    filled(store, 0.1, 0.2)
    message = rf"revision {revision} is not one of this book, which is at revision 2"
    with pytest.raises(ValueError, match=message):
        store.changed_since(revision)


# --- any history at all

SCORES = st.none() | st.sampled_from([0.0, -0.0, 0.5, math.nan, math.inf]) | st.floats()
CHANGES = st.lists(st.tuples(st.integers(0, 5), SCORES, st.sampled_from(TrialStatus), st.integers(0, 2)), max_size=30)


@given(CHANGES, st.sampled_from(["maximize", "minimize"]), st.data())
def test_after_any_changes_the_answers_are_those_of_a_plain_walk_over_all(changes, mode, data):
    store = RecordStore(mode)
    log = []  # identity of each change
    plain = {}  # identity -> record
    for number, score, status, n_epochs in changes:
        identity = str(number)
        epochs = tuple(EpochFeedback(epoch=index, val_score=0.1 * index) for index in range(n_epochs))
        store[identity] = plain[identity] = record(number, score, status, TrialFeedback(epochs=epochs))
        log.append(identity)

    sign = -1 if mode == "maximize" else 1
    scored = [each for each in plain.values() if each.score is not None and math.isfinite(each.score)]
    ranked = sorted(scored, key=lambda each: (sign * each.score, each.number))
    for n in (1, 3, 9):
        assert store.best(n) == ranked[:n]
        for status in TrialStatus:
            assert store.best(n, status) == [each for each in ranked if each.status is status][:n]
    assert numbers(store.records()) == numbers(plain.values())
    assert (len(store), store.revision) == (len(plain), len(log))
    revision = data.draw(st.integers(0, len(log)))
    later = log[revision:]
    last_changes = sorted(set(later), key=lambda identity: len(later) - later[::-1].index(identity))
    changed = store.changed_since(revision)
    assert numbers(changed) == [int(identity) for identity in last_changes]
    assert [each.score for each in changed] == [plain[identity].score for identity in last_changes]
