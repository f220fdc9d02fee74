"""Image folders, tables and arrays of users."""

import os
import sys
from contextlib import suppress

import numpy as np
import pytest
from automl.data.published_files import CLASSES, E_ACUTE, encoded, image_files, noise, write_files, write_zip

from nni_dream.automl.data import DataError
from nni_dream.automl.data.arrays import read_arrays
from nni_dream.automl.data.image_folders import IMAGE_SUFFIXES, read_folder
from nni_dream.automl.data.tables import read_table

RNG = np.random.default_rng(0)
IMAGES, COLOURED, LABELS = noise(RNG, 4, 6, 5), noise(RNG, 4, 6, 5, 3), np.array([0, 1, 0, 1])


@pytest.mark.parametrize("kind", ["folder", "zip", "zip in a folder"])
@pytest.mark.parametrize("wrapping", ["", "my data/"])
@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ({"": 4}, (12, None, None)),
        ({"train/": 4}, (12, None, None)),
        ({"train/": 4, "test/": 2}, (12, None, 6)),
        ({"train/": 4, "val/": 1, "test/": 2}, (12, 3, 6)),
        ({"train/": 4, "valid/": 1}, (12, 3, None)),
        ({"Train/": 4, "Test/": 2}, (12, None, 6)),
        ({"Training/": 4, "Validation/": 1, "Testing/": 2}, (12, 3, 6)),
    ],
)
def test_layouts_of_image_folders(kind, wrapping, parts, sizes, data_dir):
    contents = image_files({wrapping + prefix: n_images for prefix, n_images in parts.items()})
    path = data_dir
    if kind == "folder":
        write_files(data_dir, contents)
    else:
        write_zip(data_dir / "images.zip", contents)
        path = data_dir / "images.zip" if kind == "zip" else data_dir
    read = read_folder(path)
    assert list(read.classes) == list(CLASSES)
    assert tuple(part and len(part.targets) for part in (read.train, read.validation, read.test)) == sizes
    assert read.train.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_other_files_and_deeper_folders(data_dir):
    files = {"cat/deep/1.PNG": encoded(noise(RNG, 2, 2, 3)), "cat/notes.txt": "x", "readme.md": "x"}
    write_files(data_dir, image_files({"": 2}) | files)
    assert np.bincount(read_folder(data_dir).train.targets).tolist() == [2, 2, 3]


@pytest.mark.parametrize(
    ("suffix", "format"), [("jfif", "JPEG"), ("jpe", "JPEG"), ("jp2", "JPEG2000"), ("tga", "TGA"), ("avif", "AVIF")]
)
def test_less_usual_suffixes(suffix, format, data_dir, load):
    if f".{suffix}" not in IMAGE_SUFFIXES:
        pytest.skip(f"this Pillow has no {format}")
    write_files(data_dir, image_files({"": 9}, format=format, suffix=suffix))
    splits = load("folder", data_dir)
    assert splits.train.images.shape[1:] == (3, 6, 5)
    assert splits.notes == ()


def test_files_that_are_left_out_are_counted(data_dir, load):
    others = {
        "train/cat/1.HEIC": "",
        "train/cat/2.heic": "",
        "test/cat/1.png.bak": "",
        "test/cat/about": "",
        "x.txt": "",
    }
    write_files(data_dir, image_files({"train/": 9, "test/": 2}) | others)
    assert load("folder", data_dir).notes == (
        "files of class folders that are left out, being no images by their suffix: 4 (.heic 2, .bak 1, no suffix 1)",
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/dog/notes.txt": "x"}, r"train/dog: holds no image \(\.jpg, "),
        ({"train/stray.png": encoded(noise(RNG, 2, 2, 3))}, r"train/stray\.png: is in no class folder"),
        ({"train/cat/broken.png": b"x"}, r"train/cat/broken\.png: is no image that can be read"),
        (
            {"train/cat/0000.png": encoded(noise(RNG, 9, 9, 3))},
            r"is 9x9, but .*\.png is 5x6: images differ in size, give an",
        ),
    ],
)
def test_image_folders_are_broken(files, message, data_dir, load):
    write_files(data_dir, image_files({"train/": 9, "test/": 1}) | files)
    with pytest.raises(DataError, match=message):
        load("folder", data_dir)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_parts_that_differ_in_size_need_a_size(part, data_dir, load):
    """A model is asked for images at the size of its training images, and scored at no other."""
    write_files(data_dir, image_files({"train/": 4}) | image_files({f"{part}/": 2}, size=(9, 7)))
    with pytest.raises(
        DataError, match=rf"{part}: images are 7x9, those of train are 5x6: images differ in size, give an image_size"
    ):
        _ = load("folder", data_dir).test.images
    assert load("folder", data_dir, image_size=4).test.images.shape[1:] == (3, 4, 4)


