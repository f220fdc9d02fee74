"""What a tuner tells NNI's manager by its REST interface, on a server that answers like it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from nni_dream.manager import (
    LocalTrial,
    end_after_running_trials,
    end_and_cancel_trials,
    local_trial,
    manager_url,
    trial_limit,
)


class Answers(BaseHTTPRequestHandler):
    """NNI's manager as far as it is asked here."""

    jobs: list[dict[str, str]] = []  # noqa: RUF012 -- set by each test
    changes: list[tuple[str, dict]] = []  # noqa: RUF012
    statuses: list[str] = []  # noqa: RUF012 -- the experiment's, one for each time it is asked, the last for ever
    started_late: list[dict[str, str]] = []  # noqa: RUF012 -- jobs that are listed only once the limit was seen
    cancelled: list[str] = []  # noqa: RUF012
    starts_late_at = 0  # so many requests for the status from now they are listed too
    n_failures = 0  # DELETE requests still to be answered with an error

    def do_GET(self):
        if self.path.endswith("/check-status"):
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
            Answers.starts_late_at -= 1
            if status == "NO_MORE_TRIAL" or Answers.starts_late_at == 0:
                self.jobs += self.started_late
                self.started_late.clear()
            self._answer({"status": status})
        elif self.path.endswith("/trial-jobs"):
            self._answer(self.jobs)
        else:
            self._answer({"params": {"maxTrialNumber": self.limit, "trialConcurrency": 4, **self.trial}})

    def do_DELETE(self):
        if Answers.n_failures:
            Answers.n_failures -= 1
            self.send_error(500)
            return
        self.cancelled.append(self.path.rsplit("/", maxsplit=1)[-1])
        self._answer({})

    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.changes.append((self.path, body["params"]))
        self._answer({})

    def _answer(self, value):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    Answers.limit, Answers.trial, Answers.starts_late_at, Answers.statuses = 100, {}, 0, ["RUNNING"]
    Answers.changes, Answers.cancelled, Answers.started_late, Answers.n_failures = [], [], [], 0
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        port = server.server_address[1]
        monkeypatch.setenv("NNI_TUNER_COMMAND_CHANNEL", f"ws://127.0.0.1:{port}/prefix/tuner")
        yield f"http://127.0.0.1:{port}/prefix"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("statuses", "limit"),
    [
        (["SUCCEEDED", "FAILED", "RUNNING"], 2),  # those that run may finish
        (["SUCCEEDED", "EARLY_STOPPED", "USER_CANCELED", "SYS_CANCELED"], 4),
        (["RUNNING", "WAITING"], 1),  # NNI takes no smaller limit
        ([], 1),
    ],
)
def test_the_limit_is_no_larger_than_what_was_submitted(server, statuses, limit):
    Answers.jobs = [{"status": status} for status in statuses]
    end_after_running_trials("everything was tried", []).join(timeout=30)
    ((path, params),) = Answers.changes
    assert path == "/prefix/api/v1/nni/experiment?update_type=MAX_TRIAL_NUM"
    assert params == {"maxTrialNumber": limit, "trialConcurrency": 4}


@pytest.mark.parametrize("channel", ["", "ws://localhost", "http://localhost:80/tuner", "nonsense"])
def test_outside_an_experiment_there_is_nothing_to_finish(monkeypatch, channel):
    monkeypatch.setenv("NNI_TUNER_COMMAND_CHANNEL", channel)
    assert manager_url() is None
    assert end_after_running_trials("no reason", [0]) is None
    assert end_and_cancel_trials("no reason") is None


RUNNING = {"trialJobId": "running", "status": "RUNNING"}
FINAL = {"finalMetricData": [{"data": "0.5"}]}


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr("nni_dream.manager.CANCEL_SECONDS", 0.01)
    monkeypatch.setattr("nni_dream.manager.SUBMIT_SECONDS", 0.01)


@pytest.mark.parametrize(
    ("jobs", "cancelled"),
    [
        ([RUNNING], ["running"]),
        ([{"trialJobId": "waiting", "status": "WAITING"}], ["waiting"]),
        ([RUNNING | FINAL], []),  # it has reported its result, and may be saving its model
        ([RUNNING | {"status": "SUCCEEDED"}, {"trialJobId": "b", "status": "FAILED"}], []),
        ([], []),
    ],
)
def test_trials_without_a_final_result_are_cancelled_once(server, jobs, cancelled):
    Answers.jobs, Answers.statuses = list(jobs), ["RUNNING", "TUNER_NO_MORE_TRIAL", "NO_MORE_TRIAL"]
    end_and_cancel_trials("the target is reached").join(timeout=30)
    assert Answers.cancelled == cancelled
    ((path, _),) = Answers.changes
    assert path.endswith("?update_type=MAX_TRIAL_NUM")


