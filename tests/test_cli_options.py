"""The options of all commands together: the same name, letter and words for the same thing."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from nni_dream.cli import app

OWN_TEXTS = Path(__file__).parents[1] / "experiment_configs" / "own_texts.yml"


def commands(group, *outer):
    """Yield ``run``, ``priority build`` and all others, each with its arguments and options."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *outer, name)
        else:
            yield " ".join((*outer, name)), command.params


COMMANDS = dict(commands(typer.main.get_command(app)))
PARAMETERS = [(name, parameter) for name, parameters in COMMANDS.items() for parameter in parameters]


def named(option):
    return {name: parameter for name, parameter in PARAMETERS if option in parameter.opts}


def test_the_commands_of_priority_are_among_them():
    assert {"run", "priority build", "priority import"} <= COMMANDS.keys()


@pytest.mark.parametrize(("command", "parameter"), PARAMETERS, ids=lambda each: getattr(each, "name", each))
def test_every_help_is_a_sentence(command, parameter):
    assert parameter.help[0].isupper()
    assert parameter.help.endswith(".")
    assert "so many" not in parameter.help


def test_the_output_has_the_same_letter_in_every_command():
    outputs = named("--output")
    assert {"run", "export", "expand", "pretrain", "priority build"} <= outputs.keys()
    assert all("-o" in parameter.opts for parameter in outputs.values())


@pytest.mark.parametrize(
    ("option", "users"),
    [
        ("--port", {"run", "priority build"}),
        ("--data-option", {"run", "pretrain"}),
        ("--force", {"expand", "priority build", "priority merge", "priority import"}),
    ],
)
def test_a_shared_option_has_the_same_words_in_every_command(option, users):
    found = named(option)
    assert found.keys() == users
    assert len({parameter.help for parameter in found.values()}) == 1


@pytest.mark.parametrize("option", ["--data-dir", "--working-dir"])
def test_an_experiment_is_told_of_folders_in_the_same_words(option):
    found = named(option)
    assert found["run"].help == found["priority build"].help


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("text", "error: --data-option is 'text', expected NAME=VALUE\n"),
        ("task=x", "'task' is no option of a data set: use --task in the trial's command\n"),
        ("storage=x", "'storage' is no option of a data set: leave it out\n"),
    ],
)
def test_a_wrong_option_of_the_data_is_one_line_before_anything_starts(option, told, tmp_path):
    (tmp_path / "t.csv").write_text("text,label\na,x\n")
    words = ["run", OWN_TEXTS, "--data-dir", tmp_path / "t.csv", "--working-dir", tmp_path / "new"]
    done = CliRunner().invoke(app, [*map(str, words), "--data-option", option])
    assert done.exit_code == 1
    assert done.output.startswith("error: ")
    assert done.output.endswith(told)
    assert done.output.count("\n") == 1
    assert not (tmp_path / "new").exists()
