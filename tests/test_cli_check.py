"""``nni-dream check``: what a search space is taken for, or why it cannot be used."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nni_dream.cli import app

DIGITS = Path(__file__).parents[1] / "experiment_configs" / "spaces" / "digits.json"


@pytest.fixture
def check(tmp_path):
    def run(content):
        path = tmp_path / "space.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return CliRunner().invoke(app, ["check", str(path)])

    return run


def test_every_parameter_is_shown_with_its_role_and_premises(check):
    result = check(
        {
            "optimizer/lr": {"_type": "loguniform", "_value": [1e-5, 0.1]},
            "opt": {
                "_type": "choice",
                "_value": [{"_name": "sgd", "mom": {"_type": "uniform", "_value": [0, 0.99]}}, {"_name": "adam"}],
            },
            "layers": {"_type": "randint", "_value": [1, 5]},
            "units": {"_type": "quniform", "_value": [16, 64, 16]},
            "noise": {"_type": "normal", "_value": [0, 1]},
            "flags": {"_type": "choice", "_value": [True, None, [1, 2], "x"]},
        }
    )
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "parameter     type        values                   role           premises",
        "optimizer/lr  loguniform  1e-05 to 0.1             learning_rate  -",
        'opt           choice      "sgd", "adam"            optimizer      -',
        'opt.mom       uniform     0 to 0.99                momentum       opt="sgd"',
        "layers        randint     1 to 4                   depth          -",
        "units         quniform    16 to 64, step 16        width          -",
        "noise         normal      mu 0, sigma 1            -              -",
        'flags         choice      true, null, [1, 2], "x"  -              -',
        "parameters: 7, configurations: infinitely many",
    ]


def test_a_finite_space_is_counted_and_what_may_surprise_is_noted(check):
    result = check('{"kernel": {"_type": "choice", "_value": [25, 25, 45,]}}')
    assert result.exit_code == 0
    note, *others = result.stdout.splitlines()[-3:]
    # Python 3.13 points at the comma, earlier ones behind it.
    assert re.fullmatch(r"note: not JSON \(line 1, column 5[34]: .*\), so NNI reads it as YAML 1\.1", note)
    assert others == [
        "note: parameter 'kernel': 25 is there more than once and counts once",
        "parameters: 1, configurations: 2",
    ]


def test_stated_roles_are_marked(tmp_path):
    path = tmp_path / "experiment.yml"
    path.write_text(
        "searchSpace: {rate: {_type: choice, _value: [0.1]}}\n"
        "tuner: {name: Dream, classArgs: {roles: {rate: learning_rate}}}"
    )
    result = CliRunner().invoke(app, ["check", str(path)])
    assert "learning_rate (stated)" in result.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"x": {"_type": "uniform", "_value": [1, 0]}}, "parameter 'x' (uniform) has bounds [1, 0] in reverse"),
        ({"x": {"_type": "chooice", "_value": [1, 0]}}, "did you mean 'choice'?"),
        ({"x": {"_type": "choice", "_value": []}}, "parameter 'x' is a choice without any option"),
        ('{"x": \n{]}', "neither JSON (line 2, column 2"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line_and_exit_code_1(check, content, words):
    result = check(content)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert "space.json: " in line
    assert words in line


@pytest.mark.parametrize("name", ["[red]", "\x1b[31m", "\ud800", "学习率", "a\nb"])
def test_a_name_of_any_characters_can_be_shown(check, name):
    result = check({name: {"_type": "choice", "_value": [name]}})
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == 3
    assert name in result.stdout or json.dumps(name) in result.stdout


def test_the_command_itself_checks_a_shipped_space():
    done = subprocess.run(
        [sys.executable, "-m", "nni_dream.cli", "check", str(DIGITS)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].startswith("parameters: 24, ")
