from nni_dream.journal import JOURNAL_NAME, Journal, read_journal
from nni_dream.malformed import MalformedMessages


def events(folder):
    return [
        {name: value for name, value in event.items() if name not in ("time", "event")}
        for event in read_journal(folder / JOURNAL_NAME)
    ]


def test_the_journal_gets_the_first_of_a_kind_at_once_and_the_count_when_asked(tmp_path, caplog):
    malformed = MalformedMessages(Journal(tmp_path))
    for number in range(5):
        malformed.count("no score", f"message {number}")
    assert events(tmp_path) == [{"kind": "no score", "n": 1, "text": "message 0"}]
    malformed.write_counts()
    malformed.write_counts()
    assert events(tmp_path)[1:] == [{"kind": "no score", "n": 5}]
    assert [record.message for record in caplog.records] == ["no score: message 0 (logged once)"]


def test_every_kind_is_told_once(tmp_path):
    malformed = MalformedMessages(Journal(tmp_path))
    for kind in ("a", "b", "a"):
        malformed.count(kind, "text")
    malformed.write_counts()
    assert [(event["kind"], event["n"]) for event in events(tmp_path)] == [("a", 1), ("b", 1), ("a", 2)]


def test_what_an_earlier_process_counted_is_not_told_again(tmp_path, caplog):
    malformed = MalformedMessages(Journal(tmp_path))
    malformed.restore({"no score": 3})
    malformed.write_counts()
    assert events(tmp_path) == []
    malformed.count("no score", "text")
    malformed.write_counts()
    assert events(tmp_path) == [{"kind": "no score", "n": 4}]
    assert not caplog.records


def test_without_a_folder_it_counts_all_the_same():
    malformed = MalformedMessages(Journal(None))
    malformed.count("no score", "text")
    malformed.write_counts()
    assert malformed.n == {"no score": 1}
