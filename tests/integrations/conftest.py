"""A trial inside NNI, whose channel only keeps what is sent."""

import nni
import pytest
import torch
from nni.runtime import env_vars, trial_command_channel
from nni.runtime.trial_command_channel import TrialCommandChannel, set_default_trial_command_channel

from nni_dream.feedback import parse_metric

PARAMETERS = {"units": 8}


class Channel(TrialCommandChannel):
    def __init__(self):
        self.values = []  # (kind, sequence, metric), as sent

    def receive_parameter(self):
        return {"parameter_id": 3, "parameters": PARAMETERS}

    def send_metric(self, type, parameter_id, trial_job_id, sequence, value):
        self.values.append((type, sequence, value))

    @property
    def defaults(self):
        """(kind, NNI's default) of each message."""
        return [(kind, value["default"]) for kind, _, value in self.values]

    @property
    def epochs(self):
        """The feedback of each intermediate result."""
        return [epoch for kind, _, value in self.values if kind == "PERIODICAL" for epoch in parse_metric(value).epochs]

    @property
    def measured(self):
        """The same as dictionaries, without the time that they took."""
        return [epoch.model_dump(exclude={"seconds"}) for epoch in self.epochs]

    @property
    def final(self):
        """The feedback of the one final result."""
        (value,) = [value for kind, _, value in self.values if kind == "FINAL"]
        return parse_metric(value)

    def clear(self):
        self.values.clear()


@pytest.fixture
def channel(monkeypatch, tmp_path):
    environment = env_vars.trial_env_vars._replace(
        NNI_PLATFORM="local", NNI_TRIAL_JOB_ID="abcde", NNI_OUTPUT_DIR=str(tmp_path / "trial")
    )
    monkeypatch.setattr(env_vars, "trial_env_vars", environment)
    monkeypatch.setattr("nni.trial.trial_env_vars", environment)
    monkeypatch.setattr("nni.trial._params", None)
    monkeypatch.setattr("nni.trial._intermediate_seq", 0)
    monkeypatch.setattr(trial_command_channel, "_channel", None)
    channel = Channel()
    set_default_trial_command_channel(channel)
    nni.get_next_parameter()
    return channel


@pytest.fixture(autouse=True)
def _one_thread():
    """Tensors of a few entries are slower on several threads."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
