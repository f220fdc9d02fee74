"""The tuner and the assessor under NNI's real dispatcher, whatever order the messages come in."""

from __future__ import annotations

import json
import math
import threading

import pytest
from dispatcher import Manager
from nni.runtime.tuner_command_channel import CommandType
from waiting import wait_until

from nni_dream.assessor import DreamAssessor
from nni_dream.feedback import EpochFeedback, TrialFeedback, epoch_metric, final_metric
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.search.actions import all_actions
from nni_dream.search.conditions import Condition
from nni_dream.search.evidence import Subject
from nni_dream.suggester import Suggester
from nni_dream.trials import TrialStatus
from nni_dream.tuner import DreamTuner

pytestmark = pytest.mark.usefixtures("fresh_dispatcher")

SPACE = {
    "block_type": {
        "_type": "choice",
        "_value": [
            {"_name": "vanilla", "filters": {"_type": "choice", "_value": [16, 64, 256]}},
            {"_name": "xception"},
            {"_name": "resnet"},
        ],
    },
    "optimizer": {
        "_type": "choice",
        "_value": [
            {"_name": "adam"},
            {"_name": "adam_weight_decay"},
            {"_name": "sgd", "momentum": {"_type": "choice", "_value": [0.0, 0.9]}},
        ],
    },
    "learning_rate": {"_type": "choice", "_value": [0.1, 0.01, 0.001]},
}
SEED_PARAMETERS = {
    "block_type": {"_name": "vanilla", "filters": 16},
    "optimizer": {"_name": "adam"},
    "learning_rate": 0.001,
}


@pytest.fixture
def tuner(log_folder):
    return DreamTuner(seed=1, strategy="static", initial_parameters=[SEED_PARAMETERS])


@pytest.fixture
def manager(tuner):
    manager = Manager(tuner, DreamAssessor())
    manager.initialize(SPACE)
    return manager


def epochs(parameters, scores, **numbers):
    """One feedback for each epoch, as a healthy trial reports it unless ``numbers`` say otherwise."""
    healthy = {"gradient_ratio": 1.0, "dead_unit_share": 0.0, "weight_norm": 1.0, "n_layers": 3}
    return [
        TrialFeedback(
            parameters=parameters,
            planned_epochs=10,
            epochs=(EpochFeedback(epoch=index, val_score=score, **{**healthy, **numbers}),),
        )
        for index, score in enumerate(scores)
    ]


def report_all(manager, job, record, scores, **numbers):
    """A whole trial: every epoch, then the final result."""
    feedback = epochs(record["parameters"], scores, **numbers)
    for index, each in enumerate(feedback):
        manager.intermediate(job, record["parameter_id"], index, epoch_metric(each, scores[index]))
    whole = TrialFeedback(parameters=record["parameters"], epochs=tuple(each.epochs[0] for each in feedback))
    manager.final(job, record["parameter_id"], final_metric(whole, max(scores), None))


def journal(log_folder, event):
    return [entry for entry in read_journal(log_folder / JOURNAL_NAME) if entry["event"] == event]


