from types import SimpleNamespace

import pytest

from nni_dream.priority_building.experiment import class_args_of, data_name, shared_command, with_options

COMMAND = "python3 -m my.trial --data mr --data-dir 'my data' --epochs 9"


def test_an_option_takes_the_place_of_an_earlier_one():
    assert with_options("t --epochs 9 --scale tiny", {"--epochs": 2}) == "t --scale tiny --epochs 2"


@pytest.mark.parametrize("earlier", ["--epochs 9", "--epochs=9", "--epochs '9 of them'", '--epochs  "9"'])
def test_in_whatever_form_the_earlier_one_is_written(earlier):
    assert with_options(f"t {earlier} --epochs-of 3", {"--epochs": 2}) == "t --epochs-of 3 --epochs 2"


@pytest.mark.parametrize("command", [COMMAND, "cd code && python3 train.py --data $DATA --gpu=${GPU:-0}"])
def test_an_option_that_is_not_given_leaves_what_is_there(command):
    assert with_options(command, {"--epochs": None, "--batch-size": None}) == command


def test_the_rest_of_the_command_stays_as_the_shell_is_to_read_it():
    command = "cd code && python3 train.py --epochs 9 --data $DATA"
    assert with_options(command, {"--epochs": 2}) == "cd code && python3 train.py --data $DATA --epochs 2"


def test_what_belongs_to_the_machine_is_not_shared():
    assert shared_command(f"{COMMAND} --output=out --weights-dir w") == "python3 -m my.trial --data mr --epochs 9"


@pytest.mark.parametrize(
    ("command", "expected"),
    [(COMMAND, "mr"), ("t --data=mr --epochs 2", "mr"), ("python3 my.py", "else"), ("t --data", "else")],
)
def test_the_data_set_is_what_the_command_names(command, expected):
    assert data_name(command, "else") == expected


def test_a_tuner_without_arguments_has_none():
    assert class_args_of(SimpleNamespace(tuner=SimpleNamespace(class_args=None))) == {}
