"""Search-space files: read as NNI reads them, and every surprise told."""

import json
import re

import pytest
import yaml
from nni.experiment.config.experiment_config import _load_search_space_file

from nni_dream.space_files import SpaceFileError, read_space_file

JSON = '{"lr": {"_type": "loguniform", "_value": [4e-5, 0.1]}, "opt": {"_type": "choice", "_value": ["adam", "sgd"]}}'
TRAILING_COMMA = '{"lr": {"_type": "choice", "_value": [4e-5, 1E3, 0.1,]}}'


@pytest.fixture
def file(tmp_path):
    def write(text, name="space.json"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def candidates(space_file):
    return {".".join(parameter.path): parameter.action_values() for parameter in space_file.space.walk()}


def test_json_is_read(file):
    found = read_space_file(file(JSON))
    assert [parameter.name for parameter in found.space.walk()] == ["lr", "opt"]
    assert found.notes == ()


@pytest.mark.parametrize(
    "text",
    [
        TRAILING_COMMA,
        "\ufeff" + JSON.replace("4e-5", "0.1").replace("0.1]", "0.2]"),
        "lr: {_type: choice, _value: [0.1, on, ~]}",
        "# a comment\nlr:\n  _type: choice\n  _value:\n  - 0.1\n",
    ],
)
def test_what_is_not_json_is_read_as_nni_reads_it(file, text):
    path = file(text)
    found = read_space_file(path)
    expected = _load_search_space_file(path)
    for name, values in candidates(found).items():
        if expected[name]["_type"] == "choice":
            assert values == expected[name]["_value"]
    assert found.notes[0].startswith("not JSON (")
    assert found.notes[0].endswith("so NNI reads it as YAML 1.1")


def test_numbers_that_yaml_takes_for_text_are_told(file):
    found = read_space_file(file(TRAILING_COMMA))
    # Python 3.13 points at the comma, earlier ones behind it.
    assert re.fullmatch(r"not JSON \(line 1, column 5[34]: .*\), so NNI reads it as YAML 1\.1", found.notes[0])
    assert found.notes[1:] == (
        "parameter 'lr': '4e-5' is text to YAML 1.1, not a number; write 4.0e-5",
        "parameter 'lr': '1E3' is text to YAML 1.1, not a number; write 1.0e+3",
    )
    (lr,) = found.space.parameters
    assert lr.action_values() == ["4e-5", "1E3", 0.1]
    assert lr.role is None  # words are no learning rate


@pytest.mark.parametrize("number", ["4e-5", "-4e5", "1E3", "12e+2", "1.5e3"])
def test_what_the_note_tells_to_write_is_a_number_to_yaml(file, number):
    found = read_space_file(file(f"x: {{_type: choice, _value: [{number}]}}"))
    assert yaml.safe_load(found.notes[1].rsplit("write ", maxsplit=1)[1]) == float(number)


def test_a_range_of_such_numbers_is_refused_with_the_way_out(file):
    path = file(TRAILING_COMMA.replace("choice", "uniform").replace(", 1E3", ""))
    with pytest.raises(SpaceFileError) as error:
        read_space_file(path)
    assert str(error.value).startswith(
        f"{path}: parameter 'lr' (uniform) has value '4e-5', expected finite numbers; not JSON (line 1"
    )
    assert "write 4.0e-5" in str(error.value)


def test_a_name_that_yaml_takes_for_a_truth_value_is_told(file):
    found = read_space_file(file("on: {_type: choice, _value: [1]}\n3: {_type: choice, _value: [1]}"))
    assert candidates(found) == {"true": [1], "3": [1]}
    assert found.notes[1:] == (
        "parameter 'True' is no text to YAML 1.1: NNI calls it 'true'; put it into quotes",
        "parameter '3' is no text to YAML 1.1: NNI calls it '3'; put it into quotes",
    )


def test_a_parameter_that_is_there_twice_is_told(file):
    found = read_space_file(
        file('{"x": {"_type": "choice", "_value": [1]}, "x": {"_type": "choice", "_value": [2, 25, 25.0]}}')
    )
    assert candidates(found) == {"x": [2, 25]}
    assert found.notes == (
        "'x' is there twice in one object: the last one counts",
        "parameter 'x': 25 is there more than once and counts once",
    )


def test_what_is_told_of_nested_choices_has_their_path(file):
    nested = {"_type": "choice", "_value": [{"_name": "a", "b": {"_type": "choice", "_value": [1, 1]}}]}
    found = read_space_file(file(json.dumps({"m": nested})))
    assert found.notes == ("parameter 'm.b': 1 is there more than once and counts once",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '{"x": {"_type": "choice", "_value": [1]},\n}}',
            r"neither JSON \(line [12], column \d+: .*\) nor YAML 1\.1 \(line 2, column 2: expected '<document start>'",
        ),
        ('{"x": {"_type": "uniform", "_value": [1, 0]}}', r"parameter 'x' \(uniform\) has bounds \[1, 0\] in reverse"),
        ('{"x": {"_type": "chooice", "_value": [1]}}', r"parameter 'x' has unknown _type 'chooice'.*mean 'choice'\?$"),
        ('{"x": {"_type": "choice", "_value": []}}', r"parameter 'x' is a choice without any option"),
        ('{"x": {"_type": "choice", "_value": [NaN]}}', r"parameter 'x' has NaN or infinity among its options"),
        ("", r"search space is a NoneType, expected an object of parameters; not JSON \(line 1, column 1"),
        ("just words", r"search space is a str, expected an object"),
        ("[1]", r"search space is a list, expected an object"),
        ("x: {_type: choice, _value: [2020-01-01]}", r"Object of type date is not JSON serializable; not JSON"),
        ("x: {_type: choice, _value: [2020-13-45]}", r"neither JSON \(line 1.*\) nor YAML 1\.1 \(month must be in"),
        ("{" * 3000, r"neither JSON \(.*\) nor YAML 1\.1"),
        ("[" * 100_000, r"neither JSON \(.*recursion.*\) nor YAML 1\.1 \(.*recursion.*\)"),
        ('{"x": {"_type": "randint", "_value": [0, ' + "9" * 5000 + "]}}", r"neither JSON \(.*digits.*"),
    ],
    ids="{!s:.40}".format,
)
def test_a_file_that_cannot_be_used_is_refused_by_name(file, text, words):
    path = file(text)
    with pytest.raises(SpaceFileError, match=words) as error:
        read_space_file(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(SpaceFileError, match=r"missing\.json: cannot be read: .*No such file"):
        read_space_file(tmp_path / "missing.json")
    (tmp_path / "latin.json").write_bytes(b'{"\xe4": 1}')
    with pytest.raises(SpaceFileError, match=r"latin\.json: cannot be read: 'utf-8' codec"):
        read_space_file(tmp_path / "latin.json")


# --- experiments


@pytest.mark.parametrize("field", ["searchSpaceFile", "search_space_file"])
def test_an_experiment_names_a_file_beside_it(file, field):
    space = file(JSON)
    found = read_space_file(file(f"{field}: space.json\ntrialCommand: python trial.py\n", "experiment.yml"))
    assert found.path == space
    assert list(candidates(found)) == ["lr", "opt"]


def test_an_experiment_names_a_file_in_the_home_folder(file, monkeypatch):
    space = file(JSON)
    monkeypatch.setenv("HOME", str(space.parent))
    assert read_space_file(file("searchSpaceFile: ~/space.json\n", "experiment.yml")).path == space


def test_an_empty_name_of_a_file_is_none(file):
    text = "searchSpaceFile:\nsearchSpace:\n  lr: {_type: choice, _value: [0.1, 0.01]}\ntuner: 3\n"
    found = read_space_file(file(text, "experiment.yml"))
    assert list(candidates(found)) == ["lr"]


def test_an_experiment_holds_the_space_and_states_roles(file):
    found = read_space_file(
        file(
            "searchSpace:\n  rate: {_type: choice, _value: [1e-3, 0.1]}\n"
            "tuner:\n  name: Dream\n  classArgs: {roles: {rate: learning_rate}}\n",
            "experiment.yml",
        )
    )
    assert candidates(found) == {"rate": ["1e-3", 0.1]}
    assert found.roles == {"rate": "learning_rate"}
    assert found.notes == ("parameter 'rate': '1e-3' is text to YAML 1.1, not a number; write 1.0e-3",)
    (rate,) = found.space.parameters
    assert rate.role.value == "learning_rate"


def test_an_experiment_in_json_is_yaml_to_nni_all_the_same(file):
    found = read_space_file(file('{"searchSpace": {"x": {"_type": "choice", "_value": [4e-5]}}}', "experiment.json"))
    assert candidates(found) == {"x": ["4e-5"]}


def test_a_parameter_may_be_called_search_space(file):
    found = read_space_file(file('{"searchSpace": {"_type": "choice", "_value": [1]}}'))
    assert candidates(found) == {"searchSpace": [1]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("searchSpaceFile: gone.json", r"gone\.json: cannot be read"),
        ("searchSpace:", r"experiment\.yml: search space is a NoneType"),
        (
            "useAnnotation: true\ntrialCommand: python trial.py",
            r"experiment\.yml: the experiment has neither searchSpace nor searchSpaceFile",
        ),
        ("searchSpace: {x: 1}", r"experiment\.yml: parameter 'x' is 1, expected an object"),
        (
            "searchSpace: {x: {_type: choice, _value: [1]}}\ntuner: {name: Dream, classArgs: {roles: [x]}}",
            r"experiment\.yml: roles is \['x'\], expected the name and the role of each parameter",
        ),
        (
            "searchSpace: {x: {_type: choice, _value: [1]}}\ntuner: {name: Dream, classArgs: {roles: {x: lr}}}",
            r"experiment\.yml: roles: parameter 'x' has unknown role 'lr'",
        ),
        (
            "searchSpace: {x: {_type: choice, _value: [1]}}\ntuner: {name: Dream, classArgs: {roles: {y: depth}}}",
            r"experiment\.yml: roles: no parameter is called 'y' \(there are x\)",
        ),
    ],
)
def test_an_experiment_that_cannot_be_used_is_refused(file, text, words):
    with pytest.raises(SpaceFileError, match=words):
        read_space_file(file(text, "experiment.yml"))
