"""Optuna's samplers as conversations, with the nesting of NNI's search spaces kept or flattened."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

from tuners import Conversation, Search, Trial, Tuner

from nni_dream.feedback import Json
from nni_dream.search.space import Choice, Parameter, SearchSpace

__all__ = ["candidates_of", "optuna_tuners"]


def optuna_tuners() -> dict[str, Tuner]:
    """Return Optuna's TPE and its Gaussian process, or nothing where Optuna is not installed."""
    if find_spec("optuna") is None:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # `group` is called that
    return {"Optuna TPE (multivariate, group)": _tpe, "Optuna GP": _gaussian_process}


def _tpe(search: Search) -> Conversation:
    """Asked parameter by parameter, those that the values before make active."""
    from optuna.samplers import TPESampler

    space = SearchSpace(search.space)
    study = _study(TPESampler(seed=search.seed, multivariate=True, group=True), space, search)
    for _ in range(search.n_trials):
        trial = study.ask()
        configuration = space.build(lambda parameter, trial=trial: _suggest(trial, parameter))
        outcome = yield Trial(configuration)
        _tell(study, trial, outcome.score)


def _gaussian_process(search: Search) -> Conversation:
    """It needs the same parameters in every trial: all are asked for, and those that are not active are ignored."""
    import torch
    from optuna.samplers import GPSampler

    torch.set_num_threads(
        1
    )  # it adds numbers up with torch: always in the same order, and 10 times faster on busy cores
    space = SearchSpace(search.space)
    study = _study(GPSampler(seed=search.seed, deterministic_objective=True), space, search)
    for _ in range(search.n_trials):
        trial = study.ask()
        values = {parameter.place: _suggest(trial, parameter) for parameter in space.walk()}
        outcome = yield Trial(space.build(lambda parameter, values=values: values[parameter.place]))
        _tell(study, trial, outcome.score)


def _study(sampler: Any, space: SearchSpace, search: Search) -> Any:
    import optuna

    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({parameter.place: value for parameter, value in space.active_values(search.start)})
    return study


def _suggest(trial: Any, parameter: Parameter) -> Json:
    return trial.suggest_categorical(parameter.place, candidates_of(parameter))


def _tell(study: Any, trial: Any, score: float | None) -> None:
    import optuna

    if score is None:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, score)


def candidates_of(parameter: Parameter) -> list[Json]:
    """Return the values of a choice.

    Raises:
        TypeError: If the parameter is a range, which is not translated so far.
    """
    if not isinstance(parameter, Choice):
        raise TypeError(f"parameter {parameter.name} is a range; only choices are translated for other makers' tuners")
    return parameter.candidates()
