"""TREC, MR, IMDB and Reuters."""

import shutil

import pytest
from automl.data.published_files import reuters_story, write_files, write_imdb, write_mr, write_reuters, write_trec

from nni_dream.automl.data import DataError, MissingDataError
from nni_dream.automl.data.imdb import read_imdb
from nni_dream.automl.data.mr import read_mr
from nni_dream.automl.data.reuters import read_reuters
from nni_dream.automl.data.trec import read_trec


def test_trec_has_fine_classes(data_dir):
    write_files(
        data_dir, {"train_5500.label": "NUM:date When ?\nHUM:ind Who is he ?\n", "TREC_10.label": "NUM:date Day ?\n"}
    )
    parts = read_trec(data_dir)
    assert parts.classes == ["HUM:ind", "NUM:date"]
    assert parts.train.examples == ["When ?", "Who is he ?"]
    assert parts.train.targets.tolist() == [1, 0]
    assert parts.test.targets.tolist() == [1]


def test_trec_has_coarse_classes(data_dir):
    write_trec(data_dir)
    assert read_trec(data_dir, labels="coarse").classes == ["HUM", "NUM"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_trec_in_both_encodings(encoding, data_dir):
    write_trec(data_dir)
    path = data_dir / "train_5500.label"
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    assert read_trec(data_dir).train.examples[-1] == "Who is the sister\N{LATIN SMALL LETTER ETH}city ?"


def test_trec_with_the_line_ends_of_windows(data_dir):
    write_files(data_dir, {"train_5500.label": "A:a x ?\r\nB:b y ?\r\n", "TREC_10.label": "A:a z ?\r\n"})
    assert read_trec(data_dir).train.examples == ["x ?", "y ?"]


def test_questions_that_are_in_train_and_test_stay(data_dir):
    write_files(data_dir, {"train_5500.label": "A:a x ?\nA:a x ?\nB:b x ?\n", "TREC_10.label": "A:a x ?\n"})
    parts = read_trec(data_dir)
    assert parts.train.examples == ["x ?"] * 3
    assert parts.test.examples == ["x ?"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "train_5500.label",
            "NUM:date When ?\nNUM When ?\n",
            r"train_5500\.label:2: is 'NUM When \?', expected 'COARSE:fine",
        ),
        ("train_5500.label", "NUM:date\n", r"train_5500\.label:1: is 'NUM:date'"),
        ("train_5500.label", "NUM:date x\n\nNUM:date y\n", r"train_5500\.label:2: is ''"),
        ("train_5500.label", "", r"train_5500\.label:1: is ''"),
        ("TREC_10.label", "NUM:date x\nNUM:age x\n", r"TREC_10\.label:2: label 'NUM:age' is not a class of train"),
    ],
)
def test_trec_is_broken(name, content, message, data_dir, load):
    write_trec(data_dir)
    write_files(data_dir, {name: content})
    with pytest.raises(DataError, match=message):
        load("trec", data_dir)


def test_trec_has_one_class(data_dir, load):
    write_files(data_dir, {"train_5500.label": "A:a x ?\nA:a y ?\n", "TREC_10.label": "A:a x ?\n"})
    with pytest.raises(DataError, match=r"train_5500\.label: trec has the single class 'A:a', needs two or more"):
        load("trec", data_dir)


@pytest.mark.parametrize(
    ("name", "write", "file"), [("trec", write_trec, "TREC_10.label"), ("mr", write_mr, "rt-polarity.pos")]
)
def test_the_second_file_is_missing(name, write, file, data_dir, load):
    write(data_dir)
    (data_dir / file).unlink()
    with pytest.raises(MissingDataError, match=rf"{name}: found no {file} in {data_dir}; allow the download"):
        load(name, data_dir)


def test_mr(data_dir):
    write_mr(data_dir)
    parts = read_mr(data_dir)
    assert parts.classes == ("neg", "pos")
    assert parts.train.examples[0] == "neg snippet 0 ."
    assert parts.train.examples[-1] == "pos snippet 39 ."
    assert parts.train.targets.tolist() == [0] * 40 + [1] * 40
    assert parts.test is None


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_mr_in_both_encodings(encoding, data_dir):
    write_mr(data_dir)
    (data_dir / "rt-polarity.pos").write_bytes(
        "a clich\N{LATIN SMALL LETTER E WITH ACUTE} \N{EM DASH} . \n".encode(encoding)
    )
    text = read_mr(data_dir).train.examples[-1]
    assert text == "a clich\N{LATIN SMALL LETTER E WITH ACUTE} \N{EM DASH} ."


def test_a_character_that_python_takes_for_a_line_end_is_none(data_dir):
    write_mr(data_dir)
    (data_dir / "rt-polarity.pos").write_text("one\N{LINE SEPARATOR}snippet\n", encoding="utf-8")
    assert read_mr(data_dir).train.examples[-1] == "one\N{LINE SEPARATOR}snippet"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"good\n\nbad\n", r"rt-polarity\.pos:2: the line is empty"),
        (b"", r"rt-polarity\.pos:1: the line is empty"),
        (b"\x81\n", r"rt-polarity\.pos: is not utf-8-sig or cp1252 text: byte 0x81 at offset 0"),
    ],
)
def test_mr_is_broken(content, message, data_dir, load):
    write_mr(data_dir)
    (data_dir / "rt-polarity.pos").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load("mr", data_dir)