class TestLearningSearch:
    """The default strategy."""

    @pytest.fixture
    def tuner(self, log_folder):
        return DreamTuner(
            seed=1, planned_trials=3, exploration="expected_improvement", initial_parameters=[SEED_PARAMETERS]
        )

    def test_journals_what_it_expects_of_an_action(self, manager, log_folder):
        (seed,) = manager.request()
        report_all(manager, "job0", seed, [0.1, 0.3, 0.5, 0.6])
        (repaired,) = manager.request()
        assert repaired["parameters"]["block_type"] == {"_name": "xception"}
        suggestion = journal(log_folder, "suggestion")[1]
        low, high = suggestion["interval"]
        assert low < suggestion["estimate"] < high
        assert suggestion["n"] == 0  # the table ranks, but measured nothing

    def test_learns_from_each_result(self, manager, log_folder):
        (seed,) = manager.request()
        report_all(manager, "job0", seed, [0.1, 0.3, 0.5, 0.6])
        for number in range(1, 6):
            (record,) = manager.request()
            report_all(manager, f"job{number}", record, [0.1, 0.1, 0.2, 0.2])
        estimates = [entry["estimate"] for entry in journal(log_folder, "suggestion")[1:]]
        assert estimates[0] > 0 > estimates[-1], "nothing has helped so far"

    def test_learns_from_trials_that_were_stopped_or_failed(self, manager, tuner, log_folder):
        (seed,) = manager.request()
        report_all(manager, "job0", seed, [0.1, 0.3, 0.5, 0.6])
        (stopped,) = manager.request()
        for index, each in enumerate(epochs(stopped["parameters"], [0.1] * 6, gradient_ratio=1e-5)):
            manager.intermediate("job1", stopped["parameter_id"], index, epoch_metric(each, 0.1))
        manager.end("job1", stopped["parameter_id"], "USER_CANCELED")
        (failed,) = manager.request()
        manager.end("job2", failed["parameter_id"], "FAILED")
        manager.request()
        statuses = [record.status for record in tuner.book.records()[1:3]]
        assert statuses == [TrialStatus.STOPPED, TrialStatus.FAILED]
        for told in journal(log_folder, "suggestion")[1:3]:
            subject = Subject.of(Condition.parse(told["condition"]), told["object"], told["value"])
            assert tuner.suggester._learning.model.estimate(subject, None).n == 1

    def test_an_action_is_judged_by_what_is_known_of_its_candidate_now(self, manager, tuner):
        (seed,) = manager.request()
        report_all(manager, "job0", seed, [0.1, 0.3, 0.5, 0.6])
        (repaired,) = manager.request()
        report_all(manager, "job1", repaired, [0.1, 0.3, 0.4, 0.5])
        report_all(manager, "job0", seed, [0.1, 0.1, 0.1, 0.1])  # run again
        manager.request()
        assert tuner.suggester._learning.model.unit == pytest.approx(0.5 - 0.1), (
            "the size of all gains, of which there is one"
        )

    def test_goes_on_from_the_second_best_when_the_best_is_used_up(self, manager, tuner, log_folder):
        for number, score in enumerate((0.6, 0.599)):
            (record,) = manager.request()
            report_all(manager, f"job{number}", record, [0.1, 0.3, 0.5, score])
        tuner.suggester.applied[0] = {action.key for action in all_actions(tuner.suggester.space, SEED_PARAMETERS)}
        manager.request()
        assert journal(log_folder, "suggestion")[-1]["candidate"] == 1

    @pytest.mark.parametrize(("loss", "n_trials"), [(2.0, 1), (None, 7)], ids=["losses", "scores alone"])
    def test_what_makes_no_difference_to_a_training_is_tried_once(self, log_folder, loss, n_trials):
        """The same losses in every epoch: the units are not used.  Equal scores alone would prove nothing."""
        tuner = DreamTuner(
            seed=1, planned_trials=2, exploration="expected_improvement", initial_parameters=[{"units": 0, "rate": 0}]
        )
        manager = Manager(tuner, DreamAssessor())
        manager.initialize({name: {"_type": "choice", "_value": list(range(8))} for name in ("units", "rate")})
        for number in range(9):
            (record,) = manager.request()
            rate = record["parameters"]["rate"]
            scores = [0.1, 0.3, 0.5, 0.5 if rate else 0.6]
            report_all(manager, f"job{number}", record, scores, train_loss=loss and loss + rate)
        tried = [entry["parameters"] for entry in journal(log_folder, "suggestion")[1:]]
        assert sum(each["units"] != 0 and each["rate"] == 0 for each in tried) == n_trials

    def test_a_copy_of_the_best_trial_is_no_other_candidate(self, log_folder):
        """What was tried on the best would be tried again on each of them, with the same results."""
        tuner = DreamTuner(seed=1, planned_trials=2, initial_parameters=[{"units": 0, "rate": 0}])
        manager = Manager(tuner, DreamAssessor())
        manager.initialize({name: {"_type": "choice", "_value": list(range(4))} for name in ("units", "rate")})
        for number in range(10):
            (record,) = manager.request()
            rate = record["parameters"]["rate"]
            report_all(manager, f"job{number}", record, [0.1, 0.3, 0.5, 0.6 - rate / 100], train_loss=2.0 + rate)
        suggestions = journal(log_folder, "suggestion")
        copies = {
            each["trial"]
            for each in suggestions[1:]
            if each.get("candidate") is not None
            and each["parameters"]["rate"] == suggestions[each["candidate"]]["parameters"]["rate"]
        }
        assert copies
        assert copies.isdisjoint(each.get("candidate") for each in suggestions)

    def test_a_limit_that_is_raised_in_mid_run_is_a_longer_plan(self, log_folder, monkeypatch):
        limits = [5, 100]
        monkeypatch.setattr("nni_dream.tuner.trial_limit", lambda: limits.pop(0))
        manager = Manager(DreamTuner(seed=1, priority="image"), DreamAssessor())
        manager.initialize(SPACE)
        for number in range(7):
            (record,) = manager.request()
            report_all(manager, f"job{number}", record, [0.1, 0.3, 0.5, 0.5 + number / 100])
        kinds = [entry["kind"] for entry in journal(log_folder, "suggestion")]
        assert kinds == ["drawn", "drawn", "action", "action", "action", "drawn", "drawn"]
        assert limits == []

    def test_goes_on_beyond_the_planned_trials(self, manager):
        for number in range(8):
            (record,) = manager.request()
            report_all(manager, f"job{number}", record, [0.1, 0.3, 0.5, 0.5 + number / 100])
        assert len(manager.request()) == 1


