"""NNI's Hyperband as a conversation: an advisor, driven by the messages that NNI's manager would send it.

Its budget is counted in epochs: R is all of a trial's epochs, eta is its default, 3.  After the start, which costs a
full trial, it gets the epochs of the other full trials; what goes beyond is not begun.  A short trial is the beginning
of the full one, with the same seed and learning rates; NNI's Hyperband trains its survivors from the beginning again,
and so they are counted.
"""

from __future__ import annotations

import json
from typing import Any, Final

import nni
import numpy as np
from nni.algorithms.hpo.hyperband_advisor import Hyperband
from nni.runtime.msg_dispatcher_base import MsgDispatcherBase
from nni.runtime.tuner_command_channel import CommandType
from nni.utils import MetricType
from tuners import Conversation, Search, Trial

from nni_dream.feedback import Json

__all__ = ["hyperband"]

BUDGET: Final = "TRIAL_BUDGET"  # the key under which NNI hands it out
NO_MANAGER: Final = "ws://_unittest_placeholder_"  # NNI's own way to have no web socket


class _WithoutManager(MsgDispatcherBase):  # type: ignore[misc]
    """Stands between Hyperband and its base, which would connect to NNI's manager."""

    def __init__(self) -> None:
        super().__init__(NO_MANAGER)


class _Advisor(Hyperband, _WithoutManager):  # type: ignore[misc]
    """NNI's Hyperband takes no seed, and sends its trials to a manager."""

    def __init__(self, search: Search) -> None:
        super().__init__(optimize_mode="maximize", R=search.n_epochs)
        self._sent: list[dict[str, Any]] = []
        self.handle_update_search_space(search.space)
        self.random_state = np.random.RandomState(search.seed)

    def send(self, command: CommandType, data: str) -> None:
        if command is CommandType.NewTrialJob:
            self._sent.append(nni.load(data))

    def is_created_in_previous_exp(self, param_id: Any) -> bool:
        """NNI 3.0 compares its number with the text that is Hyperband's id: a TypeError at the first result."""
        return False

    def next_trial(self) -> dict[str, Any]:
        self.handle_request_trial_jobs(1)
        return self._sent.pop()

    def end_trial(self, parameter_id: str, score: float | None) -> None:
        job = {"trial_job_id": f"job{parameter_id}", "parameter_id": parameter_id}
        value = nni.dump(0.0 if score is None else score)  # it cannot end a round in which a trial has no result
        self.handle_report_metric_data({**job, "type": MetricType.FINAL, "sequence": 0, "value": value})
        ended = {**job, "event": "SUCCEEDED", "hyper_params": nni.dump({"parameter_id": parameter_id})}
        self.handle_trial_end(ended)


def hyperband(search: Search) -> Conversation:
    """Trials of fewer epochs, and more of them."""
    advisor = _Advisor(search)
    yield Trial(search.start)
    n_left = (search.n_trials - 1) * search.n_epochs
    while True:
        job = advisor.next_trial()
        configuration: dict[str, Json] = json.loads(json.dumps(job["parameters"]))
        n_epochs = configuration.pop(BUDGET)
        n_left -= n_epochs
        if n_left < 0:
            return
        outcome = yield Trial(configuration, n_epochs)
        advisor.end_trial(job["parameter_id"], outcome.score)
