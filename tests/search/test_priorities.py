"""Priority tables: the paper's Table 2, looking up, backing off, and every error of a file."""

import json
import re

import pytest

from nni_dream.search.conditions import Condition
from nni_dream.search.priorities import (
    PriorityTable,
    PriorityTableError,
    action_key,
    load_priority_table,
    shipped_tables,
)

# DREAM, Table 2: the first four actions of each condition.
PAPER = """
EA-NC-DG-NW  trainable=true       imagenet_size=true    block_type=xception          optimizer=adam_weight_decay
EA-NC-EG-NW  trainable=true       block_type=xception   imagenet_size=true           version=b7
EA-SC-DG-NW  trainable=true       imagenet_size=true    block_type=xception          momentum=0.1
EA-SC-EG-NW  trainable=true       learning_rate=0.01    imagenet_size=true           block_type=xception
RA-NC-NG-NW  block_type=xception  trainable=true        imagenet_size=true           optimizer=adam_weight_decay
RA-SC-NG-NW  learning_rate=0.01   trainable=true        learning_rate=0.1            learning_rate=0.001
OA-NC-DG-NW  block_type=xception  filters=256           optimizer=adam_weight_decay  end_learning_rate=1e-5
OA-NC-NG-NW  block_type=xception  separable=false       optimizer=adam_weight_decay  end_learning_rate=1e-5
OA-SC-DG-NW  block_type=xception  learning_rate=0.01    learning_rate=0.001          optimizer=sgd
OA-SC-EG-EW  num_blocks=3         block_type=xception   num_layers=2                 separable=true
XA-NC-NG-NW  pretrained=true      trainable=true        imagenet_size=true           optimizer=adam_weight_decay
"""
PAPER_ROWS = {condition: actions for condition, *actions in (line.split() for line in PAPER.strip().splitlines())}


def read_action(text):
    object_, value = text.split("=")
    try:
        return object_, json.loads(value)
    except json.JSONDecodeError:
        return object_, value


def ranked(table, condition):
    return table.ranked_actions(Condition.parse(condition))


def texts(entries):
    return [f"{entry.object}={entry.value}" for entry in entries]


def table_of(*rows):
    """A table from rows of (condition, [(value of the object "x", gain, n), ...])."""
    return {
        "version": 1,
        "task": "test",
        "source": "here",
        "rows": [
            {"condition": condition, "actions": [action(*numbers) for numbers in actions]}
            for condition, actions in rows
        ],
    }


def action(value, mean_gain=None, n=None):
    numbers = {"mean_gain": mean_gain, "n": n}
    return {"object": "x", "value": value} | {key: number for key, number in numbers.items() if number is not None}


@pytest.fixture
def load(tmp_path):
    def write_and_load(content):
        path = tmp_path / "table.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return load_priority_table(str(path))

    return write_and_load


# --- the paper's table


def test_the_papers_table_is_shipped():
    assert "paper_table2" in shipped_tables()
    assert shipped_tables() == sorted(shipped_tables())


@pytest.mark.parametrize("name", shipped_tables())
def test_every_shipped_table_loads(name):
    assert load_priority_table(name).rows


def test_the_papers_table_has_its_11_conditions():
    assert [row.condition for row in load_priority_table("paper_table2").rows] == list(PAPER_ROWS)


@pytest.mark.parametrize("condition", PAPER_ROWS)
def test_a_row_of_the_papers_table(condition):
    expected = [read_action(text) for text in PAPER_ROWS[condition]]
    entries = ranked(load_priority_table("paper_table2"), condition)[:4]
    assert [(entry.object, entry.value) for entry in entries] == expected
    assert [type(entry.value) for entry in entries] == [type(value) for _, value in expected]
    assert [str(entry.level) for entry in entries] == [condition] * 4
    assert [entry.rank for entry in entries] == [1, 2, 3, 4]
    assert [entry.priority for entry in entries] == [1, 1 / 2, 1 / 3, 1 / 4]


# --- backing off


