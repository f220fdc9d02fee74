"""Nothing that a trial or NNI's manager sends kills the search."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import random
import sys
import threading
from typing import Any

import hypothesis.strategies as st
import nni
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from nni.runtime.tuner_command_channel import CommandType
from robustness.conftest import SPACE, new_process

from nni_dream.feedback import EpochFeedback, TrialFeedback, epoch_metric, final_metric
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.outcomes import feedback_for_journal
from nni_dream.report.summary import summarise
from nni_dream.resume import recall
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import SearchSpace

OTHER_SPACE = {
    "x": {"_type": "choice", "_value": [3, 4, 5, 6]},
    "rate": {"_type": "loguniform", "_value": [1e-4, 1]},
}
SPACES = {"first": SPACE, "other": OTHER_SPACE}
DEADLOCK_SECONDS = 60  # a mixture of messages takes less than one


def nested(n_levels: int) -> str:
    """JSON text, since Python itself cannot write so many levels."""
    return '{"default": 0.5, "deep": ' + "[" * n_levels + "]" * n_levels + "}"


def send_text(manager: Any, kind: str, job: str, parameter_id: int | None, text: str) -> None:
    """A metric as the trial wrote it, byte for byte."""
    data = {"parameter_id": parameter_id, "trial_job_id": job, "type": kind, "sequence": 0, "value": text}
    manager.dispatcher.process_command(CommandType.ReportMetricData, data)


RUBBISH = {
    "nan": math.nan,
    "infinity": -math.inf,
    "text": "0.5",
    "nothing": None,
    "list": [0.5],
    "true": True,
    "no default": {"accuracy": 0.5},
    "text as default": {"default": "good"},
    "huge integer": {"default": 10**400},
    "megabyte": {"default": 0.5, "text": "x" * 1_000_000},
    "megabyte under our key": {"default": 0.5, "dream": "x" * 1_000_000},
    "another version": {"default": 0.5, "dream": '{"version": 99}'},
    "another schema": {"default": 0.5, "dream": '{"version": 1, "epochs": [{"epoch": -1}]}'},
    "our key is an object": {"default": 0.5, "dream": {"version": 1}},
    "our key is a number": {"default": 0.5, "dream": 7},
    "nan under our key": {"default": 0.5, "dream": '{"version": 1, "epochs": [{"epoch": 0, "val_score": NaN}]}'},
    "nested": {"default": 0.5, "dream": nested(1000)},
    "array": np.ones((3, 3)),
}
if importlib.util.find_spec("torch") is not None:  # the dispatcher does without
    import torch

    RUBBISH |= {"tensor": torch.tensor(0.5), "tensor as default": {"default": torch.tensor([0.5, 0.6])}}


@pytest.mark.parametrize("metric", RUBBISH.values(), ids=RUBBISH.keys())
def test_whatever_a_trial_sends_the_search_goes_on(start, metric):
    manager = start()
    first, second = manager.request(2)
    manager.intermediate("job0", first["parameter_id"], 0, metric)
    manager.final("job0", first["parameter_id"], metric)
    manager.end("job0", first["parameter_id"])
    manager.final("job1", second["parameter_id"], 0.25)
    book = manager.dispatcher.tuner.book
    assert book.find(second["parameters"]).score == 0.25
    assert book.malformed.n["unreadable message"] == 0
    assert len(manager.request(2)) == 2


@pytest.mark.parametrize("n_levels", [10, 300, 900, 1_000, 100_000])
@pytest.mark.parametrize("kind", ["PERIODICAL", "FINAL"])
def test_json_of_many_levels(start, kind, n_levels):
    """NNI's dispatcher itself cannot read some thousand levels: without our guard its thread would end here."""
    manager = start()
    first, second = manager.request(2)
    send_text(manager, kind, "job0", first["parameter_id"], nested(n_levels))
    manager.final("job1", second["parameter_id"], 0.25)
    assert manager.dispatcher.tuner.book.find(second["parameters"]).score == 0.25
    assert len(manager.request()) == 1


def test_a_message_that_nni_cannot_process_is_counted(start, log_folder, caplog):
    manager = start()
    (record,) = manager.request()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            send_text(manager, "FINAL", "job0", record["parameter_id"], nested(100_000))
    manager.end("job0", record["parameter_id"], "FAILED")
    assert caplog.text.count("unreadable message") == 1
    summary = summarise(read_journal(log_folder / JOURNAL_NAME))
    assert summary.malformed == (("unreadable message", 3),)


