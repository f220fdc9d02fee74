import argparse

import pytest

from nni_dream.automl import digits, trial
from nni_dream.automl.command import positive, run_command
from nni_dream.automl.data import DataError
from nni_dream.automl.evaluation import TrainingError


def raise_(error):
    raise error


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("200", 200)])
def test_a_positive_number(text, number):
    assert positive(text) == number


@pytest.mark.parametrize("text", ["0", "-3", "abc", "1.5", ""])
def test_what_is_no_positive_number(text):
    with pytest.raises(argparse.ArgumentTypeError, match=rf"^is '{text}', expected a whole number, 1 or more$"):
        positive(text)


@pytest.mark.parametrize("main", [trial.main, digits.main])
def test_an_option_that_is_no_number_is_told_in_words_of_the_option(main, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--epochs", "abc"])
    assert stop.value.code == 2
    expected = "error: argument --epochs: is 'abc', expected a whole number, 1 or more"
    assert capsys.readouterr().err.splitlines()[-1].endswith(expected)


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_is_that_of_the_action(code):
    assert run_command(lambda: code) == code


@pytest.mark.parametrize("error", [TrainingError("too large"), DataError("too large"), OSError("too large")])
def test_an_error_for_the_user_is_one_line(error, capsys):
    assert run_command(lambda: raise_(error)) == 1
    assert capsys.readouterr().err == "error: too large\n"


@pytest.mark.parametrize("error", [ValueError("ours"), RuntimeError("torch's"), KeyError("ours")])
def test_any_other_error_keeps_its_traceback(error, capsys):
    with pytest.raises(type(error)):
        run_command(lambda: raise_(error))
    assert capsys.readouterr().err == ""


def test_an_interrupt_ends_the_process(monkeypatch):
    monkeypatch.setattr("nni_dream.automl.command.end_interrupted", lambda: 130)
    assert run_command(lambda: raise_(KeyboardInterrupt())) == 130


def test_an_error_of_the_training_is_one_line_in_the_digits_trial_too(monkeypatch, tmp_path, capsys):
    def fit(*_, **__):
        raise TrainingError("out of memory with 2 samples in a batch: the model is too large")

    monkeypatch.setattr("nni_dream.automl.training.Trainer.fit", fit)
    assert digits.main(["--output", str(tmp_path)]) == 1
    expected = "error: out of memory with 2 samples in a batch: the model is too large\n"
    assert capsys.readouterr().err.endswith(expected)
