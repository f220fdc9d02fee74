"""NNI's real dispatcher on a fake channel: what the manager would send goes in, what it would get comes out."""

from __future__ import annotations

import json
from queue import Queue
from typing import Any

import nni
from nni.runtime.msg_dispatcher import MsgDispatcher
from nni.runtime.tuner_command_channel import CommandType


class FakeChannel:
    """Stands where the manager's web socket is."""

    def __init__(self) -> None:
        self.incoming: Queue[tuple[CommandType | None, str | None]] = Queue()
        self.sent: list[tuple[CommandType, str]] = []

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def _receive(self) -> tuple[CommandType | None, str | None]:
        return self.incoming.get()

    def _send(self, command: CommandType, data: str) -> None:
        self.sent.append((command, data))


class Manager:
    """The manager's side of the conversation; every call is processed at once, exceptions come through."""

    def __init__(self, tuner: Any, assessor: Any = None) -> None:
        self.dispatcher = MsgDispatcher("ws://_unittest_placeholder_", tuner, assessor)
        self.channel = FakeChannel()
        self.dispatcher._channel = self.channel

    def initialize(self, search_space: Any) -> None:
        self.dispatcher.process_command(CommandType.Initialize, search_space)

    def update_search_space(self, search_space: Any) -> None:
        self.dispatcher.process_command(CommandType.UpdateSearchSpace, search_space)

    def request(self, n_trials: int = 1) -> list[dict[str, Any]]:
        """Ask for trials; return the parameter records that came."""
        n_before = len(self.channel.sent)
        self.dispatcher.process_command(CommandType.RequestTrialJobs, n_trials)
        return [nni.load(data) for command, data in self.channel.sent[n_before:] if command is CommandType.NewTrialJob]

    def intermediate(self, job: str, parameter_id: int | None, sequence: int, value: Any) -> None:
        self.dispatcher.process_command(*self.metric("PERIODICAL", job, parameter_id, sequence, value))

    def final(self, job: str, parameter_id: int | None, value: Any) -> None:
        self.dispatcher.process_command(*self.metric("FINAL", job, parameter_id, 0, value))

    def end(self, job: str, parameter_id: int | None, event: str = "SUCCEEDED") -> None:
        self.dispatcher.process_command(*self.trial_end(job, parameter_id, event))

    def import_data(self, entries: list[dict[str, Any]]) -> None:
        self.dispatcher.process_command(CommandType.ImportData, entries)

    def killed_jobs(self) -> list[str]:
        return [json.loads(data) for command, data in self.channel.sent if command is CommandType.KillTrialJob]

    def commands(self) -> list[CommandType]:
        return [command for command, _ in self.channel.sent]

    @staticmethod
    def metric(kind: str, job: str, parameter_id: int | None, sequence: int, value: Any) -> tuple[CommandType, Any]:
        data = {
            "parameter_id": parameter_id,
            "trial_job_id": job,
            "type": kind,
            "sequence": sequence,
            "value": nni.dump(value),
        }
        return CommandType.ReportMetricData, data

    @staticmethod
    def trial_end(job: str, parameter_id: int | None, event: str) -> tuple[CommandType, Any]:
        hyper_params = nni.dump({"parameter_id": parameter_id, "parameters": {}})
        return CommandType.TrialEnd, {"trial_job_id": job, "event": event, "hyper_params": hyper_params}