def test_what_is_wrong_is_counted_logged_once_and_summed_up(start, log_folder, caplog):
    manager = start()
    (record,) = manager.request()
    with caplog.at_level(logging.WARNING):
        for index in range(5):
            manager.intermediate("job0", record["parameter_id"], index, {"default": 0.5, "dream": "{}}"})
            manager.intermediate("job1", record["parameter_id"], index, "text")
    manager.final("job0", record["parameter_id"], 0.5)
    assert caplog.text.count("logged once") == 2
    assert "no score: metric 'text' has no number under 'default' (logged once)" in caplog.text
    summary = summarise(read_journal(log_folder / JOURNAL_NAME))
    assert summary.malformed == (("foreign feedback", 5), ("no score", 5))


def n_calls(function, *arguments):
    """How many calls, of Python's and of C's functions, a call leads to: its cost, whatever else the machine does."""
    count = 0

    def profile(_, event, __):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("with_assessor", [True, False])
def test_ten_thousand_intermediate_results(start, with_assessor):
    """The last costs what the first did: nothing in a report walks over what came before."""
    n = 10_000
    manager = start(assessor=with_assessor)
    (record,) = manager.request()
    numbers = {"gradient_ratio": 1.0, "dead_unit_share": 0.0, "weight_norm": 1.0, "n_layers": 3}
    history: list[Any] = []

    def report(index):
        if with_assessor:  # NNI's own list of all results grows; what is ours begins here
            manager.dispatcher.assessor.assess_trial("job0", history)
        else:
            manager.intermediate("job0", record["parameter_id"], index, history[-1])

    costs = {}
    for index in range(n):
        epoch = EpochFeedback(epoch=index, val_score=index / n, **numbers)
        history.append(epoch_metric(TrialFeedback(parameters=record["parameters"], epochs=(epoch,)), index / n))
        if index in (99, n - 1):
            costs[index] = n_calls(report, index)
        else:
            report(index)
    assert len(manager.dispatcher.tuner.book.records()[0].feedback.epochs) == n
    assert costs[n - 1] < 2 * costs[99], costs


def test_a_tuner_that_cannot_suggest_anything_says_so(start, monkeypatch):
    """NNI does not ask again: without a word the experiment would be RUNNING for ever."""
    manager = start(strategy="static")
    monkeypatch.setattr("nni_dream.suggester.suggest_unseen", lambda *_: 1 / 0)
    assert manager.request(2) == []
    (error,) = [data for command, data in manager.channel.sent if command is CommandType.Error]
    assert error == "DreamTuner cannot suggest a configuration: ZeroDivisionError: division by zero"


@pytest.mark.parametrize(("n_epochs", "kept"), [(500, 500), (501, 500), (10_000, 500)])
def test_the_journal_keeps_a_bounded_number_of_epochs(n_epochs, kept):
    feedback = TrialFeedback(epochs=tuple(EpochFeedback(epoch=index, val_score=0.5) for index in range(n_epochs)))
    epochs = feedback_for_journal(feedback)["epochs"]
    assert len(epochs) == kept
    assert (epochs[0]["epoch"], epochs[-1]["epoch"]) == (0, n_epochs - 1)