@pytest.mark.parametrize("part", ["val", "test"])
def test_arrays_that_differ_in_size_need_a_size(part, data_dir, load):
    arrays = {"x": noise(RNG, 9, 6, 5), "y": np.arange(9) % 2, f"x_{part}": noise(RNG, 4, 12, 10)}
    np.savez(data_dir / "own.npz", **arrays, **{f"y_{part}": np.arange(4) % 2})
    with pytest.raises(
        DataError, match=rf"x_{part}, y_{part}: images are 10x12, those of train are 5x6: images differ in size, give"
    ):
        _ = load("arrays", data_dir).test.images
    assert load("arrays", data_dir, image_size=4).test.images.shape[1:] == (1, 4, 4)


def test_a_broken_image_in_a_zip(data_dir, load):
    write_zip(
        data_dir / "own.zip", image_files({"": 9}) | {"cat/0000.png": b"x", "cat/0001.png": b"x", "cat/0002.png": b"x"}
    )
    with pytest.raises(DataError, match=r"own\.zip: cat/000\d\.png: is no image that can be read"):
        load("folder", data_dir)


def test_parts_by_another_name_are_not_taken_for_classes(data_dir, load):
    write_files(data_dir, image_files({"seen/": 4, "unseen/": 2}))
    with pytest.raises(
        DataError,
        match=r"seen, unseen hold the same folders \(airplane, bird, cat\): if they are parts of the data, call",
    ):
        load("folder", data_dir)


def test_classes_with_images_of_their_own_may_hold_equally_named_folders(data_dir):
    write_files(data_dir, image_files({"": 2}) | image_files({"": 1}, classes=[f"{name}/more" for name in CLASSES]))
    read = read_folder(data_dir)
    assert (read.classes, read.train.targets.tolist()) == (list(CLASSES), [0] * 3 + [1] * 3 + [2] * 3)


@pytest.mark.parametrize("name", ["train", "Test", "valid"])
def test_a_class_may_be_called_like_a_part(name, data_dir, load):
    write_files(data_dir, image_files({"": 4}, classes=("bus", "car", name)))
    assert sorted(load("folder", data_dir).classes) == sorted(["bus", "car", name])


def test_parts_without_classes_are_not_taken_for_classes(data_dir):
    write_files(data_dir, image_files({"": 4}, classes=("train", "test")))
    with pytest.raises(DataError, match=r"data/train: has no folders; put the images of each class into a folder"):
        read_folder(data_dir)


@pytest.mark.parametrize("wrapping", ["", "my data/"])
@pytest.mark.parametrize(
    ("others", "told"), [(["dev/"], "dev"), (["dev/", "holdout/more/"], "dev, holdout"), (["val/", "valid/"], "val")]
)
def test_images_beside_the_parts_are_not_left_out_silently(others, told, wrapping, data_dir):
    write_files(data_dir, image_files({wrapping + part: 2 for part in ["train/", "test/", *others]}))
    with pytest.raises(
        DataError, match=rf": {told} would not be used beside train: call the parts train, validation and test, or move"
    ):
        read_folder(data_dir)


def test_other_files_beside_the_parts(data_dir):
    write_files(data_dir, image_files({"train/": 2}) | {"notes/about.txt": "x"})
    assert len(read_folder(data_dir).train.targets) == 6