@pytest.mark.parametrize("status", ["RUNNING", "TUNER_NO_MORE_TRIAL"])
def test_a_trial_that_starts_when_the_limit_is_lowered_is_cancelled_too(server, status):
    Answers.jobs, Answers.statuses = [], [status, "NO_MORE_TRIAL"]
    Answers.started_late = [{"trialJobId": "late", "status": "RUNNING"}]
    end_and_cancel_trials("the target is reached").join(timeout=30)
    assert Answers.cancelled == ["late"]


def test_a_manager_that_fails_is_asked_again(server, monkeypatch):
    Answers.jobs, Answers.statuses, Answers.n_failures = [dict(RUNNING)], ["NO_MORE_TRIAL"], 1
    end_and_cancel_trials("the target is reached").join(timeout=30)
    assert Answers.cancelled == ["running"]


def submitted(*parameter_ids, status="SUCCEEDED"):
    return [{"status": status, "hyperParameters": [json.dumps({"parameter_id": number})]} for number in parameter_ids]


def test_what_nni_has_in_its_queue_is_tried_before_the_limit_is_lowered(server):
    """Two of four were submitted; the others are listed when the manager is asked for its status the third time."""
    Answers.jobs = submitted(0, 1)
    Answers.statuses = ["RUNNING", "TUNER_NO_MORE_TRIAL", "TUNER_NO_MORE_TRIAL"]
    Answers.started_late, Answers.starts_late_at = submitted(2, 3), 3
    end_after_running_trials("everything was tried", [0, 1, 2, 3]).join(timeout=30)
    ((_, params),) = Answers.changes
    assert params["maxTrialNumber"] == 4


def test_an_experiment_that_starts_nothing_more_is_not_waited_for(server):
    Answers.jobs, Answers.statuses = submitted(0, 1), ["RUNNING", "DONE"]
    end_after_running_trials("everything was tried", [0, 1, 2]).join(timeout=30)
    assert len(Answers.changes) == 1


def test_a_search_that_is_merely_over_lets_its_trials_run(server):
    Answers.jobs, Answers.statuses = [dict(RUNNING)], ["NO_MORE_TRIAL"]
    end_after_running_trials("everything was tried", [0]).join(timeout=30)
    assert Answers.cancelled == []


class TestTrialLimit:
    def test_is_what_the_experiment_says(self, server):
        assert trial_limit() == 100

    @pytest.mark.parametrize("limit", [0, None, "many"])
    def test_is_unknown_where_there_is_none(self, server, limit):
        Answers.limit = limit
        assert trial_limit() is None

    def test_is_unknown_outside_an_experiment(self, monkeypatch):
        monkeypatch.delenv("NNI_TUNER_COMMAND_CHANNEL", raising=False)
        assert trial_limit() is None

    def test_is_unknown_when_nobody_answers(self, monkeypatch, caplog):
        monkeypatch.setenv("NNI_TUNER_COMMAND_CHANNEL", "ws://127.0.0.1:9/tuner")  # the port of `discard`
        assert trial_limit() is None
        assert "does not tell its settings" in caplog.text


class TestLocalTrial:
    LOCAL = {  # noqa: RUF012
        "trialCommand": "python3 trial.py",
        "trialCodeDirectory": "/code",
        "trainingService": {"platform": "local", "useActiveGpu": False},
    }

    def test_is_what_the_manager_starts(self, server):
        Answers.trial = self.LOCAL
        assert local_trial() == LocalTrial("python3 trial.py", Path("/code"))

    @pytest.mark.parametrize("service", [{"platform": "remote"}, [{"platform": "local"}, {"platform": "remote"}], None])
    def test_is_none_where_trials_run_elsewhere(self, server, service):
        Answers.trial = self.LOCAL | {"trainingService": service}
        assert local_trial() is None

    @pytest.mark.parametrize("missing", ["trialCommand", "trialCodeDirectory", "trainingService"])
    def test_is_none_where_the_manager_does_not_say(self, server, missing):
        Answers.trial = {name: value for name, value in self.LOCAL.items() if name != missing}
        assert local_trial() is None

    def test_is_none_outside_an_experiment(self, monkeypatch):
        monkeypatch.delenv("NNI_TUNER_COMMAND_CHANNEL", raising=False)
        assert local_trial() is None
