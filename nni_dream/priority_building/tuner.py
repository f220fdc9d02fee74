"""PriorityTuner: the experiment that measures priorities, as an NNI tuner; works with any trial code and service."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from nni import NoMoreTrialError
from nni.tuner import Tuner
from pydantic import Field

from nni_dream.callbacks import dispatcher_of, guard_dispatcher, never_raises, report_error
from nni_dream.config import Settings, parse_settings
from nni_dream.feedback import Json, OptimizeMode
from nni_dream.manager import end_after_running_trials, end_with_manager
from nni_dream.plain_messages import read_plain_json
from nni_dream.priority_building.records import BuildSettings, RecordFile, RecordsError
from nni_dream.priority_building.training_queue import TrainingQueue
from nni_dream.search.space import Configuration, SearchSpaceError
from nni_dream.trials import told_parameters

__all__ = ["PriorityTuner", "PriorityTunerSettings"]

NOTHING_LEFT: Final = "nothing is left to train, or the time is up"

_logger = logging.getLogger(__name__)


class PriorityTunerSettings(Settings):
    """Arguments of :class:`PriorityTuner` (``classArgs`` in an experiment's YAML)."""

    records: str = Field(min_length=1)  # absolute path of the file of trainings; one that is there is continued
    data: str = "not stated"  # name of the data set
    trial_command: str = "not stated"  # with the options that all trainings share
    optimize_mode: OptimizeMode = "maximize"
    seed: int = Field(default=0, ge=0)  # of the seed models and of the order of the actions
    n_models: int = Field(default=300, ge=1)  # seed models; DREAM section 4.2.3
    max_trainings: int | None = Field(default=None, ge=1)  # the file is complete with so many; None: with the plan
    max_hours: float | None = Field(default=None, ge=0)  # from now; None: no limit
    roles: dict[str, str] = Field(default_factory=dict)  # name or dotted path of a parameter -> its role, as stated


class PriorityTuner(Tuner):  # type: ignore[misc]
    """Hands out seed models, and each of them after one action, until all of the plan was trained.

    Raises:
        SettingsError: If an argument is unknown or breaks its rule.
    """

    def __init__(self, **class_args: Json) -> None:
        super().__init__()
        read_plain_json()
        self.settings = parse_settings(PriorityTunerSettings, class_args, "PriorityTuner")
        self.queue: TrainingQueue | None = None
        self._refusal = "NNI sent no search space"
        self._given: dict[int, Configuration] = {}  # NNI parameter id -> what was handed out under it
        self._started: dict[int, float] = {}
        self._has_trials = False  # whether the experiment has trials, of this process or of one before
        self._is_guarded = False
        end_with_manager()

    @never_raises(fallback=None)
    def update_search_space(self, search_space: Json) -> None:
        """Plan the trainings of a search space; a change in mid-run is not taken: the plan would be another."""
        if self.queue is not None:
            _logger.warning("the search space of a measurement cannot be changed; it goes on with the first one")
            return
        own = self.settings
        hours = own.max_hours
        try:
            build = BuildSettings(
                data=own.data,
                trial_command=own.trial_command,
                search_space=search_space,
                optimize_mode=own.optimize_mode,
                seed=own.seed,
                n_models=own.n_models,
                roles=own.roles,
            )
            self.queue = TrainingQueue(
                RecordFile(Path(own.records), build),
                max_trainings=own.max_trainings,
                max_seconds=None if hours is None else hours * 3600,
            )
        except (RecordsError, SearchSpaceError, OSError) as error:
            self._refusal = str(error)
            _logger.error("cannot measure priorities: %s", error)

    def generate_parameters(self, parameter_id: int, **kwargs: Any) -> Configuration:
        """Return the next configuration to train.

        Raises:
            nni.NoMoreTrialError: If the plan is done, or its time is up; NNI expects it.
        """
        configurations = self.generate_multiple_parameters([parameter_id], **kwargs)
        if not configurations:
            raise NoMoreTrialError("there is nothing more to train")
        return configurations[0]

    def generate_multiple_parameters(self, parameter_id_list: list[int], **kwargs: Any) -> list[Configuration]:
        """Return a configuration for each id, or for fewer at the end; the experiment then ends.

        Never raises.  An experiment that has nothing to begin with, or cannot go on, ends with NNI's status ERROR and
        the reason: NNI does not ask again, and would wait for ever.
        """
        st_callback = kwargs.get("st_callback")
        configurations: list[Configuration] = []
        try:
            self._guard(st_callback)
            for parameter_id in parameter_id_list:
                planned = None if self.queue is None else self.queue.next()
                if planned is None:
                    self._end(st_callback)
                    break
                self._has_trials = True
                self._given[parameter_id] = planned.configuration
                self._started[parameter_id] = time.monotonic()
                configurations.append(planned.configuration)
        except Exception as error:  # nobody above could answer it; a full disk, say
            _logger.exception("nothing could be handed out")
            report_error(st_callback, f"PriorityTuner cannot go on: {type(error).__name__}: {error}")
        return configurations

    @never_raises(fallback=None)
    def receive_trial_result(self, parameter_id: int | None, parameters: Json, value: Json, **_: Any) -> None:
        """Enter a final result under the parameters that the trial says it had, else under those that NNI names."""
        told = told_parameters(value)
        configuration = parameters if told is None else told
        if not isinstance(configuration, dict) and parameter_id is not None:  # NNI has forgotten them (nni_facts, R8)
            configuration = self._given.get(parameter_id)
        if self.queue is not None and isinstance(configuration, dict):
            self.queue.finish(configuration, value, self._seconds(configuration))

    @never_raises(fallback=None)
    def trial_end(self, parameter_id: int | None, success: bool, **_: Any) -> None:
        """Enter the end of a trial; a failed one brought no result, unless one comes later.

        The end of one that succeeded tells nothing: NNI may name the parameters of another, which still trains.
        """
        configuration = None if parameter_id is None else self._given.get(parameter_id)
        if self.queue is not None and configuration is not None and not success:
            self.queue.fail(configuration, "the trial ended without a result", self._seconds(configuration))

    @never_raises(fallback=None)
    def import_data(self, data: list[dict[str, Json]]) -> None:
        """Note that NNI's resume brings trials; what they showed the file of trainings has already."""
        self._has_trials |= any(entry.get("trialJobId") is not None for entry in data)

    def _end(self, st_callback: Callable[..., None] | None) -> None:
        """Let the experiment end: as soon as its trials have; without a trial NNI knows no end but an error."""
        if self.queue is None:
            report_error(st_callback, f"PriorityTuner cannot start: {self._refusal}")
        elif not self._has_trials:
            report_error(st_callback, f"PriorityTuner cannot start: {NOTHING_LEFT}")
        else:
            end_after_running_trials(NOTHING_LEFT, self._given)

    def _seconds(self, configuration: Configuration) -> float | None:
        """Wall time since a configuration was handed out."""
        starts = (self._started[number] for number, given in self._given.items() if given == configuration)
        start = next(starts, None)
        return None if start is None else round(time.monotonic() - start, 3)

    def _guard(self, st_callback: Callable[..., None] | None) -> None:
        dispatcher = dispatcher_of(st_callback)
        if dispatcher is not None and not self._is_guarded:
            self._is_guarded = True
            self._has_trials |= bool(getattr(dispatcher, "recovered_trial_params", {}))
            guard_dispatcher(dispatcher, lambda kind, text: _logger.warning("%s: %s", kind, text))
