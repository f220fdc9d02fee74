"""A search that was stopped, killed or changed goes on with everything it knew: the journal is the truth."""

from __future__ import annotations

import gc
import json
import logging
import math
from typing import ClassVar

import pytest
from robustness.conftest import SPACE, replay

from nni_dream import trials
from nni_dream.feedback import EpochFeedback, TrialFeedback, epoch_metric, final_metric
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.report.summary import summarise
from nni_dream.resume import recall
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import SearchSpace
from nni_dream.trials import TrialStatus
from nni_dream.tuner import DreamTuner


def epoch_feedback(parameters, index, score, **numbers):
    healthy = {"gradient_ratio": 1.0, "dead_unit_share": 0.0, "weight_norm": 1.0, "n_layers": 3}
    epoch = EpochFeedback(epoch=index, val_score=score, **{**healthy, **numbers})
    return TrialFeedback(parameters=parameters, planned_epochs=10, epochs=(epoch,))


def final_of(parameters, scores, **numbers):
    feedback = TrialFeedback()
    for index, score in enumerate(scores):
        feedback = feedback.merge(epoch_feedback(parameters, index, score, **numbers))
    return final_metric(feedback, max(scores), None)


def run_trial(manager, job, record, scores, **numbers):
    """A whole trial of ours: its epochs, its final result, its end."""
    parameters, parameter_id = record["parameters"], record["parameter_id"]
    for index, score in enumerate(scores):
        metric = epoch_metric(epoch_feedback(parameters, index, score, **numbers), score)
        manager.intermediate(job, parameter_id, index, metric)
    manager.final(job, parameter_id, final_of(parameters, scores, **numbers))
    manager.end(job, parameter_id)


def known(manager):
    """Everything about every trial but NNI's parameter ids, which are given out anew, and per-layer numbers."""
    return [
        (record.number, record.configuration, record.origin, record.status, record.score, record.stop)
        for record in manager.dispatcher.tuner.book.records()
    ]


def conditions(manager):
    tuner = manager.dispatcher.tuner
    return [
        [epoch.model_dump(exclude={"layers"}) for epoch in record.feedback.epochs] for record in tuner.book.records()
    ]


def journal(log_folder, event=None):
    events = list(read_journal(log_folder / JOURNAL_NAME))
    return events if event is None else [each for each in events if each["event"] == event]


def identities(records):
    return [canonical_json(record["parameters"]) for record in records]


def search(manager, n_trials, first=0):
    """Trials one after the other; the third is stopped by the assessor, the fourth crashes."""
    suggested = []
    for number in range(first, first + n_trials):
        (record,) = manager.request()
        suggested.append(record)
        job = f"job{number}"
        if number == 2:
            broken = epoch_feedback(record["parameters"], 0, 0.2, n_nonfinite_weights=3)
            manager.intermediate(job, record["parameter_id"], 0, epoch_metric(broken, 0.2))
            manager.end(job, record["parameter_id"], "USER_CANCELED")
        elif number == 3:
            manager.end(job, record["parameter_id"], "FAILED")
        else:
            run_trial(manager, job, record, [0.1, 0.2, 0.3, (number * 37 % 11) / 10], dead_unit_share=0.9)
    return suggested