class Messages(RuleBasedStateMachine):
    """NNI's commands in any order, duplicated, late, with wrong ids; between them the process dies and resumes."""

    folder: Any  # the log folder, set by the test

    @initialize(
        strategy=st.sampled_from(["learning", "static", "beam", "random"]),
        target_score=st.sampled_from([None, 0.9]),
        assessor=st.booleans(),
    )
    def begin(self, strategy: str, target_score: float | None, assessor: bool) -> None:
        path = self.folder / JOURNAL_NAME
        path.unlink(missing_ok=True)
        self.space = "first"
        self.given: set[str] = set()  # identities of all suggestions
        self.again: set[str] = set()  # those that a resume may give out once more
        self.records: list[dict[str, Any]] = []
        self.settings = {"strategy": strategy, "target_score": target_score, "assessor": assessor}
        self.manager = new_process(**self.settings)
        self.request(2)

    def parameter_id(self, index: int) -> int | None:
        if index == 0 or not self.records:
            return None if index % 2 == 0 else 77
        return int(self.records[index % len(self.records)]["parameter_id"])

    def metric(self, form: int, index: int, value: float) -> Any:
        parameters = self.records[index % len(self.records)]["parameters"] if self.records else {"x": 0}
        epoch = EpochFeedback(epoch=index, val_score=value, n_nonfinite_weights=int(form == 3))
        feedback = TrialFeedback(parameters=parameters, planned_epochs=10, epochs=(epoch,))
        forms = [value, {"default": value}, epoch_metric(feedback, value), epoch_metric(feedback, value)]
        return forms[form] if form < 4 else final_metric(feedback, value, epoch)

    @rule(n=st.integers(0, 5))
    def request(self, n: int) -> None:
        for record in self.manager.request(n):
            identity = canonical_json(record["parameters"])
            assert identity not in self.given or identity in self.again
            self.again.discard(identity)
            self.given.add(identity)
            self.records.append(record)
            SearchSpace(SPACES[self.space]).check(record["parameters"])

    @rule(
        kind=st.sampled_from(["PERIODICAL", "FINAL"]),
        job=st.integers(0, 4),
        index=st.integers(0, 9),
        sequence=st.integers(0, 6),
        form=st.integers(0, 4),
        value=st.floats(0, 1),
    )
    def report(self, kind: str, job: int, index: int, sequence: int, form: int, value: float) -> None:
        text = nni.dump(self.metric(form, index, value))
        data = {"parameter_id": self.parameter_id(index), "trial_job_id": f"job{job}", "type": kind}
        data |= {"sequence": sequence, "value": text}
        self.manager.dispatcher.process_command(CommandType.ReportMetricData, data)

    @rule(name=st.sampled_from(sorted(set(RUBBISH) - {"megabyte", "megabyte under our key"})), index=st.integers(0, 9))
    def report_rubbish(self, name: str, index: int) -> None:
        self.manager.final("rubbish", self.parameter_id(index), RUBBISH[name])
        self.manager.intermediate("rubbish", self.parameter_id(index), index, RUBBISH[name])

    @rule(
        value=st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=8,
        ),
        index=st.integers(0, 9),
    )
    def report_any_json(self, value: Any, index: int) -> None:
        self.manager.final(f"any{index}", self.parameter_id(index), {"default": value, "dream": json.dumps(value)})
        self.manager.final(f"any{index}", self.parameter_id(index), value)

    @rule(
        job=st.integers(0, 4),
        index=st.integers(0, 9),
        event=st.sampled_from(["SUCCEEDED", "FAILED", "USER_CANCELED", "EARLY_STOPPED"]),
    )
    def end(self, job: int, index: int, event: str) -> None:
        self.manager.end(f"job{job}", self.parameter_id(index), event)

    @rule(index=st.integers(0, 9), value=st.floats(0, 1), with_job=st.booleans())
    def import_data(self, index: int, value: float, with_job: bool) -> None:
        parameters = self.records[index % len(self.records)]["parameters"] if self.records else {"x": 1}
        entry = {"parameter": parameters, "value": value} | ({"trialJobId": f"job{index}"} if with_job else {})
        self.manager.import_data([entry, {"parameter": None, "value": None}, {"value": "3"}])

    @rule(space=st.sampled_from(sorted(SPACES)))
    def change_space(self, space: str) -> None:
        self.space = space
        self.manager.update_search_space(SPACES[space])

    @rule(space=st.sampled_from([{}, {"x": 3}, [], {"x": {"_type": "choice", "_value": []}}]))
    def refuse_space(self, space: Any) -> None:
        self.manager.update_search_space(space)

    @rule()
    def ping(self) -> None:
        self.manager.dispatcher.process_command(CommandType.Ping, None)

    @rule(share=st.sampled_from([0, 1, 2]))
    def resume(self, share: int) -> None:
        """The process is killed; NNI starts every unfinished trial again, or each second one, or none."""
        before = self.knowledge()
        self.manager = new_process(SPACES[self.space], **self.settings)
        assert self.knowledge() == before
        book = self.manager.dispatcher.tuner.book
        unfinished = [record for record in self.records if book.find(record["parameters"]).status.value == "running"]
        restarted = [record for index, record in enumerate(unfinished) if share and index % share == 0]
        self.manager.dispatcher.process_command(CommandType.AddCustomizedTrialJob, restarted)
        self.again = {canonical_json(record["parameters"]) for record in unfinished}
        self.request(2)  # NNI's manager asks in the same breath

    def knowledge(self) -> list[Any]:
        records = self.manager.dispatcher.tuner.book.records()
        # Of a trial that still runs, what it reported so far is not kept: it starts again.
        return [(record.number, record.configuration, record.status, record.score) for record in records]

    @invariant()
    def every_record_is_whole(self) -> None:
        book = self.manager.dispatcher.tuner.book
        numbers = [record.number for record in book.records()]
        assert numbers == list(range(len(numbers)))
        assert self.manager.dispatcher.worker_exceptions == []
        assert CommandType.Error not in self.manager.commands()


