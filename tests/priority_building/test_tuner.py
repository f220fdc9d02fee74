import pytest
from dispatcher import Manager
from nni.runtime.tuner_command_channel import CommandType
from priority_building.example import SPACE, metric_of

from nni_dream.config import SettingsError
from nni_dream.priority_building.records import read_records
from nni_dream.priority_building.tuner import PriorityTuner


@pytest.fixture
def path(tmp_path):
    return tmp_path / "toy.jsonl"


@pytest.fixture
def start(log_folder, path):
    def start_one(**settings):
        manager = Manager(PriorityTuner(**{"records": str(path), "n_models": 2, **settings}))
        manager.initialize(SPACE)
        return manager

    return start_one


@pytest.fixture
def ends(monkeypatch):
    """The reasons for which the experiment was to end with its trials."""
    reasons = []
    end = "nni_dream.priority_building.tuner.end_after_running_trials"
    monkeypatch.setattr(end, lambda reason, parameter_ids: reasons.append(reason))
    return reasons


def errors_of(manager):
    return [data for command, data in manager.channel.sent if command is CommandType.Error]


def run(manager, n=100):
    handed_out = []
    for number in range(n):
        records = manager.request()
        if not records:
            break
        (record,) = records
        handed_out.append(record["parameters"])
        manager.final(f"job{number}", record["parameter_id"], metric_of(record["parameters"]))
        manager.end(f"job{number}", record["parameter_id"])
    return handed_out


def test_measures_everything_and_then_has_nothing_more(start, path):
    run(start())
    trainings = read_records(path)[1]
    assert {record.model for record in trainings} == {0, 1}
    assert all(record.feedback.epochs for record in trainings)
    again = start()
    assert again.request() == []
    assert len(errors_of(again)) == 1


@pytest.mark.parametrize(("limit", "n"), [({"max_trainings": 3}, 3), ({"max_hours": 0}, 0), ({"max_hours": 1}, 100)])
def test_a_cap_ends_it(start, path, limit, n):
    assert len(run(start(**limit), 101)) == min(n, len(run(start(records=f"{path}.whole"))))


def test_goes_on_after_a_kill(start, path):
    first = run(start(), 3)
    rest = run(start())
    assert not [parameters for parameters in rest if parameters in first]


def test_a_result_belongs_to_the_parameters_that_the_trial_tells(start, path):
    manager = start()
    one, other = manager.request(2)
    manager.final("job0", one["parameter_id"], metric_of(other["parameters"]))  # NNI's pair is wrong
    (record,) = read_records(path)[1]
    assert record.parameters == other["parameters"]


def test_parameters_that_nni_has_forgotten_are_known_by_their_id(start, path, ends):
    """It keeps ``""`` for the first of several requests when there is nothing more."""
    manager = start(max_trainings=1)
    (record,) = manager.request(2)
    manager.dispatcher.tuner.receive_trial_result(record["parameter_id"], "", 0.5)
    assert [training.parameters for training in read_records(path)[1]] == [record["parameters"]]


def test_a_trial_that_ends_without_result_has_failed_until_one_comes(start, path):
    manager = start()
    (record,) = manager.request()
    manager.end("job0", record["parameter_id"], "FAILED")
    assert [training.status for training in read_records(path)[1]] == ["failed"]
    manager.final("job0", record["parameter_id"], metric_of(record["parameters"]))
    assert read_records(path)[1][-1].status == "succeeded"


@pytest.mark.parametrize("rubbish", [float("nan"), "text", None, {"dream": "{"}, [1, 2]])
def test_rubbish_is_a_failed_training(start, path, rubbish):
    manager = start()
    (record,) = manager.request()
    manager.final("job0", record["parameter_id"], rubbish)
    assert len(manager.request()) == 1


@pytest.mark.parametrize(
    ("space", "reason"),
    [({}, "search space is empty"), ({"x": {"_type": "choice", "_value": []}}, "parameter 'x' is a choice")],
)
def test_a_space_that_cannot_be_used_ends_the_experiment_with_its_reason(log_folder, path, space, reason, ends):
    manager = Manager(PriorityTuner(records=str(path)))
    manager.initialize(space)
    assert manager.request() == []
    (error,) = errors_of(manager)
    assert error.startswith(f"PriorityTuner cannot start: {reason}")
    assert ends == []


def test_a_file_of_other_trainings_ends_the_experiment_with_its_reason(start):
    start(seed=1)
    manager = start(seed=2)
    assert manager.request() == []
    (error,) = errors_of(manager)
    assert "has trainings with seed 1, wanted is 2" in error


def test_an_experiment_with_nothing_to_begin_with_ends_with_its_reason(start, ends):
    """NNI counts trials to know its end: where none was started it would wait for ever."""
    manager = start(max_hours=0)
    assert manager.request() == []
    assert errors_of(manager) == ["PriorityTuner cannot start: nothing is left to train, or the time is up"]
    assert ends == []


def test_an_experiment_that_trained_something_ends_without_an_error(start, ends):
    manager = start(max_trainings=1)
    assert len(manager.request(2)) == 1
    assert errors_of(manager) == []
    assert ends == ["nothing is left to train, or the time is up"]


@pytest.mark.parametrize("trials", ["finished", "started again"])
def test_a_resumed_experiment_with_nothing_left_ends_without_an_error(start, ends, trials):
    manager = start(max_hours=0)
    if trials == "finished":
        manager.import_data([{"parameter": {}, "value": 0.5, "trialJobId": "job0"}])
    else:
        manager.dispatcher.recovered_trial_params[0] = {}
    assert manager.request() == []
    assert errors_of(manager) == []
    assert ends == ["nothing is left to train, or the time is up"]


def test_what_keeps_it_from_going_on_ends_the_experiment_with_the_reason(start, monkeypatch):
    """NNI does not ask again: without a word the experiment would be RUNNING for ever."""
    manager = start()

    def disk_is_full(_):
        raise OSError("No space left on device")

    monkeypatch.setattr("nni_dream.priority_building.training_queue.TrainingQueue.next", disk_is_full)
    assert manager.request() == []
    assert errors_of(manager) == ["PriorityTuner cannot go on: OSError: No space left on device"]


def test_another_space_in_mid_run_is_not_taken(start):
    manager = start()
    manager.dispatcher.tuner.update_search_space({"x": {"_type": "choice", "_value": [1]}})
    (record,) = manager.request()
    assert set(record["parameters"]) == set(SPACE)


@pytest.mark.parametrize(
    "arguments", [{}, {"records": ""}, {"records": "x", "n_models": 0}, {"records": "x", "unknown": 1}]
)
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(SettingsError, match=r"^PriorityTuner: "):
        PriorityTuner(**arguments)
