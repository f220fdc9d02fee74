"""Commands of trials: whose they are, and options that are put into them."""

import pytest

from nni_dream.own_commands import own_module, with_options

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


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python3 train.py | tee out.txt", "python3 train.py --epochs 2 | tee out.txt"),
        ("python3 train.py --x 'a|b' 2>&1 | tee o", "python3 train.py --x 'a|b' --epochs 2 2>&1 | tee o"),
        ("cd code && python3 train.py --epochs 9; echo done", "cd code && python3 train.py --epochs 2; echo done"),
        (
            "python3 -m nni_dream.automl.trial --data trec >log",
            "python3 -m nni_dream.automl.trial --data trec --epochs 2 >log",
        ),
        ("python3 train.py --run r2>log", "python3 train.py --run r2 --epochs 2 >log"),
        ("python3 train.py --n 7", "python3 train.py --n 7 --epochs 2"),
        ("./train --x 1", "./train --x 1 --epochs 2"),
        ("python3 train.py --name it's", "python3 train.py --name it's --epochs 2"),
    ],
)
def test_an_option_goes_to_the_program_and_not_to_what_follows_it(command, expected):
    assert with_options(command, {"--epochs": 2}) == expected


def test_what_only_the_shell_can_read_is_no_command_of_ours():
    assert own_module("python3 trial.py  # don't buffer") is None