@pytest.mark.parametrize(
    ("planned", "n_trials", "share"),
    [(10, 0, 1.0), (10, 4, 0.6), (10, 10, 0.0), (10, 12, 0.0), (None, 0, 1.0), (None, 25, 0.5), (None, 75, 1 / 8)],
)
def test_the_share_of_trials_that_is_left_halves_with_every_25_where_no_plan_is_known(
    log_folder, planned, n_trials, share
):
    assert DreamTuner(planned_trials=planned).suggester._share_left(n_trials) == pytest.approx(share)


def test_beam_takes_the_three_best_in_turn(log_folder):
    manager = Manager(DreamTuner(seed=1, strategy="beam", initial_parameters=[SEED_PARAMETERS]))
    manager.initialize(SPACE)
    for number in range(12):
        (record,) = manager.request()
        report_all(manager, f"job{number}", record, [0.1, 0.3, 0.5, 0.6 - number / 1000])  # the first three stay best
    candidates = [entry["candidate"] for entry in journal(log_folder, "suggestion")[3:]]
    assert set(candidates) == {0, 1, 2}


class TestOrdinarySearch:
    def test_starts_with_the_initial_parameters(self, manager):
        (record,) = manager.request()
        assert record["parameters"] == SEED_PARAMETERS

    def test_repairs_the_best_trial_by_its_condition(self, manager, log_folder):
        (seed,) = manager.request()
        report_all(manager, "job0", seed, [0.1, 0.3, 0.5, 0.6])
        manager.end("job0", seed["parameter_id"])
        (repaired,) = manager.request()
        assert repaired["parameters"]["block_type"] == {"_name": "xception"}
        suggestion = journal(log_folder, "suggestion")[1]
        assert suggestion["condition"] == "OA-NC-NG-NW"
        assert suggestion["action"] == "block_type=xception"
        assert suggestion["rank"] == 1

    def test_skips_what_the_candidate_already_was_given(self, manager, log_folder):
        (seed,) = manager.request()
        report_all(manager, "job0", seed, [0.1, 0.3, 0.5, 0.6])
        (first,) = manager.request()
        report_all(manager, "job1", first, [0.1, 0.1, 0.2, 0.2])  # worse: the seed stays the candidate
        (second,) = manager.request()
        assert second["parameters"]["optimizer"] == {"_name": "adam_weight_decay"}
        suggestion = journal(log_folder, "suggestion")[2]
        assert suggestion["candidate"] == 0
        assert {"action": "block_type=xception", "why": "already applied to trial 0"} in suggestion["skipped"]
        assert {"action": "separable=false", "why": "not in the search space"} in suggestion["skipped"]

    def test_journals_twenty_of_the_actions_that_it_skipped_and_how_many_there_were(self, manager, tuner, log_folder):
        (seed,) = manager.request()
        report_all(manager, "job0", seed, [0.1, 0.3, 0.5, 0.6])
        actions = {str(action): action.key for action in all_actions(tuner.suggester.space, SEED_PARAMETERS)}
        last = actions.pop("momentum=0.0")  # no table ranks it
        tuner.suggester.applied[0] = set(actions.values())
        manager.request()
        suggestion = journal(log_folder, "suggestion")[1]
        assert suggestion["key"] == last
        assert len(suggestion["skipped"]) == 20 < suggestion["n_skipped"]
        assert suggestion["skipped"][0] == {"action": "block_type=xception", "why": "already applied to trial 0"}

    def test_takes_the_next_actions_in_order_for_trials_at_once(self, manager):
        (seed,) = manager.request()
        report_all(manager, "job0", seed, [0.1, 0.3, 0.5, 0.6])
        records = manager.request(3)
        configurations = [json.dumps(record["parameters"], sort_keys=True) for record in records]
        assert len(set(configurations)) == 3
        assert records[0]["parameters"]["block_type"] == {"_name": "xception"}
        assert records[1]["parameters"]["optimizer"] == {"_name": "adam_weight_decay"}

    def test_never_suggests_a_configuration_twice(self, manager):
        suggested = []
        for number in range(20):
            (record,) = manager.request()
            suggested.append(json.dumps(record["parameters"], sort_keys=True))
            report_all(manager, f"job{number}", record, [0.1, 0.2, 0.3, 0.3 + number / 100])
        assert len(set(suggested)) == 20

    def test_ends_when_every_configuration_was_tried(self, manager, log_folder):
        n_configurations = 5 * 4 * 3
        records = manager.request(n_configurations + 1)
        assert len(records) == n_configurations
        assert CommandType.NoMoreTrialJobs in manager.commands()
        assert journal(log_folder, "finish")[0]["reason"] == "every configuration of the search space was tried"

    def test_stops_suggesting_when_the_target_is_reached(self, log_folder):
        manager = Manager(DreamTuner(seed=1, target_score=0.9))
        manager.initialize(SPACE)
        (record,) = manager.request()
        manager.final("job0", record["parameter_id"], 0.9)
        assert manager.request() == []
        assert journal(log_folder, "finish")[0]["reason"] == "trial 0 reached the target: 0.9"

    def test_same_seed_and_same_results_give_the_same_suggestions(self, tmp_path, monkeypatch):
        def search(name):
            (tmp_path / name).mkdir()
            monkeypatch.setenv("NNI_LOG_DIRECTORY", str(tmp_path / name))
            manager = Manager(DreamTuner(seed=7))
            manager.initialize(SPACE)
            suggested = []
            for number in range(12):
                (record,) = manager.request()
                suggested.append(record["parameters"])
                report_all(manager, f"job{number}", record, [0.1, 0.2, 0.3, (number * 37 % 11) / 10])
            return suggested

        assert search("first") == search("second")

    def test_seed_that_was_not_given_is_drawn_and_written_down(self, log_folder):
        tuner = DreamTuner()
        tuner.update_search_space(SPACE)
        assert journal(log_folder, "start")[0]["seed"] == tuner.suggester.seed


