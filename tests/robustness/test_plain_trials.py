"""Trials that never heard of this package: their condition is what can be known, and the rest is left open."""

import math
import random
import statistics

import pytest
from dispatcher import Manager
from nni.algorithms.hpo.medianstop_assessor import MedianstopAssessor
from robustness.conftest import replay

from nni_dream.assessor import DreamAssessor
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.tuner import DreamTuner

pytestmark = pytest.mark.usefixtures("fresh_dispatcher")

NO_NETWORK = {"lr": {"_type": "loguniform", "_value": [1e-4, 1]}, "batch_size": {"_type": "choice", "_value": [16, 32]}}
NETWORKS = {**NO_NETWORK, "backbone": {"_type": "choice", "_value": ["resnet18", "ResNet50"]}}
OTHERS = {**NO_NETWORK, "model": {"_type": "choice", "_value": ["vgg16", "mobilenet"]}}

FLAT, RISING = [0.5] * 4, [0.1, 0.3, 0.5, 0.6]


@pytest.mark.parametrize("with_assessor", [True, False])
@pytest.mark.parametrize(
    ("space", "epochs", "final", "mode", "expected"),
    [
        pytest.param(NETWORKS, FLAT, 0.5, "maximize", "RA-SC-*-*", id="numbers"),
        pytest.param(NETWORKS, RISING, 0.6, "maximize", "RA-NC-*-*", id="rising numbers"),
        pytest.param(OTHERS, FLAT, 0.5, "maximize", "OA-SC-*-*", id="a network that we do not know"),
        pytest.param(NO_NETWORK, FLAT, 0.5, "maximize", "*-SC-*-*", id="a network that nobody names"),
        pytest.param(NETWORKS, [], 0.5, "maximize", "RA-*-*-*", id="a final result alone"),
        pytest.param(NO_NETWORK, [], 0.5, "maximize", "*-*-*-*", id="nothing but a score"),
        pytest.param(NO_NETWORK, [], {"default": 0.5, "f1": 0.4}, "maximize", "*-*-*-*", id="a dict of scores"),
        pytest.param(
            NETWORKS, [{"default": 0.5, "loss": 1.0}] * 4, {"default": 0.5}, "maximize", "RA-SC-*-*", id="dicts"
        ),
        pytest.param(NETWORKS, [1.0, 0.9, 0.8, 0.7], 0.7, "minimize", "RA-NC-*-*", id="a falling loss"),
        pytest.param(NETWORKS, [1.0, 0.999, 0.998, 0.998], 0.998, "minimize", "RA-SC-*-*", id="a loss that stands"),
        pytest.param(NETWORKS, [0.5, math.nan], 0.5, "maximize", "RA-SC-*-*", id="not a number"),
        pytest.param(NETWORKS, [0.5], 0.5, "maximize", "RA-NC-*-*", id="too short to be slow"),
    ],
)
def test_the_condition_is_what_can_be_known(log_folder, space, epochs, final, mode, expected, with_assessor):
    assessor = DreamAssessor(optimize_mode=mode) if with_assessor else None
    manager = Manager(DreamTuner(seed=0, optimize_mode=mode, strategy="static"), assessor)
    manager.initialize(space)
    (record,) = manager.request()
    for index, value in enumerate(epochs):
        manager.intermediate("job", record["parameter_id"], index, value)
    manager.final("job", record["parameter_id"], final)
    manager.end("job", record["parameter_id"])
    manager.request()
    repair = [event for event in read_journal(log_folder / JOURNAL_NAME) if event["event"] == "suggestion"][1]
    assert repair["condition"] == expected
    assert repair["kind"] == "action"