def test_classes_may_have_folders_of_their_own(data_dir):
    files = {
        f"{name}/{deep}/{i}.png": encoded(noise(RNG, 2, 2, 3))
        for name in ("cat", "dog")
        for i in range(2)
        for deep in ([name, "more"])
    }
    write_files(data_dir, files)
    assert read_folder(data_dir).classes == ["cat", "dog"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every name is Unicode")
def test_a_class_whose_name_is_no_text(data_dir):
    """A model of such classes could not be exported."""
    write_files(data_dir, image_files({"": 4}))
    (data_dir / "bird").rename(data_dir / os.fsdecode(b"v\xf6gel"))
    with pytest.raises(DataError, match=r"data: the name of folder 'v\\udcf6gel' is not UTF-8; rename it"):
        read_folder(data_dir)


def test_an_empty_class(data_dir, load):
    write_files(data_dir, image_files({"train/": 4}))
    (data_dir / "train" / "dog").mkdir()
    with pytest.raises(DataError, match=r"train/dog: holds no image"):
        load("folder", data_dir)


def test_a_class_that_train_does_not_have(data_dir, load):
    write_files(data_dir, image_files({"train/": 4}) | {"test/dog/1.png": encoded(noise(RNG, 6, 5, 3))})
    with pytest.raises(
        DataError, match=r"test/dog/1\.png: label 'dog' is not a class of train; classes: 'airplane', 'bird'"
    ):
        load("folder", data_dir)


def test_images_without_classes(data_dir, load):
    write_files(data_dir, {"1.png": encoded(noise(RNG, 6, 5, 3))})
    with pytest.raises(DataError, match=r"has no folders; put the images of each class into a folder of its own"):
        load("folder", data_dir)


def test_one_class_is_none(data_dir, load):
    write_files(data_dir, image_files({"": 4}, classes=("cat",)))
    with pytest.raises(DataError, match=r"folder has the single class 'cat', needs two or more"):
        load("folder", data_dir)


TABLE = 'text,label\n"a, b",x\n"two\nlines",y\n'


@pytest.mark.parametrize(
    ("name", "content", "arguments"),
    [
        ("t.csv", TABLE, {}),
        ("t.CSV", "\N{BYTE ORDER MARK}" + TABLE, {}),
        ("t.csv", TABLE.replace("\n", "\r\n").replace("two\r\n", "two\n"), {}),
        ("t.tsv", 'label\ttext\nx\ta, b\ny\t"two\nlines"\n', {}),
        ("t.csv", 'Id, Review ,Sentiment\n1,"a, b",x\n\n2,"two\nlines",y\n', {}),
        ("t.csv", 'a,b,text\n"a, b",x,0\n"two\nlines",y,0\n', {"text_column": "a", "label_column": "b"}),
    ],
)
def test_tables(name, content, arguments, data_dir):
    write_files(data_dir, {name: content})
    for path in (data_dir, data_dir / name):
        parts = read_table(path, **arguments)
        assert parts.classes == ["x", "y"]
        assert parts.train.examples == ["a, b", "two\nlines"]
        assert parts.train.targets.tolist() == [0, 1]
        assert parts.test is None


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252"])
def test_a_table_in_an_encoding_that_is_not_given(encoding, data_dir):
    content = f"text,label\nn{E_ACUTE}e,x\nb,y\n".encode(encoding)
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    write_files(data_dir, {"t.csv": mark + content})
    told = r"text: byte 0x.*; say its encoding: --data-option encoding=NAME, such as utf-16 or cp1252$"
    with pytest.raises(DataError, match=told):
        read_table(data_dir)
    parts = read_table(data_dir, encoding="utf-16" if mark else encoding)
    assert (parts.train.examples, parts.classes) == ([f"n{E_ACUTE}e", "b"], ["x", "y"])


def test_a_table_in_another_encoding(data_dir):
    write_files(data_dir, {"t.csv": "text,label\nn\N{LATIN SMALL LETTER E WITH ACUTE}e,x\nb,y\n".encode("latin-1")})
    assert read_table(data_dir, encoding="latin-1").train.examples[0] == "n\N{LATIN SMALL LETTER E WITH ACUTE}e"


def test_tables_of_train_and_test(data_dir):
    rows = "text,label\na,x\nb,y\n"
    write_files(
        data_dir, {"train.csv": rows, "validation.csv": rows, "test.tsv": "text\tlabel\nc\tx\n", "notes.txt": ""}
    )
    parts = read_table(data_dir)
    assert [len(part.targets) for part in (parts.train, parts.validation, parts.test)] == [2, 2, 1]


def test_a_long_text(data_dir):
    write_files(data_dir, {"t.csv": f"text,label\n{'a' * 200_000},x\nb,y\n"})
    assert len(read_table(data_dir).train.examples[0]) == 200_000


def test_whole_numbers_are_ordered_as_numbers(data_dir):
    write_files(data_dir, {"t.csv": "text,label\na,10\nb,9\nc,-1\n"})
    assert read_table(data_dir).classes == ["-1", "9", "10"]


def test_what_only_looks_like_a_whole_number_is_a_text(data_dir):
    write_files(data_dir, {"t.csv": "text,label\na,2\nb,10\nc,--1\n"})
    assert read_table(data_dir).classes == ["--1", "10", "2"]


@pytest.mark.parametrize("header", ["text;label", '"text";"label"', "text; label"])
def test_semicolons_between_the_columns(header, data_dir):
    """As Excel writes a table in much of Europe."""
    write_files(data_dir, {"t.csv": header + '\nwell, ok;x\n"a;b";y\n'})
    parts = read_table(data_dir)
    assert parts.train.examples == ["well, ok", "a;b"]
    assert parts.classes == ["x", "y"]


def test_a_semicolon_in_the_name_of_a_column(data_dir):
    write_files(data_dir, {"t.csv": "text,label,a;b\none; two,x,1\n"})
    assert read_table(data_dir).train.examples == ["one; two"]


def test_columns_that_nobody_reads_may_have_one_name(data_dir):
    write_files(data_dir, {"t.csv": "text,label,,\na,x,1,2\nb,y,3,4\n"})
    assert read_table(data_dir).classes == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("text,label\na,x\nb\n", {}, r"t\.csv:3: has 1 fields, the header has 2"),
        ("text,label\na,x\n ,y\n", {}, r"t\.csv:3: column 'text' is empty"),
        ("text,label\na,x\nb,\n", {}, r"t\.csv:3: column 'label' is empty"),
        ('text,label\n"a,x\n', {}, r"t\.csv:2: is broken: unexpected end of data"),
        ("", {}, r"t\.csv: is empty, or its first line is; expected the names of the columns"),
        ("\ntext,label\n", {}, r"t\.csv: is empty, or its first line is; expected"),
        ("text|label\na|x\n", {}, r"t\.csv: has the single column 'text\|label': bars seem to stand between the col"),
        ("text;label\nwell, ok;x\na,y\n", {}, r"t\.csv:3: has 1 fields, the header has 2"),
        ("text\tlabel\na\tx\n", {}, r"'text\\tlabel': tabs seem to stand between the columns; save it with commas as"),
        ("text\na\n", {}, r"t\.csv: give label_column, one of 'text', with"),
        ("text,label\n", {}, r"t\.csv: table has no example here"),
        (
            "a,label\nb,x\n",
            {},
            r"t\.csv: give text_column, one of 'a', 'label', with --data-option text_column=NAME \(text,",
        ),
        ("text,review,label\na,b,x\n", {}, r"t\.csv: give text_column, one of 'text', 'review', 'label'"),
        ("text,label,label\na,x,y\n", {}, r"t\.csv: 2 columns are called 'label'; rename all but one"),
        ("text,a,a\na,x,y\n", {"label_column": "a"}, r"t\.csv: 2 columns are called 'a'; rename all but one"),
        (
            "text,Label,label\na,x,y\n",
            {},
            r"t\.csv: give label_column, one of 'text', 'Label', 'label', with --data-opt",
        ),
        ("text,label\na,x\n", {"label_column": "y"}, r"label_column is 'y', but the columns are 'text', 'label'"),
        (b"text,label\n\xe9,x\n", {}, r"t\.csv: is not utf-8-sig text: byte 0xe9 at offset 11"),
        ("text,label\na,x\n", {"encoding": "utf-9"}, r"encoding 'utf-9' is unknown"),
        ("text,label\na,x\n", {"text_column": "label"}, r"text_column and label_column are both 'label'; give another"),
        ("text,label\na,x\nb,x\n", {}, r"table has the single class 'x'"),
    ],
)
def test_tables_are_broken(content, arguments, message, data_dir, load):
    write_files(data_dir, {"t.csv": content})
    with pytest.raises(DataError, match=message):
        load("table", data_dir, **arguments)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["a.csv", "b.tsv"],
            r"which of a\.csv, b\.tsv\? Give the path of one, or call them train\.\*, validation\.\* and",
        ),
        (["train.csv", "more.csv", "test.csv"], r"which of more\.csv, test\.csv, train\.csv\?"),
        (["val.csv", "valid.csv", "train.csv"], r"which of train\.csv, val\.csv, valid\.csv\?"),
        (["train.csv", "train.tsv"], r"which of train\.csv, train\.tsv\?"),
        (["a.txt"], r"table: found no \.csv, \.tsv, \.parquet file at"),
    ],
)
def test_which_table(names, message, data_dir, load):
    write_files(data_dir, dict.fromkeys(names, "text,label\na,x\nb,y\n"))
    with pytest.raises(DataError, match=message):
        load("table", data_dir)


