import os

import pytest
from automl.data.published_files import write_files, write_zip

from nni_dream.automl.data.errors import DataError
from nni_dream.automl.data.files import file_identity, open_tree, read_bytes, read_text

CONTENTS = {
    "a/1.txt": "one",
    "a/b/2.txt": "two",
    "c.txt": "three",
    ".git/config": "hidden",
    "__MACOSX/a/1.txt": "junk",
    "a/.DS_Store": "junk",
}


@pytest.fixture(params=["folder", "zip"])
def tree(request, tmp_path):
    if request.param == "folder":
        write_files(tmp_path / "data", CONTENTS)
        return open_tree(tmp_path / "data")
    write_zip(tmp_path / "data.zip", CONTENTS)
    return open_tree(tmp_path / "data.zip")


def test_folder_and_zip_read_alike(tree):
    assert {name: file.read() for name, file in tree.files.items()} == {
        "a/1.txt": b"one",
        "a/b/2.txt": b"two",
        "c.txt": b"three",
    }
    assert tree.folders == {"a", "a/b"}
    assert tree.top_folders() == ["a"]
    assert {folder: sorted(files) for folder, files in tree.by_folder().items()} == {
        "": ["c.txt"],
        "a": ["1.txt"],
        "a/b": ["2.txt"],
    }


def test_the_tree_below_a_folder(tree):
    below = tree.under("a")
    assert list(below.files) == ["1.txt", "b/2.txt"]
    assert below.folders == {"b"}
    assert not tree.under("x").files


def test_an_empty_folder_is_seen(tmp_path):
    (tmp_path / "data" / "empty").mkdir(parents=True)
    write_zip(tmp_path / "data.zip", {"deep/empty/": ""})
    assert open_tree(tmp_path / "data").folders == {"empty"}
    assert open_tree(tmp_path / "data.zip").folders == {"deep", "deep/empty"}


def test_a_linked_folder_is_followed(tmp_path):
    write_files(tmp_path / "elsewhere", {"1.txt": "one"})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    assert list(open_tree(tmp_path / "data").files) == ["linked/1.txt"]


def write_raw_zip(path, names):
    """A zip whose entries have these bytes for names, without the mark for UTF-8."""
    stand_ins = [chr(ord("A") + i) * len(name) for i, name in enumerate(names)]
    write_zip(path, {stand_in: str(i) for i, stand_in in enumerate(stand_ins)})
    content = path.read_bytes()
    for stand_in, name in zip(stand_ins, names, strict=True):
        content = content.replace(stand_in.encode(), name)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["süß/1.png".encode(), "鳥/2.png".encode()], ["süß/1.png", "鳥/2.png"]),  # Info-ZIP
        (["süß/1.png".encode("cp437"), b"b/2.png"], ["b/2.png", "süß/1.png"]),  # MS-DOS
        ([b"cat\\1.png", b"cat\\deep\\2.png"], ["cat/1.png", "cat/deep/2.png"]),
        ([b"a/x\\1.png", b"b/2.png"], ["a/x\\1.png", "b/2.png"]),  # a backslash of a Unix name
    ],
)
def test_names_in_a_zip_without_the_mark_for_utf_8(names, expected, tmp_path):
    write_raw_zip(tmp_path / "data.zip", names)
    tree = open_tree(tmp_path / "data.zip")
    assert sorted(tree.files) == sorted(expected)
    assert {file.read() for file in tree.files.values()} == {b"0", b"1"}


def test_names_in_a_zip_with_the_mark_are_as_they_are(tmp_path):
    write_zip(tmp_path / "data.zip", {"├╝/1.png": "x"})
    assert list(open_tree(tmp_path / "data.zip").files) == ["├╝/1.png"]


def test_a_name_twice_in_a_zip(tmp_path):
    write_raw_zip(tmp_path / "data.zip", [b"cat/1.png", b"cat/1.png"])
    with pytest.raises(DataError, match=r"data\.zip: holds cat/1\.png twice: which one is meant\? Pack it again"):
        open_tree(tmp_path / "data.zip")


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_link_to_a_folder_around_it_leads_nowhere(target, tmp_path):
    """It turned 12 files into 492, most with a wrong label."""
    write_files(tmp_path / "data", {"cat/1.txt": "one", "dog/2.txt": "two"})
    (tmp_path / "data" / "cat" / "again").symlink_to(target)
    tree = open_tree(tmp_path / "data")
    assert (list(tree.files), tree.folders) == (["cat/1.txt", "dog/2.txt"], {"cat", "dog"})


def test_links_that_lead_to_each_other(tmp_path):
    write_files(tmp_path / "data", {"cat/1.txt": "one", "dog/2.txt": "two"})
    (tmp_path / "data" / "cat" / "dogs").symlink_to("../dog")
    (tmp_path / "data" / "dog" / "cats").symlink_to("../cat")
    files = ["cat/1.txt", "cat/dogs/2.txt", "dog/2.txt", "dog/cats/1.txt"]
    assert list(open_tree(tmp_path / "data").files) == files


@pytest.mark.parametrize("content", [None, b"", b"no zip"])
def test_neither_folder_nor_zip(content, tmp_path):
    path = tmp_path / "data.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.zip: is neither a folder nor a zip that can be read"):
        open_tree(path)


def test_a_broken_entry_is_named(tmp_path):
    path = tmp_path / "data.zip"
    write_zip(path, {"a/1.txt": "some content", "a/2.txt": "x"})
    path.write_bytes(path.read_bytes().replace(b"some content", b"same content"))
    with pytest.raises(DataError, match=r"data\.zip: a/1\.txt: cannot be read: Bad CRC-32"):
        open_tree(path).files["a/1.txt"].read()


def test_the_identity_of_a_zipped_file_is_its_content(tmp_path):
    write_zip(tmp_path / "one.zip", {"a": "1", "b": "2"})
    write_zip(tmp_path / "copy.zip", {"a": "1", "b": "3"})
    one, copy = open_tree(tmp_path / "one.zip"), open_tree(tmp_path / "copy.zip")
    assert one.files["a"].identity() == copy.files["a"].identity()
    assert one.files["b"].identity() != copy.files["b"].identity()


def test_the_identity_of_a_file_changes_with_its_content_even_at_equal_size_and_time(tmp_path):
    path = tmp_path / "file"
    path.write_text("1")
    before = file_identity(path)
    times = path.stat()
    other = tmp_path / "other"
    other.write_text("2")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)
    assert path.stat().st_mtime_ns == times.st_mtime_ns
    assert file_identity(path) != before


@pytest.mark.parametrize("read", [read_bytes, read_text, file_identity])
def test_a_file_that_is_not_there(read, tmp_path):
    with pytest.raises(DataError, match=r"absent: cannot be read: No such file or directory"):
        read(tmp_path / "absent")


@pytest.mark.parametrize(
    ("content", "encodings", "text"),
    [
        ("é".encode(), ("utf-8-sig",), "é"),
        (b"\xef\xbb\xbfx", ("utf-8-sig",), "x"),
        (b"\xe9", ("utf-8-sig", "latin-1"), "é"),
    ],
)
def test_text(content, encodings, text, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert read_text(tmp_path / "file", encodings) == text


def test_an_unreadable_encoding(tmp_path):
    (tmp_path / "file").write_bytes(b"ab\x81")
    with pytest.raises(DataError, match=r"file: is not utf-8 or cp1252 text: byte 0x81 at offset 2"):
        read_text(tmp_path / "file", ("utf-8", "cp1252"))
    with pytest.raises(DataError, match="encoding 'utf-9' is unknown"):
        read_text(tmp_path / "file", ("utf-9",))
