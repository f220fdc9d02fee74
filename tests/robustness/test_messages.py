"""Nothing that a trial or NNI's manager sends kills the search."""

from __future__ import annotations

import json
import logging
import math
import time
from typing import Any

import hypothesis.strategies as st
import nni
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from nni.runtime.tuner_command_channel import CommandType
from robustness.conftest import SPACE, new_process

from nni_dream.feedback import EpochFeedback, TrialFeedback, epoch_metric, final_metric
from nni_dream.journal import JOURNAL_NAME, read_journal
from nni_dream.outcomes import feedback_for_journal
from nni_dream.report.summary import summarise
from nni_dream.search.space import SearchSpace, canonical_json

OTHER_SPACE = {
    "x": {"_type": "choice", "_value": [3, 4, 5, 6]},
    "rate": {"_type": "loguniform", "_value": [1e-4, 1]},
}
SPACES = {"first": SPACE, "other": OTHER_SPACE}


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
    "tensor": torch.tensor(0.5),
    "tensor as default": {"default": torch.tensor([0.5, 0.6])},
    "array": np.ones((3, 3)),
}


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
    assert book.n_malformed["unreadable message"] == 0
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
    summary = summarise(read_journal(log_folder / JOURNAL_NAME))
    assert summary.malformed == (("foreign feedback", 5), ("no score", 5))


def test_ten_thousand_intermediate_results(start):
    """What one costs must not grow with what came before: the whole trial takes seconds, not minutes."""
    n = 10_000
    manager = start()
    (record,) = manager.request()
    assessor = manager.dispatcher.assessor
    numbers = {"gradient_ratio": 1.0, "dead_unit_share": 0.0, "weight_norm": 1.0, "n_layers": 3}
    history: list[Any] = []
    started = time.process_time()
    for index in range(n):
        epoch = EpochFeedback(epoch=index, val_score=index / n, **numbers)
        history.append(epoch_metric(TrialFeedback(parameters=record["parameters"], epochs=(epoch,)), index / n))
        assessor.assess_trial("job0", history)
    seconds = time.process_time() - started
    assert len(manager.dispatcher.tuner.book.records()[0].feedback.epochs) == n
    assert seconds < 20


def test_a_tuner_that_cannot_suggest_anything_says_so(start, monkeypatch):
    """NNI does not ask again: without a word the experiment would be RUNNING for ever."""
    manager = start(strategy="static")
    monkeypatch.setattr("nni_dream.tuner.suggest_unseen", lambda *_: 1 / 0)
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

    @initialize()
    def begin(self) -> None:
        path = self.folder / JOURNAL_NAME
        path.unlink(missing_ok=True)
        self.space = "first"
        self.given: set[str] = set()  # identities of all suggestions
        self.again: set[str] = set()  # those that a resume may give out once more
        self.records: list[dict[str, Any]] = []
        self.manager = new_process()
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
        self.manager = new_process(SPACES[self.space])
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


# Each sequence starts its own dispatcher and resumes it a few times.
@pytest.mark.usefixtures("fresh_dispatcher")
def test_no_sequence_of_messages_harms_the_search(log_folder, caplog):
    caplog.set_level(logging.CRITICAL, "nni")
    caplog.set_level(logging.ERROR, "nni_dream")
    failures: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: failures.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("nni_dream.callbacks").addHandler(handler)
    Messages.folder = log_folder
    try:
        from hypothesis.stateful import run_state_machine_as_test

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
    finally:
        logging.getLogger("nni_dream.callbacks").removeHandler(handler)
    assert failures == []  # a callback that raised was caught, but it is a defect all the same