@pytest.mark.parametrize("name", ["._t.csv", ".old.csv"])
def test_hidden_files_and_folders_are_no_tables(name, data_dir):
    """macOS leaves the first beside files on other disks, and in zips."""
    write_files(data_dir, {"t.csv": TABLE, name: b"\0", "old.csv/t.csv": "x"})
    assert len(read_table(data_dir).train.targets) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_that_leads_nowhere_is_not_left_out(data_dir):
    """The test rows would be taken from train."""
    write_files(data_dir, {"train.csv": TABLE})
    (data_dir / "test.csv").symlink_to("gone.csv")
    with pytest.raises(DataError, match=r"test\.csv: cannot be read: No such file"):
        read_table(data_dir)


OPEN_QUOTES = 'text\tlabel\n"open\tx\nclosing"\ty\n"Fast" cars\ty\n'


def test_quotation_marks_may_be_part_of_the_texts(data_dir):
    write_files(data_dir, {"t.tsv": OPEN_QUOTES})
    parts = read_table(data_dir, quoting="none")
    assert parts.train.examples == ['"open', 'closing"', '"Fast" cars']
    assert parts.train.targets.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (
            OPEN_QUOTES,
            {},
            r"t\.tsv:2: a quotation mark makes one row of 2 lines, each of which would be a row; if quotation marks "
            r"are part of the texts: --data-option quoting=none, else --data-option quoting=minimal$",
        ),
        (OPEN_QUOTES, {"quoting": "minimal"}, r"t\.tsv:4: is broken: .*; if quotation marks .*: --data-option quot"),
        ('text\tlabel\na\t"open\nb\tclosing"\n', {}, r"t\.tsv:2: a quotation mark makes one row of 2 lines"),
        ('text\tlabel\n"open\tx\n', {}, r"t\.tsv:2: is broken: unexpected end of data; if quotation marks are"),
        (TABLE, {"quoting": "all"}, r"table: quoting is 'all', expected minimal or none$"),
    ],
)
def test_quotation_marks_of_a_table_of_tabs(content, arguments, message, data_dir):
    write_files(data_dir, {"t.tsv": content})
    with pytest.raises(DataError, match=message):
        read_table(data_dir, **arguments)


