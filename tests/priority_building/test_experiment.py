from types import SimpleNamespace

import pytest

from nni_dream.priority_building.experiment import class_args_of, data_name, shared_command, with_options

COMMAND = "python3 -m my.trial --data mr --data-dir 'my data' --epochs 9"


def test_an_option_takes_the_place_of_an_earlier_one():
    assert with_options("t --epochs 9 --scale tiny", {"--epochs": 2}) == "t --scale tiny --epochs 2"


def test_an_option_that_is_not_given_leaves_what_is_there():
    assert with_options(COMMAND, {"--epochs": None, "--batch-size": None}) == COMMAND


def test_what_belongs_to_the_machine_is_not_shared():
    assert shared_command(f"{COMMAND} --output out --weights-dir w") == "python3 -m my.trial --data mr --epochs 9"


@pytest.mark.parametrize(("command", "expected"), [(COMMAND, "mr"), ("python3 my.py", "else"), ("t --data", "else")])
def test_the_data_set_is_what_the_command_names(command, expected):
    assert data_name(command, "else") == expected


def test_a_tuner_without_arguments_has_none():
    assert class_args_of(SimpleNamespace(tuner=SimpleNamespace(class_args=None))) == {}