def test_what_helps_in_a_coarser_condition_comes_before_what_hurts_in_this_one(load):
    """Own row, -0.1 and 0.2; others, what is not in it: -0.3, 0.0 and 0.1, and 0.9 for the one that hurts here."""
    table = load(
        table_of(
            ("OA-NC-NG-NW", [("helps", 0.2, 1), ("hurts", -0.1, 1)]),
            ("OA-SC-NG-NW", [("hurts", 0.9, 50), ("helps elsewhere", 0.1, 5), ("nothing", 0.0, 5), ("bad", -0.3, 5)]),
        )
    )
    entries = ranked(table, "OA-NC-NG-NW")
    assert [(entry.value, entry.rank, entry.priority, str(entry.level)) for entry in entries] == [
        ("helps", 1, 0.2, "OA-NC-NG-NW"),
        ("helps elsewhere", 2, 0.1, "OA-*-*-*"),
        ("hurts", 3, -0.1, "OA-NC-NG-NW"),
        ("nothing", 4, 0.0, "OA-*-*-*"),
        ("bad", 5, -0.3, "OA-*-*-*"),
    ]


@pytest.mark.parametrize(
    ("gains", "priority"), [((None, None), 1.0), ((0.1, 0.3), pytest.approx(0.25))], ids=["ranks", "gains"]
)
def test_true_is_one_action_in_either_form(load, gains, priority):
    one, other = gains
    table = load(table_of(("OA-NC-NG-NW", [(True, one, 1)]), ("OA-NC-DG-NW", [("true", other, 3)])))
    (entry,) = ranked(table, "*-*-*-*")
    assert (entry.value, entry.priority) == (True, priority)
    assert len(ranked(table, "OA-NC-DG-NW")) == 1


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (True, "true", True),
        (False, "False", True),
        (1, 1.0, True),
        (1, True, False),
        ("sgd", "SGD", False),
        (True, False, False),
    ],
    ids="{!r:.40}".format,
)
def test_when_two_actions_are_the_same(one, other, is_same):
    assert (action_key("x", one) == action_key("x", other)) is is_same
    assert action_key("x", one) != action_key("y", one)


@pytest.mark.parametrize("condition", [*PAPER_ROWS, "OA-NC-VG-NW", "NA-SC-VG-EW", "XA-*-*-*", "*-*-*-*"])
def test_every_action_of_the_table_is_ranked_once(condition):
    table = load_priority_table("paper_table2")
    entries = ranked(table, condition)
    expected = {read_action(text) for actions in PAPER_ROWS.values() for text in actions}
    assert len(entries) == len(expected)
    assert {(entry.object, entry.value) for entry in entries} == expected
    assert [entry.rank for entry in entries] == list(range(1, len(entries) + 1))


@pytest.mark.parametrize(
    ("condition", "level"),
    [
        ("OA-SC-EG-EW", "OA-SC-EG-EW"),
        ("OA-SC-EG-NW", "OA-SC-EG-*"),  # no such row: first without W
        ("OA-NC-VG-NW", "OA-NC-*-*"),  # then without G
        ("XA-SC-VG-NW", "XA-*-*-*"),  # then without C
        ("NA-SC-VG-NW", "*-*-*-*"),  # then without A
        ("OA-NC-*-*", "OA-NC-*-*"),  # a trial that reports its score alone
    ],
)
def test_a_condition_without_a_row_backs_off(condition, level):
    first = ranked(load_priority_table("paper_table2"), condition)[0]
    assert str(first.level) == level


def test_levels_become_ever_coarser_down_the_ranks():
    entries = ranked(load_priority_table("paper_table2"), "OA-NC-NG-NW")
    levels = list(dict.fromkeys(str(entry.level) for entry in entries))
    # every action of OA-NC-NG-* stands in its own row already
    assert levels == ["OA-NC-NG-NW", "OA-NC-*-*", "OA-*-*-*", "*-*-*-*"]
    assert entries[4].object == "filters"


def test_ranks_of_several_rows_are_averaged_as_1_over_rank(load):
    table = load(table_of(("OA-NC-NG-NW", [("a",), ("b",)]), ("OA-NC-DG-NW", [("c",), ("b",)])))
    entries = ranked(table, "OA-NC-EG-NW")
    # b: (1/2 + 1/2) / 2; a and c: (1 + 0) / 2; ties keep the order of the rows
    assert texts(entries) == ["x=a", "x=b", "x=c"]
    assert [entry.priority for entry in entries] == [0.5, 0.5, 0.5]