def test_a_field_of_several_lines_and_tabs(data_dir):
    text = "one\ttwo\nthree\tfour"
    write_files(data_dir, {"t.tsv": f'text\tlabel\n"{text}"\tx\nb\ty\n'})
    assert read_table(data_dir).train.examples[0] == text
    joined = 'text\tlabel\n"a\tb\nc"\tx\nb\ty\n'
    write_files(data_dir, {"t.tsv": joined})
    assert read_table(data_dir, quoting="minimal").train.examples[0] == "a\tb\nc"


def test_commas_in_a_table_of_tabs(data_dir):
    write_files(data_dir, {"t.tsv": "text,label\na,x\n"})
    with pytest.raises(DataError, match=r"t\.tsv: has the single column 'text,label': commas seem to stand between"):
        read_table(data_dir)


def test_a_table_of_another_kind(data_dir, load):
    write_files(data_dir, {"t.xlsx": "x"})
    with pytest.raises(DataError, match=r"t\.xlsx: ends in '\.xlsx', expected one of \.csv, \.tsv, \.parquet"):
        load("table", data_dir / "t.xlsx")


def import_pyarrow():
    pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: Parquet cannot be read nor written")
    return sys.modules["pyarrow"]


def test_parquet(data_dir):
    pyarrow = import_pyarrow()
    table = pyarrow.table({"text": ["a", "b", "c"], "label": [10, 9, 10]})
    pyarrow.parquet.write_table(table, data_dir / "t.parquet")
    parts = read_table(data_dir)
    assert parts.classes == ["9", "10"]
    assert parts.train.targets.tolist() == [1, 0, 1]


def test_parquet_of_bytes(data_dir):
    pyarrow = import_pyarrow()
    texts = [f"caf{E_ACUTE}", "b"]
    columns = {"text": [text.encode() for text in texts], "label": [b"x", b"y"], "image": [b"\xff", None]}
    pyarrow.parquet.write_table(pyarrow.table(columns), data_dir / "t.parquet")
    parts = read_table(data_dir)
    assert (parts.train.examples, parts.classes) == (texts, ["x", "y"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"text": [b"a", b"\xe9"], "label": ["x", "y"]},
            r"row 1: column 'text' is not utf-8 text: byte 0xe9 at offset 0",
        ),
        ({"text": ["a", "b"], "label": [1.0, float("nan")]}, r"row 1: column 'label' is empty"),
    ],
)
def test_values_of_a_parquet_file_are_broken(columns, message, data_dir):
    pyarrow = import_pyarrow()
    pyarrow.parquet.write_table(pyarrow.table(columns), data_dir / "t.parquet")
    with pytest.raises(DataError, match=rf"t\.parquet: {message}"):
        read_table(data_dir)


