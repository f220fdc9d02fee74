"""The summary: what a journal says about a search, however far it has come."""

import json
import sys

import pytest

from nni_dream.report.summary import SearchSummary, TrialRow, summarise


def start(mode="maximize", seed=3):
    return {"event": "start", "version": "0.1", "seed": seed, "settings": {"optimize_mode": mode}}


def suggestion(trial, *, candidate=None, action=None, condition=None, kind=None):
    kind = kind or ("random" if candidate is None else "action")
    fields = {"candidate": candidate, "action": action, "condition": condition, "kind": kind}
    return {"event": "suggestion", "trial": trial, "parameters": {"lr": trial}, **fields}


def result(trial, score, *, status="succeeded", **fields):
    defaults = {"job": f"job{trial}", "parameters": {"lr": trial}, "condition": "OA-NC-NG-NW", "n_epochs": 5}
    return {"event": "result", "trial": trial, "score": score, "status": status, **defaults, **fields}


def stop(trial, score, *, text="slow convergence: why", **fields):
    defaults = {"job": f"job{trial}", "condition": "OA-SC-NG-NW", "n_epochs": 3}
    return {"event": "stop", "trial": trial, "score": score, "text": text, **defaults, **fields}


def end(trial, status="failed"):
    return {"event": "end", "trial": trial, "status": status}


def column(summary, name):
    return [getattr(row, name) for row in summary.rows]


def test_an_empty_journal():
    summary = summarise([])
    assert summary == SearchSummary()
    assert (summary.best, summary.path, summary.stopped, summary.ended_rows) == (None, [], [], [])


def test_a_refused_search_space_ends_a_search_that_has_none():
    refused = {"event": "refused", "reason": "bounds in reverse"}
    space = {"event": "search_space", "search_space": {}}
    assert summarise([start(), refused]).refusal == "bounds in reverse"
    assert summarise([start(), space, refused]).refusal is None, "the one before stays in force"
    assert summarise([start(), space, start(), refused]).refusal == "bounds in reverse"


def test_a_search_that_has_only_started():
    summary = summarise([start("minimize", 7)])
    assert (summary.optimize_mode, summary.seed, summary.rows) == ("minimize", 7, ())


def test_a_row_holds_what_the_journal_says_of_the_trial():
    events = [start(), suggestion(0, candidate=5, action="lr=0", condition="OA-SC-NG-NW"), result(0, 0.5)]
    (row,) = summarise(events).rows
    assert row == TrialRow(
        number=0,
        kind="action",
        parameters={"lr": 0},
        candidate=5,
        condition="OA-SC-NG-NW",
        action="lr=0",
        job="job0",
        status="succeeded",
        score=0.5,
        best_so_far=0.5,
        is_best=True,
        n_epochs=5,
        end_order=0,
    )


def test_a_running_trial_has_no_end():
    (row,) = summarise([start(), suggestion(0)]).rows
    assert (row.status, row.has_ended, row.score, row.best_so_far, row.end_order) == (
        "running",
        False,
        None,
        None,
        None,
    )


def test_the_path_of_repairs_leads_from_the_seed_to_the_best():
    events = [start()]
    for trial, (candidate, score) in enumerate([(None, 0.5), (0, 0.4), (0, 0.7), (2, 0.6), (2, 0.9), (None, 0.8)]):
        events += [suggestion(trial, candidate=candidate, action=f"lr={trial}"), result(trial, score)]
    summary = summarise(events)
    assert summary.best.number == 4
    assert [row.number for row in summary.path] == [0, 2, 4]


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        pytest.param([None], [0], id="the seed is the best"),
        pytest.param([9], [0], id="its candidate is not in the journal"),
        pytest.param([0], [0], id="its own candidate"),
        pytest.param([1, 0], [1, 0], id="a circle"),
    ],
)
def test_the_path_ends_where_the_journal_ends(candidates, expected):
    events = [start()]
    for trial, candidate in enumerate(candidates):
        events += [suggestion(trial, candidate=candidate), result(trial, 1.0 - 0.1 * trial)]
    assert [row.number for row in summarise(events).path] == expected


@pytest.mark.parametrize(
    ("mode", "best_so_far", "is_best", "best"),
    [
        ("maximize", [0.5, 0.5, 0.7, 0.7, 0.7], [True, False, True, False, False], 2),
        ("minimize", [0.5, 0.3, 0.3, 0.1, 0.1], [True, True, False, True, False], 3),
    ],
)
def test_best_so_far(mode, best_so_far, is_best, best):
    events = [start(mode)]
    for trial, score in enumerate([0.5, 0.3, 0.7, 0.1, 0.1]):
        events += [suggestion(trial), result(trial, score)]
    summary = summarise(events)
    assert column(summary, "best_so_far") == best_so_far
    assert column(summary, "is_best") == is_best
    assert summary.best.number == best  # the earliest of equals