class TestResume:
    def test_every_trial_is_known_again(self, start):
        manager = start()
        search(manager, 6)
        before, epochs = known(manager), conditions(manager)
        assert [record[3].value for record in before].count("stopped") == 1
        assert [record[3].value for record in before].count("failed") == 1
        resumed = start()
        assert known(resumed) == before
        assert conditions(resumed) == epochs

    def test_the_journal_is_read_once_and_after_the_tuner_has_connected(self, start, log_folder):
        """NNI waits ten seconds for a constructor, and as long as it takes for the answer to the search space."""
        search(start(), 3)
        trials._books.clear()
        tuner = DreamTuner(seed=1)
        assert tuner.book.records() == []
        for _ in range(2):
            tuner.update_search_space(SPACE)
            assert len(tuner.book.records()) == 3
        assert [event["n_trials"] for event in journal(log_folder, "start")] == [0, 3]

    @pytest.mark.parametrize("was_enabled", [True, False])
    def test_the_garbage_collector_is_left_as_it_was(self, was_enabled):
        try:
            (gc.enable if was_enabled else gc.disable)()
            recall([{"event": "start"}])
            assert gc.isenabled() is was_enabled
        finally:
            gc.enable()

    def test_resumed_twice(self, start):
        manager = start()
        search(manager, 4)
        resumed = start()
        search(resumed, 3, first=4)
        before = known(resumed)
        assert len(before) == 7
        assert known(start()) == before

    @pytest.mark.parametrize("strategy", ["learning", "static", "beam", "random"])
    @pytest.mark.parametrize("n_before", [1, 2, 5, 8])
    def test_the_search_goes_on_as_if_nothing_had_happened(self, start, log_folder, n_before, strategy):
        settings = {"strategy": strategy, "planned_trials": 5}
        whole = identities(search(start(**settings), 10))
        (log_folder / JOURNAL_NAME).unlink()
        parts = identities(search(start(**settings), n_before))
        parts += identities(search(start(**settings), 10 - n_before, first=n_before))
        assert parts == whole

    @pytest.mark.parametrize("n_before", [2, 5, 8])
    def test_what_was_learned_of_ranges_is_learned_again(self, start, log_folder, n_before):
        """Of ranges that no table tells of; the first two trials fail."""
        space = {name: {"_type": "uniform", "_value": [0, 1]} for name in ("x", "y")}

        def run(manager, numbers):
            suggested = []
            for number in numbers:
                (record,) = manager.request()
                suggested.append(record)
                if number < 2:
                    manager.end(f"job{number}", record["parameter_id"], "FAILED")
                else:
                    run_trial(manager, f"job{number}", record, [0.1, 0.2, record["parameters"]["x"]])
            return identities(suggested)

        whole = run(start(space, planned_trials=10), range(10))
        assert [each["kind"] for each in journal(log_folder, "suggestion")].count("action") > 4
        (log_folder / JOURNAL_NAME).unlink()
        parts = run(start(space, planned_trials=10), range(n_before))
        parts += run(start(space, planned_trials=10), range(n_before, 10))
        assert parts == whole

    def test_trial_numbers_and_actions_go_on(self, start, log_folder):
        search(start(strategy="static"), 5)
        resumed = start(strategy="static")
        applied = {number: set(keys) for number, keys in resumed.dispatcher.tuner.suggester.applied.items()}
        assert applied != {}
        (record,) = resumed.request()
        (suggestion,) = [each for each in journal(log_folder, "suggestion") if each["trial"] == 5]
        assert suggestion["parameters"] == record["parameters"]
        assert suggestion["key"] not in applied.get(suggestion["candidate"], set())

    def test_a_seed_that_was_drawn_is_kept(self, start):
        first = start(seed=None)
        assert start(seed=None).dispatcher.tuner.suggester.seed == first.dispatcher.tuner.suggester.seed

    def test_initial_parameters_are_not_given_again(self, start):
        initial = {"x": 3, "optimizer": {"_name": "adam"}, "learning_rate": 0.1}
        manager = start(initial_parameters=[initial])
        search(manager, 1)
        resumed = start(initial_parameters=[initial])
        (record,) = resumed.request()
        assert record["parameters"] != initial

    def test_malformed_metrics_are_counted_on(self, start):
        manager = start()
        (record,) = manager.request()
        for job in ("a", "b", "c"):
            manager.intermediate(job, record["parameter_id"], 0, "rubbish")
        manager.end("a", record["parameter_id"], "FAILED")
        assert start().dispatcher.tuner.book.malformed.n == {"no score": 3}

    def test_the_summary_covers_the_whole_search(self, start, log_folder):
        manager = start()
        search(manager, 5)
        search(start(), 3, first=5)
        summary = summarise(journal(log_folder))
        assert [row.number for row in summary.rows] == list(range(8))
        assert [row.status for row in summary.rows].count("stopped") == 1
        assert all(row.has_ended for row in summary.rows)

    def test_a_trial_with_intermediate_results_only(self, start, log_folder):
        """It counts with its best epoch; nobody but the assessor hears of it."""
        manager = start()
        (record,) = manager.request()
        for index, score in enumerate([0.2, 0.6]):
            metric = epoch_metric(epoch_feedback(record["parameters"], index, score), score)
            manager.intermediate("job0", record["parameter_id"], index, metric)
        manager.end("job0", record["parameter_id"])
        assert journal(log_folder, "result")[0]["score"] == 0.6
        assert start().dispatcher.tuner.book.best().score == 0.6