def test_an_action_that_both_rows_list_goes_before_the_first_of_one(load):
    table = load(table_of(("OA-NC-NG-NW", [("a",), ("b",)]), ("OA-NC-DG-NW", [("b",), ("c",)])))
    entries = ranked(table, "OA-NC-EG-NW")
    assert texts(entries) == ["x=b", "x=a", "x=c"]
    assert [entry.priority for entry in entries] == [0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("OA-NC-NG-NW", 1),
        ("OA-NC-*-*", 2),  # two of its three rows say so
        ("OA-NC-*-NW", 2),
        ("*-NC-NG-NW", 3),  # two of the three architectures say so
        ("*-*-*-*", 3),  # 3 has two firsts and a second, 2 two firsts
    ],
)
def test_what_is_unknown_is_averaged_over_and_not_taken_for_normal(load, condition, expected):
    table = load(
        table_of(
            ("OA-NC-NG-NW", [(1,), (3,)]),
            ("OA-NC-EG-NW", [(2,)]),
            ("OA-NC-DG-NW", [(2,)]),
            ("RA-NC-NG-NW", [(3,)]),
            ("XA-NC-NG-NW", [(3,)]),
        )
    )
    first = ranked(table, condition)[0]
    assert (first.value, str(first.level)) == (expected, condition)


def test_measured_gains_order_a_row_whatever_its_own_order(load):
    table = load(table_of(("OA-NC-NG-NW", [("a", -0.1), ("b", 0.3), ("c", 0.0)])))
    entries = ranked(table, "OA-NC-NG-NW")
    assert texts(entries) == ["x=b", "x=c", "x=a"]
    assert [entry.priority for entry in entries] == [0.3, 0.0, -0.1]


def test_measured_gains_of_several_rows_are_averaged_by_their_number_of_models(load):
    table = load(
        table_of(
            ("OA-NC-NG-NW", [("a", 0.1, 30), ("b", 0.18, 1)]),
            ("OA-NC-DG-NW", [("a", 0.5, 10), ("c", 0.15, 2)]),
        )
    )
    entries = ranked(table, "OA-NC-EG-NW")
    # a: (30 * 0.1 + 10 * 0.5) / 40; a row that did not measure an action says nothing about it
    assert [(entry.value, pytest.approx(entry.priority)) for entry in entries] == [("a", 0.2), ("b", 0.18), ("c", 0.15)]


def test_a_gain_without_a_number_counts_as_one_model(load):
    table = load(table_of(("OA-NC-NG-NW", [("a", 0.1)]), ("OA-NC-DG-NW", [("a", 0.4, 2)])))
    (entry,) = ranked(table, "OA-NC-EG-NW")
    assert entry.priority == pytest.approx(0.3)


def test_the_own_row_goes_before_a_larger_gain_of_another(load):
    table = load(table_of(("OA-NC-NG-NW", [("a", 0.1)]), ("OA-NC-DG-NW", [("b", 0.9)])))
    entries = ranked(table, "OA-NC-NG-NW")
    assert [(entry.value, str(entry.level), entry.rank) for entry in entries] == [
        ("a", "OA-NC-NG-NW", 1),
        ("b", "OA-NC-*-*", 2),
    ]


def test_values_are_told_apart_as_json_does(load):
    table = load(table_of(("OA-NC-NG-NW", [(1,), (True,), ("1",)]), ("OA-NC-DG-NW", [(1.0,)])))
    assert [entry.value for entry in ranked(table, "OA-NC-NG-NW")] == [1, True, "1"]


# --- files


def test_a_missing_file_is_named_beside_the_shipped_tables():
    words = r"table 'no/such\.json' is neither a shipped table \(.*paper_table2.*\) nor a readable file: .*absolute"
    with pytest.raises(PriorityTableError, match=words):
        load_priority_table("no/such.json")


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(PriorityTableError, match="nor a readable file"):
        load_priority_table(str(tmp_path))


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "table.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PriorityTableError, match=r"nor a readable file.*codec"):
        load_priority_table(str(path))


GOOD_ROW = {"condition": "OA-NC-NG-NW", "actions": [{"object": "x", "value": 1}]}


