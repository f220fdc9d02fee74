"""The journal: strict JSON lines, appended, that outlive a crash and never end a search."""

import json
import logging
import math
import stat
import threading
from datetime import datetime

import pytest

from nni_dream.journal import JOURNAL_NAME, Journal, read_journal


def without_time(events):
    return [{name: value for name, value in event.items() if name != "time"} for event in events]


def test_events_come_back_in_order(tmp_path):
    journal = Journal(tmp_path)
    journal.append("start", seed=1, settings={"a": [1, None, True]})
    journal.append("result", score=0.5)
    assert journal.path == tmp_path / JOURNAL_NAME
    assert without_time(read_journal(journal.path)) == [
        {"event": "start", "seed": 1, "settings": {"a": [1, None, True]}},
        {"event": "result", "score": 0.5},
    ]


def test_every_event_has_its_time_in_utc(tmp_path):
    journal = Journal(tmp_path)
    journal.append("start")
    (event,) = read_journal(journal.path)
    assert datetime.fromisoformat(event["time"]).utcoffset().total_seconds() == 0


def test_a_later_journal_of_the_same_folder_appends(tmp_path):
    Journal(tmp_path).append("start")
    Journal(tmp_path).append("start")
    assert len(list(read_journal(tmp_path / JOURNAL_NAME))) == 2


def test_text_of_any_language_comes_back(tmp_path):
    Journal(tmp_path).append("note", text="Δ ü 中\n\u2028 'x'")
    (event,) = read_journal(tmp_path / JOURNAL_NAME)
    assert event["text"] == "Δ ü 中\n\u2028 'x'"
    assert (tmp_path / JOURNAL_NAME).read_bytes().isascii()


def test_the_file_is_its_owners(tmp_path):
    Journal(tmp_path).append("start")
    assert stat.S_IMODE((tmp_path / JOURNAL_NAME).stat().st_mode) == 0o600


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    journal = Journal(None)
    journal.append("start")
    assert journal.path is None
    assert list(tmp_path.iterdir()) == []
    assert caplog.text == ""  # nothing is lost that was wanted


def test_a_missing_folder_is_logged_once_and_never_raises(tmp_path, caplog):
    journal = Journal(tmp_path / "gone")
    with caplog.at_level(logging.ERROR):
        journal.append("start")
        journal.append("result")
    (record,) = caplog.records
    assert "event 'start' is lost" in record.getMessage()
    assert "gone" in record.getMessage()


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, object()], ids=["nan", "inf", "set", "object"])
def test_what_is_not_strict_json_is_lost_alone(tmp_path, caplog, value):
    journal = Journal(tmp_path)
    journal.append("bad", value=value)
    journal.append("good")
    assert without_time(read_journal(journal.path)) == [{"event": "good"}]
    assert "event 'bad' is lost" in caplog.text


def test_there_is_no_journal_yet(tmp_path):
    assert list(read_journal(tmp_path / JOURNAL_NAME)) == []


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"not json\n", b"[1]\n", b"3\n", b'{"time": "now"}\n', b"\xff\xfe\n", b'{"event": "torn'],
    ids=["nothing", "blank", "text", "list", "number", "no-event", "bytes", "torn"],
)
def test_foreign_and_torn_lines_are_passed_over(tmp_path, line):
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(b'{"event": "start"}\n' + line)
    assert list(read_journal(path)) == [{"event": "start"}]


def test_an_event_after_a_torn_line_is_not_lost(tmp_path):
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(b'{"event": "start"}\n{"event": "torn')  # the machine went down in the middle of a line
    journal = Journal(tmp_path)
    journal.append("start")
    journal.append("result")
    assert [event["event"] for event in read_journal(path)] == ["start", "start", "result"]


def test_lines_of_several_threads_stay_whole(tmp_path):
    journal = Journal(tmp_path)
    text = "x" * 50_000

    def write(thread_index):
        for index in range(20):
            journal.append("note", thread=thread_index, index=index, text=text)

    threads = [threading.Thread(target=write, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = journal.path.read_text(encoding="ascii").splitlines()
    events = [json.loads(line) for line in lines]
    assert sorted((event["thread"], event["index"]) for event in events) == [
        (t, i) for t in range(4) for i in range(20)
    ]
    assert all(event["text"] == text for event in events)


@pytest.mark.parametrize(
    "value",
    ["\ud800", "naïve 模型 \U0001f600", 10**400, 1e-320, -0.0, 0.1 + 0.2, [[[]]], {"": None}, True],
    ids=["half a surrogate pair", "unicode", "huge", "tiny", "minus zero", "digits", "nested", "empty key", "true"],
)
def test_every_value_comes_back_as_it_was_written(tmp_path, value):
    journal = Journal(tmp_path)
    journal.append("result", value=value)
    (event,) = read_journal(journal.path)
    assert repr(event["value"]) == repr(value)


def test_the_number_of_levels_that_a_line_may_have(tmp_path):
    """As many as the json module reads; deeper lines are passed over."""
    path = tmp_path / JOURNAL_NAME
    lines = ['{"event": "deep", "value": ' + "[" * n + "]" * n + "}" for n in (150, 500, 100_000)]
    path.write_text("\n".join([*lines, '{"event": "last"}']) + "\n")
    assert [event["event"] for event in read_journal(path)] == ["deep", "deep", "last"]