class TestUnfinishedTrials:
    def test_what_nni_starts_again_is_not_suggested_again(self, start):
        manager = start()
        first, second = manager.request(2)
        resumed = start()
        replay(resumed, [], [first, second])
        records = resumed.request(2)
        assert not set(identities(records)) & set(identities([first, second]))
        assert len(resumed.dispatcher.tuner.book.records()) == 4

    def test_what_nni_lost_is_suggested_again_first(self, start, log_folder):
        """It was waiting for a free slot: NNI's resume forgets those."""
        manager = start()
        records = manager.request(3)
        resumed = start()
        replay(resumed, [], records[:1])
        again = resumed.request(3)
        assert identities(again)[:2] == identities(records[1:])
        assert [event["trial"] for event in journal(log_folder, "suggestion_again")] == [1, 2]
        assert len(resumed.dispatcher.tuner.book.records()) == 4

    def test_a_trial_suggested_again_is_joined_to_its_number(self, start):
        (record,) = start().request()
        resumed = start()
        (again,) = resumed.request()
        resumed.end("job0", again["parameter_id"], "FAILED")
        assert resumed.dispatcher.tuner.book.find(record["parameters"]).status is TrialStatus.FAILED

    def test_the_result_of_a_restarted_trial_comes_without_an_id(self, start):
        manager = start()
        first, second = manager.request(2)
        resumed = start()
        replay(resumed, [], [first, second])
        resumed.final("job0", first["parameter_id"], final_of(second["parameters"], [0.1, 0.7]))
        book = resumed.dispatcher.tuner.book
        assert book.find(second["parameters"]).score == 0.7
        assert book.find(first["parameters"]).status is TrialStatus.RUNNING

    def test_parameter_ids_that_collide_with_old_ones(self, start):
        """Without unfinished trials NNI counts from 1 again."""
        manager = start()
        search(manager, 6)
        resumed = start()
        replay(resumed, [], [])
        before = known(resumed)
        (record,) = resumed.request()
        assert record["parameter_id"] == 1
        resumed.end("new", 1, "FAILED")
        assert known(resumed)[:6] == before
        assert resumed.dispatcher.tuner.book.find(record["parameters"]).status is TrialStatus.FAILED