def test_best_so_far_follows_the_order_in_which_trials_ended():
    events = [start(), suggestion(0), suggestion(1), suggestion(2), result(2, 0.4), result(0, 0.6), result(1, 0.5)]
    summary = summarise(events)
    assert [row.number for row in summary.ended_rows] == [2, 0, 1]
    assert [row.best_so_far for row in summary.ended_rows] == [0.4, 0.6, 0.6]
    assert column(summary, "number") == [0, 1, 2]
    assert column(summary, "end_order") == [1, 2, 0]


def test_a_failed_trial_has_no_score_and_changes_no_best():
    events = [start(), suggestion(0), end(0), suggestion(1), result(1, 0.5), suggestion(2), end(2)]
    summary = summarise(events)
    assert column(summary, "status") == ["failed", "succeeded", "failed"]
    assert column(summary, "best_so_far") == [None, 0.5, 0.5]
    assert column(summary, "is_best") == [False, True, False]


def test_a_zero_score_is_a_score():
    summary = summarise([start(), suggestion(0), result(0, 0.0), suggestion(1), result(1, -0.5)])
    assert summary.best.number == 0
    assert column(summary, "best_so_far") == [0.0, 0.0]


def test_a_result_mends_a_failure():
    (row,) = summarise([start(), suggestion(0), end(0), result(0, 0.5)]).rows
    assert (row.status, row.score, row.end_order) == ("succeeded", 0.5, 0)


def test_a_result_without_a_number():
    (row,) = summarise([start(), suggestion(0), result(0, None)]).rows
    assert (row.status, row.score, row.is_best) == ("succeeded", None, False)


def test_a_stopped_trial():
    summary = summarise([start(), suggestion(0), stop(0, 0.3), end(0, "stopped")])
    (row,) = summary.stopped
    assert (row.status, row.score, row.n_epochs) == ("stopped", 0.3, 3)
    assert row.stop_text == "slow convergence: why"


def test_a_late_result_of_a_stopped_trial_keeps_the_reason():
    events = [start(), suggestion(0), stop(0, 0.3), suggestion(1), result(1, 0.2), result(0, 0.35, status="stopped")]
    row = summarise(events).rows[0]
    assert (row.status, row.score, row.stop_text, row.end_order) == ("stopped", 0.35, "slow convergence: why", 0)


def test_a_stop_of_an_unknown_trial_is_passed_over():
    assert summarise([start(), suggestion(0), stop(None, None)]).stopped == []


def test_a_result_that_was_not_suggested_here_is_a_foreign_row():
    (row,) = summarise([start(), result(0, 0.5, parameters={"lr": 9})]).rows
    assert (row.kind, row.parameters, row.score) == ("foreign", {"lr": 9}, 0.5)


def test_beside_another_tuner_the_results_tell_what_is_better():
    """Our assessor writes no start."""
    losses = [result(trial, loss, optimize_mode="minimize") for trial, loss in enumerate([9.0, 1.0, 5.0])]
    summary = summarise(losses)
    assert (summary.optimize_mode, summary.best.number) == ("minimize", 1)
    assert column(summary, "best_so_far") == [9.0, 1.0, 1.0]


def test_a_result_has_the_parameters_of_its_own():
    """Beside another tuner a resumed experiment counts its trials from 0 again."""
    (row,) = summarise([result(0, 0.5), result(0, 0.6, parameters={"lr": 7})]).rows
    assert (row.score, row.parameters) == (0.6, {"lr": 7})


def test_why_a_search_could_not_run_or_ended():
    summary = summarise([start(), {"event": "refused", "reason": "no space"}, {"event": "finish", "reason": "target"}])
    assert (summary.refusal, summary.finish_reason) == ("no space", "target")


def test_events_of_another_kind_are_passed_over():
    events = [start(), {"event": "search_space", "search_space": {}}, {"event": "mood", "trial": 0}]
    assert summarise(events).rows == ()


