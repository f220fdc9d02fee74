"""SMAC3 as a conversation, the nesting of NNI's search spaces kept as conditions between its parameters."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from tuners import Conversation, Search, Trial, Tuner

from nni_dream.feedback import Json
from nni_dream.search.json_values import canonical_json
from nni_dream.search.parameters import Choice, Parameter
from nni_dream.search.space import Configuration, SearchSpace

if TYPE_CHECKING:
    from ConfigSpace import Configuration as SmacConfiguration
    from ConfigSpace import ConfigurationSpace
    from smac.runhistory import TrialInfo

__all__ = ["fix_hash_seed", "smac_tuners"]

LEAST_CRASH_COST: Final = 0.0  # no accuracy at all; SMAC3's own default, infinity, can make its forest fail


def fix_hash_seed() -> None:
    """Start again with a fixed hash seed: SMAC3 goes through sets, in an order that is another in every process."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONHASHSEED": "0"})


def smac_tuners() -> dict[str, Tuner]:
    """Return SMAC3, or nothing where it is not installed."""
    return {} if find_spec("smac") is None else {"SMAC3": _smac}


def _smac(search: Search) -> Conversation:
    """Its facade for hyperparameters: a random forest, expected improvement, and Sobol points in the first quarter.

    It is told the start before it is first asked, and learns of it.  A crash costs as much as the worst so far.
    """
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory import StatusType, TrialInfo, TrialValue

    space = SearchSpace(search.space)
    conditional = _conditional_space(space, search.seed)
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            conditional, output_directory=folder, deterministic=True, n_trials=search.n_trials, seed=search.seed
        )
        smac = HyperparameterOptimizationFacade(scenario, _unasked, overwrite=True, logging_level=False)
        worst = LEAST_CRASH_COST
        info = TrialInfo(_to_smac(search.start, space, conditional), seed=0)
        for number in range(search.n_trials):
            if number > 0:
                info = _ask(smac)
            score, _feedback = yield Trial(_from_smac(info.config, space))
            if score is None:
                smac.tell(info, TrialValue(cost=worst, status=StatusType.CRASHED))
            else:
                worst = max(worst, -score)
                smac.tell(info, TrialValue(cost=-score))


def _ask(smac: Any) -> TrialInfo:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # its log has the mean of times, even of none
        return smac.ask()


def _unasked(config: SmacConfiguration, seed: int) -> float:
    raise AssertionError("SMAC3 is asked and told, and runs nothing itself")


def _conditional_space(space: SearchSpace, seed: int) -> ConfigurationSpace:
    """Every choice as categorical words; what is inside one is there only where it has the word above that."""
    from ConfigSpace import AndConjunction, ConfigurationSpace, EqualsCondition

    conditional = ConfigurationSpace(seed=seed)
    by_place: dict[tuple[Any, ...], Any] = {}
    for parameter in space.walk():
        own = by_place[parameter.path, parameter.premises] = _hyperparameter(parameter)
        conditional.add(own)
        conditions = []
        for depth, premise in enumerate(parameter.premises):
            around = by_place[premise.path, parameter.premises[:depth]]
            conditions.append(EqualsCondition(own, around, canonical_json(premise.value)))
        if conditions:
            conditional.add(AndConjunction(*conditions) if len(conditions) > 1 else conditions[0])
    return conditional


def _hyperparameter(parameter: Parameter) -> Any:
    from ConfigSpace import CategoricalHyperparameter, UniformFloatHyperparameter, UniformIntegerHyperparameter

    if isinstance(parameter, Choice):
        words = [canonical_json(value) for value in parameter.action_values()]
        return CategoricalHyperparameter(parameter.place, words, default_value=words[0])
    if parameter.type == "randint":
        return UniformIntegerHyperparameter(parameter.place, int(parameter.low), int(parameter.high) - 1)
    if parameter.type in ("uniform", "loguniform"):
        is_log = parameter.type == "loguniform"
        return UniformFloatHyperparameter(parameter.place, parameter.low, parameter.high, log=is_log)
    raise TypeError(f"parameter {parameter.name}: {parameter.type} is not translated for SMAC3")


def _to_smac(configuration: Configuration, space: SearchSpace, conditional: ConfigurationSpace) -> SmacConfiguration:
    from ConfigSpace import Configuration as SmacConfiguration

    values = {
        parameter.place: canonical_json(value) if isinstance(parameter, Choice) else value
        for parameter, value in space.active_values(configuration)
    }
    return SmacConfiguration(conditional, values=values)


def _from_smac(configuration: SmacConfiguration, space: SearchSpace) -> Configuration:
    def chosen(parameter: Parameter) -> Json:
        value = configuration[parameter.place]
        if isinstance(parameter, Choice):
            return {canonical_json(each): each for each in parameter.action_values()}[value]
        return int(value) if parameter.type == "randint" else float(value)

    return space.build(chosen)