@pytest.fixture
def failures(caplog):
    """The callbacks that raised: each was caught, but it is a defect all the same."""
    caplog.set_level(logging.CRITICAL, "nni")
    caplog.set_level(logging.ERROR, "nni_dream")
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("nni_dream.callbacks")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


# Each sequence starts its own dispatcher and resumes it a few times.
@pytest.mark.usefixtures("fresh_dispatcher")
def test_no_sequence_of_messages_harms_the_search(log_folder, failures):
    Messages.folder = log_folder
    run_state_machine_as_test(
        Messages,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert failures == []


class TwoThreads:
    """Random messages on the two threads of NNI's dispatcher, each in its own order, mixed as the threads run.

    On one come requests, results, changes of the space and imports, on the other epochs and ends.
    """

    N_ROUNDS = 30

    def __init__(self, manager: Any, seed: int) -> None:
        self.manager = manager
        self.seed = seed
        self.space: Any = SPACE
        self.is_over = threading.Event()  # nothing comes on the first thread any more
        self.records: list[dict[str, Any]] = []
        self.suggested: list[tuple[Any, Any]] = []  # the search space of the moment, and the configuration

    def run(self) -> None:
        """Return when both threads have come to their end, which a deadlock would keep them from."""
        self.request(4)
        threads = [threading.Thread(target=target, daemon=True) for target in (self.default, self.assessor)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLOCK_SECONDS)
        assert not any(thread.is_alive() for thread in threads)

    def request(self, n: int) -> None:
        new = self.manager.request(n)
        self.records += new
        self.suggested += [(self.space, record["parameters"]) for record in new]

    def default(self) -> None:
        dice = random.Random(self.seed)
        for number in range(self.N_ROUNDS):
            self.request(dice.randint(1, 3))
            if dice.random() < 0.1:
                self.space = dice.choice([SPACE, OTHER_SPACE])
                self.manager.update_search_space(self.space)
            record = dice.choice(self.records)
            parameters, score = record["parameters"], dice.random()
            if dice.random() < 0.1:
                self.manager.import_data([{"parameter": parameters, "value": score, "trialJobId": f"old{number}"}])
            metric = dice.choice([score, math.nan, final_metric(TrialFeedback(parameters=parameters), score, None)])
            self.manager.final(f"job{dice.randrange(self.N_ROUNDS)}", record["parameter_id"], metric)
        self.is_over.set()

    def assessor(self) -> None:
        dice = random.Random(-self.seed)
        while not self.is_over.is_set():
            job, record = f"job{dice.randrange(self.N_ROUNDS)}", dice.choice(self.records)
            epoch = EpochFeedback(epoch=0, val_score=dice.random(), n_nonfinite_weights=int(dice.random() < 0.2))
            told = epoch_metric(TrialFeedback(parameters=record["parameters"], epochs=(epoch,)), epoch.val_score)
            metric = dice.choice([epoch.val_score, "rubbish", told])
            self.manager.intermediate(job, record["parameter_id"], 0, metric)
            if dice.random() < 0.3:
                self.manager.end(job, record["parameter_id"], dice.choice(["SUCCEEDED", "FAILED", "USER_CANCELED"]))


@pytest.mark.parametrize("assessor", [True, False])
@pytest.mark.parametrize("strategy", ["learning", "static"])
@pytest.mark.parametrize("seed", range(1, 4))
def test_no_mixture_of_two_threads_harms_the_search(
    start, log_folder, failures, switching_often, seed, strategy, assessor
):
    messages = TwoThreads(start(strategy=strategy, assessor=assessor), seed)
    messages.run()
    assert failures == []
    book = messages.manager.dispatcher.tuner.book
    assert book.malformed.n["unreadable message"] == 0
    for space, parameters in messages.suggested:
        SearchSpace(space).check(parameters)
    identities = {canonical_json(parameters) for _, parameters in messages.suggested}
    assert len(identities) == len(messages.suggested) > 30
    records = book.records()
    assert [record.number for record in records] == list(range(len(records)))
    lines = (log_folder / JOURNAL_NAME).read_text().splitlines()
    assert [json.loads(line) for line in lines] == list(read_journal(log_folder / JOURNAL_NAME))
    # What a resume makes of it is what the search knew: no event was lost or torn between the threads.
    known = {record.number: (record.configuration, record.score) for record in records if record.score is not None}
    recalled = recall(read_journal(log_folder / JOURNAL_NAME)).records.values()
    assert {each.number: (each.configuration, each.score) for each in recalled if each.score is not None} == known


@pytest.fixture
def switching_often():
    """Python changes between threads after every few instructions, not every five milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