@pytest.mark.parametrize("assessor", [DreamAssessor, MedianstopAssessor, None])
@pytest.mark.parametrize("mode", ["maximize", "minimize"])
def test_intermediate_results_alone(log_folder, assessor, mode):
    """The trial ends well without a final result: its best epoch counts, whoever assesses."""
    manager = Manager(DreamTuner(seed=0, optimize_mode=mode), assessor and assessor(optimize_mode=mode))
    manager.initialize(NETWORKS)
    (record,) = manager.request()
    for index, value in enumerate([0.4, 0.2, 0.7, 0.6]):
        manager.intermediate("job", record["parameter_id"], index, value)
    manager.end("job", record["parameter_id"])
    (result,) = [event for event in read_journal(log_folder / JOURNAL_NAME) if event["event"] == "result"]
    assert (result["job"], result["score"]) == ("job", 0.7 if mode == "maximize" else 0.2)
    assert result["condition"] == "RA-NC-*-*"
    assert manager.dispatcher.tuner.book.best().number == 0


TRAINING = {
    "lr": {"_type": "loguniform", "_value": [1e-5, 1]},
    "dropout": {"_type": "uniform", "_value": [0, 0.9]},
    "optimizer": {"_type": "choice", "_value": ["adam", "sgd", "rmsprop", "adagrad"]},
    "batch_size": {"_type": "choice", "_value": [16, 32, 64, 128, 256]},
    "hidden": {"_type": "randint", "_value": [8, 512]},
}
UNKNOWN = {f"p{index}": {"_type": "uniform", "_value": [-10, 10]} for index in range(4)}
DRAWERS = {
    "loguniform": lambda dice, low, high: math.exp(dice.uniform(math.log(low), math.log(high))),
    "uniform": lambda dice, low, high: dice.uniform(low, high),
    "randint": lambda dice, low, high: dice.randrange(low, high),
    "choice": lambda dice, *options: dice.choice(options),
}


def training_loss(parameters):
    """Lowest at a learning rate of 0.003, with a little of everything else."""
    return (
        (math.log10(parameters["lr"]) + 2.5) ** 2
        + 4 * (parameters["dropout"] - 0.3) ** 2
        + ["adam", "rmsprop", "sgd", "adagrad"].index(parameters["optimizer"]) / 5
        + abs(math.log2(parameters["batch_size"] / 64)) / 10
        + abs(math.log2(parameters["hidden"] / 180)) / 5
    )


def distance(parameters):
    return sum((value - 3) ** 2 for value in parameters.values())


@pytest.mark.parametrize(("space", "loss"), [(TRAINING, training_loss), (UNKNOWN, distance)], ids=["roles", "none"])
@pytest.mark.parametrize("planned_trials", [100, None])
@pytest.mark.parametrize("scale", [1, 0.001])
@pytest.mark.parametrize("seed", range(5))
def test_the_search_beats_a_coin(log_folder, space, loss, planned_trials, scale, seed):
    """Nothing but a plain number a trial: still every search ends below half of the blind ones of the same length."""
    n_trials = 100
    manager = Manager(DreamTuner(seed=seed, optimize_mode="minimize", planned_trials=planned_trials))
    manager.initialize(space)
    for number in range(n_trials):
        (record,) = manager.request()
        manager.final(f"job{number}", record["parameter_id"], scale * loss(record["parameters"]))
        manager.end(f"job{number}", record["parameter_id"])
    dice = random.Random(seed)

    def blind():
        return {name: DRAWERS[spec["_type"]](dice, *spec["_value"]) for name, spec in space.items()}

    blind_searches = [min(loss(blind()) for _ in range(n_trials)) for _ in range(101)]
    assert manager.dispatcher.tuner.book.best().score < scale * statistics.median(blind_searches)


@pytest.mark.parametrize("space_and_loss", [(TRAINING, training_loss), (UNKNOWN, distance)], ids=["roles", "none"])
@pytest.mark.parametrize("scale", [2**-20, 2**20])
def test_the_size_of_losses_makes_no_difference(space_and_loss, scale):
    space, loss = space_and_loss
    managers = [Manager(DreamTuner(seed=3, optimize_mode="minimize", planned_trials=30)) for _ in range(2)]
    for manager in managers:
        manager.initialize(space)
    for number in range(30):
        (plain,), (scaled,) = (manager.request() for manager in managers)
        assert plain["parameters"] == scaled["parameters"]
        for manager, factor in zip(managers, (1, scale), strict=True):
            manager.final(f"job{number}", plain["parameter_id"], factor * loss(plain["parameters"]))


