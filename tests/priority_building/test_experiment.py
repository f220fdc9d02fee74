from types import SimpleNamespace

import pytest

from nni_dream.config import SettingsError
from nni_dream.priority_building.experiment import class_args_of, option_value, shared_command

COMMAND = "python3 -m my.trial --data mr --data-dir 'my data' --epochs 9"


def test_what_belongs_to_the_machine_is_not_shared():
    assert shared_command(f"{COMMAND} --output=out --weights-dir w") == "python3 -m my.trial --data mr --epochs 9"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (COMMAND, "mr"),
        ("t --data=mr --epochs 2", "mr"),
        ("t --data 'my data' --data-dir x", "my data"),
        ("python3 my.py", None),
        ("t --data", None),
    ],
)
def test_the_value_of_an_option_is_what_the_command_says(command, expected):
    assert option_value(command, "--data") == expected


def test_a_tuner_without_arguments_has_none():
    assert class_args_of(SimpleNamespace(tuner=SimpleNamespace(class_args=None))) == {}


def test_a_command_with_a_quotation_that_does_not_end_is_told():
    with pytest.raises(SettingsError, match=r"trialCommand \"t --name it's\" cannot be read \(No closing quotation\)"):
        shared_command("t --name it's")
