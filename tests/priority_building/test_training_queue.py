import math

import pytest
from priority_building.example import metric_of, settings

from nni_dream.feedback import SCORE_WITHOUT_ANY, EpochFeedback, TrialFeedback, final_metric
from nni_dream.priority_building.records import RecordFile, read_records
from nni_dream.priority_building.training_queue import TrainingQueue


@pytest.fixture
def path(tmp_path):
    return tmp_path / "toy.jsonl"


def queue_on(path, **limits):
    return TrainingQueue(RecordFile(path, settings()), **limits)


def train(queue, n=None):
    """Train so many, or all that are left; return what was handed out."""
    handed_out = []
    while n is None or len(handed_out) < n:
        planned = queue.next()
        if planned is None:
            break
        handed_out.append(planned.configuration)
        queue.finish(planned.configuration, metric_of(planned.configuration), 1.5)
    return handed_out


def test_trains_the_whole_plan_and_no_configuration_twice(path):
    queue = queue_on(path)
    handed_out = [repr(configuration) for configuration in train(queue)]
    assert len(handed_out) == len(set(handed_out))
    assert queue.n_done == queue.n_planned == len(read_records(path)[1])
    assert len(handed_out) < queue.n_planned, "some actions lead to the same configuration"


def test_goes_on_where_it_was_stopped(path):
    first = train(queue_on(path), 5)
    rest = train(queue_on(path))
    assert not [configuration for configuration in rest if configuration in first]
    assert queue_on(path).next() is None


def test_a_file_that_is_complete_stays_as_it_is(path):
    train(queue_on(path))
    complete = path.read_bytes()
    assert train(queue_on(path)) == []
    assert path.read_bytes() == complete


def test_what_was_running_at_the_stop_is_handed_out_again(path):
    lost = queue_on(path).next()
    assert queue_on(path).next() == lost


def test_a_cap_on_trainings(path):
    assert len(train(queue_on(path, max_trainings=3))) == 3
    assert queue_on(path, max_trainings=3).n_planned == 3


def test_no_time_no_training(path):
    assert queue_on(path, max_seconds=-1.0).next() is None


def test_two_trainings_of_one_configuration_wait_for_one_result(path):
    queue = queue_on(path)
    running = []
    while (planned := queue.next()) is not None:
        running.append(planned)
    for planned in running:
        queue.finish(planned.configuration, metric_of(planned.configuration))
    assert queue.n_done == queue.n_planned


def test_the_time_of_a_training_counts_once(path):
    """However many models and actions lead to its configuration, before it ended or after."""
    n_trained = len(train(queue_on(path)))
    records = read_records(path)[1]
    assert n_trained < len(records)
    assert sum(record.seconds or 0.0 for record in records) == 1.5 * n_trained


def test_the_time_of_a_training_that_others_wait_for_counts_once(path):
    queue = queue_on(path)
    running = []
    while (planned := queue.next()) is not None:
        running.append(planned)
    for planned in running:
        queue.finish(planned.configuration, metric_of(planned.configuration), 1.5)
    assert sum(record.seconds or 0.0 for record in read_records(path)[1]) == 1.5 * len(running)


def test_a_failed_training_is_kept_with_its_error(path):
    queue = queue_on(path)
    planned = queue.next()
    assert queue.fail(planned.configuration, "too large", 2.0)
    (record,) = read_records(path)[1]
    assert (record.status, record.error, record.score) == ("failed", "too large", None)
    assert queue.n_failed() == {"too large": 1}


def test_actions_on_a_failed_model_are_left_out(path):
    queue = queue_on(path)
    failed = queue.next()
    queue.fail(failed.configuration, "too large")
    train(queue)
    assert {record.key for record in read_records(path)[1] if record.model == failed.model} == {(failed.model, None)}


def test_a_result_that_comes_later_counts(path):
    queue = queue_on(path)
    planned = queue.next()
    queue.fail(planned.configuration, "lost")
    assert queue.finish(planned.configuration, metric_of(planned.configuration))
    assert RecordFile(path, settings()).records[planned.key].status == "succeeded"


@pytest.mark.parametrize("metric", [math.nan, math.inf, None, "0.5", {"default": None}])
def test_a_metric_without_a_finite_score_is_a_failure(path, metric):
    queue = queue_on(path)
    planned = queue.next()
    queue.finish(planned.configuration, metric)
    (record,) = read_records(path)[1]
    assert (record.status, record.error) == ("failed", "it reported no finite score")


def test_a_training_that_never_had_a_score_is_a_failure(path):
    """What it sends to NNI in its place would be a gain or a fall of its size."""
    queue = queue_on(path)
    planned = queue.next()
    feedback = TrialFeedback(parameters=planned.configuration, epochs=(EpochFeedback(epoch=0, val_loss=1.0),))
    queue.finish(planned.configuration, final_metric(feedback, SCORE_WITHOUT_ANY["maximize"], None))
    (record,) = read_records(path)[1]
    assert (record.status, record.error) == ("failed", "it reported no finite score")


def test_a_plain_number_is_a_score_without_feedback(path):
    queue = queue_on(path)
    planned = queue.next()
    queue.finish(planned.configuration, 0.25)
    (record,) = read_records(path)[1]
    assert (record.score, record.feedback.epochs) == (0.25, ())


def test_a_configuration_that_nobody_asked_for_is_not_entered(path):
    assert not queue_on(path).finish({"block_type": {"_name": "resnet"}, "learning_rate": 7}, 0.5)