def test_imdb(data_dir):
    write_imdb(data_dir)
    parts = read_imdb(data_dir)
    assert parts.classes == ("neg", "pos")
    assert parts.train.examples[0] == "train neg 0 <br /> caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    assert parts.train.targets.tolist() == [0] * 12 + [1] * 12
    assert len(parts.test.examples) == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xe9", r"9_9\.txt: is not utf-8-sig text: byte 0xe9 at offset 0"), (b" \n", r"9_9\.txt: the review is empty")],
)
def test_imdb_is_broken(content, message, data_dir, load):
    write_imdb(data_dir)
    write_files(data_dir / "aclImdb", {"train/pos/9_9.txt": content})
    with pytest.raises(DataError, match=message):
        load("imdb", data_dir)


def test_a_folder_of_imdb_is_missing_or_empty(data_dir, load):
    write_imdb(data_dir)
    folder = data_dir / "aclImdb" / "test" / "neg"
    shutil.rmtree(folder)
    with pytest.raises(MissingDataError, match=r"imdb: found no test/neg/ in .*aclImdb; allow the download"):
        load("imdb", data_dir)
    folder.mkdir()
    with pytest.raises(DataError, match=r"test/neg: holds no review"):
        load("imdb", data_dir)


def test_reuters_takes_the_modapte_stories_of_one_topic(data_dir):
    stories = [
        reuters_story(1),
        reuters_story(2, topics=("earn", "acq")),
        reuters_story(3, topics=()),
        reuters_story(4, marked="NO"),
        reuters_story(5, split="NOT-USED"),
        reuters_story(6, topics=("acq",)),
        reuters_story(7, topics=("only-in-train",)),
        reuters_story(8, split="TEST"),
        reuters_story(9, split="TEST", topics=("acq",)),
        reuters_story(10, split="TEST", topics=("only-in-test",)),
    ]
    write_files(data_dir, {"reut2-000.sgm": "".join(stories)})
    parts = read_reuters(data_dir)
    assert parts.classes == ["acq", "earn"]
    assert [text.split("\n")[0] for text in parts.train.examples] == ["TITLE 1", "TITLE 6"]
    assert parts.train.targets.tolist() == [1, 0]
    assert [text.split("\n")[0] for text in parts.test.examples] == ["TITLE 8", "TITLE 9"]


def test_the_text_of_a_story(data_dir):
    write_reuters(data_dir)
    text = read_reuters(data_dir).train.examples[0]
    assert text == "TITLE 0\nShares <ABC> rose."


def test_a_story_without_title_and_body(data_dir):
    brief = reuters_story(1, text="<AUTHOR>  by me</AUTHOR>\nAll of it &amp; more")
    write_files(data_dir, {"reut2-000.sgm": brief + reuters_story(2, split="TEST")})
    assert read_reuters(data_dir).train.examples == ["by me \nAll of it & more"]


def test_reuters_is_latin_1(data_dir):
    story = reuters_story(1, text="<BODY>na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve</BODY>")
    write_files(data_dir, {"reut2-017.sgm": (story + reuters_story(2, split="TEST")).encode("latin-1")})
    assert read_reuters(data_dir).train.examples == ["na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"reut2-000\.sgm: 0 stories begin but 0 are whole"),
        (reuters_story(1) + reuters_story(2)[:-20], r"reut2-000\.sgm: 2 stories begin but 1 are whole: it is cut off"),
        (reuters_story(1, text="<BODY> </BODY>"), r"reut2-000\.sgm: story 1: has no text"),
        (reuters_story(1), r"no topic has stories in train and in test; are all 22 files reut2-\*\.sgm there\?"),
    ],
)
def test_sgml_is_broken(content, message, data_dir, load):
    write_files(data_dir, {"reut2-000.sgm": content})
    with pytest.raises(DataError, match=message):
        load("reuters", data_dir)


def test_reuters_as_lines_of_label_and_text(data_dir):
    train = "earn\tprofit rose\nacq\ta bid\nrare\tx\n"
    write_files(
        data_dir / "reuters", {"r52-train-all-terms.txt": train, "r52-test-all-terms.txt": "acq\tanother bid\n"}
    )
    parts = read_reuters(data_dir)
    assert parts.classes == ["acq", "earn", "rare"]
    assert parts.train.examples == ["profit rose", "a bid", "x"]
    assert parts.test.targets.tolist() == [0]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"train.txt": "earn profit\n", "test.txt": "a\tb\n"},
            r"train\.txt:1: is 'earn profit', expected label<TAB>text",
        ),
        ({"train.txt": "earn\t \n", "test.txt": "a\tb\n"}, r"train\.txt:1: is 'earn\\t ', expected label<TAB>text"),
        ({"train.txt": "a\tx\nb\ty\n", "test.txt": "c\tx\n"}, r"test\.txt:1: label 'c' is not a class of train"),
        ({"train.txt": b"a\t\xff\n", "test.txt": "a\tb\n"}, r"train\.txt: is not utf-8-sig text"),
        ({"train.txt": "", "test.txt": "", "r8-test.txt": ""}, r"which of r8-test\.txt, test\.txt\? Leave one file"),
    ],
)
def test_lines_are_broken(files, message, data_dir, load):
    write_files(data_dir, files)
    with pytest.raises(DataError, match=message):
        load("reuters", data_dir)