def test_a_resumed_search_counts_its_trials_anew():
    """NNI's resume starts the tuner again, and hands back the results that it has, in its own order."""
    first = [start(), suggestion(0), end(0), suggestion(1), result(1, 0.5), {"event": "finish", "reason": "target"}]
    second = [start(seed=4), result(0, 0.5, parameters={"lr": 1}), suggestion(1, candidate=0), result(1, 0.7)]
    summary = summarise([*first, *second])
    assert column(summary, "kind") == ["foreign", "action"]
    assert column(summary, "parameters") == [{"lr": 1}, {"lr": 1}]
    assert column(summary, "score") == [0.5, 0.7]
    assert [row.number for row in summary.path] == [0, 1]
    assert (summary.seed, summary.finish_reason) == (4, None)


def test_a_search_that_goes_on_is_one_search():
    first = [start(), suggestion(0), end(0), suggestion(1), result(1, 0.5), {"event": "finish", "reason": "target"}]
    second = [{**start(), "continues": True, "n_trials": 2}, suggestion(2, candidate=1), result(2, 0.7)]
    summary = summarise([*first, *second])
    assert column(summary, "status") == ["failed", "succeeded", "succeeded"]
    assert [row.number for row in summary.path] == [1, 2]
    assert summary.finish_reason is None  # it was true of the first part only


def test_a_trial_that_is_given_out_again_keeps_its_row():
    again = {"event": "suggestion_again", "trial": 0, "parameter_id": 7}
    events = [start(), suggestion(0), {**start(), "continues": True}, again, result(0, 0.5)]
    (row,) = summarise(events).rows
    assert (row.kind, row.status, row.score) == ("random", "succeeded", 0.5)


def test_wrong_messages_are_counted_by_kind():
    events = [start()]
    for kind, n in [("no score", 1), ("foreign feedback", 1), ("no score", 40)]:
        events.append({"event": "malformed_metric", "kind": kind, "n": n})
    assert summarise(events).malformed == (("foreign feedback", 1), ("no score", 40))


@pytest.mark.parametrize(
    "event",
    [
        {"event": "start"},
        {"event": "start", "seed": 3, "settings": None},
        {"event": "suggestion", "trial": 9, "parameters": {}},
        {"event": "suggestion", "trial": None, "parameters": {}, "kind": "random"},
        {"event": "suggestion", "trial": "nine", "parameters": {}, "kind": "random"},
        {"event": "suggestion", "trial": [], "parameters": {}, "kind": "random"},
        {"event": "suggestion", "trial": 9, "parameters": {}, "kind": "random", "candidate": {}},
        {"event": "result"},
        {"event": "result", "trial": 0, "parameters": {}, "score": 0.1},
        {"event": "result", "trial": 0, "parameters": [1], "score": 1, "status": "succeeded"},
        {"event": "result", "trial": 0, "parameters": {}, "score": "high", "status": "succeeded"},
        {"event": "result", "trial": 0, "parameters": {}, "score": 0.1, "status": "mended"},
        {"event": "result", "trial": 0, "parameters": {}, "score": 0.1, "status": {}},
        {"event": "result", "trial": 0, "parameters": {}, "score": float("nan"), "status": "succeeded"},
        {"event": "result", "trial": float("inf"), "parameters": {}, "score": 0.1, "status": "succeeded"},
        {"event": "result", "trial": 0, "parameters": {}, "score": 0.1, "status": "succeeded", "n_epochs": "many"},
        {"event": "stop", "score": 0.1, "text": "why"},
        {"event": "stop", "trial": 0, "score": 0.1},
        {"event": "end", "trial": 0},
        {"event": "end", "trial": 0, "status": "mended"},
        {"event": "refused"},
        {"event": "finish"},
        {"event": "malformed_metric", "n": 3},
        {"event": "malformed_metric", "kind": "no score", "n": "three"},
        {"event": "mood", "trial": {}},
    ],
    ids=lambda event: json.dumps(event)[:60],
)
def test_events_of_an_unknown_form_are_passed_over(event):
    before, after = [start(), suggestion(0), result(0, 0.5)], [suggestion(1), result(1, 0.7)]
    assert summarise([*before, event, *after]) == summarise([*before, *after])


def n_calls_to_summarise(n_trials):
    """How many functions Python enters, which needs no clock."""
    events = [start(), *(event for trial in range(n_trials) for event in (suggestion(trial), result(trial, 0.5)))]
    entered = []
    sys.setprofile(lambda frame, event, _: entered.append(frame.f_lineno) if event == "call" else None)
    try:
        summarise(events)
    finally:
        sys.setprofile(None)
    return len(entered)


def test_twice_as_many_trials_are_twice_as_much_work():
    assert n_calls_to_summarise(400) < 2.2 * n_calls_to_summarise(200)
