"""A search that can be ended at any moment and started again, on NNI's real dispatcher."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from dispatcher import Manager
from nni.runtime import msg_dispatcher
from nni.runtime.tuner_command_channel import CommandType

from nni_dream import trials
from nni_dream.assessor import DreamAssessor
from nni_dream.tuner import DreamTuner

SPACE = {
    "x": {"_type": "choice", "_value": [0, 1, 2, 3, 4]},
    "optimizer": {
        "_type": "choice",
        "_value": [{"_name": "adam"}, {"_name": "sgd", "momentum": {"_type": "choice", "_value": [0.0, 0.9]}}],
    },
    "learning_rate": {"_type": "choice", "_value": [0.1, 0.01, 0.001]},
}


def new_process(space: Any = SPACE, *, assessor: bool = True, **settings: Any) -> Manager:
    """A dispatcher as a new process has it: nothing is left of an earlier one but its journal."""
    trials._books.clear()
    msg_dispatcher._next_parameter_id = 0
    msg_dispatcher._trial_params = {}
    msg_dispatcher._customized_parameter_ids = set()
    msg_dispatcher._trial_history = defaultdict(dict)
    msg_dispatcher._ended_trials = set()
    manager = Manager(DreamTuner(**{"seed": 1, **settings}), DreamAssessor() if assessor else None)
    manager.initialize(space)
    return manager


@pytest.fixture
def start(log_folder, fresh_dispatcher) -> Callable[..., Manager]:
    """Start the search of this log folder; called again, it is a resume."""
    return new_process


def replay(manager: Manager, finished: list[dict[str, Any]], unfinished: list[dict[str, Any]]) -> None:
    """What NNI's manager sends after the search space when it resumes.

    Args:
        finished: ``{"parameter", "value", "trialJobId"}`` of the trials that succeeded.
        unfinished: The parameter records of the trials that it starts again.
    """
    manager.import_data(finished)
    manager.dispatcher.process_command(CommandType.AddCustomizedTrialJob, unfinished)