class TestWithoutOurAssessor:
    """The tuner hears for itself what no assessor of ours is told."""

    @pytest.fixture(params=[None, MedianstopAssessor], ids=["none", "Medianstop"])
    def manager(self, request, log_folder):
        manager = Manager(DreamTuner(seed=0), request.param and request.param())
        manager.initialize(NO_NETWORK)
        return manager

    def states(self, manager):
        return [(record.status.value, record.score) for record in manager.dispatcher.tuner.book.records()]

    def test_the_end_of_a_job_names_another_trial(self, manager):
        first, second = manager.request(2)
        manager.intermediate("job0", second["parameter_id"], 0, 0.4)
        manager.end("job0", first["parameter_id"], "FAILED")
        assert self.states(manager) == [("running", None), ("failed", None)]

    def test_a_result_after_the_end_counts_more_than_the_best_epoch(self, manager):
        (record,) = manager.request()
        manager.intermediate("job0", record["parameter_id"], 0, 0.4)
        manager.end("job0", record["parameter_id"])
        manager.final("job0", record["parameter_id"], 0.3)
        assert self.states(manager) == [("succeeded", 0.3)]

    def test_a_cancelled_trial_counts_with_what_it_reported(self, manager):
        (record,) = manager.request()
        for index, value in enumerate([0.6, 0.9, 0.8]):
            manager.intermediate("job0", record["parameter_id"], index, value)
        manager.end("job0", record["parameter_id"], "EARLY_STOPPED")
        assert self.states(manager) == [("stopped", 0.9)]

    def test_what_comes_after_the_end_is_left_out(self, manager):
        (record,) = manager.request()
        manager.intermediate("job0", record["parameter_id"], 0, 0.4)
        manager.end("job0", record["parameter_id"])
        manager.intermediate("job0", record["parameter_id"], 1, 0.9)
        assert self.states(manager) == [("succeeded", 0.4)]

    def test_the_end_of_a_trial_of_an_earlier_process_is_not_the_next_ones(self, manager, log_folder, start):
        """NNI tells a tuner nothing of it; the next end must not be taken for it."""
        old, new = manager.request(2)
        resumed = start(NO_NETWORK, assessor=False)
        replay(resumed, [], [old])
        (again,) = resumed.request()
        assert again["parameters"] == new["parameters"]
        resumed.end("old job", old["parameter_id"], "FAILED")
        resumed.end("new job", again["parameter_id"], "FAILED")
        assert self.states(resumed) == [("running", None), ("failed", None)]