class TestReplayedResults:
    def test_nnis_wrong_pairs_change_nothing(self, start):
        """NNI's record pairs every score with the next trial's parameters (concurrency, nni-facts 12)."""
        manager = start()
        records = manager.request(3)
        for number, record in enumerate(records):
            manager.final(f"job{number}", record["parameter_id"], number / 10)
        before = known(manager)
        resumed = start()
        pairs = [
            {"parameter": records[(number + 1) % 3]["parameters"], "value": number / 10, "trialJobId": f"job{number}"}
            for number in range(3)
        ]
        replay(resumed, pairs, [])
        assert known(resumed) == before
        assert resumed.dispatcher.tuner.book.malformed.n == {}

    def test_a_result_that_the_journal_missed_is_taken(self, start):
        manager = start()
        first, second = manager.request(2)
        manager.final("job0", first["parameter_id"], 0.3)
        resumed = start()
        replay(resumed, [{"parameter": second["parameters"], "value": 0.9, "trialJobId": "job1"}], [])
        assert resumed.dispatcher.tuner.book.find(second["parameters"]).score == 0.9

    def test_a_missed_result_that_tells_its_parameters_goes_there(self, start):
        manager = start()
        first, second = manager.request(2)
        manager.final("job0", first["parameter_id"], 0.3)
        resumed = start()
        value = final_of(second["parameters"], [0.1, 0.9])
        replay(resumed, [{"parameter": first["parameters"], "value": value, "trialJobId": "job1"}], [])
        book = resumed.dispatcher.tuner.book
        assert (book.find(first["parameters"]).score, book.find(second["parameters"]).score) == (0.3, 0.9)

    def test_a_missed_plain_number_under_parameters_that_have_a_result_is_left_out(self, start):
        manager = start()
        (first,) = manager.request()
        manager.final("job0", first["parameter_id"], 0.3)
        resumed = start()
        replay(resumed, [{"parameter": first["parameters"], "value": 0.9, "trialJobId": "job1"}], [])
        assert resumed.dispatcher.tuner.book.find(first["parameters"]).score == 0.3
        assert resumed.dispatcher.tuner.book.malformed.n == {"doubtful parameters": 1}

    def test_an_imported_number_without_a_job_does_not_replace_a_result(self, start):
        manager = start()
        (first,) = manager.request()
        manager.final("job0", first["parameter_id"], 0.3)
        resumed = start()
        replay(resumed, [{"parameter": first["parameters"], "value": 0.9}], [])
        assert resumed.dispatcher.tuner.book.find(first["parameters"]).score == 0.3
        assert resumed.dispatcher.tuner.book.malformed.n == {"doubtful parameters": 1}

    def test_the_number_that_it_has_already_is_no_doubt(self, start):
        manager = start()
        (first,) = manager.request()
        manager.final("job0", first["parameter_id"], 0.3)
        resumed = start()
        replay(resumed, [{"parameter": first["parameters"], "value": 0.3}], [])
        assert resumed.dispatcher.tuner.book.malformed.n == {}

    def test_a_plain_number_of_a_trial_from_the_web_page_is_left_out(self, start):
        start().request()
        resumed = start()
        page = {"learning_rate": 99}
        replay(resumed, [{"parameter": page, "value": 0.9, "trialJobId": "page"}], [])
        assert resumed.dispatcher.tuner.book.find(page) is None
        assert resumed.dispatcher.tuner.book.malformed.n == {"doubtful parameters": 1}

    def test_replayed_again_they_are_not_journalled_again(self, start, log_folder):
        manager = start()
        (first,) = manager.request()
        value = final_of(first["parameters"], [0.1, 0.3])
        manager.final("job0", first["parameter_id"], value)
        for _ in range(2):
            replay(start(), [{"parameter": first["parameters"], "value": value, "trialJobId": "job0"}], [])
        assert len(journal(log_folder, "result")) == 1


class TestTwoCounts:
    def test_trials_of_two_searches_that_both_counted_from_0_keep_numbers_of_their_own(self):
        """As the assessor writes them beside another tuner, which suggests anew after a resume."""
        results = [
            {"event": "result", "trial": trial, "parameters": {"x": x}, "status": "succeeded", "score": 0.5}
            for trial, x in [(0, 1), (1, 2), (0, 3), (1, 4), (2, 5)]
        ]
        records = recall(results).records.values()
        assert [(record.number, record.configuration["x"]) for record in records] == [
            (0, 1), (1, 2), (2, 3), (3, 4), (4, 5)
        ]  # fmt: skip

    def test_an_action_of_the_second_search_is_on_a_trial_of_the_second(self):
        suggestions = [
            {"event": "suggestion", "trial": 0, "parameters": {"x": 1}, "kind": "random"},
            {"event": "suggestion", "trial": 0, "parameters": {"x": 2}, "kind": "random"},
            {"event": "suggestion", "trial": 1, "parameters": {"x": 3}, "kind": "action", "candidate": 0, "key": "x 3"},
        ]
        memory = recall(suggestions)
        assert [(record.number, record.origin.candidate) for record in memory.records.values()] == [
            (0, None), (1, None), (2, 1)
        ]  # fmt: skip
        assert memory.applied == {1: {"x 3"}}


