from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable

import pytest


@pytest.fixture
def log_folder(tmp_path, monkeypatch):
    """The log folder of an experiment, as NNI tells the dispatcher."""
    folder = tmp_path / "log"
    folder.mkdir()
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(folder))
    return folder


@pytest.fixture
def fresh_dispatcher(monkeypatch):
    """NNI keeps the dispatcher's state in module variables: one test's trials must not be the next one's."""
    from nni.runtime import msg_dispatcher

    monkeypatch.setattr(msg_dispatcher, "_next_parameter_id", 0)
    monkeypatch.setattr(msg_dispatcher, "_trial_params", {})
    monkeypatch.setattr(msg_dispatcher, "_customized_parameter_ids", set())
    monkeypatch.setattr(msg_dispatcher, "_trial_history", defaultdict(dict))
    monkeypatch.setattr(msg_dispatcher, "_ended_trials", set())


def wait_until(is_true: Callable[[], object], what: str, deadline_seconds: float = 60.0) -> None:
    """Wait for a condition; fail with its name when the deadline has passed."""
    end = time.monotonic() + deadline_seconds
    pause = threading.Event()
    while not is_true():
        if time.monotonic() > end:
            pytest.fail(f"{what} did not happen within {deadline_seconds:g} s")
        pause.wait(0.05)