class TestOrderOfMessages:
    def test_end_before_result(self, manager, tuner):
        (seed,) = manager.request()
        manager.end("job0", seed["parameter_id"])
        report_all(manager, "job0", seed, [0.1, 0.3, 0.5, 0.6])
        assert tuner.book.best().score == 0.6

    def test_failed_end_before_a_late_result(self, manager, tuner):
        (seed,) = manager.request()
        manager.end("job0", seed["parameter_id"], "FAILED")
        assert tuner.book.records()[0].status is TrialStatus.FAILED
        manager.final("job0", seed["parameter_id"], 0.6)
        assert tuner.book.records()[0].status is TrialStatus.SUCCEEDED

    def test_messages_that_come_twice(self, manager, tuner):
        (seed,) = manager.request()
        for _ in range(2):
            report_all(manager, "job0", seed, [0.1, 0.3, 0.5, 0.6])
            manager.end("job0", seed["parameter_id"])
        (record,) = tuner.book.records()
        assert (record.status, record.score, len(record.feedback.epochs)) == (TrialStatus.SUCCEEDED, 0.6, 4)

    def test_score_joins_the_parameters_that_the_trial_says_it_had(self, manager, tuner):
        """NNI hands parameters to whichever trial asks first: its own pairing can be wrong."""
        first, second = manager.request(2)
        whole = TrialFeedback(parameters=second["parameters"], epochs=(EpochFeedback(epoch=0, val_score=0.8),))
        manager.final("job0", first["parameter_id"], final_metric(whole, 0.8, None))
        assert tuner.book.best().configuration == second["parameters"]

    def test_crashed_trial_is_not_suggested_again(self, manager, tuner):
        (seed,) = manager.request()
        manager.end("job0", seed["parameter_id"], "FAILED")
        (other,) = manager.request()
        assert other["parameters"] != seed["parameters"]
        assert tuner.book.best() is None

    def test_end_under_another_trials_parameter_id(self, manager, tuner):
        """NNI hands parameters to whichever trial asks first: the end of a stopped trial can come with a wrong id."""
        first, second = manager.request(2)
        broken = TrialFeedback(parameters=first["parameters"], epochs=(EpochFeedback(epoch=0, n_nonfinite_weights=1),))
        manager.intermediate("job0", first["parameter_id"], 0, epoch_metric(broken, 0.0))
        manager.end("job0", second["parameter_id"], "USER_CANCELED")
        assert [record.status for record in tuner.book.records()] == [TrialStatus.STOPPED, TrialStatus.RUNNING]

    def test_end_under_the_parameter_id_of_a_trial_that_goes_on(self, manager, tuner):
        """A trial that died before its first epoch: nobody knows which it was, but it was not one that reports."""
        _, second = manager.request(2)
        manager.intermediate(
            "job1", second["parameter_id"], 0, epoch_metric(epochs(second["parameters"], [0.3])[0], 0.3)
        )
        manager.end("job0", second["parameter_id"], "FAILED")
        assert [record.status for record in tuner.book.records()] == [TrialStatus.RUNNING, TrialStatus.RUNNING]

    def test_customized_trial_without_a_parameter_id(self, manager, tuner):
        manager.intermediate("job9", None, 0, 0.4)
        manager.final("job9", None, 0.5)
        manager.end("job9", None)
        assert tuner.book.best() is None