class TestMemory:
    SUGGESTION: ClassVar = {"event": "suggestion", "trial": 0, "parameters": {"x": 1}, "kind": "random"}
    RESULT: ClassVar = {"event": "result", "trial": 0, "parameters": {"x": 1}, "status": "succeeded", "score": 0.5}
    END: ClassVar = {"event": "end", "trial": 0, "status": "failed"}

    @pytest.mark.parametrize(
        ("events", "status"),
        [
            ([SUGGESTION], "running"),
            ([SUGGESTION, END], "failed"),
            ([SUGGESTION, END, RESULT], "succeeded"),
            ([SUGGESTION, RESULT, END], "succeeded"),
        ],
    )
    def test_a_result_counts_more_than_an_end(self, events, status):
        (record,) = recall(events).records.values()
        assert record.status.value == status

    def test_trials_stand_in_the_order_of_their_numbers_whichever_ended_first(self):
        events = [{**self.RESULT, "trial": trial, "parameters": {"x": trial}} for trial in (2, 0, 1)]
        assert [record.number for record in recall(events).records.values()] == [0, 1, 2]

    def test_what_cannot_be_used_is_counted(self):
        stop_of_nobody = {"event": "stop", "trial": None, "job": "a"}
        endless = {**self.SUGGESTION, "trial": math.inf}
        memory = recall([self.SUGGESTION, {"event": "result"}, {"event": "end", "trial": 7}, stop_of_nobody, endless])
        assert (memory.n_unusable, len(memory.records)) == (3, 1)

    def test_a_journal_says_something_as_soon_as_it_has_a_start_or_a_trial(self):
        start = {"event": "start", "version": "1", "seed": 1, "settings": {"optimize_mode": "maximize"}}
        assert [recall(events).is_empty for events in ([], [start], [self.RESULT])] == [True, False, False]


class TestDamagedJournal:
    def test_a_torn_last_line_costs_that_line_only(self, start, log_folder):
        manager = start()
        search(manager, 5)
        before = known(manager)
        path = log_folder / JOURNAL_NAME
        whole = path.read_bytes()
        last = whole.rstrip(b"\n").rfind(b"\n")
        path.write_bytes(whole[: last + 20])  # the end of the fifth trial
        assert known(start())[:4] == before[:4]
        search(start(), 2, first=5)
        assert len(recall(journal(log_folder)).records) >= 6

    def test_a_lost_suggestion_leaves_its_result(self, start, log_folder):
        manager = start()
        search(manager, 2)
        path = log_folder / JOURNAL_NAME
        lines = [line for line in path.read_text().splitlines() if '"event": "suggestion"' not in line]
        path.write_text("\n".join(lines) + "\n")
        records = start().dispatcher.tuner.book.records()
        assert [(record.number, record.origin.kind) for record in records] == [(0, "foreign"), (1, "foreign")]
        assert [record.score for record in records] == [0.3, 0.4]

    @pytest.mark.parametrize(
        "event",
        [
            {"event": "result"},
            {"event": "result", "trial": 9, "parameters": [1], "score": 1, "status": "succeeded"},
            {"event": "result", "trial": 9, "parameters": {}, "score": "high", "status": "succeeded"},
            {"event": "result", "trial": 9, "parameters": {}, "score": 0.1, "status": "mended"},
            {"event": "suggestion", "trial": None, "parameters": {}, "kind": "random"},
            {"event": "suggestion", "trial": 9, "parameters": {}},
            {"event": "result", "trial": 9, "parameters": {}, "score": float("nan"), "status": "succeeded"},
            {"event": "stop", "trial": 77, "rule": "x"},
            dict.fromkeys(["rule", "text", "epoch", "numbers"])
            | {"event": "stop", "trial": 9, "parameters": {}, "score": ""},
            {"event": "end", "trial": 77, "status": "failed"},
            {"event": "start"},
            {"event": "malformed_metric", "kind": "no score"},
            {"event": "mood", "trial": {}},
        ],
        ids=lambda event: json.dumps(event)[:60],
    )
    def test_events_of_an_unknown_form_are_passed_over(self, start, log_folder, event):
        manager = start()
        search(manager, 3)
        before = known(manager)
        with (log_folder / JOURNAL_NAME).open("a") as file:
            file.write(json.dumps(event) + "\n")
        resumed = start()
        assert known(resumed) == before
        assert len(resumed.request()) == 1

    def test_a_journal_of_another_seed_and_version_is_used_and_named(self, start, log_folder, caplog):
        manager = start()
        search(manager, 3)
        before = known(manager)
        path = log_folder / JOURNAL_NAME
        path.write_text(path.read_text().replace('"version": "', '"version": "9.'))
        with caplog.at_level(logging.WARNING):
            resumed = start(seed=5)
        assert known(resumed) == before
        assert resumed.dispatcher.tuner.suggester.seed == 5
        assert "the journal was written with seed 1, now 5" in caplog.text
        assert "the journal was written with version 9." in caplog.text

    def test_a_journal_of_another_space_gives_what_fits(self, start):
        """A configuration outside the present space is known, and may be repaired into it; it is not suggested."""
        manager = start()
        search(manager, 4)
        manager.request()  # without a result
        smaller = {**SPACE, "x": {"_type": "choice", "_value": [7, 8]}}
        resumed = start(smaller)
        records = resumed.request(4)
        assert all(record["parameters"]["x"] in (7, 8) for record in records)
        assert len(resumed.dispatcher.tuner.book.records()) == 9

    def test_initial_parameters_that_a_changed_space_no_longer_has(self, start):
        initial = {"x": 3}
        search(start(initial_parameters=[initial]), 2)
        smaller = {**SPACE, "x": {"_type": "choice", "_value": [7, 8]}}
        assert len(start(smaller, initial_parameters=[initial]).request()) == 1


