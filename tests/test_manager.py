"""What a tuner tells NNI's manager by its REST interface, on a server that answers like it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from nni_dream.manager import finish_experiment, manager_url


class Answers(BaseHTTPRequestHandler):
    """NNI's manager as far as it is asked here."""

    jobs: list[dict[str, str]] = []  # noqa: RUF012 -- set by each test
    changes: list[tuple[str, dict]] = []  # noqa: RUF012

    def do_GET(self):
        is_jobs = self.path.endswith("/trial-jobs")
        self._answer(self.jobs if is_jobs else {"params": {"maxTrialNumber": 100, "trialConcurrency": 4}})

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
    Answers.changes = []
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
    finish_experiment("the target is reached").join(timeout=30)
    ((path, params),) = Answers.changes
    assert path == "/prefix/api/v1/nni/experiment?update_type=MAX_TRIAL_NUM"
    assert params == {"maxTrialNumber": limit, "trialConcurrency": 4}


@pytest.mark.parametrize("channel", ["", "ws://localhost", "http://localhost:80/tuner", "nonsense"])
def test_outside_an_experiment_there_is_nothing_to_finish(monkeypatch, channel):
    monkeypatch.setenv("NNI_TUNER_COMMAND_CHANNEL", channel)
    assert manager_url() is None
    assert finish_experiment("no reason") is None