class TestForeignMetrics:
    def test_plain_numbers(self, manager, log_folder):
        (seed,) = manager.request()
        for index, score in enumerate([0.1, 0.3, 0.5, 0.6]):
            manager.intermediate("job0", seed["parameter_id"], index, score)
        manager.final("job0", seed["parameter_id"], 0.6)
        manager.request()
        assert journal(log_folder, "result")[0]["condition"] == "OA-NC-*-*"
        assert journal(log_folder, "suggestion")[1]["kind"] == "action"

    @pytest.mark.parametrize(
        "metric",
        [
            {"accuracy": 0.5},
            {"default": "good"},
            {"default": None},
            "0.5",
            None,
            [0.5],
            True,
            math.nan,
            math.inf,
            {"default": math.nan},
            {"default": 0.5, "dream": {"version": 99}},
            {"default": 0.5, "dream": "text"},
            {"default": 10**400},
        ],
    )
    def test_nothing_raises_and_the_search_goes_on(self, manager, metric):
        (seed,) = manager.request()
        manager.intermediate("job0", seed["parameter_id"], 0, metric)
        manager.final("job0", seed["parameter_id"], metric)
        manager.end("job0", seed["parameter_id"])
        assert len(manager.request()) == 1

    @pytest.mark.parametrize(("mode", "stand_in", "other"), [("maximize", 0.0, -1.0), ("minimize", 1e10, 3.0)])
    def test_a_trial_that_never_had_a_score_is_not_the_best(self, log_folder, mode, stand_in, other):
        """Its metrics carry a number that NNI can read; R squared, say, is below 0.0 where a model is bad."""
        tuner = DreamTuner(seed=1, optimize_mode=mode, target_score=-0.5 if mode == "maximize" else 2.0)
        manager = Manager(tuner)
        manager.initialize(SPACE)
        broken, healthy = manager.request(2)
        without = TrialFeedback(parameters=broken["parameters"], epochs=(EpochFeedback(epoch=0, val_loss=1.0),))
        manager.final("job0", broken["parameter_id"], final_metric(without, stand_in, None))
        report_all(manager, "job1", healthy, [other])
        assert tuner.book.best().configuration == healthy["parameters"]
        assert [event["score"] for event in journal(log_folder, "result")] == [None, other]
        assert len(manager.request()) == 1  # the target is not reached

    def test_foreign_feedback_still_has_its_score(self, manager, tuner):
        (seed,) = manager.request()
        manager.final("job0", seed["parameter_id"], {"default": 0.5, "dream": {"version": 99}})
        assert tuner.book.best().score == 0.5

    def test_score_that_is_not_finite_never_becomes_the_candidate(self, manager, tuner):
        first, second = manager.request(2)
        manager.final("job0", first["parameter_id"], math.nan)
        manager.final("job1", second["parameter_id"], 0.1)
        assert tuner.book.best().configuration == second["parameters"]