def changed(**fields):
    return table_of() | {"rows": [GOOD_ROW]} | fields


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param('{"version": 1,', r"table: Invalid JSON", id="broken-json"),
        pytest.param("", r"table: Invalid JSON", id="empty-file"),
        pytest.param("[]", r"table: Input should be an object", id="list"),
        pytest.param(changed(version=2), r"version: Input should be 1", id="version"),
        pytest.param(changed(source=""), r"source: .*at least 1 character", id="source"),
        pytest.param(changed(rows=[]), r"rows: .*at least 1 item", id="no-rows"),
        pytest.param(changed(note="x"), r"note: Extra inputs are not permitted", id="extra-key"),
        pytest.param(
            changed(rows=[GOOD_ROW | {"n": 1}]), r"rows\.0\.n: Extra inputs are not permitted", id="extra-key-row"
        ),
        pytest.param(
            changed(rows=[GOOD_ROW | {"actions": [{"object": "x", "value": 1, "gain": 1}]}]),
            r"rows\.0\.actions\.0\.gain: Extra inputs are not permitted",
            id="extra-key-action",
        ),
        pytest.param(
            changed(rows=[GOOD_ROW | {"actions": []}]), r"rows\.0\.actions: .*at least 1 item", id="no-actions"
        ),
        pytest.param(
            changed(rows=[GOOD_ROW | {"actions": [{"value": 1}]}]),
            r"rows\.0\.actions\.0\.object: Field required",
            id="no-object",
        ),
        pytest.param(
            changed(rows=[GOOD_ROW | {"actions": [{"object": "", "value": 1}]}]),
            r"rows\.0\.actions\.0\.object: .*at least 1 character",
            id="empty-object",
        ),
        pytest.param(
            changed(rows=[GOOD_ROW, GOOD_ROW | {"condition": "OA-NC-VANISH-NW"}]),
            r"rows\.1\.condition: .*unknown gradient 'VANISH', expected one of VG, EG, DG, NG",
            id="unknown-word",
        ),
        pytest.param(changed(rows=[GOOD_ROW | {"condition": "OA"}]), r"rows\.0\.condition: .*has 1 parts", id="parts"),
        pytest.param(
            changed(rows=[GOOD_ROW, GOOD_ROW]),
            r"table: .*condition OA-NC-NG-NW has two rows, expected one",
            id="two-rows",
        ),
        pytest.param(
            table_of(("OA-NC-NG-NW", [(1,), (1.0,)])),
            r"rows\.0: .*OA-NC-NG-NW: action x=1 is there twice",
            id="action-twice",
        ),
        pytest.param(
            table_of(("OA-NC-NG-NW", [(True,), ("True",)])),
            r"rows\.0: .*OA-NC-NG-NW: action x=\"true\" is there twice",
            id="true-in-two-forms",
        ),
        pytest.param(
            table_of(("OA-NC-NG-NW", [("a", 0.1), ("b",), ("c",)])),
            r"rows\.0: .*OA-NC-NG-NW: 1 of 3 actions have a mean_gain, expected all or none",
            id="mixed-gains",
        ),
        pytest.param(
            table_of(("OA-NC-NG-NW", [("a", 0.1)]), ("OA-NC-DG-NW", [("b",)])),
            r"table: .*1 of 2 rows have mean gains, expected all or none",
            id="mixed-rows",
        ),
        pytest.param(
            json.dumps(table_of(("OA-NC-NG-NW", [("a", 0.1)]))).replace("0.1", "NaN"),
            r"rows\.0\.actions\.0\.mean_gain: .*finite number",
            id="nan-gain",
        ),
        pytest.param(
            table_of(("OA-NC-NG-NW", [("a", 0.1, 0)])),
            r"rows\.0\.actions\.0\.n: .*greater than or equal to 1",
            id="no-models",
        ),
    ],
)
def test_a_wrong_file_is_refused_by_name(load, tmp_path, content, words):
    with pytest.raises(PriorityTableError, match=rf"^priority table {re.escape(str(tmp_path))}/table\.json: {words}"):
        load(content)


def test_a_table_knows_its_source(load):
    table = load(changed())
    assert isinstance(table, PriorityTable)
    assert (table.task, table.source) == ("test", "here")