def test_columns_of_a_parquet_file_have_one_name(data_dir):
    pyarrow = import_pyarrow()
    table = pyarrow.Table.from_arrays([pyarrow.array(["a", "b"])] * 3, names=["text", "label", "label"])
    pyarrow.parquet.write_table(table, data_dir / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet: 2 columns are called 'label'; rename all but one"):
        read_table(data_dir)


def test_a_parquet_file_is_broken(data_dir):
    pyarrow = import_pyarrow()
    write_files(data_dir, {"t.parquet": "x" * 20})
    with pytest.raises(DataError, match=r"t\.parquet: is no Parquet file, or a broken one"):
        read_table(data_dir)
    pyarrow.parquet.write_table(pyarrow.table({"text": [f"caf{E_ACUTE}"], "label": ["x"]}), data_dir / "t.parquet")
    content = (data_dir / "t.parquet").read_bytes()
    write_files(data_dir, {"t.parquet": content.replace(b"caf\xc3", b"caf\xff")})
    with pytest.raises(DataError, match=r"t\.parquet: is no Parquet file, or a broken one: 'utf-8' codec can't decode"):
        read_table(data_dir)
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", None], "label": ["x", "y"]}), data_dir / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet: row 1: column 'text' is empty"):
        read_table(data_dir)


def test_parquet_without_pyarrow(data_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    write_files(data_dir, {"t.parquet": "x"})
    with pytest.raises(DataError, match=r"Parquet needs pyarrow, which is not installed: pip install pyarrow"):
        read_table(data_dir)


@pytest.mark.parametrize(
    ("shape", "read_shape"),
    [((4, 6, 5), (1, 6, 5)), ((4, 6, 5, 3), (3, 6, 5)), ((4, 6, 5, 1), (1, 6, 5)), ((4, 3, 6, 5), (3, 6, 5))],
)
@pytest.mark.parametrize("names", [("images", "targets"), ("x", "y"), ("data", "labels")])
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_arrays(kind, names, shape, read_shape, data_dir):
    images, targets = noise(RNG, *shape), np.array([5, 7, 5, 7])
    arrays = dict(zip(names, (images, targets), strict=True))
    if kind == "npz":
        np.savez(data_dir / "own.npz", **arrays)
    else:
        for name, array in arrays.items():
            np.save(data_dir / f"{name}.npy", array)
    parts = read_arrays(data_dir)
    assert parts.classes == ["5", "7"]
    assert parts.train.targets.tolist() == [0, 1, 0, 1]
    read = parts.train.examples.to_array()
    assert read.shape[1:] == read_shape
    assert sorted(read[0].ravel()) == sorted(images[0].ravel())


@pytest.mark.parametrize("name", ["._own.npz", "._images.npy"])
def test_hidden_files_are_no_arrays(name, data_dir):
    np.savez(data_dir / "own.npz", images=IMAGES, targets=LABELS)
    write_files(data_dir, {name: b"\0", "old.npy/notes.txt": "x"})
    assert len(read_arrays(data_dir).train.targets) == 4


def test_arrays_of_train_validation_and_test(data_dir):
    pixels, labels = noise(RNG, 4, 6, 5), np.array([["a"], ["b"], ["a"], ["b"]])  # (N, 1), as Keras has labels
    parts = {name: (pixels[:n], labels[:n]) for name, n in (("train", 4), ("val", 2), ("test", 1))}
    np.savez(
        data_dir / "own.npz", **{f"{x}_{name}": pair[i] for name, pair in parts.items() for i, x in enumerate("xy")}
    )
    read = read_arrays(data_dir / "own.npz")
    assert read.classes == ["a", "b"]
    assert [len(part.targets) for part in (read.train, read.validation, read.test)] == [4, 2, 1]


@pytest.mark.parametrize("suffix", ["_val", "_valid", "_validation"])
def test_names_of_the_validation_arrays(suffix, data_dir):
    arrays = {"x": IMAGES, "y": LABELS, f"x{suffix}": IMAGES[:2], f"y{suffix}": LABELS[:2]}
    np.savez(data_dir / "own.npz", **arrays)
    assert len(read_arrays(data_dir).validation.targets) == 2


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["x_test", "labels_test"], "labels_test, x_test"),
        (["x_test"], "x_test"),
        (["y_dev", "x_dev"], "x_dev, y_dev"),
        (["x", "y"], "x, y"),
        (["x_train", "y_train"], "x_train, y_train"),
        (["X_test", "Y_test"], "X_test, Y_test"),
        (["test_images", "test_labels"], "test_images, test_labels"),
        (["x_val", "y_val", "x_valid", "y_valid"], "x_val, y_val|x_valid, y_valid"),
    ],
)
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_arrays_that_look_like_a_part_are_not_left_out_silently(names, told, kind, data_dir):
    arrays = {
        name: IMAGES if any(word in name.lower() for word in ("x", "images")) else LABELS
        for name in ["images_train", "targets_train", *names]
    }
    if kind == "npz":
        np.savez(data_dir / "own.npz", **arrays)
    else:
        for name, array in arrays.items():
            np.save(data_dir / f"{name}.npy", array)
    with pytest.raises(
        DataError, match=rf": ({told}) would not be used: names come in pairs, and are images and targets, x and y, or"
    ):
        read_arrays(data_dir)