class TestStoppedTrial:
    def test_non_finite_weights_stop_a_trial_once(self, manager, tuner, log_folder):
        (seed,) = manager.request()
        healthy = epochs(seed["parameters"], [0.4])[0]
        broken = TrialFeedback(
            parameters=seed["parameters"], epochs=(EpochFeedback(epoch=1, n_nonfinite_weights=5, n_nonfinite_losses=2),)
        )
        manager.intermediate("job0", seed["parameter_id"], 0, epoch_metric(healthy, 0.4))
        assert manager.killed_jobs() == []
        manager.intermediate("job0", seed["parameter_id"], 1, epoch_metric(broken, 0.4))
        assert manager.killed_jobs() == ["job0"]
        (stop,) = journal(log_folder, "stop")
        assert (stop["rule"], stop["text"]) == ("non-finite", "non-finite weights in epoch 1")
        assert stop["numbers"] == {"n_nonfinite_weights": 5, "n_nonfinite_losses": 2}

    def test_verdict_stands_for_later_metrics_without_a_second_entry(self, manager, log_folder):
        (seed,) = manager.request()
        for index in range(3):
            broken = TrialFeedback(
                parameters=seed["parameters"], epochs=(EpochFeedback(epoch=index, n_nonfinite_weights=1),)
            )
            manager.intermediate("job0", seed["parameter_id"], index, epoch_metric(broken, 0.0))
        assert len(manager.killed_jobs()) == 3
        assert len(journal(log_folder, "stop")) == 1

    def test_a_metric_that_comes_after_the_final_result_stops_nothing(self, manager, tuner, log_folder):
        """They come on two threads."""
        (seed,) = manager.request()
        manager.intermediate("job0", seed["parameter_id"], 0, epoch_metric(epochs(seed["parameters"], [0.4])[0], 0.4))
        manager.final("job0", seed["parameter_id"], 0.9)
        broken = TrialFeedback(parameters=seed["parameters"], epochs=(EpochFeedback(epoch=1, n_nonfinite_weights=1),))
        manager.intermediate("job0", seed["parameter_id"], 1, epoch_metric(broken, 0.4))
        assert manager.killed_jobs() == []
        assert journal(log_folder, "stop") == []
        (record,) = tuner.book.records()
        assert (record.status, record.score) == (TrialStatus.SUCCEEDED, 0.9)

    def test_is_evidence_with_its_score_and_condition(self, manager, tuner):
        (seed,) = manager.request()
        feedback = epochs(seed["parameters"], [0.4, 0.4, 0.4, 0.4, 0.4, 0.4], gradient_ratio=1e-5)
        for index, each in enumerate(feedback):
            manager.intermediate("job0", seed["parameter_id"], index, epoch_metric(each, 0.4))
        manager.end("job0", seed["parameter_id"], "USER_CANCELED")
        (record,) = tuner.book.records()
        assert (record.status, record.score) == (TrialStatus.STOPPED, 0.4)
        assert record.stop.rule == "vanishing gradients"
        assert str(tuner.suggester._candidates()[0].condition) == "OA-SC-VG-NW"

    def test_end_before_the_tuner_hears_of_the_stop(self, manager, tuner):
        (seed,) = manager.request()
        manager.end("job0", seed["parameter_id"], "USER_CANCELED")
        broken = TrialFeedback(parameters=seed["parameters"], epochs=(EpochFeedback(epoch=0, n_nonfinite_weights=1),))
        manager.intermediate("job0", seed["parameter_id"], 0, epoch_metric(broken, 0.0))  # NNI drops it: job0 has ended
        assert tuner.book.records()[0].status is TrialStatus.FAILED