class TestWhichTrialItWas:
    """The assessor hears of the job only; the id inside a metric says which parameters the job was given."""

    @pytest.fixture
    def manager(self, log_folder):
        manager = Manager(DreamTuner(seed=0), DreamAssessor(planned_epochs=10, patience=100, slow_share=0.5))
        manager.initialize(NO_NETWORK)
        return manager

    def statuses(self, manager):
        return [(record.status.value, record.score) for record in manager.dispatcher.tuner.book.records()]

    def test_a_stopped_trial_counts_with_the_best_score_that_it_reported(self, manager, log_folder):
        (record,) = manager.request()
        for index, value in enumerate([0.3, 0.7, 0.6, math.nan]):
            manager.intermediate("job", record["parameter_id"], index, value)
        manager.end("job", record["parameter_id"], "EARLY_STOPPED")
        assert manager.killed_jobs() == ["job"]
        assert self.statuses(manager) == [("stopped", 0.7)]
        (stop,) = [event for event in read_journal(log_folder / JOURNAL_NAME) if event["event"] == "stop"]
        assert (stop["trial"], stop["parameters"], stop["score"]) == (0, record["parameters"], 0.7)
        assert (stop["rule"], stop["epoch"]) == ("non-finite", 3)

    def test_a_slow_one_is_stopped_where_the_epochs_are_planned(self, manager):
        *best, slow = manager.request(4)
        for index, record in enumerate(best):
            for epoch in range(10):
                manager.intermediate(f"job{index}", record["parameter_id"], epoch, 0.5 + epoch / 30)
            manager.final(f"job{index}", record["parameter_id"], 0.8)
        for epoch in range(6):
            manager.intermediate("slow", slow["parameter_id"], epoch, 0.2)
        manager.end("slow", slow["parameter_id"], "EARLY_STOPPED")
        assert self.statuses(manager) == [("succeeded", 0.8)] * 3 + [("stopped", 0.2)]

    @pytest.mark.parametrize("event", ["USER_CANCELED", "EARLY_STOPPED", "SYS_CANCELED"])
    def test_one_that_is_cancelled_counts_with_what_it_reported(self, manager, log_folder, start, event):
        """On the web page, by another assessor, or for its time (maxTrialDuration)."""
        (record,) = manager.request()
        for index, value in enumerate([0.3, 0.7, 0.6]):
            manager.intermediate("job", record["parameter_id"], index, value)
        manager.end("job", record["parameter_id"], event)
        assert manager.killed_jobs() == []
        assert self.statuses(manager) == [("stopped", 0.7)]
        (stop,) = [event for event in read_journal(log_folder / JOURNAL_NAME) if event["event"] == "stop"]
        assert (stop["trial"], stop["job"], stop["score"], stop["n_epochs"]) == (0, "job", 0.7, 3)
        assert (stop["rule"], stop["text"], stop["epoch"]) == ("cancelled", "ended from outside", 2)
        assert self.statuses(start(NO_NETWORK)) == [("stopped", 0.7)]

    def test_a_result_that_came_before_the_cancellation_counts(self, manager):
        (record,) = manager.request()
        manager.intermediate("job", record["parameter_id"], 0, 0.3)
        manager.final("job", record["parameter_id"], 0.8)
        manager.end("job", record["parameter_id"], "USER_CANCELED")
        assert self.statuses(manager) == [("succeeded", 0.8)]

    def test_it_is_known_again_after_a_resume(self, manager, log_folder, start):
        (record,) = manager.request()
        for index, value in enumerate([0.3, math.nan]):
            manager.intermediate("job", record["parameter_id"], index, value)
        resumed = start(NO_NETWORK)
        assert self.statuses(resumed) == [("stopped", 0.3)]
        assert resumed.dispatcher.tuner.book.records()[0].stop.rule == "non-finite"

    def test_the_end_names_another_trial(self, manager):
        """NNI gave the first job the second's parameters, and names its own record at the end."""
        first, second = manager.request(2)
        manager.intermediate("job0", second["parameter_id"], 0, 0.4)
        manager.intermediate("job0", second["parameter_id"], 1, math.nan)
        manager.end("job0", first["parameter_id"], "EARLY_STOPPED")
        assert self.statuses(manager) == [("running", None), ("stopped", 0.4)]

    def test_a_crash_is_its_own(self, manager):
        first, second = manager.request(2)
        manager.intermediate("job0", second["parameter_id"], 0, 0.4)
        manager.end("job0", first["parameter_id"], "FAILED")
        assert self.statuses(manager) == [("running", None), ("failed", None)]

    def test_one_that_never_reported_is_stopped_by_nobody(self, manager):
        (record,) = manager.request()
        manager.end("job", record["parameter_id"], "USER_CANCELED")
        assert self.statuses(manager) == [("failed", None)]

    def test_an_id_that_nobody_knows(self, manager, log_folder):
        """The trial of an unfinished earlier experiment, say: stopped all the same, and joined to nothing."""
        manager.request()
        manager.intermediate("job", 77, 0, math.nan)
        assert manager.killed_jobs() == ["job"]
        assert self.statuses(manager) == [("running", None)]
        (stop,) = [event for event in read_journal(log_folder / JOURNAL_NAME) if event["event"] == "stop"]
        assert stop["trial"] is None
