"""The one file that a command writes: what is refused before the work, and what is left when writing fails."""

import errno
import os
from pathlib import Path

import pytest
import typer

from nni_dream.cli.output_files import check_output, write_output


@pytest.fixture
def folder(tmp_path):
    """A folder with a source, a link to it, an earlier output, a pipe and a folder."""
    (tmp_path / "source.json").write_text("source")
    (tmp_path / "link.json").symlink_to("source.json")
    (tmp_path / "hard_link.json").hardlink_to(tmp_path / "source.json")
    (tmp_path / "gone.json").symlink_to("not_yet.json")
    (tmp_path / "output.json").write_text("mine")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def error_of(capsys):
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("folder", "is a folder; give --output the name of a file"),
        (".", "is a folder; give --output the name of a file"),
        ("pipe", "is there and is no file; give --output another name"),
        ("source.json", "is a file that this command reads, and stays as it is; give --output another name"),
        ("link.json", "is a file that this command reads, and stays as it is; give --output another name"),
        ("hard_link.json", "is a file that this command reads, and stays as it is; give --output another name"),
        ("not_yet.json", "is a file that this command reads, and stays as it is; give --output another name"),
        ("gone.json", "is a file that this command reads, and stays as it is; give --output another name"),
    ],
)
def test_what_is_never_replaced(folder, capsys, name, reason, force):
    sources = [folder / "source.json", folder / "not_yet.json"]
    with pytest.raises(typer.Exit) as ended:
        check_output(folder / name, sources=sources, force=force)
    assert ended.value.exit_code == 1
    assert error_of(capsys) == f"{folder / name}: {reason}"


def test_a_file_that_is_there_is_replaced_only_by_force(folder, capsys):
    output = folder / "output.json"
    check_output(output, force=True)
    with pytest.raises(typer.Exit):
        check_output(output, sources=[folder / "source.json"], force=False)
    assert error_of(capsys) == f"{output}: is there already; give --output another name, or replace it with --force"


@pytest.mark.parametrize("name", ["new.json", "new/folder/new.json", "gone.json", "a" * 300])
def test_what_is_not_there_is_not_refused(folder, name):
    """Whether it can be written, the attempt will say."""
    check_output(folder / name, sources=[folder / "source.json"], force=False)


def test_a_name_of_any_characters_can_be_shown(folder, capsys):
    output = folder / "a\x1b[31m\nb"
    output.write_text("mine")
    with pytest.raises(typer.Exit):
        check_output(output, force=False)
    assert "a\\u001b[31m\\nb" in error_of(capsys)


@pytest.mark.parametrize("name", ["new.json", "new/folder/new.json", "output.json"])
def test_a_file_is_written_as_it_is_given(tmp_path, name):
    (tmp_path / "output.json").write_text("old")
    write_output(tmp_path / name, "Δ\n")
    assert (tmp_path / name).read_bytes() == "Δ\n".encode()
    assert list((tmp_path / name).parent.glob("*draft*")) == []


@pytest.mark.parametrize("target", ["target.json", "not_yet.json"])
def test_a_link_stays_a_link(tmp_path, target):
    (tmp_path / "target.json").write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to(target)
    write_output(link, "new")
    assert link.is_symlink()
    assert (tmp_path / target).read_text() == "new"


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(errno.ENOSPC, "No space left on device"), typer.Exit), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_what_was_there_stays_and_no_draft_when_writing_fails(tmp_path, monkeypatch, capsys, error, raised):
    output = tmp_path / "output.json"
    output.write_text("old")
    write = Path.write_text

    def write_half(path, text, **options):
        write(path, text[: len(text) // 2], **options)
        raise error

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(raised):
        write_output(output, "a new text")
    assert output.read_text() == "old"
    assert os.listdir(tmp_path) == ["output.json"]
    if isinstance(error, OSError):
        assert error_of(capsys) == f"{output}: cannot be written: [Errno 28] No space left on device"


@pytest.mark.parametrize("place", ["file/output.json", "a" * 300])
def test_a_place_where_nothing_can_be_written_is_named(tmp_path, capsys, place):
    (tmp_path / "file").touch()
    with pytest.raises(typer.Exit):
        write_output(tmp_path / place, "text")
    assert error_of(capsys).startswith(f"{tmp_path / place}: cannot be written: ")
    assert os.listdir(tmp_path) == ["file"]
