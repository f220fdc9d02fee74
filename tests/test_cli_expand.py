"""``nni-dream expand``: a space in, the expanded space out, and in words what that asks of the trial."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from generated_spaces import choice, option
from typer.testing import CliRunner

from nni_dream.cli import app
from nni_dream.search.additions import Group

SPACES = Path(__file__).parents[1] / "experiment_configs" / "spaces"
PLAIN = {"opt": choice("sgd", "adam"), "wd": choice(0, 0.01)}
PLAIN_TEXT = """{
  "opt": {"_type": "choice", "_value": ["sgd", "adam"]},
  "wd": {"_type": "choice", "_value": [0, 0.01]}
}
"""
NESTED_TEXT = """{
  "opt": {"_type": "choice", "_value": [
    {"_name": "sgd", "momentum": {"_type": "choice", "_value": [0.0, 0.1, 0.5, 0.9, 0.99]}},
    {"_name": "adam"}
  ]},
  "wd": {"_type": "choice", "_value": [0, 0.01]}
}
"""


def expand(*arguments):
    return CliRunner().invoke(app, ["expand", *map(str, arguments)])


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "space.json"
    path.write_text(json.dumps(PLAIN), encoding="utf-8")
    return path


def error_of(result):
    """The one line that a refused command prints."""
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


# --- the expanded space


@pytest.mark.parametrize("task", ["image", "text"])
def test_the_shipped_spaces_become_the_shipped_expanded_ones(task):
    expected = (SPACES / f"{task}_expanded.json").read_text(encoding="utf-8")
    result = expand(SPACES / f"{task}.json", "--nested")
    assert result.exit_code == 0
    assert result.stdout == expected
    again = expand(SPACES / f"{task}_expanded.json", "--nested")
    assert again.stdout == expected
    assert again.stderr.startswith("nothing added\nleft alone:\n")


def test_plain_options_stay_as_they_are_and_both_ways_out_are_named(plain):
    result = expand(plain)
    assert result.exit_code == 0
    assert result.stdout == PLAIN_TEXT
    assert result.stderr.splitlines() == [
        "nothing added",
        "left alone:",
        "  initializer, activation: no parameter has the role architecture",
        "  momentum: the options of parameter 'opt' are plain values",
        "  end_learning_rate: parameter 'opt' has no option that means adam_weight_decay",
        "  weight_decay_rate: parameter 'wd' is there already, without 0.001, 0.005, 0.05, 0.1",
        "  two_step: no parameter is called 'trainable'",
        "  three_step, epoch_ratio, lr_ratio, freeze: no parameter is called 'two_step'",
        "note: --nested turns plain options into objects, --flat adds beside them",
    ]


def test_nested_tells_what_the_trial_must_read_and_change(plain):
    result = expand(plain, "--nested", "--group", "optimizer")
    assert result.stdout == NESTED_TEXT
    assert result.stderr.splitlines() == [
        "added: 5 actions; they do something once the trial reads their parameters:",
        "the trial reads                values                    premise    meaning",
        'parameters["opt"]["momentum"]  0.0, 0.1, 0.5, 0.9, 0.99  opt="sgd"  momentum of SGD',
        'warning: parameters["opt"] is an object now, {"_name": "sgd"} where it was "sgd": trial code must read'
        ' parameters["opt"]["_name"], and initial_parameters must be written so',
        "left alone:",
        "  end_learning_rate: parameter 'opt' has no option that means adam_weight_decay",
        "  weight_decay_rate: parameter 'wd' is there already, without 0.001, 0.005, 0.05, 0.1",
    ]


def test_flat_tells_that_the_premise_is_not_in_the_space(plain):
    result = expand(plain, "--flat", "--group", "optimizer")
    assert json.loads(result.stdout) == {**PLAIN, "momentum": choice(0.0, 0.1, 0.5, 0.9, 0.99)}
    assert 'parameters["momentum"]  0.0, 0.1, 0.5, 0.9, 0.99  none; counts only with opt="sgd"' in result.stderr
    assert "warning" not in result.stderr
    assert "note" not in result.stderr


def test_a_parameter_in_several_blocks_is_told_once_and_a_choice_by_the_name_of_its_option():
    lines = expand(SPACES / "image.json", "--nested", "--group", "fine-tuning").stderr.splitlines()
    path = 'parameters["block_type"]["pretrained"]["trainable"]'
    assert [line.split("  ")[0] for line in lines[2:7]] == [
        f'{path}["two_step"]["_name"]',
        f'{path}["two_step"]["three_step"]',
        f'{path}["two_step"]["epoch_ratio"]',
        f'{path}["two_step"]["lr_ratio"]',
        f'{path}["two_step"]["freeze"]',
    ]
    assert lines[7].startswith(f'warning: {path} is an object now, {{"_name": "true"}} where it was true: ')
    assert len(lines) == 8


def test_groups_may_be_repeated():
    result = expand(SPACES / "image.json", "--nested", "--group", "model", "--group", "optimizer")
    assert result.stderr.startswith("added: 21 actions; ")


def test_the_space_of_an_experiment_with_its_stated_roles(tmp_path):
    (tmp_path / "my space.json").write_text(json.dumps({"trunk": choice(option("vanilla"))}))
    experiment = tmp_path / "experiment.yml"
    experiment.write_text(
        "searchSpaceFile: my space.json\ntuner: {name: Dream, classArgs: {roles: {trunk: architecture}}}"
    )
    result = expand(experiment)
    assert list(json.loads(result.stdout)["trunk"]["_value"][0]) == ["_name", "initializer", "activation"]


def test_what_may_surprise_in_the_file_is_told(tmp_path):
    path = tmp_path / "space.json"
    path.write_text('{"lr": {"_type": "choice", "_value": [1e-3, 0.1,]}}')
    result = expand(path)
    assert json.loads(result.stdout) == {"lr": choice("1e-3", 0.1)}  # as NNI gives it to the tuner
    assert "note: parameter 'lr': '1e-3' is text to YAML 1.1, not a number; write 1.0e-3" in result.stderr


# --- files


def test_the_output_is_written_and_is_itself_a_space(plain, tmp_path):
    output = tmp_path / "expanded.json"
    result = expand(plain, "--nested", "-o", output)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == f"wrote {output}, for searchSpaceFile in the experiment's YAML"
    assert output.read_text() == NESTED_TEXT
    assert plain.read_text() == json.dumps(PLAIN)
    assert sorted(os.listdir(tmp_path)) == ["expanded.json", "space.json"]
    assert CliRunner().invoke(app, ["check", str(output)]).exit_code == 0


def test_the_output_is_written_even_if_nothing_was_added(plain, tmp_path):
    output = tmp_path / "expanded.json"
    result = expand(plain, "--output", output)
    assert result.stderr.startswith("nothing added\n")
    assert output.read_text() == PLAIN_TEXT


def test_a_file_that_is_there_is_replaced_only_by_force(plain, tmp_path):
    output = tmp_path / "expanded.json"
    output.write_text("mine")
    assert error_of(expand(plain, "-o", output)) == (
        f"{output}: is there already; give --output another name, or replace it with --force"
    )
    assert output.read_text() == "mine"
    assert expand(plain, "-o", output, "--force").exit_code == 0
    assert output.read_text() == PLAIN_TEXT


def test_a_link_stays_a_link(plain, tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    assert expand(plain, "-o", link, "--force").exit_code == 0
    assert link.is_symlink()
    assert target.read_text() == PLAIN_TEXT


@pytest.mark.parametrize("name", ["space.json", "experiment.yml", "link.json"])
def test_what_was_read_is_never_replaced(plain, tmp_path, name):
    experiment = tmp_path / "experiment.yml"
    experiment.write_text("searchSpaceFile: space.json")
    (tmp_path / "link.json").symlink_to(plain)
    output = tmp_path / name
    reason = error_of(expand(experiment, "-o", output, "--force"))
    assert reason == f"{output}: is a file that this command reads, and stays as it is; give --output another name"
    assert plain.read_text() == json.dumps(PLAIN)
    assert experiment.read_text() == "searchSpaceFile: space.json"


@pytest.mark.parametrize(("name", "reason"), [(".", "is a folder"), ("pipe", "is there and is no file")])
def test_what_is_no_file_is_never_replaced(plain, tmp_path, name, reason):
    os.mkfifo(tmp_path / "pipe")
    output = tmp_path / name
    assert error_of(expand(plain, "-o", output, "--force")).startswith(f"{output}: {reason}; give --output ")


def test_the_folder_of_the_output_is_made(plain, tmp_path):
    assert expand(plain, "-o", tmp_path / "new" / "expanded.json").exit_code == 0
    assert (tmp_path / "new" / "expanded.json").read_text() == PLAIN_TEXT


@pytest.mark.parametrize("place", ["space.json/expanded.json", "a" * 300])
def test_a_place_where_nothing_can_be_written_is_named(plain, tmp_path, place):
    output = tmp_path / place
    result = expand(plain, "-o", output)
    assert result.exit_code == 1
    assert f"error: {output}: cannot be written: " in result.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == ["space.json"]


# --- a dry run


def test_a_dry_run_shows_the_changes_and_writes_nothing(plain, tmp_path):
    output = tmp_path / "expanded.json"
    output.write_text("mine")
    result = expand(plain, "--nested", "--dry-run", "-o", output)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"--- {plain}",
        f"+++ {output}",
        "@@ -1,4 +1,7 @@",
        " {",
        '-  "opt": {"_type": "choice", "_value": ["sgd", "adam"]},',
        '+  "opt": {"_type": "choice", "_value": [',
        '+    {"_name": "sgd", "momentum": {"_type": "choice", "_value": [0.0, 0.1, 0.5, 0.9, 0.99]}},',
        '+    {"_name": "adam"}',
        "+  ]},",
        '   "wd": {"_type": "choice", "_value": [0, 0.01]}',
        " }",
    ]
    assert result.stderr.startswith("added: 5 actions; ")
    assert output.read_text() == "mine"


def test_a_dry_run_without_an_output_and_without_a_change(plain):
    assert expand(plain, "--nested", "--dry-run").stdout.splitlines()[1] == f"+++ {plain} (expanded)"
    assert expand(plain, "--dry-run").stdout == ""


# --- what is refused


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "search space is empty, expected at least one parameter"),
        ({"x": {"_type": "chooice", "_value": [1, 0]}}, "parameter 'x' has unknown _type 'chooice', expected one of"),
        ({"x": {"_type": "uniform", "_value": [1, 0]}}, "parameter 'x' (uniform) has bounds [1, 0] in reverse"),
    ],
)
def test_what_is_no_search_space_is_one_clear_line(tmp_path, content, words):
    path = tmp_path / "space.json"
    path.write_text(json.dumps(content))
    assert error_of(expand(path)).startswith(f"{path}: {words}")


def test_a_space_that_would_be_nested_too_deeply_is_one_clear_line(tmp_path):
    definition = {"trainable": choice(option("true"))}
    for _ in range(99):
        definition = {"x": choice(option("a", **definition))}
    path = tmp_path / "space.json"
    path.write_text(json.dumps(definition))
    reason = error_of(expand(path))
    assert reason.startswith(f"{path}: parameter 'x.x.")
    assert reason.endswith(" is nested 101 choices deep, expected at most 100")


def test_a_file_that_is_not_there(tmp_path):
    assert "cannot be read" in error_of(expand(tmp_path / "gone.json"))


def test_an_unknown_group_is_named_with_those_there_are(plain):
    assert error_of(expand(plain, "--group", "optimiser")) == (
        "--group is 'optimiser', expected one of model, optimizer, fine-tuning"
    )


def test_nested_and_flat_exclude_each_other(plain):
    assert error_of(expand(plain, "--nested", "--flat")).startswith("--nested and --flat exclude each other")


@pytest.mark.parametrize("name", ["[red]", "\x1b[31m", "\ud800", "学习率", "a\nb"])
def test_a_name_of_any_characters_can_be_shown_and_written(tmp_path, name):
    path, output = tmp_path / "space.json", tmp_path / "expanded.json"
    definition = {name: choice(option("sgd"), option("adam"))}
    path.write_text(json.dumps(definition))
    result = expand(path, "-o", output)
    assert result.exit_code == 0
    assert "\x1b" not in result.stderr
    assert f"parameters[{json.dumps(name, ensure_ascii=not name.isprintable())}]" in result.stderr
    assert list(json.loads(output.read_text())) == [name]


# --- the command itself


def test_the_help_names_every_group():
    text = expand("--help").stdout
    assert all(group.value in text for group in Group)


def test_the_command_reads_and_writes_without_torch(plain):
    code = (
        "import sys; from nni_dream.cli import app\n"
        "try: app()\n"
        "finally: print('torch' in sys.modules, 'nni' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "expand", plain, "--nested"], capture_output=True, text=True, check=True
    )
    assert done.stdout == NESTED_TEXT
    assert done.stderr.splitlines()[-1] == "False False"