class TestSearchSpace:
    def test_wrong_space_ends_the_experiment_with_its_reason(self, tuner, log_folder):
        manager = Manager(tuner)
        manager.initialize({"learning_rate": {"_type": "uniform", "_value": [1, 0]}})
        assert manager.request() == []
        errors = [data for command, data in manager.channel.sent if command is CommandType.Error]
        assert "DreamTuner cannot start: parameter 'learning_rate' (uniform) has bounds [1, 0] in reverse" in errors[0]
        assert "in reverse" in journal(log_folder, "refused")[0]["reason"]

    @pytest.mark.parametrize("n_spaces", [1, 2])
    def test_a_journal_that_cannot_be_read_ends_the_experiment_with_its_reason(self, tuner, log_folder, n_spaces):
        (log_folder / JOURNAL_NAME).mkdir()
        manager = Manager(tuner)
        manager.initialize(SPACE)
        for _ in range(1, n_spaces):
            manager.update_search_space(SPACE)
        assert manager.request() == []
        (error,) = [data for command, data in manager.channel.sent if command is CommandType.Error]
        assert error == (
            f"DreamTuner cannot start: the journal {log_folder / JOURNAL_NAME} cannot be read (Is a directory), and "
            "what it knows would be lost; let this user read and write it, or move it away to begin anew"
        )

    def test_a_journal_that_can_be_read_after_all_is_taken_up(self, tuner, log_folder):
        (log_folder / JOURNAL_NAME).mkdir()
        manager = Manager(tuner)
        manager.initialize(SPACE)
        (log_folder / JOURNAL_NAME).rmdir()
        (log_folder / JOURNAL_NAME).write_text(
            '{"event": "suggestion", "trial": 0, "parameters": {"learning_rate": 0.1}, "kind": "drawn", "reason": ""}\n'
        )
        manager.update_search_space(SPACE)
        assert [event["n_trials"] for event in journal(log_folder, "start")] == [1]
        assert len(manager.request()) == 1

    def test_initial_parameters_outside_the_space(self, log_folder):
        manager = Manager(DreamTuner(initial_parameters=[{"learning_rate": 0.5}]))
        manager.initialize(SPACE)
        assert manager.request() == []
        (refused,) = journal(log_folder, "refused")
        assert refused["reason"] == "parameter 'learning_rate' is 0.5, expected one of 0.1, 0.01, 0.001"

    def test_initial_parameters_that_a_changed_space_no_longer_has_are_left_out(self, log_folder):
        given = [{"learning_rate": 0.1}, {"learning_rate": 0.01}]
        manager = Manager(DreamTuner(seed=0, initial_parameters=given))
        manager.initialize(SPACE)
        manager.update_search_space({"learning_rate": {"_type": "choice", "_value": [0.01, 0.2]}})
        assert {record["parameters"]["learning_rate"] for record in manager.request(2)} == {0.01, 0.2}
        assert "initial" not in [entry["kind"] for entry in journal(log_folder, "suggestion")]

    def test_wrong_space_in_mid_run_leaves_the_old_one(self, manager):
        manager.request()
        manager.update_search_space({"learning_rate": {"_type": "choice", "_value": []}})
        assert len(manager.request()) == 1

    def test_new_space_in_mid_run_is_followed(self, manager):
        (seed,) = manager.request()
        report_all(manager, "job0", seed, [0.1, 0.3, 0.5, 0.6])
        smaller = {"learning_rate": {"_type": "choice", "_value": [0.01, 0.2]}}
        manager.update_search_space(smaller)
        records = manager.request(2)
        assert sorted(record["parameters"]["learning_rate"] for record in records) == [0.01, 0.2]
        assert all(set(record["parameters"]) == {"learning_rate"} for record in records)


class TestModes:
    @pytest.mark.parametrize("told", ["maximize", "minimize", None])
    def test_a_trial_that_took_the_worst_epoch_for_its_best_is_mended(self, log_folder, told, caplog):
        """Its monitor was left at its default: the final result is the largest loss."""
        tuner = DreamTuner(seed=0, optimize_mode="minimize")
        manager = Manager(tuner, DreamAssessor(optimize_mode="minimize"))
        manager.initialize(SPACE)
        (seed,) = manager.request()
        feedback = [each.model_copy(update={"optimize_mode": told}) for each in epochs(seed["parameters"], [9, 1, 3])]
        for index, each in enumerate(feedback):
            manager.intermediate("job0", seed["parameter_id"], index, epoch_metric(each, each.epochs[0].val_score))
        whole = feedback[0].model_copy(update={"epochs": tuple(each.epochs[0] for each in feedback)})
        manager.final("job0", seed["parameter_id"], final_metric(whole, 9.0, None))
        assert tuner.book.best().score == (1.0 if told == "maximize" else 9.0)
        words = "the trial's monitor has 'maximize', the tuner 'minimize'"
        assert (words in caplog.text) == (told == "maximize")
        kinds = [each["kind"] for each in journal(log_folder, "malformed_metric")]
        assert kinds == (["another optimize_mode"] if told == "maximize" else [])


