"""The trial's side of NNI: a fake channel stands for the manager, and no test waits."""

import json
import logging
import math
from types import SimpleNamespace

import nni
import pytest
from nni.runtime import env_vars, trial_command_channel
from nni.runtime.trial_command_channel import TrialCommandChannel, set_default_trial_command_channel

from nni_dream.reporting import FEEDBACK_FILE, InMemoryReporter, TrialReporter, current_parameters

PARAMETERS = {"learning_rate": 0.1, "optimizer": "sgd"}


class FakeChannel(TrialCommandChannel):
    """Hands out one parameter set, and raises for the first `n_failures` sends."""

    def __init__(self, n_failures=0, error=ConnectionError):
        self.metrics = []  # (type, sequence, value)
        self.n_attempts = 0
        self.n_failures = n_failures
        self.error = error

    def receive_parameter(self):
        return {"parameter_id": 7, "parameters": PARAMETERS}

    def send_metric(self, type, parameter_id, trial_job_id, sequence, value):
        self.n_attempts += 1
        if self.n_attempts <= self.n_failures:
            raise self.error("the manager is away")
        assert parameter_id == 7
        self.metrics.append((type, sequence, value))


@pytest.fixture
def inside_nni(monkeypatch, tmp_path):
    """Returns a function that puts this process inside NNI, with a given channel."""
    environment = env_vars.trial_env_vars._replace(
        NNI_PLATFORM="local", NNI_TRIAL_JOB_ID="abcde", NNI_OUTPUT_DIR=str(tmp_path / "output")
    )

    def enter(channel):
        monkeypatch.setattr(env_vars, "trial_env_vars", environment)
        monkeypatch.setattr("nni.trial.trial_env_vars", environment)
        monkeypatch.setattr("nni.trial._params", None)
        monkeypatch.setattr("nni.trial._intermediate_seq", 0)
        monkeypatch.setattr(trial_command_channel, "_channel", None)
        set_default_trial_command_channel(channel)
        return SimpleNamespace(channel=channel, file=tmp_path / "output" / FEEDBACK_FILE)

    return enter


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_metrics_arrive_in_order_and_are_kept_in_a_file(inside_nni):
    trial = inside_nni(FakeChannel())
    nni.get_next_parameter()
    reporter = TrialReporter()

    reporter.report_intermediate({"default": 0.5})
    reporter.report_intermediate({"default": 0.6, "dream": {"version": 1}})
    reporter.report_final({"default": 0.6})

    assert trial.channel.metrics == [
        ("PERIODICAL", 0, {"default": 0.5}),
        ("PERIODICAL", 1, {"default": 0.6, "dream": {"version": 1}}),
        ("FINAL", 0, {"default": 0.6}),
    ]
    assert read_lines(trial.file) == [value for _, _, value in trial.channel.metrics]


def test_a_channel_that_fails_twice_gets_each_metric_once_and_in_order(inside_nni):
    trial = inside_nni(FakeChannel(n_failures=2))
    nni.get_next_parameter()
    reporter = TrialReporter(retry_delays=(0, 0, 0))

    reporter.report_intermediate({"default": 0.5})
    reporter.report_intermediate({"default": 0.6})

    assert trial.channel.n_attempts == 4
    assert trial.channel.metrics == [("PERIODICAL", 0, {"default": 0.5}), ("PERIODICAL", 1, {"default": 0.6})]
    assert read_lines(trial.file) == [{"default": 0.5}, {"default": 0.6}]


def test_a_channel_that_always_fails_is_logged_and_the_copy_stays(inside_nni, caplog):
    trial = inside_nni(FakeChannel(n_failures=100))
    nni.get_next_parameter()

    TrialReporter(retry_delays=(0, 0)).report_final({"default": 0.5})

    assert trial.channel.n_attempts == 3
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "ERROR"]
    assert "the final result could not be sent to NNI; training goes on" in caplog.text
    assert read_lines(trial.file) == [{"default": 0.5}]


def test_after_a_result_that_was_given_up_the_next_ones_do_not_wait_until_one_arrives(inside_nni):
    """A trial whose manager is gone for good must not live on for its delays at every epoch."""
    trial = inside_nni(FakeChannel(n_failures=4))
    nni.get_next_parameter()
    reporter = TrialReporter(retry_delays=(0, 0))
    attempts = []
    for epoch in range(4):
        reporter.report_intermediate({"default": float(epoch)})
        attempts.append(trial.channel.n_attempts)
    assert attempts == [3, 4, 5, 6]  # given up after three, one attempt that fails, and then the manager is back
    assert [value["default"] for _, _, value in trial.channel.metrics] == [2.0, 3.0]
    trial.channel.n_failures = 8
    reporter.report_intermediate({"default": 4.0})
    assert trial.channel.n_attempts == 9  # it had arrived again, so that a failure is waited for again


