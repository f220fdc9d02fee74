"""Commands of trials: whose they are, and options that are put into them."""

from pathlib import Path

import pytest

from nni_dream.own_commands import available_space, own_module, with_option_added, with_options, words_of_trial

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


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "python3 -m nni_dream.automl.trial --data trec # note",
            "python3 -m nni_dream.automl.trial --data trec --epochs 2 # note",
        ),
        ("python3 train.py --x 1  # it's mine", "python3 train.py --x 1 --epochs 2  # it's mine"),
        ("python3 train.py # note", "python3 train.py --epochs 2 # note"),
        ("python3 train.py --epochs 9 # as in the paper", "python3 train.py --epochs 2 # as in the paper"),
        ("./train --x 1 # was train.py --x 0", "./train --x 1 --epochs 2 # was train.py --x 0"),
        ("python3 train.py --x 1 # a\necho done # b", "python3 train.py --x 1 --epochs 2 # a\necho done # b"),
        ("# the trial.py of old\npython3 train.py --x 1", "# the trial.py of old\npython3 train.py --x 1 --epochs 2"),
        ("python3 train.py --x a#b --y 1", "python3 train.py --x a#b --y 1 --epochs 2"),
        ("python3 train.py --x 'a # b' \"c # d\"", "python3 train.py --x 'a # b' \"c # d\" --epochs 2"),
        ("python3 train.py --x my\\ #1", "python3 train.py --x my\\ #1 --epochs 2"),
    ],
)
def test_an_option_goes_before_a_comment(command, expected):
    assert with_options(command, {"--epochs": 2}) == expected


@pytest.mark.parametrize(
    "earlier",
    ['"$HOME"/pics', "$HOME/'my pics'", "/mnt/my\\ pics", "$(pwd)/pics", '$(dirname "$0" | cat)/pics', "'a'\"b\"c"],
)
@pytest.mark.parametrize("sign", ["=", " "])
def test_an_earlier_value_of_several_parts_goes_as_a_whole(earlier, sign):
    command = f"python3 train.py --data-dir{sign}{earlier} --n 7"
    assert with_options(command, {"--data-dir": "/new"}) == "python3 train.py --n 7 --data-dir /new"


def test_an_option_that_may_be_repeated_leaves_the_others():
    command = with_option_added("python3 train.py --set a=1 | tee o", "--set", "b=my text")
    assert command == "python3 train.py --set a=1 --set 'b=my text' | tee o"


def test_a_script_that_goes_before_is_not_the_trial():
    command = "python3 prepare.py && python3 -m nni_dream.automl.trial --data trec"
    assert with_options(command, {"--epochs": 2}) == f"{command} --epochs 2"


OURS = "python3 -m nni_dream.automl.trial"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (f"{OURS} --data trec", ["--data", "trec"]),
        (f"{OURS} --data-dir $HERE/'my data'", ["--data-dir", "/here/my data"]),
        (f"{OURS} --data-dir ${{HERE}}", ["--data-dir", "/here"]),
        (f"{OURS} --data-option 'sum=1$'", ["--data-option", "sum=1$"]),
        (f"{OURS} --data-dir 'plain $HERE'", ["--data-dir", "plain $HERE"]),
        (f"{OURS} --data-dir '~/data'", ["--data-dir", "~/data"]),
        (f'{OURS} --data-dir "it\'s" $HERE "it\'s"', ["--data-dir", "it's", "/here", "it's"]),
        (f"{OURS} --epochs 9 2>&1 | tee log", ["--epochs", "9"]),
        (f"{OURS} --epochs 9; echo done", ["--epochs", "9"]),
        (f"{OURS} --epochs 9  # as in the paper", ["--epochs", "9"]),
        (f"{OURS} --epochs 9 #\n--epochs 8", ["--epochs", "9"]),
        (f"{OURS} --data-dir '#1' --data-option a=#2", ["--data-dir", "#1", "--data-option", "a=#2"]),
        (f"ulimit -n 4096 ; {OURS} --epochs 9", ["--epochs", "9"]),
        (f"python3 prepare.py && OMP_NUM_THREADS=1 {OURS} --epochs 9", ["--epochs", "9"]),
    ],
)
def test_our_trial_is_asked_with_its_words(command, words, monkeypatch):
    asked = []

    def answer(words, folder):
        asked.append(words)
        return {"space": {}, "notes": []}

    monkeypatch.setenv("HERE", "/here")
    monkeypatch.setattr("nni_dream.own_commands.ask", answer)
    assert available_space(command, Path(), {}) == ({}, [])
    assert asked[0][:-2] == ["nni_dream.automl.trial", *words]
    assert words_of_trial(command) == words


@pytest.mark.parametrize(
    "command",
    [
        f"{OURS} --data-dir $(pwd)/data",
        f"{OURS} --data-dir `pwd`/data",
        f"D=/x; {OURS} --data-dir $NOT_SET_HERE",
        f"{OURS} --data-dir ${{NOT_SET_HERE:-/x}}",
        f"cd code && {OURS} --data-dir data",
        f"(cd code; {OURS} --data-dir data)",
    ],
)
def test_what_the_shell_alone_knows_is_not_asked(command, monkeypatch):
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    monkeypatch.setattr("nni_dream.own_commands.ask", lambda *_: pytest.fail("the trial was asked"))
    space, (note,) = available_space(command, Path(), {"x": 1})
    assert space == {"x": 1}
    assert note.startswith("only the shell can read the trials' command")
    assert words_of_trial(command) is None


def test_what_only_the_shell_can_read_is_no_command_of_ours():
    assert own_module("python3 trial.py  # don't buffer") is None
