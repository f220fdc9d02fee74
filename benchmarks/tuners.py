"""Tuners as conversations: each yields the trial that it wants and is sent what became of it.

A conversation knows nothing of where answers come from, so that the same tuner is driven by real trainings
(search.py), by recorded ones (replay.py) or by a function (the tests).  It draws only from generators of its own: the
same seed and the same answers bring the same trials, however many conversations are held at the same time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from nni.algorithms.hpo import evolution_tuner
from nni.algorithms.hpo.evolution_tuner import EvolutionTuner
from nni.algorithms.hpo.gridsearch_tuner import GridSearchTuner
from nni.algorithms.hpo.random_tuner import RandomTuner
from nni.algorithms.hpo.tpe_tuner import TpeTuner
from nni.common.hpo_utils.formatting import ParameterSpec

from nni_dream.feedback import Json, TrialFeedback, final_metric
from nni_dream.search.space import Configuration
from nni_dream.tuner import DreamTuner

__all__ = ["BASELINE", "Conversation", "Outcome", "Search", "Trial", "Tuner", "dream", "hold", "nni_tuners", "tpe"]

BASELINE: Final = "NNI TPE"
N_STARTUP: Final = 5  # random trials of its second entry


@dataclass(frozen=True)
class Search:
    """What a tuner is told of its search."""

    space: dict[str, Json]
    start: Configuration  # the bad configuration that comes first
    seed: int
    n_trials: int
    n_epochs: int = 1  # of a trial that is not cut short
    table: str = "paper_table2"  # file or name of the priority table


class Trial(NamedTuple):
    """What a tuner wants to know."""

    configuration: Configuration
    n_epochs: int | None = None  # stop after so many; None: all of them


class Outcome(NamedTuple):
    """What became of a trial."""

    score: float | None  # best validation score; None: it failed
    feedback: TrialFeedback = TrialFeedback()


Conversation: TypeAlias = Generator[Trial, Outcome, None]
Tuner: TypeAlias = Callable[[Search], Conversation]


def hold(conversation: Conversation, answer: Callable[[Trial], Outcome]) -> list[Outcome]:
    """Hold a conversation to its end and return the outcomes in the order of the trials."""
    outcomes: list[Outcome] = []
    try:
        trial = next(conversation)
        while True:
            outcomes.append(answer(trial))
            trial = conversation.send(outcomes[-1])
    except StopIteration:
        return outcomes


def dream(*, is_score_only: bool = False, **settings: str) -> Tuner:
    """Ours with these settings.

    Args:
        is_score_only: Tell it plain numbers, as trials do that never heard of feedback.
    """

    def converse(search: Search) -> Conversation:
        tuner = DreamTuner(
            seed=search.seed,
            priority=search.table,
            initial_parameters=[search.start],
            planned_trials=search.n_trials,
            **settings,
        )
        tuner.update_search_space(search.space)
        for number in range(search.n_trials):
            configuration = tuner.generate_parameters(number)
            score, feedback = yield Trial(configuration)
            if score is not None:
                told = feedback.model_copy(update={"parameters": configuration})
                metric = score if is_score_only else final_metric(told, score, None)
                tuner.receive_trial_result(number, configuration, metric, trial_job_id=f"job{number}")
            tuner.trial_end(number, score is not None)

    return converse


def nni_tuners() -> dict[str, Tuner]:
    """Return NNI's own tuners, those whose packages are here, at their defaults.

    TPE stands there twice: with few trials its documentation advises fewer random ones at the beginning than its 20.
    """
    tuners = {
        BASELINE: tpe,
        f"{BASELINE}, {N_STARTUP} at random": _of_nni(_tpe_for_few_trials),
        "NNI Random": _of_nni(lambda seed: RandomTuner(seed=seed)),
        "NNI Evolution": _of_nni(_SeededEvolution),
        "NNI GridSearch": _of_nni(lambda _: GridSearchTuner()),
    }
    if find_spec("hyperopt") is not None:
        tuners["NNI Anneal"] = _of_nni(_seeded_anneal)
    return tuners


def tpe(search: Search) -> Conversation:
    """NNI's TPE, whose import of finished trials lets it learn of the start."""
    return _converse(TpeTuner(optimize_mode="maximize", seed=search.seed), search)


def _tpe_for_few_trials(seed: int) -> TpeTuner:
    return TpeTuner(optimize_mode="maximize", seed=seed, tpe_args={"n_startup_jobs": N_STARTUP})


def _of_nni(make: Callable[[int], Any]) -> Tuner:
    return lambda search: _converse(make(search.seed), search)


def _converse(tuner: Any, search: Search) -> Conversation:
    """NNI's tuners take no first configuration: it is the first trial, and those that can import it do."""
    _mend_twice_nested_spaces()
    tuner.update_search_space(search.space)
    score, _ = yield Trial(search.start)
    if score is not None and isinstance(tuner, (TpeTuner, GridSearchTuner)):
        tuner.import_data([{"parameter": search.start, "value": score}])
    for number in range(search.n_trials - 1):
        configuration = json.loads(json.dumps(tuner.generate_parameters(number), default=lambda value: value.item()))
        score, _ = yield Trial(configuration)
        if score is not None:
            tuner.receive_trial_result(number, configuration, score)
        tuner.trial_end(number, score is not None)


def _mend_twice_nested_spaces() -> None:
    """NNI 3.0 looks up the choice around a parameter even where that choice is not active: a KeyError."""

    def is_activated_in(self: Any, partial_parameters: dict[Any, Any]) -> bool:
        return not self.is_nested() or partial_parameters.get(self.key[:-2]) == self.key[-2]

    ParameterSpec.is_activated_in = is_activated_in


class _SeededEvolution(EvolutionTuner):  # type: ignore[misc]
    """NNI's Evolution takes no seed, and draws from the process's own generators."""

    def __init__(self, seed: int) -> None:
        super().__init__(optimize_mode="maximize")
        self._seed = seed
        self._random = random.Random(seed)

    def update_search_space(self, search_space: Json) -> None:
        super().update_search_space(search_space)
        self.random_state = np.random.RandomState(self._seed)
        self.population.clear()
        for _ in range(self.population_size):
            self._random_generate_individual()

    def _generate_individual(self, parameter_id: int) -> Any:
        evolution_tuner.random = self._random  # the module's name for the generator of the process
        return super()._generate_individual(parameter_id)


def _seeded_anneal(seed: int) -> Any:
    from nni.algorithms.hpo.hyperopt_tuner import HyperoptTuner

    class SeededAnneal(HyperoptTuner):  # type: ignore[misc]
        """NNI's Anneal takes no seed."""

        def update_search_space(self, search_space: Json) -> None:
            super().update_search_space(search_space)
            self.rval.rstate = np.random.RandomState(seed)

    return SeededAnneal("anneal", optimize_mode="maximize")