class TestChangesInMidRun:
    def test_choices_removed_while_their_trials_run(self, start):
        manager = start()
        old = manager.request(3)
        smaller = {"x": {"_type": "choice", "_value": [7, 8]}, "learning_rate": {"_type": "choice", "_value": [0.1]}}
        manager.update_search_space(smaller)
        for number, record in enumerate(old):
            run_trial(manager, f"job{number}", record, [0.1, 0.2, 0.3, 0.5 + number / 10])
        assert manager.dispatcher.tuner.book.best().score == 0.7
        records = manager.request(2)
        assert sorted(record["parameters"]["x"] for record in records) == [7, 8]

    def test_choices_added(self, start):
        manager = start({"x": {"_type": "choice", "_value": [0, 1]}})
        manager.request(2)
        manager.update_search_space({"x": {"_type": "choice", "_value": [0, 1, 2]}})
        (record,) = manager.request()
        assert record["parameters"] == {"x": 2}

    def test_a_range_that_moved(self, start):
        manager = start({"rate": {"_type": "uniform", "_value": [0, 1]}})
        (old,) = manager.request()
        run_trial(manager, "job0", old, [0.1, 0.5])
        manager.update_search_space({"rate": {"_type": "uniform", "_value": [5, 6]}})
        for record in manager.request(8):
            assert 5 <= record["parameters"]["rate"] <= 6

    def test_choices_added_after_every_configuration_was_tried(self, start):
        """The slots that could not be served are served now: NNI will not ask for them again."""
        manager = start({"x": {"_type": "choice", "_value": [0, 1]}})
        assert len(manager.request(3)) == 2
        n_before = len(manager.channel.sent)
        manager.update_search_space({"x": {"_type": "choice", "_value": [0, 1, 2]}})
        (sent,) = manager.channel.sent[n_before:]
        assert json.loads(sent[1])["parameters"] == {"x": 2}

    def test_customized_trials_of_the_web_page(self, start):
        manager = start()
        (own,) = manager.request()
        manager.intermediate("page", None, 0, 0.4)
        manager.final("page", None, 0.5)
        manager.end("page", None)
        run_trial(manager, "job0", own, [0.1, 0.2])
        assert [record.score for record in manager.dispatcher.tuner.book.records()] == [0.2]

    def test_a_customized_trial_that_tells_its_parameters_teaches(self, start):
        """Its final result never reaches a tuner, its epochs reach the assessor."""
        manager = start()
        manager.request()
        parameters = {"x": 4, "optimizer": {"_name": "adam"}, "learning_rate": 0.1}
        for index, score in enumerate([0.4, 0.9]):
            manager.intermediate("page", None, index, epoch_metric(epoch_feedback(parameters, index, score), score))
        manager.end("page", None)
        assert manager.dispatcher.tuner.book.best().configuration == parameters

    @pytest.mark.parametrize("assessor", [True, False])
    def test_the_final_result_of_a_customized_trial_counts(self, start, log_folder, assessor):
        """NNI throws it away; it is heard all the same, whether or not an assessor heard the epochs."""
        manager = start(assessor=assessor)
        manager.request()
        record = {"parameters": {"x": 4, "optimizer": {"_name": "adam"}, "learning_rate": 0.1}, "parameter_id": None}
        run_trial(manager, "page", record, [0.4, 0.9, 0.7])
        best = manager.dispatcher.tuner.book.best()
        assert (best.configuration, best.score, best.origin.kind) == (record["parameters"], 0.9, "foreign")
        assert journal(log_folder, "result")[-1]["job"] == "page"
        resumed = start(assessor=assessor).dispatcher.tuner.book.best()
        assert (resumed.number, resumed.configuration, resumed.score) == (best.number, best.configuration, best.score)

    def test_a_customized_trial_outside_the_space_is_repaired_into_it(self, start):
        manager = start()
        manager.request()
        record = {"parameters": {"x": 77, "optimizer": {"_name": "adam"}, "learning_rate": 0.1}, "parameter_id": None}
        run_trial(manager, "page", record, [0.4, 0.9])
        (suggested,) = manager.request()
        SearchSpace(SPACE).check(suggested["parameters"])

    def test_a_customized_trial_can_reach_the_target(self, start):
        manager = start(target_score=0.9)
        manager.request()
        record = {"parameters": {"x": 4, "optimizer": {"_name": "adam"}, "learning_rate": 0.1}, "parameter_id": None}
        run_trial(manager, "page", record, [0.4, 0.9])
        assert manager.request() == []

    @pytest.mark.parametrize("sizes", [[1, 1, 6, 2], [5, 1, 1], [0, 3]])
    def test_concurrency_that_changes(self, start, sizes):
        manager = start()
        records = [record for size in sizes for record in manager.request(size)]
        assert len(set(identities(records))) == sum(sizes)

    def test_the_target_is_reached_while_others_run(self, start, log_folder):
        manager = start(target_score=0.9)
        first, second, third = manager.request(3)
        manager.final("job0", first["parameter_id"], 0.95)
        assert manager.request(2) == []
        run_trial(manager, "job1", second, [0.1, 0.97])
        manager.end("job2", third["parameter_id"], "FAILED")
        assert manager.dispatcher.tuner.book.best().score == 0.97
        assert len(journal(log_folder, "finish")) == 1

    def test_trials_that_the_end_of_the_search_ends_have_not_failed(self, start, log_folder):
        """With a higher target they are tried again first."""
        manager = start(target_score=0.9)
        first, second, third = manager.request(3)
        manager.intermediate("job1", second["parameter_id"], 0, 0.2)
        manager.final("job0", first["parameter_id"], 0.95)
        manager.end("job1", second["parameter_id"], "USER_CANCELED")
        manager.end("job2", third["parameter_id"], "USER_CANCELED")
        assert journal(log_folder, "end") == []
        resumed = start(target_score=0.99)
        assert identities(resumed.request(2)) == identities([second, third])

    def test_a_search_that_reached_its_target_is_over_after_a_resume(self, start, log_folder):
        manager = start(target_score=0.9)
        (first,) = manager.request()
        manager.final("job0", first["parameter_id"], 0.95)
        assert start(target_score=0.9).request() == []
        assert len(start(target_score=0.99).request()) == 1
