"""A search space as text: written like the shipped ones, and read as it was by JSON and by YAML 1.1."""

import json
from pathlib import Path

import pytest
import yaml
from generated_spaces import CONTINUOUS_SPECS, FINITE_SPECS, choice, definitions, option, ranged
from hypothesis import given
from hypothesis import strategies as st

from nni_dream.report.space_text import space_diff, space_text
from nni_dream.search.json_values import canonical_json
from nni_dream.search.space import SearchSpaceError

SPACES = Path(__file__).parents[2] / "experiment_configs" / "spaces"


@pytest.mark.parametrize("name", ["image", "image_expanded", "text", "text_expanded"])
def test_the_shipped_spaces_are_written_as_they_are(name):
    text = (SPACES / f"{name}.json").read_text(encoding="utf-8")
    assert space_text(json.loads(text)) == text


@given(definitions(st.one_of(FINITE_SPECS, CONTINUOUS_SPECS)))
def test_json_and_yaml_read_what_was_written(definition):
    text = space_text(definition)
    assert canonical_json(json.loads(text)) == canonical_json(yaml.safe_load(text)) == canonical_json(definition)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.0"),
        (1e-4, "0.0001"),
        (-2.5e-5, "-0.000025"),
        (1e-6, "0.000001"),
        (9e-7, "9.0e-07"),
        (1.5e-7, "1.5e-07"),
        (1e16, "1.0e+16"),
        (1e300, "1.0e+300"),
        (100000.0, "100000.0"),
        (2**70, str(2**70)),
    ],
)
def test_numbers(number, text):
    written = space_text({"x": choice(number)})
    assert written == f'{{\n  "x": {{"_type": "choice", "_value": [{text}]}}\n}}\n'
    assert yaml.safe_load(written) == json.loads(written) == {"x": choice(number)}


@pytest.mark.parametrize(
    ("text", "written"), [("学习率", '"学习率"'), ("\ud800", r'"\ud800"'), ('"\n\x1b', r'"\"\n\u001b"'), ("", '""')]
)
def test_characters_that_can_be_shown_are(text, written):
    assert space_text({text: choice(text)}) == f'{{\n  {written}: {{"_type": "choice", "_value": [{written}]}}\n}}\n'


def test_what_fits_into_120_columns_with_a_comma_stands_in_one_line():
    frame = len('  "x": {"_type": "choice", "_value": [""]}')
    fits, too_long = (space_text({"x": choice("a" * (n_columns - frame))}) for n_columns in (119, 120))
    assert [len(line) for line in fits.splitlines()] == [1, 119, 1]
    assert too_long.splitlines()[1:-1] == [
        '  "x": {"_type": "choice", "_value": [',
        f'    "{"a" * (120 - frame)}"',
        "  ]}",
    ]


def test_what_stands_beside_type_and_values_is_written_too():
    definition = {"x": {"_type": "choice", "_value": ["a" * 100], "_comment": "why"}}
    assert json.loads(space_text(definition)) == definition


def test_any_depth_of_choices_can_be_written():
    definition = {"x": ranged("uniform", 0, 1)}
    for _ in range(100):
        definition = {"x": choice(option("a", **definition), option("b"))}
    assert json.loads(space_text(definition)) == definition


def test_values_nested_too_deeply_are_refused():
    value = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(SearchSpaceError, match="nested too deeply to be written"):
        space_text({"x": choice(value)})


def test_a_diff_names_the_files_and_is_empty_where_nothing_changed():
    before, after = space_text({"x": choice(1)}), space_text({"x": choice(1), "y": choice(2)})
    assert space_diff(before, after, ("old.json", "new.json")).splitlines() == [
        "--- old.json",
        "+++ new.json",
        "@@ -1,3 +1,4 @@",
        " {",
        '-  "x": {"_type": "choice", "_value": [1]}',
        '+  "x": {"_type": "choice", "_value": [1]},',
        '+  "y": {"_type": "choice", "_value": [2]}',
        " }",
    ]
    assert space_diff(before, before, ("old.json", "new.json")) == ""
