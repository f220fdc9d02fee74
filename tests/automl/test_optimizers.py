import pytest
from torch import nn
from torch.optim import SGD, Adam, AdamW, NAdam

from nni_dream.automl.digits_parameters import read_digits_parameters
from nni_dream.automl.optimizers import build_optimizer, build_schedule


@pytest.mark.parametrize(
    ("optimizer", "expected_class", "expected_settings"),
    [
        ({"_name": "adam"}, Adam, {"lr": 0.01, "weight_decay": 0}),
        ({"_name": "sgd", "momentum": 0.9}, SGD, {"lr": 0.01, "momentum": 0.9, "weight_decay": 0}),
        ({"_name": "adam_weight_decay", "weight_decay_rate": 0.05}, AdamW, {"lr": 0.01, "weight_decay": 0.05}),
        ({"_name": "nadam"}, NAdam, {"lr": 0.01, "weight_decay": 0}),
    ],
)
def test_build_optimizer(optimizer, expected_class, expected_settings):
    built = build_optimizer(nn.Linear(2, 2), read_digits_parameters({"optimizer": optimizer, "learning_rate": 0.01}))
    assert type(built) is expected_class
    assert {name: built.param_groups[0][name] for name in expected_settings} == expected_settings


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("adam", [0.1, 0.1, 0.1, 0.1, 0.1]),
        ({"_name": "adam_weight_decay", "end_learning_rate": 0.0}, [0.1, 0.075, 0.05, 0.025, 0.0]),
        ({"_name": "adam_weight_decay", "end_learning_rate": 0.02}, [0.1, 0.08, 0.06, 0.04, 0.02]),
        ({"_name": "adam_weight_decay", "end_learning_rate": 0.3}, [0.1, 0.15, 0.2, 0.25, 0.3]),
    ],
)
def test_build_schedule(optimizer, expected):
    parameters = read_digits_parameters({"optimizer": optimizer, "learning_rate": 0.1})
    built = build_optimizer(nn.Linear(2, 2), parameters)
    schedule = build_schedule(built, parameters, n_steps=4)
    rates = []
    for _ in expected:
        rates.append(built.param_groups[0]["lr"])
        built.step()
        schedule.step()
    assert rates == pytest.approx(expected)