class TestEarlierTrials:
    def test_imported_results_count(self, manager, tuner):
        better = {**SEED_PARAMETERS, "learning_rate": 0.1}
        manager.import_data([{"parameter": better, "value": 0.7, "trialJobId": "old"}])
        assert tuner.book.best().configuration == better

    def test_imported_dict_says_its_own_parameters(self, manager, tuner):
        true = {**SEED_PARAMETERS, "learning_rate": 0.1}
        value = final_metric(TrialFeedback(parameters=true, epochs=(EpochFeedback(epoch=0, val_score=0.7),)), 0.7, None)
        manager.import_data([{"parameter": SEED_PARAMETERS, "value": value, "trialJobId": "old"}])
        assert tuner.book.best().configuration == true

    def test_an_imported_result_of_another_space_is_left_out(self, manager, tuner, caplog):
        manager.import_data([{"parameter": {"zzz": 3}, "value": 99.0}])
        assert tuner.book.records() == []
        assert "imported result left out, nothing of it is in the search space: {'zzz': 3}" in caplog.text

    def test_imported_rubbish_is_survived(self, manager):
        manager.import_data([{"parameter": None, "value": None}, {"value": 3}])
        assert len(manager.request()) == 1


def test_without_an_assessor_the_final_result_brings_the_condition(log_folder):
    manager = Manager(DreamTuner(seed=1, strategy="static", initial_parameters=[SEED_PARAMETERS]))
    manager.initialize(SPACE)
    (seed,) = manager.request()
    report_all(manager, "job0", seed, [0.5, 0.5, 0.5, 0.5], dead_unit_share=0.9)
    manager.request()
    assert journal(log_folder, "suggestion")[1]["condition"] == "OA-SC-DG-NW"


def test_policy_that_fails_leaves_a_random_search(manager, tuner, log_folder, monkeypatch):
    (seed,) = manager.request()
    report_all(manager, "job0", seed, [0.1, 0.3, 0.5, 0.6])
    monkeypatch.setattr(Suggester, "_candidates", lambda self: 1 / 0)
    assert len(manager.request()) == 1
    assert journal(log_folder, "suggestion")[1]["note"] == "the policy failed, see the log"


def test_on_the_dispatchers_own_threads(tuner):
    """NNI's queues and threads as they are: results on one, epochs and ends on the other."""
    manager = Manager(tuner, DreamAssessor())
    incoming = manager.channel.incoming
    thread = threading.Thread(target=manager.dispatcher.run, daemon=True)
    thread.start()

    def n_sent(command):
        return manager.commands().count(command)

    incoming.put((CommandType.Initialize, json.dumps(SPACE)))
    wait_until(lambda: n_sent(CommandType.Initialized), "the initialisation")
    for number in range(4):
        incoming.put((CommandType.RequestTrialJobs, "1"))
        wait_until(lambda: n_sent(CommandType.NewTrialJob) == number + 1, f"suggestion {number}")  # noqa: B023
        record = json.loads(manager.channel.sent[-1][1])
        job, parameter_id = f"job{number}", record["parameter_id"]
        feedback = epochs(record["parameters"], [0.1, 0.3, 0.5 + number / 10])
        for index, each in enumerate(feedback):
            command, data = manager.metric("PERIODICAL", job, parameter_id, index, epoch_metric(each, 0.5))
            incoming.put((command, json.dumps(data)))
        for command, data in (
            manager.trial_end(job, parameter_id, "SUCCEEDED"),
            manager.metric("FINAL", job, parameter_id, 0, 0.5 + number / 10),
        ):
            incoming.put((command, json.dumps(data)))
        wait_until(lambda: tuner.book.records()[-1].status is TrialStatus.SUCCEEDED, f"result {number}")
    incoming.put((CommandType.Terminate, None))
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert manager.dispatcher.worker_exceptions == []
    assert [record.score for record in tuner.book.records()] == [0.5, 0.6, 0.7, 0.8]
