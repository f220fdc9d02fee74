"""What is appended is there, whole and private, whatever was in the file before."""

import stat

import pytest

from nni_dream.json_lines import append_line, is_torn


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, False), (b"", False), (b"{}\n", False), (b"\n", False), (b"{}\n{", True), (b"{", True)],
)
def test_whether_the_last_line_has_no_end(tmp_path, content, expected):
    if content is not None:
        (tmp_path / "lines").write_bytes(content)
    assert is_torn(tmp_path / "lines") is expected


def test_lines_are_appended_and_an_empty_one_ends_a_torn_line(tmp_path):
    path = tmp_path / "lines"
    append_line(path, "{}")
    with path.open("a") as file:
        file.write('{"torn')
    append_line(path, "")
    append_line(path, '{"whole": 1}')
    assert path.read_text() == '{}\n{"torn\n{"whole": 1}\n'


def test_nobody_else_may_read_it(tmp_path):
    append_line(tmp_path / "lines", "{}")
    assert stat.S_IMODE((tmp_path / "lines").stat().st_mode) == 0o600


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        append_line(tmp_path / "gone" / "lines", "{}")