def test_the_delays_are_waited_between_the_attempts(inside_nni, monkeypatch):
    inside_nni(FakeChannel(n_failures=100))
    nni.get_next_parameter()
    waits = []
    monkeypatch.setattr("nni_dream.reporting.time.sleep", waits.append)

    TrialReporter(retry_delays=(1, 3, 9)).report_final({"default": 0.5})

    assert waits == [1, 3, 9]


def test_what_is_no_connection_error_is_not_tried_again(inside_nni, caplog):
    trial = inside_nni(FakeChannel(n_failures=100, error=RuntimeError))
    nni.get_next_parameter()

    TrialReporter(retry_delays=(0, 0)).report_intermediate({"default": 0.5})

    assert trial.channel.n_attempts == 1
    assert "the manager is away" in caplog.text


def test_a_trial_that_never_asked_for_parameters_is_told_so_in_the_log(inside_nni, caplog):
    inside_nni(FakeChannel())
    TrialReporter().report_intermediate({"default": 0.5})
    assert "nni.get_next_parameter() needs to be called before" in caplog.text


def test_the_copy_is_strict_json(inside_nni, caplog):
    trial = inside_nni(FakeChannel())
    nni.get_next_parameter()

    TrialReporter().report_intermediate({"default": float("nan")})

    assert not trial.file.exists()
    assert "no copy of a result" in caplog.text


def test_an_output_folder_that_cannot_be_written_does_not_stop_the_report(inside_nni, caplog):
    trial = inside_nni(FakeChannel())
    trial.file.parent.write_text("a file where the folder should be")
    nni.get_next_parameter()

    TrialReporter().report_intermediate({"default": 0.5})

    assert trial.channel.metrics == [("PERIODICAL", 0, {"default": 0.5})]
    assert "no copy of a result" in caplog.text


def test_without_an_output_folder_there_is_no_copy(inside_nni, monkeypatch):
    trial = inside_nni(FakeChannel())
    monkeypatch.setattr(env_vars, "trial_env_vars", env_vars.trial_env_vars._replace(NNI_OUTPUT_DIR=None))
    nni.get_next_parameter()

    TrialReporter().report_intermediate({"default": 0.5})

    assert len(trial.channel.metrics) == 1
    assert not trial.file.exists()


def test_outside_nni_a_result_is_one_log_line(caplog):
    caplog.set_level(logging.INFO, logger="nni_dream.reporting")
    TrialReporter().report_intermediate({"default": 0.5, "dream": {}})
    TrialReporter().report_final({"default": 0.75})
    assert [record.getMessage() for record in caplog.records] == [
        "not run by NNI; intermediate result: default = 0.5",
        "not run by NNI; final result: default = 0.75",
    ]


def test_the_reporter_in_memory_keeps_every_metric_and_sends_none(inside_nni):
    trial = inside_nni(FakeChannel())
    reporter = InMemoryReporter()
    metrics = [{"default": 0.5}, {"default": 0.75}]
    for metric in metrics:
        reporter.report_intermediate(metric)
    reporter.report_final(metrics[1])
    assert (reporter.intermediate, reporter.final) == (metrics, metrics[1:])
    assert trial.channel.metrics == []
    assert not trial.file.exists()


def test_current_parameters_are_those_that_nni_handed_out(inside_nni):
    inside_nni(FakeChannel())
    assert current_parameters() is None  # not asked for yet
    nni.get_next_parameter()
    assert current_parameters() == PARAMETERS


def test_current_parameters_stay_what_they_were_when_the_trial_changes_its_own(inside_nni, monkeypatch):
    inside_nni(FakeChannel())
    own = {"optimizer": {"_name": "sgd"}}
    monkeypatch.setattr("nni.trial._params", {"parameter_id": 0, "parameters": own})
    told = current_parameters()
    own["optimizer"].pop("_name")
    assert told == {"optimizer": {"_name": "sgd"}}


@pytest.mark.parametrize("value", [object(), math.nan, {1, 2}])
def test_current_parameters_that_are_no_json_any_more_are_not_told(inside_nni, caplog, value):
    inside_nni(FakeChannel())
    nni.get_next_parameter()["device"] = value
    assert current_parameters() is None
    assert "are no JSON any more" in caplog.text


def test_outside_nni_there_are_no_current_parameters(monkeypatch):
    monkeypatch.setattr("nni.trial._params", {"parameter_id": None, "parameters": {}})
    assert current_parameters() is None