def test_arrays_of_other_names_are_passed_over(data_dir):
    np.savez(data_dir / "own.npz", x=IMAGES, y=LABELS, weights=LABELS, class_labels=np.array(["a", "b"]))
    assert len(read_arrays(data_dir).train.targets) == 4


@pytest.mark.parametrize("shape", [(60,), (60, 2)])
def test_arrays_to_regress(shape, data_dir, load):
    targets = RNG.normal(size=shape)
    np.savez(data_dir / "own.npz", images=noise(RNG, 60, 4, 4), targets=targets)
    splits = load("arrays", data_dir, task="image_regression")
    assert (splits.task, splits.classes) == ("image_regression", None)
    assert splits.train.targets.shape == (43, *shape[1:])
    found = np.concatenate([dataset.targets.numpy() for dataset in splits[:3]])
    assert np.array_equal(np.sort(found.ravel()), np.sort(targets.astype(np.float32).ravel()))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("arrays", "task", "message"),
    [
        ({"a": IMAGES}, None, r"holds arrays a; needs images and targets, or x_train and y_train"),
        ({"x": IMAGES}, None, r"holds arrays x; needs images and targets"),
        (
            {"x": IMAGES / 255, "y": LABELS},
            None,
            r": x: is float64, expected uint8 from 0 to 255; scale and convert it",
        ),
        ({"x": IMAGES[0], "y": LABELS}, None, r": x: has shape \(6, 5\), expected \(N, H, W\)"),
        ({"x": IMAGES[:, :0], "y": LABELS}, None, r": x: has shape \(4, 0, 5\): its images have no pixel"),
        ({"x": COLOURED[:, :, :0], "y": LABELS}, None, r": x: has shape \(4, 6, 0, 3\): its images have no pixel"),
        ({"x": noise(RNG, 4, 6, 5, 7), "y": LABELS}, None, r": x: has shape \(4, 6, 5, 7\), expected"),
        ({"x": IMAGES, "y": LABELS[:3]}, None, r"x, y: 4 examples but 3 targets"),
        ({"x": IMAGES, "y": LABELS / 2}, None, r"y is float64 of shape \(4,\), expected whole numbers or texts"),
        ({"x": IMAGES, "y": np.eye(4, dtype=int)}, None, r"y is int64 of shape \(4, 4\), expected whole numbers"),
        ({"x": IMAGES, "y": np.array(["a", "b", "a", "b"])}, "image_regression", r"y is <U1 .* expected numbers"),
        ({"x": IMAGES, "y": np.zeros((4, 0))}, "image_regression", r"y is float64 of shape \(4, 0\), .* k 1 or more,"),
        (
            {"x": IMAGES, "y": np.array([0, 1, np.nan, 1])},
            "image_regression",
            r"target of row 2 is nan, expected a finite",
        ),
        (
            {"x": IMAGES, "y": np.array([[0], [np.inf]] * 2)},
            "image_regression",
            r"target of row 1 is \[inf\], expected",
        ),
        (
            {"x": IMAGES, "y": np.array([0, 1, -1e300, 1])},
            "image_regression",
            r"target of row 2 of y is -1e\+300, too large for float32; scale them$",
        ),
        ({"x": IMAGES, "y": np.array([0, None, 1, 1])}, None, r"own\.npz: is no \.npz of plain arrays"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, "image_regression", r"arrays has no example here"),
        (
            {"x": IMAGES, "y": LABELS, "x_test": IMAGES, "y_test": LABELS + 1},
            None,
            r"row 1 of y_test: label '2' is not",
        ),
        (
            {"x": IMAGES, "y": LABELS, "x_val": COLOURED, "y_val": LABELS},
            None,
            r"x_val, y_val: images have 3 channels, those of .*: x, y have 1; make them alike$",
        ),
        (
            {"x": COLOURED, "y": LABELS, "x_test": IMAGES, "y_test": LABELS},
            None,
            r"x_test, y_test: images have 1 channels, those of .*: x, y have 3",
        ),
        (
            {"x": IMAGES, "y": LABELS, "x_test": IMAGES, "y_test": np.stack([LABELS, LABELS], axis=1)},
            "image_regression",
            r"x_test, y_test: has 2 numbers to predict for each image, .*: x, y has 1$",
        ),
    ],
)
def test_arrays_are_broken(arrays, task, message, data_dir, load):
    np.savez(data_dir / "own.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load("arrays", data_dir, task=task)


def test_one_number_may_be_in_a_column_of_its_own(data_dir, load):
    targets = np.arange(30, dtype=float)
    arrays = {"x": noise(RNG, 30, 4, 4), "y": targets, "x_test": noise(RNG, 30, 4, 4, 1), "y_test": targets[:, None]}
    np.savez(data_dir / "own.npz", **arrays)
    splits = load("arrays", data_dir, task="image_regression")
    assert [dataset.targets.shape[1:] for dataset in splits[:3]] == [(), (), (1,)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"own.npz": b""}, r"own\.npz: is no \.npz of plain arrays"),
        ({"own.npz": b"PK\x03\x04 but no zip"}, r"own\.npz: is no \.npz of plain arrays"),
        ({"x.npy": b"", "y.npy": b""}, r"x\.npy: is no \.npy of a plain array"),
        ({"x.npy": b"no array", "y.npy": b""}, r"x\.npy: is no \.npy of a plain array"),
        ({"a.npz": b"", "b.npz": b""}, r"holds 2 \.npz and 0 \.npy files; give the path of one \.npz"),
        ({"a.npz": b"", "x.npy": b""}, r"holds 1 \.npz and 1 \.npy files"),
    ],
)
def test_files_of_arrays_are_broken(files, message, data_dir, load):
    write_files(data_dir, files)
    with pytest.raises(DataError, match=message):
        load("arrays", data_dir)


