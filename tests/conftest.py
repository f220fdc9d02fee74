from __future__ import annotations

import os
import signal
from collections import defaultdict

import hypothesis
import pytest

# The same examples in every run: a check of a commit must not depend on luck.  HYPOTHESIS_PROFILE=explore draws others.
# No deadline: one stall of a busy machine is no defect.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("explore", max_examples=1000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# What a script starts in its background ignores Ctrl-C, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


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
