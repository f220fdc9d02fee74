"""Optuna's samplers as conversations, with the nesting of NNI's search spaces kept or flattened."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final

from tuners import Conversation, Search, Trial, Tuner

from nni_dream.feedback import Json
from nni_dream.search.json_values import canonical_json
from nni_dream.search.parameters import Choice, Parameter
from nni_dream.search.space import Configuration, SearchSpace

__all__ = ["optuna_tuners"]

MAX_REPEATS: Final = 100  # of a search; one that repeats itself more often has ended, with fewer trials


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
    sampler = TPESampler(seed=search.seed, multivariate=True, group=True)
    return _converse(sampler, search, lambda trial: space.build(lambda parameter: _suggest(trial, parameter)))


def _gaussian_process(search: Search) -> Conversation:
    """It needs the same parameters in every trial: all are asked for, and those that are not active are ignored."""
    import torch
    from optuna.samplers import GPSampler

    torch.set_num_threads(
        1
    )  # it adds numbers up with torch: always in the same order, and 10 times faster on busy cores
    space = SearchSpace(search.space)

    def suggest(trial: Any) -> Configuration:
        values = {parameter.place: _suggest(trial, parameter) for parameter in space.walk()}
        return space.build(lambda parameter: values[parameter.place])

    return _converse(GPSampler(seed=search.seed, deterministic_objective=True), search, suggest)


def _converse(sampler: Any, search: Search, suggest: Callable[[Any], Configuration]) -> Conversation:
    """Optuna suggests the same more than once: it is told the score that is known, and this costs no trial."""
    import optuna

    study = optuna.create_study(direction="maximize", sampler=sampler)
    active = SearchSpace(search.space).active_values(search.start)
    study.enqueue_trial({parameter.place: value for parameter, value in active})
    known: dict[str, float | None] = {}  # identity of a configuration -> its score
    n_repeats = 0
    while len(known) < search.n_trials and n_repeats < MAX_REPEATS:
        trial = study.ask()
        configuration = suggest(trial)
        identity = canonical_json(configuration)
        if identity in known:
            n_repeats += 1
        else:
            known[identity] = (yield Trial(configuration)).score
        _tell(study, trial, known[identity])


def _suggest(trial: Any, parameter: Parameter) -> Json:
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(parameter.place, parameter.action_values())
    if parameter.type == "randint":
        return trial.suggest_int(parameter.place, int(parameter.low), int(parameter.high) - 1)
    if parameter.type in ("uniform", "loguniform"):
        return trial.suggest_float(parameter.place, parameter.low, parameter.high, log=parameter.type == "loguniform")
    raise TypeError(f"parameter {parameter.name}: {parameter.type} is not translated for Optuna")


def _tell(study: Any, trial: Any, score: float | None) -> None:
    import optuna

    if score is None:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, score)