def test_arrays_in_a_file_in_capitals(data_dir):
    np.savez(data_dir / "own.npz", x=IMAGES, y=LABELS)
    (data_dir / "own.npz").rename(data_dir / "OWN.NPZ")
    for path in (data_dir, data_dir / "OWN.NPZ"):
        assert len(read_arrays(path).train.targets) == 4


@pytest.mark.parametrize("kind", ["npz", "npy"])
@pytest.mark.parametrize("is_pickled", [True, False])
def test_nobody_is_told_to_load_what_may_run_code(kind, is_pickled, data_dir):
    objects = np.array([0, None, 1, 1])
    if kind == "npz":
        np.savez(data_dir / "own.npz", x=IMAGES, y=objects)
    else:
        np.save(data_dir / "x.npy", IMAGES)
        np.save(data_dir / "y.npy", objects)
    if not is_pickled:
        (data_dir / ("own.npz" if kind == "npz" else "y.npy")).write_bytes(b"no array")
    with pytest.raises(DataError, match=r"in no known format, or holds Python objects$|Python objects in dtype\.$"):
        read_arrays(data_dir)


@pytest.mark.parametrize("name", ["own.npz", "images.npy"])
def test_arrays_with_a_few_wrong_bytes_are_read_or_named(name, data_dir):
    """NumPy itself raises zlib.error, NotImplementedError, tokenize.TokenError and more."""
    if name == "own.npz":
        np.savez_compressed(data_dir / name, images=IMAGES, targets=LABELS)
    else:
        np.save(data_dir / name, IMAGES)
        np.save(data_dir / "targets.npy", LABELS)
    written, rng = (data_dir / name).read_bytes(), np.random.default_rng(0)
    for _ in range(400):
        content = bytearray(written)
        for place in rng.integers(len(content), size=3):
            content[place] = rng.integers(256)
        (data_dir / name).write_bytes(content)
        with suppress(DataError):
            read_arrays(data_dir)
