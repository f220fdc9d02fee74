"""Settings: the defaults of the method, and an error by name for whatever breaks a rule."""

import math

import pytest

from nni_dream.config import AssessorSettings, SettingsError, Thresholds, TunerSettings, parse_settings


def test_thresholds_are_those_of_the_method():
    assert Thresholds().model_dump() == {
        "min_improvement": 0.01,
        "min_relative_improvement": 0.01,
        "min_convergence_epochs": 4,
        "exploding_loss": 1e5,
        "dead_unit_share": 0.70,
        "vanishing_ratio": 1e-3,
        "exploding_ratio": 70.0,
    }


def test_defaults_of_the_tuner():
    assert parse_settings(TunerSettings, {}, "DreamTuner").model_dump() == {
        "optimize_mode": "maximize",
        "seed": None,
        "priority": "paper_table2",
        "target_score": None,
        "thresholds": Thresholds().model_dump(),
        "initial_parameters": [],
        "roles": {},
        "strategy": "learning",
        "exploration": "thompson",
        "planned_trials": None,
    }


def test_defaults_of_the_assessor():
    assert parse_settings(AssessorSettings, {}, "DreamAssessor").model_dump() == {
        "optimize_mode": "maximize",
        "thresholds": Thresholds().model_dump(),
        "patience": 4,
        "slow_share": 0.5,
        "planned_epochs": None,
        "n_reference_trials": 3,
    }


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        (TunerSettings, {"optimize_mode": "minimize"}),
        (TunerSettings, {"seed": 0}),
        (TunerSettings, {"target_score": 1}),  # YAML's 1 is a number too
        (TunerSettings, {"target_score": -0.5}),
        (TunerSettings, {"strategy": "random"}),
        (TunerSettings, {"exploration": "upper_confidence", "planned_trials": 1}),
        (TunerSettings, {"initial_parameters": [{"optimizer": {"_name": "sgd", "momentum": None}}]}),
        (TunerSettings, {"thresholds": {"dead_unit_share": 1}}),
        (TunerSettings, {"thresholds": {"min_convergence_epochs": 2}}),
        (AssessorSettings, {"patience": 1}),
        (AssessorSettings, {"slow_share": 0}),
        (AssessorSettings, {"slow_share": 1}),
        (AssessorSettings, {"planned_epochs": 1}),
        (AssessorSettings, {"n_reference_trials": 1}),
    ],
    ids=lambda value: str(getattr(value, "__name__", value))[:60],
)
def test_arguments_at_the_edge_of_their_rule_are_taken(model, arguments):
    settings = parse_settings(model, arguments, "Dream").model_dump(exclude_unset=True)
    assert settings == arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"optimize_mode": "max"}, r"optimize_mode is 'max': Input should be 'maximize' or 'minimize'"),
        ({"seed": -1}, r"seed is -1: .*greater than or equal to 0"),
        ({"seed": 1.5}, r"seed is 1\.5: .*valid integer"),
        ({"seed": "7"}, r"seed is '7': .*valid integer"),
        ({"seed": True}, r"seed is True: .*valid integer"),
        ({"priority": 3}, r"priority is 3: .*valid string"),
        ({"target_score": "0.9"}, r"target_score is '0\.9': .*valid number"),
        ({"target_score": math.nan}, r"target_score is nan: .*finite number"),
        ({"target_score": math.inf}, r"target_score is inf: .*finite number"),
        ({"strategy": "greedy"}, r"strategy is 'greedy': Input should be 'learning', 'static', 'beam' or 'random'"),
        ({"initial_parameters": "lr=1"}, r"initial_parameters is 'lr=1': .*valid list"),
        ({"initial_parameters": [1]}, r"initial_parameters\.0 is 1: .*valid dictionary"),
        ({"thresholds": 0.7}, r"thresholds is 0\.7: .*valid dictionary"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_the_tuner_refuses(arguments, words):
    with pytest.raises(SettingsError, match=f"^DreamTuner: {words}"):
        parse_settings(TunerSettings, arguments, "DreamTuner")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"optimize_mode": "min"}, r"optimize_mode is 'min': Input should be 'maximize' or 'minimize'"),
        ({"patience": 0}, r"patience is 0: .*greater than or equal to 1"),
        ({"patience": 2.0}, r"patience is 2\.0: .*valid integer"),
        ({"slow_share": -0.01}, r"slow_share is -0\.01: .*greater than or equal to 0"),
        ({"slow_share": 1.01}, r"slow_share is 1\.01: .*less than or equal to 1"),
        ({"slow_share": math.nan}, r"slow_share is nan: .*finite number"),
        ({"planned_epochs": 0}, r"planned_epochs is 0: .*greater than or equal to 1"),
        ({"n_reference_trials": 0}, r"n_reference_trials is 0: .*greater than or equal to 1"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_the_assessor_refuses(arguments, words):
    with pytest.raises(SettingsError, match=f"^DreamAssessor: {words}"):
        parse_settings(AssessorSettings, arguments, "DreamAssessor")


@pytest.mark.parametrize("model", [TunerSettings, AssessorSettings])
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("min_improvement", 0, "greater than 0"),
        ("min_improvement", "1e-3", "valid number"),  # YAML reads 1e-3 as text
        ("min_relative_improvement", 0.0, "greater than 0"),
        ("min_convergence_epochs", 1, "greater than or equal to 2"),
        ("min_convergence_epochs", 4.5, "valid integer"),
        ("exploding_loss", 0, "greater than 0"),
        ("exploding_loss", math.inf, "finite number"),
        ("dead_unit_share", 0, "greater than 0"),
        ("dead_unit_share", 1.01, "less than or equal to 1"),
        ("vanishing_ratio", 0, "greater than 0"),
        ("exploding_ratio", -70, "greater than 0"),
        ("exploding_ratios", 70, "Extra inputs are not permitted"),
    ],
)
def test_a_threshold_is_refused(model, name, value, words):
    with pytest.raises(SettingsError, match=f"Dream: thresholds.{name} is {value!r}: .*{words}"):
        parse_settings(model, {"thresholds": {name: value}}, "Dream")


def test_an_unknown_argument_is_named_beside_the_known_ones():
    words = (
        r"DreamTuner: optimise_mode is 'maximize': Extra inputs are not permitted \(arguments: optimize_mode, seed, "
    )
    with pytest.raises(SettingsError, match=words):
        parse_settings(TunerSettings, {"optimise_mode": "maximize"}, "DreamTuner")


def test_every_broken_rule_is_named_at_once():
    with pytest.raises(SettingsError, match=r"patience is 0: .*; slow_share is 2: .*; pace is 1: "):
        parse_settings(AssessorSettings, {"patience": 0, "slow_share": 2, "pace": 1}, "DreamAssessor")


def test_gradient_thresholds_leave_room_for_normal_gradients():
    with pytest.raises(SettingsError, match=r"vanishing_ratio 70 must be below exploding_ratio 70"):
        parse_settings(TunerSettings, {"thresholds": {"vanishing_ratio": 70.0}}, "DreamTuner")


def test_a_single_initial_configuration_needs_no_list():
    settings = parse_settings(TunerSettings, {"initial_parameters": {"lr": 0.1}}, "DreamTuner")
    assert settings.initial_parameters == [{"lr": 0.1}]
