import gzip
import stat

import pytest
from priority_building.example import settings

from nni_dream.priority_building.records import RecordFile, RecordsError, TrainedAction, TrainingRecord, read_records

MODEL = TrainingRecord(model=0, parameters={"x": 1}, status="succeeded", score=0.5)
CHANGED = TrainingRecord(
    model=0,
    action=TrainedAction(object="x", value=2, key="x 2"),
    parameters={"x": 2},
    status="failed",
    error="too large",
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "toy.jsonl"


def test_what_was_added_is_read_again(path):
    file = RecordFile(path, settings())
    file.add(MODEL)
    file.add(CHANGED)
    assert read_records(path) == (settings(), [MODEL, CHANGED])
    assert RecordFile(path, settings()).records == {(0, None): MODEL, (0, "x 2"): CHANGED}


def test_nobody_else_may_read_it(path):
    RecordFile(path, settings())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_torn_line_costs_that_line_only(path):
    RecordFile(path, settings()).add(MODEL)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"model": 1, "par')
    RecordFile(path, settings()).add(CHANGED)
    assert read_records(path)[1] == [MODEL, CHANGED]


def test_a_result_that_came_after_a_failure_counts_instead(path):
    file = RecordFile(path, settings())
    late = CHANGED.model_copy(update={"status": "succeeded", "score": 0.7, "error": None})
    for record in (MODEL, CHANGED, late):
        file.add(record)
    assert read_records(path)[1] == [MODEL, late]
    assert RecordFile(path, settings()).records == {(0, None): MODEL, (0, "x 2"): late}


def test_a_gzipped_file_is_read_and_not_added_to(path):
    RecordFile(path, settings()).add(MODEL)
    packed = path.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(RecordsError, match=r"toy.jsonl.gz: is gzipped, .* gunzip -k it, and name that file"):
        RecordFile(packed, settings())
    assert read_records(packed) == (settings(), [MODEL])


def test_more_seed_models_continue_the_same_file(path):
    RecordFile(path, settings()).add(MODEL)
    assert RecordFile(path, settings(n_models=9)).records == {(0, None): MODEL}


def test_other_settings_are_refused(path):
    RecordFile(path, settings())
    words = r'has trainings with trial_command "python3 toy.py", wanted is "python3 other.py"; .* name another file'
    with pytest.raises(RecordsError, match=words):
        RecordFile(path, settings(trial_command="python3 other.py"))


@pytest.mark.parametrize(
    "change",
    [
        {"data": "other"},
        {"search_space": {"x": {"_type": "choice", "_value": [1]}}},
        {"optimize_mode": "minimize"},
        {"seed": 1},
        {"roles": {"learning_rate": "optimizer"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_other_setting_is_refused(path, change):
    RecordFile(path, settings())
    with pytest.raises(RecordsError, match=f"has trainings with {next(iter(change))} "):
        RecordFile(path, settings(**change))


@pytest.mark.parametrize(
    ("text", "words"), [("", "does not say how"), ("{}\n", "does not say how"), ("[1]\n", "does not")]
)
def test_a_foreign_file_is_refused(tmp_path, text, words):
    path = tmp_path / "foreign.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecordsError, match=words):
        read_records(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordsError, match=r"none\.jsonl: cannot be read"):
        read_records(tmp_path / "none.jsonl")
